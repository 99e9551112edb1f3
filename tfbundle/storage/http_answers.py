"""The answers of an HTTP server to requests for parts of files.

An answer to a range states the size of the file and its ETag, so that no request is made only to ask for these::

    GET /run/model.index             206 Partial Content
    Range: bytes=-65536              Content-Range: bytes 4000-69535/69536     what was sent, and the size of all
    If-Match: "5f3c"                 ETag: "5f3c"

A server may have no ranges, none that are counted from the end, or send other bytes than it announces. An answer is
read in full or refused, and an error states whether another attempt could help.
"""

from __future__ import annotations

import errno
import http.client
import re
from collections.abc import Sequence
from email.utils import parsedate_to_datetime

from tfbundle.errors import MissingFileError, UnsupportedError
from tfbundle.storage.objects import Answer, ObjectFacts, overwritten

# A server without ranges sends whole files, which are accepted up to this size.
_MOST_WHOLE = 64 << 20
_LONGEST_REASON = 200
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
_NO_RANGE = re.compile(r"bytes \*/(\d{1,19})")

# The start and the end of what is requested; without a start, the last bytes of the file.
Span = tuple[int | None, int]


class BrokenAnswer(Exception):
    """An answer that is worth another attempt; the message describes the problem."""


class NoSuffixRangeError(Exception):
    """An answer of a server that may have ranges, though none that are counted from the end, as Azure's."""


class FinalError(OSError):
    """An answer that another attempt would not change."""


def read_answer(response: http.client.HTTPResponse, url: str, span: Span | None, into: Sequence[memoryview]) -> Answer:
    """Return the bytes of an answer, read into the buffers ``into`` if they are those requested.

    Raises ``BrokenAnswer`` if another attempt may succeed, ``NoSuffixRangeError`` if the server may have only ranges
    that are counted from the start, and errors of the hierarchy and of the system otherwise.
    """
    status = response.status
    said = f"the server answers {status} {response.reason}"[:_LONGEST_REASON]
    if span is not None and span[0] is None and _lacks_suffix_ranges(response, span[1]):
        raise NoSuffixRangeError
    if status in (404, 410):
        raise MissingFileError(f"there is no file {url}", path=url)
    if status == 412:
        raise overwritten(url)
    if status in (401, 403, 407):
        raise PermissionError(errno.EACCES, f"access is denied: {said}", url)
    if status == 416:
        none = _NO_RANGE.fullmatch(response.getheader("Content-Range") or "")
        if none is None:
            raise BrokenAnswer(said)
        return Answer(_facts(response, int(none[1])), int(none[1]), memoryview(b""))
    if status in _PASSING:
        raise BrokenAnswer(said)
    if status not in (200, 206):
        raise FinalError(errno.EIO, said, url)
    coding = (response.getheader("Content-Encoding") or "identity").lower()
    if coding != "identity":
        raise UnsupportedError(f"the server sends {url} as {coding}, whose ranges are not those of the file", path=url)
    first, size, total = _announced(response, url, span)
    if span is None or size < 0:
        if size == 1:
            response.read()  # Then the connection can be used again.
        return Answer(_facts(response, total), 0, memoryview(b""))
    is_placed = bool(into) and (first, size) == (span[0], sum(map(len, into)))
    data = memoryview(b"" if is_placed else bytearray(size))
    received = 0
    for buffer in into if is_placed else [data]:
        done = 0
        while done < len(buffer):
            count = response.readinto(buffer[done:])
            if not count:
                raise BrokenAnswer(f"the answer ends after {received + done} of {size} bytes")
            done += count
        received += done
    if response.read(1):
        raise BrokenAnswer(f"{size} bytes were announced, and more were sent")
    return Answer(_facts(response, total), first, data, is_placed)


def _lacks_suffix_ranges(response: http.client.HTTPResponse, size: int) -> bool:
    """Return whether an answer to a request for the last ``size`` bytes is that of a server without such ranges."""
    if response.status == 200:
        return response.length is None or response.length > size
    if response.status == 416:
        return not (response.getheader("Content-Range") or "").endswith("*/0")
    return response.status in (400, 500, 501)


def _announced(response: http.client.HTTPResponse, url: str, span: Span | None) -> tuple[int, int, int]:
    """Return where the bytes of an answer begin, how many they are, and how many the file has.

    Where a server has no ranges and the file is large, only the last is known, and the second is -1.
    """
    length = response.length
    start, end = span or (0, 1)
    if response.status == 200:
        if length is None:
            raise FinalError(errno.EIO, "the server does not state the size of the file", url)
        if length <= _MOST_WHOLE or (start == 0 and length <= end):
            return 0, length, length
        if span is None or start is None:
            return 0, -1, length
        raise UnsupportedError(
            f"the server of {url} sends the whole file, of {length} bytes, in place of a range; download it", path=url
        )
    sent = _RANGE.fullmatch(response.getheader("Content-Range") or "")
    if sent is None:
        raise BrokenAnswer("the server sends a part of the file, and does not state which one")
    first, stop, total = int(sent[1]), int(sent[2]) + 1, int(sent[3])
    expected = max(0, total - end) if start is None else start
    if (first, stop) != (expected, total if start is None else min(end, total)):
        raise BrokenAnswer(f"the server sends bytes {first} to {stop} of {total}, which are not those requested")
    if length is not None and length != stop - first:
        raise BrokenAnswer(f"the server announces {stop - first} bytes, and sends {length}")
    return first, stop - first, total


def _facts(response: http.client.HTTPResponse, size: int) -> ObjectFacts:
    try:
        mtime = parsedate_to_datetime(response.getheader("Last-Modified") or "").timestamp()
    except (ValueError, OverflowError):
        mtime = 0.0
    return ObjectFacts(size, mtime, response.getheader("ETag") or None)
