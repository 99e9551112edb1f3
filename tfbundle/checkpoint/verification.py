"""Checks everything that a checkpoint's files can be checked for, and says what it found.

Reading stops at the first trouble. A check must not: every block of the index, every entry, every data file and every
checksum is looked at, and each trouble becomes a ``Finding``. Nothing is needed to start with, so that a path to an
HTML page or to nothing at all gives a report and not an exception.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tfbundle.checkpoint.bundle import BundleStore
from tfbundle.checkpoint.names import CheckpointFiles, Format
from tfbundle.checkpoint.paths import find_checkpoint
from tfbundle.checkpoint.stores import open_store
from tfbundle.errors import (
    ChecksumError,
    FormatError,
    MissingFileError,
    TfBundleError,
    TruncatedError,
    UnsupportedError,
)
from tfbundle.formats.sstable import read_block
from tfbundle.storage import list_folder

if TYPE_CHECKING:
    from tfbundle.checkpoint.v1 import V1Store

# A checkpoint of thousands of data files that are all absent needs no finding for each.
_MOST_NAMED = 100

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a checkpoint.

    ``kind`` is a stable word for programs:

    ``"missing"``      a file is not there
    ``"wrong-file"``   a file is something else than a checkpoint's
    ``"index"``        the index, or a block of it, is damaged; names may be lost
    ``"entry"``        what the index says of a tensor makes no sense, or some of its slices are absent
    ``"checksum"``     stored bytes are not the ones that were written
    ``"truncated"``    a file ends too early
    ``"unsupported"``  valid, but not readable here, so not checked

    ``offset`` and ``size`` are in bytes of ``path``; what does not apply is ``None``.
    """

    kind: str
    message: str
    path: str | None = None
    tensor: str | None = None
    shard: int | None = None
    offset: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class Report:
    """What a check found: ``ok`` if nothing.

    ``prefix`` and ``format`` say which checkpoint was checked (``None`` where there was none to open), ``tensors`` how
    many names it has, ``nbytes`` how many bytes of tensor data were held against their checksums.
    """

    path: str
    prefix: str | None = None
    format: Format | None = None
    tensors: int = 0
    nbytes: int = 0
    findings: tuple[Finding, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def __bool__(self) -> bool:
        return self.ok


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
        return Report(path, findings=(_finding(error, "wrong-file"),))
    return verify_files(path, files, progress)


def verify_files(path: str, files: CheckpointFiles, progress: Progress | None = None) -> Report:
    """Check the checkpoint that was found at ``path``."""
    try:
        store = open_store(files, verify=True)
    except TfBundleError as error:
        return Report(path, files.prefix, files.format, findings=(_finding(error, "index"),))
    try:
        findings = _check_index(store)
        try:
            records: dict[str, Any] = dict(store.records())
        except TfBundleError as error:
            if not findings:
                findings.append(_finding(error, "index"))
            records = store.surviving_records() if isinstance(store, BundleStore) else {}
        absent = _check_shards(store, findings) if isinstance(store, BundleStore) else set()
        nbytes = _check_tensors(store, records, absent, findings, progress)
    finally:
        store.close()
    return Report(path, files.prefix, files.format, len(records), nbytes, tuple(findings))


def _check_index(store: BundleStore | V1Store) -> list[Finding]:
    findings = []
    for table in store.tables:
        try:
            read_block(table.source, table.footer.metaindex_handle)
        except FormatError as error:
            findings.append(_finding(error, "index"))
        for number in range(len(table.handles)):
            try:
                table.block(number)
            except FormatError as error:
                findings.append(_finding(error, "index"))
    return findings


def _check_shards(store: BundleStore, findings: list[Finding]) -> set[int]:
    """Find absent data files, and return their numbers, so that their tensors need not all be named."""
    folder = os.path.dirname(store.shards.path(0)) or os.curdir
    there = set(list_folder(folder))
    count = store.shards.count
    absent = [shard for shard in range(count) if os.path.basename(store.shards.path(shard)) not in there]
    for shard in absent[:_MOST_NAMED]:
        path = store.shards.path(shard)
        message = f"the data file {path} is not there (shard {shard} of {count}); copy it beside the index"
        findings.append(Finding("missing", message, path, shard=shard))
    if len(absent) > _MOST_NAMED:
        message = f"{len(absent) - _MOST_NAMED} more of the {count} data files are not there"
        findings.append(Finding("missing", message, store.path))
    return set(absent)


def _check_tensors(
    store: BundleStore | V1Store,
    records: dict[str, Any],
    absent: set[int],
    findings: list[Finding],
    progress: Progress | None,
) -> int:
    checks: list[tuple[int, str, Callable[[], None]]] = []
    for name, record in records.items():
        try:
            checks += [(size, name, check) for size, check in store.checks(name, record, absent)]
        except TfBundleError as error:
            findings.append(_finding(error, "entry"))
    total = sum(size for size, _, _ in checks)
    done = nbytes = 0
    for size, name, check in checks:
        try:
            check()
            nbytes += size
        except TfBundleError as error:
            finding = _finding(error.locate(path=store.path, tensor=name), "entry")
            findings.append(replace(finding, size=size or None))
        done += size
        if progress is not None:
            progress(done, total)
    return nbytes


def _finding(error: TfBundleError, otherwise: str) -> Finding:
    kind = otherwise
    if isinstance(error, MissingFileError):
        kind = "missing"
    elif isinstance(error, UnsupportedError):
        kind = "unsupported" if otherwise != "wrong-file" else otherwise
    elif otherwise == "entry" and isinstance(error, ChecksumError):
        kind = "checksum"
    elif otherwise == "entry" and isinstance(error, TruncatedError):
        kind = "truncated"
    return Finding(kind, str(error), error.path, error.tensor, error.shard, error.offset)
