"""Checks everything that a checkpoint's files can be checked for, and says what it found.

Reading stops at the first trouble. A check must not: every block of the index, every entry, every data file and every
checksum is looked at, and each trouble becomes a ``Finding``. Nothing is needed to start with, so that a path to an
HTML page or to nothing at all gives a report and not an exception. An index that cannot be opened is searched for what
is left of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tfbundle.checkpoint.find.names import META_SUFFIX, CheckpointFiles, Format
from tfbundle.checkpoint.find.paths import find_checkpoint
from tfbundle.checkpoint.salvage.salvage import Budget, find_damaged, open_remains
from tfbundle.checkpoint.slots import is_slot_of_part
from tfbundle.checkpoint.stores import open_store
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.findings import Check, CheckedFile, Finding, Report, finding_of
from tfbundle.formats.table.reader import FOOTER_SIZE, TRAILER_SIZE, Table, read_block
from tfbundle.progress import Progress
from tfbundle.storage.local import file_size
from tfbundle.tensors.slices import SLICES_THERE
from tfbundle.verification.causes import Suspect, tell_stories
from tfbundle.verification.layout import Claim, check_claims, check_files, find_layout
from tfbundle.verification.swapped_files import find_exchanged

if TYPE_CHECKING:
    from tfbundle.checkpoint.v1.store import V1Store


def inspect(path: str, format: Format | None, progress: Progress | None = None) -> Report:
    """Check the checkpoint that ``path`` means, or what is left of one."""
    try:
        files = find_checkpoint(path, format)
    except (TfBundleError, OSError) as error:
        if isinstance(error, (FormatError, UnsupportedError)):
            # It does not look like a checkpoint, and may be one whose footer is lost.
            with suppress(TfBundleError, OSError):
                files = find_damaged(path, format)
                report = _inspect_remains(path, files, progress)
                if report is not None or files.prefix.plus(META_SUFFIX).is_file():
                    return report or inspect_files(path, files, progress)
        return report_of(path, finding_of(error, "wrong-file"))
    return inspect_files(path, files, progress)


def inspect_files(path: str, files: CheckpointFiles, progress: Progress | None = None) -> Report:
    """Check the checkpoint that was found at ``path``."""
    try:
        files.prefix.parent.list()
    except OSError as error:  # Without the names of what lies there, nothing can be said of its data files.
        return report_of(path, finding_of(error, "missing"))
    try:
        store = open_store(files, verify=True)
    except (TfBundleError, OSError) as error:
        report = None if isinstance(error, UnsupportedError) else _inspect_remains(path, files, progress)
        if report is not None:
            return report
        kind = "index" if files.format == "v2" else "v1"
        return replace(report_of(path, finding_of(error, "index"), kind), prefix=files.prefix.path, format=files.format)
    try:
        return _inspect_store(path, files, store, *_check_blocks(store), progress)
    finally:
        store.close()


def report_of(path: str, finding: Finding, kind: str | None = None) -> Report:
    """A report of a single finding, about a file of a ``kind`` if that is known."""
    suspects = [Suspect(finding.path, is_table=kind in ("index", "v1"))] if finding.path is not None else []
    files = []
    if kind is not None and finding.path is not None:
        files.append(CheckedFile(finding.path, kind, file_size(finding.path)))
    stories = tell_stories(suspects, [finding])
    return Report(path, findings=(finding,), stories=stories, files=tuple(files))


def _inspect_remains(path: str, files: CheckpointFiles, progress: Progress | None) -> Report | None:
    """Check a checkpoint whose index cannot be opened; ``None`` where nothing is left of it."""
    try:
        remains = open_remains(files)
    except (TfBundleError, OSError):
        return None
    try:
        if not remains.records() and all(finding.tensor is None for finding in remains.findings):
            return None
        blocks = sum(len(table.handles) for table in remains.tables)
        return _inspect_store(path, files, remains, list(remains.findings), blocks, progress)
    finally:
        remains.close()


def _inspect_store(
    path: str,
    files: CheckpointFiles,
    store: BundleStore | V1Store,
    findings: list[Finding],
    blocks: int,
    progress: Progress | None,
) -> Report:
    """Check everything but the ``blocks`` of the index that are whole already."""
    is_whole = all(finding.kind == "unclaimed" for finding in findings)
    try:
        records: dict[str, Any] = dict(store.records())
    except (TfBundleError, OSError) as error:
        if is_whole:
            findings.append(finding_of(error, "index"))
            is_whole = False
        records = store.surviving_records() if isinstance(store, BundleStore) else {}
    if isinstance(store, BundleStore):
        layout = find_layout(store, records)
        data = check_files(store, layout, findings)
        nbytes, whole = _check_values(store, records, data.unreadable, findings, progress)
        space = check_claims(layout._replace(is_complete=layout.is_complete and is_whole), data)
        findings += space.findings
        claims = {path: layout.claims.get(shard, []) for shard, path in data.present.items()}
        exchanged = find_exchanged(store, records, layout, data.present, findings)
        hidden = {claim.name for shard in data.unreadable for claim in layout.claims.get(shard, ())}
        index = store.table.source
        checked = [CheckedFile(index.path, "index", index.size, blocks)]
        checked += (
            CheckedFile(path, "data", file_size(path), whole[path], space.padding.get(shard, 0))
            for shard, path in data.present.items()
        )
        checked += (
            CheckedFile(finding.path, "data", None)
            for finding in findings
            if finding.kind == "missing" and finding.path is not None and finding.shard is not None
            if finding.path not in claims  # A link that leads nowhere is among the files that are there.
        )
        checked.sort(key=lambda file: (file.kind != "index", file.path))
    else:
        nbytes, whole = _check_values(store, records, (), findings, progress)
        claims, exchanged, hidden = {}, {}, set()
        checked = [CheckedFile(path, "v1", file_size(path), whole[path]) for path in store.files.paths]
    lost = hidden.union(finding.tensor for finding in findings if finding.kind != "overlap" and finding.tensor)
    return Report(
        path,
        files.prefix.path,
        files.format,
        len(records),
        nbytes,
        tuple(findings),
        sum(name not in lost for name in records),
        (*_tell(claims, findings, exchanged), *_tell_of_parts(records, findings)),
        tuple(checked),
    )


def _check_blocks(store: BundleStore | V1Store) -> tuple[list[Finding], int]:
    """What is wrong with the tables' blocks and with what lies between them, and how many are whole."""
    findings: list[Finding] = []
    whole = 0
    for table in store.tables:
        try:
            read_block(table.source, table.footer.metaindex_handle)
        except (FormatError, OSError) as error:
            findings.append(finding_of(error, "index"))
        for number, handle in enumerate(table.handles):
            try:
                table.block(number)
                whole += 1
            except (FormatError, OSError) as error:
                found = finding_of(error, "index")
                offset = handle.offset if found.offset is None else found.offset
                findings.append(replace(found, offset=offset, size=handle.size))
        findings += _unclaimed(table)
    return findings, whole


