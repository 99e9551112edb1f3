"""Damage done to a file by a transfer, an editor or a disk, as far as its bytes reveal it.

Each cause leaves a mark: a web page replaced the file, line feeds became CR LF, bytes were treated as text and encoded,
or a sector is all zeros. Intact bytes may show such a mark by chance. Therefore, if the expected size of the file is
known (``end``), a mark counts only if the size changed accordingly.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import NamedTuple

from tfbundle.errors import FormatError
from tfbundle.formats.table.reader import FOOTER_SIZE, MAGIC, TRAILER_SIZE, decode_footer
from tfbundle.identification.kinds import FileKind
from tfbundle.plurals import plural
from tfbundle.storage.base import Source

# How many bytes are read at the beginning and at the end of a file.
_HEAD_SIZE = 4 << 20
_TAIL_SIZE = 1 << 20
_FEWEST_MARKS = 8
# The replacement character, which programs write for each byte that is not valid UTF-8.
_REPLACEMENT = b"\xef\xbf\xbd"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# For bytes stripped of white space. No two adjacent parts match the same bytes, so there is no backtracking.
_HEX = re.compile(rb"[0-9a-fA-F\s]{64,}")
_BASE64 = re.compile(rb"[0-9a-zA-Z+/\r\n]{64,}=*")
# Messages that servers send instead of a file are short, and their first words name the problem.
_LONGEST_MESSAGE = 4096
_QUOTED = 100
_SECTOR = 512
# This many zeros may be next to a sector of zeros by chance.
_NEIGHBOURS = 4
# The lookbehind avoids searching a shorter run of zeros repeatedly.
_ZERO_SECTOR = re.compile(rb"(?<!\0)\0{512,}")

_PLACEHOLDERS = {
    FileKind.GIT_LFS: "was not fetched: it is a Git LFS pointer; 'git lfs pull' fetches the file",
    FileKind.GIT_ANNEX: "was not fetched: it is a git-annex pointer; 'git annex get' fetches the file",
    FileKind.HTML: "was not downloaded: it is a web page, perhaps an error or login page",
    FileKind.EMPTY: "is empty: a copy or download stopped before its first byte, or the disk was full",
    FileKind.ZEROS: "is all zeros: its space was reserved, and a transfer stopped before it was filled",
}
# Kinds as which damaged files may be identified.
FREE_FORMS = (FileKind.UNKNOWN, FileKind.TEXT)


class TableEnd(NamedTuple):
    """Where the last table in a file ends, and where it should end according to its footer."""

    actual: int
    stated: int


def find_transfer_causes(source: Source, kind: FileKind, end: int | None, *, is_torn: bool = False) -> Iterator[str]:
    """Yield possible causes of damage to a file, the most certain first.

    ``end`` is its expected minimum size in bytes. ``is_torn`` is whether bytes before its end are damaged, so that it
    was not merely truncated.
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
    # It is rare by chance that all line feeds are in pairs. It happens in strings, but then the file did not grow.
    if is_longer and pairs == feeds >= (2 if end is None else 1):
        yield "was transferred in text mode, which turned each line feed into CR LF; transfer it again in binary mode"
    gone = 0 if end is None else end - source.size
    if is_torn and not pairs and 0 < gone <= feeds * (1 + source.size // _HEAD_SIZE):
        yield (
            f"was transferred in text mode, which turned each CR LF into a line feed, so that {gone} bytes are "
            "missing; transfer it again in binary mode"
        )
    if head.count(_REPLACEMENT) >= _FEWEST_MARKS:
        yield "was read and saved as UTF-8 text, which replaced other bytes; copy it again from the original location"
    if head.startswith(codecs.BOM_UTF8) and source.size == (end or source.size - 3) + 3:
        yield "begins with a byte-order mark, 3 bytes that a program added because it treated the file as text"


def _message(head: bytes) -> Iterator[str]:
    """Find a text message that a server sent instead of the file."""
    try:
        text = head.decode()
    except UnicodeDecodeError:
        return
    begin = " ".join(text.split())[:_QUOTED]
    if begin and all(character.isprintable() or character.isspace() for character in text) and not _is_encoded(head):
        yield f"was not downloaded: it is {len(head)} bytes of text, which begin with '{begin}'"


def _is_encoded(head: bytes) -> bool:
    text = head.strip()
    return _BASE64.fullmatch(text) is not None or _HEX.fullmatch(text) is not None


def _encodings(head: bytes) -> Iterator[str]:
    """Find reversible encodings of bytes as text."""
    text = head.strip()
    if _HEX.fullmatch(text):
        yield "is encoded as hexadecimal digits; 'xxd -r -p' decodes it"
    elif _BASE64.fullmatch(text):
        yield "is encoded in Base64; 'base64 -d' decodes it"
    elif head.startswith(_UTF16) and 2 * head.count(0) > len(head) // 2:
        yield "was saved as UTF-16 text, as PowerShell does with the output of a command; copy it again as bytes"
    else:
        try:
            decoded = codecs.getincrementaldecoder("utf-8")().decode(head)
        except UnicodeDecodeError:
            return
        others = [character for character in decoded.removeprefix("\ufeff") if character > "\x7f"]
        if len(others) >= _FEWEST_MARKS and max(others) <= "\xff":
            yield (
                "was read as Latin-1 and saved as UTF-8, so that each byte above 0x7f became two; "
                "'iconv -f UTF-8 -t ISO-8859-1' reverses this"
            )


def describe_table_end(source: Source, end: TableEnd) -> Iterator[str]:
    """Yield a cause if the end of a table is not where it should be, right after its blocks."""
    more = source.size - end.actual
    if more and end.actual == end.stated:
        yield f"continues after the end of its table at byte {end.actual}: data was appended to it"
    elif more:
        return  # Its parts are out of order.
    elif end.actual < end.stated:
        yield f"is {plural(end.stated - end.actual, 'byte')} shorter than its footer states: a transfer lost data"
    elif end.actual > end.stated:
        yield f"is {plural(end.actual - end.stated, 'byte')} longer than its footer states: data was added to it"


def find_table_end(source: Source) -> TableEnd | None:
    """Return the end of the last table, or ``None`` if no table ends in the last part of the file."""
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
    """Return the longest stretch of whole zero sectors in a part of a file; only its first 4 MiB are read."""
    data = source.read_at(start, min(end - start, _HEAD_SIZE))
    found = (Stretch(start + match.start(), start + match.end()) for match in _ZERO_SECTOR.finditer(data))
    # Values may be zeros too, but rarely begin and end at sector boundaries, or extend to the end of the file.
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
        return f"ends in {size} zero bytes: a transfer stopped after {source.size - size} bytes, or the disk was full"
    size = zeros.end - zeros.start
    return (
        f"has {size} zero bytes at offset {zeros.start} in place of its data: the data was not written, or not "
        "transferred"
    )


def zeros_at_end(source: Source) -> int:
    """Return the number of zero bytes at the end of a file."""
    count = 0
    while count < source.size:
        size = min(_TAIL_SIZE, source.size - count)
        data = source.read_at(source.size - count - size, size)
        kept = len(data.rstrip(b"\0"))
        count += size - kept
        if kept:
            break
    return count
