"""The checkpoint as a mapping, and ``load``."""

import copy
import gc
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import DTYPES, assert_same, sample_array
from tests.support.bundle_writer import FULL, Saved, data_file, write_bundle
from tests.support.expected import FIXTURES, expected_checkpoints, sha256_of
from tests.support.table_writer import encode_table
from tests.support.v1_writer import write_v1
from tfbundle import ChecksumError, FormatError, MissingFileError, Tensor, TfBundleError

ARRAYS = {
    "conv1/bias": sample_array("float32", (4,)),
    "conv1/kernel": sample_array("float32", (3, 3, 2, 4)),
    "conv2/kernel": sample_array("float32", (2, 2)),
    "global_step": np.array(1000, np.int64),
    "words": sample_array("object", (3,)),
}


@pytest.fixture(params=["v1", "v2"])
def prefix(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "model.ckpt-1000"
    if request.param == "v1":
        write_v1(path, ARRAYS)
    else:
        write_bundle(path, ARRAYS)
    return path


@pytest.fixture
def checkpoint(prefix: Path) -> Any:
    with tfbundle.open_checkpoint(prefix) as opened:
        yield opened


# The mapping.


def test_mapping(checkpoint: tfbundle.Checkpoint) -> None:
    assert isinstance(checkpoint, Mapping)
    assert len(checkpoint) == len(ARRAYS)
    assert list(checkpoint) == list(checkpoint.keys()) == list(ARRAYS)
    assert [name for name, _ in checkpoint.items()] == list(ARRAYS)
    assert [tensor.name for tensor in checkpoint.values()] == list(ARRAYS)
    assert all(isinstance(tensor, Tensor) for tensor in checkpoint.values())
    for name, tensor in checkpoint.items():
        assert_same(tensor.read(), ARRAYS[name])
        assert_same(checkpoint[name].read(), ARRAYS[name])
        assert name in checkpoint
    assert len(checkpoint.items()) == len(checkpoint.values()) == len(ARRAYS)
    assert dict(checkpoint).keys() == ARRAYS.keys()


def test_names_are_looked_up_before_they_are_listed(prefix: Path) -> None:
    """Both ways to a tensor, the search and the list, give the same."""
    for name in ARRAYS:
        with tfbundle.open_checkpoint(prefix) as checkpoint:
            assert_same(checkpoint[name].read(), ARRAYS[name])
            assert list(checkpoint) == list(ARRAYS)
            assert_same(checkpoint[name].read(), ARRAYS[name])


@pytest.mark.parametrize("name", ["", "conv1", "conv1/kernel:0", "zzz", "\0", "\udcff", 5, None, b"words", ()])
def test_absent_names(checkpoint: tfbundle.Checkpoint, name: Any) -> None:
    assert name not in checkpoint
    assert checkpoint.get(name) is None
    with pytest.raises(KeyError):
        checkpoint[name]
    list(checkpoint)
    assert name not in checkpoint
    with pytest.raises(KeyError):
        checkpoint[name]


def test_key_error_suggests(checkpoint: tfbundle.Checkpoint) -> None:
    with pytest.raises(KeyError, match="did you mean 'conv1/kernel'"):
        checkpoint["conv1/kernle"]
    with pytest.raises(KeyError, match="there is no tensor 'optimizer'"):
        checkpoint["optimizer"]
    with pytest.raises(KeyError, match=re.escape(checkpoint.prefix)):
        checkpoint["optimizer"]


@pytest.mark.effort
def test_absent_names_among_a_great_many(tmp_path: Path) -> None:
    names = [f"encoder/layer_{number}/attention/query/kernel" for number in range(5_000)]
    write_bundle(tmp_path / "model", dict.fromkeys(names, np.zeros(1, np.float32)))
    with tfbundle.open_checkpoint(tmp_path / "model") as checkpoint:
        start = time.process_time()
        with pytest.raises(KeyError, match="did you mean 'encoder/layer_17/attention/query/kernel'"):
            checkpoint["encoder/layer_17/attention/query/kernle"]
        assert [checkpoint.get(name.upper()) for name in names] == [None] * len(names)
        found = checkpoint.get(names[3])
        assert found is not None
        assert found.name == names[3]
        assert time.process_time() - start < 2.5


def test_attributes(prefix: Path) -> None:
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        assert checkpoint.prefix == str(prefix)
        assert checkpoint.format == ("v1" if prefix.exists() else "v2")
        assert bool(checkpoint)
        assert "5 tensors" in repr(checkpoint)
        assert str(prefix) in repr(checkpoint)
        assert checkpoint._ipython_key_completions_() == list(ARRAYS)


def test_equality_is_identity(prefix: Path) -> None:
    """Two open checkpoints are two things; comparing values would read them."""
    with tfbundle.open_checkpoint(prefix) as one, tfbundle.open_checkpoint(prefix) as two:
        assert one == one
        assert one["words"].name == two["words"].name


def test_context_manager_closes(prefix: Path) -> None:
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        pass
    with pytest.raises(ValueError, match="closed"):
        checkpoint["conv1/kernel"].read()
    assert isinstance(repr(checkpoint), str)
    checkpoint.close()


def test_looking_up_after_close(prefix: Path) -> None:
    """Names that were listed stay; what would be read, or was kept by chance, is an error."""
    listed, searched, fresh = (tfbundle.open_checkpoint(prefix) for _ in range(3))
    names = list(listed)
    assert "conv1/kernel" in searched
    for checkpoint in (listed, searched, fresh):
        checkpoint.close()
        for look in (checkpoint.__getitem__, checkpoint.__contains__, checkpoint.get):
            for name in (names[0], "absent"):
                with pytest.raises(ValueError, match="closed") as caught:
                    look(name)
                assert not isinstance(caught.value, TfBundleError)
    assert list(listed) == names
    # A V1 checkpoint is listed when it is opened.
    for checkpoint in (searched, fresh) if listed.format == "v2" else ():
        with pytest.raises(ValueError, match="closed"):
            list(checkpoint)
        assert "closed" in repr(checkpoint)


def test_an_exception_passes_the_context_manager(prefix: Path) -> None:
    with pytest.raises(RuntimeError, match="mine"), tfbundle.open_checkpoint(prefix) as checkpoint:
        raise RuntimeError("mine")
    with pytest.raises(ValueError, match="closed"):
        checkpoint["conv1/kernel"].read()


def test_files_are_closed(prefix: Path) -> None:
    """No warning of an unclosed file, whether closed or dropped; the suite turns warnings into errors."""
    checkpoint = tfbundle.open_checkpoint(prefix)
    checkpoint["conv1/kernel"].read()
    del checkpoint
    gc.collect()
    for path in prefix.parent.iterdir():
        path.unlink()  # Windows refuses to delete a file that is open.


def test_a_damaged_index_opens_no_list(tmp_path: Path) -> None:
    """An index out of order opens, for its header is there, but has no list of names and no absent name."""
    write_bundle(tmp_path / "b", {"a": np.ones(2), "b": np.ones(2)})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        header, first, second = (checkpoint._store.index.table[key] for key in (b"", b"a", b"b"))
    data = encode_table([(b"", header), (b"b", second), (b"a", first)])
    (tmp_path / "b.index").write_bytes(data)
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        for ask in (
            list,
            len,
            dict,
            lambda names: "c" in names,
            lambda names: names["c"],
            lambda names: names.get("c"),
        ):
            with pytest.raises(FormatError, match="order"):
                ask(checkpoint)
        assert "unreadable" in repr(checkpoint)


def test_format_argument(prefix: Path) -> None:
    with pytest.raises(ValueError, match="'v3'"):
        tfbundle.open_checkpoint(prefix, format="v3")  # type: ignore[arg-type]
    mine = "v1" if prefix.exists() else "v2"
    other = "v2" if mine == "v1" else "v1"
    with tfbundle.open_checkpoint(prefix, format=mine) as checkpoint:
        assert checkpoint.format == mine
    with pytest.raises(MissingFileError, match=f"{other} was requested|no V1 checkpoint"):
        tfbundle.open_checkpoint(prefix, format=other)  # type: ignore[arg-type]


def test_copies_of_tensors(checkpoint: tfbundle.Checkpoint) -> None:
    for duplicate in (copy.copy, copy.deepcopy):
        assert_same(duplicate(checkpoint["words"]).read(), ARRAYS["words"])


# load()


def test_load(prefix: Path) -> None:
    loaded = tfbundle.load(prefix)
    assert type(loaded) is dict
    assert list(loaded) == list(ARRAYS)
    for name, array in loaded.items():
        assert_same(array, ARRAYS[name])
        assert array.flags.writeable


def test_arrays_of_load_are_apart(prefix: Path) -> None:
    loaded = tfbundle.load(prefix)
    for name, array in loaded.items():
        array[...] = array.dtype.type(0) if array.dtype != object else None
        for other, wanted in tfbundle.load(prefix).items():
            assert_same(wanted, ARRAYS[other])
            if other > name:
                assert_same(loaded[other], ARRAYS[other])


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", list(ARRAYS)),
        ("conv*", ["conv1/bias", "conv1/kernel", "conv2/kernel"]),
        ("*kernel", ["conv1/kernel", "conv2/kernel"]),
        ("conv?/kernel", ["conv1/kernel", "conv2/kernel"]),
        ("conv[12]/b*", ["conv1/bias"]),
        ("words", ["words"]),
    ],
)
def test_names_by_glob(prefix: Path, pattern: str, names: list[str]) -> None:
    for mmap in (False, True):
        loaded = tfbundle.load(prefix, names=pattern, mmap=mmap)
        assert list(loaded) == names
        for name, array in loaded.items():
            assert_same(array, ARRAYS[name])


