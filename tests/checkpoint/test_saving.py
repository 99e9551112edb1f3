"""Checkpoints that are saved here have TensorFlow's bytes, and replace nothing unless they are complete."""

from __future__ import annotations

import numpy as np
import pytest

import tfbundle
from tests.support.expected import FIXTURES
from tfbundle.tensors.dtypes import data_type_number

# All that TensorFlow wrote, those of SavedModels too, but for the parts of a save that was interrupted.
INDEXES = sorted(
    path
    for path in FIXTURES.rglob("*.index")
    if path.relative_to(FIXTURES).parts[0].startswith(("tf-", "programs-tf-")) and "_temp_" not in str(path)
)
# A checkpoint whose partitioned tensors lack slices, on purpose; as a whole they cannot be read.
WITH_HOLES = "missing-slices"


@pytest.mark.parametrize("index", INDEXES, ids=lambda path: "/".join(path.parts[-3:]))
def test_fixtures_are_written_again(tmp_path, index):
    prefix = index.with_suffix("")
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        count = len(list(prefix.parent.glob(f"{prefix.name}.data-*")))
        places = []
        for name, tensor in checkpoint.items():
            for number, place in enumerate(tensor.ranges):
                shard = int(place.path.split(".data-")[1][:5])
                places.append((shard, place.offset, place.size, name, number, tensor))
        slices = any(tensor.slices for tensor in checkpoint.values())
        with tfbundle.CheckpointWriter(
            tmp_path / prefix.name, shards=count, partial=WITH_HOLES in str(index)
        ) as writer:
            for shard, _, _, name, number, tensor in sorted(places, key=lambda place: place[:5]):
                if tensor.slices:
                    part = tensor.slices[number]
                    writer._add_slice(
                        name, data_type_number(tensor.data_type), tensor.shape, part, tensor[part.index], shard
                    )
                else:
                    writer.add(name, tensor, shard=shard)
    assert len(list(tmp_path.iterdir())) == count + 1
    for path in tmp_path.iterdir():
        # Slices in several shards are listed in the order of the merge, which their places do not tell; ``convert``
        # takes it from the list, as the next test shows.
        if not (slices and count > 1 and path.suffix == ".index"):
            assert path.read_bytes() == (index.parent / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    "index",
    [path for path in INDEXES if WITH_HOLES not in str(path)],
    ids=lambda path: "/".join(path.relative_to(FIXTURES).parts),
)
def test_every_fixture_is_converted_to_itself(tmp_path, index):
    prefix = index.with_suffix("")
    tfbundle.convert(prefix, tmp_path / prefix.name)
    assert len(list(tmp_path.iterdir())) == 1 + len(list(prefix.parent.glob(f"{prefix.name}.data-*")))
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (index.parent / path.name).read_bytes(), path.name


def test_the_fixtures_have_what_there_is():
    """What the two tests above are to show, they can show only of files that have it."""
    found = set()
    for index in INDEXES:
        with tfbundle.open_checkpoint(index.with_suffix("")) as checkpoint:
            shards = len(list(index.parent.glob(f"{index.stem}.data-*")))
            kinds = {tensor.data_type for tensor in checkpoint.values()}
            slices = any(tensor.slices for tensor in checkpoint.values())
        found |= {kind for kind in kinds if kind in ("DT_STRING", "DT_VARIANT", "DT_QINT8", "DT_INT4")}
        facts = {"slices": slices, "merged": shards > 1, "merged slices": slices and shards > 1}
        facts["many blocks"] = len(index.read_bytes()) > 300_000
        found |= {name for name, has in facts.items() if has} | {index.relative_to(FIXTURES).parts[0]}
    assert found >= {
        "DT_STRING",
        "DT_VARIANT",
        "DT_QINT8",
        "DT_INT4",
        "slices",
        "merged",
        "merged slices",
        "many blocks",
    }
    assert found >= {f"tf-{version}" for version in ("0.12.1", "1.2.1", "1.4.1", "1.15.5", "2.4.4", "2.15.1", "2.21.0")}


