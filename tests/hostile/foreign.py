"""Hostile files of other programs: archives, headers and datasets that grow, lead elsewhere or are not numbers."""

from __future__ import annotations

import importlib.util
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.catalogue import Wanted, add

A = np.arange(3, dtype=np.float32)
_HAS_SAFETENSORS = importlib.util.find_spec("safetensors") is not None
_HAS_H5PY = importlib.util.find_spec("h5py") is not None

# numpy's archives.


def _npy(descr: str, shape: str, data: bytes = b"", fortran: bool = False) -> bytes:
    return _npy_of(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode(), data)


def _npy_of(header: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


_GOOD = _npy("'<f4'", "(3,)", A.tobytes())


def _add_npz(
    name: str,
    title: str,
    members: Callable[[], dict[str, bytes]],
    *,
    method: int = zipfile.ZIP_STORED,
    values: dict[str, Any] | None = None,
    refused: frozenset[str] = frozenset({"w"}),
) -> None:
    """An archive with a good member ``a`` beside the others."""

    def build(folder: Path) -> Wanted:
        path = folder / "x.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", _GOOD)
            for member, data in members().items():
                archive.writestr(f"{member}.npy", data, method, compresslevel=1)
        return Wanted(path, {"a": A, **(values or {})}, refused)

    add(f"npz-{name}", "foreign", build, title)


_add_npz(
    "bomb",
    "100 MB of zeros in a compressed archive",
    lambda: {"w": _npy("'|u1'", "(100000000,)", bytes(100_000_000))},
    method=zipfile.ZIP_DEFLATED,
)
_add_npz(
    "bzip2",
    "an archive compressed by bzip2, whose output has no bound",
    lambda: {"w": _npy("'|u1'", "(10000000,)", bytes(10_000_000))},
    method=zipfile.ZIP_BZIP2,
)
_add_npz(
    "lzma",
    "an archive compressed by LZMA",
    lambda: {"w": _npy("'|u1'", "(2000000,)", bytes(2_000_000))},
    method=zipfile.ZIP_LZMA,
)
for _name, _descr, _shape, _data in (
    ("strings-empty", "'|S0'", "(100000000000,)", b""),
    ("strings-of-no-characters", "'<U1'", "(2,)", b"\xff" * 8),
    ("strings-of-surrogates", "'<U1'", "(1,)", b"\x00\xd8\0\0"),
    ("shape-overflows", "'<f4'", f"({1 << 62}, 4)", b""),
    ("shape-negative", "'<f4'", "(-1,)", b""),
    ("shape-true", "'<f4'", "(True,)", bytes(4)),
    ("shape-of-4,900-dimensions".replace(",", ""), "'<f4'", "(" + "1," * 4900 + ")", bytes(4)),
    ("shape-is-a-power", "'<f4'", "(9**9**9,)", b""),
    ("type-of-2-gb", "'|S2000000000'", "(1,)", b"abc"),
    ("type-nested", "'" + "(2,)" * 60 + "<f4'", "(1,)", b""),
    ("type-of-fields", "[" + ",".join(f"('a{n}','<f4')" for n in range(300)) + "]", "(1,)", b""),
    ("pickle", "'|O'", "(1,)", b"cos\nsystem\n(S'exit 1'\ntR."),
    ("date", "'<M8[s]'", "(1,)", bytes(8)),
    ("void", "'|V4'", "(1,)", bytes(4)),
    ("data-too-short", "'<f4'", "(1000000000,)", bytes(4)),
):
    _add_npz(
        _name,
        f"a .npz with {_name.replace('-', ' ')}",
        lambda _d=_descr, _s=_shape, _b=_data: {"w": _npy(_d, _s, _b)},  # type: ignore[misc]
    )
_add_npz("header-of-brackets", "a .npz whose header is nested 9,000 deep", lambda: {"w": _npy_of(b"(" * 9000)})
_add_npz("header-huge", "a .npz whose header claims 65,535 bytes", lambda: {"w": b"\x93NUMPY\x01\x00\xff\xff"})
_add_npz(
    "members-20-000",
    "an archive of 20,000 arrays",
    lambda: {f"w{number}": _GOOD for number in range(20_000)},
    values={f"w{number}": A for number in range(20_000)},
    refused=frozenset(),
)


def _add_raw(
    name: str, title: str, file: str, make: Callable[[Path], bytes], *, is_there: bool = True, **wanted: Any
) -> None:
    def build(folder: Path) -> Wanted:
        path = folder / file
        path.write_bytes(make(folder))
        return Wanted(path, **wanted)

    if is_there:
        add(name, "foreign", build, title)


def _directory(entries: int) -> bytes:
    """An archive whose directory has many members without names."""
    directory = (b"PK\1\2" + bytes(42)) * entries
    end = struct.pack("<HHHHIIH", 0, 0, 0, 0, len(directory), 35, 0)
    return b"PK\3\4" + bytes(22) + struct.pack("<HH", 5, 0) + b"a.npy" + directory + b"PK\5\6" + end


