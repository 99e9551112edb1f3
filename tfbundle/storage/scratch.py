"""Temporary files.

One without a name is for what does not fit into memory: it is gone when it is closed, or the process ends.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tfbundle.storage.base import Source


def open_scratch(largest_in_memory: int) -> IO[bytes]:
    """Return an empty file to write and read, which is kept in memory until it is larger than so many bytes."""
    return tempfile.SpooledTemporaryFile(max_size=largest_in_memory)


@contextmanager
def named_outline(source: Source, size: int) -> Iterator[str]:
    """Yield the path of a file with the length and the first ``size`` bytes of a source, for libraries that check both.

    Of a remote source it is a temporary file, whose other bytes are zeros and take no space.
    """
    if not source.is_remote:
        yield source.path
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "outline")
        with open(path, "wb") as file:
            file.write(source.read_at(0, min(size, source.size)))
            file.truncate(source.size)
        yield path
