"""TensorFlow's own names for reading checkpoints, so that code written for ``tf.train`` needs one other import::

    from tfbundle import train                          # was: import tensorflow as tf; train = tf.train

    reader = train.load_checkpoint("run/")
    for name, shape in train.list_variables("run/"):
        values = reader.get_tensor(name)

The functions have the signatures of TensorFlow 1.15 and 2.21 (``tf.train`` and ``tf.compat.v1.train``) and return what
these return for a checkpoint that is whole. They differ in this:

* Where a state file's paths are stale because the folder moved, they lead to the files that lie there now, and a
  sharded V1 checkpoint goes by its prefix too. TensorFlow finds neither. Of a copied folder, ``load_checkpoint`` and
  what else reads tensors read the copy.
* An absent name is a ``KeyError``, an absent file a ``MissingFileError``, and damage a ``FormatError``, that of a state
  file included; TensorFlow has errors of its own for some, returns ``None`` for others, and ends the process for a few.
* A folder without a state file opens if it holds one checkpoint. Any file of a checkpoint stands for the whole.
* Slices are put together for every dtype and for V1 too, and names that are not UTF-8 are escaped
  (``surrogateescape``); TensorFlow refuses both. ``has_tensor`` is true of tensors alone, not of what else the table
  holds.
* ``checkpoint_exists`` takes no folder for a checkpoint, and no pattern but that of a sharded V1 checkpoint.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfbundle.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tfbundle.checkpoint.find.listings import Asking, Listings
from tfbundle.checkpoint.find.names import INDEX_SUFFIX, find_files, prefix_of, v1_prefix_of
from tfbundle.checkpoint.find.state import CheckpointState, find_state
from tfbundle.checkpoint.v2.entry import decode_facts
from tfbundle.checkpoint.v2.index import HEADER_KEY
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import FormatError
from tfbundle.formats.slice_keys import decode_name, encode_name
from tfbundle.proto import CheckpointState as CheckpointStateProto
from tfbundle.proto import DataType
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StrPath, locate
from tfbundle.tensors.dtypes import data_type_name, numpy_dtype, python_name

__all__ = [
    "CheckpointReader",
    "DType",
    "NewCheckpointReader",
    "checkpoint_exists",
    "get_checkpoint_state",
    "latest_checkpoint",
    "list_variables",
    "load_checkpoint",
    "load_variable",
]

# Files of so few checkpoints are asked for by name; for more, the folder is listed.
_FEW = 10
_QUANTISED = ("DT_QINT8", "DT_QUINT8", "DT_QINT16", "DT_QUINT16", "DT_QINT32")


class DType:
    """The type of a tensor, as TensorFlow's ``tf.DType`` speaks of it.

    It equals, and hashes as, another one of the same number, be it TensorFlow's; and as there it equals its number, its
    name, and the numpy type of its values.
    """

    __slots__ = ("_number",)

    def __init__(self, type_enum: int) -> None:
        """``type_enum`` is a number of the ``DataType`` enum."""
        self._number = int(type_enum)

    @property
    def as_datatype_enum(self) -> int:
        """The number, such as 1 for ``DT_FLOAT``."""
        return self._number

    @property
    def name(self) -> str:
        """The name in Python, such as ``"float32"``."""
        return python_name(data_type_name(self._number))

    @property
    def as_numpy_dtype(self) -> Any:
        """The scalar type of numpy or ml_dtypes, such as ``numpy.float32``; ``object`` for strings.

        For quantised types a dtype of one field that is called as they are; ``get_tensor`` gives plain integers.
        """
        dtype = numpy_dtype(self._number)
        if data_type_name(self._number) in _QUANTISED:
            return np.dtype([(self.name, dtype)])
        return object if dtype.hasobject else dtype.type

    def __eq__(self, other: object) -> bool:
        number = getattr(other, "as_datatype_enum", other)
        if isinstance(number, int):
            return self._number == number
        if isinstance(other, str):
            return self.name == other
        if isinstance(other, type | np.dtype):
            try:
                return bool(np.dtype(self.as_numpy_dtype) == np.dtype(other))
            except (TypeError, FormatError, NotImplementedError):
                return False
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._number)

    def __reduce__(self) -> tuple[Any, ...]:
        return DType, (self._number,)

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"

    def __repr__(self) -> str:
        return f"DType({self.name!r})"


class CheckpointReader:
    """What ``NewCheckpointReader`` and ``load_checkpoint`` return; its files stay open for as long as it lives."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """``checkpoint`` is the open checkpoint to read from."""
        self._checkpoint = checkpoint

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Return the shape of each tensor, as a list of lengths."""
        return {name: list(tensor.whole_shape) for name, tensor in self._checkpoint.items()}

    def get_variable_to_dtype_map(self) -> dict[str, DType]:
        """Return the type of each tensor."""
        return {name: DType(_number(tensor.data_type)) for name, tensor in self._checkpoint.items()}

    def has_tensor(self, tensor_str: str | bytes) -> bool:
        """Return whether there is a tensor of this name."""
        return _name(tensor_str) in self._checkpoint

    def get_tensor(self, tensor_str: str | bytes) -> Any:
        """Return a tensor's values: an array, a numpy scalar if it has no dimensions, ``bytes`` for a scalar string.

        Raises ``KeyError`` where there is no such tensor, and as ``Tensor.read`` does.
        """
        array = self._checkpoint[_name(tensor_str)].read()
        return array if array.ndim else array[()]

    def debug_string(self) -> bytes:
        """Return a line for each tensor: name, type and shape.

        As in TensorFlow, V2 lists the slices of a partitioned tensor in its place, under the keys by which they are
        stored, and V1 says how many there are.
        """
        store = self._checkpoint._store
        lines = []
        if isinstance(store, BundleStore):
            for keys, values in store.table.blocks():
                for key, value in zip(keys, values, strict=True):
                    facts = None if key == HEADER_KEY else decode_facts(value)
                    if facts is not None and not facts.slices:
                        lines.append(_line(key, data_type_name(facts.data_type), facts.shape))
        else:
            for name, tensor in self._checkpoint.items():
                slices = f", {len(tensor.slices)} slices" if len(tensor.slices) > 1 else ""
                lines.append(_line(encode_name(name), tensor.data_type, tensor.whole_shape, slices))
        return b"".join(lines)