ONE_SHARD = [
    path for path in INDEXES if WITH_HOLES not in str(path) and len(list(path.parent.glob(f"{path.stem}.data-*"))) == 1
]


@pytest.mark.parametrize("index", ONE_SHARD, ids=lambda path: "/".join(path.parts[-3:]))
def test_an_open_checkpoint_is_saved_in_the_order_of_its_data(tmp_path, index):
    with tfbundle.open_checkpoint(index.with_suffix("")) as checkpoint:
        calls = []
        tfbundle.save(tmp_path / index.stem, checkpoint, progress=lambda *call: calls.append(call))
        total = sum(tensor.nbytes for tensor in checkpoint.values())
        assert len(calls) >= len(checkpoint)
    assert not calls or calls[-1] == (total, total)
    assert all(call[1] == total for call in calls)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (index.parent / path.name).read_bytes(), path.name


def test_a_slot_of_a_part_is_a_slice_of_its_variable(tmp_path):
    source = tfbundle.open_checkpoint(FIXTURES / "tf-1.15.5" / "optimizers" / "all.ckpt")
    variable = source["dnn/layer/weights"]
    slot = source["dnn/layer/weights/t_1/Ftrl"]
    with tfbundle.CheckpointWriter(tmp_path / "model") as writer:
        for part in variable.slices:
            writer.add_slice(variable.name, variable.shape, part.index, variable[part.index])
        writer.add_slice(slot.name, slot.whole_shape, slot.region.index, slot.read())
    found = tfbundle.open_checkpoint(tmp_path / "model")[slot.name]
    assert (found.shape, found.whole_shape, str(found.region)) == (slot.shape, slot.whole_shape, str(slot.region))
    np.testing.assert_array_equal(found.read(), slot.read())


@pytest.mark.parametrize(("name", "start"), [("other/t_1/Ftrl", 3), ("w/t_1/Ftrl", 2)])
def test_one_slice_that_is_not_a_part_of_a_variable_is_a_hole(tmp_path, name, start):
    def write(*, partial):
        with tfbundle.CheckpointWriter(tmp_path / "model", partial=partial) as writer:
            writer.add_slice("w", (5,), slice(0, 3), np.zeros(3))
            writer.add_slice("w", (5,), slice(3, 5), np.zeros(2))
            writer.add_slice(name, (5,), slice(start, 5), np.zeros(5 - start))

    with pytest.raises(ValueError, match="region"):
        write(partial=False)
    assert list(tmp_path.iterdir()) == []
    write(partial=True)
    with pytest.raises(tfbundle.FormatError), tfbundle.open_checkpoint(tmp_path / "model") as checkpoint:
        checkpoint[name].read()


def test_damage_is_not_copied(tmp_path):
    tfbundle.save(tmp_path / "model", {"a": np.zeros(9), "b": np.ones(9)})
    data = tmp_path / "model.data-00000-of-00001"
    data.write_bytes(b"\1" + data.read_bytes()[1:])
    with tfbundle.open_checkpoint(tmp_path / "model") as checkpoint, pytest.raises(tfbundle.FormatError):
        tfbundle.save(tmp_path / "copy", checkpoint)
    assert not list(tmp_path.glob("copy*"))


def test_bytes_are_those_of_savev2(tmp_path):
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(0)
    values = {
        f"scope_{i % 7}/variable_{i}": rng.standard_normal((i % 5,) * (i % 4)).astype(("f4", "f8", "i2", "u1")[i % 3])
        for i in range(400)
    }
    values |= {"z" * 300_000: np.float32(1), "y" * 600_000: np.int64(2), "words": np.array([b"a", b"x" * 300], object)}
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "theirs" / "model"),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value) for value in values.values()],
    )
    tfbundle.save(tmp_path / "ours" / "model", values)
    for path in (tmp_path / "theirs").iterdir():
        assert path.read_bytes() == (tmp_path / "ours" / path.name).read_bytes()
    reader = tf.train.load_checkpoint(str(tmp_path / "ours" / "model"))
    assert set(reader.get_variable_to_shape_map()) == set(values)


