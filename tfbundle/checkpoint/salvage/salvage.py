"""Everything in a damaged checkpoint that is intact, and what was lost and why.

What is left of the index gives names and places (``salvaged_bundle``, ``salvaged_v1``). Then every tensor is held
against its checksum, and only those that pass are handed out. A checkpoint in good order comes back whole, with
nothing lost. A partitioned tensor has a checksum for each of its slices; one of which some pass is lost as a whole,
and handed out apart, by regions.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from tfbundle.checkpoint.find.names import CheckpointFiles, Format, find_files, v1_prefix_of
from tfbundle.checkpoint.find.paths import find_checkpoint
from tfbundle.checkpoint.stores import open_store
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.findings import Finding, finding_of
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.limits import FREE_SIZE, MOST_PASSES
from tfbundle.storage.local import file_size, list_folder
from tfbundle.storage.locations import StrPath, locate
from tfbundle.tensors.tensor import Tensor

if TYPE_CHECKING:
    from tfbundle.checkpoint.salvage.v1 import SalvagedV1
    from tfbundle.checkpoint.salvage.v2 import SalvagedBundle
    from tfbundle.checkpoint.v1.store import V1Store

# What a damaged table may look like.
_TABLES = (FileKind.BUNDLE_INDEX, FileKind.V1_TABLE, FileKind.TABLE, FileKind.UNKNOWN)


def find_damaged(path: StrPath, format: Format | None) -> CheckpointFiles:
    """The checkpoint that ``path`` means, even if it no longer looks like one; raises as ``find_checkpoint`` does."""
    try:
        return find_checkpoint(path, format)
    except (FormatError, UnsupportedError):
        if format == "v2":
            raise
        # A V1 checkpoint is called anything, and without its footer nothing tells it.
        location = locate(path).anchored()
        whole = v1_prefix_of(location)
        files = (find_files(whole, "v1") if whole is not None else None) or find_files(location, "v1")
        if files is None:
            raise
        return files


def open_remains(files: CheckpointFiles) -> SalvagedBundle | SalvagedV1:
    """What is left of a checkpoint's index, in ``findings`` what is not; the values are yet to be checked.

    Raises what ``open_store`` raises where the files are of another kind or of a newer format.
    """
    prefix = files.prefix.absolute().path
    store: SalvagedBundle | SalvagedV1
    if files.format == "v2":
        from tfbundle.checkpoint.salvage.v2 import SalvagedBundle

        store = SalvagedBundle(prefix)
    else:
        from tfbundle.checkpoint.salvage.v1 import SalvagedV1

        store = SalvagedV1(prefix, tuple(file.absolute().path for file in files.v1_files))
    if not store.records() and store.findings and kind_of(store.findings[0].path or prefix) not in _TABLES:
        store.close()
        open_store(files, verify=True).close()  # Says what the file is.
    return store


class Salvage(NamedTuple):
    """A store of the tensors that are intact, what was lost, and lost tensors of which some slices are intact."""

    store: SalvagedBundle | SalvagedV1
    lost: tuple[Finding, ...]
    partial: dict[str, Tensor]


def salvage_store(files: CheckpointFiles) -> Salvage:
    """What is intact of a checkpoint; raises as ``open_remains`` does."""
    store = open_remains(files)
    records: dict[str, Any] = dict(store.records())
    lost = list(store.findings)
    kept = []
    damaged: dict[str, frozenset[int]] = {}
    budget = Budget(store)
    for name, record in records.items():
        checked = _check_values(store, name, record, budget)
        if checked.finding is None:
            kept.append(name)
            continue
        lost.append(checked.finding)
        if checked.has_rest:
            damaged[name] = checked.damaged
    store.keep(kept, tuple(damaged.items()))
    return Salvage(store, tuple(lost), {name: Tensor(store, name, records[name]) for name in damaged})


class Budget:
    """How many bytes may still be read."""

    def __init__(self, store: BundleStore | V1Store) -> None:
        """For a few passes over all of the checkpoint's files."""
        self._left = FREE_SIZE + MOST_PASSES * sum(_sizes(store))

    def spend(self, size: int) -> None:
        """Count bytes; ``FormatError`` when there were too many."""
        self._left -= size
        if self._left < 0:
            raise FormatError("it was not checked, for tensors claim many times as many bytes as the files have")


def _sizes(store: BundleStore | V1Store) -> list[int]:
    paths = [table.source.path for table in store.tables]
    if isinstance(store, BundleStore):
        # Those that are there, for a header may state a million.
        folder, base = os.path.split(store.path)
        there = list_folder(folder or os.curdir)
        paths += [os.path.join(folder, name) for name in there if name.startswith(base + ".data-")]
    return [file_size(path) or 0 for path in paths]


class _Checked(NamedTuple):
    """What is wrong with a tensor, the numbers of its slices that are damaged, and whether it has others."""

    finding: Finding | None
    damaged: frozenset[int] = frozenset()
    has_rest: bool = False


def _check_values(store: BundleStore | V1Store, name: str, record: Any, budget: Budget) -> _Checked:
    """Hold a tensor against its checksums."""
    try:
        checks = list(store.checks(name, record, ()))
    except (TfBundleError, OSError) as error:
        return _Checked(finding_of(error, "entry", name))
    finding = None
    slices = 0
    damaged = set()
    for check in checks:
        try:
            budget.spend(check.nbytes)
            check.run()
        except (TfBundleError, OSError) as error:
            finding = finding or check.finding(error, name, store.path)
            if check.place is not None:
                damaged.add(slices)
        slices += check.place is not None
    return _Checked(finding, frozenset(damaged), len(damaged) < slices)
