"""ZIP archives, such as ``.npz`` and ``.keras`` files: opened within bounds, with their members as files.

zipfile reads the whole directory at the end, whatever its size, and supports compression methods that neither numpy nor
Keras uses, some of which have no bound on their output. The size is therefore bounded, and other methods are refused.
"""

from __future__ import annotations

import zipfile
import zlib

from tfbundle.errors import FormatError, UnsupportedError
from tfbundle.storage.base import Source
from tfbundle.storage.streams import SourceStream

# The directory takes about a hundred bytes per member, and each of these bytes about a microsecond to parse.
_LARGEST_DIRECTORY = 16 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LOCAL_HEADER = 30

BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


class SourceFile(SourceStream):
    """A part of an open source as a file object for Python's libraries and h5py."""

    largest: int | None = None
    """The most bytes that one read may request."""

    def read(self, size: int | None = -1) -> bytes:
        """Return up to ``size`` bytes, or all remaining bytes."""
        left = max(0, self.size - self.pos)
        count = left if size is None or size < 0 else min(size, left)
        if self.largest is not None and count > self.largest:
            raise UnsupportedError(
                f"its directory has {count} bytes, and more than {self.largest} are not read", path=self.source.path
            )
        data = self.source.read_at(self.start + self.pos, count)
        self.pos += count
        return data


def open_archive(source: Source) -> zipfile.ZipFile:
    """Return the archive in an open file.

    Raises ``FormatError`` if it is not an archive or is damaged, and ``UnsupportedError`` if it has too many members.
    """
    file = SourceFile(source)
    file.largest = _LARGEST_DIRECTORY
    path = source.path
    try:
        archive = zipfile.ZipFile(file)  # type: ignore[arg-type, unused-ignore]
        # Python before 3.12 accesses the last character of each name.
        names = [info.filename for info in archive.infolist()]
    except UnsupportedError:
        raise
    except (*BROKEN, UnicodeDecodeError, IndexError) as error:
        raise FormatError(f"{path} is not a complete ZIP archive: {error}", path=path) from None
    file.largest = None
    if "" in names:
        raise FormatError(f"{path} has a member without a name", path=path)
    if sum(info.compress_size for info in archive.infolist()) > source.size:
        raise FormatError(
            f"the members of {path} take more bytes than the archive has; they overlap, or it is truncated", path=path
        )
    return archive


def check_method(info: zipfile.ZipInfo) -> None:
    """Raise ``UnsupportedError`` for a member that is encrypted, or compressed by another method than deflate."""
    if info.compress_type not in _METHODS or info.flag_bits & 1:
        raise UnsupportedError("its member of the archive is encrypted, or compressed by an unusual method")


def part_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: Source) -> SourceFile:
    """Return an uncompressed member as a part of the archive, after verifying its checksum."""
    with archive.open(info) as member:
        while member.read(1 << 20):
            pass
    header = source.read_at(info.header_offset, _LOCAL_HEADER)
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return SourceFile(source, info.header_offset + _LOCAL_HEADER + lengths, info.file_size)
