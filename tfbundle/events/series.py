"""The series of a tag: steps, wall times, and values of one kind.

Numbers are arrays in memory. A series of anything else is a sequence whose elements are read from the file on access;
each is verified against the checksum that was recorded when the file was read.

A pickled scalar series contains its numbers. Any other pickled series contains only its origin, and reads the files
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

import numpy as np

from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.notebook import render, safe_view
from tfbundle.plurals import plural
from tfbundle.printable import escape_name
from tfbundle.proto import Summary, SummaryMetadata
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import cast

if TYPE_CHECKING:
    import matplotlib.axes

Element = TypeVar("Element")

# Above this, not every integer can be represented in float64.
_EXACT = 1 << 53


class Points(NamedTuple):
    """Points of one tag in the order of the files: ``steps`` int64, ``walls`` float64.

    ``numbers`` are the known values, in parts: indices of points, and the numbers there. ``others`` are the indices of
    all other points, whose values must be read.
    """

    steps: Array
    walls: Array
    numbers: list[tuple[Array, Array]]
    others: list[int]


class Origin(NamedTuple):
    """The origin of a series: ``getattr(run, kind)[tag]``."""

    run: Any
    kind: str
    tag: str

    def find(self, steps: Array) -> Any:
        """Return the series again; ``FormatError`` if it no longer has these ``steps``."""
        series = getattr(self.run, self.kind).get(self.tag)
        if series is None or not np.array_equal(series.steps, steps):
            raise FormatError(
                f"{self.tag!r} of run {self.run.name!r} no longer has the points that it had when it was pickled"
            )
        return series


class Series:
    """The base of all series: ``tag``, ``steps`` (int64), ``wall_times`` (float64, seconds since 1970), ``metadata``.

    ``metadata`` is the ``SummaryMetadata`` of the tag's first value, or ``None``; it names the plugin and the title.
    """

    def __init__(self, tag: str, points: Points, metadata: SummaryMetadata | None) -> None:
        self.tag = tag
        self.steps = points.steps
        self.wall_times = points.walls
        self.metadata = metadata

    def __len__(self) -> int:
        return len(self.steps)

    @safe_view
    def _repr_html_(self) -> str:
        title = self.display_name if self.display_name != self.tag else None
        return render(f"{type(self).__name__} {self.tag}", {"title": title, "points": len(self), "steps": self._span()})

    def __repr__(self) -> str:
        span = f", {'steps' if len(self) > 1 else 'step'} {self._span()}" if len(self) else ""
        return f"<{type(self).__name__} {self.tag!r}, {plural(len(self), 'point')}{span}>"

    def _span(self) -> str:
        if len(self) < 2:
            return "".join(map(str, self.steps))
        return f"{self.steps[0]} to {self.steps[-1]}"

    @property
    def display_name(self) -> str:
        """The title that the writer set, or the tag."""
        return (self.metadata.display_name if self.metadata is not None else "") or self.tag

    @property
    def description(self) -> str:
        """The description that the writer set, in Markdown."""
        return self.metadata.summary_description if self.metadata is not None else ""


Read = Callable[[int], Summary.Value]


class ScalarSeries(Series):
    """A series with one number per point: ``values``, in the dtype in which they are stored.

    ``tag``, ``steps`` (int64), ``wall_times`` (float64, seconds since 1970) and ``metadata`` are as for all series.
    If the values of a tag have several dtypes, they are float64, or ``object`` if float64 would lose digits.
    """

    def __init__(self, tag: str, points: Points, metadata: SummaryMetadata | None, read: Read) -> None:
        super().__init__(tag, points, metadata)
        self._source: tuple[Points, Read] | None = (points, read)  # Dropped when the values have been read.
        self._values: Array = np.zeros(0)

    def __getitem__(self, index: Any) -> Any:
        return self.values[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False and dtype is not None and self.values.dtype != dtype:
            raise ValueError(f"values of dtype {self.values.dtype} cannot become {np.dtype(dtype)} without a copy")
        values: Array = self.values if dtype is None else self.values.astype(dtype, copy=False)
        return values.copy() if copy else values

    def __getstate__(self) -> dict[str, Any]:
        _ = self.values
        return vars(self)

    @property
    def values(self) -> Array:
        """The numbers, read-only. Raises ``FormatError`` if a value is not a single number."""
        source = self._source  # Another thread may read the values at the same time.
        if source is not None:
            points, read = source
            parts = list(points.numbers)
            try:
                parts.extend((np.array([place]), self._number(place, read(place))) for place in points.others)
            except TfBundleError as error:
                raise error.locate(tensor=self.tag) from None
            self._values = _merge(parts, len(self))
            self._values.flags.writeable = False
            self._source = None
        return self._values

    def plot(self, *, axes: matplotlib.axes.Axes | None = None, **options: Any) -> matplotlib.axes.Axes:
        """Plot the values over the steps with matplotlib, and return the axes.

        ``axes`` are those to draw on, by default those of the current figure; ``options`` are those of ``Axes.plot``.
        Raises ``UnsupportedError`` if matplotlib is not installed or the values are complex.
        """
        from tfbundle.plots import axes_or_new

        values = self.values
        if values.dtype.kind == "c":
            raise UnsupportedError(f"the values of {self.tag!r} are complex, and have no plot", tensor=self.tag)
        drawn = axes_or_new(axes, "plot")
        drawn.plot(self.steps, cast(values, np.float64), **options)
        drawn.set_xlabel("step")
        drawn.set_ylabel(escape_name(self.display_name), parse_math=False)
        return drawn

    def _number(self, place: int, value: Summary.Value) -> Array:
        from tfbundle.tensors.tensor_proto import decode_tensor

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
        values[places] = numbers.tolist() if dtype.hasobject else cast(numbers, dtype)
    return values


def _fits_float64(numbers: Array) -> bool:
    if numbers.dtype.kind == "c":
        return False
    if numbers.dtype.kind in "iu" and numbers.dtype.itemsize == 8 and len(numbers):
        return int(numbers.min()) >= -_EXACT and int(numbers.max()) <= _EXACT
    return True


class ElementSeries(Series, Sequence[Element], Generic[Element]):
    """A series whose elements are read on access, by index, slice or iteration.

    ``tag``, ``steps`` (int64), ``wall_times`` (float64, seconds since 1970) and ``metadata`` are in memory.
    """

    def __init__(
        self,
        tag: str,
        points: Points,
        metadata: SummaryMetadata | None,
        read: Read,
        decode: Callable[[Summary.Value], Element],
        origin: Origin,
    ) -> None:
        super().__init__(tag, points, metadata)
        self._read = read
        self._decode = decode
        self._origin = origin

    def __reduce__(self) -> tuple[Any, ...]:
        return self._origin.find, (self.steps,)

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
