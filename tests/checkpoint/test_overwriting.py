"""Whatever stops or fails while a checkpoint is overwritten, the old one or the new one is there, whole."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tfbundle.checkpoint.v2 import writer
from tfbundle.checkpoint.v2.index import read_header
from tfbundle.formats.table.reader import Table
from tfbundle.storage import placing, staging
from tfbundle.storage.locations import locate

CALLS = ("open", "write", "rename", "replace", "link", "symlink", "unlink", "fsync", "close")

# Runs without the threads of TensorFlow and pytest, so that it can fork. Each child stops before its n-th call.
STOPPING = """
import os, shutil, sys
import numpy as np
import tfbundle
from tests.checkpoint.test_overwriting import CALLS, save
from tests.support.stopping import exit_before
for shards in sys.argv[2:]:
    folder = f"{sys.argv[1]}/{shards}"
    old_shards, new_shards = map(int, shards.split("-"))
    os.mkdir(folder)
    save(folder + "/old/model", 0, old_shards)
    for number in range(1000):
        here = f"{folder}/{number}"
        shutil.copytree(folder + "/old", here)
        child = os.fork()
        if not child:
            exit_before(CALLS, number)
            save(here + "/model", 1, new_shards)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
    shutil.rmtree(folder + "/old")
"""

# Each child saves one step after the other, on top of what those before it left, until it is killed.
KILLING = """
import itertools, os, random, signal, sys, time
from tests.checkpoint.test_overwriting import save, step_of
prefix, chance, last = sys.argv[1], random.Random(20), 0
save(prefix, 0)
for _ in range(20):
    child = os.fork()
    if not child:
        for step in itertools.count(last):
            save(prefix, step, sync=False)
    time.sleep(chance.random() / 20)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    last = step_of(prefix)
    print(last)
