"""How much memory checks and comparisons take for each tensor, of checkpoints with very many."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tfbundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for count in (100, 10_000, 20_000, 40_000):
        values = ((f"model/layer_{number:07}/kernel", np.float32(number)) for number in range(count))
        tfbundle.save(folder / f"a-{count}", values)
        for suffix in (".index", ".data-00000-of-00001"):
            shutil.copy(folder / f"a-{count}{suffix}", folder / f"b-{count}{suffix}")
    return folder


def peak(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        assert call()  # The result is held, as a caller would.
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "few", "most"),
    [
        ("verify", 20_000, 290),  # 224, in columns of numpy; a process takes 157 MB for a million.
        ("diff", 20_000, 480),  # 372: the names and entries of two indexes.
        ("fingerprint", 10_000, 560),  # 415: those of one, and the digests in hexadecimal.
    ],
)
@pytest.mark.effort
def test_memory_of_a_tensor(folder: Path, name: str, few: int, most: int) -> None:
    def run(count: int) -> Callable[[], object]:
        if name == "diff":
            return lambda: tfbundle.diff(folder / f"a-{count}", folder / f"b-{count}").same == count
        return lambda: getattr(tfbundle, name)(folder / f"a-{count}")

    run(100)()  # What is imported, and made once, does not count.
    growth = (peak(run(2 * few)) - peak(run(few))) / few
    assert growth < most
