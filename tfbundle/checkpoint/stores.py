"""The choice of a store for the files that were found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfbundle.checkpoint.find.names import CheckpointFiles
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import FormatError, MissingFileError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind

if TYPE_CHECKING:
    from tfbundle.checkpoint.v1.store import V1Store


def open_store(files: CheckpointFiles, verify: bool) -> BundleStore | V1Store:
    """Open the files that ``find_checkpoint`` found; an error about a file of another kind states the kind."""
    try:
        if files.format == "v2":
            return BundleStore.open(files.prefix, verify=verify)
        from tfbundle.checkpoint.v1.store import V1Store  # Few checkpoints are that old.

        return V1Store.open(files.prefix, files.v1_files, verify=verify)
    except FormatError as error:
        if error.path is None:
            raise
        try:
            kind = kind_of(error.path)
        except MissingFileError:
            raise error from None
        if kind in (FileKind.BUNDLE_INDEX, FileKind.V1_TABLE, FileKind.TABLE, FileKind.UNKNOWN):
            raise
        advice = "copy or download it again" if kind is FileKind.TEXT else kind.advice
        raise FormatError(f"{error.path} is {kind.value}; {advice}", path=error.path) from error
