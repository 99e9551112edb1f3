"""Casts: the new types of tensors, and their values as these types.

A cast applies to a kind of types (``"float32"``: all floating-point tensors), to one type (``"bfloat16=float32"``), or
to tensors by name (``"*/kernel=float16"``). The most specific one applies: a name before a type, a type before a kind.

Floats may lose precision, as expected of a cast. Integers may not: a value that is out of range for the new type, or
that a float would round, is an error, which is detected before anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from tfbundle.errors import UnsupportedError
from tfbundle.matching import Pattern
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import numpy_dtypes, python_name
from tfbundle.tensors.tensor import Tensor

# "TYPE" for all tensors of its kind, "FROM=TO" for those of a type or name, several of these, or {FROM: TO}.
Cast: TypeAlias = "str | Sequence[str] | Mapping[Any, str]"
Finder: TypeAlias = Callable[[Pattern], Collection[str]]


class Casts:
    """The casts requested by the caller."""

    def __init__(self, cast: Cast | None, find: Finder, types: Callable[[], Collection[str]]) -> None:
        """Resolve ``cast``.

        ``find`` returns the stored names that a pattern matches, or raises ``KeyError``; ``types`` returns TensorFlow's
        names of the types of the tensors. Raises ``ValueError`` for unknown types, types that no tensor has and pairs
        of types without a conversion, and ``KeyError`` for patterns that match no tensor.
        """
        self._by_type: dict[str, np.dtype[Any]] = {}
        self._by_name: dict[str, np.dtype[Any]] = {}
        if cast is None:
            return
        of_kinds, of_types, patterns = _sort(cast)
        if of_types:
            _check_present(of_types, types())
        targets = _targets()
        for old, new in {**of_kinds, **of_types}.items():
            self._by_type[old] = targets[new]
        for pattern, new in patterns.items():
            _check_type(new, targets)
            for name in find(pattern):
                self._by_name[name] = targets[new]

    def dtype_of(self, tensor: Tensor) -> np.dtype[Any]:
        """Return the dtype to write a tensor as.

        Raises ``ValueError`` if a cast by name has no conversion from the tensor's type.
        """
        if not self._by_name and not self._by_type:
            return tensor.dtype
        stored = python_name(tensor.data_type)
        target = self._by_name.get(tensor.name)
        if target is None:
            return self._by_type.get(stored, tensor.dtype)
        if tensor.dtype.hasobject:
            raise ValueError(f"{tensor.name!r} is of type {stored}, which cannot be cast to {target.name}")
        _check_pair(stored, target.name)
        return target


def _sort(cast: Cast) -> tuple[dict[str, str], dict[str, str], dict[Any, str]]:
    """Return the casts of kinds (for each of their types), of types, and of tensors by name.

    Raises ``ValueError`` for unknown types and pairs of types without a conversion.
    """
    types = {name: dtype for name, dtype in numpy_dtypes().items() if not dtype.hasobject}
    targets = _targets()
    is_list = isinstance(cast, Sequence) and all(isinstance(text, str) for text in cast)
    if not is_list and not isinstance(cast, Mapping):
        raise ValueError(f"cast must be a str such as 'float32', a list of these or a dict, not {cast!r}")
    of_kinds: dict[str, str] = {}
    others: dict[Any, str] = dict(cast) if isinstance(cast, Mapping) else {}
    for text in [] if isinstance(cast, Mapping) else [cast] if isinstance(cast, str) else cast:
        old, sign, new = text.rpartition("=")
        if sign:
            others[old] = new
        else:
            _check_type(new, targets)
            of_kinds.update({name: new for name, dtype in types.items() if kind_of(dtype.name) == kind_of(new)})
    of_types: dict[str, str] = {}
    patterns: dict[Any, str] = {}
    for what, new in others.items():
        (of_types if isinstance(what, str) and (what in types or not what) else patterns)[what] = new
    for old, new in {**of_kinds, **of_types}.items():
        _check_type(old, types)
        _check_type(new, targets)
        _check_pair(old, new)
    return of_kinds, of_types, patterns


def _check_present(chosen: Collection[str], types: Collection[str]) -> None:
    absent = [name for name in chosen if name not in types]
    if absent:
        known = ", ".join(sorted(types)) or "unknown"
        raise ValueError(
            f"no tensor is of type {' or '.join(absent)}, so the cast has no effect; the types are {known}"
        )


def _targets() -> dict[str, np.dtype[Any]]:
    # Quantised types are integers to numpy, and meaningless without their scale, which is in the graph.
    types = {name: dtype for name, dtype in numpy_dtypes().items() if not dtype.hasobject}
    return {name: dtype for name, dtype in types.items() if dtype.name == name and dtype.kind != "b"}


def _check_type(name: str, types: Collection[str]) -> None:
    if name not in types:
        raise ValueError(f"there is no type {name!r} to cast; the types are {', '.join(types)}")


def _check_pair(old: str, new: str) -> None:
    if kind_of(old) == "complex" != kind_of(new):
        raise ValueError(f"{old} cannot become {new}, which has no imaginary part")


def kind_of(name: str) -> str | None:
    """Return ``"integer"``, ``"float"`` or ``"complex"`` for the name of a type, or ``None`` for any other."""
    if re.match(r"q?u?int", name):
        return "integer"
    if name.startswith(("float", "bfloat")):
        return "float"
    return "complex" if name.startswith("complex") else None


def may_lose(old: np.dtype[Any], new: np.dtype[Any]) -> bool:
    """Return whether a cast between two dtypes can change integers, so that the values must be checked."""
    if old == new or "integer" not in (kind_of(old.name), kind_of(new.name)) or old.kind == "b":
        return False
    if kind_of(old.name) != "integer":
        return True
    low, high = _limits(old)
    if kind_of(new.name) == "integer":
        smallest, largest = _limits(new)
        return low < smallest or high > largest
    # Floats represent all integers below a power of two; the types of ml_dtypes are so narrow that all are checked.
    return new.isbuiltin != 1 or high > 1 << (np.finfo(new).nmant + 1)


def check_values(values: Array, dtype: np.dtype[Any], name: str) -> None:
    """Raise ``UnsupportedError`` if casting ``values`` to ``dtype`` would change integers of the tensor ``name``."""
    if not values.size:
        return
    values = _plain(values)
    if kind_of(dtype.name) == "integer":
        low, high = _limits(dtype)
        if kind_of(values.dtype.name) == "integer":
            fits = int(values.min()) >= low and int(values.max()) <= high
        else:
            with np.errstate(invalid="ignore"):  # NaNs do not fit.
                whole = np.trunc(values.astype(np.float64))
            # The largest integer plus one is a power of two, which floats represent exactly.
            fits = bool(((whole >= low) & (whole < float(high + 1))).all())
        if not fits:
            raise UnsupportedError(
                f"it has values that are out of range for {dtype.name}; cast it to a wider type, or leave it out",
                tensor=name,
            )
    elif kind_of(values.dtype.name) == "integer" and not _are_exact(values, dtype):
        raise UnsupportedError(
            f"it has integers that {dtype.name} cannot represent exactly; cast it to a wider type, or leave it out",
            tensor=name,
        )


def _are_exact(values: Array, dtype: np.dtype[Any]) -> bool:
    with np.errstate(all="ignore"):
        cast = values.astype(dtype)
        # complex64 and the types of ml_dtypes are exact in these, and so are integers below 2 to the 53rd power.
        wide = np.real(cast).astype(np.float64)
        low, high = _limits(values.dtype)
        inside = np.isfinite(wide) & (wide >= float(low)) & (wide < float(high + 1))
        back = np.where(inside, wide, 0).astype(values.dtype)
    return bool(inside.all() and (back == values).all())


def converted(values: Array, dtype: np.dtype[Any], name: str) -> Array:
    """Return ``values`` as another type; raise ``UnsupportedError`` as ``check_values`` does."""
    if values.dtype == dtype:
        return values
    if may_lose(values.dtype, dtype):
        check_values(values, dtype, name)
    values = _plain(values)
    if kind_of(dtype.name) == "integer" and kind_of(values.dtype.name) == "float":
        values = np.trunc(values.astype(np.float64))
    with np.errstate(all="ignore"):
        cast: Array = values.astype(dtype)
    return cast


def _plain(values: Array) -> Array:
    """Return small integers of ``ml_dtypes`` as ``int64``, which every numpy can compare and cast."""
    is_foreign = kind_of(values.dtype.name) == "integer" and values.dtype.isbuiltin != 1
    return values.astype(np.int64) if is_foreign else values


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return the smallest and the largest integer of a dtype."""
    if dtype.isbuiltin == 1:
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    import ml_dtypes

    facts: Any = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return int(facts.min), int(facts.max)
