"""Identification of a folder by the names of its entries; no file is opened.

::

    saved_model.pb | .pbtxt             a SavedModel
    saved_model.cpb                     a chunked SavedModel
    orbax.checkpoint | _CHECKPOINT_METADATA | _METADATA      Orbax since version 1, before, and one item of either
    manifest.ocdbt                      TensorStore's database
    zarr.json | .zarray | .zgroup       Zarr
    checkpoint, target.* or state.*     T5X (its checkpoint file is msgpack; each array has a separate folder)
    Manifest.json, Data/                Core ML
"""

from __future__ import annotations

import re

from tfbundle.identification.kinds import FileKind
from tfbundle.identification.names import SAVED_MODEL_CHUNKED_NAME, SAVED_MODEL_NAME, SAVED_MODEL_TEXT_NAME, STATE_NAME
from tfbundle.storage.base import Listing

_MARKS = (
    (SAVED_MODEL_NAME, FileKind.SAVED_MODEL_FOLDER),
    (SAVED_MODEL_TEXT_NAME, FileKind.SAVED_MODEL_FOLDER),
    (SAVED_MODEL_CHUNKED_NAME, FileKind.SAVED_MODEL_CHUNKED_FOLDER),
    ("orbax.checkpoint", FileKind.ORBAX_FOLDER),
    ("_CHECKPOINT_METADATA", FileKind.ORBAX_FOLDER),
    ("_METADATA", FileKind.ORBAX_FOLDER),
    ("manifest.ocdbt", FileKind.OCDBT_FOLDER),
    ("zarr.json", FileKind.ZARR_FOLDER),
    (".zarray", FileKind.ZARR_FOLDER),
    (".zgroup", FileKind.ZARR_FOLDER),
)
_T5X_ARRAY = re.compile(r"(?:target|state)\.\w")


def identify_folder(listing: Listing) -> FileKind:
    """Return the kind of a folder; ``FOLDER`` if no entry identifies it."""
    for name, kind in _MARKS:
        if listing.is_file(name):
            return kind
    if listing.is_file(STATE_NAME) and any(
        _T5X_ARRAY.match(name) and listing.is_folder(name) for name in listing.names
    ):
        return FileKind.T5X_FOLDER
    if listing.is_file("Manifest.json") and listing.is_folder("Data"):
        return FileKind.COREML_FOLDER
    return FileKind.FOLDER
