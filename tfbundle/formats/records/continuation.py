"""Detect whether a file that was read up to a position continues there, or was replaced.

A program that appends to a file does not change the bytes already in it. A program that rewrites a file, in place or as
a new file, which many file systems give the same inode, changes bytes that were read. Checksums of the first bytes and
of the last bytes before the position detect this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tfbundle.formats.checksum import crc32c
from tfbundle.storage.base import Source
from tfbundle.storage.local import FileIdentity

# Bytes at the start and before the position whose checksums are kept.
NOTED_SIZE = 1 << 12


class Mark(NamedTuple):
    """``size`` bytes at ``offset`` that were read, and their CRC-32C."""

    offset: int
    size: int
    crc: int


class ReadSoFar:
    """The part of a file that was read: all bytes up to ``position``, of a ``version`` of ``source``."""

    def __init__(self, position: int, marks: Sequence[Mark], version: object = None) -> None:
        """Restore what was noted. Without a version, which another process may not know, the bytes alone are compared.

        A caller without a version who does not know that the file has grown must also compare its size and time.
        """
        self.position = position
        self.marks = marks
        self.version = version

    @classmethod
    def of(cls, source: Source, position: int) -> ReadSoFar:
        """Compute checksums of some of these bytes; raises the errors of ``Source.read_at``."""
        size = min(NOTED_SIZE, position)
        marks = [Mark(offset, size, crc32c(source.read_at(offset, size))) for offset in (0, position - size)]
        return cls(position, marks, source.version)

    def goes_on_in(self, source: Source) -> bool:
        """Return whether ``source`` is the same file, perhaps with more at its end."""
        before, after = self.version, source.version
        if isinstance(before, FileIdentity) and isinstance(after, FileIdentity):
            if (before.device, before.inode) != (after.device, after.inode):
                return False
            # A file that was written to without growing was rewritten in place.
            if before != after and after.size <= before.size:
                return False
        elif before is not None and before != after:
            return False
        if source.size < self.position:
            return False
        return all(crc32c(source.read_at(offset, size)) == crc for offset, size, crc in self.marks)
