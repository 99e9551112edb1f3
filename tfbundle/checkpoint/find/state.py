"""The ``checkpoint`` file: which checkpoints of a folder training kept, and which is the latest.

It is a ``CheckpointState`` message in text form::

    model_checkpoint_path: "model.ckpt-30"
    all_model_checkpoint_paths: "model.ckpt-20"
    all_model_checkpoint_paths: "model.ckpt-30"

Relative paths are relative to the file's folder. Absolute ones go stale when the folder moves to another place, or to
another machine; what they meant is then looked for in the folder where the state file lies now. Those of a copied
folder still lead to the original, though the copy's own files are meant.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from tfbundle.checkpoint.find.names import find_files, prefix_of_v1_shard
from tfbundle.errors import FormatError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.limits import LARGEST_NOTE, MOST_FOLDERS
from tfbundle.proto import CheckpointState as CheckpointStateProto
from tfbundle.storage.local import is_file, is_folder, list_folder, read_file, real_path

STATE_NAME = "checkpoint"


class CheckpointState(NamedTuple):
    """What a state file says, as it is written there; ``resolve`` finds what lies where it points today.

    Times are seconds since 1970. The lists of paths and timestamps run in parallel, oldest first; the timestamps
    are empty in files of TensorFlow before 1.12.
    """

    path: str
    model_checkpoint_path: str
    all_model_checkpoint_paths: list[str]
    all_model_checkpoint_timestamps: list[float]
    last_preserved_timestamp: float

    @property
    def folder(self) -> str:
        """The folder in which the state file lies."""
        return os.path.dirname(self.path) or os.curdir

    @property
    def resolved(self) -> str | None:
        """The prefix of the latest checkpoint as it lies now, or ``None`` if it is not there."""
        return self.resolve(self.model_checkpoint_path)

    @property
    def all_resolved(self) -> list[str | None]:
        """The same for each of ``all_model_checkpoint_paths``."""
        names_in = cache(list_folder)
        return [self.resolve(path, names_in) for path in self.all_model_checkpoint_paths]

    def resolve(self, stored: str, names_in: Callable[[str], list[str]] = list_folder) -> str | None:
        """Where the checkpoint that is stored as ``stored`` lies now: there, or in the state file's own folder.

        The latter comes first where the folder is a copy of one that is still there. ``names_in`` gives the sorted
        names in a folder, from memory where many paths are resolved.
        """
        if not stored or "\0" in stored:
            return None
        if "?" in stored:
            stored = prefix_of_v1_shard(stored) or stored
        # The folder may have moved together with folders below it, so longer and longer ends of the path are tried;
        # also of relative paths and of gs://bucket/model.ckpt, for folders are flattened and downloaded too.
        parts = [part for part in stored.replace("\\", "/").split("/") if part not in ("", os.curdir)]
        # On Windows, what is joined to a drive's letter is looked for on that drive, not in the folder.
        parts = [part for part in parts if not os.path.splitdrive(part)[0]]
        most = min(len(parts), MOST_FOLDERS)
        if re.search(r"(?:\A|[/\\])\.?\Z", stored):
            # The prefix ended in a slash ("run/", which is stored as "."), and its files have no name (".index").
            candidates = [os.path.join(self.folder, stored.removesuffix("."), "")] if parts else []
            candidates.append(os.path.join(self.folder, ""))
            candidates += [os.path.join(self.folder, *parts[-count:], "") for count in range(1, most + 1)]
        else:
            candidates = [os.path.join(self.folder, stored)]
            candidates += [os.path.join(self.folder, *parts[-count:]) for count in range(1, most + 1)]
        if os.path.isabs(stored) and self._is_of_another_run(candidates[0]):
            candidates.append(candidates.pop(0))
        return next((prefix for prefix in dict.fromkeys(candidates) if find_files(prefix, None, names_in)), None)

    def _is_of_another_run(self, prefix: str) -> bool:
        """Whether a prefix leads out of the state file's folder, into one that has a state file too.

        TensorFlow writes a state file beside the checkpoints that it names, so that this one was copied from there.
        """
        folder = os.path.dirname(prefix)
        if folder == self.folder or not is_file(os.path.join(folder, os.path.basename(self.path))):
            return False
        return not os.path.join(real_path(folder), "").startswith(os.path.join(real_path(self.folder), ""))


def read_checkpoint_state(path: str | os.PathLike[str], latest_filename: str | None = None) -> CheckpointState:
    """Read a state file, given its folder or the file itself.

    ``latest_filename`` is the file's name in the folder where it is not ``checkpoint``. Raises ``MissingFileError``
    where there is none and ``FormatError`` where it is not a ``CheckpointState``.
    """
    path = os.fspath(path)
    if is_folder(path):
        path = os.path.join(path, latest_filename or STATE_NAME)
    from tfbundle.formats.text.textproto import parse_text  # Most checkpoints are opened without a state file.

    try:
        message = parse_text(read_file(path, LARGEST_NOTE), CheckpointStateProto, path=path)
    except FormatError:
        kind = kind_of(path)
        if kind in (FileKind.STATE, FileKind.UNKNOWN):
            raise
        raise FormatError(
            f"{path} is {kind.value}, not a state file; pass the folder, or the file in it that is called {STATE_NAME}",
            path=path,
        ) from None
    return CheckpointState(
        path,
        message.model_checkpoint_path,
        list(message.all_model_checkpoint_paths),
        list(message.all_model_checkpoint_timestamps),
        message.last_preserved_timestamp,
    )


def latest_checkpoint(checkpoint_dir: str | os.PathLike[str], latest_filename: str | None = None) -> str | None:
    """The prefix of the checkpoint that a folder's state file names as the latest, if it lies there, or ``None``.

    Where the stored path is stale because the folder moved, the prefix is the one in the folder. A state file that
    cannot be read raises ``FormatError``: it does not mean that there is no checkpoint.
    """
    path = os.path.join(os.fspath(checkpoint_dir), latest_filename or STATE_NAME)
    if not is_file(path):
        return None
    return read_checkpoint_state(path).resolved
