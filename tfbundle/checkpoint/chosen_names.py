"""Selection of tensors by exact names, globs, compiled patterns, functions, or a mapping to new names.

Object-based checkpoints (TensorFlow 2) store a variable under a key that describes how to reach it from the saved
object; the variable's own name, ``dense/kernel``, is in the object graph. Both are accepted everywhere, in this order:

1. a stored name, whatever characters it has (``w[0]/kernel`` is a name before it is a glob)
2. a variable's own name
3. for a pattern, the stored names that match it
4. for a pattern that matches no stored name, the variables' names that match it

Several variables may share a name. ``match_names`` returns all of them, which is right for leaving tensors out;
``select_names`` returns one tensor for each name, which is right for reading them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import TypeAlias

from tfbundle.errors import TfBundleError
from tfbundle.matching import Pattern, check_names, describe, is_glob, select
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.tensor import Tensor

# ``None`` is every tensor. A mapping has stored names, or those of variables, as keys and the names to use as values.
Names: TypeAlias = "Pattern | Collection[str] | Mapping[str, str] | None"

# A model exported by Keras 3 lists its variables under "variables", and stores all of them again under this key.
KERAS_COPIES = "_all_variables/"
# A longer list of keys is not useful.
_MOST_LISTED = 10


def select_names(tensors: TensorMapping, names: Names) -> dict[str, str]:
    """Return the stored names that ``names`` selects, each with the name to use for it; the latter are unique.

    A str is a name, or else a glob; a compiled pattern or a function selects from all names; a collection has exact
    names, and a mapping exact names with the names to use. A variable that is selected by its own name keeps that name.

    Raises ``KeyError`` if a name or pattern matches nothing, or a name several variables that differ, and
    ``ValueError`` if two names select the same tensor, or two tensors would have the same name.
    """
    if names is None:
        return dict(zip(tensors, tensors, strict=True))
    check_names(names)
    if isinstance(names, str | re.Pattern) or callable(names):
        chosen: dict[str, str] = {}
        for called, keys in _by_name(_match(tensors, names)).items():
            chosen[keys[0] if len(keys) == 1 else _pick(tensors, called, keys)] = called
        return chosen
    wanted: dict[str, str] = {}
    for name, called in names.items() if isinstance(names, Mapping) else ((name, name) for name in names):
        key = key_of(tensors, name)
        if wanted.setdefault(key, called) != called:
            raise ValueError(f"{wanted[key]!r} and {called!r} would be the same tensor, {key!r}")
    for called, keys in _by_name(wanted).items():
        if len(keys) > 1:
            raise ValueError(f"{len(keys)} tensors would all be called {called!r}")
    return wanted


def match_names(tensors: TensorMapping, names: Names) -> dict[str, str]:
    """Return all stored names that ``names`` selects, each with the name that selected it.

    Unlike ``select_names``, this returns all variables that share a name, and all copies of a variable. Raises
    ``KeyError`` if a name or pattern matches nothing.
    """
    if names is None:
        return dict(zip(tensors, tensors, strict=True))
    check_names(names)
    if isinstance(names, str | re.Pattern) or callable(names):
        return _match(tensors, names)
    found: dict[str, str] = {}
    for name in names:
        found.update(dict.fromkeys(_keys_of(tensors, name), name))
    return found


def key_of(tensors: TensorMapping, name: str) -> str:
    """Return the stored name that ``name`` denotes: itself, or the key of the variable with this name.

    Raises ``KeyError`` if there is none, or more than one.
    """
    return name if name in tensors else _pick(tensors, name, _keys_of(tensors, name))


def _match(tensors: TensorMapping, pattern: Pattern) -> dict[str, str]:
    """Return the stored names that a pattern selects, each with the name that matched."""
    if isinstance(pattern, str):
        if not is_glob(pattern):
            return dict.fromkeys(_keys_of(tensors, pattern), pattern)
        keys = [pattern] if pattern in tensors else _Variables(tensors).keys_of(pattern)
        if keys:
            return dict.fromkeys(keys, pattern)
    found = select(pattern, tensors)
    if found:
        return dict(zip(found, found, strict=True))
    variables = _Variables(tensors)
    matches = {key: name for name in select(pattern, variables.names) for key in variables.keys_of(name)}
    if not matches:
        raise KeyError(f"no tensor in {tensors.prefix} matches {describe(pattern)}{variables.problem}")
    return {key: matches[key] for key in tensors if key in matches}


def _keys_of(tensors: TensorMapping, name: str) -> list[str]:
    """Return the stored names that ``name`` denotes; raise a ``KeyError`` with suggestions if there is none."""
    if name in tensors:
        return [name]
    if not isinstance(name, str):
        raise TypeError(f"expected a list of names, which are str, not {name!r}")
    variables = _Variables(tensors)
    keys = variables.keys_of(name)
    if keys:
        return keys
    if is_glob(name):
        raise KeyError(
            f"there is no tensor {name!r} in {tensors.prefix}; names in a list or dict are exact, so pass a glob alone "
            f"(names={name!r})"
        )
    raise KeyError(tensors.describe_unknown(name) + variables.problem)


class _Variables:
    """The variables' own names; none if no object graph is stored, or it cannot be read (``problem`` states why)."""

    def __init__(self, tensors: TensorMapping) -> None:
        self._tensors = tensors
        self._objects = None
        self.problem = ""
        try:
            self._objects = tensors.objects
        except (TfBundleError, OSError) as error:
            # The tensors may nevertheless be readable.
            self.problem = f"; the names of its variables cannot be read: {error}"

    @property
    def names(self) -> Collection[str]:
        return () if self._objects is None else dict.fromkeys(self._objects.variable_names.values())

    def keys_of(self, name: str) -> list[str]:
        """Return the keys of the variables with this name, as far as they are stored."""
        return [] if self._objects is None else [key for key in self._objects.keys_of(name) if key in self._tensors]


def _by_name(names: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the keys by name."""
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for key, name in names.items():
        keys[name].append(key)
    return dict(keys)


def _pick(tensors: TensorMapping, variable: str, keys: list[str]) -> str:
    """Return the one tensor that a variable's name denotes, which Keras may store twice."""
    if len(keys) == 1:
        return keys[0]
    own = [key for key in keys if not key.startswith(KERAS_COPIES)]
    if len(own) == 1 and _are_alike([tensors[key] for key in keys]):
        return own[0]
    shown = ", ".join(map(repr, keys[:_MOST_LISTED]))
    more = f" and {len(keys) - _MOST_LISTED} more" if len(keys) > _MOST_LISTED else ""
    raise KeyError(f"{len(keys)} variables in {tensors.prefix} are called {variable!r}; pass a key of {shown}{more}")


def _are_alike(tensors: list[Tensor]) -> bool:
    """Return whether tensors have equal values, by their checksums."""
    return len({(one.data_type, one.shape, *((part.size, part.crc) for part in one.ranges)) for one in tensors}) == 1
