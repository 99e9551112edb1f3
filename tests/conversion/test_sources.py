"""Sources of other programs, as their own libraries write them, and what is refused of them."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tfbundle
from tests.support.arrays import PLAIN_DTYPES, assert_same, sample_array
from tests.support.bundle_writer import write_bundle
from tfbundle.conversion.convert import convert
from tfbundle.conversion.sources.opening import open_source
from tfbundle.conversion.sources.values import native
from tfbundle.errors import FormatError, MissingFileError, UnsupportedError

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)
LARGE = np.arange(700_000, dtype=np.int64).reshape(700, 1000)


def contents(path: Path) -> dict[str, Any]:
    with open_source(path) as source:
        return {name: tensor.read() for name, tensor in source.items()}


# numpy's archives.


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, save: Any) -> None:
    arrays = {
        "scope/w": MATRIX,
        "fortran": np.asfortranarray(MATRIX),
        "big_endian": MATRIX.astype(">f4"),
        "scalar": np.array(3.0),
        "empty": np.zeros((0, 3), np.int8),
        "large": LARGE,
        "complex": np.array([1 + 2j], np.complex64),
        "bool": np.array([True, False]),
    }
    save(tmp_path / "x.npz", **arrays)
    found = contents(tmp_path / "x.npz")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert_same(found[name], np.ascontiguousarray(array).reshape(array.shape).astype(array.dtype.newbyteorder("=")))
    np.savez(tmp_path / "s.npz", bytes=np.array([b"a", b"bc"]), text=np.array(["é", "x"]))
    assert contents(tmp_path / "s.npz")["bytes"].tolist() == [b"a", b"bc"]
    assert contents(tmp_path / "s.npz")["text"].tolist() == ["é".encode(), b"x"]


def test_a_part_of_a_foreign_tensor(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", large=LARGE)
    with open_source(tmp_path / "x.npz") as source:
        tensor = source["large"]
        assert_same(tensor[3:5, ::-2], LARGE[3:5, ::-2])
        copy = pickle.loads(pickle.dumps(tensor))
    assert_same(copy.read(), LARGE)
    with pytest.raises(ValueError, match="closed"):
        tensor.read()


def test_pickled_objects_are_refused_and_can_be_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", objects=np.array([{}], object), records=np.zeros(2, "i4,f4"), w=MATRIX)
    with pytest.raises(UnsupportedError, match=r"'objects': .*pickled.*'records'"):
        convert(tmp_path / "x.npz", tmp_path / "out.npz")
    done = convert(tmp_path / "x.npz", tmp_path / "out.npz", exclude=["objects", "records"])
    assert done.tensors == 1
    assert_same(contents(tmp_path / "out.npz")["w"], MATRIX)


def npy(header: bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
    return b"\x93NUMPY" + version + size + header + data


@pytest.mark.parametrize(
    ("member", "match"),
    [
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", bytes(8)), "does not take"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", bytes(8)), "does not take"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n"), "shape|header is invalid"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1 << 62, 8), }\n"), "header is invalid|shape"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,), }\n"), "shape"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4000000000), }\n", b"x"), "does not take"),
        (npy(b"(" * 5000), "header is invalid"),
        (npy(b"x" * 20_000), "more than 10000"),
        (npy(b"{}", version=b"\x02\x00"), "header is invalid"),
        (b"\x93NUMPY\x01\x00\xff\xff", "more than 10000"),
        (b"\x93NUM", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_damaged_members(tmp_path: Path, member: bytes, match: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("w.npy", member)
    with open_source(tmp_path / "x.npz") as source, pytest.raises(FormatError, match=match):
        source["w"].read()


def test_archives_that_grow_are_refused(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (70000000,), }\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("w.npy", "w") as file:
        file.write(npy(header))
        for _ in range(70):
            file.write(bytes(1_000_000))
    assert (tmp_path / "x.npz").stat().st_size < 1 << 20
    with open_source(tmp_path / "x.npz") as source, pytest.raises(UnsupportedError, match="expands more than"):
        source["w"].read()
    # Zeros that fit into the bound are read.
    np.savez_compressed(tmp_path / "y.npz", w=np.zeros(1 << 23, np.uint8))
    assert contents(tmp_path / "y.npz")["w"].nbytes == 1 << 23


def test_damaged_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", w=MATRIX, v=MATRIX)
    data = bytearray((tmp_path / "x.npz").read_bytes())
    (tmp_path / "cut.npz").write_bytes(data[:-30])
    with pytest.raises(FormatError, match="not a complete ZIP"):
        open_source(tmp_path / "cut.npz")
    place = data.index(MATRIX.tobytes()) + 5
    data[place] ^= 1
    (tmp_path / "flip.npz").write_bytes(data)
    with open_source(tmp_path / "flip.npz") as source:
        with pytest.raises(FormatError, match="'w'"):
            source["w"].read()
        assert_same(source["v"].read(), MATRIX)
    with pytest.raises(FormatError, match="'w'"):
        convert(tmp_path / "flip.npz", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_members_that_share_their_bytes(tmp_path: Path) -> None:
    """As in archives that inflate to more than a disk holds: many entries of the directory, one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("w.npy", npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000,), }\n", bytes(1000)))
        info = archive.infolist()[0]
        for number in range(5):
            copy = zipfile.ZipInfo(f"w{number}.npy")
            for name in ("header_offset", "CRC", "compress_size", "file_size", "compress_type", "flag_bits"):
                setattr(copy, name, getattr(info, name))
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
    (tmp_path / "x.npz").write_bytes(buffer.getvalue())
    with pytest.raises(FormatError, match="overlap"):
        open_source(tmp_path / "x.npz")


