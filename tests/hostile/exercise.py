"""Every public way to read a checkpoint, held to the promise: a right value, or one of our errors.

What "right" means is known here as far as the ways must agree with each other: a name that is listed can be looked up,
and whole, in parts, in chunks, in bulk, mapped and from a pickle a tensor has the same bits. Any exception that is not
of the hierarchy goes through, and is what a test or a fuzzer reports.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

import tfbundle
from tests.hostile.effort import is_large, some
from tfbundle import TfBundleError, UnsupportedError

Array = np.ndarray[Any, Any]
T = TypeVar("T")

# A name that no checkpoint here has.
ABSENT = "no/such/tensor"


class BrokenPromise(Exception):
    """The library returned something that it should not have."""


@dataclass
class Found:
    """What reading gave: ``values`` of the tensors that could be read, and what was said about the others.

    ``names`` are all that are listed. ``error`` is what kept the checkpoint from being opened or listed; then there is
    nothing else. ``is_damaged`` is false where whatever was refused is right, but no array.
    """

    error: str | None = None
    names: list[str] = field(default_factory=list)
    values: dict[str, Array] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    is_damaged: bool = False


def demand(condition: bool, message: str) -> None:
    """Raise ``BrokenPromise`` unless the condition holds."""
    if not condition:
        raise BrokenPromise(message)


def same(one: Any, other: Any) -> bool:
    """Whether two arrays have the same dtype, shape and bits."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return bool(one.tolist() == other.tolist() if one.dtype.hasobject else one.tobytes() == other.tobytes())


@dataclass
class Watch:
    """How long the slowest of all attempts took, in seconds of the processor's time, and which one it was."""

    seconds: float = 0.0
    line: str = ""

    def note(self, seconds: float, action: Callable[..., Any]) -> None:
        if seconds > self.seconds:
            code = action.__code__ if hasattr(action, "__code__") else None
            self.seconds, self.line = seconds, f"line {code.co_firstlineno}" if code else repr(action)


# One for each process, which runs one case.
WATCH = Watch()


def attempt(action: Callable[[], T]) -> T | TfBundleError:
    """What an action returns, or which of our errors it raises."""
    start = time.process_time()
    try:
        return action()
    except TfBundleError as error:
        # Errors go from process to process and into logs; both have to work with whatever the file put into them.
        copy = pickle.loads(pickle.dumps(error))
        demand(str(copy) == str(error) and type(copy) is type(error), f"{error!r} changes when it is pickled")
        # What is kept of an error must not keep all that was in memory when it was raised.
        error.__traceback__ = error.__context__ = None
        return error
    finally:
        WATCH.note(time.process_time() - start, action)


def exercise_checkpoint(path: str | os.PathLike[str], *, verify: bool = True) -> Found:
    """Read a checkpoint in every way, and everything in it."""
    path = os.fspath(path)
    found = Found()
    checkpoint = attempt(lambda: tfbundle.open_checkpoint(path, verify=verify))
    if isinstance(checkpoint, TfBundleError):
        found.error, found.is_damaged = str(checkpoint), True
    else:
        with checkpoint:
            repr(checkpoint)
            # Some look a name up before they list the names.
            _look_up_absent(checkpoint)
            names = attempt(lambda: list(checkpoint))
            if isinstance(names, TfBundleError):
                found.error, found.is_damaged = str(names), True
                demand(isinstance(attempt(lambda: len(checkpoint)), TfBundleError), "it has a length but no names")
            else:
                found.names = names
                _exercise_names(checkpoint, names)
                last = None
                for name in some(names, path):
                    last = checkpoint[name]
                    exercise_tensor(last, name, found, verify=verify)
                attempt(lambda: checkpoint.objects)
                attempt(lambda: checkpoint.slots)
        if found.error is None and names:
            _expect_closed(last)
    _exercise_bulk(path, found, verify=verify)
    return found


def _look_up_absent(checkpoint: tfbundle.Checkpoint) -> None:
    try:
        checkpoint[ABSENT]
    except (KeyError, TfBundleError):
        return
    raise BrokenPromise(f"there is a tensor {ABSENT!r}")


