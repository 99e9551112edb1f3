"""Combine the points of files into the series of a run.

Each file has its points by tag. Here the points of one tag are joined in the order of the files, and the metadata,
which only the tag's first value may have, determines the plugin of all of them. A ``position`` orders the points of a
run: the high bits are the number of the file, the low bits the place within it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, KeysView, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from tfbundle.errors import FormatError
from tfbundle.events import plugins
from tfbundle.events.by_name import ByName
from tfbundle.events.file import EventFile
from tfbundle.events.layout import AUDIO, HISTO, IMAGE, SIMPLE_VALUE, TENSOR
from tfbundle.events.points import Column, Kind, Place
from tfbundle.events.purge import kept_by_purge
from tfbundle.events.series import ElementSeries, Origin, Points, Read, ScalarSeries
from tfbundle.proto import DataClass, Summary, SummaryMetadata
from tfbundle.tensors.arrays import Array

_FILE_SHIFT = 48

_OLD_FORMS = {
    SIMPLE_VALUE: plugins.SCALARS,
    HISTO: plugins.HISTOGRAMS,
    IMAGE: plugins.IMAGES,
    AUDIO: plugins.AUDIO,
}


def position_of(number: int, order: Any) -> Any:
    """Return the position of the byte ``order`` in the ``number``th file of a run."""
    return (number << _FILE_SHIFT) + order


class Stretch(NamedTuple):
    """Points of one tag in one file, the ``number``th of the run."""

    number: int
    file: EventFile
    kind: Kind
    column: Column


class Stored(NamedTuple):
    """Points of one tag in the order of the files, what reads their values, and where each is in the run.

    ``positions`` (int64) are those that ``position_of`` returns.
    """

    positions: Array
    points: Points
    read: Read


class Assembly:
    """The series of a run, for one state of its files.

    ``stretches`` has the points of each tag, file by file, with the tags in the order of first appearance.
    """

    def __init__(
        self,
        files: list[EventFile],
        origin: Callable[[str, str], Origin],
        *,
        purge: bool,
        known: Mapping[str, SummaryMetadata] | None = None,
    ) -> None:
        """Sort the points of ``files``; ``origin`` is called with the kind and the tag of each series.

        ``known`` is the metadata of tags in parts of the files that were read before, which takes precedence.
        """
        self._origin = origin
        self._files = list(files)
        self._purge = purge
        self._known = known or {}
        self.stretches = self._find_stretches()
        self.metadata = self._find_metadata()
        self._kinds = self._sort_by_kind()
        self._series: dict[str, ByName[Any]] = {}

    @property
    def tags(self) -> KeysView[str]:
        """All tags, in the order of first appearance."""
        return self.stretches.keys()

    def _find_stretches(self) -> dict[str, list[Stretch]]:
        """Return the points of each tag, file by file, with the tags in the order of first appearance."""
        found: defaultdict[str, list[Stretch]] = defaultdict(list)
        for number, file in enumerate(self._files):
            for tag, points in file.tags.items():
                name = tag.decode("utf-8", "surrogateescape")
                found[name].extend(Stretch(number, file, kind, column) for kind, column in points.columns().items())
        first = {tag: min((one.number, int(one.column.order[0])) for one in some) for tag, some in found.items()}
        return dict(sorted(found.items(), key=lambda item: first[item[0]]))

    def _find_metadata(self) -> dict[str, SummaryMetadata]:
        """Return the metadata of the first value of each tag that has any."""
        found = {}
        for tag, stretches in self.stretches.items():
            if tag in self._known:
                found[tag] = self._known[tag]
                continue
            for file in dict.fromkeys(stretch.file for stretch in stretches):
                metadata = file.tags[tag.encode("utf-8", "surrogateescape")].metadata
                if metadata is not None:
                    try:
                        found[tag] = SummaryMetadata.FromString(metadata[1])
                    except DecodeError:
                        raise FormatError(
                            f"the metadata of {tag!r} is not a SummaryMetadata message", path=file.path
                        ) from None
                    break
        return found

    def _sort_by_kind(self) -> dict[str, dict[str, list[Stretch]]]:
        kinds: dict[str, dict[str, list[Stretch]]] = {kind: {} for kind in plugins.KINDS}
        for tag, stretches in self.stretches.items():
            for stretch in stretches:
                kind = self.kind_of(tag, stretch.kind[0])
                if kind is not None:
                    kinds[kind].setdefault(tag, []).append(stretch)
        return kinds

    def kind_of(self, tag: str, form: int) -> str | None:
        """Return the kind of series that a value of a tag belongs to."""
        if form != TENSOR:
            return _OLD_FORMS.get(form)
        metadata = self.metadata.get(tag)
        if metadata is None:
            return plugins.TENSORS
        name = metadata.plugin_data.plugin_name
        if name in plugins.KINDS:
            return name
        return plugins.SCALARS if metadata.data_class == DataClass.DATA_CLASS_SCALAR else plugins.TENSORS

    def series(self, kind: str) -> ByName[Any]:
        """Return all series of a kind."""
        found = self._series.get(kind)
        if found is None:
            stretches = self._kinds[kind]
            found = ByName("tag", stretches, partial(self.make, kind))
            self._series[kind] = found  # Kept, because building the series of many tags takes time.
        return found

    def stored(self, form: int) -> ByName[Stored]:
        """Return the values that one field of ``Summary.Value`` holds, whatever their plugin; nothing is purged.

        ``form`` is the number of the field. The tags are in the order in which they first appear with it.
        """
        found: dict[str, list[Stretch]] = {}
        for tag, stretches in self.stretches.items():
            if chosen := [one for one in stretches if one.kind[0] == form]:
                found[tag] = chosen
        first = {tag: min(position_of(one.number, int(one.column.order[0])) for one in found[tag]) for tag in found}
        return ByName("tag", sorted(found, key=first.__getitem__), lambda tag: _gather(found[tag], purge=False))

    def tags_of(self, kind: str) -> KeysView[str]:
        """Return the tags that have a series of a kind, in the order of first appearance."""
        return self._kinds[kind].keys()

    def make(self, kind: str, tag: str) -> Any:
        """Return a series, which is not kept."""
        _, points, read = _gather(self._kinds[kind][tag], purge=self._purge)
        metadata = self.metadata.get(tag)
        if kind == plugins.SCALARS:
            return ScalarSeries(tag, points, metadata, read)
        return ElementSeries(tag, points, metadata, read, plugins.DECODERS[kind], self._origin(kind, tag))


def _numbers_of(only: Stretch) -> Stored:
    """Return the points of a series of numbers in one file, which are in order there already."""
    column = only.column
    assert column.numbers is not None
    steps, walls = column.steps.view(), column.walls.view()
    steps.flags.writeable = walls.flags.writeable = False
    points = Points(steps, walls, [(np.arange(len(steps)), column.numbers)], [])
    return Stored(position_of(only.number, column.order), points, partial(_read_value, only))


def _gather(stretches: list[Stretch], *, purge: bool) -> Stored:
    """Return the points of one series in the order of the files."""
    if len(stretches) == 1 and not purge and stretches[0].column.numbers is not None:
        return _numbers_of(stretches[0])
    columns = [stretch.column for stretch in stretches]
    positions = np.concatenate([position_of(one.number, one.column.order) for one in stretches])
    steps = _join([column.steps for column in columns])
    walls = _join([column.walls for column in columns])
    order = np.argsort(positions, kind="stable")
    kept = kept_by_purge(steps[order]) if purge else None
    if kept is not None:
        order = order[kept]
    # The stretch from which each point comes, and its row there.
    counts = [len(column.order) for column in columns]
    sources = np.repeat(np.arange(len(stretches), dtype=np.int32), counts)[order]
    rows = order - np.concatenate([[0], np.cumsum(counts)])[sources]
    numbers = []
    others: list[int] = []
    for number, column in enumerate(columns):
        places = np.flatnonzero(sources == number)
        if column.numbers is not None:
            # Each column is in order, so an equal number of points means the same points.
            whole = len(places) == len(column.order)
            numbers.append((places, column.numbers if whole else column.numbers[rows[places]]))
        else:
            others.extend(places.tolist())
    if len(stretches) > 1 or kept is not None:
        steps, walls = steps[order], walls[order]
    else:
        steps, walls = steps.view(), walls.view()
    steps.flags.writeable = walls.flags.writeable = False

    def read(place: int) -> Summary.Value:
        return _read_value(stretches[sources[place]], int(rows[place]))

    return Stored(positions[order], Points(steps, walls, numbers, sorted(others)), read)


def _join(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _read_value(stretch: Stretch, row: int) -> Summary.Value:
    column = stretch.column
    if column.numbers is not None:
        return plugins.encode_number(column.numbers[row])
    if column.places is None:
        raise ValueError("points without numbers require places")
    order = int(column.order[row])
    data = stretch.file.value_bytes(order, Place(*column.places[row].tolist()))
    try:
        return Summary.Value.FromString(data)
    except DecodeError:
        raise FormatError("the bytes are not a Summary.Value message", path=stretch.file.path, offset=order) from None
