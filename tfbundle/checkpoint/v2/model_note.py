"""The fingerprint of a SavedModel, which follows when the checkpoint of its variables is replaced.

::

    MODEL/fingerprint.pb                      FingerprintDef, of which checkpoint_hash is the hash of the index
    MODEL/variables/variables.index, .data-*  the checkpoint

TensorFlow loads a model whose fingerprint does not match, and uses the fingerprint to distinguish models. The hash of
the index is therefore updated when the variables are replaced; the hashes of graphs and signatures and the uuid stay.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from tfbundle.checkpoint.find.saved_models import model_of_variables
from tfbundle.errors import FormatError
from tfbundle.formats.farmhash import fingerprint64
from tfbundle.identification.names import FINGERPRINT_NAME
from tfbundle.limits import LARGEST_NOTE
from tfbundle.proto import FingerprintDef
from tfbundle.storage.base import Location


def find_note(prefix: Location) -> tuple[Location, FingerprintDef] | None:
    """Return the note of the SavedModel whose variables have this prefix; ``None`` if there is none to read."""
    model = model_of_variables(prefix)
    location = None if model is None else model.join(FINGERPRINT_NAME)
    if location is None or not location.is_file():
        return None
    try:
        return location, FingerprintDef.FromString(location.read(LARGEST_NOTE))
    except (FormatError, DecodeError):
        return None  # Its damage has nothing to do with the variables, and verifying the model finds it.


def encode_note(note: FingerprintDef, index: bytes) -> bytes:
    """Return the note with the hash of an index, as TensorFlow writes it."""
    changed = FingerprintDef()
    changed.CopyFrom(note)
    changed.checkpoint_hash = fingerprint64(index)
    return changed.SerializeToString(deterministic=True)
