"""Compare two checkpoints or frozen graphs by the values of their tensors.

The way in which values are stored (format, shards, slices, byte order) makes no difference. Numbers are compared as
numbers: NaN equals NaN, and zero equals negative zero. Equal checksums prove nothing, so all values are read. They are
read in chunks, two tensors in parallel, and no tensor is held in memory as a whole unless its format requires it (see
``Tensor.chunks``). Small tensors are read many at a time.

``pairing`` determines which tensors are compared. A tensor that cannot be read is reported, and the others are
compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tfbundle.checkpoint.chosen_names import Names
from tfbundle.checkpoint.find.names import Format
from tfbundle.comparison.batches import read_batches
from tfbundle.comparison.pairing import Pair, find_partners, iterate_pairs
from tfbundle.errors import TfBundleError
from tfbundle.findings import Finding, finding_of
from tfbundle.notebook import Table, render, view_of
from tfbundle.open_tensors import open_tensors
from tfbundle.progress import Progress
from tfbundle.storage.locations import StorageOptions, StrPath, with_options
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import cast, clear_unused_bits
from tfbundle.tensors.mapping import TensorMapping

_MOST_SHOWN = 3


@dataclass(frozen=True)
class Change:
    """A tensor that is in both checkpoints but differs.

    ``data_types`` and ``shapes`` are those of the first and the second checkpoint. If both agree, ``differing`` is the
    number of elements that differ; otherwise no values were compared, and it is ``None``.

    ``largest_absolute`` is the largest absolute difference of two numbers (an ``int`` for integers).
    ``largest_relative`` is the largest difference divided by the larger magnitude of the two numbers, and ``inf`` for
    an infinity and a finite number. Both are ``None`` for strings and variants, and if all differences are between NaN
    and a number; ``nans`` counts these.

    ``other_name`` is the name in the second checkpoint if it is different, because tensors of TensorFlow 2 are also
    paired by the names of their variables.
    """

    name: str
    data_types: tuple[str, str]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    differing: int | None = None
    largest_absolute: int | float | None = None
    largest_relative: float | None = None
    nans: int = 0
    other_name: str | None = None


@dataclass(frozen=True, repr=False)
class Diff:
    """The differences of two checkpoints; true if there are any, or if a tensor could not be read.

    ``added`` are the tensors that only the second has, ``removed`` those that only the first has, ``changed`` those
    that differ, and ``same`` is the number of equal ones. ``unreadable`` has a finding for each tensor that could not
    be compared, because it is damaged in one of the checkpoints or its data are missing.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Change, ...]
    same: int
    unreadable: tuple[Finding, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.unreadable)

    def _repr_html_(self) -> str:
        rows = (
            (
                one.name,
                " → ".join(dict.fromkeys(one.data_types)),
                " → ".join(dict.fromkeys(map(view_of, one.shapes))),
                "" if one.differing is None else one.differing,
                "" if one.largest_absolute is None else f"{one.largest_absolute:.6g}",
            )
            for one in self.changed
        )
        columns = ("changed", "type", "shape", "elements", "largest difference")
        return render(
            "Diff",
            {"the same": self.same, "changed": len(self.changed)},
            Table(columns, rows, len(self.changed), "changed tensor"),
            Table(("added",), ((name,) for name in self.added), len(self.added), "added tensor"),
            Table(("removed",), ((name,) for name in self.removed), len(self.removed), "removed tensor"),
            Table(
                ("unreadable", "finding"),
                ((one.tensor or "", one.message) for one in self.unreadable),
                len(self.unreadable),
                "unreadable tensor",
            ),
        )

    def __repr__(self) -> str:
        parts = [f"{len(self.removed)} removed", f"{len(self.added)} added", f"{len(self.changed)} changed"]
        parts += [f"{len(self.unreadable)} unreadable"] if self.unreadable else []
        names = ", ".join(repr(change.name) for change in self.changed[:_MOST_SHOWN])
        more = f" ({names}{', ...' if len(self.changed) > _MOST_SHOWN else ''})" if names else ""
        return f"<Diff: {', '.join(parts)}, {self.same} the same{more}>"


