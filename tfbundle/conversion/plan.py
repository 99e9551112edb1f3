"""What an export writes: which tensors, under which names, as which types; and what it refuses.

All of this is known from the index. A plan is made before a byte is written, so that a refusal costs nothing, and names
everything that stands in the way at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import prod
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tfbundle.checkpoint.chosen_names import Names, match_names, select_names
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.errors import UnsupportedError
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import numpy_dtypes, python_name
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.tensor import Tensor

# "TYPE" for all tensors of its kind, "FROM=TO" for those of a type, several of these, or {FROM: TO}.
Cast = str | Sequence[str] | Mapping[str, str]

# By what to replace types that many formats lack.
_WAYS_OUT = {"int4": "int8", "int2": "int8", "uint4": "uint8", "uint2": "uint8", "complex128": "complex64"}


class Planned(NamedTuple):
    """A tensor to write: ``name`` is what to call it, and ``dtype`` what to convert it to."""

    name: str
    tensor: Tensor
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each dimension."""
        return self.tensor.shape

    @property
    def nbytes(self) -> int:
        """The bytes of its elements as they will be written."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def type_name(self) -> str:
        """The type to write, as TensorFlow calls it: the stored one if it stays, for it may be a string."""
        return python_name(self.tensor.data_type) if self.dtype == self.tensor.dtype else self.dtype.name

    def chunks(self) -> Iterator[memoryview]:
        """The bytes of its elements in C order, little-endian, in pieces of bounded size."""
        for values in self.tensor.chunks():
            array = values if self.dtype == values.dtype else self._convert(values)
            if sys.byteorder == "big":
                array = array.byteswap()
            yield array.view(np.uint8).data

    def _convert(self, values: Array) -> Array:
        """The values as another type; for integers only if they have the room."""
        if _kind(values.dtype.name) == "integer":
            values = values.astype(values.dtype if values.dtype.isbuiltin == 1 else np.int64)
        if _kind(self.dtype.name) == "integer" and values.dtype.kind != "b":
            low, high = _limits(self.dtype)
            if _kind(values.dtype.name) == "float":
                with np.errstate(invalid="ignore"):  # NaNs are refused below.
                    values = np.trunc(values.astype(np.float64))
                # One more than the largest integer is a power of two, which floats hold exactly.
                fits = bool(((values >= low) & (values < float(high + 1))).all())
            else:
                fits = int(values.min()) >= low and int(values.max()) <= high
            if not fits:
                raise UnsupportedError(
                    f"it holds values that {self.dtype.name} has no room for; cast it to a wider type, or leave it out",
                    tensor=self.tensor.name,
                )
        with np.errstate(all="ignore"):
            return values.astype(self.dtype)


class OutputFormat(NamedTuple):
    """A format to write.

    ``refuse`` says of a tensor what the format cannot hold, or ``None``; it is given the names of all. ``write`` writes
    the file, and calls its last argument with the number of bytes written each time.
    """

    name: str
    refuse: Callable[[Planned, Collection[str]], str | None]
    write: Callable[[BinaryIO, Sequence[Planned], Callable[[int], None]], None]


def plan(
    checkpoint: TensorMapping, format: OutputFormat, names: Names, exclude: Names, cast: Cast | None, *, slots: bool
) -> list[Planned]:
    """The tensors to write, in the order of the checkpoint.

    The object graph of a TensorFlow 2 checkpoint says how its tensors belong together and is no weight; it is planned
    only if ``names`` asks for it.

    Raises ``UnsupportedError`` that names all that the format cannot hold, ``ValueError`` for casts that do not exist,
    ``KeyError`` for names that do not.
    """
    casts = {} if cast is None else resolve_casts(cast)
    chosen = select_names(checkpoint, names)
    left_out = set() if exclude is None else set(match_names(checkpoint, exclude))
    if names is None:
        left_out.add(OBJECT_GRAPH_KEY)
    if not slots:
        left_out |= checkpoint.slots
    planned = []
    for name, wanted in chosen.items():
        if name not in left_out:
            tensor = checkpoint[name]
            planned.append(Planned(wanted, tensor, casts.get(python_name(tensor.data_type), tensor.dtype)))
    written = {item.name for item in planned}
    refused: dict[str, list[Tensor]] = {}
    for item in planned:
        reason = format.refuse(item, written)
        if reason is not None:
            refused.setdefault(reason, []).append(item.tensor)
    if refused:
        raise UnsupportedError(_describe(format, refused, len(planned)), path=checkpoint.prefix)
    return planned


def _describe(format: OutputFormat, refused: dict[str, list[Tensor]], count: int) -> str:
    groups = [f"{reason}: {', '.join(repr(tensor.name) for tensor in group)}" for reason, group in refused.items()]
    stored = [python_name(tensor.data_type) for reason, group in refused.items() if _kind(reason) for tensor in group]
    casts = [f"{name}={_WAYS_OUT.get(name, 'float32')}" for name in dict.fromkeys(stored)]
    ways = [f"cast {' '.join(casts)} (--cast)"] if casts else []
    many = sum(map(len, refused.values()))
    return (
        f"a .{format.name} file cannot hold {many} of the {count} tensors ({'; '.join(groups)}); "
        f"{' or '.join([*ways, 'leave them out (--exclude)'])}"
    )


def resolve_casts(cast: Cast) -> dict[str, np.dtype[Any]]:
    """For each type to be replaced, by TensorFlow's name, the dtype that replaces it.

    Raises ``ValueError`` for types that there are not, and between which nothing is converted.
    """
    types = {name: dtype for name, dtype in numpy_dtypes().items() if not dtype.hasobject}
    # Quantised types are integers to numpy, and mean nothing without the scale that a graph has for them.
    targets = {name: dtype for name, dtype in types.items() if dtype.name == name and dtype.kind != "b"}
    of_kinds: dict[str, str] = {}
    of_types = dict(cast) if isinstance(cast, Mapping) else {}
    for text in [] if isinstance(cast, Mapping) else [cast] if isinstance(cast, str) else cast:
        old, sign, new = text.rpartition("=")
        if sign:
            of_types[old] = new
        else:
            _check_type(new, targets)
            of_kinds.update({name: new for name, dtype in types.items() if _kind(dtype.name) == _kind(new)})
    casts = {**of_kinds, **of_types}
    for old, new in casts.items():
        _check_type(old, types)
        _check_type(new, targets)
        if _kind(old) == "complex" != _kind(new):
            raise ValueError(f"{old} cannot become {new}, which has no imaginary part")
    return {old: targets[new] for old, new in casts.items()}


def _check_type(name: str, types: Collection[str]) -> None:
    if name not in types:
        raise ValueError(f"there is no type {name!r} to cast; there are {', '.join(types)}")


def _kind(name: str) -> str | None:
    """Integers, floats and complex numbers, by the dtype's name; ``None`` for the rest."""
    if name.startswith(("int", "uint")):
        return "integer"
    if name.startswith(("float", "bfloat")):
        return "float"
    return "complex" if name.startswith("complex") else None


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The smallest and the largest integer of a dtype."""
    if dtype.isbuiltin == 1:
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    import ml_dtypes

    facts: Any = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return int(facts.min), int(facts.max)
