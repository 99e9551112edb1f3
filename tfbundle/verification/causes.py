"""What probably happened to a checkpoint's files, told from the damage.

A list of bad checksums says little to a person. Most damage has one of a few causes, each with its mark: what happens
to files of any kind (``transfers``), a download that stopped, data files of two checkpoints in one folder, bytes that
were lost in the middle. Only what the bytes show is told, and where they show nothing, nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tfbundle.errors import FormatError, MissingFileError
from tfbundle.findings import Finding
from tfbundle.formats.checksum import crc32c, unmask
from tfbundle.identification.files import identify_source
from tfbundle.identification.kinds import FileKind
from tfbundle.storage.base import Source
from tfbundle.storage.local import LocalSource
from tfbundle.verification.file_causes import (
    Stretch,
    find_table_end,
    find_zeros,
    tell_table,
    tell_transfer,
    tell_zeros,
    zeros_at_end,
)
from tfbundle.verification.layout import Claim

# So many files are looked at.
_MOST_FILES = 100
# Tensors may end in zeros by chance, but rarely in so many.
_FEWEST_ZEROS = 32
# A checkpoint's first key is empty, and its value is the checkpoint's header. Snappy puts two numbers before that.
_TABLE_START = re.compile(rb".{0,8}?\0\0[\x80-\xff]{0,4}[\0-\x7f][\x08\x0a\x1a]", re.DOTALL)
_START_SIZE = 16
# What would be unpacked first, and is no shorter by accident.
_PACKED = (FileKind.GZIP, FileKind.ZIP)
# Fewer bytes may be the same by chance, and more are not read for a story.
_FEWEST_MOVED, _MOST_MOVED = 8, 64 << 20


class Suspect(NamedTuple):
    """A file with damage; of a data file also the stored tensors, and the offsets of those that are damaged.

    ``is_table`` says whether a file without claims should have been an index or a V1 file.
    """

    path: str
    claims: Sequence[Claim] = ()
    damaged: frozenset[int] = frozenset()
    is_table: bool = True


def tell_stories(
    suspects: Sequence[Suspect], findings: Sequence[Finding], *, others_fit: bool = False
) -> tuple[str, ...]:
    """A sentence for each file of which the cause shows; ``others_fit`` if the index and other data files agree."""
    told = []
    for suspect in suspects[:_MOST_FILES]:
        try:
            source = LocalSource(suspect.path)
        except (MissingFileError, FormatError, OSError):
            continue
        try:
            story = next(_stories(source, suspect, others_fit), None)
        except (FormatError, OSError):
            story = None  # It changes while it is looked at, or its disk is broken.
        finally:
            source.close()
        if story is not None:
            told.append(f"{suspect.path} {story}")
    if any(finding.kind == "superfluous" for finding in findings):
        told.append("data files of several checkpoints lie under one name; the folder was perhaps saved to twice")
    return tuple(told)


def _stories(source: Source, suspect: Suspect, others_fit: bool) -> Iterator[str]:
    """What may have happened, the surest first."""
    kind = identify_source(source)
    if suspect.claims:
        yield from _of_data_file(source, kind, suspect, others_fit)
    elif suspect.is_table:
        yield from _of_table(source, kind)
    else:
        yield from tell_transfer(source, kind, None)
        yield from _zeros_anywhere(source)


def _of_table(source: Source, kind: FileKind) -> Iterator[str]:
    end = find_table_end(source)
    if end is None or not end.actual == end.stated == source.size:
        yield from tell_transfer(source, kind, None)
    if end is not None and end.actual == source.size:
        yield from tell_transfer(source, kind, end.stated, is_torn=True)
    yield from _zeros_anywhere(source)
    if end is not None:
        yield from tell_table(source, end)
    if (end is None or end.actual != source.size) and kind is FileKind.UNKNOWN and source.size:
        if _TABLE_START.match(source.read_at(0, min(_START_SIZE, source.size))):
            yield f"does not end as a table does: it was cut short at {source.size} bytes, or damaged there"
        else:
            yield "neither begins nor ends as a table does: another program wrote it, or it is damaged all over"


def _of_data_file(source: Source, kind: FileKind, suspect: Suspect, others_fit: bool) -> Iterator[str]:
    end = suspect.claims[-1].end
    stored = [claim for claim in suspect.claims if claim.offset < claim.end]
    damaged = [claim for claim in stored if claim.offset in suspect.damaged]
    inside = [claim for claim in stored if claim.end <= source.size]
    wrong = [claim for claim in damaged if claim.end <= source.size]
    yield from tell_transfer(source, kind, end, is_torn=bool(wrong))
    if kind in _PACKED and source.size < end:
        return
    zeros = zeros_at_end(source)
    start = source.size - zeros
    if zeros >= _FEWEST_ZEROS and damaged and all(claim.end > start for claim in damaged):
        yield tell_zeros(source, Stretch(start, source.size))
    yield from _moved(source, wrong, source.size - end)
    yield from _zeros_inside(source, wrong)
    # Parts that were not trained, and zeros, are the same in both.
    if len(wrong) > 1 and 2 * len(wrong) > len(inside):
        others = "the other data files" if others_fit else "the index"
        count = "none" if len(wrong) == len(inside) else f"only {len(inside) - len(wrong)}"
        yield f"is of another checkpoint than {others}: {count} of its {len(inside)} tensors has the checksum it should"
    if source.size < end:
        yield f"was cut short: it has {source.size} of at least {end} bytes; a download or copy stopped early"


def _moved(source: Source, wrong: list[Claim], by: int) -> Iterator[str]:
    """Bytes that were lost or added in the midst of a file: what lies behind them is whole, at another place."""
    if not by:
        return
    for claim in reversed(wrong):
        size = claim.end - claim.offset
        if _FEWEST_MOVED <= size <= _MOST_MOVED and 0 <= claim.offset + by <= source.size - size:
            if crc32c(source.read_at(claim.offset + by, size)) != unmask(claim.crc):
                return
            how, where = ("lost", "early") if by < 0 else ("was given", "late")
            yield (
                f"{how} {abs(by)} bytes on the way: what belongs at offset {claim.offset} is whole, "
                f"but lies that much too {where}"
            )
            return


def _zeros_anywhere(source: Source) -> Iterator[str]:
    zeros = find_zeros(source, 0, source.size)
    if zeros is not None:
        yield tell_zeros(source, zeros)


def _zeros_inside(source: Source, wrong: list[Claim]) -> Iterator[str]:
    """Sectors of zeros that explain all that is damaged, and are no tensors of zeros."""
    zeros = find_zeros(source, wrong[0].offset, max(claim.end for claim in wrong)) if wrong else None
    if (
        zeros is not None
        and all(claim.offset < zeros.end and zeros.start < claim.end for claim in wrong)
        and any(claim.offset < zeros.start or zeros.end < claim.end for claim in wrong)
    ):
        yield tell_zeros(source, zeros)
