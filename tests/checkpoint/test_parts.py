"""Slots of partitioned variables: one slice of a larger tensor, which is all that was saved."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same
from tests.support.bundle_writer import Saved, write_bundle
from tests.support.expected import FIXTURES
from tests.support.v1_writer import V1Saved, write_v1
from tfbundle import FormatError, train
from tfbundle.tensors.parts import Tiling, find_part
from tfbundle.tensors.slices import TensorSlice
from tfbundle.tensors.store import Facts

OPTIMIZERS = FIXTURES / "tf-1.15.5" / "optimizers" / "all.ckpt"
WHOLE = np.arange(10, dtype=np.float32).reshape(5, 2)
HALVES = [((0, 3), (0, 2)), ((3, 2), (0, 2))]


def write(folder: Path, format: str, names: dict[str, int], halves: list[int] | None = None) -> str:
    """Write ``w`` in two slices (or fewer), and under each name the one with this number."""
    numbers = [(name, WHOLE * 10, [number]) for name, number in names.items()]
    stored = {
        name: (array, [HALVES[number] for number in some])
        for name, array, some in [("w", WHOLE, halves or [0, 1]), *numbers]
    }
    if format == "v2":
        write_bundle(folder / "m", {name: Saved(array, slices=boxes) for name, (array, boxes) in stored.items()})
    else:
        write_v1(folder / "m", {name: V1Saved(array, slices=boxes) for name, (array, boxes) in stored.items()})
    return str(folder / "m")


@pytest.mark.parametrize("format", ["v2", "v1"])
def test_a_part_is_a_tensor_of_its_own(tmp_path: Path, format: str) -> None:
    path = write(tmp_path, format, {"w/part_0/Adam": 0, "w/part_1/Adam": 1})
    with tfbundle.open_checkpoint(path) as checkpoint:
        part = checkpoint["w/part_1/Adam"]
        assert (part.shape, part.whole_shape, part.slices) == ((2, 2), (5, 2), ())
        assert part.region == TensorSlice((3, 0), (2, 2), HALVES[1])
        assert_same(part.read(), WHOLE[3:] * 10)
        assert_same(part[1:, ::-1], WHOLE[4:, ::-1] * 10)
        assert_same(np.concatenate(list(part.chunks())), WHOLE[3:].ravel() * 10)
        assert_same(pickle.loads(pickle.dumps(part)).read(), WHOLE[3:] * 10)
        whole = np.zeros((5, 2), np.float32)
        for name in ("w/part_0/Adam", "w/part_1/Adam"):
            region = checkpoint[name].region
            assert region is not None
            whole[region.index] = checkpoint[name]
        assert_same(whole, WHOLE * 10)
        assert checkpoint["w"].region is None
        assert checkpoint["w"].whole_shape == (5, 2)
    assert tfbundle.load(path, mmap=True)["w/part_0/Adam"].shape == (3, 2)
    assert tfbundle.verify(path).ok
    assert train.load_checkpoint(path).get_variable_to_shape_map()["w/part_1/Adam"] == [5, 2]


@pytest.mark.parametrize("format", ["v2", "v1"])
@pytest.mark.parametrize(("name", "halves"), [("x/part_1/Adam", [0, 1]), ("part_1", [0, 1]), ("w/part_1/Adam", [0])])
def test_what_no_variable_explains_is_incomplete(tmp_path: Path, format: str, name: str, halves: list[int]) -> None:
    """The variable has to be there, with the same slice among its own."""
    path = write(tmp_path, format, {name: 1}, halves)
    with tfbundle.open_checkpoint(path) as checkpoint:
        assert checkpoint[name].region is None
        assert checkpoint[name].shape == (5, 2)
        with pytest.raises(FormatError, match=r"region \[0:3, 0:2\]"):
            checkpoint[name].read()
    assert not tfbundle.verify(path).ok


def test_a_part_whose_slice_has_no_entry(tmp_path: Path) -> None:
    lost = Saved(WHOLE, slices=[HALVES[0]], slice_lies={0: {"raw": None}})
    write_bundle(tmp_path / "m", {"w": Saved(WHOLE, slices=HALVES), "w/part_0/Adam": lost})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint, pytest.raises(FormatError, match="no entry"):
        checkpoint["w/part_0/Adam"].read()


def test_names_that_lead_to_the_variable() -> None:
    """Scopes around a slot, and those in front of the variable's name, do not matter; other names do."""
    box = TensorSlice((0, 0), (3, 2), HALVES[0])
    facts = Facts(1, (5, 2), (box,))
    tilings = {"net/w": Tiling((5, 2), frozenset({((0, 0), (3, 2)), ((3, 0), (2, 2))}))}
    for name in ("net/w/part_0/Adam", "net/w/t_0/Ftrl_1", "net/w/x/y/z", "OptimizeLoss/net/w/part_0/Adam"):
        part = find_part(name, facts, tilings.get)
        assert part is not None, name
        assert (part.region, part.shape) == (box, (5, 2))
    for name in ("net/w", "w/part_0/Adam", "net/ww/part_0/Adam", "net", ""):
        assert find_part(name, facts, tilings.get) is None
    other = facts._replace(slices=(TensorSlice((0, 0), (2, 2), ((0, 2), (0, 2))),))
    assert find_part("net/w/part_0/Adam", other, tilings.get) is None
    assert find_part("net/w/part_0/Adam", facts._replace(shape=(6, 2)), tilings.get) is None


