"""Whether a checkpoint has what a graph requires: the answer to "Key ... not found in checkpoint", before it is asked.

``graph/required_variables`` says what a graph requires, and ``stored_variables`` which tensors may be a variable. One
that is nothing but a node called like a part of a partitioned variable (``w/part_0``, ``w/part_0/Adam``) also matches
such a slice of the whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tfbundle.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.comparison.stored_variables import StoredVariables, fits, tensor_fits
from tfbundle.errors import FormatError
from tfbundle.formats.slice_keys import FULL
from tfbundle.graph.attributes import Shape
from tfbundle.graph.graph import Graph
from tfbundle.graph.loading import one_graph
from tfbundle.graph.meta_graph import MetaGraph
from tfbundle.graph.node import format_partial_shape
from tfbundle.graph.required_variables import WantedVariable, wanted_variables
from tfbundle.graph.saved_model import SavedModel
from tfbundle.graph_sources import load_any_graph
from tfbundle.suggestions import closest_names
from tfbundle.tensors.slices import find_gap, find_uncovered, locate_slice, parse_extents
from tfbundle.tensors.tensor import Tensor

# Whoever misses more than these will see from the first ones what is wrong.
_MOST_SUGGESTIONS = 100
# So many pairs of names are compared for all of them together, which takes a second or two.
_MOST_COMPARED = 5000
# How alike two names are, from 0 to 1, before one is suggested for the other.
_LIKENESS = 0.8
# The end that keys of object-based checkpoints share says nothing.
_KEY_END = "/.ATTRIBUTES/VARIABLE_VALUE"
# Beyond this many lines of a kind a summary is no summary.
_MOST_SHOWN = 20


class MissingVariable(NamedTuple):
    """A variable that the graph requires and the checkpoint has not.

    ``name`` is the name that is looked for, ``variable`` the node that would take it; type and shape are ``None`` where
    the graph does not say. ``suggestion`` is a tensor of a like name, of that type and shape, that nothing else
    requires.
    """

    name: str
    variable: str | None
    data_type: str | None
    shape: Shape
    suggestion: str | None

    def __str__(self) -> str:
        return f"{self.name!r} {_describe(self.data_type, self.shape)}"


class MismatchedVariable(NamedTuple):
    """A variable that the checkpoint holds with another type or shape than the graph requires, or only a part of.

    ``absent`` is a part that the graph requires and that was not saved, or not all of it, in numpy's notation; ``None``
    where type or shape are wrong.
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
            return f"{self.name!r} was saved in part, and not all of {self.absent}, which the graph requires"
        found = _describe(self.found_data_type, self.found_shape)
        return f"{self.name!r} is {found}, and the graph requires {_describe(self.data_type, self.shape)}"