def _exercise_names(checkpoint: tfbundle.Checkpoint, names: list[str]) -> None:
    demand(len(names) == len(set(names)) == len(checkpoint), "names are listed more or less than once")
    demand([name for name, _ in checkpoint.items()] == names, "items() and iteration list different names")
    demand(ABSENT not in checkpoint, "a name is there that is not listed")


def exercise_tensor(tensor: tfbundle.Tensor, name: str, found: Found, *, verify: bool) -> None:
    demand(tensor.name == name, "a tensor has another name than the one that it was asked for by")
    repr(tensor)
    for attribute in ("shape", "dtype", "data_type", "nbytes", "size", "ndim", "slices", "ranges"):
        attempt(lambda attribute=attribute: getattr(tensor, attribute))  # type: ignore[misc]
    value = attempt(tensor.read)
    part = attempt(lambda: tensor[...])
    chunks = attempt(lambda: list(tensor.chunks()))
    turned = attempt(lambda: tensor[::-1] if tensor.ndim else tensor[...])
    copied = attempt(lambda: pickle.loads(pickle.dumps(tensor)).read())
    if isinstance(value, TfBundleError):
        found.refused[name] = str(value)
        found.is_damaged |= not isinstance(value, UnsupportedError)
        # A part is not verified, so that it may be had where the whole may not; chunks have one dimension, and may be
        # had where numpy has no such array.
        others = (copied,) if isinstance(value, UnsupportedError) else (chunks, copied)
        for other in others:
            demand(isinstance(other, TfBundleError), f"read() refuses {name!r}, and another way does not: {value}")
        return
    found.values[name] = value
    demand(value.flags.writeable and value.dtype.isnative, f"the array of {name!r} is not the caller's own")
    demand(value.shape == tensor.shape and value.dtype == tensor.dtype, f"{name!r} has another type than it says")
    for way, other in (("[...]", part), ("[::-1]", turned), ("a pickle", copied)):
        # An index turns the order round, so that it takes another path.
        expected = value[::-1] if way == "[::-1]" and value.ndim else value
        demand(not isinstance(other, TfBundleError) and same(expected, other), f"{name!r} by {way} differs: {other!r}")
    if isinstance(chunks, TfBundleError):
        raise BrokenPromise(f"{name!r} by chunks() is refused: {chunks!r}")
    demand(same(value.reshape(-1), np.concatenate([value.reshape(-1)[:0], *chunks])), f"{name!r} by chunks() differs")


def _expect_closed(tensor: tfbundle.Tensor) -> None:
    try:
        tensor.read()
    except (ValueError, NotImplementedError):  # The error that it gave before is as good, and may come first.
        return
    raise BrokenPromise("a tensor is read after its checkpoint was closed")


def _exercise_bulk(path: str, found: Found, *, verify: bool) -> None:
    """``load`` has to give just what reading one by one gave."""
    for mmap in (False,) if is_large(path) else (False, True):
        loaded = attempt(lambda mmap=mmap: tfbundle.load(path, mmap=mmap, verify=verify))  # type: ignore[misc]
        if found.error is not None or found.refused:
            demand(isinstance(loaded, TfBundleError), f"load(mmap={mmap}) gives what reading one by one does not")
            continue
        if isinstance(loaded, TfBundleError):
            # Each tensor alone is right, but all of them together take more memory than the files have bytes; or not
            # all of them were read one by one.
            is_known = len(found.values) == len(found.names)
            demand("overlap" in str(loaded) or not is_known, f"load(mmap={mmap}) refuses what can be read: {loaded!r}")
            continue
        demand(list(loaded) == found.names, f"load(mmap={mmap}) has other names")
        for name, value in found.values.items():
            demand(same(loaded[name], value), f"{name!r} by load(mmap={mmap}) differs")


def exercise_unverified(path: str | os.PathLike[str], found: Found) -> None:
    """Read without verifying checksums, and demand what was right with them; a large file is mapped only."""
    if not is_large(path):
        exercise_checkpoint(path, verify=False)
        return
    loaded = attempt(lambda: tfbundle.load(path, mmap=True, verify=False))
    if not isinstance(loaded, TfBundleError):
        for name, value in found.values.items():
            demand(same(loaded[name], value), f"{name!r} differs without a checksum")


