"""Which tensors of two checkpoints belong together: those of one name, and of TensorFlow 2 those of one variable.

A checkpoint of objects names its tensors by the way from the saved object to the variable, so that the same model has
other names as a SavedModel than as a checkpoint. The variables' own names are then the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from tfbundle.checkpoint.chosen_names import Names, match_names
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.errors import TfBundleError
from tfbundle.findings import Finding, finding_of
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.tensor import Tensor


class Pair(NamedTuple):
    """A tensor as both checkpoints have it; its type and shape agree if ``is_comparable``, and take ``nbytes``."""

    first: Tensor
    second: Tensor
    is_comparable: bool
    nbytes: int

    @property
    def kinds(self) -> tuple[tuple[str, str], tuple[tuple[int, ...], tuple[int, ...]]]:
        """The types and the shapes of the two."""
        return (self.first.data_type, self.second.data_type), (self.first.shape, self.second.shape)


class Pairs(NamedTuple):
    """The pairs in the order of the first checkpoint, and the names without a partner.

    ``unreadable`` has those of which not even type and shape are known.
    """

    pairs: list[Pair]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    unreadable: list[Finding]


def find_pairs(first: TensorMapping, second: TensorMapping, names: Names, exclude: Names) -> Pairs:
    """Pair the chosen tensors; raises ``KeyError`` where ``names`` or ``exclude`` mean nothing in either."""
    ours, theirs = _chosen(first, second, names, exclude)
    removed = [name for name in ours if name not in theirs]
    added = [name for name in theirs if name not in ours]
    partners: dict[str, str] = {}
    if removed and added:
        partners = _by_variable(_variables(first, removed), _variables(second, added))
        paired = set(partners.values())
        removed = [name for name in removed if name not in partners]
        added = [name for name in added if name not in paired]
    pairs: list[Pair] = []
    unreadable: list[Finding] = []
    others = dict(second.items())
    for name, tensor in first.items():
        other = theirs.get(name) if name in ours else None
        other = partners.get(name) if other is None else other
        if other is None or (partners and name == OBJECT_GRAPH_KEY):
            continue
        partner = others[other]
        try:
            is_comparable = tensor.data_type == partner.data_type and tensor.shape == partner.shape
            pair = Pair(tensor, partner, is_comparable, tensor.nbytes if is_comparable else 0)
        except (TfBundleError, OSError) as error:
            unreadable.append(finding_of(error, "entry", name))
        else:
            pairs.append(pair)
    return Pairs(pairs, tuple(added), tuple(removed), unreadable)


def _chosen(
    first: TensorMapping, second: TensorMapping, names: Names, exclude: Names
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    ours, theirs = _match(first, second, names)
    if exclude is not None:
        left_out, others = _match(first, second, exclude)
        ours = {name: name for name in ours if name not in left_out}
        theirs = {name: name for name in theirs if name not in others}
    return ours, theirs


def _match(first: TensorMapping, second: TensorMapping, names: Names) -> tuple[dict[str, str], dict[str, str]]:
    """Return the tensors of each that ``names`` mean, by name."""
    found: list[dict[str, str]] = []
    error = None
    # Each exact name of a list may be in one of the two alone.
    wanted = [names] if names is None or isinstance(names, str) or not isinstance(names, Collection) else list(names)
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


def _variables(tensors: TensorMapping, names: list[str]) -> dict[str, str]:
    """Return the first key of each variable among ``names``; nothing where no object graph can be read."""
    try:
        known = tensors.objects.variable_names if tensors.objects is not None else {}
    except (TfBundleError, OSError):
        return {}
    keys: dict[str, str] = {}
    for name in names:
        if name in known:
            keys.setdefault(known[name], name)
    return keys


def _by_variable(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    return {key: second[variable] for variable, key in first.items() if variable in second}
