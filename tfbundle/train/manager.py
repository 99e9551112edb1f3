"""``tf.train.CheckpointManager`` for arrays: numbered checkpoints in one folder, of which the latest few are kept.

The state file stores the times, so that a manager that is created later continues where this one stopped::

    saved      by prefix, with its time, oldest first
    beyond max_to_keep   the oldest is kept for good, and forgotten, if it is n hours younger than the last one that was
                         kept so; otherwise its files are removed
"""

from __future__ import annotations

import operator
import os
import time
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from tfbundle.checkpoint.find.names import step_of
from tfbundle.checkpoint.saving import save as save_checkpoint
from tfbundle.plurals import plural
from tfbundle.storage.changing import make_folders
from tfbundle.storage.locations import StrPath, locate
from tfbundle.train.reading import get_checkpoint_state
from tfbundle.train.removal import remove_v2
from tfbundle.train.state_file import check_name, generate_checkpoint_state_proto, relative_paths, write_state


class CheckpointManager:
    """Saves numbered checkpoints into a folder, and keeps the latest ``max_to_keep``.

    It differs from TensorFlow's in this:

    * ``save`` accepts the tensors, while TensorFlow's manager has a ``Checkpoint`` that finds them. Nothing is added to
      them, no object graph and no ``save_counter``; pass the tensors of an open checkpoint to keep those in it.
    * The number of the next checkpoint follows that of the latest one in the folder. In TensorFlow it is part of the
      checkpoint, and starts with 1 if that was not restored, which overwrites existing checkpoints.
    * Damage of the state file is a ``FormatError``; TensorFlow ignores it. If an old checkpoint cannot
      be removed, a ``RuntimeWarning`` is issued.
    """

    def __init__(
        self,
        directory: StrPath,
        max_to_keep: int | None,
        keep_checkpoint_every_n_hours: float | None = None,
        checkpoint_name: str | bytes = "ckpt",
    ) -> None:
        """Continue with the state file in ``directory``; the folder is created when something is saved.

        ``max_to_keep`` of ``None`` keeps all. Raises ``ValueError`` if it is not positive, and ``FormatError`` for a
        damaged state file.
        """
        if max_to_keep is not None and max_to_keep <= 0:
            raise ValueError(f"max_to_keep is a positive integer or None, not {max_to_keep}")
        self._folder = locate(directory)
        self._max_to_keep = max_to_keep
        self._hours = keep_checkpoint_every_n_hours
        self._name = os.fsdecode(checkpoint_name)
        now = time.time()
        self._saved: dict[str, float] = {}
        self._latest: str | None = None
        self._last_preserved = now - 1.0
        state = get_checkpoint_state(self._folder)
        if state is not None:
            self._latest = state.model_checkpoint_path
            self._last_preserved = min(state.last_preserved_timestamp, now)
            paths = state.all_model_checkpoint_paths
            times: Iterable[float] = state.all_model_checkpoint_timestamps or [self._last_preserved] * len(paths)
            # Checkpoints up to the last one that was kept for good were kept before, too.
            timed = ((path, min(saved_at, now)) for path, saved_at in zip(paths, times, strict=False))
            self._saved = {path: saved_at for path, saved_at in timed if saved_at > self._last_preserved}
        self._number = (step_of(self._latest) or 0) if self._latest is not None else 0

    def __repr__(self) -> str:
        return f"<CheckpointManager of {self.directory!r}, {plural(len(self._saved), 'checkpoint')}>"

    @property
    def directory(self) -> str:
        """The folder."""
        return self._folder.path

    @property
    def latest_checkpoint(self) -> str | None:
        """The prefix of the checkpoint that was saved last, or ``None``."""
        return self._latest

    @property
    def checkpoints(self) -> list[str]:
        """The prefixes of the checkpoints that may still be removed, oldest first."""
        return list(self._saved)

    def save(self, values: Mapping[str, Any], checkpoint_number: int | None = None) -> str:
        """Save tensors as ``DIRECTORY/NAME-NUMBER``, remove what is no longer kept, and return the prefix.

        ``values`` are as for ``tfbundle.save``, and are written in the given order. Without ``checkpoint_number`` the
        checkpoints are numbered from 1. Raises ``OSError`` if a file cannot be written, and the errors of
        ``tfbundle.save``.
        """
        number = self._number + 1 if checkpoint_number is None else operator.index(checkpoint_number)
        prefix = self._folder.join(f"{self._name}-{number}")
        check_name(prefix)
        make_folders(prefix.parent)
        save_checkpoint(prefix, values)
        self._number += 1  # As in TensorFlow, one with a given number counts, too.
        self._saved.pop(prefix.path, None)
        self._saved[prefix.path] = time.time()
        self._latest = prefix.path
        # Even if removing files fails, the state file names existing checkpoints.
        self._write_state()
        self._sweep()
        self._write_state()
        return prefix.path

    def _write_state(self) -> None:
        assert self._latest is not None
        latest, *paths = relative_paths(self._folder, [self._latest, *self._saved])
        message = generate_checkpoint_state_proto(
            self._folder, latest, paths, list(self._saved.values()), self._last_preserved
        )
        write_state(self._folder, message)

    def _sweep(self) -> None:
        while self._max_to_keep is not None and len(self._saved) > self._max_to_keep:
            prefix, saved_at = next(iter(self._saved.items()))
            del self._saved[prefix]
            if self._hours and saved_at - self._hours * 3600 >= self._last_preserved:
                self._last_preserved = saved_at
                continue
            try:
                remove_v2(locate(prefix))
            except OSError as error:
                warnings.warn(f"the old checkpoint {prefix} cannot be removed: {error}", RuntimeWarning, stacklevel=3)
