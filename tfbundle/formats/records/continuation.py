"""Whether a file that was read up to a position goes on there, or another one took its place.

A program that appends leaves the file and its first bytes as they are. One that writes a file again, in place or by
making a new one, for which many file systems take the same inode, changes what was read: checksums of the first and the
last bytes before the position show it.
"""

from __future__ import annotations

from tfbundle.formats.checksum import crc32c
from tfbundle.storage.base import Source
from tfbundle.storage.local import FileIdentity

# Bytes at the start and before the position whose checksum is noted.
_NOTED_SIZE = 1 << 12


class ReadSoFar:
    """What was read of a file: all up to ``position``, when it was the ``version`` of ``source``."""

    def __init__(self, source: Source, position: int) -> None:
        """Note checksums of some of these bytes; raises as ``Source.read_at`` does."""
        self.version = source.version
        self._position = position
        size = min(_NOTED_SIZE, position)
        # Each with its offset and size.
        self._seen = [(offset, size, crc32c(source.read_at(offset, size))) for offset in (0, position - size)]

    def goes_on_in(self, source: Source) -> bool:
        """Return whether ``source`` is the same file, perhaps with more at its end."""
        before, after = self.version, source.version
        if isinstance(before, FileIdentity) and isinstance(after, FileIdentity):
            if (before.device, before.inode) != (after.device, after.inode):
                return False
            # Written to without growing, it was rewritten in place.
            if before != after and after.size <= before.size:
                return False
        elif before != after:
            return False
        if source.size < self._position:
            return False
        return all(crc32c(source.read_at(offset, size)) == crc for offset, size, crc in self._seen)
