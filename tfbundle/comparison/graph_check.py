"""Check that a checkpoint has the variables of a graph, to find "Key ... not found in checkpoint" before a restore.

``graph/required_variables`` finds the variables that a graph requires, and ``stored_variables`` the tensors that may
be one of them. A variable that is known only as a node with the name of a part of a partitioned variable (``w/part_0``,
``w/part_0/Adam``) also matches such a slice of the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from tfbundle.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.comparison.likely_names import LikelyNames
from tfbundle.comparison.stored_variables import Kind, StoredVariables, fits
from tfbundle.errors import FormatError, UnsupportedError
from tfbundle.formats.slice_keys import FULL
from tfbundle.graph.attributes import Shape
from tfbundle.graph.graph import Graph
from tfbundle.graph.loading import one_graph
from tfbundle.graph.meta_graph import MetaGraph
from tfbundle.graph.node import format_partial_shape
from tfbundle.graph.required_variables import RequiredVariable, required_variables
from tfbundle.graph.saved_model import SavedModel
from tfbundle.graph_sources import load_any_graph
from tfbundle.limits import MOST_COMPARED_PARTS
from tfbundle.storage.locations import StorageOptions, StrPath, with_options
from tfbundle.tensors.slices import TensorSlice, find_gap, find_uncovered, locate_slice, parse_extents
from tfbundle.tensors.tensor import Tensor

# If more variables are missing, the first suggestions are enough to recognize the problem.
_MOST_SUGGESTIONS = 100
# The number of pairs of names that are compared for all suggestions together, which takes a second or two.
_MOST_COMPARED = 5000
# Preparing slices for comparison takes as long as comparing them with so many parts.
_PREPARATION = 64
# The largest number of lines of a kind in a summary.
_MOST_SHOWN = 20


class MissingVariable(NamedTuple):
    """A variable that the graph requires and the checkpoint lacks.

    ``name`` is the required name, ``variable`` the node that it would be assigned to; dtype and shape are ``None`` if
    the graph does not state them. ``suggestion`` is a tensor with a similar name and the same dtype and shape that the
    graph does not use otherwise.
    """

    name: str
    variable: str | None
    data_type: str | None
    shape: Shape
    suggestion: str | None

    def __str__(self) -> str:
        return f"{self.name!r} {_describe(self.data_type, self.shape)}"


class MismatchedVariable(NamedTuple):
    """A variable that the checkpoint has with a different dtype or shape, or only in part.

    ``absent`` is a part that the graph requires and that was not saved, or not completely, in numpy's notation; it is
    ``None`` if the dtype or the shape is wrong.
    """

    name: str
    variable: str | None
    data_type: str | None
    shape: Shape
    found_data_type: str
    found_shape: tuple[int, ...]
    absent: str | None = None

    def __str__(self) -> str:
        if self.absent is not None:
            return f"{self.name!r} was saved in part, without all of {self.absent}, which the graph requires"
        found = _describe(self.found_data_type, self.found_shape)
        return f"{self.name!r} is {found}, but the graph requires {_describe(self.data_type, self.shape)}"


class GraphComparison(NamedTuple):
    """The result of comparing the variables of a graph with the tensors of a checkpoint.

    ``graph`` and ``checkpoint`` are their paths, ``matched`` the names of the tensors that match, ``unexpected`` those
    of tensors that the graph does not use, which does not prevent a restore.
    """

    graph: str | None
    checkpoint: str
    matched: tuple[str, ...]
    missing: tuple[MissingVariable, ...]
    mismatched: tuple[MismatchedVariable, ...]
    unexpected: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the checkpoint has all variables that the graph requires, with the right dtypes and shapes."""
        return not self.missing and not self.mismatched

    def __str__(self) -> str:
        return "\n".join([*self._lines(), self.summary])

    def __repr__(self) -> str:
        return f"<GraphComparison {self.summary}>"

    def _lines(self) -> Iterator[str]:
        yield from _first("missing", map(_with_suggestion, self.missing), len(self.missing))
        yield from _first("mismatched", map(str, self.mismatched), len(self.mismatched))
        yield from _first("unexpected", map(repr, self.unexpected), len(self.unexpected))

    @property
    def summary(self) -> str:
        """The counts in one line."""
        if not self.matched and self.ok:
            return f"{self.graph or 'the graph'} requires no variables, as if it were frozen"
        matched, missing, mismatched = len(self.matched), len(self.missing), len(self.mismatched)
        total = matched + missing + mismatched
        parts = [f"{matched} of {total} variable{_s(total)} match{'es' if total == 1 else ''}"]
        if missing:
            parts.append(f"{missing} {'is' if missing == 1 else 'are'} missing")
        if mismatched:
            parts.append(f"{mismatched} {'has' if mismatched == 1 else 'have'} another dtype or shape")
        unused = len(self.unexpected)
        if unused:
            parts.append(f"the graph does not use {unused} tensor{_s(unused)} of the checkpoint")
        return f"{'ok' if self.ok else 'not ok'}: {', '.join(parts)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def compare_graph(
    graph: StrPath | Graph | MetaGraph | SavedModel,
    checkpoint: StrPath | Checkpoint,
    *,
    storage_options: StorageOptions | None = None,
) -> GraphComparison:
    """Compare the variables of a graph with the tensors of a checkpoint: names, dtypes and shapes.

    Either is a path or an opened object. For a SavedModel, the graph that ``load_graph`` would choose is compared. A
    graph that uses the names of variables also matches an object-based checkpoint, which stores these names, and so do
    the SavedModel and the checkpoint of one TensorFlow 2 model, although their keys differ.

    Raises the errors of ``load_graph`` and ``open_checkpoint``.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    graph = with_options(graph, storage_options)
    checkpoint = with_options(checkpoint, storage_options)
    loaded = one_graph(graph if isinstance(graph, Graph | MetaGraph | SavedModel) else load_any_graph(graph))
    # TensorFlow 2 restores the objects along with the variables.
    wanted = [item for item in required_variables(loaded) if OBJECT_GRAPH_KEY not in item.names]
    if isinstance(checkpoint, Checkpoint):
        return _compare(loaded.path, wanted, checkpoint)
    with open_checkpoint(checkpoint) as opened:
        return _compare(loaded.path, wanted, opened)


def _compare(path: str | None, wanted: list[RequiredVariable], checkpoint: Checkpoint) -> GraphComparison:
    missing, mismatched = [], []
    matched: dict[str, None] = {}
    stored, coverage = StoredVariables(checkpoint), _Coverage()
    by_key = [[key for name in item.names for key in stored.named(name)] for item in wanted]
    used = {OBJECT_GRAPH_KEY, *(key for keys in by_key for key in keys)}
    for item, keys in zip(wanted, by_key, strict=True):
        found = keys or stored.take(item, used)
        if not found:
            whole = _whole_of(item, checkpoint)
            if whole is None:
                missing.append(item)
            else:
                used.add(whole)
                matched[whole] = None
            continue
        fitting = next((key for key in found if fits(*stored.facts(key).kind, item)), None)
        key = found[0] if fitting is None else fitting
        absent = None if fitting is None else coverage.find_absent(checkpoint[key], item.parts)
        used.add(key)
        if fitting is not None and absent is None:
            matched[fitting] = None
        else:
            expected = item.variable, item.data_type, item.shape
            facts = stored.facts(key)
            mismatched.append(MismatchedVariable(key, *expected, facts.data_type, facts.shape, absent))
    used.update(stored.copies_of_taken())
    unexpected = [name for name in checkpoint if name not in used]
    return GraphComparison(
        path,
        checkpoint.prefix,
        tuple(matched),
        tuple(_suggest(missing, unexpected, checkpoint)),
        tuple(mismatched),
        tuple(unexpected),
    )


def _whole_of(item: RequiredVariable, checkpoint: Checkpoint) -> str | None:
    """Return the name of the partitioned tensor that has a variable as one of its slices, or ``None``."""
    if item.whole is None or item.whole not in checkpoint:
        return None
    tensor = checkpoint[item.whole]
    boxes = [box.lengths for box in tensor.slices] or [tensor.shape]
    return item.whole if any(fits(tensor.data_type, lengths, item) for lengths in boxes) else None


class _Coverage:
    """Finds parts of partitioned tensors that were not saved; the same tensor may be checked many times."""

    def __init__(self) -> None:
        # The shape of each tensor that has slices, and the slices themselves if some are missing.
        self._slices: dict[str, tuple[tuple[int, ...], Sequence[TensorSlice]]] = {}
        self._boxes: dict[str, set[tuple[tuple[int, ...], tuple[int, ...]]]] = {}
        self._left = MOST_COMPARED_PARTS

    def find_absent(self, tensor: Tensor, parts: Iterable[str]) -> str | None:
        """Return a required part of the tensor that its slices do not cover, or ``None`` if there is none.

        Raises ``UnsupportedError`` if too many parts would have to be compared with too many slices.
        """
        if tensor.name not in self._slices:
            region = tensor.region
            found = tensor.slices if region is None else (region,)
            if not found:
                return None
            shape = tensor.whole_shape
            self._slices[tensor.name] = shape, found if find_gap(found, shape) is not None else ()
            self._boxes[tensor.name] = {(box.starts, box.lengths) for box in self._slices[tensor.name][1]}
        shape, slices = self._slices[tensor.name]
        if not slices:
            return None
        boxes = []
        for part in parts:
            extents = parse_extents(part) if part else ((0, FULL),) * len(shape)
            try:
                box = locate_slice(extents or (), shape)
            except FormatError:
                return part  # It is outside of the tensor.
            if (box.starts, box.lengths) not in self._boxes[tensor.name]:
                boxes.append(box)
        self._left -= (len(boxes) + _PREPARATION) * len(slices)
        if self._left < 0:
            raise UnsupportedError("the graph reads too many parts of partitioned tensors to compare")
        absent = find_uncovered(boxes, slices)
        return None if absent is None else str(absent)


def _suggest(
    missing: list[RequiredVariable], unexpected: list[str], checkpoint: Checkpoint
) -> Iterator[MissingVariable]:
    """Yield the missing variables, each with a suggestion of the tensor that was probably meant."""
    kinds: dict[str, Kind] = {}
    groups: defaultdict[tuple[str | None, Shape], list[str]] = defaultdict(list)
    for name in unexpected if missing else ():
        # A slot of an optimizer has the dtype and shape of its variable, but is never the variable itself.
        if name not in checkpoint.slots:
            tensor = checkpoint[name]
            kinds[name] = tensor.data_type, tensor.shape
            groups[kinds[name]].append(name)
    likely: dict[tuple[str | None, Shape] | None, LikelyNames] = {}
    most = _MOST_COMPARED // max(1, min(len(missing), _MOST_SUGGESTIONS))
    for number, item in enumerate(missing):
        suggestion = None
        if number < _MOST_SUGGESTIONS:
            is_known = item.data_type is not None and item.shape is not None and None not in item.shape
            kind = (item.data_type, item.shape) if is_known else None
            if kind not in likely:
                likely[kind] = LikelyNames(kinds if kind is None else groups.get(kind, []))
            suggestion = likely[kind].closest(item.names[0], partial(_is_of_kind, kinds, item), most)
        yield MissingVariable(item.names[0], item.variable, item.data_type, item.shape, suggestion)


def _is_of_kind(kinds: Mapping[str, Kind], item: RequiredVariable, name: str) -> bool:
    return fits(*kinds[name], item)


def _describe(data_type: str | None, shape: Shape) -> str:
    return f"{data_type or 'of any type'} {format_partial_shape(shape) if shape is not None else 'of any shape'}"


def _with_suggestion(item: MissingVariable) -> str:
    return f"{item}{f'; is it {item.suggestion!r}?' if item.suggestion else ''}"


def _first(kind: str, lines: Iterable[str], count: int) -> Iterator[str]:
    for _, line in zip(range(_MOST_SHOWN), lines, strict=False):
        yield f"{kind}: {line}"
    if count > _MOST_SHOWN:
        yield f"{kind}: and {count - _MOST_SHOWN} more"