def exercise_report(path: str | os.PathLike[str], found: Found) -> None:
    """``verify`` never raises for what a file holds, and is content with nothing that reading refuses."""
    is_content = exercise_command("verify", path) == 0
    if is_large(path):  # The command verifies as the function does.
        demand(not (found.is_damaged and is_content), f"verify finds nothing wrong: {found.error or found.refused}")
        return
    report = attempt(lambda: tfbundle.verify(path))
    if isinstance(report, TfBundleError):
        raise report
    repr(report)
    pickle.dumps(report)
    demand(report.ok == is_content == (not report.findings), "a report contradicts itself, or the command")
    if found.is_damaged:
        demand(not report.ok, f"verify finds nothing wrong, and reading does: {found.error or found.refused}")


def exercise_references(path: str | os.PathLike[str], found: Found) -> None:
    """Zarr references point into files that are there, and only to tensors that are listed."""
    references = attempt(lambda: tfbundle.zarr_references(path))
    if isinstance(references, TfBundleError):
        return
    for key, value in references["refs"].items():
        parts = key.split("/")
        demand(not {"", ".", ".."} & set(parts), f"the key {key!r} leads elsewhere")
        demand("\0" not in key, f"the key {key!r} has a NUL")
        if isinstance(value, list):
            where, offset, size = value
            demand(0 <= offset <= offset + size <= os.stat(where).st_size, f"{key!r} is outside of {where}")
        if key.endswith("/.zarray"):
            demand(key.removesuffix("/.zarray") in found.names, f"{key!r} is not of a listed tensor")


def exercise_salvage(path: str | os.PathLike[str], found: Found) -> None:
    """Salvaging gives what reading gave, and says what it leaves out."""
    checkpoint = attempt(lambda: tfbundle.open_checkpoint(path, salvage=True))
    if isinstance(checkpoint, TfBundleError):
        demand(found.error is not None, f"salvaging refuses what can be opened: {checkpoint!r}")
        return
    with checkpoint:
        lost = {finding.tensor: finding.message for finding in checkpoint.lost}
        for name, value in found.values.items():
            if name not in checkpoint and "many times" in lost.get(name, ""):
                continue  # What is over others is read one by one, but not all of it at once.
            demand(name in checkpoint, f"salvaging loses {name!r}, which can be read")
            again = attempt(checkpoint[name].read)
            demand(not isinstance(again, TfBundleError) and same(value, again), f"{name!r} salvaged differs: {again!r}")
        for name in some([name for name in checkpoint if name not in found.values], path):
            attempt(checkpoint[name].read)


def exercise_train(path: str | os.PathLike[str]) -> None:
    """TensorFlow's own names for reading checkpoints."""
    reader = attempt(lambda: tfbundle.train.load_checkpoint(path))
    if not isinstance(reader, TfBundleError):
        attempt(reader.get_variable_to_shape_map)
        attempt(reader.get_variable_to_dtype_map)
        attempt(reader.debug_string)
    if not is_large(path):  # It opens the checkpoint again.
        attempt(lambda: tfbundle.train.list_variables(path))
    attempt(lambda: tfbundle.train.checkpoint_exists(path))


def exercise_folder(folder: str | os.PathLike[str]) -> None:
    """What goes through a folder and may meet such files there."""
    listed = attempt(lambda: tfbundle.list_checkpoints(folder))
    repr(listed)
    attempt(lambda: tfbundle.latest_checkpoint(folder))
    if not is_large(folder):  # The checkpoint itself has been opened.
        attempt(lambda: tfbundle.open_checkpoint(folder).close())
    state = attempt(lambda: tfbundle.read_checkpoint_state(folder))
    if not isinstance(state, TfBundleError):
        attempt(lambda: (state.resolved, state.all_resolved))


def exercise_command(command: str, *paths: str | os.PathLike[str]) -> int:
    """A command ends with a status, which is returned, and perhaps a line that says why, and with nothing else."""
    from click.testing import CliRunner

    from tfbundle.cli.main import cli

    start = time.process_time()
    done = CliRunner().invoke(cli, [command, *map(os.fspath, paths)])
    WATCH.note(time.process_time() - start, exercise_command)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    demand(done.exit_code in (0, 1, 2), f"{command} ends with {done.exit_code}")
    return done.exit_code
