"""Readers of checkpoints, the state file of a folder, and which checkpoints exist."""

from __future__ import annotations

from typing import Any

from tfbundle.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tfbundle.checkpoint.find.listings import Asking, Listings
from tfbundle.checkpoint.find.names import find_files, prefix_of, v1_prefix_of
from tfbundle.checkpoint.find.state import CheckpointState, find_state
from tfbundle.checkpoint.v2.index import HEADER_KEY
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import FormatError
from tfbundle.formats.slice_keys import decode_name, encode_name
from tfbundle.identification.names import INDEX_SUFFIX
from tfbundle.plurals import plural
from tfbundle.proto import CheckpointState as CheckpointStateProto
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StrPath, locate
from tfbundle.tensors.dtypes import data_type_name
from tfbundle.tensors.mapping import store_of
from tfbundle.train.data_types import DType, number_of

# The files of so few checkpoints are checked by name; for more, the folder is listed.
_FEW = 10


class CheckpointReader:
    """The result of ``NewCheckpointReader`` and ``load_checkpoint``; its files stay open as long as it exists."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Read from an open checkpoint."""
        self._checkpoint = checkpoint

    def __repr__(self) -> str:
        return f"<CheckpointReader {self._checkpoint.prefix!r}, {plural(len(self._checkpoint), 'tensor')}>"

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Return the shape of each tensor, as a list of lengths."""
        return {name: list(tensor.whole_shape) for name, tensor in self._checkpoint.items()}

    def get_variable_to_dtype_map(self) -> dict[str, DType]:
        """Return the type of each tensor."""
        return {name: DType(number_of(tensor.data_type)) for name, tensor in self._checkpoint.items()}

    def has_tensor(self, tensor_str: str | bytes) -> bool:
        """Return whether there is a tensor of this name."""
        return _name(tensor_str) in self._checkpoint

    def get_tensor(self, tensor_str: str | bytes) -> Any:
        """Return a tensor's values: an array, a numpy scalar if it has no dimensions, ``bytes`` for a scalar string.

        Raises ``KeyError`` if there is no such tensor, and the errors of ``Tensor.read``.
        """
        array = self._checkpoint[_name(tensor_str)].read()
        return array if array.ndim else array[()]

    def debug_string(self) -> bytes:
        """Return a line for each tensor: name, type and shape.

        As in TensorFlow, V2 lists the slices of a partitioned tensor in its place, by the keys under which they are
        stored, and V1 states their number.
        """
        store = store_of(self._checkpoint)
        lines = []
        if isinstance(store, BundleStore):
            for keys, values in store.index.table.blocks():
                for key, value in zip(keys, values, strict=True):
                    facts = None if key == HEADER_KEY else store.index.facts_of(value)
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


def NewCheckpointReader(filepattern: StrPath) -> CheckpointReader:  # noqa: N802 - as TensorFlow's
    """Return a reader of the checkpoint with this prefix; raises as ``open_checkpoint`` does."""
    prefix = locate(filepattern)
    # A folder may have the same name, but is not a checkpoint.
    index = prefix.plus(INDEX_SUFFIX)
    return CheckpointReader(open_checkpoint(index if index.is_file() else prefix))


def load_checkpoint(ckpt_dir_or_file: StrPath) -> CheckpointReader:
    """Return a reader of the checkpoint with this prefix, or of the latest in this folder."""
    return CheckpointReader(open_latest(ckpt_dir_or_file))


def open_latest(ckpt_dir_or_file: StrPath) -> Checkpoint:
    """Open the checkpoint with this prefix, or the latest in this folder."""
    location = locate(ckpt_dir_or_file)
    # A folder comes first here, as in TensorFlow, even if a prefix has the same name.
    state = find_state(location) if location.is_folder() else None
    found = state.find(state.model_checkpoint_path) if state is not None else None
    return open_checkpoint(location if found is None else found.prefix)


def load_variable(ckpt_dir_or_file: StrPath, name: str | bytes) -> Any:
    """Return the values of one tensor, as ``get_tensor`` returns them; ``:0`` at the end of the name is ignored."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(_name(name).removesuffix(":0"))


def list_variables(ckpt_dir_or_file: StrPath) -> list[tuple[str, list[int]]]:
    """Return the name and shape of each tensor, sorted by name."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def get_checkpoint_state(
    checkpoint_dir: StrPath, latest_filename: str | bytes | None = None
) -> CheckpointStateProto | None:
    """Return the message in a folder's state file, with paths from the current folder, or ``None`` if there is none.

    Raises ``FormatError`` if the file is not a ``CheckpointState`` or names no checkpoint.
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
    location = folder.join(stored)  # An absolute path is not changed.
    # A state file may name a checkpoint's file, which TensorFlow returns, and then cannot open.
    is_prefix = _exists(location, listings) and (prefix_of(location) is None or find_files(location, "v2", listings))
    return location.path if is_prefix else state.resolve(stored, listings) or location.path


def latest_checkpoint(checkpoint_dir: StrPath, latest_filename: str | bytes | None = None) -> str | None:
    """Return the prefix of a folder's latest checkpoint, or ``None`` without a state file or checkpoint.

    For a sharded V1 checkpoint it is the pattern ``PREFIX-?????-of-00004``, which all functions here accept.
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
