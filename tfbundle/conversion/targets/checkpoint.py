"""Checkpoints in TensorFlow's format V2: ``PREFIX.index`` and ``PREFIX.data-NNNNN-of-NNNNN``.

Tensors that are stored in slices stay in slices, under keys with the tensor's new name. The stored values of a V2
source, each a slice or a whole tensor, are written in the order of its data files and to as many files, unless another
number is requested::

    source   data-00000-of-00002  [b] [w slice 0] [a]     data-00001-of-00002  [w slice 1]
    output   the same, in the same order

so that a copy without changes has the same bytes. Other sources, including V1, are written in their own order. A slot
of a part of a variable (``Tensor.region``) is written as a part if the partitioned variable is written under the
matching name; otherwise it becomes a separate tensor.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise, repeat
from typing import NamedTuple

import numpy as np

from tfbundle.checkpoint.find.names import parse_shard, prefix_of_member, shard_path
from tfbundle.checkpoint.v2.writer import CheckpointWriter
from tfbundle.conversion.casting import converted
from tfbundle.conversion.planned import Plan, Planned
from tfbundle.conversion.targets.shards import divide
from tfbundle.conversion.targets.target import Count, Layout
from tfbundle.formats.slice_keys import FULL, encode_name
from tfbundle.identification.names import INDEX_SUFFIX
from tfbundle.storage.base import Location
from tfbundle.storage.changing import remove_file
from tfbundle.tensors.dtypes import data_type_of
from tfbundle.tensors.parts import Tiling, find_part, tiling
from tfbundle.tensors.slices import TensorSlice, find_gap, incomplete
from tfbundle.tensors.store import Copyable, Facts, Range


class CheckpointTarget:
    """Checkpoints of the format V2."""

    name: str = "checkpoint"
    suffixes: tuple[str, ...] = ()
    is_prefix: bool = True
    is_folder: bool = False
    keeps_objects: bool = True

    def refuse(self, tensor: Planned, names: Collection[str]) -> str | None:
        """Return the property of a tensor that no checkpoint can store, or ``None``."""
        if tensor.dtype.kind not in "OSU" and data_type_of(tensor.dtype) is None:
            return str(tensor.dtype)
        try:
            encode_name(tensor.name)
        except UnicodeEncodeError:
            return "a name that is not Unicode"
        return None

    def outputs(self, out: Location, plan: Plan, layout: Layout) -> list[Location]:
        """Return the index and the data files; raise ``ValueError`` for a prefix that is the name of such a file."""
        if prefix_of_member(out.name) is not None:
            raise ValueError(f"{out} is not a prefix; leave out .index or .data-00000-of-00001")
        for planned in plan.tensors:
            _check_complete(planned)
        groups = divide(plan.tensors, layout)
        count = _stored_count(plan) or 1 if groups is None else len(groups)
        return [out.plus(INDEX_SUFFIX), *(out.plus(shard_path("", number, count)) for number in range(count))]

    def write(self, out: Location, plan: Plan, layout: Layout, count: Count) -> None:
        """Write the data files and then the index; then remove the data files of another number of shards."""
        shards, values = _arrange(plan, layout)
        is_text = False

        def written(nbytes: int) -> None:
            if not is_text:  # Strings are planned by their bytes, but stored with their lengths.
                count(nbytes)

        with CheckpointWriter(out, shards=shards, sync=True, written=written) as writer:
            for value in values:
                is_text = value.copyable is None and value.planned.dtype.kind in "OSU"
                _write(writer, value)
                if is_text:
                    count(value.planned.nbytes)
        _remove_others(out, shards)


def _remove_others(out: Location, count: int) -> None:
    """Remove the data files of a replaced checkpoint with another number of shards."""
    for name in out.parent.list().names:
        shard = parse_shard(name)
        if shard is not None and shard.prefix == out.name and shard.total != count:
            remove_file(out.beside(name))


class _Value(NamedTuple):
    """The value of one entry of the index: a tensor, or with ``part`` one slice of a tensor of ``shape``.

    ``shard`` is ``None`` if the writer chooses it, and ``copyable`` the stored array to copy unchanged.
    """

    planned: Planned
    shard: int | None
    part: TensorSlice | None = None
    shape: tuple[int, ...] = ()
    copyable: Copyable | None = None


def _arrange(plan: Plan, layout: Layout) -> tuple[int, list[_Value]]:
    """Return the number of data files, and the values to write in order."""
    tilings = {planned.name: _tiling_of(planned) for planned in plan.tensors}
    groups = divide(plan.tensors, layout)
    if groups is not None:
        return len(groups), [
            value._replace(shard=number)
            for number, group in enumerate(groups)
            for _, value in _in_stored_order(group, tilings)
        ]
    found = _in_stored_order(plan.tensors, tilings)
    count = _stored_count(plan)
    if count is None:
        return 1, [value for _, value in found]
    if count > 1:
        values = [value._replace(shard=_shard_of(stored)) for stored, value in found]
    else:
        values = [value for _, value in found]
    return count, _slices_as_listed(values) if any(value.part is not None for value in values) else values


def _stored_count(plan: Plan) -> int | None:
    """Return the number of data files of a V2 source from which tensors are written, or ``None`` if it has none."""
    if plan.source.format != "v2":
        return None
    places = (place for planned in plan.tensors for place in planned.places)
    first = next(places, None)
    shard = None if first is None else parse_shard(first.path)
    return None if shard is None else shard.total


def _slices_as_listed(values: list[_Value]) -> list[_Value]:
    """Return values reordered so that slices are in the order of the index.

    The order within each shard is kept; if the two orders contradict each other, nothing is reordered.
    """
    sorter: TopologicalSorter[int] = TopologicalSorter()
    last: dict[int | None, int] = {}
    slices: dict[str, dict[TensorSlice | None, int]] = {}
    for number, value in enumerate(values):
        sorter.add(number, *([last[value.shard]] if value.shard in last else []))
        last[value.shard] = number
        if value.part is not None:
            slices.setdefault(value.planned.name, {})[value.part] = number
    for found in slices.values():
        tensor = values[next(iter(found.values()))].planned.tensor
        for first, second in pairwise(tensor.slices):
            sorter.add(found[second], found[first])
    try:
        return [values[number] for number in sorter.static_order()]
    except CycleError:
        return values


def _in_stored_order(
    tensors: Iterable[Planned], tilings: dict[str, Tiling | None]
) -> list[tuple[Copyable | Range | None, _Value]]:
    found = [pair for planned in tensors for pair in _values_of(planned, tilings)]
    if all(stored is not None for stored, _ in found):
        # A value without bytes comes before one that begins at the same offset.
        found.sort(key=lambda pair: (_shard_of(pair[0]), pair[0].offset, pair[0].size) if pair[0] else ())
    return found


def _shard_of(stored: Copyable | Range | None) -> int:
    return 0 if stored is None else _shard_number(stored.path)


@lru_cache(maxsize=64)
def _shard_number(path: str) -> int:
    shard = parse_shard(path)
    return 0 if shard is None else shard.number


def _check_complete(planned: Planned) -> None:
    """Raise ``FormatError`` for a tensor that is written in its slices, if slices are missing."""
    tensor = planned.tensor
    if not (tensor.slices and _keeps_slices(planned)):
        return
    gap = find_gap(tensor.slices, tensor.shape)
    if gap is not None:
        raise incomplete(gap, len(tensor.slices)).locate(
            path=planned.ranges[0].path if planned.ranges else None, tensor=tensor.name
        )


def _values_of(planned: Planned, tilings: dict[str, Tiling | None]) -> Iterator[tuple[Copyable | Range | None, _Value]]:
    """Yield the values of a tensor that are stored separately, each with its range in the source."""
    tensor = planned.tensor
    ranges = planned.places
    copyable = planned.copyable
    if tensor.slices and _keeps_slices(planned):
        # Slices that are compressed in a table have no ranges.
        places: Iterable[Copyable | Range | None] = ranges if len(ranges) == len(tensor.slices) else repeat(None)
        for part, place, stored in zip(tensor.slices, places, copyable or repeat(None), strict=False):
            yield place, _Value(planned, None, part, tensor.shape, stored)
        return
    first = ranges[0] if ranges else None
    # A tensor that does not keep its slices is assembled before it is written.
    whole = copyable[0] if len(copyable) == 1 else None
    # The stored array of a part has a box, so that the regions of the others need not be read.
    region = tensor.region if whole is None or whole.box is not None else None
    if region is not None and _keeps_slices(planned):
        facts = Facts(0, tensor.whole_shape, (region,))
        if find_part(planned.name, facts, tilings.get) is not None:
            yield first, _Value(planned, None, region, tensor.whole_shape, whole)
            return
    yield first, _Value(planned, None, copyable=whole)


def _keeps_slices(planned: Planned) -> bool:
    return planned.axes is None and planned.transform is None


def _tiling_of(planned: Planned) -> Tiling | None:
    tensor = planned.tensor
    return tiling(Facts(0, tensor.shape, tensor.slices)) if tensor.slices and _keeps_slices(planned) else None


def _write(writer: CheckpointWriter, value: _Value) -> None:
    planned, tensor = value.planned, value.planned.tensor
    if value.copyable is not None:
        copyable = value.copyable
        if value.part is not copyable.box:
            copyable = copyable._replace(box=value.part, whole_shape=value.shape)
        writer.add_copy(planned.name, tensor.data_type, copyable, shard=value.shard)
        return
    stays = planned.transform is None and planned.dtype == tensor.dtype
    data_type = tensor.data_type if stays else None
    if value.part is not None:
        array = tensor.read() if tensor.region is not None else tensor[value.part.index]
        array = converted(np.asarray(array), planned.dtype, tensor.name)
        writer.add_slice(planned.name, value.shape, _index(value.part), array, data_type=data_type, shard=value.shard)
    elif planned.dtype.kind in "OSU":
        writer.add(planned.name, planned.read(), shard=value.shard)
    else:
        dtype = data_type if data_type is not None else planned.dtype
        writer.add_chunks(planned.name, planned.shape, dtype, planned.chunks(), shard=value.shard)


def _index(part: TensorSlice) -> tuple[slice, ...]:
    """Return a slice in the form of the source, with whole dimensions as ``slice(None)`` where it has them so."""
    return tuple(slice(None) if length == FULL else slice(start, start + length) for start, length in part.extents)
