"""The checks of a TFRecord file: the checksums of each record, and for an event file, that each record is an event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace

from tfbundle.errors import FormatError, TfBundleError
from tfbundle.events.messages import decode_event
from tfbundle.findings import CheckedFile, Finding, Report, finding_of
from tfbundle.formats.records.reader import Loss
from tfbundle.formats.records.tfrecord import read_records
from tfbundle.identification.files import identify_source, kind_of
from tfbundle.identification.kinds import PLACEHOLDERS, FileKind
from tfbundle.identification.names import is_event_file_name
from tfbundle.plurals import plural
from tfbundle.progress import Progress
from tfbundle.storage.base import Location, Source
from tfbundle.verification.checkpoints import report_of, size_of
from tfbundle.verification.file_causes import describe_zeros, find_transfer_causes, find_zeros

# Progress is reported after this many records.
_STEP = 1000


def format_of_records(location: Location) -> str | None:
    """Return ``"events"`` or ``"records"``, or ``None`` for any other file; raises the errors of opening it."""
    kind = FileKind.EVENTS if is_event_file_name(location.name) else kind_of(location)
    if kind is FileKind.EVENTS:
        return "events"
    if kind is FileKind.TFRECORD:
        return "records"
    if kind not in (FileKind.GZIP, FileKind.UNKNOWN):
        return None
    # An uncompressed file would have been recognized by its first record.
    try:
        with read_records(location.path) as records:
            return "records" if next(records, None) is not None and records.compression != "NONE" else None
    except FormatError:
        return None


def verify_records(location: Location, format: str, progress: Progress) -> Report:
    """Check every record of a file; ``progress`` is called with the bytes done and the size of the file."""
    path = location.path
    size = size_of(location) or 0
    findings = []
    count = nbytes = 0
    try:
        opened = read_records(path, salvage=True)
    except (TfBundleError, OSError) as error:  # Not a regular file, not readable, or just deleted.
        otherwise = "record" if size_of(location) is not None else "wrong-file"
        return replace(report_of(path, finding_of(error, otherwise), format), format=format)
    with opened as records:
        for payload in records:
            if not count % _STEP:
                progress(min(records.offset, size), size)
            count += 1
            nbytes += len(payload)
            try:
                if format == "events":
                    decode_event(payload)
            except FormatError as error:
                finding = finding_of(error.locate(path=path, offset=records.offset), "record")
                findings.append(replace(finding, size=len(payload)))
                count -= 1
    findings += (
        replace(finding_of(loss.error, "record"), offset=loss.offset, size=loss.size) for loss in records.losses
    )
    if records.truncation is not None:
        findings.append(_describe_truncation(path, *records.truncation))
    if not count and size:
        with suppress(TfBundleError, OSError):
            if (kind := kind_of(path)) in PLACEHOLDERS:
                findings = [Finding("wrong-file", f"{path} is {kind.value}; {kind.advice}", path)]
    is_plain = records.compression == "NONE"
    if not is_plain:
        # Offsets and sizes refer to the decompressed stream, not to the file.
        findings = [replace(finding, offset=None, size=None) for finding in findings]
    causes = _find_causes(location, records.losses, is_lost=not count) if is_plain else ()
    file = CheckedFile(path, format, size, count)
    return Report(path, path, format, 0, nbytes, tuple(findings), causes=causes, files=(file,))


def _describe_truncation(path: str, offset: int, there: int) -> Finding:
    what = f"the last record of {path}, at offset {offset}, is truncated ({plural(there, 'byte')} left)"
    if not there:
        what = f"the compressed stream in {path} is truncated, and records may be lost"
    message = f"{what}; it is still being written, or the writer or a copy was interrupted"
    return Finding("truncated", message, path, None, None, offset, there)


def _find_causes(location: Location, losses: Sequence[Loss], *, is_lost: bool) -> tuple[str, ...]:
    """Return the probable cause of damage to a file of records; ``is_lost`` is whether no record is intact."""
    if not losses:
        return ()
    with suppress(TfBundleError, OSError), closing(location.open()) as source:
        for cause in _causes(source, losses, is_lost=is_lost):
            return (f"{location} {cause}",)
    return ()


def _causes(source: Source, losses: Sequence[Loss], *, is_lost: bool) -> Iterator[str]:
    yield from find_transfer_causes(source, identify_source(source) if is_lost else FileKind.EVENTS, None)
    for loss in (losses[-1], losses[0]):
        zeros = find_zeros(source, loss.offset, loss.offset + loss.size)
        if zeros is not None:
            yield describe_zeros(source, zeros)
