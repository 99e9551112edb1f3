"""Identification of a file by its content.

Names are unreliable: a V1 checkpoint has no suffix, a ``.pb`` file is a frozen graph or a SavedModel, and a downloaded
``.ckpt`` may be an HTML page. Therefore the bytes decide. Magic numbers are checked first; then a table is recognized
by its end or its first entry, records by the checksum of their first length, texts by their first words, and protobufs
by their fields. Kinds with the weakest marks, such as plain text, come last. A file of any size is identified with a
few reads.
"""

from __future__ import annotations

import codecs
import re

from tfbundle.errors import FormatError
from tfbundle.formats.checksum import crc32c, unmask
from tfbundle.formats.raw_snappy import decompress_start
from tfbundle.formats.table.block import SMALLEST_BLOCK, decode_sizes
from tfbundle.formats.table.reader import (
    FOOTER_SIZE,
    MAGIC,
    BlockHandle,
    decode_handle,
    read_block_start,
    read_footer,
)
from tfbundle.formats.wire import BYTES, FIXED64, VARINT
from tfbundle.identification.folders import identify_folder
from tfbundle.identification.kinds import FileFacts, FileKind
from tfbundle.identification.messages import Content, first_fields, identify_message
from tfbundle.identification.msgpack import is_state_tree
from tfbundle.identification.names import INDEX_SUFFIX, is_event_file_name
from tfbundle.identification.texts import identify_text
from tfbundle.storage.base import Source
from tfbundle.storage.locations import StorageOptions, StrPath, locate, with_options

_HEAD_SIZE = 4096
_TAIL_SIZE = 16 * _HEAD_SIZE
# The first entry of a table has fewer bytes before its value, which the first few bytes identify. The shortest such
# entry, of an index with one shard, has this many bytes.
_ENTRY_SIZE = 64
# The length of a first key of an index block, beyond which a table is not examined further.
_LARGEST_KEY = 1 << 16
_LITERAL_SIZE = 9

_MAGIC = (
    *((offset, b"\x89HDF\r\n\x1a\n", FileKind.HDF5) for offset in (0, 512, 1024, 2048)),  # After a user block.
    (4, b"TFL3", FileKind.TFLITE),
    (0, b"\x93NUMPY", FileKind.NUMPY),
    (0, b"GGUF", FileKind.GGUF),
    (0, b"\x0c\xdb\x3a\x2a", FileKind.OCDBT),  # The manifest, the root of versions, and a node of the tree.
    (0, b"\x0c\xdb\x12\x34", FileKind.OCDBT),
    (0, b"\x0c\xdb\x20\xde", FileKind.OCDBT),
    (0, b"\x83\xaf\x70\xd1\x0d\x88\x4a\x3f" + bytes(8) + b"\x40", FileKind.SAVED_MODEL_CHUNKED),
    (0, b"\x1f\x8b", FileKind.GZIP),
    (0, b"\xfd7zXZ\0", FileKind.XZ),
    (0, b"\x28\xb5\x2f\xfd", FileKind.ZSTD),
    *((0, bytes([first]) + b"\x2a\x4d\x18", FileKind.ZSTD) for first in range(0x50, 0x60)),  # A frame to skip.
    (0, b"\x04\x22\x4d\x18", FileKind.LZ4),
    (0, b"7z\xbc\xaf\x27\x1c", FileKind.SEVEN_ZIP),
    (0, b"Rar!\x1a\x07", FileKind.RAR),
    (257, b"ustar", FileKind.TAR),
    (0, b"version https://git-lfs", FileKind.GIT_LFS),
    (0, b"version https://hawser.github", FileKind.GIT_LFS),  # Its former names.
    (0, b"version http://git-media.io", FileKind.GIT_LFS),
    (0, b"/annex/objects/", FileKind.GIT_ANNEX),
    (0, b"\x00\x05\x16\x07\x00\x02\x00\x00", FileKind.APPLE_DOUBLE),
    (0, b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", FileKind.PYTORCH),  # The pickled magic of old torch.save.
)
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")  # A block, or the end of an empty stream.
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x00-\xff]")
# Protocols 0 and 1, of Python 2: a dict, a list or an object of a class comes first, and a full stop last.
_OLD_PICKLE = re.compile(rb"\([dl]p\d+\n|[}\]]q\0|c[\w.]+\n\w+\n[(pq]")
# Five properties, and a size that is unknown or less than 1 TiB.
_LZMA = re.compile(rb"\x5d\0[\0-\xff]{3}(?:\xff{8}|[\0-\xff]{5}\0{3})")
_SAFETENSORS = re.compile(rb'.{6}\0\0\{\s*["}]', re.DOTALL)
# Three versions and no levels, then the size of a short description, which begins with the number of a type.
_PADDLE_TENSOR = re.compile(rb"\0{16}[\x02-\xff]\0\0\0\x08")
# The last item that paddle.save writes into a pickle.
_PADDLE_NAMES = b"StructuredToParameterName@@"
# Versions 0.1 and 0.2. These few bytes may occur in any file, so the name must match, too.
_DARKNET = re.compile(rb"\0{4}[\x01\x02]\0{3}[\x00-\x05]\0{3}")
# The first entry of a checkpoint's table, with an empty key: the numbers of shared and other bytes of the key, the size
# of the value, and the start of the value. That of a V2 index is short: a number of shards, a byte order if it is not
# the usual one, and a version. That of a V1 checkpoint is a message that begins with a list of tensors by name.
_INDEX_ENTRY = re.compile(
    rb"\0\0[\x04-\x7f](?:\x08[\x80-\xff]{0,2}[\0-\x7f](?:\x10[\0\x01])?)?\x1a(?:\0|[\2-\x7f][\x08\x10\x1a])"
)
_V1_ENTRY = re.compile(rb"\0\0(?:[\x80-\xff]{0,4}[\0-\x7f]\x0a){3}[\x80-\xff]{0,4}[\0-\x7f][^\0]")
_EVENT_FIELDS = {(1, FIXED64), (2, VARINT), *((number, BYTES) for number in range(3, 11))}


