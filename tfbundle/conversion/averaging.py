"""The average of several checkpoints, which training scripts often compute from the last few.

    tfbundle.average("run/", "averaged.safetensors", last=10)

The average is a mapping of tensors, as a checkpoint is, and ``convert`` writes it, so every option of ``convert`` is
available. A tensor is read from all sources in parallel, a chunk at a time (``mean``), so that memory use does not grow
with the size of the tensors. Integers, strings and other types without an average are copied from the newest source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tfbundle.checkpoint.find.names import step_of
from tfbundle.checkpoint.find.paths import find_checkpoint
from tfbundle.checkpoint.listing import describe_checkpoint, list_checkpoints
from tfbundle.conversion.casting import kind_of
from tfbundle.conversion.convert import Converted, convert
from tfbundle.conversion.mean import mean_of
from tfbundle.conversion.sources.members import Member, MemberStore, MemberTensors, unsupported
from tfbundle.conversion.sources.opening import opened
from tfbundle.conversion.targets.shards import check_integer
from tfbundle.errors import TfBundleError
from tfbundle.storage.locations import StorageOptions, StrPath, locate, with_options
from tfbundle.tensors.arrays import CHUNK, Array, split
from tfbundle.tensors.dtypes import python_name
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.selection import Selection
from tfbundle.tensors.tensor import Tensor, facts_of, part_of, read_selection

Source: TypeAlias = "StrPath | TensorMapping | Mapping[str, Any]"

# The suffix of a file of another program, such as model-1000.weights.h5.
_SUFFIX = re.compile(r"(?:\.weights)?\.[A-Za-z]\w*\Z")


class Input(NamedTuple):
    """A source of an average: its path (or description), step, time and size if known, and its weight."""

    path: str
    step: int | None
    time: float | None
    size: int | None
    weight: float


def average(
    sources: StrPath | Sequence[Source],
    out: StrPath,
    *,
    last: int | None = None,
    weights: Sequence[float] | None = None,
    decay: float | None = None,
    weights_alone: bool = False,
    storage_options: StorageOptions | None = None,
    **choices: Any,
) -> Converted:
    """Write the average of several checkpoints to ``out``.

    ``sources`` are checkpoints, or other sources that ``convert`` accepts, oldest first; or a folder, of which the
    ``last`` complete checkpoints are averaged (by default all). ``weights`` has one number for each source. ``decay``,
    greater than 0 and at most 1, is the weight of each source relative to the next newer one. The newest source is the
    one with the highest step if all names end in a step, or else the last. ``choices`` are the other arguments of
    ``convert``; ``weights_alone`` is its ``weights``.

    Floats and complex numbers are averaged in float64 and complex128, those of 16 bits and less in float32. All other
    tensors, such as steps, are copied from the newest source. Raises ``UnsupportedError`` with the names of tensors
    that are absent from a source, or differ in shape or type, unless they are excluded; ``ValueError`` for invalid
    weights and counts; and the errors of ``convert``.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    sources = with_options(sources, storage_options)
    out = with_options(out, storage_options)
    with open_average(sources, last=last, weights=weights, decay=decay) as (tensors, _):
        return convert(tensors, out, weights=weights_alone, **choices)


@contextmanager
def open_average(
    sources: StrPath | Sequence[Source],
    *,
    last: int | None = None,
    weights: Sequence[float] | None = None,
    decay: float | None = None,
) -> Iterator[tuple[MemberTensors, list[Input]]]:
    """Yield the average as a mapping of tensors, which are computed when they are read, and the list of its inputs.

    The arguments are those of ``average``. A tensor that has no average raises ``UnsupportedError`` when its type is
    accessed or it is read. Raises ``ValueError`` as ``average`` does, and the errors of opening the sources.
    """
    paths, inputs = average_inputs(sources, last=last, weights=weights, decay=decay)
    with ExitStack() as stack:
        mappings = [stack.enter_context(opened(source)) for source in paths]
        yield _Averaged(mappings, inputs).tensors(), inputs


def average_inputs(
    sources: StrPath | Sequence[Source],
    *,
    last: int | None = None,
    weights: Sequence[float] | None = None,
    decay: float | None = None,
) -> tuple[list[Source], list[Input]]:
    """Return the sources that ``average`` would use, oldest first, and the description and weight of each.

    Raises ``ValueError`` if there are too few sources, and for invalid weights.
    """
    facts: list[tuple[Source, str, int | None, float | None, int | None]]
    if isinstance(sources, Sequence) and not isinstance(sources, str | bytes):
        if last is not None:
            raise ValueError("last selects checkpoints of a folder; pass the folder alone, not a list")
        facts = [_describe(source) for source in sources]
    else:
        listed = [one for one in list_checkpoints(sources) if one.complete]
        if last is not None:
            check_integer(last, "last")
        if last is not None and not 1 <= last <= len(listed):
            raise ValueError(f"last is {last}, but {locate(sources)} has {len(listed)} complete checkpoints")
        chosen = listed[-last:] if last is not None else listed
        facts = [(one.prefix, one.prefix, one.step, one.time, one.size) for one in chosen]
    if not facts:
        raise ValueError("there are no checkpoints to average")
    shares = _shares(len(facts), weights, decay)
    order = (
        sorted(range(len(facts)), key=lambda number: (facts[number][2] or 0, number)) if _have_steps(facts) else None
    )
    numbers = order if order is not None else range(len(facts))
    if order is not None and weights is None:
        shares = [shares[place] for place in np.argsort(order)]
    return [facts[number][0] for number in numbers], [Input(*facts[number][1:], shares[number]) for number in numbers]


