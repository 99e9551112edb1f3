"""How much is tried of a file: everything of a small one, and each path through the code once of a large one.

Whether all ways agree (checksums verified or not, mapped or copied, plain or salvaged, as a function or as a command)
does not depend on a file's size, and small files decide that. Large ones are there for the time and the memory that a
single call takes, so that no call repeats what another one has done to the same bytes.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# A file is large beyond so many bytes, and so are all that a case has together.
_SMALL = 1 << 15
# What a file takes in any case: hundreds of files are large even if each is tiny.
_LEAST = 1 << 10
# Of how many tensors all ways of reading are tried.
_MOST_TENSORS = 24
_MOST_TENSORS_IF_LARGE = 2


def is_large(path: str | os.PathLike[str]) -> bool:
    """Return whether the files that are ``path``, begin with it or are below it have more than 32 KB, decompressed."""
    path = Path(path)
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.name}*")
    return sum(max(_LEAST, _size(file)) for file in files) > _SMALL


def _size(path: Path) -> int:
    if path.is_symlink() or not path.is_file():
        return 0
    size = path.stat().st_size
    if size <= _SMALL and (data := path.read_bytes()).startswith(b"\x1f\x8b"):
        try:
            return len(zlib.decompressobj(31).decompress(data, _SMALL + 1))
        except zlib.error:
            return size
    return size


def some(names: Sequence[T], path: str | os.PathLike[str]) -> Sequence[T]:
    """Return the names of the tensors in ``path`` of which all ways of reading are tried, evenly spaced."""
    most = _MOST_TENSORS_IF_LARGE if is_large(path) else _MOST_TENSORS
    return names[:: max(1, len(names) // most)]