def diff(
    a: StrPath | TensorMapping,
    b: StrPath | TensorMapping,
    *,
    names: Names = None,
    exclude: Names = None,
    format: Format | None = None,
    progress: Progress | None = None,
    storage_options: StorageOptions | None = None,
) -> Diff:
    """Compare two checkpoints by name and value.

    Each is an open checkpoint, or a path: a checkpoint's prefix, one of its files, its folder, or a SavedModel. Either
    may also be a frozen graph or a frozen SavedModel, whose tensors are its constants. ``names`` are the tensors to
    compare, and ``exclude`` those to leave out: a str is a name, or else a glob (``*`` also matches ``/``); a compiled
    pattern or a function selects from all names; a list has exact names. Each must match a tensor in at least one of
    the two. Tensors whose names are in only one of the two are paired by the names of their variables, if both store an
    object graph; the object graphs themselves, which contain the keys, are then not compared.

    ``format`` is ``"v1"`` or ``"v2"``, for checkpoints that share a prefix; the default is V2. ``progress`` is called
    with the number of bytes of values compared so far and the total. Every value that has a checksum is verified;
    values that cannot be read are in ``Diff.unreadable``. Raises the errors of opening, and ``KeyError`` for names that
    match nothing.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    a = with_options(a, storage_options)
    b = with_options(b, storage_options)
    with ExitStack() as stack:
        first, second = (
            source if isinstance(source, TensorMapping) else stack.enter_context(open_tensors(source, format=format))
            for source in (a, b)
        )
        partners = find_partners(first, second, names, exclude)
        total = 0
        if progress is not None:
            total = sum(pair.nbytes for pair in iterate_pairs(first, second, partners, []))
        done = same = 0

        def count(nbytes: int) -> None:
            nonlocal done
            done += nbytes
            if progress is not None:
                progress(done, total)

        changes: list[Change] = []
        unreadable: list[Finding] = []
        for pair, arrays in read_batches(first, second, iterate_pairs(first, second, partners, unreadable)):
            try:
                change = _compare(pair, arrays, count)
            except (TfBundleError, OSError) as error:
                unreadable.append(finding_of(error, "entry", pair.first.name))
            else:
                same += change is None
                changes += [] if change is None else [change]
        return Diff(partners.added, partners.removed, tuple(changes), same, tuple(unreadable))


def _compare(pair: Pair, arrays: tuple[Array, Array] | None, count: Callable[[int], None]) -> Change | None:
    """Compare a pair; ``arrays`` are the values if they have already been read."""
    a, b = pair.first, pair.second
    other_name = None if a.name == b.name else b.name
    if not pair.is_comparable:
        return Change(a.name, *pair.kinds, other_name=other_name)
    found = _Difference()
    if arrays is not None:
        count(arrays[0].nbytes)
        if not arrays[0].dtype.hasobject and arrays[0].tobytes() == arrays[1].tobytes():
            return None  # The usual result for small tensors, of which there may be a million.
        found = _compare_values(*(array.reshape(-1) for array in arrays))
    else:
        for ours, theirs in _side_by_side(a.chunks(), b.chunks()):
            found = found.merged(_compare_values(ours, theirs))
            if not ours.dtype.hasobject:
                count(ours.nbytes)
        if a.dtype.hasobject:
            count(a.nbytes)
    return Change(a.name, *pair.kinds, **found._asdict(), other_name=other_name) if found.differing else None


def _side_by_side(a: Iterator[Array], b: Iterator[Array]) -> Iterator[tuple[Array, Array]]:
    """Yield the elements of two sequences of flat arrays, cut so that each pair of arrays has the same length.

    Both sequences are read to their ends, where they raise if the values were damaged.
    """
    left = right = None
    while True:
        left = next(a, None) if left is None else left
        right = next(b, None) if right is None else right
        if left is None or right is None:
            return
        length = min(len(left), len(right))
        yield left[:length], right[:length]
        left, right = left[length:], right[length:]
        # An empty array is used up; requesting the next one detects the end.
        left, right = (rest if len(rest) else None for rest in (left, right))


class _Difference(NamedTuple):
    """The last fields of a ``Change``, for a part of a tensor."""

    differing: int = 0
    largest_absolute: int | float | None = None
    largest_relative: float | None = None
    nans: int = 0

    def merged(self, other: _Difference) -> _Difference:
        return _Difference(
            self.differing + other.differing,
            _larger(self.largest_absolute, other.largest_absolute),
            _larger(self.largest_relative, other.largest_relative),
            self.nans + other.nans,
        )


def _larger(a: Any, b: Any) -> Any:
    return max((value for value in (a, b) if value is not None), default=None)


def _compare_values(a: Array, b: Array) -> _Difference:
    """Compare two flat arrays of the same dtype and length."""
    if a.dtype.hasobject:
        return _Difference(sum(ours != theirs for ours, theirs in zip(a.tolist(), b.tolist(), strict=True)))
    if a.tobytes() == b.tobytes():
        return _Difference()
    a, b = clear_unused_bits(a), clear_unused_bits(b)
    if np.array_equal(a.view(np.uint8), b.view(np.uint8)):
        return _Difference()
    if a.dtype.kind == "b" or "int" in a.dtype.name:
        return _compare_integers(a, b)
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    return _compare_floats(cast(a, wide), cast(b, wide))


def _compare_integers(a: Array, b: Array) -> _Difference:
    wide = np.uint64 if a.dtype.kind == "u" or a.dtype.name.startswith("uint") else np.int64
    a, b = a.astype(wide), b.astype(wide)
    unequal = a != b
    a, b = a[unequal], b[unequal]
    if not len(a):
        return _Difference()
    larger, smaller = np.maximum(a, b), np.minimum(a, b)
    # Modulo 2**64 the difference of two 64-bit integers is exact, whatever their signs.
    distance = larger.astype(np.uint64) - smaller.astype(np.uint64)
    magnitude = np.maximum(np.abs(a.astype(np.float64)), np.abs(b.astype(np.float64)))
    relative = distance.astype(np.float64) / magnitude
    return _Difference(len(a), int(distance.max()), float(relative.max()))


@np.errstate(all="ignore")  # Signalling NaNs are compared, and differences overflow.
def _compare_floats(a: Array, b: Array) -> _Difference:
    unequal = (a != b) & ~(np.isnan(a) & np.isnan(b))
    a, b = a[unequal], b[unequal]
    differing = len(a)
    numbers = ~(np.isnan(a) | np.isnan(b))
    a, b = a[numbers], b[numbers]
    nans = differing - len(a)
    if not len(a):
        return _Difference(differing, nans=nans)
    distance = np.abs(a - b)
    relative = distance / np.maximum(np.abs(a), np.abs(b))
    # Infinity divided by infinity is NaN, but an infinite difference is also infinite relative to any number. If both
    # parts of a complex number are infinite, the difference is NaN too.
    distance[np.isnan(distance)] = np.inf
    relative[~np.isfinite(distance)] = np.inf
    return _Difference(differing, float(distance.max()), float(relative.max()), nans)
