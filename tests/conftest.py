"""Settings of the whole test suite, and TensorFlow for the tests that hold the library against it."""

import gc
import os
import warnings
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.dask_cluster import Cluster
from tests.support.sampling import IS_EXHAUSTIVE, split_cases

# Machines that run tests are shared: how long an example takes says nothing about the code. The examples are the same
# each time, so that the gate says of one commit what it said before; new ones are for the fuzzers to find.
settings.register_profile(
    "tfbundle",
    deadline=None,
    max_examples=60 if IS_EXHAUSTIVE else 15,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tfbundle")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector away from the tests and what they import.

    These are more than a million objects that stay until the end. Going through them again and again took a third of
    the time of collecting tests, and half a second for each full collection later.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the cases that the suite runs only where TensorFlow is installed."""
    items[:], others = split_cases(items)
    if others:
        config.hook.pytest_deselected(items=others)


@pytest.fixture(scope="session")
def tf() -> Any:
    """TensorFlow; without it the test is skipped."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tensorflow", reason="compares with TensorFlow, which is not installed")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A dask cluster, which the tests of a file share; an idle one takes a twentieth of a processor."""
    pytest.importorskip("distributed", reason="dask is not installed")
    with Cluster(tmp_path_factory.mktemp("dask")) as started:
        yield started