def identify(
    path: StrPath,
    *,
    storage_options: StorageOptions | None = None,
) -> FileFacts:
    """Return what the file or folder at ``path`` is, determined by its content.

    A folder is identified by the names of its entries. No content of a file raises an error. Raises
    ``MissingFileError`` if the path does not exist, and ``FormatError`` if it is neither a regular file nor a folder.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    path = with_options(path, storage_options)
    location = locate(path)
    return (identify_folder(location.list()) if location.is_folder() else kind_of(location)).facts


def kind_of(path: StrPath) -> FileKind:
    """Return the kind of the file at ``path``; raises as ``identify`` does, and ``FormatError`` for a folder."""
    source = locate(path).open()
    try:
        return identify_source(source)
    finally:
        source.close()


def identify_source(source: Source) -> FileKind:
    """Return the kind of an open file."""
    head = source.read_at(0, min(_HEAD_SIZE, source.size))
    if not head:
        return FileKind.EMPTY
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):  # The second is an empty archive.
        return _identify_zip(source, head)
    if _BZIP2.match(head):
        return FileKind.BZIP2
    if _SAFETENSORS.match(head):
        return FileKind.SAFETENSORS
    content = Content(source, head)
    return (
        _identify_table(source, head)
        or _identify_records(source, content, head)
        or identify_text(head)
        or identify_message(content)
        or _identify_weak(source, head)
    )


def _identify_zip(source: Source, head: bytes) -> FileKind:
    # Names are uncompressed in each member's header, and again in the directory at the end.
    names = head + _tail(source)
    if b"model.weights.h5" in names:
        return FileKind.KERAS
    if b"/data.pkl" in names:
        return FileKind.PYTORCH
    # Any archive may contain a .npy file, but numpy's archives contain nothing else.
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return FileKind.NUMPY_ARCHIVE if first.endswith(b".npy") else FileKind.ZIP


def _identify_table(source: Source, head: bytes) -> FileKind | None:
    if source.size < FOOTER_SIZE or source.read_at(source.size - 8, 8) != MAGIC.to_bytes(8, "little"):
        # Without its end it is a truncated or damaged table, if it begins like one.
        return _identify_first_entry(head) or _identify_first_entry(_decompressed(head))
    try:
        # Blocks may be large when they are decompressed; the first entries show what the table is.
        first = _first_block(source)
        start = b"" if first is None else read_block_start(source, first, _ENTRY_SIZE)
        if len(start) <= SMALLEST_BLOCK:
            return FileKind.TABLE  # It has no entries.
        shared, unshared, value_size, pos = decode_sizes(start, 0, len(start))
    except FormatError:
        # It ends like a table, so it is a damaged one. Only the name can tell the formats apart.
        return FileKind.BUNDLE_INDEX if source.path.endswith(INDEX_SUFFIX) else FileKind.V1_TABLE
    if shared or unshared:
        return FileKind.TABLE
    # SavedTensorSlices contains one message, while the header of a bundle begins with numbers.
    return FileKind.V1_TABLE if value_size and start[pos : pos + 1] == b"\x0a" else FileKind.BUNDLE_INDEX


def _first_block(source: Source) -> BlockHandle | None:
    """Return the position of a table's first data block, from the start of its index block."""
    index = read_footer(source).index_handle
    start = read_block_start(source, index, _ENTRY_SIZE)
    if len(start) <= SMALLEST_BLOCK:
        return None  # It has no entries.
    shared, unshared, value_size, pos = decode_sizes(start, 0, len(start))
    if shared or unshared > _LARGEST_KEY:
        raise FormatError("the first key of the index block is incomplete or too long", offset=index.offset)
    pos += unshared
    start = read_block_start(source, index, pos + value_size) if value_size <= _ENTRY_SIZE else b""
    return decode_handle(start, pos, len(start))[0]


