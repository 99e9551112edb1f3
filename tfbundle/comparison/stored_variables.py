"""Which tensors of a checkpoint may be a variable that a graph requires.

A checkpoint of objects stores a variable under the way that leads to it from the saved object, so that the same model
has other keys as a SavedModel than as a checkpoint; the variables' own names (``dense/kernel``) are then the same.
Variables may share a name, and each tensor stands for one of them, that of its type and shape first. A model that
Keras 3 exported stores each variable twice; both stand for one tensor, and one for both.
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

# Of variables that share a name, and of their types and shapes, so many are compared with one that a graph requires.
_MOST_SHARED = 100

Kind = tuple[str, tuple[int, ...]]


class StoredFacts(NamedTuple):
    """The type of a tensor, its shape, and that of the whole of which it may be a part."""

    data_type: str
    shape: tuple[int, ...]
    whole_shape: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        """What a variable has to have in common with it."""
        return self.data_type, self.whole_shape


class StoredVariables:
    """The tensors of a checkpoint by name, and by the names of TensorFlow 2's variables."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        # Of those that were asked for: nothing at first, and the facts when they are asked for again.
        self._facts: dict[str, StoredFacts | None] = {}
        # By the name of a variable, those of its tensors that were not taken: all, the next last, and by their kind.
        self._left: dict[str, tuple[list[str], dict[Kind, list[str]]]] = {}

    def facts(self, key: str) -> StoredFacts:
        """Return the type and shapes of a tensor.

        One that variables share may have many slices, and is not decoded for each of them.
        """
        known = self._facts.get(key)
        if known is None:
            tensor = self._checkpoint[key]
            known = StoredFacts(tensor.data_type, tensor.shape, tensor.whole_shape)
            # Of a million tensors nearly all are asked for once.
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
        """Return the tensor of this name, or those of the variables that are called so."""
        return [name] if name in self._checkpoint else self._keys.get(name, [])[:_MOST_SHARED]

    def take(self, item: RequiredVariable, used: set[str]) -> list[str]:
        """Return a tensor that may be the variable by its own name and that is not ``used``; nothing without one."""
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
        # A copy is stored once where the graph was exported from what was saved.
        return self._keys[name][:_MOST_SHARED] if item.names[0].startswith(KERAS_COPIES) else []

    def copies_of_taken(self) -> Iterator[str]:
        """Yield the copies of the variables that were taken by their own names."""
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
    """Return whether a type and a shape are those that are required, as far as these are known."""
    if item.data_type not in (None, data_type):
        return False
    if item.shape is None:
        return True
    return len(item.shape) == len(shape) and all(
        size in (None, length) for size, length in zip(item.shape, shape, strict=True)
    )
