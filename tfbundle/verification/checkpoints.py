"""The checks of one checkpoint's files.

Reading stops at the first error, but a check must not. It examines every block of the index, every entry, every data
file and every checksum, and turns each problem into a ``Finding``. An index that cannot be opened is searched for its
intact parts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from tfbundle.checkpoint.find.listings import Listings
from tfbundle.checkpoint.find.names import CheckpointFiles, Format
from tfbundle.checkpoint.find.paths import find_checkpoint
from tfbundle.checkpoint.find.renamed import advise_missing_index
from tfbundle.checkpoint.salvage.salvage import find_damaged, open_remains
from tfbundle.checkpoint.stores import open_store
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.findings import CheckedCheckpoint, CheckedFile, Finding, Report, finding_of
from tfbundle.formats.table.reader import FOOTER_SIZE, TRAILER_SIZE, Table, read_block
from tfbundle.identification.names import INDEX_SUFFIX, META_SUFFIX
from tfbundle.plurals import plural
from tfbundle.progress import Progress
from tfbundle.storage.base import Location
from tfbundle.storage.locations import locate
from tfbundle.verification.causes import DamagedFile, find_causes
from tfbundle.verification.data_files import check_files
from tfbundle.verification.entries import Entries
from tfbundle.verification.grouping import group_by_block
from tfbundle.verification.layout import Claims, find_layout
from tfbundle.verification.space import check_space
from tfbundle.verification.swapped_files import find_swapped
from tfbundle.verification.values import Bytes, ValueCheck

if TYPE_CHECKING:
    from tfbundle.checkpoint.v1.store import V1Store


def verify_checkpoint(
    path: str, format: Format | None, progress: Progress | None = None, verified: Container[Bytes] = frozenset()
) -> Report:
    """Check the checkpoint at ``path``, or its remains."""
    try:
        files = find_checkpoint(path, format)
    except (TfBundleError, OSError) as error:
        if isinstance(error, (FormatError, UnsupportedError)):
            # It may be a checkpoint whose footer is lost.
            with suppress(TfBundleError, OSError):
                files = find_damaged(path, format)
                report = _verify_remains(path, files, progress, Listings())
                if report is not None or files.prefix.plus(META_SUFFIX).is_file():
                    return report or verify_files(path, files, progress)
        return report_of(path, finding_of(error, "wrong-file"))
    return verify_files(path, files, progress, verified=verified)


def verify_files(
    path: str,
    files: CheckpointFiles,
    progress: Progress | None = None,
    listings: Listings | None = None,
    verified: Container[Bytes] = frozenset(),
) -> Report:
    """Check the checkpoint that was found at ``path``; ``listings`` caches the folders that were listed before.

    ``verified`` are bytes of its data files that need not be read again.
    """
    listings = listings or Listings()
    try:
        store = open_store(files, verify=True)
    except (TfBundleError, OSError) as error:
        report = None if isinstance(error, UnsupportedError) else _verify_remains(path, files, progress, listings)
        if report is not None:
            return report
        kind = "index" if files.format == "v2" else "v1"
        finding = finding_of(error, "index")
        if finding.kind == "missing" and finding.path == files.prefix.path + INDEX_SUFFIX:
            advice = f"; {advise_missing_index(files.prefix)}" if listings.take_look() else ""
            finding = replace(finding, message=f"the index {finding.path} does not exist{advice}")
        return _as_checkpoint(report_of(path, finding, kind), files)
    try:
        return _verify_store(path, files, store, [], None, progress, listings, verified)
    except (TfBundleError, OSError) as error:  # Its folder cannot be listed, or was just removed.
        return _as_checkpoint(report_of(path, finding_of(error, "missing")), files)
    finally:
        store.close()


def report_of(path: str, finding: Finding, kind: str | None = None) -> Report:
    """Return a report with a single finding, about a file of the given ``kind``, if known."""
    damaged = []
    files = []
    if finding.path is not None:
        location = locate(finding.path)
        damaged.append(DamagedFile(location, is_table=kind in ("index", "v1")))
        if kind is not None:
            files.append(CheckedFile(finding.path, kind, size_of(location)))
    return Report(path, findings=(finding,), causes=find_causes(damaged, [finding]), files=tuple(files))


def size_of(location: Location) -> int | None:
    """Return the size of a file in bytes, or ``None`` if it is not a regular file."""
    facts = location.stat()
    return None if facts is None else facts.size


def _as_checkpoint(report: Report, files: CheckpointFiles) -> Report:
    checked = CheckedCheckpoint(files.prefix.path, files.format, 0, 0, ok=False)
    return replace(report, prefix=files.prefix.path, format=files.format, checkpoints=(checked,))


def _verify_remains(path: str, files: CheckpointFiles, progress: Progress | None, listings: Listings) -> Report | None:
    """Check a checkpoint whose index cannot be opened; return ``None`` if nothing of it is intact."""
    try:
        remains, lost = open_remains(files)
    except (TfBundleError, OSError):
        return None
    try:
        if not remains.records() and all(finding.tensor is None for finding in lost):
            return None
        blocks = sum(len(table.handles) for table in _tables(remains))
        return _verify_store(path, files, remains, list(lost), blocks, progress, listings)
    except (TfBundleError, OSError):
        return None
    finally:
        remains.close()


def _tables(store: BundleStore | V1Store) -> Iterable[Table]:
    return [store.index.table] if isinstance(store, BundleStore) else store.files


class _Checked(NamedTuple):
    """The results of checking a store, except for the findings."""

    tensors: int
    nbytes: int
    recoverable: int
    causes: tuple[str, ...]
    files: list[CheckedFile]


def _verify_store(
    path: str,
    files: CheckpointFiles,
    store: BundleStore | V1Store,
    findings: list[Finding],
    blocks: int | None,
    progress: Progress | None,
    listings: Listings,
    verified: Container[Bytes] = frozenset(),
) -> Report:
    """Check an open store; for remains, ``findings`` lists the losses, and ``blocks`` counts the intact blocks."""
    if isinstance(store, BundleStore):
        checked = _check_bundle(store, findings, blocks, progress, listings, verified)
    else:
        checked = _check_v1(store, findings, is_opened_whole=blocks is None, progress=progress)
    return Report(
        path,
        files.prefix.path,
        files.format,
        checked.tensors,
        checked.nbytes,
        tuple(findings),
        checked.recoverable,
        checked.causes,
        tuple(checked.files),
        checkpoints=(
            CheckedCheckpoint(files.prefix.path, files.format, checked.tensors, checked.recoverable, ok=not findings),
        ),
    )


def _check_bundle(
    store: BundleStore,
    findings: list[Finding],
    blocks: int | None,
    progress: Progress | None,
    listings: Listings,
    verified: Container[Bytes],
) -> _Checked:
    """Check the index block by block, then the data files and the values in them."""
    entries = Entries(store, is_salvaged=blocks is not None)
    layout = find_layout(store, entries)
    claims = layout.claims
    if blocks is None:
        findings += _check_metaindex(store.index.table)
        findings += entries.findings
        findings += _unclaimed(store.index.table)
    is_complete = layout.is_complete and all(finding.kind == "unclaimed" for finding in findings)
    data = check_files(store, claims, findings, listings)
    values = ValueCheck(store, _bytes_to_check(claims, data.unreadable), progress, listings, verified)
    values.run_plain(store, layout, entries, data.unreadable)
    values.run_all(entries.at(layout.others), data.unreadable)
    by_entry = sorted([*layout.findings, *values.findings], key=lambda pair: pair[0])
    findings += (finding for _, finding in by_entry)
    space = check_space(claims, data, lambda number: next(entries.at([number])).name, is_complete=is_complete)
    findings += space.findings
    swapped = find_swapped(store, entries, claims, data.present, findings)
    hidden = {number for shard in data.unreadable for number in claims.of(shard).number.tolist()}
    lost = len(hidden.union(number for number, _ in by_entry))
    index = store.index.table.source
    checked = [CheckedFile(index.path, "index", index.size, entries.whole_blocks if blocks is None else blocks)]
    checked += (
        CheckedFile(location.path, "data", size_of(location), values.whole[location.path], space.padding.get(shard, 0))
        for shard, location in data.present.items()
    )
    there = {location.path for location in data.present.values()}
    checked += (
        CheckedFile(finding.path, "data", None)
        for finding in findings
        if finding.kind == "missing" and finding.path is not None and finding.shard is not None
        if finding.path not in there  # A dangling link counts as present.
    )
    checked.sort(key=lambda file: (file.kind != "index", file.path))
    places = {location.path: claims.of(shard) for shard, location in data.present.items()}
    causes = _find_causes(places, findings, swapped)
    return _Checked(layout.tensors, values.nbytes, layout.tensors - lost, causes, checked)


def _bytes_to_check(claims: Claims, absent: Collection[int]) -> int:
    total = int(claims.size.sum())
    return total - sum(int(claims.of(shard).size.sum()) for shard in absent)


def _check_v1(store: V1Store, findings: list[Finding], *, is_opened_whole: bool, progress: Progress | None) -> _Checked:
    blocks: list[Finding] = []
    if is_opened_whole:
        for table in store.files:
            findings += _check_metaindex(table)
            blocks += _check_blocks(table)
            findings += _unclaimed(table)
    records: Mapping[str, Any] = store.records()
    entries = [(number, name, record) for number, (name, record) in enumerate(records.items())]
    total = 0
    for name, record in records.items() if progress is not None else ():
        with suppress(TfBundleError, OSError):
            total += sum(check.nbytes for check in store.checks(name, record, ()))
    values = ValueCheck(store, total, progress, Listings())
    values.run_all(entries, ())
    values.findings.sort(key=lambda pair: pair[0])
    lost = {finding.tensor for finding in (*findings, *(finding for _, finding in values.findings)) if finding.tensor}
    findings += group_by_block(blocks, (finding for _, finding in values.findings))
    checked = [CheckedFile(path, "v1", size_of(locate(path)), values.whole[path]) for path in store.files.paths]
    causes = _find_causes({}, findings, {})
    return _Checked(len(records), values.nbytes, sum(name not in lost for name in records), causes, checked)


def _check_metaindex(table: Table) -> Iterator[Finding]:
    try:
        read_block(table.source, table.footer.metaindex_handle)
    except (FormatError, OSError) as error:
        yield finding_of(error, "index")


def _check_blocks(table: Table) -> Iterator[Finding]:
    for number, handle in enumerate(table.handles):
        try:
            table.block(number)
        except (FormatError, OSError) as error:
            found = finding_of(error, "index")
            offset = handle.offset if found.offset is None else found.offset
            yield replace(found, offset=offset, size=handle.size)


def _unclaimed(table: Table) -> Iterator[Finding]:
    """Yield findings for bytes that belong to no block; TensorFlow writes blocks without gaps, and then the footer."""
    path, end = table.source.path, 0
    blocks = [*table.handles, *table.footer]
    ends = [(offset, offset + size + TRAILER_SIZE) for offset, size in blocks]
    for start, stop in sorted([*ends, (table.source.size - FOOTER_SIZE, table.source.size)]):
        start = min(start, table.source.size)  # A block outside the file has a finding already.
        if start > end:
            message = f"no block claims {plural(start - end, 'byte')} at offset {end} of {path}"
            yield Finding("unclaimed", message, path, None, None, end, start - end)
        end = max(end, stop)


def _find_causes(claims: Mapping[str, Claims], findings: list[Finding], swapped: Mapping[str, str]) -> tuple[str, ...]:
    offsets: defaultdict[str, set[int]] = defaultdict(set)
    for finding in findings:
        if finding.path is not None and finding.kind in ("checksum", "truncated", "wrong-file", "index"):
            offsets[finding.path].update(() if finding.offset is None else (finding.offset,))
    damaged = [
        DamagedFile(locate(path), claims.get(path), frozenset(found))
        for path, found in offsets.items()
        if path not in swapped
    ]
    causes = find_causes(damaged, findings, others_fit=any(path not in offsets for path in claims))
    renamed = (f"{other} has the contents of {path}: the file names were mixed up" for path, other in swapped.items())
    return (*renamed, *causes)
