"""All checkpoints below a folder as a table, from their indexes and the sizes of their files.

::

    path         string    the prefix
    step         int64     the number at the end of its name, or null
    tensors      int64     how many it has; null if its index cannot be read, as are parameters and dtypes
    parameters   int64     the elements of all tensors but strings
    bytes        int64     the size of its files
    dtypes       list of string, such as float32, sorted
    complete     bool      whether all its files exist and have the sizes that its index requires
    findings     list of struct(kind, message): why not; the kinds are those of ``verify``, which checks every byte
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from tfbundle.checkpoint.find.names import CheckpointFiles, is_incomplete_folder, is_sidecar_folder
from tfbundle.checkpoint.listing import Examined, examine_checkpoints, find_all
from tfbundle.errors import MissingFileError, TfBundleError
from tfbundle.events.tables import as_text
from tfbundle.findings import finding_of
from tfbundle.fleet.engines import choose_engine
from tfbundle.fleet.runs import group_by_size
from tfbundle.fleet.troubles import import_pyarrow
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StorageOptions, StrPath, locate
from tfbundle.storage.visits import Visits
from tfbundle.tensors.dtypes import data_type_name, python_name

if TYPE_CHECKING:
    import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]

_LARGEST = (1 << 63) - 1


class InventoryRow(NamedTuple):
    """A row of the table; a finding is its kind and message."""

    path: str
    step: int | None
    tensors: int | None
    parameters: int | None
    bytes: int
    dtypes: list[str] | None
    complete: bool
    findings: list[tuple[str, str]]


def inventory(
    root: StrPath,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    storage_options: StorageOptions | None = None,
) -> pyarrow.Table:
    """Return a table with a row for each checkpoint in a folder and its subfolders; no values are read.

    The columns are path, step, tensors, parameters, bytes, dtypes, complete and findings. A checkpoint that is damaged
    or incomplete is a row with findings, and so is a folder that cannot be listed. Rows are in the order of the
    folders, and in each folder by step. Links are followed, and each folder is listed once.

    ``workers`` is the number of processes on this machine, of which this one is the first, and by default the only one;
    ``scheduler`` is the address of an existing dask cluster. ``storage_options`` are those of ``locate``, for URLs.
    Raises ``MissingFileError`` if there is no such folder, ``UnsupportedError`` if pyarrow is not installed, and
    ``TfBundleError`` if a worker is killed or the cluster is lost.
    """
    import_pyarrow()
    return to_table(list(inventory_rows(root, workers=workers, scheduler=scheduler, storage_options=storage_options)))


def to_table(rows: Sequence[InventoryRow]) -> pyarrow.Table:
    """Return rows as a table; raises ``UnsupportedError`` if pyarrow is not installed."""
    arrow = import_pyarrow()
    finding = arrow.struct([("kind", arrow.string()), ("message", arrow.string())])
    types = {
        "path": arrow.string(),
        "step": arrow.int64(),
        "tensors": arrow.int64(),
        "parameters": arrow.int64(),
        "bytes": arrow.int64(),
        "dtypes": arrow.list_(arrow.string()),
        "complete": arrow.bool_(),
        "findings": arrow.list_(finding),
    }
    columns = {name: [getattr(row, name) for row in rows] for name in types}
    columns["path"] = [as_text(row.path) for row in rows]
    columns["findings"] = [
        [{"kind": kind, "message": as_text(message)} for kind, message in row.findings] for row in rows
    ]
    return arrow.table({name: arrow.array(columns[name], kind) for name, kind in types.items()})


def inventory_rows(
    root: StrPath,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    storage_options: StorageOptions | None = None,
) -> Iterator[InventoryRow]:
    """Yield the rows of ``inventory``, which do not require pyarrow."""
    engine = choose_engine(workers, scheduler)
    folder = locate(root, storage_options).anchored()  # Workers may have another working folder.
    if not folder.is_folder():
        raise MissingFileError(f"there is no folder {folder}", path=folder.path)
    tasks = group_by_size((found, 0) for found in _find(folder))
    return chain.from_iterable(engine.map(_examine, tasks))


# A checkpoint, or the row of a folder that cannot be listed.
_Found = CheckpointFiles | InventoryRow


def _find(root: Location) -> Iterator[_Found]:
    visits = Visits()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            listing = visits.list(folder)
            if listing is None:
                continue
            found = find_all(folder)
        except (TfBundleError, OSError) as error:
            finding = finding_of(error, "unreadable")
            yield InventoryRow(folder.path, None, None, None, 0, None, False, [(finding.kind, finding.message)])
            continue
        real = folder.real()
        # Those that a state file lists elsewhere are found in their own folders.
        yield from (files for files in found if files.prefix.parent.real() == real)
        below = [
            name
            for name in listing.names
            if listing.is_folder(name) and not is_sidecar_folder(name) and not is_incomplete_folder(name)
        ]
        waiting.extend(folder.join(name) for name in reversed(below))


def _examine(found: Sequence[_Found]) -> list[InventoryRow]:
    """Read the indexes of checkpoints; this is the unit of work that other processes carry out."""
    examined = examine_checkpoints(one for one in found if isinstance(one, CheckpointFiles))
    return [one if isinstance(one, InventoryRow) else _row(next(examined)) for one in found]


def _row(examined: Examined) -> InventoryRow:
    listed, facts, errors = examined
    findings = [finding_of(error, "entry" if _tensor_of(error) else "index") for error in errors]
    about = partial(InventoryRow, listed.prefix, listed.step)
    end = listed.complete and not errors, [(finding.kind, finding.message) for finding in findings]
    if facts is None:
        return about(None, None, listed.size, None, *end)
    names = [python_name(data_type_name(one.data_type)) for one in facts]
    parameters = sum(prod(one.shape) for one, name in zip(facts, names, strict=True) if name != "string")
    return about(len(facts), min(parameters, _LARGEST), listed.size, sorted(set(names)), *end)


def _tensor_of(error: TfBundleError | OSError) -> str | None:
    """Return the tensor that an error is about, if any."""
    return error.tensor if isinstance(error, TfBundleError) else None
