"""What probably happened to a checkpoint's files, told from the damage.

A list of bad checksums says little to a person. Most damage has one of a few causes, each with its mark: a download
that stopped, a copy in text mode, data files of two checkpoints in one folder, a page or a pointer in place of a file.
Only what the bytes show is told, and where they show nothing, nothing.
"""

from __future__ import annotations

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
# What stands for a byte that is no text, once a program has read the file as UTF-8.
_REPLACEMENT = b"\xef\xbf\xbd"

_STAND_INS = {
    FileKind.GIT_LFS: "was not fetched: a Git LFS pointer stands in its place ('git lfs pull' fetches it)",
    FileKind.HTML: "was not downloaded: a web page stands in its place, perhaps an error or a login",
    FileKind.EMPTY: "is empty: a copy or download stopped before its first byte, or the disk was full",
    FileKind.ZEROS: "is all zeros: its space was reserved, and a transfer stopped before it was filled",
}


class Suspect(NamedTuple):
    """A file with damage: the tensors in it, if it is a data file, and how many of these are damaged."""

    path: str
    claims: Sequence[Claim]
    damaged: frozenset[str]


def tell_stories(suspects: Sequence[Suspect], findings: Sequence[Finding], *, is_sharded: bool) -> tuple[str, ...]:
    """A sentence for each file of which the cause shows."""
    told = []
    for suspect in suspects[:_MOST_FILES]:
        try:
            source = ByteSource(suspect.path)
        except (MissingFileError, FormatError, OSError):
            continue
        try:
            story = next(_stories(source, suspect, is_sharded), None)
        except FormatError:
            story = None  # It changes while it is looked at.
        finally:
            source.close()
        if story is not None:
            told.append(f"{suspect.path} {story}")
    if any(finding.kind == "superfluous" for finding in findings):
        told.append("data files of several checkpoints lie under one name; the folder was perhaps saved to twice")
    return tuple(told)


def _stories(source: ByteSource, suspect: Suspect, is_sharded: bool) -> Iterator[str]:
    kind = identify_source(source)
    end = suspect.claims[-1].end if suspect.claims else None
    if kind in _STAND_INS and (end is None or source.size < end or kind is FileKind.ZEROS):
        yield _STAND_INS[kind]
    head = source.read_at(0, min(_HEAD_SIZE, source.size))
    pairs = head.count(b"\r\n")
    # A pair at random is rare, and line feeds that are all in pairs are rarer.
    if pairs >= 2 and pairs == head.count(b"\n"):
        yield "was transferred in text mode: each line feed became CR LF; transfer it again in binary mode"
    if head.count(_REPLACEMENT) >= _FEWEST_MARKS:
        yield "was read and saved as UTF-8 text, which replaced other bytes; get it anew from where it was written"
    zeros = _zeros_at_end(source)
    start = source.size - zeros
    if zeros >= _FEWEST_ZEROS and any(claim.end > start and claim.name in suspect.damaged for claim in suspect.claims):
        yield f"ends in {zeros} zeros: a transfer stopped after {start} bytes, or the disk was full"
    if end is None:
        if kind is FileKind.UNKNOWN and source.size:
            yield f"does not end as a table does: it was cut short at {source.size} bytes, or damaged there"
        return
    inside = {claim.name for claim in suspect.claims if claim.offset < claim.end <= source.size}
    if len(inside) > 1 and inside <= suspect.damaged:
        others = "the other data files" if is_sharded else "the index"
        yield f"is of another checkpoint than {others}: none of its {len(inside)} tensors has the checksum it should"
    if source.size < end:
        yield f"was cut short: it has {source.size} of at least {end} bytes; a download or copy stopped early"


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
