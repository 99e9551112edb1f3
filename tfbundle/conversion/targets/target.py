"""The interface of output formats, which the other modules of this package implement."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple, Protocol

import numpy as np

from tfbundle.conversion.casting import kind_of
from tfbundle.conversion.planned import Plan, Planned
from tfbundle.errors import UnsupportedError
from tfbundle.storage.base import Location
from tfbundle.storage.copying import Sink
from tfbundle.tensors.dtypes import python_name

Count = Callable[[int], None]

# Replacements for types that many formats lack.
_WAYS_OUT = {"int4": "int8", "int2": "int8", "uint4": "uint8", "uint2": "uint8", "complex128": "complex64"}


class Layout(NamedTuple):
    """How the output is divided: the number of files, or the most bytes in each file."""

    shards: int | None = None
    shard_size: int | None = None


class Target(Protocol):
    """An output format."""

    name: str
    suffixes: tuple[str, ...]
    is_prefix: bool
    """Whether the output is the common prefix of several files, and not a file itself."""
    is_folder: bool
    """Whether the output is a folder."""
    keeps_objects: bool
    """Whether it stores the object graph of a TensorFlow 2 checkpoint."""

    def refuse(self, tensor: Planned, names: Collection[str]) -> str | None:
        """Return the property of a tensor that the format cannot store, or ``None``; ``names`` are all names."""

    def outputs(self, out: Location, plan: Plan, layout: Layout) -> list[Location]:
        """Return the files to write, the main one first; raise ``ValueError`` for an unsupported layout."""

    def write(self, out: Location, plan: Plan, layout: Layout, count: Count) -> None:
        """Write all tensors, and call ``count`` with the number of bytes after each write."""


def check_held(target: Target, plan: Plan) -> None:
    """Raise an ``UnsupportedError`` with the names of all tensors that the target cannot store."""
    names = {tensor.name for tensor in plan.tensors}
    refused: dict[str, list[Planned]] = {}
    for planned in plan.tensors:
        reason = target.refuse(planned, names)
        if reason is not None:
            refused.setdefault(reason, []).append(planned)
    if refused:
        raise UnsupportedError(_describe(target, refused, len(plan.tensors)), path=plan.source.prefix)


def _describe(target: Target, refused: dict[str, list[Planned]], count: int) -> str:
    groups = [f"{reason}: {', '.join(repr(one.tensor.name) for one in group)}" for reason, group in refused.items()]
    # A type that a cast or function makes is the caller's choice.
    stored = [
        python_name(one.tensor.data_type)
        for reason, group in refused.items()
        if kind_of(reason)
        for one in group
        if one.transform is None and one.dtype == one.tensor.dtype
    ]
    casts = [f"{name}={_WAYS_OUT.get(name, 'float32')}" for name in dict.fromkeys(stored)]
    ways = [f"cast {' '.join(casts)} (--cast)"] if casts else []
    many = sum(map(len, refused.values()))
    return (
        f"the format {target.name} cannot store {many} of the {count} tensors ({'; '.join(groups)}); "
        f"{' or '.join([*ways, 'leave them out (--exclude)'])}"
    )


def write_raw(tensor: Planned, sink: Sink) -> None:
    """Append the bytes of a tensor's elements in C order, little-endian; unchanged tensors are copied."""
    import sys

    copyable = tensor.copyable if sys.byteorder == "little" else ()
    if len(copyable) == 1 and copyable[0].shape == tensor.shape:
        copyable[0].copy(sink)
        return
    for chunk in raw_chunks(tensor):
        sink.write(chunk)


def raw_chunks(tensor: Planned) -> Iterator[memoryview]:
    """Yield the bytes of a tensor's elements in C order, little-endian, in chunks of bounded size."""
    import sys

    for array in tensor.chunks():
        yield (array.byteswap() if sys.byteorder == "big" else array).view(np.uint8).data


def one_file(out: Location, layout: Layout, name: str) -> list[Location]:
    """Return the only output of a format without shards; raise ``ValueError`` if shards are requested."""
    if layout.shards not in (None, 1) or layout.shard_size is not None:
        raise ValueError(f"output in the format {name} is not divided into shards; leave out shards")
    return [out]


def goes_on(name: str, names: Collection[str]) -> bool:
    """Return whether another tensor's name is a parent of this name, as ``w`` is of ``w/Adam``."""
    place = name.find("/")
    while place >= 0:
        if name[:place] in names:
            return True
        place = name.find("/", place + 1)
    return False
