"""Pair the tensors of two checkpoints by name, and those of TensorFlow 2 also by variable name.

An object-based checkpoint names its tensors by the path from the saved object to the variable, so a model has different
names as a SavedModel and as a checkpoint. The names of the variables are then the same. A model exported by Keras 3
stores each variable twice; one of the two copies is compared.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import NamedTuple

from tfbundle.checkpoint.chosen_names import Names, key_of, match_names
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.errors import TfBundleError
from tfbundle.findings import Finding, finding_of
from tfbundle.matching import check_names
from tfbundle.tensors.mapping import TensorMapping, store_of
from tfbundle.tensors.tensor import Tensor


class Pair(NamedTuple):
    """A tensor in both checkpoints, of ``nbytes`` bytes; its dtypes and shapes are equal if ``is_comparable``."""

    first: Tensor
    second: Tensor
    is_comparable: bool
    nbytes: int

    @property
    def kinds(self) -> tuple[tuple[str, str], tuple[tuple[int, ...], tuple[int, ...]]]:
        """The types and the shapes of the two."""
        return (self.first.data_type, self.second.data_type), (self.first.shape, self.second.shape)


class Partners(NamedTuple):
    """The tensors of the first checkpoint to compare, and their partners in the second.

    ``ours`` and ``theirs`` are the selected names of each. A name in ``ours`` has a partner if it is in ``theirs``, or
    in ``renamed``, which has the name of the same variable there. ``added`` and ``removed`` are the names without a
    partner.
    """

    ours: Collection[str]
    theirs: Collection[str]
    renamed: dict[str, str]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    def partner_of(self, name: str) -> str | None:
        """Return the partner in the second checkpoint of ``name`` in the first, or ``None``."""
        if name not in self.ours or (self.renamed and name == OBJECT_GRAPH_KEY):
            return None
        return name if name in self.theirs else self.renamed.get(name)


def find_partners(first: TensorMapping, second: TensorMapping, names: Names, exclude: Names) -> Partners:
    """Pair the selected names; raises ``KeyError`` if ``names`` or ``exclude`` match nothing in either."""
    ours, theirs = _chosen(first, second, names, exclude)
    removed = [name for name in ours if name not in theirs]
    added = [name for name in theirs if name not in ours]
    renamed: dict[str, str] = {}
    if removed and added:
        before, after = _variables(first, removed), _variables(second, added)
        shared = before.keys() & after.keys()
        renamed = {before[variable].key: after[variable].key for variable in before if variable in shared}
        paired = {key for variable in shared for key in before[variable].copies}
        removed = [name for name in removed if name not in paired]
        paired = {key for variable in shared for key in after[variable].copies}
        added = [name for name in added if name not in paired]
    return Partners(ours, theirs, renamed, tuple(added), tuple(removed))


def iterate_pairs(
    first: TensorMapping, second: TensorMapping, partners: Partners, unreadable: list[Finding]
) -> Iterator[Pair]:
    """Yield the pairs in the order of the first checkpoint, one at a time, because there may be millions.

    A finding is added to ``unreadable`` for each pair whose dtype or shape cannot be read.
    """
    others = _Lookup(second)
    for name, tensor in first.items():
        other = partners.partner_of(name)
        if other is None:
            continue
        partner = others.take(other)
        try:
            is_comparable = tensor.data_type == partner.data_type and tensor.shape == partner.shape
            pair = Pair(tensor, partner, is_comparable, tensor.nbytes if is_comparable else 0)
        except (TfBundleError, OSError) as error:
            unreadable.append(finding_of(error, "entry", name))
        else:
            yield pair


class _Lookup:
    """Returns each tensor once; tensors that are requested in the order of the file are not held in memory."""

    def __init__(self, tensors: TensorMapping) -> None:
        self._items = iter(tensors.items())
        self._passed: dict[str, Tensor] = {}

    def take(self, name: str) -> Tensor:
        if name in self._passed:
            return self._passed.pop(name)
        for other, tensor in self._items:
            if other == name:
                return tensor
            self._passed[other] = tensor
        raise KeyError(name)


def _chosen(
    first: TensorMapping, second: TensorMapping, names: Names, exclude: Names
) -> tuple[Collection[str], Collection[str]]:
    if names is None and exclude is None:
        # There may be millions, and a copy would take as much memory as the index.
        return store_of(first).records().keys(), store_of(second).records().keys()
    ours, theirs = _match(first, second, names)
    if exclude is not None:
        left_out, others = _match(first, second, exclude)
        ours = {name: name for name in ours if name not in left_out}
        theirs = {name: name for name in theirs if name not in others}
    return ours.keys(), theirs.keys()


def _match(first: TensorMapping, second: TensorMapping, names: Names) -> tuple[dict[str, str], dict[str, str]]:
    """Return the names of each that ``names`` match."""
    found: list[dict[str, str]] = []
    error = None
    wanted: list[Names]
    if names is None or isinstance(names, str | re.Pattern) or callable(names):
        wanted = [names]
    else:
        check_names(names)
        wanted = [[name] for name in names]  # Each of them may be in only one of the two.
    missing = [0] * len(wanted)
    for tensors in (first, second):
        chosen: dict[str, str] = {}
        for place, name in enumerate(wanted):
            try:
                chosen.update((key, key) for key in match_names(tensors, name))
            except KeyError as unknown:
                missing[place] += 1
                error = error or unknown if missing[place] < 2 else unknown
        found.append(chosen)
    if error is not None and max(missing, default=0) == 2:
        raise error
    return found[0], found[1]


class _Variable(NamedTuple):
    """The key of a variable, and all keys under which the same values are stored, including that key."""

    key: str
    copies: list[str]


def _variables(tensors: TensorMapping, names: list[str]) -> dict[str, _Variable]:
    """Return the variables among ``names`` by variable name; empty if no object graph can be read.

    Variables that share a name cannot be distinguished and are left out.
    """
    try:
        known = tensors.objects.variable_names if tensors.objects is not None else {}
    except (TfBundleError, OSError):
        return {}
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        if name in known:
            keys[known[name]].append(name)
    found = {}
    for variable, copies in keys.items():
        try:
            key = copies[0] if len(copies) == 1 else key_of(tensors, variable)
        except (KeyError, TfBundleError, OSError):
            continue
        if key in copies:
            found[variable] = _Variable(key, copies)
    return found
