"""Checkpoints that ``convert`` and ``average`` write: copies to the byte, and what TensorFlow restores."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same
from tests.support.expected import FIXTURES, Expected, expected_checkpoints
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.checkpoint.v2.index import BundleIndex
from tfbundle.conversion.averaging import average
from tfbundle.conversion.convert import Converted, convert
from tfbundle.conversion.targets import checkpoint as checkpoint_target
from tfbundle.errors import ChecksumError, FormatError

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
# TensorFlow's own, apart from one that lacks slices.
PLAIN = [one for one in expected_checkpoints("v2") if one.path.is_relative_to(FIXTURES) and "tf-" in str(one.path)]
WHOLE = [one for one in PLAIN if "missing-slices" not in str(one.path)]
V1 = [one for one in expected_checkpoints("v1") if one.error is None and "missing-slice" not in str(one.path)]


@pytest.fixture(scope="module")
def tf() -> Any:
    return pytest.importorskip("tensorflow", reason="restores with TensorFlow, which is not installed")


def files_of(done: Converted) -> dict[str, bytes]:
    return {file.removeprefix(done.path): Path(file).read_bytes() for file in done.files}


@pytest.mark.parametrize("change", [{}, {"rename": {re.compile("^"): "a/"}}, {"cast": {"t*": "float16"}}], ids=str)
def test_work_per_tensor_does_not_grow(change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values are arranged once, and each entry is decoded once, or those of many tensors together."""
    calls: Counter[str] = Counter()

    def count_calls(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counted(*args: Any) -> Any:
            calls[name] += 1
            return original(*args)

        monkeypatch.setattr(owner, name, counted)

    count_calls(checkpoint_target, "_arrange")
    count_calls(BundleIndex, "stored_slices")
    count_calls(BundleIndex, "facts_of")
    found = []
    for number in (100, 300):
        texts = {f"s{i:03d}": f"text {i}" for i in range(number)}
        tfbundle.save(tmp_path / f"m{number}", {f"t{i:03d}": np.float32(i) for i in range(number)} | texts)
        calls.clear()
        convert(tmp_path / f"m{number}", tmp_path / f"out{number}", **change)
        assert calls["_arrange"] == 1
        found.append(Counter(calls))
    # Those of the texts, and of the numbers too if they are cast.
    work = Counter(found[1]) - Counter(found[0])
    assert 0 < work["stored_slices"] <= (3 * 200 if "cast" in change else 200)
    assert 0 < work["facts_of"] <= (5 * 200 if "cast" in change else 2 * 200)


@pytest.mark.parametrize("expected", WHOLE, ids=str)
def test_an_unchanged_copy_has_the_same_bytes(expected: Expected, tmp_path: Path) -> None:
    done = convert(expected.path, tmp_path / "copy")
    with tfbundle.open_checkpoint(expected.path) as checkpoint:
        prefix = checkpoint.prefix
        assert done.tensors == len(checkpoint)
    assert done.format == "checkpoint"
    assert done.path == str(tmp_path / "copy")
    assert files_of(done) == {end: Path(prefix + end).read_bytes() for end in files_of(done)}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(Path(file).name for file in done.files)


@pytest.mark.parametrize("expected", V1, ids=str)
def test_v1_becomes_v2(expected: Expected, tmp_path: Path) -> None:
    with tfbundle.open_checkpoint(expected.path, format="v1") as old:
        path = convert(old, tmp_path / "copy").path
        new = tfbundle.open_checkpoint(path)
        assert new.format == "v2"
        assert sorted(new) == sorted(old)
        for name, tensor in old.items():
            assert new[name].data_type == tensor.data_type
            assert new[name].region == tensor.region
            assert_same(new[name].read(), tensor.read())


def test_what_lacks_slices_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = next(one.path for one in PLAIN if "missing-slices" in str(one.path))
    with pytest.raises(FormatError, match="has_one"):
        convert(path, tmp_path / "copy", dry_run=True)
    assert not list(tmp_path.iterdir())


PARTITIONED = FIXTURES / "tf-1.15.5" / "partitioned" / "sharded.ckpt"


def test_slices_follow_a_renamed_tensor(tmp_path: Path) -> None:
    with tfbundle.open_checkpoint(PARTITIONED) as source:
        names = [name for name, tensor in source.items() if tensor.slices]
        assert names
        convert(source, tmp_path / "renamed", rename={r"^": "x/"}, cast="float16")
        with tfbundle.open_checkpoint(tmp_path / "renamed") as found:
            assert set(found) == {f"x/{name}" for name in source}
            for name, tensor in source.items():
                assert found[f"x/{name}"].slices == tensor.slices
                wanted = tensor.read()
                assert_same(found[f"x/{name}"].read(), wanted.astype("f2") if wanted.dtype.kind == "f" else wanted)


def with_parts() -> Path:
    """A checkpoint that has slots of parts of variables."""
    for one in WHOLE:
        with tfbundle.open_checkpoint(one.path) as checkpoint:
            if any(tensor.region is not None for tensor in checkpoint.values()):
                return one.path
    raise AssertionError("no fixture has slots of parts")


def test_slots_of_parts_follow_their_variable_or_stand_alone(tmp_path: Path) -> None:
    with tfbundle.open_checkpoint(with_parts()) as source:
        parts = {name: tensor for name, tensor in source.items() if tensor.region is not None}
        owners = {name for name, tensor in source.items() if tensor.slices}
        convert(source, tmp_path / "both", rename={r"^": "x/"})
        convert(source, tmp_path / "alone", exclude=list(owners))
        average([source, source], tmp_path / "average")
        with (
            tfbundle.open_checkpoint(tmp_path / "both") as both,
            tfbundle.open_checkpoint(tmp_path / "alone") as alone,
            tfbundle.open_checkpoint(tmp_path / "average") as mean,
        ):
            for name in owners:
                assert mean[name].slices == source[name].slices
            for name, tensor in parts.items():
                assert alone[name].region is None
                for copy in (both[f"x/{name}"], mean[name]):
                    assert copy.region == tensor.region
                    assert copy.whole_shape == tensor.whole_shape
                # Two of the same have the same average.
                for copy in (both[f"x/{name}"], alone[name], mean[name]):
                    assert_same(copy.read(), tensor.read())


def test_damage_in_a_slice_is_found(tmp_path: Path) -> None:
    for path in PARTITIONED.parent.glob("sharded.ckpt*"):
        shutil.copy(path, tmp_path / path.name)
    with tfbundle.open_checkpoint(tmp_path / "sharded.ckpt") as source:
        tensor = next(tensor for tensor in source.values() if tensor.slices)
        place = tensor.ranges[0]
    data = bytearray(Path(place.path).read_bytes())
    data[place.offset] ^= 1
    Path(place.path).write_bytes(data)
    with pytest.raises(ChecksumError, match="CRC"):
        convert(tmp_path / "sharded.ckpt", tmp_path / "copy")
    assert not list(tmp_path.glob("copy*"))


ARRAYS = {
    "w": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b": np.arange(4, dtype=np.float64),
    "step": np.int64(7),
    "text": np.array([b"a", b"\0b\0"], object),
}


@pytest.mark.parametrize("layout", [{"shards": 3}, {"shard_size": 40}, {}], ids=str)
def test_what_is_written_in_shards_is_read_back(layout: dict[str, int], tmp_path: Path) -> None:
    done = convert(ARRAYS, tmp_path / "out", **layout)  # type: ignore[arg-type]
    assert len(done.files) == 1 + {"shards": 3, "shard_size": 3}.get(next(iter(layout), ""), 1)
    assert tfbundle.verify(done.path).ok
    found = tfbundle.load(done.path)
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert_same(found[name], np.asarray(array))


def test_axes_types_and_functions(tmp_path: Path) -> None:
    convert(
        ARRAYS,
        tmp_path / "out",
        transpose={"w": (1, 0)},
        cast="b=bfloat16",
        transform=lambda name, tensor: ["x"] if name == "text" else tensor,
    )
    with tfbundle.open_checkpoint(tmp_path / "out") as found:
        assert_same(found["w"].read(), np.ascontiguousarray(ARRAYS["w"].T))
        assert found["b"].data_type == "DT_BFLOAT16"
        assert found["text"].read().tolist() == [b"x"]


@pytest.mark.parametrize(
    "name", ["averaged", "model.ckpt", "model.ckpt-1000", "v1.5", "bert_model.ckpt", "model.ckpt_best"]
)
def test_a_name_without_a_suffix_is_a_prefix(name: str, tmp_path: Path) -> None:
    assert convert({"a": np.zeros(1)}, tmp_path / name).path == str(tmp_path / name)
    assert (tmp_path / f"{name}.index").is_file()


@pytest.mark.parametrize("name", ["model.pt", "out.txt", "model.ckpt.bin", "model.ckpts", "x.h6"])
def test_another_suffix_is_not_a_prefix(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not have the suffix of an output format"):
        convert({"a": np.zeros(1)}, tmp_path / name)
    convert({"a": np.zeros(1)}, tmp_path / name, to="checkpoint")
    assert (tmp_path / f"{name}.index").is_file()


def test_a_folder_or_a_file_of_a_checkpoint_is_not_a_prefix(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not have the suffix of an output format"):
        convert({"a": np.zeros(1)}, tmp_path)
    for name in ("m.index", "m.data-00000-of-00001"):
        with pytest.raises(ValueError, match="not a prefix"):
            convert({"a": np.zeros(1)}, tmp_path / name, to="checkpoint", dry_run=True)


def test_a_checkpoint_is_replaced_only_when_asked(tmp_path: Path) -> None:
    convert({"a": np.zeros(1)}, tmp_path / "m")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m"\n')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="overwrite"):
        convert({"a": np.ones(1)}, tmp_path / "m")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    convert(tmp_path / "m", tmp_path / "m", overwrite=True, rename={"a": "b"})
    assert set(tfbundle.load(tmp_path)) == {"b"}
    assert (tmp_path / "checkpoint").read_bytes() == before["checkpoint"]


def make(tf: Any, value: float) -> Any:
    root = tf.Module()
    root.dense = tf.Module()
    root.dense.kernel = tf.Variable(np.full((2, 3), value, np.float32), name="dense/kernel")
    root.dense.bias = tf.Variable(np.full(3, value + 1, np.float32), name="dense/bias")
    return root


def test_objects_are_restored_under_new_names(tf: Any, tmp_path: Path) -> None:
    saved = tf.train.Checkpoint(model=make(tf, 1.0)).save(str(tmp_path / "saved"))
    done = convert(saved, tmp_path / "net", rename={"^model/": "net/"}, cast="*/bias*=float64", shards=2)
    assert {item.new_name for item in done.items} >= {OBJECT_GRAPH_KEY, f"net/dense/kernel{SUFFIX}"}
    convert(saved, tmp_path / "net", rename={"^model/": "net/"}, shards=2, overwrite=True)
    root = make(tf, 5.0)
    tf.train.Checkpoint(net=root).restore(str(tmp_path / "net")).assert_existing_objects_matched().assert_consumed()
    assert root.dense.kernel.numpy().tolist() == [[1.0] * 3] * 2
    assert root.dense.bias.numpy().tolist() == [2.0] * 3


def test_names_that_tensorflow_refuses_need_a_checkpoint_without_objects(tf: Any, tmp_path: Path) -> None:
    saved = tf.train.Checkpoint(model=make(tf, 1.0)).save(str(tmp_path / "saved"))
    rename = {f"model/dense/kernel{SUFFIX}": "kernel"}
    with pytest.raises(ValueError, match="ATTRIBUTES"):
        convert(saved, tmp_path / "out", rename=rename)
    assert not list(tmp_path.glob("out*"))
    convert(saved, tmp_path / "out", rename=rename, exclude=OBJECT_GRAPH_KEY)
    reader = tf.train.load_checkpoint(str(tmp_path / "out"))
    assert reader.has_tensor("kernel")
    assert not reader.has_tensor(OBJECT_GRAPH_KEY)


@pytest.mark.filterwarnings("ignore")
def test_keras_loads_weights_without_the_optimizer(tf: Any, tmp_path: Path) -> None:
    keras = tf.keras
    layers = [keras.layers.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    model.compile(optimizer="adam", loss="mse", run_eagerly=True)
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    saved = tf.train.Checkpoint(model=model).save(str(tmp_path / "saved"))
    for done in (convert(saved, tmp_path / "a", slots=False), convert(saved, tmp_path / "b", weights=True)):
        assert done.left_out["left out: optimizer slot"] == 8
        other = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)])
        tf.train.Checkpoint(model=other).read(done.path).assert_existing_objects_matched()
        for found, wanted in zip(other.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_an_average_is_restored(tf: Any, tmp_path: Path) -> None:
    for number, value in enumerate((1.0, 4.0), 1):
        tf.train.Checkpoint(model=make(tf, value)).write(str(tmp_path / f"saved-{number}"))
    average([tmp_path / "saved-1", tmp_path / "saved-2"], tmp_path / "mean", weights=[2, 1])
    root = make(tf, 9.0)
    tf.train.Checkpoint(model=root).read(str(tmp_path / "mean")).assert_existing_objects_matched().assert_consumed()
    assert root.dense.kernel.numpy().tolist() == [[2.0] * 3] * 2


def test_saver_restores_what_was_renamed(tf: Any, tmp_path: Path) -> None:
    v1 = tf.compat.v1
    wanted = np.arange(10, dtype=np.float32).reshape(5, 2)

    def variable(name: str, value: Any) -> Any:
        return v1.get_variable(
            name, (5, 2), tf.float32, v1.constant_initializer(value), partitioner=v1.fixed_size_partitioner(2)
        )

    with tf.Graph().as_default(), v1.Session() as session:
        for part, rows in zip(variable("old", 0.0), (wanted[:3], wanted[3:]), strict=True):
            session.run(part.assign(rows))
        saved = v1.train.Saver().save(session, str(tmp_path / "saved"), write_meta_graph=False)
    convert(saved, tmp_path / "renamed", rename={"^old": "new"})
    with tf.Graph().as_default(), v1.Session() as session:
        parts = list(variable("new", 0.0))
        v1.train.Saver().restore(session, str(tmp_path / "renamed"))
        np.testing.assert_array_equal(np.concatenate(session.run(parts)), wanted)
    with tfbundle.open_checkpoint(tmp_path / "renamed") as found:
        assert len(found["new"].slices) == 2
