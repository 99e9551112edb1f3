"""Parse protobuf's text format: ``graph.pbtxt``, ``saved_model.pbtxt``, the ``checkpoint`` file.

``google.protobuf.text_format`` reads a megabyte per second, but a ``graph.pbtxt`` may have hundreds. Text in the form
that TensorFlow prints is therefore read by ``blocks``, and any other text by ``text_format`` itself, block by block
(``fallback``). The resulting messages are the same, and so are the texts that are rejected.
"""

from __future__ import annotations

import codecs
import re
from typing import TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message

from tfbundle.errors import FormatError, UnsupportedError
from tfbundle.formats.message_budget import check_message
from tfbundle.formats.text.blocks import encode_text
from tfbundle.formats.text.fallback import refuse

M = TypeVar("M", bound=Message)

_CHUNK_SIZE = 1 << 20

_UTF_16 = re.compile(rb"(?:[\t-~]\0){4}|(?:\0[\t-~]){4}")
_UTF_32 = re.compile(rb"(?:[\t-~]\0\0\0){4}|(?:\0\0\0[\t-~]){4}")


def parse_text(text: bytes, message_class: type[M], *, path: str | None = None) -> M:
    """Return the message of type ``message_class`` that a text describes.

    ``text`` is the contents of a file, in UTF-8 without a byte order mark; ``path`` is used in errors. Raises
    ``FormatError`` with the line, the column and the reason if ``text_format`` does not accept the text, or if messages
    are nested more than 100 levels deep, which no protobuf reader accepts in binary form; raises ``UnsupportedError``
    if the message would take far more memory than its bytes.
    """
    try:
        _check_encoding(text)
        if b"\r\n" in text:
            # A carriage return is white space, and a string with one here is not closed on its line.
            text = text.replace(b"\r\n", b"\n")
        data = encode_text(text, message_class)
        check_message(data, message_class)
        return message_class.FromString(data)
    except (FormatError, UnsupportedError) as error:
        raise error.locate(path=path) from None
    except RecursionError:
        reason = "messages are nested too deeply for the remaining recursion depth"
        raise FormatError(f"line 1, column 1: {reason}", path=path) from None
    except (MemoryError, EncodeError, DecodeError) as error:
        reason = f"the message is too large for protobuf or for this machine ({type(error).__name__}: {error})"
        raise FormatError(f"line 1, column 1: {reason}", path=path) from None


def wide_encoding(text: bytes) -> str | None:
    """Return ``"UTF-16"`` or ``"UTF-32"`` if text is in one of these, as Windows editors and shells write it.

    Without a byte order mark, it is detected by the zeros next to the first characters, which are ASCII in any message.
    """
    if text.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) or _UTF_32.match(text):
        return "UTF-32"
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or _UTF_16.match(text):
        return "UTF-16"
    return None


def _check_encoding(text: bytes) -> None:
    encoding = wide_encoding(text)
    if encoding is not None:
        raise FormatError(f"the text is in {encoding}, but text protobuf must be in UTF-8; save it as UTF-8")
    if text.startswith(codecs.BOM_UTF8):
        raise refuse(text, 0, "a byte order mark, which is not part of the text format").error()
    if text.isascii():
        return
    pos = 0
    while pos < len(text):
        chunk = text[pos : pos + _CHUNK_SIZE]
        try:
            pos += codecs.utf_8_decode(chunk, "strict", pos + len(chunk) == len(text))[1]
        except UnicodeDecodeError as error:
            raise refuse(text, pos + error.start, f"the text is not UTF-8 ({error.reason})").error() from None
