"""The intact tensors of a damaged checkpoint, and which tensors are lost and why.

The remains of the index provide names and places (``v2``, ``v1``). The checksum of every tensor is then verified, and
only tensors that pass are returned. An undamaged checkpoint is returned whole, with nothing lost. A partitioned tensor
has a checksum for each of its slices; if only some of them pass, the tensor is lost, but returned separately for
reading by region.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from tfbundle.checkpoint.find.listings import Listings
from tfbundle.checkpoint.find.names import CheckpointFiles, Format, data_files_in, find_files, shard_path, v1_prefix_of
from tfbundle.checkpoint.find.paths import find_checkpoint
from tfbundle.checkpoint.stores import open_store
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.findings import Finding, finding_of
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.limits import FREE_SIZE, MOST_PASSES
from tfbundle.storage.locations import StrPath, locate
from tfbundle.tensors.slices import DamagedSlices
from tfbundle.tensors.tensor import Tensor

if TYPE_CHECKING:
    from tfbundle.checkpoint.v1.store import V1Store

# So many data files are checked by name.
_MOST_ASKED = 1000
# The kinds that a damaged table may be identified as.
_TABLES = (FileKind.BUNDLE_INDEX, FileKind.V1_TABLE, FileKind.TABLE, FileKind.TEXT, FileKind.UNKNOWN)


def find_damaged(path: StrPath, format: Format | None) -> CheckpointFiles:
    """Return the checkpoint at ``path``, even if it is no longer recognised as one.

    Raises the errors of ``find_checkpoint``.
    """
    try:
        return find_checkpoint(path, format)
    except (FormatError, UnsupportedError):
        if format == "v2":
            raise
        # A V1 checkpoint may have any name, and cannot be recognised without its footer.
        location = locate(path).anchored()
        whole = v1_prefix_of(location)
        files = (find_files(whole, "v1") if whole is not None else None) or find_files(location, "v1")
        if files is None:
            raise
        return files


class Remains(NamedTuple):
    """A store of the remaining tensors, whose values are not yet verified, and findings about the losses."""

    store: BundleStore | V1Store
    findings: list[Finding]


def open_remains(files: CheckpointFiles) -> Remains:
    """Return the remains of a checkpoint's index.

    Raises the errors of ``open_store`` if the files are of another kind or of a newer format.
    """
    if files.format == "v2":
        from tfbundle.checkpoint.salvage.v2 import salvage_bundle

        remains = Remains(*salvage_bundle(files.prefix))
    else:
        from tfbundle.checkpoint.salvage.v1 import salvage_v1

        remains = Remains(*salvage_v1(files.prefix, files.v1_files))
    store, findings = remains
    if not store.records() and findings and kind_of(findings[0].path or store.path) not in _TABLES:
        store.close()
        open_store(files, verify=True).close()  # Raises an error that states the kind of file.
    return remains


class Salvage(NamedTuple):
    """A store of the intact tensors, findings about lost ones, and lost tensors with some intact slices."""

    store: BundleStore | V1Store
    lost: tuple[Finding, ...]
    partial: dict[str, Tensor]


def salvage_store(files: CheckpointFiles) -> Salvage:
    """Return the intact tensors of a checkpoint; raise the errors of ``open_remains``."""
    remains, findings = open_remains(files)
    records: Mapping[str, Any] = remains.records()
    lost = list(findings)
    kept = []
    damaged: dict[str, frozenset[int]] = {}
    budget = Budget(remains, Listings())
    for name, record in records.items():
        checked = _check_values(remains, name, record, budget)
        if checked.finding is None:
            kept.append(name)
            continue
        lost.append(checked.finding)
        if checked.has_rest:
            damaged[name] = checked.damaged
    store = _restrict(remains, kept, tuple(damaged.items()))
    return Salvage(store, tuple(lost), {name: Tensor(store, name, records[name]) for name in damaged})


def _restrict(store: BundleStore | V1Store, names: list[str], damaged: DamagedSlices) -> BundleStore | V1Store:
    if isinstance(store, BundleStore):
        from tfbundle.checkpoint.salvage.v2 import restrict_bundle

        return restrict_bundle(store, names, damaged)
    from tfbundle.checkpoint.salvage.v1 import restrict_v1

    return restrict_v1(store, names, damaged)


class Budget:
    """The number of bytes that may still be read."""

    def __init__(self, store: BundleStore | V1Store, listings: Listings) -> None:
        """Allow a few passes over all of the checkpoint's files; ``listings`` caches folder listings."""
        self._left = FREE_SIZE + MOST_PASSES * sum(_sizes(store, listings))

    def spend(self, size: int) -> None:
        """Count bytes; raise ``FormatError`` if there are too many."""
        self._left -= size
        if self._left < 0:
            raise FormatError("it was not checked, because tensors claim many times as many bytes as the files have")


def _sizes(store: BundleStore | V1Store, listings: Listings) -> Iterator[int]:
    """Yield the sizes of the existing files, because a header may state a million."""
    if not isinstance(store, BundleStore):
        yield from (table.source.size for table in store.files)
        return
    yield store.index.table.source.size
    listing = listings.of(store.prefix.parent)
    # A folder that may not be listed, or a server that lists none, still answers for names.
    stated = (shard_path(store.prefix.name, shard, store.shards.count) for shard in range(store.shards.count))
    for name in list(data_files_in(listing, store.prefix.name)) or islice(stated, _MOST_ASKED):
        facts = listing.stat(name)
        yield 0 if facts is None else facts.size


class _Checked(NamedTuple):
    """The finding about a tensor, the numbers of its damaged slices, and whether it has intact ones."""

    finding: Finding | None
    damaged: frozenset[int] = frozenset()
    has_rest: bool = False


def _check_values(store: BundleStore | V1Store, name: str, record: Any, budget: Budget) -> _Checked:
    """Verify the checksums of a tensor."""
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
