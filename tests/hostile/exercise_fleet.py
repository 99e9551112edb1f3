"""The ways to read many runs and checkpoints at once, held to the promise: tables, where what is wrong is a row."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections import defaultdict
from pathlib import Path

import tfbundle
from tests.hostile.effort import is_large
from tests.hostile.exercise import attempt, demand
from tfbundle import TfBundleError
from tfbundle.findings import KINDS
from tfbundle.fleet.inventory import inventory_rows

HAS_ARROW = importlib.util.find_spec("pyarrow") is not None


def exercise_batches(path: Path) -> dict[str, list[float]] | None:
    """Return the values by tag that batches and a data set have, without pyarrow ``None``; damage is no exception.

    A large file is only exported, which makes the same batches.
    """
    if not HAS_ARROW:
        return None
    if is_large(path):
        with tempfile.TemporaryDirectory() as folder:
            attempt(lambda: tfbundle.export_events(path, Path(folder, "out")))
        return None
    troubles = tfbundle.EventTroubles()
    batches = attempt(lambda: list(tfbundle.event_batches(path, troubles=troubles)))
    assert not isinstance(batches, TfBundleError), batches
    demand(all(row.kind in KINDS for row in troubles), "a trouble is of no kind that is known")
    attempt(troubles.to_arrow)
    found: defaultdict[str, list[float]] = defaultdict(list)
    for batch in batches:
        tags = batch["tag"].dictionary.to_pylist()
        for code, value in zip(batch["tag"].indices.to_pylist(), batch["value"].to_pylist(), strict=True):
            found[tags[code]].append(value)
    with tempfile.TemporaryDirectory() as folder:
        for is_new in (True, False):
            done = attempt(lambda: tfbundle.export_events(path, Path(folder, "out")))
            assert not isinstance(done, TfBundleError), done
            demand(done.points == sum(map(len, found.values())), f"the data set has {done.points} points")
            demand(sorted(map(repr, done.troubles)) == sorted(map(repr, troubles)), "the data set has other troubles")
            demand(bool(done.runs_read) == is_new, "a second call reads again")
    return found


def exercise_inventory(folder: str | os.PathLike[str]) -> None:
    """Demand that each checkpoint is one row, and that what is wrong is in it."""
    rows = attempt(lambda: list(inventory_rows(folder)))
    if isinstance(rows, TfBundleError):
        demand(not os.path.isdir(folder), f"a folder has no inventory: {rows}")
        return
    paths = [row.path for row in rows]
    demand(len(set(paths)) == len(paths), "a checkpoint has several rows")
    demand(all(kind in KINDS for row in rows for kind, _ in row.findings), "a finding is of no kind that is known")
    demand(all(row.findings or row.complete for row in rows), "nothing says what is missing")
