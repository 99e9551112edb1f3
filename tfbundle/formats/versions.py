"""The version of a checkpoint's format, which the files of V2 and V1 state alike (``VersionDef``)."""

from __future__ import annotations

from tfbundle.errors import UnsupportedError
from tfbundle.proto import VersionDef

# The version that is read here; a file may ask for a newer reader.
_VERSION = 1


def check_version(stated: VersionDef, path: str) -> None:
    """Raise ``UnsupportedError`` if the file at ``path`` is not for this reader."""
    if stated.min_consumer > _VERSION or _VERSION in stated.bad_consumers:
        raise UnsupportedError(
            f"{path} asks for a reader of format version {stated.min_consumer}, and this one reads version "
            f"{_VERSION}; look for a newer tfbundle",
            path=path,
        )