def _identify_first_entry(start: bytes) -> FileKind | None:
    if _INDEX_ENTRY.match(start):
        return FileKind.BUNDLE_INDEX
    return FileKind.V1_TABLE if _V1_ENTRY.match(start) else None


def _decompressed(head: bytes) -> bytes:
    """Return the start of what a Snappy block contains whose first element is a literal, or nothing.

    The first entry of a table repeats nothing, so that a compressor writes it as a literal.
    """
    try:
        start = decompress_start(head, _ENTRY_SIZE)
    except FormatError:
        return b""
    # Before a literal are two numbers of at most five bytes.
    return start if start[:_LITERAL_SIZE] in head[: 10 + _LITERAL_SIZE] and len(start) >= _LITERAL_SIZE else b""


def _identify_records(source: Source, content: Content, head: bytes) -> FileKind | None:
    # A record begins with its length and the masked CRC of these eight bytes, which cannot match by chance.
    if len(head) < 12 or unmask(int.from_bytes(head[8:12], "little")) != crc32c(head[:8]):
        return None
    size = int.from_bytes(head[:8], "little")
    if 12 + size <= source.size:
        found = first_fields(content, 12, 12 + size)
        # Every event has a time, and few records of other kinds begin with a double.
        if found and found[0][:2] == (1, FIXED64) and {field[:2] for field in found} <= _EVENT_FIELDS:
            return FileKind.EVENTS
    return FileKind.EVENTS if is_event_file_name(locate(source.path).name) else FileKind.TFRECORD


def _identify_weak(source: Source, head: bytes) -> FileKind:
    if _LZMA.match(head):
        return FileKind.LZMA
    if _PICKLE.match(head) or (_OLD_PICKLE.match(head) and source.read_at(source.size - 1, 1) == b"."):
        if _PADDLE_NAMES in head + _tail(source):
            return FileKind.PADDLE
        return FileKind.JAX_PICKLE if b"jax" in head else FileKind.PICKLE
    if is_state_tree(head):
        return FileKind.FLAX
    if _PADDLE_TENSOR.match(head):
        return FileKind.PADDLE
    if _DARKNET.match(head) and source.path.endswith(".weights"):
        return FileKind.DARKNET
    if not head.strip(b"\0"):
        return FileKind.ZEROS
    return FileKind.TEXT if _is_text(head, is_whole=len(head) == source.size) else FileKind.UNKNOWN


def _is_text(head: bytes, *, is_whole: bool) -> bool:
    """Return whether a file begins with text in UTF-8, or in UTF-16 with a byte-order mark."""
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head, is_whole)
    except UnicodeDecodeError:
        return False
    return not text.isspace() and all(character.isprintable() or character.isspace() for character in text)


def _tail(source: Source) -> bytes:
    size = min(source.size, _TAIL_SIZE)
    return source.read_at(source.size - size, size)
