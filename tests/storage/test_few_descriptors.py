"""Checkpoints of more files than a process may have open."""

import errno
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.bundle_writer import Saved, write_bundle
from tests.support.v1_writer import write_v1
from tfbundle.conversion.convert import convert
from tfbundle.conversion.sources.opening import open_source
from tfbundle.errors import FormatError
from tfbundle.storage import local
from tfbundle.storage.descriptors import most_maps, most_open_files, open_making_room
from tfbundle.storage.local import LocalSource

# Each limit is that of a copy of a process that has imported everything.
LOAD = """
import os, resource, sys, numpy.random, tfbundle
tfbundle.load, tfbundle.verify, tfbundle.list_checkpoints
prefix, folder = sys.argv[1:]
for limit in 20, 64:
    if os.fork():
        os.wait()
        continue
    tfbundle.load(prefix)  # Whatever loads when it is first used has files of its own.
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    loaded = tfbundle.load(prefix)
    mapped = tfbundle.load(prefix, mmap=True)
    assert sorted(int(array) for array in mapped.values()) == list(range(100))
    assert not any(array.flags.writeable for array in mapped.values())
    again = tfbundle.load(prefix, mmap=True)  # While all maps of the first are in use.
    assert [array.tolist() for array in again.values()] == [array.tolist() for array in mapped.values()]
    open(sys.executable, "rb").close()  # There are descriptors left.
    report = tfbundle.verify(prefix)
    (listed,) = tfbundle.list_checkpoints(folder)
    print(limit, sorted(int(array) for array in loaded.values()) == list(range(100)), report.ok, listed.complete)
    break
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_hundred_files(tmp_path: Path, version: str) -> None:
    if version == "v2":
        tensors = {f"t{number:02d}": Saved(np.array(number), shards=(number,)) for number in range(100)}
        write_bundle(tmp_path / "m", tensors, num_shards=100)
    else:
        for number in range(100):
            write_v1(tmp_path / f"m-{number:05d}-of-00100", {f"t{number:02d}": np.array(number)})
    done = subprocess.run([sys.executable, "-c", LOAD, tmp_path / "m", tmp_path], capture_output=True, text=True)
    assert done.stdout == "20 True True True\n64 True True True\n", done.stderr


CONVERT = """
import os, resource, sys, numpy.random, tfbundle
tfbundle.load
source, out = sys.argv[1:]
for limit in 24, 64:
    if os.fork():
        os.wait()
        continue
    tfbundle.convert(source, f"{out}/first{limit}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    tfbundle.convert(source, f"{out}/{limit}")
    print(limit, sorted(int(array) for array in tfbundle.load(f"{out}/{limit}").values()) == list(range(100)))
    break
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_hundred_shards_of_safetensors(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    convert({f"t{number:02d}": np.array(number) for number in range(100)}, tmp_path / "m.safetensors", shards=100)
    index = tmp_path / "m.safetensors.index.json"
    done = subprocess.run([sys.executable, "-c", CONVERT, index, tmp_path], capture_output=True, text=True)
    assert done.stdout == "24 True\n64 True\n", done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_shard_of_safetensors_that_was_replaced_after_it_was_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("safetensors")
    monkeypatch.setattr("tfbundle.conversion.sources.safetensors.most_open_files", lambda: 1)
    convert({"a": np.zeros(2), "b": np.ones(2)}, tmp_path / "m.safetensors", shards=2)
    with open_source(tmp_path / "m.safetensors.index.json") as source:
        assert source["a"].read().tolist() == [0, 0]
        assert source["b"].read().tolist() == [1, 1]
        shard = tmp_path / "m-00001-of-00002.safetensors"
        (tmp_path / "new").write_bytes(shard.read_bytes())
        (tmp_path / "new").replace(shard)
        with pytest.raises(FormatError, match="was replaced"):
            source["a"].read()
        assert source["b"].read().tolist() == [1, 1]
    with pytest.raises(ValueError, match="closed"):
        source["b"].read()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(("allowed", "kept"), [(-1, 64), (1024, 64), (256, 64), (252, 63), (64, 16), (4, 1), (3, 1)])
def test_how_many_are_kept(monkeypatch: pytest.MonkeyPatch, allowed: int, kept: int) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, allowed))
    assert most_open_files() == kept


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("allowed", [-1, 64, 3])
def test_how_many_are_mapped(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, allowed))
    is_limited = sys.version_info < (3, 13) and allowed > 0
    assert most_maps() == (allowed // 2 if is_limited else sys.maxsize)


@pytest.mark.parametrize(("most", "is_mapped"), [(0, False), (1 << 20, True)])
def test_what_is_not_mapped_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, is_mapped: bool
) -> None:
    monkeypatch.setattr(local, "most_maps", lambda: most)
    (tmp_path / "f").write_bytes(b"abcdef")
    source = LocalSource(tmp_path / "f")
    view = source.view(2, 3)
    assert view == b"cde"
    assert view.readonly
    assert isinstance(view.obj, mmap.mmap) == is_mapped


def test_a_map_for_which_no_descriptor_is_left_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(local.mmap, "mmap", refuse)
    (tmp_path / "f").write_bytes(b"abcdef")
    view = LocalSource(tmp_path / "f").view(2, 3)
    assert view == b"cde"
    assert view.readonly


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_the_oldest_is_dropped(code: int) -> None:
    opened = {5: "first", 3: "second", 4: "third"}

    def open_file() -> str:
        if len(opened) > 1:
            raise OSError(code, "too many")
        return "file"

    assert open_making_room(open_file, opened) == "file"
    assert opened == {4: "third"}


@pytest.mark.parametrize(("code", "left"), [(errno.EMFILE, 0), (errno.EACCES, 2)])
def test_errors_that_closing_files_does_not_fix(code: int, left: int) -> None:
    opened = {1: "first", 2: "second"}

    def open_file() -> str:
        raise OSError(code, "no")

    with pytest.raises(OSError, match="no") as caught:
        open_making_room(open_file, opened)
    assert caught.value.errno == code
    assert len(opened) == left
