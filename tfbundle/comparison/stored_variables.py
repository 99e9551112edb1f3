"""Find the tensors of a checkpoint that may be a variable that a graph requires.

An object-based checkpoint stores a variable under its path from the saved object, so a model has different keys as a
SavedModel and as a checkpoint; the names of the variables (``dense/kernel``) are then the same. Variables may share a
name, and each tensor is then used for one of them, preferably one with its dtype and shape. A model exported by Keras 3
stores each variable twice; both copies match a single tensor, and a single tensor matches both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from tfbundle.checkpoint.checkpoint import Checkpoint
from tfbundle.checkpoint.chosen_names import KERAS_COPIES
from tfbundle.graph.required_variables import RequiredVariable

# The largest number of variables that share a name, and of their kinds, that are compared with a required variable.
_MOST_SHARED = 100

Kind = tuple[str, tuple[int, ...]]


class StoredFacts(NamedTuple):
    """The dtype of a tensor, its shape, and the shape of the whole that it may be a part of."""

    data_type: str
    shape: tuple[int, ...]
    whole_shape: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        """The dtype and shape that a variable must have to match."""
        return self.data_type, self.whole_shape


class StoredVariables:
    """The tensors of a checkpoint by name, and by the names of TensorFlow 2 variables."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        # Facts of requested tensors: ``None`` after the first request, and the facts after the second.
        self._facts: dict[str, StoredFacts | None] = {}
        # By variable name, the tensors that were not taken yet: all, with the next one last, and grouped by kind.
        self._left: dict[str, tuple[list[str], dict[Kind, list[str]]]] = {}

    def facts(self, key: str) -> StoredFacts:
        """Return the dtype and shapes of a tensor.

        A tensor that variables share may have many slices, and is not decoded for each variable.
        """
        known = self._facts.get(key)
        if known is None:
            tensor = self._checkpoint[key]
            known = StoredFacts(tensor.data_type, tensor.shape, tensor.whole_shape)
            # Nearly all of a million tensors are requested only once.
            self._facts[key] = known if key in self._facts else None
        return known

    @cached_property
    def _keys(self) -> dict[str, list[str]]:
        keys = defaultdict(list)
        objects = self._checkpoint.objects
        for key, name in objects.variable_names.items() if objects is not None else ():
            if key in self._checkpoint:
                keys[name].append(key)
        return dict(keys)

    def named(self, name: str) -> list[str]:
        """Return the tensor with this name, or else those of the variables with this name."""
        return [name] if name in self._checkpoint else self._keys.get(name, [])[:_MOST_SHARED]

    def take(self, item: RequiredVariable, used: set[str]) -> list[str]:
        """Return a tensor that is not ``used`` and belongs to a variable with the same name, or an empty list."""
        name = item.own_name
        if name is None:
            return []
        if name in self._checkpoint:
            return [name]
        if name not in self._keys:
            return []
        if name not in self._left:
            self._left[name] = self._sort(name)
        unused, by_kind = self._left[name]
        for group in (*_fitting(by_kind, item), unused):
            while group:
                key = group.pop()
                if key not in used:
                    return [key]
        # If the graph was exported from the saved objects, the checkpoint has the variable only once.
        return self._keys[name][:_MOST_SHARED] if item.names[0].startswith(KERAS_COPIES) else []

    def copies_of_taken(self) -> Iterator[str]:
        """Yield the copies of variables that were taken by variable name."""
        for name in self._left:
            yield from (key for key in self._keys[name] if key.startswith(KERAS_COPIES))

    def _sort(self, name: str) -> tuple[list[str], dict[Kind, list[str]]]:
        # The next one is taken from the end, and copies come last.
        keys = sorted(self._keys[name], key=lambda key: key.startswith(KERAS_COPIES))[::-1]
        by_kind: dict[Kind, list[str]] = {}
        for key in keys:
            by_kind.setdefault(self.facts(key).kind, []).append(key)
        return keys, by_kind


def _fitting(by_kind: dict[Kind, list[str]], item: RequiredVariable) -> Iterator[list[str]]:
    if item.data_type is not None and item.shape is not None and None not in item.shape:
        exact = by_kind.get((item.data_type, item.shape))  # type: ignore[arg-type]
        if exact is not None:
            yield exact
    else:
        yield from (group for kind, group in islice(by_kind.items(), _MOST_SHARED) if fits(*kind, item))


def fits(data_type: str, shape: tuple[int, ...], item: RequiredVariable) -> bool:
    """Return whether a dtype and a shape match those that are required, as far as these are known."""
    if item.data_type not in (None, data_type):
        return False
    if item.shape is None:
        return True
    return len(item.shape) == len(shape) and all(
        size in (None, length) for size, length in zip(item.shape, shape, strict=True)
    )