def _have_steps(facts: Sequence[tuple[Any, str, int | None, Any, Any]]) -> bool:
    return all(step is not None for _, _, step, _, _ in facts)


def _describe(source: Source) -> tuple[Source, str, int | None, float | None, int | None]:
    if isinstance(source, TensorMapping):
        return source, source.prefix, step_of(source.prefix), None, None
    if isinstance(source, Mapping):
        return source, "arrays in memory", None, None, None
    location = locate(source)
    try:
        listed = describe_checkpoint(find_checkpoint(location))
    except (TfBundleError, OSError):  # It is a file of another program, or opening it will raise the error.
        facts = location.stat()
        step = step_of(_SUFFIX.sub("", location.name))
        return source, location.path, step, facts and facts.mtime, facts and facts.size
    return source, listed.prefix, listed.step, listed.time, listed.size


def _shares(count: int, weights: Sequence[float] | None, decay: float | None) -> list[float]:
    if weights is not None and decay is not None:
        raise ValueError("weights and decay both set the weights of the sources; pass only one of them")
    if decay is not None:
        try:
            is_valid = 0 < decay <= 1
        except TypeError:
            is_valid = False
        if not is_valid:
            raise ValueError(f"decay must be a number greater than 0 and at most 1, not {decay!r}")
        return [decay ** (count - 1 - number) for number in range(count)]
    if weights is None:
        return [1.0] * count
    try:
        shares = [float(weight) for weight in weights]
    except (TypeError, ValueError):
        raise ValueError(f"weights must be a list of numbers, not {weights!r}") from None
    if len(shares) != count:
        raise ValueError(f"weights has length {len(shares)}, but there are {count} sources")
    if not all(np.isfinite(share) and share >= 0 for share in shares) or not sum(shares):
        raise ValueError(f"weights must be finite numbers of at least 0, and not all 0: {shares}")
    return shares


class _Averaged:
    """The average of open sources, the newest of which is last."""

    def __init__(self, sources: Sequence[TensorMapping], inputs: Sequence[Input]) -> None:
        self._sources = sources
        self._newest = sources[-1]
        self._inputs = inputs

    def tensors(self) -> MemberTensors:
        names = dict.fromkeys(name for source in (self._newest, *self._sources) for name in source)
        members = {name: self._member(name) for name in names}
        files = [source.files if isinstance(source, MemberTensors) else (source.prefix,) for source in self._sources]
        store = MemberStore(self._newest.prefix, members)
        return MemberTensors(store, "average", model=self._newest, files=tuple(chain(*files)))

    def _member(self, name: str) -> Member:
        found = [source.get(name) for source in self._sources]
        absent = [item.path for item, tensor in zip(self._inputs, found, strict=True) if tensor is None]
        if absent:
            return unsupported(f"absent from {', '.join(dict.fromkeys(absent))}")
        tensors: list[Tensor] = found
        newest = tensors[-1]
        for item, tensor in zip(self._inputs, tensors, strict=True):
            if tensor.shape != newest.shape:
                return unsupported(
                    f"of shape {list(newest.shape)} in the newest and {list(tensor.shape)} in {item.path}"
                )
            if tensor.data_type != newest.data_type:
                types = [python_name(one.data_type) for one in (newest, tensor)]
                return unsupported(f"of type {types[0]} in the newest and {types[1]} in {item.path}")
            if tensor.region != newest.region:
                return unsupported(f"of the region {newest.region} in the newest and {tensor.region} in {item.path}")
        is_averaged = kind_of(newest.dtype.name) in ("float", "complex") and len(tensors) > 1
        weights = [item.weight for item in self._inputs]

        def chunks() -> Iterator[Array]:
            streams = [tensor.chunks() for tensor in tensors]
            return mean_of(streams, weights, newest.dtype, ahead=newest.nbytes > CHUNK)

        def select(selection: Selection) -> Array:
            parts = [read_selection(tensor, selection) for tensor in tensors]
            flat = np.concatenate(list(mean_of([split(part) for part in parts], weights, newest.dtype)))
            return flat.reshape(selection.counts)

        # A slice that is not stored as such in each source would be read without its checksum.
        slices = newest.slices if all(tensor.slices == newest.slices for tensor in tensors) else ()
        return Member(
            facts_of(newest).data_type,
            newest.shape,
            chunks if is_averaged else newest.chunks,
            part=part_of(newest),
            slices=slices,
            select=(select if is_averaged else partial(read_selection, newest)) if slices else None,
        )
