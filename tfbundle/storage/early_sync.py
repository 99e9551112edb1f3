"""Bring a large file to disk while it is still being written.

``fsync`` at the end waits for all bytes that the system has not written yet, while nothing else happens. A thread that
syncs every few dozen megabytes leaves it little to do. It does not replace that last ``fsync``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

# Less is not worth a wait for the disk.
_BYTES = 16 << 20


@contextmanager
def early_sync(file: BinaryIO) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with each number of bytes that was written to ``file``."""
    number = file.fileno()
    wake = threading.Event()
    ended = False
    pending = 0
    thread: threading.Thread | None = None

    def sync() -> None:
        while not ended:
            wake.wait()
            wake.clear()
            with suppress(OSError):  # The last fsync reports what goes wrong.
                if not ended:
                    getattr(os, "fdatasync", os.fsync)(number)

    def written(count: int) -> None:
        nonlocal pending, thread
        pending += count
        if pending >= _BYTES:
            pending = 0
            if thread is None:
                thread = threading.Thread(target=sync, name="tfbundle-sync", daemon=True)
                thread.start()
            wake.set()

    try:
        yield written
    finally:
        ended = True
        if thread is not None:
            wake.set()
            thread.join()