@pytest.mark.parametrize("pattern", ["", "kernel", "conv1", "CONV*", "conv3*", "conv1/kernel/*"])
def test_glob_without_a_match(prefix: Path, pattern: str) -> None:
    with pytest.raises(KeyError, match=re.escape(repr(pattern))):
        tfbundle.load(prefix, names=pattern)


def test_names_by_list(prefix: Path) -> None:
    for names in (["words", "conv1/bias"], ("words", "conv1/bias"), {"words": 1, "conv1/bias": 2}.keys()):
        loaded = tfbundle.load(prefix, names=names)
        assert list(loaded) == ["words", "conv1/bias"]
        assert_same(loaded["words"], ARRAYS["words"])
    assert set(tfbundle.load(prefix, names={"words", "conv1/bias"})) == {"words", "conv1/bias"}
    assert tfbundle.load(prefix, names=[]) == {}
    assert list(tfbundle.load(prefix, names=["words", "words"])) == ["words"]


@pytest.mark.parametrize("names", [["words", "conv*"], {"conv*": "x"}])
def test_list_takes_no_globs(prefix: Path, names: list[str] | dict[str, str]) -> None:
    with pytest.raises(KeyError, match=r"'conv\*'.*names in a list or dict are exact.*names='conv\*'"):
        tfbundle.load(prefix, names=names)