def _unclaimed(table: Table) -> Iterator[Finding]:
    """Bytes that belong to no block; TensorFlow writes blocks one behind the other, and the footer behind the last."""
    path, end = table.source.path, 0
    blocks = [*table.handles, *table.footer]
    ends = [(offset, offset + size + TRAILER_SIZE) for offset, size in blocks]
    for start, stop in sorted([*ends, (table.source.size - FOOTER_SIZE, table.source.size)]):
        start = min(start, table.source.size)  # A block that is not there has been told of already.
        if start > end:
            message = f"no block claims {start - end} bytes at offset {end} of {path}"
            yield Finding("unclaimed", message, path, None, None, end, start - end)
        end = max(end, stop)


def _check_values(
    store: BundleStore | V1Store,
    records: dict[str, Any],
    absent: Collection[int],
    findings: list[Finding],
    progress: Progress | None,
) -> tuple[int, Counter[str | None]]:
    """Hold all values against their checksums; how many bytes are right, and how many stored pieces of each file."""
    checks: list[tuple[str, Check]] = []
    for name, record in records.items():
        try:
            checks += [(name, check) for check in store.checks(name, record, absent)]
        except (TfBundleError, OSError) as error:
            findings.append(finding_of(error, "entry", name))
    total = sum(check.nbytes for _, check in checks)
    done = nbytes = 0
    whole: Counter[str | None] = Counter()
    budget = Budget(store)
    for name, check in checks:
        try:
            budget.spend(check.nbytes)
            check.run()
            nbytes += check.nbytes
            whole[check.place and check.place.path] += 1
        except (TfBundleError, OSError) as error:
            findings.append(check.finding(error, name, store.path))
        done += check.nbytes
        if progress is not None:
            progress(done, total)
    return nbytes, whole


def _tell(claims: Mapping[str, list[Claim]], findings: list[Finding], exchanged: Mapping[str, str]) -> tuple[str, ...]:
    damaged: defaultdict[str, set[int]] = defaultdict(set)
    for finding in findings:
        if finding.path is not None and finding.kind in ("checksum", "truncated", "wrong-file", "index"):
            damaged[finding.path].update(() if finding.offset is None else (finding.offset,))
    suspects = [
        Suspect(path, claims.get(path, ()), frozenset(offsets))
        for path, offsets in damaged.items()
        if path not in exchanged
    ]
    stories = tell_stories(suspects, findings, others_fit=any(path not in damaged for path in claims))
    renamed = (f"{other} holds what should be in {path}: the names were mixed up" for path, other in exchanged.items())
    return (*renamed, *stories)


def _tell_of_parts(names: Collection[str], findings: list[Finding]) -> tuple[str, ...]:
    partial = [finding.tensor for finding in findings if finding.tensor is not None and SLICES_THERE in finding.message]
    count = sum(is_slot_of_part(name, names) for name in partial)
    if not count:
        return ()
    return (
        f"{count} of these are optimizer slots of parts of variables, to which TensorFlow 1 gives such names in the "
        "scope of an Estimator; it restores them as they are, and nothing of them is lost",
    )
