"""A file without a name, for what does not fit into memory: it is gone when it is closed, or the process ends."""

from __future__ import annotations

import tempfile
from typing import IO


def open_scratch(largest_in_memory: int) -> IO[bytes]:
    """Return an empty file to write and read, which lies in memory until it is larger than so many bytes."""
    return tempfile.SpooledTemporaryFile(max_size=largest_in_memory)
