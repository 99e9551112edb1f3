"""Which format an output has: the one that is named, or the one that the suffix means."""

from __future__ import annotations

from tfbundle.conversion.targets.hdf5 import Hdf5
from tfbundle.conversion.targets.npz import Npz
from tfbundle.conversion.targets.safetensors import Safetensors
from tfbundle.conversion.targets.target import Target
from tfbundle.storage.base import Location

_TARGETS: tuple[Target, ...] = (Npz(), Safetensors(), Hdf5())


def target_of(out: Location, to: str | None = None) -> Target:
    """Return the format called ``to``, or the one of the suffix of ``out``; ``ValueError`` where there is none."""
    if to is not None:
        for target in _TARGETS:
            if target.name == to:
                return target
        raise ValueError(f"to is {' or '.join(repr(target.name) for target in _TARGETS)}, not {to!r}")
    name = out.name.lower()
    for target in _TARGETS:
        if name.endswith(target.suffixes):
            return target
    suffixes = [suffix for target in _TARGETS for suffix in target.suffixes]
    raise ValueError(
        f"{out} has the suffix of no format that is written; end it with {' or '.join(suffixes)}, or pass to"
    )
