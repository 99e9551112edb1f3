"""How much memory checks and comparisons take for each tensor, of checkpoints with very many."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tfbundle

FEW, MANY = 20_000, 40_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for count in (FEW, MANY):
        for name in ("a", "b"):
            values = ((f"model/layer_{number:07}/kernel", np.float32(number)) for number in range(count))
            tfbundle.save(folder / f"{name}-{count}", values)
    return folder


def peak(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        assert call()  # The result is held, as a caller would.
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("verify", 290),  # 224, in columns of numpy; a process takes 157 MB for a million.
        ("diff", 480),  # 372: the names and entries of two indexes.
        ("fingerprint", 560),  # 435: those of one, and the digests in hexadecimal.
    ],
)
@pytest.mark.effort
def test_memory_of_a_tensor(folder: Path, name: str, most: int) -> None:
    def run(count: int) -> Callable[[], object]:
        if name == "diff":
            return lambda: tfbundle.diff(folder / f"a-{count}", folder / f"b-{count}").same == count
        return lambda: getattr(tfbundle, name)(folder / f"a-{count}")

    run(FEW)()  # What is imported, and made once, does not count.
    growth = (peak(run(MANY)) - peak(run(FEW))) / (MANY - FEW)
    assert growth < most
