"""The layout of a SavedModel's folder, as far as its checkpoint is concerned.

::

    saved_model.pb  or  saved_model.pbtxt     the graphs; TensorFlow reads the first if both exist
    variables/variables.index, .data-*        a V2 checkpoint
    fingerprint.pb  keras_metadata.pb  tfhub_module.pb      notes of TensorFlow, Keras and TensorFlow Hub
"""

from __future__ import annotations

from tfbundle.errors import TfBundleError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import PLACEHOLDERS, FileKind
from tfbundle.identification.names import SAVED_MODEL_NAMES, SAVED_MODEL_NOTES, VARIABLES
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StrPath, locate


def is_saved_model(path: StrPath) -> bool:
    """Return whether a path is a SavedModel's folder or file, or a note next to that file, by their names."""
    location = locate(path)
    if location.is_folder():
        return any(location.join(name).is_file() for name in SAVED_MODEL_NAMES)
    return location.name in SAVED_MODEL_NAMES or is_saved_model_note(location)


def is_saved_model_note(path: StrPath) -> bool:
    """Return whether a path is a file next to a SavedModel's file that belongs to it, by their names."""
    location = locate(path)
    return location.name in SAVED_MODEL_NOTES and location.is_file() and is_saved_model(location.parent)


def is_placeholder_of_saved_model(folder: Location) -> bool:
    """Return whether the file of a SavedModel in a folder is invalid, such as a web page or a broken link."""
    for name in SAVED_MODEL_NAMES:
        if folder.join(name).is_file():
            try:
                return kind_of(folder.join(name)) in (*PLACEHOLDERS, FileKind.EMPTY, FileKind.TEXT)
            except (TfBundleError, OSError):
                return True
    return False


def model_of_variables(prefix: Location) -> Location | None:
    """Return the folder of the SavedModel whose checkpoint has this prefix, or ``None`` for any other checkpoint."""
    if prefix.name != VARIABLES:
        return None
    # Links and ".." would hide the name of the folder.
    folder = prefix.absolute().parent.real()
    return folder.parent if folder.name == VARIABLES and is_saved_model(folder.parent) else None


def variables_prefix(folder: StrPath) -> Location:
    """Return the prefix of a SavedModel's checkpoint."""
    return locate(folder).join(VARIABLES, VARIABLES)
