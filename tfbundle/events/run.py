"""A run: the event files of one folder, as series by kind and tag.

The files are gone through when something is first asked for. Points of several files follow each other in the order of
the files; ``position`` says where a point stands in that order.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from tfbundle.errors import FormatError
from tfbundle.events import plugins
from tfbundle.events.file import EventFile, Replaced
from tfbundle.events.hparams import HParams, decode_hparams
from tfbundle.events.layout import AUDIO, HISTO, IMAGE, SIMPLE_VALUE, TENSOR
from tfbundle.events.messages import read_events
from tfbundle.events.plugins import Audio, Histogram, Images, PrCurve
from tfbundle.events.points import Array, Column, Kind, Place
from tfbundle.events.purge import Purge, find_purges, kept_by
from tfbundle.events.series import ElementSeries, Points, ScalarSeries, Series
from tfbundle.formats.tfrecord import Loss, Truncation
from tfbundle.proto import DataClass, Event, GraphDef, MetaGraphDef, RunMetadata, Summary, SummaryMetadata
from tfbundle.storage import ByteSource

# Positions put the number of the file above the place in it.
_FILE_SHIFT = 48
_PLACE = (1 << _FILE_SHIFT) - 1

_WHATS = {
    "file_version": 3,
    "graph_def": 4,
    "log_message": 6,
    "session_log": 7,
    "tagged_run_metadata": 8,
    "meta_graph_def": 9,
}
_OLD_FORMS = {
    SIMPLE_VALUE: plugins.SCALARS,
    HISTO: plugins.HISTOGRAMS,
    IMAGE: plugins.IMAGES,
    AUDIO: plugins.AUDIO,
}

AnySeries = TypeVar("AnySeries", bound=Series)
AnyMessage = TypeVar("AnyMessage", bound=Message)


class _Stretch(NamedTuple):
    """Points of one tag in one file, the ``number``th of the run."""

    number: int
    file: EventFile
    kind: Kind
    column: Column


class SeriesByTag(Mapping[str, AnySeries], Generic[AnySeries]):
    """Series by tag, in the order in which the tags first appear; each one is made when it is asked for."""

    def __init__(self, tags: list[str], make: Callable[[str], AnySeries]) -> None:
        self._tags = dict.fromkeys(tags)
        self._make = make
        self._made: dict[str, AnySeries] = {}

    def __getitem__(self, tag: str) -> AnySeries:
        if tag not in self._made:
            if tag not in self._tags:
                close = difflib.get_close_matches(tag, self._tags, 3)
                raise KeyError(f"no tag {tag!r}" + (f"; there is {', '.join(map(repr, close))}" if close else ""))
            self._made[tag] = self._make(tag)
        return self._made[tag]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tags)

    def __len__(self) -> int:
        return len(self._tags)

    def __repr__(self) -> str:
        return f"<{len(self)} tags: {', '.join(self._tags)}>"


class Run:
    """The event files of one folder. ``name`` is the folder below the one that was opened, ``"."`` for that itself."""

    def __init__(self, name: str, paths: list[str], *, purge: bool = False, salvage: bool = False) -> None:
        self.name = name
        self._purge = purge
        self._salvage = salvage
        self._files = [EventFile(path, salvage=salvage) for path in paths]
        self._sources: dict[str, ByteSource] = {}
        self._is_read = False
        self._closed = False
        self._cache: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Run {self.name!r}, {len(self._files)} files>"

    # What a run is made of.

    @property
    def paths(self) -> list[str]:
        """The event files, in order."""
        return [file.path for file in self._files]

    @property
    def truncations(self) -> dict[str, Truncation]:
        """The half-written record at the end of each file that has one, by the file's path."""
        return {file.path: file.truncation for file in self._read_files() if file.truncation is not None}

    @property
    def losses(self) -> dict[str, list[Loss]]:
        """What ``salvage`` left out of each damaged file, by the file's path."""
        return {file.path: file.losses for file in self._read_files() if file.losses}

    @property
    def event_count(self) -> int:
        """How many events the files have."""
        return sum(file.count for file in self._read_files())

    def load(self, progress: Callable[[int], None] | None = None) -> None:
        """Go through the files now, if that was not done; ``progress`` is told how many bytes were, again and again."""
        if not self._is_read:
            self._read_all(progress)

    # Series.

    @property
    def scalars(self) -> SeriesByTag[ScalarSeries]:
        """Numbers: ``simple_value``, and tensors of the scalars plugin."""
        return self._series(plugins.SCALARS)

    @property
    def histograms(self) -> SeriesByTag[ElementSeries[Histogram]]:
        return self._series(plugins.HISTOGRAMS)

    @property
    def images(self) -> SeriesByTag[ElementSeries[Images]]:
        return self._series(plugins.IMAGES)

    @property
    def audio(self) -> SeriesByTag[ElementSeries[Audio]]:
        return self._series(plugins.AUDIO)

    @property
    def text(self) -> SeriesByTag[ElementSeries[Array]]:
        return self._series(plugins.TEXT)

    @property
    def pr_curves(self) -> SeriesByTag[ElementSeries[PrCurve]]:
        return self._series(plugins.PR_CURVES)

    @property
    def tensors(self) -> SeriesByTag[ElementSeries[Array]]:
        """Every tensor of any dtype and shape that is none of the above."""
        return self._series(plugins.TENSORS)

    @property
    def metadata(self) -> dict[str, SummaryMetadata]:
        """The metadata of each tag that has any: what stands on its first value."""
        return {tag: metadata for tag in self._index() if (metadata := self._metadata(tag)) is not None}

    # Single things.

    @property
    def graph(self) -> GraphDef | None:
        """The last graph of the run; without one, the graph of the last meta graph."""
        data = [event.graph_def for _, event in self.other_events(("graph_def",))]
        if data:
            return _parse(GraphDef, data[-1])
        meta_graph = self.meta_graph
        return meta_graph.graph_def if meta_graph is not None and meta_graph.HasField("graph_def") else None

    @property
    def meta_graph(self) -> MetaGraphDef | None:
        """The last meta graph of the run."""
        data = [event.meta_graph_def for _, event in self.other_events(("meta_graph_def",))]
        return _parse(MetaGraphDef, data[-1]) if data else None

    @property
    def run_metadata(self) -> dict[str, RunMetadata]:
        """Times and memory of single steps, by the names that these were given."""
        found = {}
        for _, event in self.other_events(("tagged_run_metadata",)):
            found[event.tagged_run_metadata.tag] = _parse(RunMetadata, event.tagged_run_metadata.run_metadata)
        return found

    @property
    def hparams(self) -> HParams | None:
        """What the hparams plugin wrote into this run; ``None`` where it did not."""
        return decode_hparams(self.metadata)

    @property
    def custom_scalars(self) -> Any:
        """The ``Layout`` of charts for the custom scalars plugin, the last one written; ``None`` without one."""
        from tfbundle.proto.plugins.custom_scalar.layout_pb2 import Layout

        for tag, metadata in self.metadata.items():
            if metadata.plugin_data.plugin_name == "custom_scalars" and tag in self.tensors:
                return _parse(Layout, self.tensors[tag][-1].ravel()[0])
        return None

    # Messages.

    def events(self, tag: str | None = None) -> Iterator[Event]:
        """The messages of all files in order; with ``tag``, those that have a value of it. Nothing is purged."""
        for _, event in self.positioned_events():
            if tag is None or any(value.tag == tag for value in event.summary.value):
                yield event

    def positioned_events(self) -> Iterator[tuple[int, Event]]:
        """All events, each with a position that grows from one to the next."""
        for number, file in enumerate(self._read_files()):
            with read_events(file.path, salvage=self._salvage) as events:
                for event in events:
                    yield number << _FILE_SHIFT | events.offset, event

    def other_events(self, whats: tuple[str, ...]) -> Iterator[tuple[int, Event]]:
        """The events that hold one of these fields, which are no summaries, each with its position."""
        numbers = {_WHATS[what] for what in whats}
        for number, file in enumerate(self._read_files()):
            for other in file.others:
                if other.what in numbers:
                    yield number << _FILE_SHIFT | other.order, file.event(self._source(file), other)

    @property
    def first_is_version(self) -> bool:
        """Whether the first event of the run states a file version."""
        return next((file.first_is_version for file in self._read_files() if file.count), True)

    # Reading.

    def refresh(self, paths: list[str]) -> bool:
        """Read what was appended; ``paths`` are the files that are there now. Whether anything changed."""
        known = {file.path: file for file in self._files}
        files = [known.get(path) or EventFile(path, salvage=self._salvage) for path in paths]
        changed = [file.path for file in files] != self.paths
        self._files = files
        if changed:
            self._forget()
        return (self._is_read and self._read_all()) or changed

    def close(self) -> None:
        """Let go of the files."""
        self._closed = True
        self._close_sources()

    def _forget(self) -> None:
        """Let go of what was made of an earlier state of the files."""
        self._cache.clear()
        self._close_sources()

    def _close_sources(self) -> None:
        for source in self._sources.values():
            source.close()
        self._sources.clear()

    def _read_files(self) -> list[EventFile]:
        self.load()
        return self._files

    def _read_all(self, progress: Callable[[int], None] | None = None) -> bool:
        changed = False
        for number, file in enumerate(self._files):
            try:
                changed |= file.read(progress)
            except Replaced:
                self._files[number] = fresh = EventFile(file.path, salvage=self._salvage)
                changed = True
                self._read_fresh(number, fresh)
            except BaseException:
                # What was read of a damaged file so far must not be taken for the file.
                self._files[number] = EventFile(file.path, salvage=self._salvage)
                self._is_read = False
                raise
        if changed:
            self._forget()
        self._is_read = True
        return changed

    def _read_fresh(self, number: int, file: EventFile) -> None:
        try:
            file.read()
        except BaseException:
            self._files[number] = EventFile(file.path, salvage=self._salvage)
            self._is_read = False
            raise

    def _source(self, file: EventFile) -> ByteSource:
        if self._closed:
            raise ValueError(f"run {self.name!r} is closed; read before close(), or open it again")
        if file.path not in self._sources:
            self._sources[file.path] = ByteSource(file.path)
        return self._sources[file.path]

    # From files to series.

    def _index(self) -> dict[str, list[_Stretch]]:
        """The points of each tag, file by file."""
        files = self._read_files()
        if "index" not in self._cache:
            index: defaultdict[str, list[_Stretch]] = defaultdict(list)
            for number, file in enumerate(files):
                for tag, points in file.tags.items():
                    name = _name(tag, file.path)
                    index[name].extend(
                        _Stretch(number, file, kind, column) for kind, column in points.columns().items()
                    )
            first = {
                tag: min((s.number, int(s.column.order[0])) for s in stretches) for tag, stretches in index.items()
            }
            self._cache["index"] = dict(sorted(index.items(), key=lambda item: first[item[0]]))
        found: dict[str, list[_Stretch]] = self._cache["index"]
        return found

    def _metadata(self, tag: str) -> SummaryMetadata | None:
        for file in self._files:
            points = file.tags.get(tag.encode())
            if points is not None and points.metadata is not None:
                return _parse(SummaryMetadata, points.metadata[1])
        return None

    def _kind_of(self, tag: str, form: int) -> str | None:
        """The kind of series that a value of a tag belongs to."""
        if form != TENSOR:
            return _OLD_FORMS.get(form)
        metadata = self._metadata(tag)
        if metadata is None:
            return plugins.TENSORS
        name = metadata.plugin_data.plugin_name
        if name in plugins.KINDS:
            return name
        return plugins.SCALARS if metadata.data_class == DataClass.DATA_CLASS_SCALAR else plugins.TENSORS

    def _series(self, kind: str) -> SeriesByTag[Any]:
        index = self._index()
        if kind not in self._cache:
            for one in plugins.KINDS:
                self._cache[one] = {}
            for tag, stretches in index.items():
                kinds = {form: self._kind_of(tag, form) for form in {stretch.kind[0] for stretch in stretches}}
                for stretch in stretches:
                    found = kinds[stretch.kind[0]]
                    if found is not None:
                        self._cache[found].setdefault(tag, []).append(stretch)
            for one in plugins.KINDS:
                self._cache[one] = self._by_tag(one, self._cache[one])
        series: SeriesByTag[Any] = self._cache[kind]
        return series

    def _by_tag(self, kind: str, stretches: dict[str, list[_Stretch]]) -> SeriesByTag[Any]:
        return SeriesByTag(list(stretches), lambda tag: self._make(kind, tag, stretches[tag]))

    def _purges(self) -> list[Purge]:
        if "purges" not in self._cache:
            self._cache["purges"] = find_purges(self) if self._purge else []
        purges: list[Purge] = self._cache["purges"]
        return purges

    def _make(self, kind: str, tag: str, stretches: list[_Stretch]) -> Series:
        positions = np.concatenate([s.column.order + (s.number << _FILE_SHIFT) for s in stretches])
        steps = np.concatenate([s.column.steps for s in stretches])
        walls = np.concatenate([s.column.walls for s in stretches])
        order = np.argsort(positions, kind="stable")
        kept = kept_by(self._purges(), tag, positions[order], steps[order])
        if kept is not None:
            order = order[kept]
        place = np.full(len(positions), -1)
        place[order] = np.arange(len(order))
        numbers: list[tuple[Array, Array]] = []
        lazy: dict[int, tuple[_Stretch, int]] = {}
        start = 0
        for stretch in stretches:
            count = len(stretch.column.order)
            places = place[start : start + count]
            here = np.flatnonzero(places >= 0)
            start += count
            if stretch.column.numbers is not None:
                numbers.append((places[here], stretch.column.numbers[here]))
            if stretch.column.numbers is None or kind != plugins.SCALARS:
                lazy.update(zip(places[here].tolist(), ((stretch, row) for row in here.tolist()), strict=True))
        others = sorted(p for p in lazy if lazy[p][0].column.numbers is None)
        steps, walls = steps[order], walls[order]
        steps.flags.writeable = walls.flags.writeable = False
        points = Points(steps, walls, numbers, others)

        def read(place: int) -> Summary.Value:
            return self._read_value(*lazy[place])

        metadata = self._metadata(tag)
        if kind == plugins.SCALARS:
            return ScalarSeries(tag, points, metadata, read)
        return ElementSeries(tag, points, metadata, read, plugins.DECODERS[kind])

    def _read_value(self, stretch: _Stretch, row: int) -> Summary.Value:
        column = stretch.column
        if column.numbers is not None:
            return plugins.encode_number(column.numbers[row])
        if column.places is None:
            raise ValueError("points without numbers have places")
        place = Place(*column.places[row].tolist())
        data = stretch.file.value_bytes(self._source(stretch.file), int(column.order[row]), place)
        return _parse(Summary.Value, data)


def _name(tag: bytes, path: str) -> str:
    try:
        return tag.decode()
    except UnicodeDecodeError:
        raise FormatError(f"{path} has the tag {tag!r}, which is not UTF-8", path=path) from None


def _parse(message: type[AnyMessage], data: bytes) -> AnyMessage:
    try:
        return message.FromString(data)
    except DecodeError:
        raise FormatError(f"the bytes are no {message.DESCRIPTOR.name}") from None
