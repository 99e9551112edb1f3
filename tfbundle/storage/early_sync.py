"""Bring a large file to disk while it is still being written.

``fsync`` at the end waits for all bytes that the system has not written yet, while nothing else happens. A thread that
syncs every few dozen megabytes leaves it little to do. It does not replace that last ``fsync``.
"""

from __future__ import annotations

import os
import threading

# Less is not worth a wait for the disk.
_BYTES = 16 << 20


class EarlySync:
    """Syncs files that are written one after the other or in turn, one at a time."""

    def __init__(self) -> None:
        self._pending = 0
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def written(self, number: int, count: int) -> None:
        """Note that ``count`` bytes were written to the open file ``number``; return without waiting for the disk."""
        self._pending += count
        if self._pending < _BYTES or (self._thread is not None and self._thread.is_alive()):
            return
        self._pending = 0
        self._thread = threading.Thread(target=self._sync, args=(number,), name="tfbundle-sync", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when no file is being synced, so that it may be closed."""
        if self._thread is not None:
            self._thread.join()

    def finish(self, path: str) -> None:
        """Wait, and raise the ``OSError``, which names ``path``, of a file that could not be brought to disk.

        The system reports it once for an open file: the last ``fsync`` of that file would succeed.
        """
        self.wait()
        error, self._error = self._error, None
        if error is not None:
            raise type(error)(error.errno, error.strerror, path)

    def _sync(self, number: int) -> None:
        try:
            getattr(os, "fdatasync", os.fsync)(number)
        except OSError as error:
            self._error = error