@pytest.mark.parametrize("name", ["model.index", "model.data-00000-of-00001"])
def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        tfbundle.save(tmp_path / "model", {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("prefix", ["", "model.index", "model.data-00000-of-00001"])
def test_a_name_that_is_not_a_prefix_is_refused(prefix):
    with pytest.raises(ValueError, match="prefix"):
        tfbundle.save(prefix, {})


def test_shards_and_sync(tmp_path):
    with tfbundle.CheckpointWriter(tmp_path / "model", shards=3, sync=True) as writer:
        for number in range(7):
            writer.add(f"v{number}", np.arange(number), data_type="DT_INT64")
        writer.add("q", np.ones(3, np.int8), data_type="DT_QINT8", shard=2)
    found = tfbundle.open_checkpoint(tmp_path / "model")
    assert found["q"].data_type == "DT_QINT8"
    assert found["q"].ranges[0].path.endswith(".data-00002-of-00003")
    assert [found[f"v{number}"].size for number in range(7)] == list(range(7))
    assert len(list(tmp_path.iterdir())) == 4
    with pytest.raises(ValueError, match="with block"):
        writer.add("late", 1)


def test_values(tmp_path):
    values = {
        "scalar": 7,
        "text": "ä",
        "words": [b"a\0", b""],
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(4, dtype=">i4"),
        "none": np.zeros((0, 3), np.int8),
        "\0name": np.arange(10)[::3],
    }
    assert tfbundle.save(tmp_path / "model", values) == str(tmp_path / "model")
    found = tfbundle.load(tmp_path / "model")
    assert found["words"].tolist() == [b"a\0", b""]
    assert found["text"][()] == "ä".encode()
    for name in set(values) - {"text", "words"}:
        np.testing.assert_array_equal(found[name], values[name])
        assert found[name].shape == np.shape(values[name])


@pytest.mark.parametrize(
    "pairs",
    [
        [("a", 1), ("a", 2)],
        [("", 1)],
        [("a", None)],
        [("a", np.zeros(1, "M8[s]"))],
        [("a", [[1], [2, 3]])],
        [("\ud800", 1)],
        [("a", np.ma.array([1], mask=[True]))],
    ],
)
def test_what_cannot_be_saved_leaves_the_old_checkpoint(tmp_path, pairs):
    tfbundle.save(tmp_path / "model", {"old": 1})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises((ValueError, TypeError)):
        tfbundle.save(tmp_path / "model", [("first", 1), *pairs])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("chunks", [[2], [2, 2], [3, 1]])
def test_chunks_have_to_add_up(tmp_path, chunks):
    with pytest.raises(ValueError, match="chunks"), tfbundle.CheckpointWriter(tmp_path / "model") as writer:
        writer.add_chunks("a", (3,), np.float32, [np.zeros(n, np.float32) for n in chunks])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("start", "length", "message"), [(2, 3, "overlap"), (4, 1, "region"), (0, 3, "twice")])
def test_slices_with_a_hole_or_overlap_are_refused(tmp_path, start, length, message):
    def write():
        with tfbundle.CheckpointWriter(tmp_path / "model") as writer:
            writer.add_slice("a", (5,), slice(0, 3), np.zeros(3))
            writer.add_slice("a", (5,), slice(start, start + length), np.zeros(length))

    with pytest.raises(ValueError, match=message):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_slice_that_is_everything_keeps_its_type(tmp_path):
    """TensorFlow stores it as a plain tensor."""
    with tfbundle.CheckpointWriter(tmp_path / "model") as writer:
        writer.add_slice("q", (3,), slice(None), np.ones(3, np.int8), data_type="DT_QINT8")
        writer.add_slice("s", (2,), slice(0, 2), ["a", "b"])
    found = tfbundle.open_checkpoint(tmp_path / "model")
    assert (found["q"].data_type, found["q"].slices) == ("DT_QINT8", ())
    assert (found["s"].read().tolist(), found["s"].slices) == ([b"a", b"b"], ())
