"""Runs one case, and holds what came out against what was wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.hostile.catalogue import Case, Wanted
from tests.hostile.exercise import (
    Found,
    demand,
    exercise_checkpoint,
    exercise_command,
    exercise_folder,
    exercise_report,
    exercise_salvage,
    exercise_train,
    same,
)


def run(case: Case, wanted: Wanted) -> str:
    """Raise unless the promise is kept; return what the library said."""
    return _RUNNERS[case.kind](wanted)


def _run_checkpoint(wanted: Wanted) -> str:
    found = exercise_checkpoint(wanted.path)
    _compare(found, wanted)
    exercise_checkpoint(wanted.path, verify=False)
    exercise_report(wanted.path, found)
    exercise_salvage(wanted.path, found)
    exercise_train(wanted.path)
    exercise_folder(wanted.path.parent)
    for command in ("ls", "verify", "show"):
        exercise_command(command, wanted.path)
    return found.error or next(iter(found.refused.values()), "")


def _compare(found: Found, wanted: Wanted) -> None:
    if not wanted.opens:
        demand(found.error is not None, f"it opens, with {found.names}")
        return
    demand(found.error is None, f"it does not open: {found.error}")
    demand(set(found.names) == {*wanted.values, *wanted.refused}, f"it has the names {found.names[:20]}")
    for name, value in found.values.items():
        demand(name in wanted.values, f"{name!r} is read: {value}")
        demand(same(value, wanted.values[name]), f"{name!r} is {value}")
    demand(found.refused.keys() <= wanted.refused, f"what can be read is refused: {found.refused}")


def _run_folder(wanted: Wanted) -> str:
    exercise_folder(wanted.path)
    found = exercise_checkpoint(wanted.path)
    _compare(found, wanted)
    return found.error or ""


def _run_action(wanted: Wanted) -> str:
    wanted.values["action"]()
    return ""


_RUNNERS: dict[str, Callable[[Wanted], str]] = {
    "checkpoint": _run_checkpoint,
    "folder": _run_folder,
    "self-test": _run_action,
}


def prepare() -> None:
    """Import what is imported when it is first used, so that it does not count."""
    import tempfile
    from pathlib import Path

    from tests.hostile.catalogue import CASES

    for name in ("entry-slice-twice", "v1-slices-2-000"):
        with tempfile.TemporaryDirectory() as folder:
            run(CASES[name], CASES[name].build(Path(folder)))


__all__: list[Any] = ["prepare", "run"]