# safetensors.

library = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("safetensors") is None, reason="safetensors is not installed"
)


@library
def test_safetensors(tmp_path: Path) -> None:
    arrays = {name: sample_array(name, (5, 3)) for name in PLAIN_DTYPES if name not in ("complex128",)}
    kept = {name: array for name, array in arrays.items() if not name.startswith(("int4", "uint4", "int2", "uint2"))}
    kept = {name: array for name, array in kept.items() if "b11" not in name and "float4" not in name}
    kept |= {"scalar": np.array(3, np.float32), "empty": np.zeros((0, 2), np.int32), "large": LARGE}
    write_bundle(tmp_path / "b", kept)
    convert(tmp_path / "b", tmp_path / "x.safetensors")
    try:
        found = contents(tmp_path / "x.safetensors")
    except FormatError as error:
        pytest.skip(f"the installed safetensors does not know all types: {error}")
    assert set(found) == set(kept)
    for name, array in kept.items():
        assert_same(found[name], array)


@library
def test_safetensors_in_shards(tmp_path: Path) -> None:
    arrays = {f"t{number}": np.full(10, number, np.uint8) for number in range(10)}
    convert(arrays, tmp_path / "model.safetensors", shards=3)
    index = tmp_path / "model.safetensors.index.json"
    assert {name: array.tolist() for name, array in contents(index).items()} == {
        name: array.tolist() for name, array in arrays.items()
    }
    text = json.loads(index.read_text())

    def refused(error: type[Exception], match: str, **changes: Any) -> None:
        index.write_text(json.dumps({**text, "weight_map": {**text["weight_map"], **changes}}))
        with pytest.raises(error, match=match):
            open_source(index)

    refused(FormatError, "not a file of its folder", t0="../model-00001-of-00003.safetensors")
    refused(FormatError, "not a file of its folder", t0="..")
    refused(FormatError, "not a file of its folder", t0="")
    refused(FormatError, "no weight_map", t0=3)
    refused(FormatError, "but it does not", t9="model-00001-of-00003.safetensors")
    refused(MissingFileError, "gone.safetensors", t0="gone.safetensors")