def test_names_by_pattern_and_function(prefix: Path) -> None:
    assert list(tfbundle.load(prefix, names=re.compile("^conv./k"))) == ["conv1/kernel", "conv2/kernel"]
    assert list(tfbundle.load(prefix, names=lambda name: name.endswith("bias"))) == ["conv1/bias"]
    with pytest.raises(KeyError, match="matches the pattern 'convolution'"):
        tfbundle.load(prefix, names=re.compile("convolution"))
    with pytest.raises(KeyError, match=r"matches the function str\.isdigit"):
        tfbundle.load(prefix, names=str.isdigit)


def test_a_name_with_wildcards_is_a_name_first(tmp_path: Path) -> None:
    arrays = {"w0/kernel": np.zeros(2), "w[0]/kernel": np.ones(2), "*": np.arange(3), "q?": np.arange(4)}
    write_bundle(tmp_path / "m", arrays)
    for names, found in (
        ("w[0]/kernel", ["w[0]/kernel"]),
        ("w[0]/k*", ["w0/kernel"]),
        ("w[[]0]/*", ["w[0]/kernel"]),
        ("*", ["*"]),
        ("**", sorted(arrays)),
        ("q?", ["q?"]),
        (["w[0]/kernel", "*"], ["w[0]/kernel", "*"]),
        ({"w[0]/kernel": "x"}, ["x"]),
    ):
        assert list(tfbundle.load(tmp_path / "m", names=names)) == found


def test_names_by_dict(prefix: Path) -> None:
    loaded = tfbundle.load(prefix, names={"words": "vocabulary", "conv1/kernel": "w"})
    assert list(loaded) == ["vocabulary", "w"]
    assert_same(loaded["vocabulary"], ARRAYS["words"])
    assert_same(loaded["w"], ARRAYS["conv1/kernel"])
    assert tfbundle.load(prefix, names={}) == {}


def test_two_tensors_of_one_wanted_name(prefix: Path) -> None:
    with pytest.raises(ValueError, match="'w'"):
        tfbundle.load(prefix, names={"words": "w", "conv1/kernel": "w", "conv1/bias": "b"})
    # Names may change places.
    swapped = tfbundle.load(prefix, names={"conv1/bias": "conv1/kernel", "conv1/kernel": "conv1/bias"})
    assert_same(swapped["conv1/kernel"], ARRAYS["conv1/bias"])


