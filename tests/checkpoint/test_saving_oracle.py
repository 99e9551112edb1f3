"""For any names, dtypes, shapes and orders, the installed TensorFlow and ``CheckpointWriter`` write equal bytes."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tfbundle

tf = pytest.importorskip("tensorflow")

DTYPES = [
    np.dtype(name) for name in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "c8", "c16", "?")
]
DTYPES += [np.dtype(ml_dtypes.bfloat16), np.dtype(ml_dtypes.float8_e4m3fn), np.dtype(object)]
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
# TensorFlow takes a name that begins with NUL for the key of a slice.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(lambda name: name[0] != "\0")
ANY_SETTINGS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(SHAPES)
    size = int(np.prod(shape, dtype=int))
    if dtype.hasobject:
        elements = draw(st.lists(st.binary(max_size=200), min_size=size, max_size=size))
        array = np.empty(size, object)
        array[:] = elements
        return array.reshape(shape)
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2 if dtype.kind == "b" else 100, shape)
    array = np.asarray(values).astype(dtype)
    return np.asfortranarray(array) if draw(st.booleans()) else array


def save_theirs(prefix: Path, values: dict[str, Any]) -> None:
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[
            tf.constant(value.tolist(), tf.string, value.shape) if value.dtype.hasobject else tf.constant(value)
            for value in values.values()
        ],
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(st.dictionaries(NAMES, arrays(), min_size=1, max_size=12))
@ANY_SETTINGS
def test_one_shard(values: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_theirs(folder / "theirs" / "model", values)
        tfbundle.save(folder / "ours" / "model", values)
        assert contents(folder / "ours") == contents(folder / "theirs")


@given(st.lists(st.dictionaries(NAMES, arrays(), min_size=1, max_size=5), min_size=2, max_size=4))
@ANY_SETTINGS
def test_merged_shards(shards: list[dict[str, Any]]) -> None:
    named = [{f"{number}{name}": value for name, value in shard.items()} for number, shard in enumerate(shards)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = [folder / "theirs" / "model_temp" / f"part-{number}" for number in range(len(named))]
        (folder / "theirs").mkdir()
        for part, shard in zip(parts, named, strict=True):
            save_theirs(part, shard)
        tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=[str(part) for part in parts], destination_prefix=str(folder / "theirs" / "model")
        )
        shutil.rmtree(folder / "theirs" / "model_temp", ignore_errors=True)
        with tfbundle.CheckpointWriter(folder / "ours" / "model", shards=len(named)) as writer:
            for number, shard in enumerate(named):
                for key, value in shard.items():
                    writer.add(key, value, shard=number)
        assert contents(folder / "ours") == contents(folder / "theirs")


@given(
    st.dictionaries(NAMES, arrays(), min_size=1, max_size=8), st.integers(1, 3), st.sampled_from([None, 1, 64, 4096])
)
@ANY_SETTINGS
def test_both_readers_have_what_was_written(values: dict[str, Any], shards: int, shard_size: int | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        prefix = Path(name) / "model"
        division = {"shards": shards} if shard_size is None else {"shard_size": shard_size}
        tfbundle.save(prefix, values, **division)
        ours, theirs = tfbundle.load(prefix), tf.train.load_checkpoint(str(prefix))
        assert ours.keys() == set(theirs.get_variable_to_shape_map()) == values.keys()
        for key, value in values.items():
            other = np.asarray(theirs.get_tensor(key), object if value.dtype.hasobject else None)
            assert ours[key].dtype == other.dtype == value.dtype
            for found in (ours[key], other):
                assert found.shape == value.shape
                assert found.tobytes() == value.tobytes() if not value.dtype.hasobject else (found == value).all()
        del theirs


def test_several_blocks_of_entries(tmp_path: Path) -> None:
    names = [f"model/block_{number // 10}/variable_{number % 10}/{'x' * 150}" for number in range(4_000)]
    values = np.arange(len(names), dtype=np.float32)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "theirs" / "model"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=tf.unstack(tf.constant(values)),
    )
    tfbundle.save(tmp_path / "ours" / "model", zip(names, values, strict=True))
    assert (tmp_path / "theirs" / "model.index").stat().st_size > 2 << 18  # A block has a quarter of a megabyte.
    assert contents(tmp_path / "ours") == contents(tmp_path / "theirs")
    with tfbundle.open_checkpoint(tmp_path / "theirs" / "model") as checkpoint:
        tfbundle.save(tmp_path / "copy" / "model", checkpoint)
    assert contents(tmp_path / "copy") == contents(tmp_path / "theirs")


@pytest.mark.parametrize("folder", ["run", "no/run"])
def test_missing_folders_are_made_as_savev2_does(tmp_path: Path, folder: str) -> None:
    made = []
    for save, top in ((save_theirs, tmp_path / "theirs"), (tfbundle.save, tmp_path / "ours")):
        top.mkdir()
        try:
            save(top / folder / "model", {"a": np.zeros(3)})
        except Exception:
            made.append(False)
        else:
            made.append((top / folder / "model.index").exists())
    assert made[0] == made[1]


def test_saver_and_checkpoint_restore(tmp_path: Path) -> None:
    source = tf.train.Checkpoint(w=tf.Variable([1.0, 2.0]), step=tf.Variable(3, dtype=tf.int64))
    prefix = source.write(str(tmp_path / "source"))
    values = dict(tfbundle.load(prefix))
    for name, value in values.items():
        if value.dtype != object:
            values[name] = value * 2  # The graph of objects stays.
    tfbundle.save(tmp_path / "changed", values)
    into = tf.train.Checkpoint(w=tf.Variable([0.0, 0.0]), step=tf.Variable(0, dtype=tf.int64))
    into.read(str(tmp_path / "changed")).assert_consumed()
    assert into.w.numpy().tolist() == [2.0, 4.0]
    assert int(into.step) == 6
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.get_variable("v", [2, 3])
        expected = np.arange(6, dtype=np.float32).reshape(2, 3)
        tfbundle.save(tmp_path / "plain", {"v": expected})
        tf.compat.v1.train.Saver().restore(session, str(tmp_path / "plain"))
        np.testing.assert_array_equal(session.run(variable), expected)


@st.composite
def sliced(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], list[tuple[str, tuple[slice, ...]]]]:
    """A tensor, and the slices of a grid over it, each as TensorFlow and as ``add_slice`` take it."""
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    dtype = draw(st.sampled_from([dtype for dtype in DTYPES if not dtype.hasobject]))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2 if dtype.kind == "b" else 100, shape)
    axes = []
    for length in shape:
        cuts = sorted({0, length, *draw(st.lists(st.integers(0, length), max_size=2))})
        pairs = list(pairwise(cuts))
        # A whole dimension is stated as such, or counted out.
        whole = [("-", slice(None))] if len(pairs) == 1 and draw(st.booleans()) else None
        axes.append(whole or [(f"{start},{stop - start}", slice(start, stop)) for start, stop in pairs])
    boxes = [(":".join(text for text, _ in box), tuple(index for _, index in box)) for box in itertools.product(*axes)]
    return np.asarray(values).astype(dtype), draw(st.permutations(boxes))


def save_slices(prefix: Path, steps: list[tuple[str, np.ndarray[Any, Any], str, tuple[slice, ...]]]) -> None:
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=[name for name, _, _, _ in steps],
        shape_and_slices=[f"{' '.join(map(str, value.shape))} {text}" for _, value, text, _ in steps],
        tensors=[tf.constant(np.ascontiguousarray(value[index])) for _, value, _, index in steps],
    )


@given(st.dictionaries(NAMES, sliced(), min_size=1, max_size=4), st.integers(1, 3), st.randoms(use_true_random=False))
@ANY_SETTINGS
def test_slices(values: dict[str, Any], count: int, random: Any) -> None:
    """Slices in any order and in several shards, as a partitioned ``Saver`` that is sharded writes them."""
    steps = [(name, value, text, index) for name, (value, boxes) in values.items() for text, index in boxes]
    random.shuffle(steps)
    shards = [shard for number in range(count) if (shard := steps[number::count])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "theirs").mkdir()
        if len(shards) == 1:
            save_slices(folder / "theirs" / "model", steps)
        else:
            parts = [folder / f"part-{number}" for number in range(len(shards))]
            for part, shard in zip(parts, shards, strict=True):
                save_slices(part, shard)
            tf.raw_ops.MergeV2Checkpoints(
                checkpoint_prefixes=list(map(str, parts)), destination_prefix=str(folder / "theirs" / "model")
            )
        with tfbundle.CheckpointWriter(folder / "ours" / "model", shards=len(shards)) as writer:
            for number, shard in enumerate(shards):
                for key, value, _, index in shard:
                    writer.add_slice(key, value.shape, index, value[index], shard=number)
        assert contents(folder / "ours") == contents(folder / "theirs")
        found = tfbundle.load(folder / "ours" / "model")
        for key, (value, _) in values.items():
            np.testing.assert_array_equal(found[key], value)