def _line(key: bytes, data_type: str, shape: tuple[int, ...], slices: str = "") -> bytes:
    return key + f" ({data_type}) [{','.join(map(str, shape))}]{slices}\n".encode()


def _name(name: str | bytes) -> str:
    return decode_name(name) if isinstance(name, bytes) else name


def _number(data_type: str) -> int:
    number = DataType.DESCRIPTOR.values_by_name.get(data_type)
    return int(data_type.removeprefix("DT_")) if number is None else number.number


def NewCheckpointReader(filepattern: StrPath) -> CheckpointReader:  # noqa: N802 - as TensorFlow's
    """Return a reader of the checkpoint with this prefix; raises as ``open_checkpoint`` does."""
    prefix = locate(filepattern)
    # A folder may be called so too; it is not what is meant here.
    index = prefix.plus(INDEX_SUFFIX)
    return CheckpointReader(open_checkpoint(index if index.is_file() else prefix))


def load_checkpoint(ckpt_dir_or_file: StrPath) -> CheckpointReader:
    """Return a reader of the checkpoint with this prefix, or of the latest in this folder."""
    location = locate(ckpt_dir_or_file)
    # A folder comes first here, as in TensorFlow, even where a prefix is called so too.
    state = find_state(location) if location.is_folder() else None
    found = state.find(state.model_checkpoint_path) if state is not None else None
    return CheckpointReader(open_checkpoint(location if found is None else found.prefix))


def load_variable(ckpt_dir_or_file: StrPath, name: str) -> Any:
    """Return the values of one tensor, as ``get_tensor`` gives them; ``:0`` behind the name is left off."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))


def list_variables(ckpt_dir_or_file: StrPath) -> list[tuple[str, list[int]]]:
    """Return the name and shape of each tensor, sorted by name."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def get_checkpoint_state(checkpoint_dir: StrPath, latest_filename: str | None = None) -> CheckpointStateProto | None:
    """Return the message in a folder's state file, with paths that lead from here, or ``None`` where there is none.

    Raises ``FormatError`` where the file is no ``CheckpointState`` or names no checkpoint.
    """
    folder = locate(checkpoint_dir)
    state = find_state(folder, latest_filename)
    if state is None:
        return None
    if not state.model_checkpoint_path:
        raise FormatError(f"{state.path} names no checkpoint", path=state.path)
    listings = Listings() if len(state.all_model_checkpoint_paths) > _FEW else Asking()
    return CheckpointStateProto(
        model_checkpoint_path=_place(folder, state, state.model_checkpoint_path, listings),
        all_model_checkpoint_paths=[
            _place(folder, state, stored, listings) for stored in state.all_model_checkpoint_paths
        ],
        all_model_checkpoint_timestamps=state.all_model_checkpoint_timestamps,
        last_preserved_timestamp=state.last_preserved_timestamp,
    )


def _place(folder: Location, state: CheckpointState, stored: str, listings: Listings) -> str:
    location = folder.join(stored)  # An absolute path stays as it is.
    # A state file may name a checkpoint's file, which TensorFlow returns, and then cannot open.
    is_prefix = _exists(location, listings) and (prefix_of(location) is None or find_files(location, "v2", listings))
    return location.path if is_prefix else state.resolve(stored, listings) or location.path


def latest_checkpoint(checkpoint_dir: StrPath, latest_filename: str | None = None) -> str | None:
    """Return the prefix of a folder's latest checkpoint, or ``None`` where there is no state file or no checkpoint.

    For a sharded V1 checkpoint it is the pattern ``PREFIX-?????-of-00004``, which everything here takes.
    """
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None or not checkpoint_exists(state.model_checkpoint_path):
        return None
    return state.model_checkpoint_path


def checkpoint_exists(checkpoint_prefix: StrPath) -> bool:
    """Return whether there is a checkpoint, V2 or V1, with this prefix."""
    return _exists(locate(checkpoint_prefix), Asking())


def _exists(prefix: Location, listings: Listings) -> bool:
    if find_files(prefix, None, listings) is not None:
        return True
    whole = v1_prefix_of(prefix) if "?" in prefix.name else None
    files = find_files(whole, "v1", listings) if whole is not None else None
    return files is not None and files.v1_files != (whole,)


def __dir__() -> list[str]:
    """Return the public names, and those that every module has; not what this file happens to use."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
