"""``Tensor.chunks``: the arrays are the tensor, they are small, and damage does not pass."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfbundle
from tests.support.arrays import DTYPES, assert_same, sample_array
from tests.support.bundle_writer import FULL, Saved, data_file, write_bundle
from tests.support.expected import Expected, expected_checkpoints, read_of, sha256_of
from tests.support.strategies import tilings
from tfbundle.checkpoint.v2 import stored_slices
from tfbundle.errors import ChecksumError, FormatError, TfBundleError
from tfbundle.tensors import arrays, streaming

COLUMNS = [(FULL, (0, 2)), (FULL, (2, 2))]
ROWS = [((3, 3), FULL), ((0, 3), FULL)]
MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)


@contextmanager
def chunks_of(size: int) -> Iterator[None]:
    """Have chunks of so many bytes at most."""
    with ExitStack() as stack:
        for module in (arrays, stored_slices, streaming):
            stack.enter_context(mock.patch.object(module, "CHUNK", size))
        yield


def joined(tensor: Any) -> np.ndarray[Any, Any]:
    """What the chunks are together, in the tensor's shape."""
    chunks = list(tensor.chunks())
    assert all(chunk.ndim == 1 and chunk.dtype == tensor.dtype for chunk in chunks)
    return np.concatenate([np.empty(0, tensor.dtype), *chunks]).reshape(tensor.shape)


@pytest.fixture
def small_chunks() -> Iterator[None]:
    with chunks_of(16):
        yield


@st.composite
def stored_tensors(draw: st.DrawFn) -> tuple[Saved, dict[str, Any]]:
    settings = {"num_shards": draw(st.integers(1, 3)), "byteorder": draw(st.sampled_from(["little", "big"]))}
    shards = draw(st.lists(st.integers(0, settings["num_shards"] - 1), min_size=1, max_size=3))
    slices: list[Any] = []
    if draw(st.booleans()):
        shape, tiles = draw(tilings(most_cuts=5))
        slices = list(dict.fromkeys(tiles)) if len(tiles) > 1 else []
    else:
        shape = draw(st.lists(st.integers(0, 7), max_size=4).map(tuple))
    array = sample_array(draw(st.sampled_from(DTYPES)), shape, draw(st.integers(0, 9)))
    return Saved(array, slices=slices, shards=shards), settings


@given(stored_tensors(), st.sampled_from([16, 32, 64, 1 << 20]), st.booleans())
def test_chunks_are_the_tensor(
    tmp_path_factory: pytest.TempPathFactory, stored: tuple[Saved, dict[str, Any]], size: int, verify: bool
) -> None:
    tensor, settings = stored
    prefix = tmp_path_factory.mktemp("bundle") / "b"
    write_bundle(prefix, {"t": tensor}, **settings)
    with chunks_of(size), tfbundle.open_checkpoint(prefix, verify=verify) as checkpoint:
        assert_same(joined(checkpoint["t"]), tensor.array)
        if tensor.array.dtype != object:
            assert max((chunk.nbytes for chunk in checkpoint["t"].chunks()), default=0) <= size


CHECKPOINTS = [expected for format in ("v1", "v2") for expected in expected_checkpoints(format) if not expected.error]


@pytest.mark.parametrize("expected", CHECKPOINTS, ids=str)
def test_chunks_are_what_tensorflow_read(expected: Expected) -> None:
    """With what it could not read, the error of ``read`` is that of ``chunks``."""
    with tfbundle.open_checkpoint(expected.path, format=expected.format) as checkpoint:  # type: ignore[arg-type]
        for name in read_of(checkpoint):
            tensor = checkpoint[name]
            try:
                array = tensor.read()
            except TfBundleError as error:
                with pytest.raises(type(error), match=re.escape(str(error))):
                    list(tensor.chunks())
                continue
            if tensor.data_type == "DT_VARIANT":
                assert len(list(tensor.chunks())) == (1 if array.size else 0)
            else:
                assert sha256_of(joined(tensor)) == sha256_of(array), name


@pytest.mark.parametrize("slices", [[], ROWS, COLUMNS], ids=["whole", "rows", "columns"])
@pytest.mark.parametrize("place", [0, 50, 95])
def test_damage_is_noticed_by_the_end(tmp_path: Path, slices: list[Any], place: int, small_chunks: None) -> None:
    write_bundle(tmp_path / "b", {"t": Saved(MATRIX, slices=slices)})
    file = data_file(tmp_path / "b")
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        with pytest.raises(ChecksumError) as caught:
            list(checkpoint["t"].chunks())
        assert caught.value.tensor == "t"
        with pytest.raises(ChecksumError, match=re.escape(str(caught.value))):
            checkpoint["t"].read()
    with tfbundle.open_checkpoint(tmp_path / "b", verify=False) as checkpoint:
        assert_same(joined(checkpoint["t"]), checkpoint["t"].read())


@pytest.mark.parametrize("slices", [[], ROWS, COLUMNS], ids=["whole", "rows", "columns"])
@pytest.mark.parametrize("verify", [True, False])
def test_a_file_that_changes_on_the_way(tmp_path: Path, slices: list[Any], verify: bool, small_chunks: None) -> None:
    """Cut in columns, the bytes were verified in an earlier reading."""
    write_bundle(tmp_path / "b", {"t": Saved(MATRIX, slices=slices)})
    with tfbundle.open_checkpoint(tmp_path / "b", verify=verify) as checkpoint:
        chunks = checkpoint["t"].chunks()
        next(chunks)
        data_file(tmp_path / "b").write_bytes(bytes(96 + 1))
        with pytest.raises(FormatError, match="overwritten"):
            list(chunks)


def test_an_absent_slice_is_an_error_before_the_first_chunk(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"t": Saved(MATRIX, slices=ROWS, slice_lies={0: {"raw": None}})})
    with (
        tfbundle.open_checkpoint(tmp_path / "b") as checkpoint,
        pytest.raises(FormatError, match=r"region \[3:6, 0:4\]"),
    ):
        next(checkpoint["t"].chunks())
