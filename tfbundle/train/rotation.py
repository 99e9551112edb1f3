"""The checkpoints that a ``Saver`` keeps.

::

    saved      a list of (prefix, time), oldest first, at most max_to_keep long
    pushed out when the list is longer: its oldest is kept for good if its time is past the next time to keep one
               (construction plus n hours, and n hours more after each that is kept); otherwise its files are removed

Hours are a float32, as ``SaverDef`` stores them.
"""

from __future__ import annotations

import time
import warnings

from tfbundle.proto import SaverDef
from tfbundle.train.removal import remove_checkpoint

Saved = tuple[str, float]


class Rotation:
    """The checkpoints of one ``Saver``."""

    def __init__(self, settings: SaverDef) -> None:
        """Accept ``settings`` with ``max_to_keep`` (0 keeps all) and ``keep_checkpoint_every_n_hours``."""
        self._settings = settings
        self._seconds = settings.keep_checkpoint_every_n_hours * 3600
        self._next_to_keep = time.time() + self._seconds
        self._pushed_out: list[Saved] = []
        self.saved: list[Saved] = []

    @property
    def prefixes(self) -> list[str]:
        """The checkpoints that may still be removed, oldest first."""
        return [prefix for prefix, _ in self.saved]

    def add(self, prefix: str) -> None:
        """Add a checkpoint that was just saved."""
        if not self._settings.max_to_keep:
            return
        self.saved = [item for item in self.saved if item[0] != prefix]
        self.saved.append((prefix, time.time()))
        if len(self.saved) > self._settings.max_to_keep:
            self._pushed_out.append(self.saved.pop(0))

    def sweep(self, meta_graph_suffix: str) -> None:
        """Remove the files of the checkpoint that ``add`` pushed out, unless it is one to keep.

        If they cannot be removed, a ``RuntimeWarning`` is issued, because the new checkpoint was saved.
        """
        if not self._pushed_out:
            return
        prefix, saved_at = self._pushed_out.pop(0)
        if saved_at > self._next_to_keep:
            self._next_to_keep += self._seconds
            return
        try:
            remove_checkpoint(prefix, self._settings.version, meta_graph_suffix)
        except OSError as error:
            warnings.warn(f"the old checkpoint {prefix} cannot be removed: {error}", RuntimeWarning, stacklevel=4)
