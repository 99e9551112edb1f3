"""What the operating system may refuse, staged: files and folders that may not be read, and disks that are broken.

Tests may run as root, who may read everything, so that no mode of a file would do.
"""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tfbundle.storage import local


def forbid(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    """Have the system refuse to open some files, and to list some folders."""
    forbidden = set(map(str, paths))

    def guarded(function: Any) -> Any:
        def call(path: Any, *arguments: Any) -> Any:
            if os.fspath(path) in forbidden:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
            return function(path, *arguments)

        return call

    for name in ("open", "listdir", "scandir"):
        monkeypatch.setattr(local.os, name, guarded(getattr(os, name)))


def break_disk(monkeypatch: pytest.MonkeyPatch, path: Path, offset: int, size: int = 1) -> None:
    """Have the system fail to read some bytes of a file; a read that begins before them ends there."""
    broken = os.stat(path)

    def length_of(descriptor: Any, wanted: int, start: int) -> int:
        if not os.path.samestat(os.fstat(descriptor.number), broken) or not start < offset + size:
            return wanted
        if start >= offset:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return min(wanted, offset - start)

    read, read_into = local._read, local._read_into
    monkeypatch.setattr(local, "_read", lambda file, count, start: read(file, length_of(file, count, start), start))
    monkeypatch.setattr(
        local,
        "_read_into",
        lambda file, buffer, start: read_into(file, buffer[: length_of(file, len(buffer), start)], start),
    )