@library
@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}}',
        b'{"a": {"dtype": "F32", "shape": [4611686018427387904, 8], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": 3}',
    ],
)
def test_damaged_safetensors(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    from tfbundle.conversion.sources.safetensors import open_store

    with pytest.raises(FormatError, match="not a valid safetensors"):
        open_store(str(tmp_path / "x.safetensors"))
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", 1 << 40) + header)
    with pytest.raises(FormatError, match="not a valid safetensors"):
        open_store(str(tmp_path / "x.safetensors"))


# HDF5.


def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["scope/w"] = MATRIX
        file["scope/scalar"] = 3.5
        file["big_endian"] = MATRIX.astype(">f4")
        file["bool"] = np.array([True, False])
        file["text"] = np.array(["é", "x"], h5py.string_dtype())
        file["bytes"] = np.array([b"a", b"bc"])
        file["empty"] = np.zeros((0, 3), np.int16)
        file.create_dataset("packed", data=LARGE, compression="gzip", chunks=(7, 100))
        file["again"] = file["scope"]
        file["scope/up"] = file["/"]
        file["soft"] = h5py.SoftLink("/nowhere")
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")
        file["half"] = np.array([1.5], ml_dtypes.bfloat16).view("V2")
        file["half"].attrs["dtype"] = "bfloat16"
        file["compound"] = np.zeros(2, "i4,f4")
        file["nothing"] = h5py.Empty("f4")
    with open_source(tmp_path / "x.h5") as source:
        assert source.format == "hdf5"
        unreadable = set()
        found = {}
        for name, tensor in source.items():
            try:
                found[name.removeprefix("again/").removeprefix("scope/")] = tensor.read()
            except UnsupportedError:
                unreadable.add(name)
    assert unreadable == {"compound", "nothing"}
    wanted = {"w", "scalar", "big_endian", "bool", "text", "bytes", "empty", "packed", "half"}
    assert set(found) == wanted
    assert_same(found["w"], MATRIX)
    assert_same(found["big_endian"], MATRIX)
    assert_same(found["packed"], LARGE)
    assert_same(found["half"], np.array([1.5], ml_dtypes.bfloat16))
    assert found["text"].tolist() == ["é".encode(), b"x"]
    assert found["bool"].tolist() == [True, False]


def test_hdf5_that_grows_or_is_damaged(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("w", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))
    with open_source(tmp_path / "x.h5") as source, pytest.raises(UnsupportedError, match="expands more than"):
        source["w"].read()
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_dataset("w", (100,), "f4", external=[("/etc/passwd", 0, 400)])
    with open_source(tmp_path / "y.h5") as source, pytest.raises(UnsupportedError, match="another file"):
        source["w"].read()
    with h5py.File(tmp_path / "z.h5", "w") as file:
        file["w"] = MATRIX
    data = (tmp_path / "z.h5").read_bytes()
    (tmp_path / "z.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match="not a complete HDF5"):
        open_source(tmp_path / "z.h5")


@pytest.fixture(scope="module")
def model() -> Any:
    """A model of Keras that has been trained."""
    pytest.importorskip("h5py")
    pytest.importorskip("tensorflow", reason="writes with Keras, which is not installed")
    keras = pytest.importorskip("keras")
    layers = [keras.layers.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization()]
    built = keras.Sequential([*layers, keras.layers.Dropout(0.5)])  # The last one has the state of a generator.
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    built.compile(optimizer=optimizer, loss="mse", run_eagerly=True)
    built.fit(np.ones((4, 3)), np.ones((4, 4)), verbose=0)
    return built


@pytest.mark.filterwarnings("ignore")
def test_keras_weights(model: Any, tmp_path: Path) -> None:
    wanted = sorted(array.tobytes() for array in model.get_weights())
    for name in ("m.keras", "m.weights.h5", "m.h5"):
        if name == "m.weights.h5":
            model.save_weights(tmp_path / name)
        else:
            model.save(tmp_path / name)
        found = contents(tmp_path / name)
        kept = sorted(array.tobytes() for key, array in found.items() if "optimizer" not in key and array.size > 1)
        assert kept == wanted, name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5"])
def test_the_optimizer_of_keras_is_left_out(model: Any, tmp_path: Path, name: str) -> None:
    (model.save_weights if name == "m.weights.h5" else model.save)(tmp_path / name)
    wanted = sorted(array.tobytes() for array in model.get_weights())
    done = convert(tmp_path / name, tmp_path / "weights.npz", weights=True)
    assert sorted(array.tobytes() for array in contents(tmp_path / "weights.npz").values()) == wanted
    slots = {item.name for item in done.items if item.action == "left out: optimizer slot"}
    # The optimizer and the one that it wraps both store all of them, except in the older form.
    assert len(slots) == (2 if name == "m.h5" else 4) * len(model.trainable_variables)
    convert(tmp_path / name, tmp_path / "no-slots.npz", slots=False)
    kept = contents(tmp_path / "no-slots.npz")
    assert set(kept) == {item.name for item in done.items} - slots
    counters = {array.tobytes() for key, array in kept.items() if "optimizer" in key}
    optimizer = model.optimizer
    states = [np.asarray(value) for value in (*optimizer.variables, *optimizer.inner_optimizer.variables)]
    assert counters == {array.tobytes() for array in states if not array.shape}


def test_only_hdf5_has_the_optimizer_of_keras(tmp_path: Path) -> None:
    done = convert({"optimizer/vars/0": MATRIX}, tmp_path / "out.npz", weights=True)
    assert done.tensors == 1


# Arrays in memory.


def test_arrays_in_memory(tmp_path: Path) -> None:
    arrays = {"w": MATRIX.T, "n": 3, "half": np.array([1.5], ml_dtypes.bfloat16), "list": [1.5, 2.5]}
    done = convert(arrays, tmp_path / "out.safetensors", rename={"n": "step"})
    assert done.tensors == 4
    found = contents(tmp_path / "out.safetensors") if (tmp_path / "out.safetensors").exists() else {}
    assert_same(found["w"], np.ascontiguousarray(MATRIX.T))
    assert found["step"] == 3
    assert_same(found["half"], arrays["half"])
    for value in ({"w": object()}, {"w": np.zeros(2, "datetime64[s]")}, {"w": np.array([1, None], object)}):
        with pytest.raises(ValueError, match="'w'"):
            convert(value, tmp_path / "x.npz")
    with pytest.raises(TypeError, match="3"):
        convert({3: MATRIX}, tmp_path / "x.npz")  # type: ignore[dict-item]
    with (
        tfbundle.conversion.sources.values.tensors_of({"w": MATRIX}) as source,
        pytest.raises(TypeError, match="pickle"),
    ):
        pickle.dumps(source["w"])


def test_a_checkpoint_comes_before_a_file_of_its_name(tmp_path: Path) -> None:
    write_bundle(tmp_path / "x.npz", {"w": MATRIX})
    np.savez(tmp_path / "x.npz", other=MATRIX)
    assert set(contents(tmp_path / "x.npz")) == {"w"}


@pytest.mark.parametrize(
    ("code", "is_text"),
    [
        (0xD7FF, True), (0xD800, False), (0xDC7F, False), (0xDC80, True), (0xDCFF, True), (0xDD00, False),
        (0xDFFF, False), (0xE000, True), (0x10FFFF, True), (0x110000, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", "<>")
def test_numbers_that_are_not_characters(code: int, is_text: bool, order: str) -> None:
    """numpy fails at them with errors of several kinds; bytes that were not UTF-8 have characters of their own."""
    array = np.array([ord("a"), code], f"{order}u4").view(f"{order}U2")
    if is_text:
        assert native(array)[0] == ("a" + chr(code)).encode("utf-8", "surrogateescape")
    else:
        with pytest.raises(FormatError, match="not Unicode characters"):
            native(array)


def test_a_source_is_not_replaced_unasked(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", w=MATRIX)
    with pytest.raises(ValueError, match="overwrite=True"):
        convert(tmp_path / "x.npz", tmp_path / "x.npz", cast="float64")
    convert(tmp_path / "x.npz", tmp_path / "x.npz", cast="float64", overwrite=True)
    assert contents(tmp_path / "x.npz")["w"].dtype == np.float64


@pytest.mark.parametrize(
    ("module", "name", "extra"), [("safetensors", "x.safetensors", "safetensors"), ("h5py", "x.h5", "hdf5")]
)
def test_a_library_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, extra: str
) -> None:
    pytest.importorskip(module)
    convert({"w": MATRIX}, tmp_path / name)
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(UnsupportedError, match=rf'needs the {module} library: pip install "tfbundle\[{extra}\]"'):
        open_source(tmp_path / name)


# HDF5 as a target.


def test_hdf5_is_what_h5py_reads(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    arrays = {
        "scope/w": MATRIX,
        "scope/deep/er": LARGE,
        "scalar": np.array(3, np.float64),
        "empty": np.zeros((0, 2), np.int32),
        "bool": np.array([True, False]),
        "complex": np.array([1 + 2j], np.complex64),
        "f16": np.array([1.5], np.float16),
        "half": np.array([1.5, -2], ml_dtypes.bfloat16),
        "é": np.array([1, 2], np.uint8),
    }
    convert(arrays, tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        for name, array in arrays.items():
            found = file[name][()]
            if name == "half":
                assert file[name].attrs["dtype"] == "bfloat16"
                found = found.view(ml_dtypes.bfloat16)
            assert_same(np.asarray(found), array)
    first = (tmp_path / "x.h5").read_bytes()
    convert(arrays, tmp_path / "x.h5")
    assert (tmp_path / "x.h5").read_bytes() == first
    found = contents(tmp_path / "x.h5")
    for name, array in arrays.items():
        assert_same(found[name], array)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"w": MATRIX, "w/Adam": MATRIX}, "cannot be .* group too"),
        ({"/w": MATRIX}, "not a valid .* path"),
        ({"a//b": MATRIX}, "not a valid .* path"),
        ({"a/./b": MATRIX}, "not a valid .* path"),
        ({"w": np.zeros(2, ml_dtypes.float8_e5m2)}, "float8_e5m2"),
        ({"w": ["te\0xt"]}, "zero bytes"),
    ],
)
def test_what_hdf5_cannot_hold(tmp_path: Path, arrays: dict[str, Any], match: str) -> None:
    pytest.importorskip("h5py")
    with pytest.raises(UnsupportedError, match=match):
        convert(arrays, tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()
