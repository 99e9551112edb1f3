"""Checks everything that a checkpoint's files can be checked for, and says what it found.

Reading stops at the first trouble. A check must not: every block of the index, every entry, every data file and every
checksum is looked at, and each trouble becomes a ``Finding``. Nothing is needed to start with, so that a path to an
HTML page or to nothing at all gives a report and not an exception. An index that cannot be opened is searched for what
is left of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tfbundle.checkpoint.bundle import BundleStore
from tfbundle.checkpoint.findings import Finding, Report, finding_of
from tfbundle.checkpoint.layout import Layout, check_claims, check_files, find_layout
from tfbundle.checkpoint.names import CheckpointFiles, Format
from tfbundle.checkpoint.paths import find_checkpoint
from tfbundle.checkpoint.salvage import Budget, find_damaged, open_remains
from tfbundle.checkpoint.slices import SAVED_SLICES
from tfbundle.checkpoint.slots import is_slot_of_part
from tfbundle.checkpoint.stores import open_store
from tfbundle.checkpoint.stories import Suspect, tell_stories
from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.formats.sstable import read_block

if TYPE_CHECKING:
    from tfbundle.checkpoint.v1 import V1Store

Progress = Callable[[int, int], None]


def verify(path: str | os.PathLike[str], *, format: Format | None = None, progress: Progress | None = None) -> Report:
    """Check every checksum of a checkpoint, and everything else that can be told from its files.

    ``path`` and ``format`` are as for ``open_checkpoint``. ``progress`` is called with the bytes done and the bytes
    there are. Damage of any kind is a finding; only what the operating system refuses (such as a file that may not be
    read) raises, as ``OSError``.
    """
    path = os.fspath(path)
    try:
        files = find_checkpoint(path, format)
    except TfBundleError as error:
        return _verify_unknown(path, format, error, progress)
    return verify_files(path, files, progress)


def verify_files(path: str, files: CheckpointFiles, progress: Progress | None = None) -> Report:
    """Check the checkpoint that was found at ``path``."""
    try:
        store = open_store(files, verify=True)
    except TfBundleError as error:
        finding = finding_of(error, "index")
        report = None if isinstance(error, UnsupportedError) else _verify_remains(path, files, progress)
        if report is not None:
            return report
        return Report(path, files.prefix, files.format, findings=(finding,), stories=_story_of(finding))
    try:
        return _verify_store(path, files, store, _check_index(store), progress)
    finally:
        store.close()


def _verify_unknown(path: str, format: Format | None, error: TfBundleError, progress: Progress | None) -> Report:
    """Check what does not look like a checkpoint, and may be one whose footer is lost."""
    finding = finding_of(error, "wrong-file")
    if isinstance(error, (FormatError, UnsupportedError)):
        try:
            report = _verify_remains(path, find_damaged(path, format), progress)
        except TfBundleError:
            report = None
        if report is not None:
            return report
    return Report(path, findings=(finding,), stories=_story_of(finding))


def _verify_remains(path: str, files: CheckpointFiles, progress: Progress | None) -> Report | None:
    """Check a checkpoint whose index cannot be opened; ``None`` where nothing is left of it."""
    try:
        remains = open_remains(files)
    except TfBundleError:
        return None
    try:
        if not remains.records():
            return None
        return _verify_store(path, files, remains, list(remains.findings), progress)
    finally:
        remains.close()


def _verify_store(
    path: str,
    files: CheckpointFiles,
    store: BundleStore | V1Store,
    findings: list[Finding],
    progress: Progress | None,
) -> Report:
    try:
        records: dict[str, Any] = dict(store.records())
    except TfBundleError as error:
        if not findings:
            findings.append(finding_of(error, "index"))
        records = store.surviving_records() if isinstance(store, BundleStore) else {}
    layout = Layout({}, False)
    unreadable: set[int] = set()
    damage = len(findings)
    if isinstance(store, BundleStore):
        layout = find_layout(store, records)
        unreadable = check_files(store, layout, findings)
    nbytes = _check_tensors(store, records, unreadable, findings, progress)
    if isinstance(store, BundleStore):
        layout = layout._replace(is_complete=layout.is_complete and not damage)
        findings += check_claims(store, layout, unreadable)
    lost = {finding.tensor for finding in findings if finding.kind != "overlap"}
    lost.update(claim.name for shard in unreadable for claim in layout.claims.get(shard, ()))
    return Report(
        path,
        files.prefix,
        files.format,
        len(records),
        nbytes,
        tuple(findings),
        sum(name not in lost for name in records),
        (*_tell(store, layout, findings), *_tell_of_parts(records, findings)),
    )


def _tell(store: BundleStore | V1Store, layout: Layout, findings: list[Finding]) -> tuple[str, ...]:
    claims = {}
    if isinstance(store, BundleStore):
        claims = {store.shards.path(shard): found for shard, found in layout.claims.items() if shard >= 0}
    kinds = ("checksum", "truncated", "wrong-file", "index")
    paths = dict.fromkeys(finding.path for finding in findings if finding.path is not None and finding.kind in kinds)
    damaged = frozenset(finding.tensor for finding in findings if finding.tensor is not None)
    suspects = [Suspect(path, claims.get(path, ()), damaged) for path in paths]
    return tell_stories(suspects, findings, is_sharded=len(claims) > 1)


def _tell_of_parts(names: Collection[str], findings: list[Finding]) -> tuple[str, ...]:
    partial = [finding.tensor for finding in findings if finding.tensor is not None and SAVED_SLICES in finding.message]
    count = sum(is_slot_of_part(name, names) for name in partial)
    if not count:
        return ()
    return (
        f"{count} of these are optimizer slots of parts of variables, to which TensorFlow 1 gives such names in the "
        "scope of an Estimator; it restores them as they are, and nothing of them is lost",
    )


def _story_of(finding: Finding) -> tuple[str, ...]:
    suspects = [Suspect(finding.path, (), frozenset())] if finding.path is not None else []
    return tell_stories(suspects, [finding], is_sharded=False)


def _check_index(store: BundleStore | V1Store) -> list[Finding]:
    findings = []
    for table in store.tables:
        try:
            read_block(table.source, table.footer.metaindex_handle)
        except FormatError as error:
            findings.append(finding_of(error, "index"))
        for number in range(len(table.handles)):
            try:
                table.block(number)
            except FormatError as error:
                findings.append(finding_of(error, "index"))
    return findings


def _check_tensors(
    store: BundleStore | V1Store,
    records: dict[str, Any],
    absent: Collection[int],
    findings: list[Finding],
    progress: Progress | None,
) -> int:
    checks: list[tuple[int, str, Callable[[], None]]] = []
    for name, record in records.items():
        try:
            checks += [(size, name, check) for size, check in store.checks(name, record, absent)]
        except TfBundleError as error:
            findings.append(finding_of(error, "entry"))
    total = sum(size for size, _, _ in checks)
    done = nbytes = 0
    budget = Budget(store)
    for size, name, check in checks:
        try:
            budget.spend(size)
            check()
            nbytes += size
        except TfBundleError as error:
            finding = finding_of(error.locate(path=store.path, tensor=name), "entry")
            findings.append(replace(finding, size=size or None))
        done += size
        if progress is not None:
            progress(done, total)
    return nbytes