def _shared_members() -> bytes:
    """Many entries of the directory for one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("w.npy", _npy("'|u1'", "(100000,)", bytes(100_000)))
        info = archive.infolist()[0]
        for number in range(1000):
            copy = zipfile.ZipInfo(f"w{number}.npy")
            for name in ("header_offset", "CRC", "compress_size", "file_size", "compress_type", "flag_bits"):
                setattr(copy, name, getattr(info, name))
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
    return buffer.getvalue()


_add_raw(
    "npz-directory-large", "an archive whose directory has 20 MB", "x.npz", lambda _: _directory(450_000), opens=False
)
_add_raw("npz-names-empty", "an archive with nameless members", "x.npz", lambda _: _directory(1000), opens=False)
_add_raw("npz-members-shared", "1,000 members with the same bytes", "x.npz", lambda _: _shared_members(), opens=False)


# safetensors.


def _safetensors(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def _entry(shape: list[int], begin: int, end: int, dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _add_safetensors(name: str, title: str, header: Callable[[], Any], data: bytes = b"", **wanted: Any) -> None:
    def make(folder: Path) -> bytes:
        made = header()
        return _safetensors(made if isinstance(made, bytes) else json.dumps(made).encode(), data)

    wanted.setdefault("opens", False)
    _add_raw(f"safetensors-{name}", title, "x.safetensors", make, is_there=_HAS_SAFETENSORS, **wanted)


_add_safetensors(
    "overlapping", "tensors with the same bytes", lambda: {f"t{n}": _entry([4], 0, 4) for n in range(2)}, b"abcd"
)
_add_safetensors("gap", "a gap between tensors", lambda: {"t": _entry([4], 2, 6)}, b"abcdef")
_add_safetensors("behind-the-end", "a tensor behind the end", lambda: {"t": _entry([4], 0, 4)}, b"ab")
_add_safetensors("shape-overflows", "a shape that overflows", lambda: {"t": _entry([1 << 62, 8], 0, 4)}, b"abcd")
_add_safetensors(
    "rank-1000",
    "a tensor of 1,000 dimensions",
    lambda: {"t": _entry([1] * 1000, 0, 1)},
    b"a",
    opens=True,
    refused=frozenset({"t"}),
)
_add_safetensors("brackets", "a header nested a million deep", lambda: b'{"a":' + b"[" * 1_000_000)
_add_safetensors("numbers", "a header with ten million numbers", lambda: b'{"a":[' + b"1," * 10_000_000 + b"1]}")
_add_safetensors(
    "dimensions",
    "a shape of five million dimensions",
    lambda: b'{"a":{"dtype":"U8","shape":[' + b"1," * 5_000_000 + b'1],"data_offsets":[0,1]}}',
    b"a",
)
_add_safetensors(
    "metadata",
    "a header with a million facts about the file",
    lambda: b'{"__metadata__":{' + b",".join(b'"%d" :""' % n for n in range(1_000_000)) + b"}}",
)
_add_safetensors("name-of-30-mb", "a name of 30 MB", lambda: b'{"' + b"a" * 30_000_000 + b'":1}')
_add_raw(
    "safetensors-header-huge",
    "a header of 2^40 bytes",
    "x.safetensors",
    lambda _: struct.pack("<Q", 1 << 40) + b'{"a":1}',
    is_there=_HAS_SAFETENSORS,
    opens=False,
)


def _add_index(name: str, title: str, text: str, **wanted: Any) -> None:
    def make(folder: Path) -> bytes:
        shard = _safetensors(json.dumps({"a": _entry([3], 0, 12, "F32") | {"shape": [3]}}).encode(), A.tobytes())
        (folder / "s.safetensors").write_bytes(shard)
        (folder.parent / "outside.safetensors").write_bytes(shard)
        return text.encode()

    wanted.setdefault("opens", False)
    _add_raw(f"index-{name}", title, "x.safetensors.index.json", make, is_there=_HAS_SAFETENSORS, **wanted)


_add_index("good", "an index of one file", '{"weight_map": {"a": "s.safetensors"}}', values={"a": A}, opens=True)
for _name, _file in (
    ("above", "../outside.safetensors"),
    ("absolute", "/etc/passwd"),
    ("windows", "..\\\\outside.safetensors"),
    ("dots", ".."),
    ("itself", "x.safetensors.index.json"),
    ("nul", "s\\u0000.safetensors"),
    ("surrogate", "\\ud800.safetensors"),
    ("long", "x" * 5000),
):
    _add_index(_name, f"an index whose file is {_name}", f'{{"weight_map": {{"a": "{_file}"}}}}')
_add_index("brackets", "an index nested a million deep", '{"metadata": {}, "weight_map": ' + "[" * 1_000_000)
_add_index(
    "lists", "an index of 3 million lists", '{"metadata": {}, "weight_map": {"a": [' + "[]," * 3_000_000 + "1]}}"
)
_add_index("number", "an index with a number of a million digits", '{"weight_map": {"a": ' + "9" * 1_000_000 + "}}")
_add_index("is-a-list", "an index whose map is a list", '{"metadata": {}, "weight_map": ["s.safetensors"]}')
_add_index("huge", "an index of 20 MB", '{"metadata": {}, "weight_map": {"a": "' + "x" * 20_000_000 + '"}}')

# HDF5 and Keras.


def _add_hdf5(name: str, title: str, make: Callable[[Any, Any], object], **wanted: Any) -> None:
    """A file with a good dataset ``a`` beside what ``make`` adds to it."""

    def build(folder: Path) -> Wanted:
        import h5py  # type: ignore[import-untyped, import-not-found, unused-ignore]

        path = folder / "x.h5"
        with h5py.File(path, "w") as file:
            file["a"] = A
            make(h5py, file)
        values = {"a": A, **wanted.pop("values", {})}
        return Wanted(path, values, **wanted)

    if _HAS_H5PY:
        add(f"hdf5-{name}", "foreign", build, title)


def _make_links(h5py: Any, file: Any) -> None:
    file["soft"] = h5py.SoftLink("/soft")
    file["one"] = h5py.SoftLink("/two")
    file["two"] = h5py.SoftLink("/one")
    file["outside"] = h5py.ExternalLink("/etc/passwd", "/")
    group = file.create_group("group")
    group["up"] = file["/"]
    group["self"] = group


def _make_strings(h5py: Any, file: Any) -> None:
    """Thirty thousand strings, each of which is the same megabyte."""
    kind = h5py.string_dtype()
    dataset = file.create_dataset("w", (30_000,), kind)
    dataset[0] = b"x" * 1_000_000
    file.flush()
    offset = dataset.id.get_offset()
    path = file.filename
    file.close()
    data = bytearray(Path(path).read_bytes())
    data[offset : offset + 16 * 30_000] = data[offset : offset + 16] * 30_000
    Path(path).write_bytes(data)


def _make_deep(h5py: Any, file: Any) -> None:
    group = file
    for _ in range(300):
        group = group.create_group("g")
    group["w"] = A


_add_hdf5("links", "links in circles and to other files", _make_links)
_add_hdf5(
    "unwritten",
    "a dataset of 4 TB without a byte",
    lambda h5py, file: file.create_dataset("w", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024)),
    refused=frozenset({"w"}),
)
_add_hdf5(
    "external",
    "a dataset in a file of the system",
    lambda h5py, file: file.create_dataset("w", (100,), "u1", external=[("/etc/passwd", 0, 100)]),
    refused=frozenset({"w"}),
)
_add_hdf5(
    "chunk-large",
    "a compressed chunk of 128 MB",
    lambda h5py, file: file.create_dataset(
        "w", (1 << 27,), "u1", chunks=(1 << 27,), data=np.zeros(1 << 27, np.uint8), compression=1
    ),
    refused=frozenset({"w"}),
)
_add_hdf5("strings", "30,000 strings that are the same megabyte", _make_strings, refused=frozenset({"w"}))
_add_hdf5(
    "datasets-2-500",
    "2,500 datasets in as many groups",
    lambda h5py, file: [file.create_dataset(f"g{number}/w", data=A) for number in range(2500)],
    values={f"g{number}/w": A for number in range(2500)},
)


def _build_deep(folder: Path) -> Wanted:
    import h5py

    with h5py.File(folder / "x.h5", "w") as file:
        _make_deep(h5py, file)
    return Wanted(folder / "x.h5", opens=False)


def _add_keras(name: str, title: str, size: int, method: int, **wanted: Any) -> None:
    """A ``.keras`` archive with a dataset of zeros in it."""

    def build(folder: Path) -> Wanted:
        import h5py

        with h5py.File(folder / "w.h5", "w") as file:
            file["a"] = A
            file["zeros"] = np.zeros(size, np.uint8)
        with zipfile.ZipFile(folder / "x.keras", "w", method, compresslevel=1) as archive:
            archive.writestr("metadata.json", "{}")
            archive.write(folder / "w.h5", "model.weights.h5")
        values = {"a": A, "zeros": np.zeros(size, np.uint8)} if wanted.get("opens", True) else {}
        return Wanted(folder / "x.keras", values, **wanted)

    if _HAS_H5PY:
        add(f"keras-{name}", "foreign", build, title)


if _HAS_H5PY:
    add("hdf5-deep", "foreign", _build_deep, "300 groups in each other")
_add_keras("stored", "a .keras archive", 1000, zipfile.ZIP_STORED)
_add_keras("packed", "a .keras archive that is compressed", 1 << 24, zipfile.ZIP_DEFLATED)
_add_keras("bomb", "a .keras archive that inflates to 100 MB", 100_000_000, zipfile.ZIP_DEFLATED, opens=False)
_add_keras("bzip2", "a .keras archive compressed by bzip2", 1 << 20, zipfile.ZIP_BZIP2, opens=False)
