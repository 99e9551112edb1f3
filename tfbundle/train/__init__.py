"""TensorFlow's names for checkpoints, so that code written for ``tf.train`` needs one other import::

    from tfbundle import train                          # was: import tensorflow as tf; train = tf.train

    reader = train.load_checkpoint("run/")
    for name, shape in train.list_variables("run/"):
        values = reader.get_tensor(name)

The functions have the signatures of TensorFlow 1.15 and 2.21 (``tf.train`` and ``tf.compat.v1.train``) and return the
same results for an intact checkpoint. They differ in the following:

* If a state file's paths are stale because the folder was moved, they are resolved to the files in the folder, and a
  sharded V1 checkpoint may be named by its prefix. TensorFlow finds neither. In a copied folder, ``load_checkpoint``
  and the other functions that read tensors read the copy.
* A missing name raises ``KeyError``, a missing file ``MissingFileError``, and damage, including that of a state file,
  ``FormatError``; TensorFlow has separate errors for some, returns ``None`` for others, and ends the process for a few.
* A folder without a state file is accepted if it contains one checkpoint. Any file of a checkpoint represents all.
* Slices are combined for every dtype, and for V1 too, and names that are not UTF-8 are escaped (``surrogateescape``);
  TensorFlow rejects both. ``has_tensor`` is true only for tensors, not for other entries of the table.
* ``checkpoint_exists`` does not accept a folder as a checkpoint, nor a pattern other than that of a sharded V1
  checkpoint.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfbundle.proto import CheckpointState, SaverDef
    from tfbundle.train import gfile
    from tfbundle.train.assignment import init_from_checkpoint
    from tfbundle.train.data_types import DType, as_dtype
    from tfbundle.train.event_accumulator import EventAccumulator
    from tfbundle.train.following import checkpoints_iterator
    from tfbundle.train.inspection import print_tensors_in_checkpoint_file
    from tfbundle.train.manager import CheckpointManager
    from tfbundle.train.messages import make_ndarray, summary_iterator, tf_record_iterator
    from tfbundle.train.reading import (
        CheckpointReader,
        NewCheckpointReader,
        checkpoint_exists,
        get_checkpoint_state,
        latest_checkpoint,
        list_variables,
        load_checkpoint,
        load_variable,
    )
    from tfbundle.train.removal import get_checkpoint_mtimes, remove_checkpoint
    from tfbundle.train.saver import Saver, import_meta_graph
    from tfbundle.train.state_file import generate_checkpoint_state_proto, update_checkpoint_state

_MODULES = {
    "CheckpointManager": "train.manager",
    "CheckpointReader": "train.reading",
    "CheckpointState": "proto",
    "DType": "train.data_types",
    "EventAccumulator": "train.event_accumulator",
    "NewCheckpointReader": "train.reading",
    "Saver": "train.saver",
    "SaverDef": "proto",
    "as_dtype": "train.data_types",
    "checkpoint_exists": "train.reading",
    "checkpoints_iterator": "train.following",
    "generate_checkpoint_state_proto": "train.state_file",
    "get_checkpoint_mtimes": "train.removal",
    "get_checkpoint_state": "train.reading",
    "import_meta_graph": "train.saver",
    "init_from_checkpoint": "train.assignment",
    "latest_checkpoint": "train.reading",
    "list_variables": "train.reading",
    "load_checkpoint": "train.reading",
    "load_variable": "train.reading",
    "make_ndarray": "train.messages",
    "print_tensors_in_checkpoint_file": "train.inspection",
    "remove_checkpoint": "train.removal",
    "summary_iterator": "train.messages",
    "tf_record_iterator": "train.messages",
    "update_checkpoint_state": "train.state_file",
}

__all__ = [
    "CheckpointManager",
    "CheckpointReader",
    "CheckpointState",
    "DType",
    "EventAccumulator",
    "NewCheckpointReader",
    "Saver",
    "SaverDef",
    "as_dtype",
    "checkpoint_exists",
    "checkpoints_iterator",
    "generate_checkpoint_state_proto",
    "get_checkpoint_mtimes",
    "get_checkpoint_state",
    "gfile",
    "import_meta_graph",
    "init_from_checkpoint",
    "latest_checkpoint",
    "list_variables",
    "load_checkpoint",
    "load_variable",
    "make_ndarray",
    "print_tensors_in_checkpoint_file",
    "remove_checkpoint",
    "summary_iterator",
    "tf_record_iterator",
    "update_checkpoint_state",
]

# Type checkers must not see this function, or they would accept any name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load the module of a public name, and store the name."""
        if name == "gfile":
            return importlib.import_module(f"{__name__}.gfile")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"tfbundle.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """Return the public names and those of every module, without the names that this package imports."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
