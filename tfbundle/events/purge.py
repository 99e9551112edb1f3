"""Which points a restart has made obsolete.

A program that crashes at step 120 and goes on from a checkpoint of step 100 writes steps 100 to 120 twice. The rule is
that of TensorBoard's data server (rustboard, ``reservoir.rs``), which serves its pages by default: in each tag of a
run, a point makes every earlier point with its step or a later one obsolete. What is left has ascending steps, each
once.

Whether a program said that it starts (``SessionLog.START``) does not matter: the first start of a run drops nothing,
and a worker that writes none loses nothing through one of another worker. TensorBoard's older reader in Python
(``event_accumulator``) has other rules.
"""

from __future__ import annotations

import numpy as np

from tfbundle.tensors.arrays import Array


def kept_by_purge(steps: Array) -> Array | None:
    """Return which points stay, given the ``steps`` (int64) of a tag in the order of the files; ``None`` for all."""
    if len(steps) < 2 or (steps[1:] > steps[:-1]).all():
        return None
    smallest_after = np.minimum.accumulate(steps[:0:-1])[::-1]
    return np.append(steps[:-1] < smallest_after, True)
