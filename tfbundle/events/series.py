"""The series of a tag: steps, wall times, and values of one kind.

Numbers are arrays at once. Of everything else a series is a sequence, whose elements are read from the file when they
are asked for; each is checked against the checksum that was noted when the file was gone through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, overload

import numpy as np

from tfbundle.errors import FormatError, TfBundleError
from tfbundle.events.points import Array
from tfbundle.proto import Summary, SummaryMetadata

Element = TypeVar("Element")

# Above this, not every integer is a float64.
_EXACT = 1 << 53


class Points(NamedTuple):
    """Points of one tag in the order of the files; ``values[i]`` is a number, or a function that reads the message."""

    steps: Array
    walls: Array
    numbers: list[tuple[Array, Array]]  # Places among the points, and the numbers there.
    others: list[int]  # Places of the points that are not numbers.


class Series:
    """What all series have: ``tag``, ``steps`` (int64), ``wall_times`` (float64, seconds since 1970), ``metadata``.

    ``metadata`` is the ``SummaryMetadata`` of the tag's first value, or ``None``; it names the plugin and the title.
    """

    def __init__(self, tag: str, points: Points, metadata: SummaryMetadata | None) -> None:
        self.tag = tag
        self.steps = points.steps
        self.wall_times = points.walls
        self.metadata = metadata

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        span = f", steps {self.steps[0]} to {self.steps[-1]}" if len(self) else ""
        return f"<{type(self).__name__} {self.tag!r}, {len(self)} points{span}>"

    @property
    def display_name(self) -> str:
        """The title that the writer gave, or the tag."""
        return (self.metadata.display_name if self.metadata is not None else "") or self.tag

    @property
    def description(self) -> str:
        """What the writer said about it, in Markdown."""
        return self.metadata.summary_description if self.metadata is not None else ""


Read = Callable[[int], Summary.Value]


class ScalarSeries(Series):
    """One number a point: ``values``, in the dtype in which they are stored.

    Where a tag's values have several dtypes they are float64, or ``object`` where float64 would lose digits.
    """

    def __init__(self, tag: str, points: Points, metadata: SummaryMetadata | None, read: Read) -> None:
        super().__init__(tag, points, metadata)
        self._points = points
        self._read = read
        self._values: Array | None = None

    @property
    def values(self) -> Array:
        """The numbers, read-only. Raises ``FormatError`` where a value is no single number."""
        if self._values is None:
            parts = list(self._points.numbers)
            parts.extend((np.array([place]), self._number(place)) for place in self._points.others)
            values = _merge(parts, len(self))
            values.flags.writeable = False
            self._values = values
        return self._values

    def _number(self, place: int) -> Array:
        from tfbundle.tensor_proto import decode_tensor

        value = self._read(place)
        array = decode_tensor(value.tensor)
        if array.size != 1 or array.dtype.hasobject:
            raise FormatError(
                f"{self.tag!r} is a scalar, but its value at step {self.steps[place]} has the shape "
                f"{list(array.shape)} and the dtype {array.dtype}"
            )
        return array.reshape(1)


def _merge(parts: list[tuple[Array, Array]], count: int) -> Array:
    if not parts:
        return np.zeros(count, np.float32)
    dtypes = {numbers.dtype for _, numbers in parts}
    if len(dtypes) == 1:
        dtype = dtypes.pop()
    else:
        dtype = np.dtype(np.float64 if all(_fits_float64(numbers) for _, numbers in parts) else object)
    if len(parts) == 1 and len(parts[0][1]) == count:
        only: Array = parts[0][1].view()
        return only
    values = np.empty(count, dtype)
    for places, numbers in parts:
        values[places] = numbers.tolist() if dtype.hasobject else numbers.astype(dtype)
    return values


def _fits_float64(numbers: Array) -> bool:
    if numbers.dtype.kind == "c":
        return False
    if numbers.dtype.kind in "iu" and numbers.dtype.itemsize == 8 and len(numbers):
        return int(numbers.min()) >= -_EXACT and int(numbers.max()) <= _EXACT
    return True


class ElementSeries(Series, Sequence[Element], Generic[Element]):
    """A series whose elements are read when they are asked for, by index, slice or iteration."""

    def __init__(
        self,
        tag: str,
        points: Points,
        metadata: SummaryMetadata | None,
        read: Read,
        decode: Callable[[Summary.Value], Element],
    ) -> None:
        super().__init__(tag, points, metadata)
        self._read = read
        self._decode = decode

    @overload
    def __getitem__(self, index: int) -> Element: ...
    @overload
    def __getitem__(self, index: slice) -> list[Element]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        try:
            return self._decode(self._read(place))
        except TfBundleError as error:
            raise error.locate(tensor=self.tag) from None
