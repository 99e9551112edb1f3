"""The probable causes of damage, inferred from the bytes of damaged files.

A list of bad checksums is of little help to users. Most damage has one of a few causes, each with a recognizable
pattern: those common to all files (``file_causes``), a download that stopped, data files of two checkpoints in one
folder, or bytes that were lost in the middle. A cause is reported only if the bytes are evidence for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfbundle.errors import FormatError
from tfbundle.findings import Finding
from tfbundle.formats.checksum import crc32c, unmask
from tfbundle.identification.files import identify_source
from tfbundle.identification.kinds import PACKED, FileKind
from tfbundle.identification.texts import is_text_name
from tfbundle.plurals import plural
from tfbundle.storage.base import Location, Source
from tfbundle.verification.file_causes import (
    FREE_FORMS,
    Stretch,
    describe_table_end,
    describe_zeros,
    find_table_end,
    find_transfer_causes,
    find_zeros,
    zeros_at_end,
)
from tfbundle.verification.layout import Claims

# The most files to examine.
_MOST_FILES = 100
# Tensors may end in zeros by chance, but rarely in this many.
_FEWEST_ZEROS = 32
# The first key of a checkpoint is empty, and its value is the header. Snappy adds two numbers before it.
_TABLE_START = re.compile(rb".{0,8}?\0\0[\x80-\xff]{0,4}[\0-\x7f][\x08\x0a\x1a]", re.DOTALL)
_START_SIZE = 16
# Fewer bytes may match by chance, and more are too many to read only to find a cause.
_FEWEST_MOVED, _MOST_MOVED = 8, 64 << 20

_TABLES = (FileKind.BUNDLE_INDEX, FileKind.V1_TABLE)


class DamagedFile(NamedTuple):
    """A damaged file; for a data file, also the claims on it, and the offsets of the damaged ones.

    ``is_table`` is whether a file without claims should be an index or a V1 file.
    """

    location: Location
    claims: Claims | None = None
    offsets: frozenset[int] = frozenset()
    is_table: bool = True


def find_causes(
    files: Sequence[DamagedFile], findings: Sequence[Finding], *, others_fit: bool = False
) -> tuple[str, ...]:
    """Return a sentence for each file with a known cause; ``others_fit`` is whether the other data files are intact."""
    found = []
    for file in files[:_MOST_FILES]:
        try:
            source = file.location.open()
        except (FormatError, OSError):
            continue
        try:
            cause = next(_causes(source, file, others_fit), None)
        except (FormatError, OSError):
            cause = None  # The file is being modified, or its disk is failing.
        finally:
            source.close()
        if cause is not None:
            found.append(f"{file.location} {cause}")
    if any(finding.kind == "superfluous" for finding in findings):
        found.append("data files of several checkpoints share one name; perhaps two saves wrote to the same folder")
    return tuple(found)


def _causes(source: Source, file: DamagedFile, others_fit: bool) -> Iterator[str]:
    """Yield possible causes, the most certain first."""
    kind = identify_source(source)
    if file.claims is not None and len(file.claims.number):
        yield from _of_data_file(source, kind, file.claims, file.offsets, others_fit)
    elif file.is_table:
        # It may have been identified by its first entry alone, so its end may be anything.
        yield from _of_table(source, FileKind.UNKNOWN if kind in _TABLES else kind)
    elif not (kind in (FileKind.TEXT, FileKind.HTML) and is_text_name(file.location.name)):
        yield from find_transfer_causes(source, kind, None)
        yield from _zeros_anywhere(source)


def _of_table(source: Source, kind: FileKind) -> Iterator[str]:
    end = find_table_end(source)
    if end is None or not end.actual == end.stated == source.size:
        yield from find_transfer_causes(source, kind, None)
    if end is not None and end.actual == source.size:
        yield from find_transfer_causes(source, kind, end.stated, is_torn=True)
    yield from _zeros_anywhere(source)
    if end is not None:
        yield from describe_table_end(source, end)
    if (end is None or end.actual != source.size) and kind in FREE_FORMS and source.size:
        if _TABLE_START.match(source.read_at(0, min(_START_SIZE, source.size))):
            yield f"does not end like a table: it was truncated to {plural(source.size, 'byte')}, or its end is damaged"
        else:
            yield "neither begins nor ends like a table: another program wrote it, or it is damaged throughout"


def _of_data_file(
    source: Source, kind: FileKind, claims: Claims, offsets: frozenset[int], others_fit: bool
) -> Iterator[str]:
    end = int(claims.end.max())
    stored = claims.rows(claims.size > 0)
    damaged = stored.rows(np.isin(stored.offset, np.array(sorted(offsets), np.int64)))
    wrong = damaged.rows(damaged.end <= source.size)
    yield from find_transfer_causes(source, kind, end, is_torn=len(wrong.number) > 0)
    if kind in PACKED and source.size < end:
        return  # It is compressed, so it is shorter on purpose; it must be unpacked first.
    zeros = zeros_at_end(source)
    start = source.size - zeros
    if zeros >= _FEWEST_ZEROS and len(damaged.number) and bool((damaged.end > start).all()):
        yield describe_zeros(source, Stretch(start, source.size))
    yield from _moved(source, wrong, source.size - end)
    yield from _zeros_inside(source, wrong)
    # Untrained variables and zeros are the same in both checkpoints.
    inside, others = int((stored.end <= source.size).sum()), len(wrong.number)
    if others > 1 and 2 * others > inside:
        fitting = "the other data files" if others_fit else "the index"
        count = "none" if others == inside else f"only {inside - others}"
        yield f"belongs to another checkpoint than {fitting}: {count} of its {inside} tensors match their checksums"
    if source.size < end:
        yield f"is truncated: it has {source.size} of at least {end} bytes; a download or copy stopped early"


def _moved(source: Source, wrong: Claims, by: int) -> Iterator[str]:
    """Find bytes that were lost or added in the middle of a file: the data after them is intact, but shifted."""
    if not by:
        return
    sizes, places = wrong.size, wrong.offset + by
    could_be = (sizes >= _FEWEST_MOVED) & (sizes <= _MOST_MOVED) & (places >= 0) & (places <= source.size - sizes)
    for row in np.flatnonzero(could_be)[-1:].tolist():
        if crc32c(source.read_at(int(places[row]), int(sizes[row]))) == unmask(int(wrong.crc[row])):
            how, where = ("lost", "early") if by < 0 else ("gained", "late")
            yield (
                f"{how} {plural(abs(by), 'byte')} in a transfer: the data that belongs at offset "
                f"{int(wrong.offset[row])} is intact, but that many bytes too {where}"
            )


def _zeros_anywhere(source: Source) -> Iterator[str]:
    zeros = find_zeros(source, 0, source.size)
    if zeros is not None:
        yield describe_zeros(source, zeros)


def _zeros_inside(source: Source, wrong: Claims) -> Iterator[str]:
    """Find sectors of zeros that explain all of the damage, and are not tensors of zeros."""
    if not len(wrong.number):
        return
    zeros = find_zeros(source, int(wrong.offset[0]), int(wrong.end.max()))
    if (
        zeros is not None
        and bool(((wrong.offset < zeros.end) & (zeros.start < wrong.end)).all())
        and bool(((wrong.offset < zeros.start) | (zeros.end < wrong.end)).any())
    ):
        yield describe_zeros(source, zeros)