def test_absent_name_of_a_dict_or_list(prefix: Path) -> None:
    for names in (["word"], {"word": "w"}):
        with pytest.raises(KeyError, match="did you mean 'words'"):
            tfbundle.load(prefix, names=names)


def test_v1_and_v2_of_one_name(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"v": np.array(2)})
    write_v1(tmp_path / "m", {"v": np.array(1)})
    assert tfbundle.load(tmp_path / "m")["v"] == 2
    assert tfbundle.load(tmp_path / "m", format="v1")["v"] == 1
    assert tfbundle.load(tmp_path / "m", format="v2")["v"] == 2


# Views of the mapped file.


def mapped(array: np.ndarray[Any, Any]) -> bool:
    """Whether an array's bytes lie in a mapped file."""
    base: Any = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return isinstance(base, memoryview)


@pytest.mark.parametrize("alignment", [1, 64])
def test_mmap(tmp_path: Path, alignment: int) -> None:
    arrays = {f"{name}/{shape}": sample_array(name, shape) for name in DTYPES for shape in [(3, 5), (), (0,)]}
    write_bundle(tmp_path / "b", arrays, alignment=alignment)
    loaded = tfbundle.load(tmp_path / "b", mmap=True)
    for name, array in arrays.items():
        assert_same(loaded[name], array)
        assert not loaded[name].flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            loaded[name][...] = loaded[name]
        assert mapped(loaded[name]) == (array.dtype != object and array.size > 0)


def test_mmap_shares_the_file(tmp_path: Path) -> None:
    (place,) = write_bundle(tmp_path / "b", {"v": np.arange(4, dtype=np.uint8)})["v"]
    view = tfbundle.load(tmp_path / "b", mmap=True)["v"]
    with data_file(tmp_path / "b").open("r+b") as file:
        file.seek(place.offset)
        file.write(b"\x09")
    assert view.tolist() == [9, 1, 2, 3]


def test_mmap_of_what_is_not_stored_as_an_array(tmp_path: Path) -> None:
    array = sample_array("float32", (4, 2))
    tensors = {"parts": Saved(array, slices=[((0, 1), FULL), ((1, 3), FULL)]), "v": array}
    write_bundle(tmp_path / "little", tensors)
    write_bundle(tmp_path / "big", tensors, byteorder="big")
    for name, has_views in (("little", True), ("big", False)):
        loaded = tfbundle.load(tmp_path / name, mmap=True)
        assert mapped(loaded["v"]) == has_views
        assert not mapped(loaded["parts"])
        for found in loaded.values():
            assert_same(found, array)
            assert not found.flags.writeable


def test_mmap_verifies(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": Saved(np.arange(4.0), lies={"crc": 1})})
    with pytest.raises(ChecksumError) as caught:
        tfbundle.load(tmp_path / "b", mmap=True)
    assert caught.value.tensor == "v"
    assert tfbundle.load(tmp_path / "b", mmap=True, verify=False)["v"].tolist() == [0, 1, 2, 3]


def test_load_gives_what_tensors_give() -> None:
    """Many small tensors are read at once, which must not show."""
    for expected in expected_checkpoints("v2"):
        if expected.error is not None or "many-keys" in str(expected):
            continue
        names = [name for name, wanted in expected.tensors.items() if "error" not in wanted]
        loaded = tfbundle.load(expected.path, names=names)
        assert list(loaded) == names
        views = tfbundle.load(expected.path, names=names, mmap=True)
        with tfbundle.open_checkpoint(expected.path) as checkpoint:
            assert set(checkpoint) == set(expected.tensors)
            for name in names:
                tensor = checkpoint[name]
                if tensor.data_type == "DT_VARIANT":
                    assert loaded[name].tolist() == tensor.read().tolist()
                    continue
                assert_same(loaded[name], tensor.read())
                assert_same(views[name], loaded[name])


def test_twenty_thousand_tensors() -> None:
    (expected,) = (case for case in expected_checkpoints("v2") if "many-keys" in str(case))
    loaded = tfbundle.load(expected.path)
    assert {name: sha256_of(array) for name, array in loaded.items()} == {
        name: wanted["sha256"] for name, wanted in expected.tensors.items()
    }
    assert all(array.base is None for array in loaded.values())
    assert FIXTURES.is_dir()
