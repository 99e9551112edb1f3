"""For any names, dtypes, shapes and orders, the installed TensorFlow and ``CheckpointWriter`` write equal bytes."""

from __future__ import annotations

import shutil
import tempfile
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