class GraphComparison(NamedTuple):
    """What a graph requires and a checkpoint has, side by side.

    ``graph`` and ``checkpoint`` are their paths, ``matched`` the names of the tensors that match, ``unexpected`` those
    of tensors that the graph does not use, which keeps nobody from restoring.
    """

    graph: str | None
    checkpoint: str
    matched: tuple[str, ...]
    missing: tuple[MissingVariable, ...]
    mismatched: tuple[MismatchedVariable, ...]
    unexpected: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether all that the graph requires is there, with the right types and shapes."""
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
        """The numbers in a line."""
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
    graph: str | os.PathLike[str] | Graph | MetaGraph | SavedModel,
    checkpoint: str | os.PathLike[str] | Checkpoint,
) -> GraphComparison:
    """Compare the variables of a graph with the tensors of a checkpoint: names, dtypes and shapes.

    Either is a path or what was opened from one. Of a SavedModel it is the graph that ``load_graph`` would choose. A
    graph that uses the names of variables matches an object-based checkpoint too, which knows these names, and so do
    the SavedModel and the checkpoint of one TensorFlow 2 model, whose keys differ.

    Raises what ``load_graph`` and ``open_checkpoint`` raise.
    """
    loaded = one_graph(graph if isinstance(graph, Graph | MetaGraph | SavedModel) else load_any_graph(graph))
    # TensorFlow 2 restores the objects along with the variables.
    wanted = [item for item in wanted_variables(loaded) if OBJECT_GRAPH_KEY not in item.names]
    if isinstance(checkpoint, Checkpoint):
        return _compare(loaded.path, wanted, checkpoint)
    with open_checkpoint(checkpoint) as opened:
        return _compare(loaded.path, wanted, opened)


def _compare(path: str | None, wanted: list[WantedVariable], checkpoint: Checkpoint) -> GraphComparison:
    missing, mismatched = [], []
    matched: dict[str, None] = {}
    stored = StoredVariables(checkpoint)
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
        fitting = next((key for key in found if tensor_fits(checkpoint[key], item)), None)
        tensor = checkpoint[found[0] if fitting is None else fitting]
        absent = None if fitting is None else _find_absent(tensor, item.parts)
        used.add(tensor.name)
        if fitting is not None and absent is None:
            matched[fitting] = None
        else:
            expected = item.variable, item.data_type, item.shape
            mismatched.append(MismatchedVariable(tensor.name, *expected, tensor.data_type, tensor.shape, absent))
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


def _whole_of(item: WantedVariable, checkpoint: Checkpoint) -> str | None:
    """Return the name of the partitioned tensor that has a variable as one of its slices."""
    if item.whole is None or item.whole not in checkpoint:
        return None
    tensor = checkpoint[item.whole]
    boxes = [box.lengths for box in tensor.slices] or [tensor.shape]
    return item.whole if any(fits(tensor.data_type, lengths, item) for lengths in boxes) else None


def _find_absent(tensor: Tensor, parts: Iterable[str]) -> str | None:
    """Return a part of the tensor that is wanted and that its slices do not cover, if they are not the whole tensor."""
    region = tensor.region
    slices = tensor.slices if region is None else (region,)
    if not slices or find_gap(slices, tensor.whole_shape) is None:
        return None
    boxes = []
    for part in parts:
        extents = parse_extents(part) if part else ((0, FULL),) * tensor.ndim
        try:
            boxes.append(locate_slice(extents or (), tensor.whole_shape))
        except FormatError:
            return part  # It lies outside.
    box = find_uncovered(boxes, slices)
    return None if box is None else str(box)


def _suggest(missing: list[WantedVariable], unexpected: list[str], checkpoint: Checkpoint) -> Iterator[MissingVariable]:
    """Find for what is missing what it is probably called instead: with a scope more or less, as a rule."""
    kinds: dict[tuple[str, tuple[int, ...]], dict[str, str]] = {}
    for name in unexpected if missing else ():
        # What an optimizer keeps for a variable is of its type and shape, and never what is meant.
        if name not in checkpoint.slots:
            tensor = checkpoint[name]
            kinds.setdefault((tensor.data_type, tensor.shape), {})[name.removesuffix(_KEY_END)] = name
    most = _MOST_COMPARED // max(1, min(len(missing), _MOST_SUGGESTIONS))
    for number, item in enumerate(missing):
        suggestion = None
        if number < _MOST_SUGGESTIONS:
            names: dict[str, str] = {}
            for kind, group in kinds.items():
                if fits(*kind, item):
                    names |= group
            suggestion = _closest(item.names[0].removesuffix(_KEY_END), names, most)
        yield MissingVariable(item.names[0], item.variable, item.data_type, item.shape, suggestion)


def _closest(wanted: str, names: dict[str, str], most: int) -> str | None:
    scoped = [name for name in names if name.endswith("/" + wanted) or wanted.endswith("/" + name)]
    # A moving average is called after its variable, and saved in its place or beside it.
    scoped = scoped or [name for name in names if name.startswith(wanted + "/") or wanted.startswith(name + "/")]
    if scoped:
        return names[min(scoped, key=lambda name: abs(len(name) - len(wanted)))]
    close = closest_names(wanted, names, count=1, likeness=_LIKENESS, most=most)
    return names[close[0]] if close else None


def _describe(data_type: str | None, shape: Shape) -> str:
    return f"{data_type or 'of any type'} {format_partial_shape(shape) if shape is not None else 'of any shape'}"


def _with_suggestion(item: MissingVariable) -> str:
    return f"{item}{f'; is it {item.suggestion!r}?' if item.suggestion else ''}"


def _first(kind: str, lines: Iterable[str], count: int) -> Iterator[str]:
    for _, line in zip(range(_MOST_SHOWN), lines, strict=False):
        yield f"{kind}: {line}"
    if count > _MOST_SHOWN:
        yield f"{kind}: and {count - _MOST_SHOWN} more"