"""


def values(step: int) -> dict[str, np.ndarray]:
    return {f"v{i}": np.full(100, step * 10 + i, np.float32) for i in range(4)}


def save(prefix: str | Path, step: int, shards: int = 1, *, sync: bool = True) -> None:
    with tfbundle.CheckpointWriter(prefix, shards=shards, sync=sync) as writer:
        for number, (name, value) in enumerate(values(step).items()):
            writer.add(name, value, shard=number % shards)


def step_of(prefix: str | Path) -> int:
    """Return which checkpoint is there, whole."""
    found = tfbundle.load(prefix)
    step = int(found["v0"][0]) // 10
    for name, value in values(step).items():
        np.testing.assert_array_equal(found[name], value)
    assert {finding.kind for finding in tfbundle.verify(prefix).findings} <= {"superfluous"}
    return step


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def run_stopping(folder: Path, *shards: tuple[int, int]) -> dict[tuple[int, int], list[Path]]:
    """For the numbers of old and new shards, the folders of saves that were stopped, each one call later."""
    names = {counts: f"{counts[0]}-{counts[1]}" for counts in shards}
    command = [sys.executable, "-c", STOPPING, str(folder), *names.values()]
    subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return {
        counts: sorted((folder / name).iterdir(), key=lambda path: int(path.name)) for counts, name in names.items()
    }


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], list[Path]]:
    return run_stopping(tmp_path_factory.mktemp("stopped"), (1, 1), (3, 3), (2, 1))


@pytest.mark.parametrize(("old_shards", "new_shards"), [(1, 1), (3, 3), (2, 1)])
def test_stopped_at_every_system_call(
    stopped: dict[tuple[int, int], list[Path]], old_shards: int, new_shards: int
) -> None:
    folders = stopped[old_shards, new_shards]
    steps = [step_of(folder / "model") for folder in folders]
    assert steps == sorted(steps)  # First the old one, and from some call on the new one.
    assert (steps[0], steps[-1]) == (0, 1)
    assert steps.count(0) >= 4
    names = {path.name for path in folders[-1].iterdir()}
    assert len(names) == 1 + len({(i, n) for n in (old_shards, new_shards) for i in range(n)})


def test_tensorflow_reads_what_is_there_at_every_system_call(stopped: dict[tuple[int, int], list[Path]]) -> None:
    train = pytest.importorskip("tensorflow").train
    steps = []
    for folder in stopped[1, 1]:
        reader = train.load_checkpoint(str(folder / "model"))
        found = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
        steps.append(int(found["v0"][0]) // 10)
        for name, value in values(steps[-1]).items():
            np.testing.assert_array_equal(found[name], value)
    assert set(steps) == {0, 1}
    assert steps == sorted(steps)


def test_killed_at_any_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLING, str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    steps = list(map(int, done.stdout.split()))
    assert len(steps) == 20
    assert steps == sorted(steps)
    assert steps[-1] > 0


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("links", [True, False])
def test_each_call_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int, links: bool) -> None:
    prefix = tmp_path / "model"
    save(prefix, 0, shards)
    before = contents(tmp_path)
    failed = 0
    for number in range(200):
        with monkeypatch.context() as patch:
            left = number

            def failing(call):
                def fail(*arguments, **options):
                    nonlocal left
                    left -= 1
                    if left == -1:
                        raise OSError(errno.EIO, "broken")
                    return call(*arguments, **options)

                return fail

            if not links:

                def refuse(*_arguments, **_options):
                    raise OSError(errno.EPERM, "no links here")

                patch.setattr(placing.os, "link", refuse)
            for name in ("open", "write", "rename", "replace", "symlink", *["link"] * links):
                patch.setattr(staging.os, name, failing(getattr(os, name)))
            try:
                save(prefix, 1, shards, sync=False)
                done = True
            except OSError:
                done = False
                failed += 1
        if not done:
            assert contents(tmp_path) == before, number
            continue
        assert step_of(prefix) == 1
        assert set(contents(tmp_path)) == set(before)
        if left >= 0:
            break
        save(prefix, 0, shards)  # The call that failed was one that can be done without.
    assert failed >= 5


@pytest.mark.parametrize("shards", [1, 3])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, shards: int) -> None:
    prefix = tmp_path / "model"
    save(prefix, 0, shards)
    before = contents(tmp_path)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        with pytest.raises(OSError, match=r"model\.data-00000") as caught:
            tfbundle.save(prefix, {"large": np.zeros(3 << 20, np.uint8)}, shards=shards)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    assert contents(tmp_path) == before


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = tmp_path / "model"
    save(prefix, 0)
    before = contents(tmp_path)
    system_open = os.open

    def refuse(path, flags, *arguments, **options):  # For root, no folder is read-only.
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return system_open(path, flags, *arguments, **options)

    monkeypatch.setattr(staging.os, "open", refuse)
    with pytest.raises(PermissionError, match=r"model\.data-00000-of-00001'$"):
        save(prefix, 1)
    monkeypatch.undo()
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("length", "fits"), [(235, True), (236, False), (400, False)])
def test_long_names(tmp_path: Path, length: int, fits: bool) -> None:
    prefix = tmp_path / ("n" * length)
    if fits:
        save(prefix, 0)
        save(prefix, 1)
        assert step_of(prefix) == 1
        assert len(list(tmp_path.iterdir())) == 2
    else:
        with pytest.raises(OSError, match="too long"):
            save(prefix, 0)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [True, False])
def test_the_folder_of_the_prefix_is_made(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="twice"):
        tfbundle.save(tmp_path / "run" / "model", [("a", 1), ("a", 2)])
    assert (tmp_path / "run").is_dir() is there
    save(tmp_path / "run" / "model", 1)
    assert step_of(tmp_path / "run" / "model") == 1
    with pytest.raises(tfbundle.MissingFileError):
        save(tmp_path / "no" / "run" / "model", 1)
    assert not (tmp_path / "no").exists()


@pytest.mark.effort
def test_more_shards_than_descriptors(tmp_path: Path) -> None:
    prefix = tmp_path / "model"
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 32
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, limits[1]))
        for step in (0, 1):
            with tfbundle.CheckpointWriter(prefix, shards=200) as writer:
                for number in range(400):
                    writer.add(f"v{number}", np.full(1500, number + step, np.int64), shard=number % 200)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    found = tfbundle.load(prefix)
    assert all((value == int(name[1:]) + 1).all() for name, value in found.items())
    assert len(list(tmp_path.iterdir())) == 201


def test_an_open_reader_has_the_old_values_or_an_error(tmp_path: Path) -> None:
    prefix = tmp_path / "model"
    save(prefix, 0)
    with tfbundle.open_checkpoint(prefix) as begun, tfbundle.open_checkpoint(prefix) as waiting:
        begun["v0"].read()
        save(prefix, 1)
        np.testing.assert_array_equal(begun["v1"].read(), values(0)["v1"])
        with pytest.raises(tfbundle.FormatError, match="overwritten"):
            waiting["v0"].read()
    assert step_of(prefix) == 1


def test_links_in_the_place_of_files(tmp_path: Path) -> None:
    """A link is replaced, and not what it leads to, as when TensorFlow renames."""
    (tmp_path / "kept").mkdir()
    save(tmp_path / "kept" / "model", 0)
    (tmp_path / "run").mkdir()
    for path in (tmp_path / "kept").iterdir():
        (tmp_path / "run" / path.name).symlink_to(f"../kept/{path.name}")
    save(tmp_path / "run" / "model", 1)
    assert (step_of(tmp_path / "kept" / "model"), step_of(tmp_path / "run" / "model")) == (0, 1)
    assert not any(path.is_symlink() for path in (tmp_path / "run").iterdir())


def test_names_of_other_shards_are_left_alone(tmp_path: Path) -> None:
    """Files of two shards, of which the index knows nothing, do not get in the way of the detour, and stay."""
    save(tmp_path / "model", 0)
    other = tmp_path / "model.data-00000-of-00002"
    other.write_bytes(b"mine")
    save(tmp_path / "model", 1)
    assert step_of(tmp_path / "model") == 1
    assert other.read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("count", [1, 126, 127, 128])
def test_the_index_of_the_detour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """It differs from the index by the number of data files, which from 128 on takes a byte more."""
    save(tmp_path / "model", 0, count)
    seen = []

    def put_in_place(data, index, detour, *, sync):
        seen.extend(Table(locate(file.path).open(), verify=True) for file in (index, detour.index))
        placing.put_in_place(data, index, detour, sync=sync)

    monkeypatch.setattr(writer, "put_in_place", put_in_place)
    save(tmp_path / "model", 1, count)
    index, detour = (
        [pair for keys, values in table.blocks() for pair in zip(keys, values, strict=True)] for table in seen
    )
    assert [read_header(table).num_shards for table in seen] == [count, count + 1]
    assert index[0] != detour[0]
    assert index[1:] == detour[1:]
    assert len(index) == 5
    assert step_of(tmp_path / "model") == 1
