"""Find the points that a restart has made obsolete.

A program that crashes at step 120 and resumes from a checkpoint of step 100 writes steps 100 to 120 twice. The rule is
that of TensorBoard's data server (rustboard, ``reservoir.rs``), which TensorBoard uses by default: in each tag of a
run, a point makes every earlier point with the same or a later step obsolete. The remaining steps ascend strictly.

Whether a program recorded its start (``SessionLog.START``) does not matter: the first start of a run drops nothing, and
a worker that does not write it loses nothing because of another worker. TensorBoard's older Python reader
(``event_accumulator``) has different rules.
"""

from __future__ import annotations

import numpy as np

from tfbundle.tensors.arrays import Array


def kept_by_purge(steps: Array) -> Array | None:
    """Return a mask of the points to keep, or ``None`` for all; ``steps`` (int64) are those of a tag in file order."""
    if len(steps) < 2 or (steps[1:] > steps[:-1]).all():
        return None
    smallest_after = np.minimum.accumulate(steps[:0:-1])[::-1]
    return np.append(steps[:-1] < smallest_after, True)
