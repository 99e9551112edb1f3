"""Kerchunk references, read back by fsspec and zarr, VirtualiZarr and icechunk, and compared bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import DTYPES, object_array, sample_array
from tests.support.bundle_writer import FULL, QUANTISED, VARIANT, Saved, data_file, write_bundle
from tests.support.command import refusal, run
from tests.support.http_server import serving
from tests.support.v1_writer import V1Saved, write_v1
from tests.tensors.test_store_contract import constants
from tfbundle import FormatError, MissingFileError, TruncatedError, UnsupportedError
from tfbundle import limits as limits_module
from tfbundle.proto import VariantTensorDataProto
from tfbundle.views import references as references_module

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
TRAINING = FIXTURES / "tf-1.15.5" / "training" / "model.ckpt-40"
ROWS = sample_array("float32", (10, 4), 3)
SHAPES: dict[str, tuple[int, ...]] = {"matrix": (6, 4), "scalar": (), "empty": (0, 3), "none": (4, 0)}


def read_with_zarr(references: dict[str, Any]) -> Callable[[str], Any]:
    """A function that returns the values under a name, by whichever version of zarr is installed."""
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    references = json.loads(json.dumps(references))
    if int(zarr.__version__.partition(".")[0]) < 3:
        group = zarr.open_group(fsspec.get_mapper("reference://", fo=references), mode="r")
    else:
        files = fsspec.filesystem("reference", fo=references, asynchronous=True, remote_options={"asynchronous": True})
        group = zarr.open_group(zarr.storage.FsspecStore(files, read_only=True), mode="r")

    def read(name: str) -> Any:
        values = group[name][...]
        # zarr returns a string without dimensions in numpy's type of strings, whose elements seem to end before a NUL.
        is_text = isinstance(values, np.ndarray) and values.dtype.kind == "S"
        return object_array([values.tobytes()], ()) if is_text else np.asarray(values)

    return read


def assert_bits(found: Any, expected: Any) -> None:
    assert found.shape == expected.shape
    if expected.dtype.hasobject:
        assert found.tolist() == expected.tolist()
        return
    if expected.dtype.num >= 256:
        expected = expected.view(f"u{expected.itemsize}")
    found = found.astype(found.dtype.newbyteorder("="))
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("chunk_bytes", [None, 16, 1])
@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_every_type_and_partition(tmp_path: Path, byteorder: str, chunk_bytes: int | None) -> None:
    arrays = {f"{name}/{kind}": sample_array(name, shape) for name in DTYPES for kind, shape in SHAPES.items()}
    arrays |= {"w": ROWS, "w/Adam": ROWS + 1, "w/0": ROWS[0], "model/é/.ATTRIBUTES/VARIABLE_VALUE": ROWS}
    saved: dict[str, Any] = {
        "even": Saved(ROWS, slices=[((0, 5), FULL), ((5, 5), FULL)], shards=(0, 1)),
        "uneven": Saved(ROWS, slices=[((0, 4), (0, 2)), ((0, 4), (2, 2)), ((4, 6), FULL)], shards=(0, 1, 1)),
        "one": Saved(ROWS, slices=[((0, 7), FULL), ((7, 3), FULL)], shards=(1, 0)),
    }
    arrays |= dict.fromkeys(saved, ROWS)
    write_bundle(tmp_path / "m", arrays | saved, num_shards=2, byteorder=byteorder)
    read = read_with_zarr(tfbundle.zarr_references(tmp_path / "m", chunk_bytes=chunk_bytes))
    for name, array in arrays.items():
        assert_bits(read(name), array)


def test_what_references_state(tmp_path: Path) -> None:
    saved = {
        "bf": sample_array("bfloat16", (2,)),
        "even": Saved(ROWS, slices=[((0, 5), FULL), ((5, 5), FULL)], shards=(0, 1)),
        "scope/q": Saved(np.zeros(3, np.int8), data_type=11),
        "w": ROWS,
    }
    placed = write_bundle(tmp_path / "m", saved, num_shards=2, byteorder="big")
    references = tfbundle.zarr_references(tmp_path / "m")
    refs = references["refs"]
    assert references["version"] == 1
    first, second = str(data_file(tmp_path / "m", 0, 2)), str(data_file(tmp_path / "m", 1, 2))
    assert refs["w/0.0"] == [first, placed["w"][0].offset, 160]
    assert refs["even/0.0"] == [first, placed["even"][0].offset, 80]
    assert refs["even/1.0"] == [second, placed["even"][1].offset, 80]
    facts = {name: json.loads(refs[f"{name}/.zarray"]) for name in saved}
    assert {name: one["dtype"] for name, one in facts.items()} == {
        "bf": ">u2",
        "even": ">f4",
        "scope/q": "|i1",
        "w": ">f4",
    }
    assert facts["even"]["chunks"] == [5, 4]
    assert json.loads(refs["bf/.zattrs"]) == {"_ARRAY_DIMENSIONS": ["bf:0"], "data_type": "DT_BFLOAT16"}
    assert json.loads(refs["scope/q/.zattrs"]) == {"_ARRAY_DIMENSIONS": ["q:0"], "data_type": "DT_QINT8"}
    assert json.loads(refs["w/.zattrs"]) == {"_ARRAY_DIMENSIONS": ["w:0", "w:1"]}
    assert [key for key in refs if key.endswith(".zgroup")] == [".zgroup", "scope/.zgroup"]
    chunked = tfbundle.zarr_references(tmp_path / "m", chunk_bytes=32, names="w")["refs"]
    assert [chunked[f"w/{row}.0"][1:] for row in range(5)] == [
        [placed["w"][0].offset + 32 * row, 32] for row in range(5)
    ]


def test_quantised_types(tmp_path: Path) -> None:
    arrays = {f"q{number}": sample_array(name, (5,)) for number, name in QUANTISED.items()}
    write_bundle(tmp_path / "m", {f"q{number}": Saved(arrays[f"q{number}"], number) for number in QUANTISED})
    references = tfbundle.zarr_references(tmp_path / "m")
    read = read_with_zarr(references)
    for name, array in arrays.items():
        assert_bits(read(name), array)
        assert json.loads(references["refs"][f"{name}/.zattrs"])["data_type"].startswith("DT_Q")


@pytest.mark.parametrize("compressed", [False, True])
def test_v1(tmp_path: Path, compressed: bool) -> None:
    large = sample_array("float32", (600, 1000))
    arrays = {"half": sample_array("float16", (4, 3)), "large": large, "words": object_array([b"a", b"", b"\xff"])}
    saved = {**arrays, "parts": V1Saved(ROWS, slices=[((0, 5), FULL), ((5, 5), FULL)])}
    write_v1(tmp_path / "m", saved, compress=compressed)
    references = tfbundle.zarr_references(tmp_path / "m")
    assert (references["refs"]["large/0.0"][0] == str(tmp_path / "m")) == (not compressed)
    read = read_with_zarr(references)
    for name, array in {**arrays, "parts": ROWS}.items():
        assert_bits(read(name), array)


def test_graphs_saved_models_and_fixtures(tmp_path: Path) -> None:
    with constants(tmp_path) as weights:
        read = read_with_zarr(tfbundle.zarr_references(tmp_path / "frozen.pb"))
        for name, tensor in weights.items():
            assert_bits(read(name), tensor.read())
    folder = next(path.parent for path in FIXTURES.rglob("saved_model.pb") if (path.parent / "variables").is_dir())
    for path in (folder, TRAINING):
        read = read_with_zarr(tfbundle.zarr_references(path))
        for name, array in tfbundle.load(path).items():
            assert_bits(read(name), array)


def test_names_are_chosen_as_by_load(tmp_path: Path) -> None:
    refs = tfbundle.zarr_references(TRAINING, names={"fc1/weights": "dense/kernel"})["refs"]
    assert {key.rpartition("/")[0] for key in refs if key.endswith(".zarray")} == {"dense/kernel"}
    with pytest.raises(KeyError, match="did you mean"):
        tfbundle.zarr_references(TRAINING, names=["fc1/weight"])


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("/w", "not a valid .* path"),
        ("w/", "not a valid .* path"),
        ("a//b", "not a valid .* path"),
        ("a/../b", "not a valid .* path"),
        ("..", "not a valid .* path"),
        ("a/.", "not a valid .* path"),
        (".zarray", "not a valid .* path"),
        ("w/.zattrs", "not a valid .* path"),
        ("w/zarr.json", "not a valid .* path"),
        ("a\\b", "not a valid .* path"),
        ("a\0b", "not a valid .* path"),
        ("\udcff", "not UTF-8"),
        ("x/" * 300 + "w", "301 levels"),
        ("x" * 5000, "more than 4096 characters"),
    ],
)
def test_hostile_names_are_refused(tmp_path: Path, name: str, match: str) -> None:
    write_bundle(tmp_path / "m", {name: ROWS, "fine": ROWS})
    with pytest.raises(UnsupportedError, match=match) as caught:
        tfbundle.zarr_references(tmp_path / "m")
    assert "1 of 2 tensors" in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "fine/0.0" in tfbundle.zarr_references(tmp_path / "m", names=["fine"])["refs"]
    assert "other/0.0" in tfbundle.zarr_references(tmp_path / "m", names={name: "other"})["refs"]


def test_names_that_mean_something_elsewhere_are_names(tmp_path: Path) -> None:
    arrays = {"{{ 7 * 7 }}": ROWS, '<b>"': ROWS + 1, "base64:AA": ROWS + 2, "a b%20#?": ROWS + 3}
    write_bundle(tmp_path / "{{x}}", arrays)
    read = read_with_zarr(tfbundle.zarr_references(tmp_path / "{{x}}"))
    for name, array in arrays.items():
        assert_bits(read(name), array)


def test_other_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = VariantTensorDataProto(type_name="x").SerializeToString()
    saved = {
        "v": Saved(object_array([message]), VARIANT),
        "d": Saved(np.zeros(1, np.int8), lies={"shape": (1,) * 33}),
        "w": ROWS,
    }
    write_bundle(tmp_path / "m", saved)
    with pytest.raises(UnsupportedError, match=r"2 of 3 tensors.*dimensions: 'd'.*variants: 'v'"):
        tfbundle.zarr_references(tmp_path / "m")
    write_bundle(tmp_path / "s", {"a": object_array([b"x" * 50]), "b": object_array([b"x" * 50])})
    for most, accepted in ((120, True), (100, False)):
        monkeypatch.setattr(references_module, "LARGEST_INLINED", most)
        if accepted:
            tfbundle.zarr_references(tmp_path / "s")
        else:
            with pytest.raises(UnsupportedError, match="convert it to a V2 checkpoint"):
                tfbundle.zarr_references(tmp_path / "s")
    monkeypatch.setattr(references_module, "MOST_REFERENCES", 30)
    assert tfbundle.zarr_references(tmp_path / "m", names="w", chunk_bytes=16)
    with pytest.raises(UnsupportedError, match="larger chunk_bytes"):
        tfbundle.zarr_references(tmp_path / "m", names="w", chunk_bytes=4)
    with pytest.raises(ValueError, match="at least 1"):
        tfbundle.zarr_references(tmp_path / "m", chunk_bytes=0)
    assert limits_module.LARGEST_INLINED == 64 << 20


def test_files_are_checked(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"w": ROWS})
    path = data_file(tmp_path / "m")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TruncatedError):
        tfbundle.zarr_references(tmp_path / "m")
    path.unlink()
    with pytest.raises(MissingFileError):
        tfbundle.zarr_references(tmp_path / "m")
    half = Saved(ROWS, slices=[((0, 5), FULL), ((5, 5), FULL)], slice_lies={1: {"raw": None}})
    write_bundle(tmp_path / "h", {"w": half})
    with pytest.raises(FormatError, match="in none of the stored slices"):
        tfbundle.zarr_references(tmp_path / "h")


def test_relative_paths_and_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "m", {"w": ROWS})
    monkeypatch.chdir(tmp_path)
    assert tfbundle.zarr_references("m")["refs"]["w/0.0"][0] == str(data_file(tmp_path / "m"))
    pytest.importorskip("obstore", reason="obstore is not installed")
    with serving(tmp_path) as server:
        references = tfbundle.zarr_references(f"{server.url}/m", chunk_bytes=80)
        assert references["refs"]["w/1.0"] == [f"{server.url}/{data_file(tmp_path / 'm').name}", 80, 80]
        pytest.importorskip("aiohttp", reason="aiohttp is not installed")
        assert_bits(read_with_zarr(references)("w"), ROWS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_virtualizarr_and_icechunk(tmp_path: Path, byteorder: str) -> None:
    virtualizarr = pytest.importorskip("virtualizarr", reason="VirtualiZarr is not installed")
    icechunk = pytest.importorskip("icechunk", reason="icechunk is not installed")
    import xarray
    import zarr
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import LocalStore
    from virtualizarr.parsers import KerchunkJSONParser

    names = ("float32", "float64", "float16", "bfloat16", "int64", "uint8", "bool", "complex64", "int4")
    arrays = {name: sample_array(name, (6, 4)) for name in names} | {"scalar": np.array(2.5), "even": ROWS}
    slices = [((0, 5), FULL), ((5, 5), FULL)]
    write_bundle(
        tmp_path / "m",
        {**arrays, "even": Saved(ROWS, slices=slices, shards=(0, 1)), "scope/w": ROWS},
        num_shards=2,
        byteorder=byteorder,
    )
    path = tmp_path / "refs.json"
    path.write_text(json.dumps(tfbundle.zarr_references(tmp_path / "m", chunk_bytes=64)))
    registry = ObjectStoreRegistry({"file://": LocalStore()})
    store = KerchunkJSONParser(group="scope")(path.as_uri(), registry)
    assert_bits(np.asarray(zarr.open_group(store, mode="r")["w"][...]), ROWS)
    virtual = virtualizarr.open_virtual_dataset(
        path.as_uri(), registry=registry, parser=KerchunkJSONParser(), loadable_variables=[]
    )
    assert set(virtual.variables) == set(arrays)
    config = icechunk.RepositoryConfig.default()
    prefix = f"file://{tmp_path}/"
    container = icechunk.VirtualChunkContainer(prefix, icechunk.local_filesystem_store(str(tmp_path)))
    config.set_virtual_chunk_container(container)
    allowed = icechunk.containers_credentials({prefix: None})
    repository = icechunk.Repository.create(
        icechunk.in_memory_storage(), config, authorize_virtual_chunk_access=allowed
    )
    session = repository.writable_session("main")
    virtual.vz.to_icechunk(session.store)
    session.commit("references")
    opened = xarray.open_zarr(repository.readonly_session("main").store, consolidated=False, zarr_format=3)
    for name, array in arrays.items():
        assert_bits(opened[name].values, array)


def test_the_command(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"a": ROWS, "b": ROWS, "words": object_array([b"x"])})
    expected = tfbundle.zarr_references(tmp_path / "m", chunk_bytes=80, names=["a"])
    shown = run("references", tmp_path / "m", "--names", "a*", "--chunk-bytes", "80")
    assert json.loads(shown.stdout) == expected
    out = tmp_path / "refs.json"
    assert run("references", tmp_path / "m", "-o", out, "--exclude", "words").exit_code == 0
    assert json.loads(out.read_text()) == tfbundle.zarr_references(tmp_path / "m", names=["a", "b"])
    assert run("references", tmp_path / "m", "-o", out).stdout == f"written: {out}\n"
    assert "checkpoint" in refusal("references", tmp_path / "m", "-o", f"{tmp_path / 'm'}.index")
    assert "no tensor" in refusal("references", tmp_path / "m", "--names", "c")


SCALE = """
import sys, time, tfbundle
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
tfbundle.zarr_references(sys.argv[1], names=["t0/w0"])
before, start = peak(), time.process_time()
references = tfbundle.zarr_references(sys.argv[1])
print(len(references["refs"]), time.process_time() - start, (peak() - before) >> 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux reports it")
@pytest.mark.effort
def test_many_tensors(tmp_path: Path) -> None:
    one = np.float32([1, 2])
    tfbundle.save(tmp_path / "m", ((f"t{number // 10}/w{number % 10}", one) for number in range(40_000)))
    done = subprocess.run([sys.executable, "-c", SCALE, tmp_path / "m"], capture_output=True, text=True, check=True)
    count, seconds, megabytes = map(float, done.stdout.split())
    assert count == 124_001
    assert seconds < 5  # 0.6 s on a machine that does nothing else.
    assert megabytes < 120
