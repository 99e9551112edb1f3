"""What a transfer, an editor or a disk did to a file that is known to be damaged, as far as its bytes show it.

Each has its mark: a page stands in the file's place, line feeds became CR LF, bytes were taken for text and encoded, a
sector is all zeros. Right bytes may bear such a mark by chance. So where it is known how long the file should be
(``end``), a mark counts only if the length changed in the way that goes with it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import NamedTuple

from tfbundle.errors import FormatError
from tfbundle.formats.table.reader import FOOTER_SIZE, MAGIC, TRAILER_SIZE, decode_footer
from tfbundle.identification.kinds import FileKind
from tfbundle.storage.base import Source

# So many bytes at the beginning and at the end of a file are read.
_HEAD_SIZE = 4 << 20
_TAIL_SIZE = 1 << 20
_FEWEST_MARKS = 8
# What stands for a byte that is no text, once a program has read the file as UTF-8.
_REPLACEMENT = b"\xef\xbf\xbd"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Of bytes without white space at their ends. No part may match what the next one does, which would backtrack.
_HEX = re.compile(rb"[0-9a-fA-F\s]{64,}")
_BASE64 = re.compile(rb"[0-9a-zA-Z+/\r\n]{64,}=*")
# Messages that servers send instead of a file are short, and their first words say what is wrong.
_LONGEST_MESSAGE = 4096
_QUOTED = 100
_SECTOR = 512
# As many may stand beside a sector of zeros by chance.
_NEIGHBOURS = 4
# Not to be looked for within a shorter run of zeros again and again.
_ZERO_SECTOR = re.compile(rb"(?<!\0)\0{512,}")

_PLACEHOLDERS = {
    FileKind.GIT_LFS: "was not fetched: a Git LFS pointer stands in its place ('git lfs pull' fetches it)",
    FileKind.HTML: "was not downloaded: a web page stands in its place, perhaps an error or a login",
    FileKind.EMPTY: "is empty: a copy or download stopped before its first byte, or the disk was full",
    FileKind.ZEROS: "is all zeros: its space was reserved, and a transfer stopped before it was filled",
}
# What damaged files of any kind may look like.
FREE_FORMS = (FileKind.UNKNOWN, FileKind.TEXT)


class TableEnd(NamedTuple):
    """Where the last table in a file ends, and where its footer says that it ends."""

    actual: int
    stated: int


def find_transfer_causes(source: Source, kind: FileKind, end: int | None, *, is_torn: bool = False) -> Iterator[str]:
    """Return what may have happened to a damaged file, the surest first.

    ``end`` is how long it should be at least in bytes, and ``is_torn`` if bytes before its end are damaged, so that it
    was not merely cut short.
    """
    is_shorter = end is None or source.size < end
    is_longer = end is None or source.size > end
    if kind in _PLACEHOLDERS and (is_shorter or kind is FileKind.ZEROS):
        yield _PLACEHOLDERS[kind]
    head = source.read_at(0, min(_HEAD_SIZE, source.size))
    if is_shorter and kind in (*FREE_FORMS, FileKind.STORE_ERROR) and 0 < len(head) <= _LONGEST_MESSAGE:
        yield from _message(head)
    if is_longer and kind in FREE_FORMS:
        yield from _encodings(head)
    pairs = head.count(b"\r\n")
    feeds = head.count(b"\n")
    # Line feeds that are all in pairs are rare by chance, though not in strings; but then the file did not grow.
    if is_longer and pairs == feeds >= (2 if end is None else 1):
        yield "was transferred in text mode, where each line feed becomes CR LF; transfer it again in binary mode"
    gone = 0 if end is None else end - source.size
    if is_torn and not pairs and 0 < gone <= feeds * (1 + source.size // _HEAD_SIZE):
        yield (
            f"was transferred in text mode, where each CR LF becomes a line feed, so that {gone} bytes are gone; "
            "transfer it again in binary mode"
        )
    if head.count(_REPLACEMENT) >= _FEWEST_MARKS:
        yield "was read and saved as UTF-8 text, which replaced other bytes; copy it again from where it was written"
    if head.startswith(codecs.BOM_UTF8) and source.size == (end or source.size - 3) + 3:
        yield "begins with a byte-order mark, 3 bytes that a program added because it took the file for text"


def _message(head: bytes) -> Iterator[str]:
    """Find a text in place of the file, as servers send it instead of one."""
    try:
        text = head.decode()
    except UnicodeDecodeError:
        return
    begin = " ".join(text.split())[:_QUOTED]
    if begin and all(character.isprintable() or character.isspace() for character in text) and not _is_encoded(head):
        yield f"was not downloaded: {len(head)} bytes of text stand in its place, which begin '{begin}'"


def _is_encoded(head: bytes) -> bool:
    text = head.strip()
    return _BASE64.fullmatch(text) is not None or _HEX.fullmatch(text) is not None


def _encodings(head: bytes) -> Iterator[str]:
    """Find encodings of bytes as text that can be undone."""
    text = head.strip()
    if _HEX.fullmatch(text):
        yield "is text in hexadecimal digits; 'xxd -r -p' gives the file back"
    elif _BASE64.fullmatch(text):
        yield "is text in Base64; 'base64 -d' gives the file back"
    elif head.startswith(_UTF16) and 2 * head.count(0) > len(head) // 2:
        yield "was saved as UTF-16 text, as PowerShell does with what a command prints; copy it again, as bytes"
    else:
        try:
            decoded = codecs.getincrementaldecoder("utf-8")().decode(head)
        except UnicodeDecodeError:
            return
        others = [character for character in decoded.removeprefix("\ufeff") if character > "\x7f"]
        if len(others) >= _FEWEST_MARKS and max(others) <= "\xff":
            yield (
                "was read as Latin-1 and saved as UTF-8, so that each byte above 0x7f became two; "
                "'iconv -f UTF-8 -t ISO-8859-1' undoes that"
            )


def describe_table_end(source: Source, end: TableEnd) -> Iterator[str]:
    """Describe the end of a table that is not where it should be: right behind its blocks."""
    more = source.size - end.actual
    if more and end.actual == end.stated:
        yield f"does not stop where its table ends, at byte {end.actual}: something was appended to it"
    elif more:
        return  # Its parts are in disorder.
    elif end.actual < end.stated:
        yield f"lacks {end.stated - end.actual} bytes that its footer counts: they were lost in a transfer"
    elif end.actual > end.stated:
        yield f"has {end.actual - end.stated} bytes more than its footer counts: something was added to it"


def find_table_end(source: Source) -> TableEnd | None:
    """Return the end of the last table; ``None`` where none ends in the last part of the file."""
    size = min(source.size, _TAIL_SIZE)
    tail = source.read_at(source.size - size, size)
    end = tail.rfind(MAGIC.to_bytes(8, "little")) + 8
    if end < FOOTER_SIZE:
        return None
    try:
        handle = decode_footer(tail[end - FOOTER_SIZE : end]).index_handle
    except FormatError:
        return None
    return TableEnd(source.size - size + end, handle.offset + handle.size + TRAILER_SIZE + FOOTER_SIZE)


class Stretch(NamedTuple):
    """Bytes from ``start`` to ``end``."""

    start: int
    end: int


def find_zeros(source: Source, start: int, end: int) -> Stretch | None:
    """Return the longest stretch of whole sectors of zeros in a part of a file, of which the first 4 MiB are read."""
    data = source.read_at(start, min(end - start, _HEAD_SIZE))
    found = (Stretch(start + match.start(), start + match.end()) for match in _ZERO_SECTOR.finditer(data))
    # Values may be zeros too, but rarely so that they begin and end where sectors do, or in the last bytes of a file.
    fitting = [
        zeros
        for zeros in found
        if zeros.end == source.size or (-zeros.start % _SECTOR <= _NEIGHBOURS and zeros.end % _SECTOR <= _NEIGHBOURS)
    ]
    return max(fitting, key=lambda zeros: zeros.end - zeros.start, default=None)


def describe_zeros(source: Source, zeros: Stretch) -> str:
    """Describe a stretch of zeros where other bytes belong."""
    if zeros.end == source.size:
        size = zeros_at_end(source)
        return f"ends in {size} zeros: a transfer stopped after {source.size - size} bytes, or the disk was full"
    size = zeros.end - zeros.start
    return (
        f"has {size} zeros from offset {zeros.start} on where other bytes belong: they were not written, or not "
        "transferred"
    )


def zeros_at_end(source: Source) -> int:
    """Return how many bytes at the end of a file are zeros."""
    count = 0
    while count < source.size:
        size = min(_TAIL_SIZE, source.size - count)
        data = source.read_at(source.size - count - size, size)
        kept = len(data.rstrip(b"\0"))
        count += size - kept
        if kept:
            break
    return count
