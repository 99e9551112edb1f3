"""The choice of an output format, by its name or by the suffix of the output.

A name without a suffix is the prefix of a checkpoint: ``averaged``, ``model.ckpt``, ``model.ckpt-1000``, ``v1.5``.
"""

from __future__ import annotations

import re

from tfbundle.conversion.targets.checkpoint import CheckpointTarget
from tfbundle.conversion.targets.hdf5 import Hdf5
from tfbundle.conversion.targets.npz import Npz
from tfbundle.conversion.targets.safetensors import Safetensors
from tfbundle.conversion.targets.target import Target
from tfbundle.conversion.targets.zarr import Zarr
from tfbundle.errors import TfBundleError
from tfbundle.storage.base import Location
from tfbundle.storage.replacing import is_stdout

_TARGETS: tuple[Target, ...] = (CheckpointTarget(), Npz(), Safetensors(), Hdf5(), Zarr())
# A suffix has a letter, and is not the middle of a checkpoint's usual name.
_SUFFIX = re.compile(r"\.(?!ckpt(?:[-_.]|\Z))[^.]*[A-Za-z][^.]*\Z")


def target_of(out: Location, to: str | None = None) -> Target:
    """Return the format named ``to``, or that of the suffix of ``out``; raise ``ValueError`` if there is none."""
    if to is not None:
        for target in _TARGETS:
            if target.name == to:
                return target
        raise ValueError(f"to must be {' or '.join(repr(target.name) for target in _TARGETS)}, not {to!r}")
    name = out.bare().name.lower()
    for target in _TARGETS:
        if target.suffixes and name.endswith(target.suffixes):
            return target
    if _SUFFIX.search(name) is None and _can_be_prefix(out):
        return _TARGETS[0]
    suffixes = [suffix for target in _TARGETS for suffix in target.suffixes]
    raise ValueError(
        f"{out} does not have the suffix of an output format; end it with {' or '.join(suffixes)}, or pass to"
    )


def _can_be_prefix(out: Location) -> bool:
    """Return whether ``out`` does not exist or is a regular file, not a pipe, device or folder."""
    if not out.name or out.is_folder() or is_stdout(out):
        return False
    try:
        return out.name not in out.parent.list() or out.is_file()
    except (TfBundleError, OSError):
        return True  # Writing will raise the error that there is no such folder.
