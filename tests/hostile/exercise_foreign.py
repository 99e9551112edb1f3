"""Every way to read a file of another program, held to the promise, and to convert it."""

from __future__ import annotations

from pathlib import Path

import tfbundle
from tests.hostile.effort import some
from tests.hostile.exercise import Found, attempt, demand, exercise_command, exercise_tensor
from tfbundle import TfBundleError
from tfbundle.conversion.sources.opening import open_source

# A plan has a line for every tensor; what has more is not converted.
_MOST_CONVERTED = 1000


def exercise_foreign(path: Path) -> Found:
    """Read everything in a file, and convert it to a checkpoint, whole and without what is refused."""
    found = Found()
    source = attempt(lambda: open_source(path))
    if isinstance(source, TfBundleError):
        found.error = str(source)
    else:
        with source:
            repr(source)
            found.names = list(source)
            demand(len(found.names) == len(set(found.names)) == len(source), "names are listed more or less than once")
            for name in some(found.names, path):
                exercise_tensor(source[name], name, found, verify=True)
            attempt(lambda: source.slots)
    attempt(lambda: tfbundle.identify(path))
    if len(found.names) <= _MOST_CONVERTED:
        _convert(path, found)
        exercise_command("convert", path, path.parent / "command")
    exercise_command("info", path)
    return found


def _convert(path: Path, found: Found) -> None:
    out = path.parent / "out"
    for names in (found.names, [name for name in found.names if name not in found.refused]):
        if found.error is None and not names:
            continue
        done = attempt(lambda names=names: tfbundle.convert(path, out, names=names or None, overwrite=True))  # type: ignore[misc]
        is_refused = found.error is not None or any(name in found.refused for name in names)
        demand(isinstance(done, TfBundleError) == is_refused, f"convert is not of the same mind: {done!r}")
        if is_refused:
            demand(not out.with_name("out.index").exists(), "there is an output of what was refused")
    leftovers = [file.name for file in path.parent.iterdir() if "tempstate" in file.name or file.name.endswith(".tmp")]
    demand(not leftovers, f"there are leftovers: {leftovers}")
