"""What probably happened to a checkpoint's files, told from the damage.

A list of bad checksums says little to a person. Most damage has one of a few causes, each with its mark: a download
that stopped, a copy in text mode, data files of two checkpoints in one folder, a page or a pointer in place of a file.
Only what the bytes show is told, and where they show nothing, nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tfbundle.checkpoint.findings import Finding
from tfbundle.checkpoint.layout import Claim
from tfbundle.errors import FormatError, MissingFileError
from tfbundle.identify import FileKind, identify_source
from tfbundle.storage import ByteSource

# So many files are looked at, and so much of each.
_MOST_FILES = 100
_HEAD_SIZE = 4 << 20
_TAIL_STEP = 1 << 20
# Tensors may end in zeros by chance, but rarely in so many.
_FEWEST_ZEROS = 32
_FEWEST_MARKS = 8
# A checkpoint's first key is empty, and its value is the checkpoint's header. Snappy puts two numbers before that.
_TABLE_START = re.compile(rb".{0,8}?\0\0[\x80-\xff]{0,4}[\0-\x7f][\x08\x0a\x1a]", re.DOTALL)
_START_SIZE = 16
# What stands for a byte that is no text, once a program has read the file as UTF-8.
_REPLACEMENT = b"\xef\xbf\xbd"

_STAND_INS = {
    FileKind.GIT_LFS: "was not fetched: a Git LFS pointer stands in its place ('git lfs pull' fetches it)",
    FileKind.HTML: "was not downloaded: a web page stands in its place, perhaps an error or a login",
    FileKind.EMPTY: "is empty: a copy or download stopped before its first byte, or the disk was full",
    FileKind.ZEROS: "is all zeros: its space was reserved, and a transfer stopped before it was filled",
}


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
            source = ByteSource(suspect.path)
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


def _stories(source: ByteSource, suspect: Suspect, others_fit: bool) -> Iterator[str]:
    """What may have happened, the surest first."""
    kind = identify_source(source)
    end = suspect.claims[-1].end if suspect.claims else None
    if kind in _STAND_INS and (end is None or source.size < end or kind is FileKind.ZEROS):
        yield _STAND_INS[kind]
    yield from _of_text(source, suspect, end)
    if end is None:
        if suspect.is_table and kind is FileKind.UNKNOWN and source.size:
            if _TABLE_START.match(source.read_at(0, min(_START_SIZE, source.size))):
                yield f"does not end as a table does: it was cut short at {source.size} bytes, or damaged there"
            else:
                yield "neither begins nor ends as a table does: another program wrote it, or it is damaged all over"
        return
    stored = [claim for claim in suspect.claims if claim.offset < claim.end]
    damaged = [claim for claim in stored if claim.offset in suspect.damaged]
    zeros = _zeros_at_end(source)
    start = source.size - zeros
    if zeros >= _FEWEST_ZEROS and damaged and all(claim.end > start for claim in damaged):
        yield f"ends in {zeros} zeros: a transfer stopped after {start} bytes, or the disk was full"
    inside = [claim for claim in stored if claim.end <= source.size]
    wrong = [claim for claim in damaged if claim.end <= source.size]
    # Parts that were not trained, and zeros, are the same in both.
    if len(wrong) > 1 and 2 * len(wrong) > len(inside):
        others = "the other data files" if others_fit else "the index"
        count = "none" if len(wrong) == len(inside) else f"only {len(inside) - len(wrong)}"
        yield f"is of another checkpoint than {others}: {count} of its {len(inside)} tensors has the checksum it should"
    if source.size < end:
        yield f"was cut short: it has {source.size} of at least {end} bytes; a download or copy stopped early"


def _of_text(source: ByteSource, suspect: Suspect, end: int | None) -> Iterator[str]:
    """What programs that take a file for text do to it."""
    head = source.read_at(0, min(_HEAD_SIZE, source.size))
    pairs = head.count(b"\r\n")
    feeds = head.count(b"\n")
    # Line feeds that are all in pairs are rare by chance, though not in strings; but then the file did not grow.
    if pairs == feeds and (pairs >= 2 if end is None else pairs and source.size > end):
        yield "was transferred in text mode, where each line feed becomes CR LF; transfer it again in binary mode"
    gone = 0 if end is None else end - source.size
    # What was merely cut short is whole up to there.
    is_torn = any(claim.end <= source.size and claim.offset in suspect.damaged for claim in suspect.claims)
    if is_torn and not pairs and 0 < gone <= feeds * (1 + source.size // _HEAD_SIZE):
        yield (
            f"was transferred in text mode, where each CR LF becomes a line feed, so that {gone} bytes are gone; "
            "transfer it again in binary mode"
        )
    if head.count(_REPLACEMENT) >= _FEWEST_MARKS:
        yield "was read and saved as UTF-8 text, which replaced other bytes; get it anew from where it was written"


def _zeros_at_end(source: ByteSource) -> int:
    count = 0
    while count < source.size:
        size = min(_TAIL_STEP, source.size - count)
        data = source.read_at(source.size - count - size, size)
        kept = len(data.rstrip(b"\0"))
        count += size - kept
        if kept:
            break
    return count