def test_tensorflow_reads_the_same_parts() -> None:
    """By the slice that a saver's graph names."""
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is the oracle")
    with tfbundle.open_checkpoint(OPTIMIZERS) as checkpoint:
        parts = {name: tensor for name, tensor in checkpoint.items() if tensor.region is not None}
        assert len(parts) == 12
        for name, tensor in parts.items():
            assert tensor.region is not None
            extents = ":".join(f"{start},{length}" for start, length in tensor.region.extents)
            spec = f"{' '.join(map(str, tensor.whole_shape))} {extents}".replace("0,2", "-")
            (found,) = tf.raw_ops.RestoreV2(
                prefix=str(OPTIMIZERS), tensor_names=[name], shape_and_slices=[spec], dtypes=[tf.float32]
            )
            assert_same(tensor.read(), found.numpy())


@pytest.mark.parametrize("format", ["v2", "v1"])
def test_a_part_of_a_damaged_variable_is_intact(tmp_path: Path, format: str) -> None:
    """What is salvaged can be read, also a slot whose variable is lost, and its shape is that of the part."""
    slot = {"w/part_0/Adam": (WHOLE * 10, [HALVES[0]])}
    stored = {"w": (WHOLE, HALVES), **slot}
    if format == "v2":
        write_bundle(tmp_path / "m", {name: Saved(array, slices=boxes) for name, (array, boxes) in stored.items()})
    else:
        saved = {name: V1Saved(array, slices=boxes) for name, (array, boxes) in stored.items()}
        write_v1(tmp_path / "m", saved, block_size=1)
    damaged = WHOLE[3:].tobytes()
    (path,) = [path for path in tmp_path.iterdir() if damaged in path.read_bytes()]
    path.write_bytes(path.read_bytes().replace(damaged, bytes(len(damaged))))
    with tfbundle.open_checkpoint(tmp_path / "m", salvage=True) as checkpoint:
        assert (list(checkpoint), list(checkpoint.partial)) == (["w/part_0/Adam"], ["w"])
        part = checkpoint["w/part_0/Adam"]
        assert (part.shape, part.whole_shape, part.slices) == ((3, 2), (5, 2), ())
        for tensor in (part, pickle.loads(pickle.dumps(part))):
            assert_same(tensor.read(), WHOLE[:3] * 10)
        for tensor in (checkpoint.partial["w"], pickle.loads(pickle.dumps(checkpoint.partial["w"]))):
            assert_same(tensor[:3], WHOLE[:3])
            with pytest.raises(FormatError, match=r"region \[3:5, 0:2\]"):
                tensor.read()
