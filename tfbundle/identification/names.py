"""The names by which TensorFlow finds its files::

    PREFIX.index   PREFIX.meta                      a V2 checkpoint; the graph of a checkpoint
    checkpoint                                      the state file of a folder of checkpoints
    saved_model.pb  .pbtxt  .cpb                    a SavedModel: binary, text, in chunks
    variables/  assets/  assets.extra/              its folders
    fingerprint.pb  keras_metadata.pb  tfhub_module.pb      notes of TensorFlow, Keras and TensorFlow Hub next to it
    *tfevents*                                      an event file

Names that are more than a constant, such as those of data files, are in ``checkpoint.find.names``.
"""

from __future__ import annotations

INDEX_SUFFIX = ".index"
META_SUFFIX = ".meta"
STATE_NAME = "checkpoint"

SAVED_MODEL_NAME = "saved_model.pb"
SAVED_MODEL_TEXT_NAME = "saved_model.pbtxt"
SAVED_MODEL_NAMES = (SAVED_MODEL_NAME, SAVED_MODEL_TEXT_NAME)
SAVED_MODEL_CHUNKED_NAME = "saved_model.cpb"
VARIABLES = "variables"
ASSETS = "assets"
EXTRA_ASSETS = "assets.extra"
FINGERPRINT_NAME = "fingerprint.pb"
KERAS_METADATA_NAME = "keras_metadata.pb"
SAVED_MODEL_NOTES = (FINGERPRINT_NAME, KERAS_METADATA_NAME, "tfhub_module.pb")


def is_event_file_name(name: str) -> bool:
    """Return whether a file of this base name is an event file, by TensorBoard's rule.

    This includes ``.v2`` and ``.profile-empty`` files (TensorBoard, ``backend/event_processing/io_wrapper``).
    """
    return "tfevents" in name
