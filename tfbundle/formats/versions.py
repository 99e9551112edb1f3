"""The version of a checkpoint's format, which V2 and V1 files both state (``VersionDef``)."""

from __future__ import annotations

from tfbundle.errors import UnsupportedError
from tfbundle.proto import VersionDef

# The version that this library reads; a file may require a newer reader.
_VERSION = 1


def check_version(stated: VersionDef, path: str) -> None:
    """Raise ``UnsupportedError`` if the file at ``path`` requires another version."""
    if stated.min_consumer > _VERSION or _VERSION in stated.bad_consumers:
        raise UnsupportedError(
            f"{path} requires a reader of format version {stated.min_consumer}, but this one reads version "
            f"{_VERSION}; use a newer tfbundle",
            path=path,
        )
