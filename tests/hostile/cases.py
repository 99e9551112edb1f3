"""Runs one case, and holds what came out against what was wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tfbundle
from tests.hostile.catalogue import Case, Wanted
from tests.hostile.effort import is_large
from tests.hostile.exercise import (
    Found,
    attempt,
    demand,
    exercise_checkpoint,
    exercise_command,
    exercise_folder,
    exercise_references,
    exercise_report,
    exercise_salvage,
    exercise_train,
    exercise_unverified,
    same,
)
from tests.hostile.exercise_fleet import exercise_batches, exercise_inventory
from tests.hostile.exercise_foreign import exercise_foreign
from tests.hostile.exercise_others import exercise_events, exercise_graph, exercise_record_file, exercise_state
from tests.hostile.exercise_surgery import exercise_plans
from tfbundle import TfBundleError
from tfbundle.checkpoint.slot_owners import find_slot_owners
from tfbundle.checkpoint.slots import find_slots

# The command prints what ``scan`` returns; of a large file it is tried if it has more to print than small ones have.
_MUCH_TO_PRINT = 100


def run(case: Case, wanted: Wanted) -> str:
    """Raise unless the promise is kept; return what the library said."""
    return _RUNNERS[case.kind](wanted)


def _run_checkpoint(wanted: Wanted) -> str:
    found = exercise_checkpoint(wanted.path)
    _compare(found, wanted)
    exercise_unverified(wanted.path, found)
    exercise_report(wanted.path, found)
    exercise_references(wanted.path, found)
    exercise_salvage(wanted.path, found)
    exercise_train(wanted.path)
    exercise_folder(wanted.path.parent)
    for command in ("info", "ls", "show"):
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


def _run_foreign(wanted: Wanted) -> str:
    found = exercise_foreign(wanted.path)
    _compare(found, wanted)
    return found.error or next(iter(found.refused.values()), "")


def _run_folder(wanted: Wanted) -> str:
    exercise_folder(wanted.path)
    exercise_inventory(wanted.path)
    found = exercise_checkpoint(wanted.path)
    _compare(found, wanted)
    return found.error or ""


def _run_action(wanted: Wanted) -> str:
    wanted.values["action"]()
    return ""


def _run_slots(wanted: Wanted) -> str:
    names, objects = wanted.values["names"], wanted.values.get("objects")
    found = attempt(lambda: find_slots(names, objects))
    demand(found == wanted.values["slots"], f"these are slots: {found}")
    owners = attempt(lambda: find_slot_owners(names, found, objects))
    demand(owners == wanted.values["owners"], f"these are their variables: {owners}")
    return ""


def _run_state(wanted: Wanted) -> str:
    problem = exercise_state(wanted.path)
    latest = attempt(lambda: tfbundle.latest_checkpoint(wanted.path))
    expected = wanted.values["latest"]
    if expected is None:
        # As for TensorFlow, any file may be a checkpoint until it is opened.
        opened = attempt(lambda: tfbundle.open_checkpoint(wanted.path))
        demand(isinstance(opened, TfBundleError) != wanted.opens, f"it opens {opened!r}")
    else:
        demand(latest == expected, f"it leads to {latest!r}")
    return problem or ""


def _run_graph(wanted: Wanted) -> str:
    problem, message = exercise_graph(wanted.path)
    demand((problem is None) == wanted.opens, f"it opens, or does not: {problem}")
    if "message" in wanted.values:
        demand(message == wanted.values["message"], "it holds another message")
    return problem or ""


def _run_program(wanted: Wanted) -> str:
    report = attempt(lambda: tfbundle.scan(wanted.path))
    if isinstance(report, TfBundleError):
        raise report
    if not is_large(wanted.path) or len(report.findings) + len(report.not_scanned) > _MUCH_TO_PRINT:
        exercise_command("scan", wanted.path)
    demand(report.complete == wanted.values["complete"], f"it is complete, or is not: {report.not_scanned}")
    op, argument = wanted.values["found"], wanted.values["argument"]
    found = [(finding.op, finding.argument) for finding in report.findings]
    demand(op is None or op in [name for name, _ in found], f"{op} is not found: {found[:5]}")
    demand(argument is None or (op, argument) in found, f"{op} of {argument} is not found: {found[:5]}")
    return report.not_scanned[0].reason if report.not_scanned else ""


def _run_records(wanted: Wanted) -> str:
    problem, found = exercise_record_file(wanted.path)
    demand((problem is None) == wanted.opens or not wanted.values, f"it is whole, or is not: {problem}")
    if "records" in wanted.values:
        demand(found == wanted.values["records"], f"it holds {len(found)} other records: {found[:5]}")
    return problem or ""


def _run_events(wanted: Wanted) -> str:
    problem, scalars = exercise_events(wanted.path)
    demand((problem is None) == wanted.opens, f"it opens, or does not: {problem}")
    if "loss" in wanted.values:
        demand(scalars.get("loss") == wanted.values["loss"], f"it holds other values: {scalars.get('loss')}")
    batches = exercise_batches(wanted.path)
    if batches is not None and problem is None and "loss" in wanted.values:
        demand(batches.get("loss", []) == wanted.values["loss"], f"batches hold other values: {batches.get('loss')}")
    return problem or ""


_RUNNERS: dict[str, Callable[[Wanted], str]] = {
    "checkpoint": _run_checkpoint,
    "events": _run_events,
    "folder": _run_folder,
    "foreign": _run_foreign,
    "graph": _run_graph,
    "program": _run_program,
    "records": _run_records,
    "self-test": _run_action,
    "slots": _run_slots,
    "state": _run_state,
    "surgery": lambda wanted: exercise_plans(wanted.path, wanted.values["choices"]),
}


def prepare() -> None:
    """Import what is imported when it is first used, so that it does not count."""
    import tempfile
    from pathlib import Path

    from tests.hostile.catalogue import CASES

    for name in (
        "entry-slice-twice",
        "v1-slices-with-a-hole",
        "state-moved",
        *(name for name in ("folder-many-indexes",) if name in CASES),
        "graph-cycle",
        "records-gzip-behind",
        "events-empty",
        "npz-void",
        "program-two-functions-of-a-name",
        "program-zip-damaged",
        "surgery-averages-overlap",
        *(name for name in ("safetensors-gap", "hdf5-links") if name in CASES),
    ):
        with tempfile.TemporaryDirectory() as folder:
            run(CASES[name], CASES[name].build(Path(folder)))


__all__: list[Any] = ["prepare", "run"]
