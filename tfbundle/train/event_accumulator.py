"""TensorBoard's ``EventAccumulator``: what the event files of one run hold, by kind and tag.

::

    accumulator = EventAccumulator("run/").Reload()
    for event in accumulator.Scalars("loss"):
        event.wall_time, event.step, event.value

``tfbundle.open_events`` gives the same, and more, as numpy arrays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from tfbundle.checkpoint.find.names import is_sidecar
from tfbundle.errors import FormatError
from tfbundle.events.messages import read_events
from tfbundle.formats.message_budget import check_message
from tfbundle.formats.records.tfrecord import RecordIterator
from tfbundle.identification.files import is_event_file_name
from tfbundle.proto import Event, GraphDef, MetaGraphDef, RunMetadata, SessionLog, SummaryMetadata, TensorProto
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StrPath, locate
from tfbundle.train.reservoir import Reservoir

COMPRESSED_HISTOGRAMS = "distributions"
HISTOGRAMS = "histograms"
IMAGES = "images"
AUDIO = "audio"
SCALARS = "scalars"
TENSORS = "tensors"
GRAPH = "graph"
META_GRAPH = "meta_graph"
RUN_METADATA = "run_metadata"

# How many values of a tag are kept, by kind; 0 for all.
DEFAULT_SIZE_GUIDANCE = {COMPRESSED_HISTOGRAMS: 500, IMAGES: 4, AUDIO: 4, SCALARS: 10000, HISTOGRAMS: 1, TENSORS: 10}
STORE_EVERYTHING_SIZE_GUIDANCE = dict.fromkeys(DEFAULT_SIZE_GUIDANCE, 0)

# Where the standard deviations of a normal distribution lie, in hundredths of a percent.
NORMAL_HISTOGRAM_BPS = (0, 668, 1587, 3085, 5000, 6915, 8413, 9332, 10000)

AnyMessage = TypeVar("AnyMessage", bound=Message)


@dataclass(frozen=True)
class ScalarEvent:
    """A number: when it was written, in seconds since 1970, and the training step."""

    wall_time: float
    step: int
    value: float


@dataclass(frozen=True)
class HistogramValue:
    """A histogram: ``bucket`` counts the values up to each ``bucket_limit``."""

    min: float
    max: float
    num: float
    sum: float
    sum_squares: float
    bucket_limit: list[float]
    bucket: list[float]


@dataclass(frozen=True)
class HistogramEvent:
    """A histogram at a step."""

    wall_time: float
    step: int
    histogram_value: HistogramValue


@dataclass(frozen=True)
class CompressedHistogramEvent:
    """The values at some points of a distribution, as pairs of hundredths of a percent and value."""

    wall_time: float
    step: int
    compressed_histogram_values: list[tuple[float, float]]


@dataclass(frozen=True)
class ImageEvent:
    """An image as it is encoded, such as a PNG; width and height in pixels."""

    wall_time: float
    step: int
    encoded_image_string: bytes
    width: int
    height: int


@dataclass(frozen=True)
class AudioEvent:
    """A clip as it is encoded; the rate in hertz, the length in frames."""

    wall_time: float
    step: int
    encoded_audio_string: bytes
    content_type: str
    sample_rate: float
    length_frames: int


@dataclass(frozen=True)
class TensorEvent:
    """A tensor as a message; ``make_ndarray`` makes an array of it."""

    wall_time: float
    step: int
    tensor_proto: TensorProto


class EventAccumulator:
    """The values of one event file, or of those of one folder, without the folders below it.

    It differs from TensorBoard's in this: damage raises ``ChecksumError`` or ``FormatError``, where TensorBoard leaves
    off in silence; files that are compressed are read, too; a folder that is not there is a ``MissingFileError``; there
    are no assets of plugins.
    """

    def __init__(
        self,
        path: StrPath,
        size_guidance: Mapping[str, int] | None = None,
        compression_bps: Sequence[float] = NORMAL_HISTOGRAM_BPS,
        purge_orphaned_data: bool = True,
    ) -> None:
        """Note where the files lie; ``Reload`` reads them.

        ``size_guidance`` says how many values of a tag are kept, by kind, as in ``DEFAULT_SIZE_GUIDANCE``; 0 keeps all.
        ``compression_bps`` are the points of ``CompressedHistograms``. With ``purge_orphaned_data`` a restart of the
        program drops what an earlier one wrote from the same step on. Raises ``ValueError`` for an empty path.
        """
        if not path:
            raise ValueError("there is no path of event files")
        location = locate(path)
        sizes = {**DEFAULT_SIZE_GUIDANCE, **(size_guidance or {})}
        self.path = location.path
        self.scalars: Reservoir[ScalarEvent] = Reservoir(sizes[SCALARS])
        self.histograms: Reservoir[HistogramEvent] = Reservoir(sizes[HISTOGRAMS])
        self.compressed_histograms: Reservoir[HistogramEvent] = Reservoir(
            sizes[COMPRESSED_HISTOGRAMS], always_keep_last=False
        )
        self.images: Reservoir[ImageEvent] = Reservoir(sizes[IMAGES])
        self.audios: Reservoir[AudioEvent] = Reservoir(sizes[AUDIO])
        self.tensors: Reservoir[TensorEvent] = Reservoir(sizes[TENSORS])
        self.summary_metadata: dict[str, SummaryMetadata] = {}
        self.purge_orphaned_data = purge_orphaned_data
        self.most_recent_step = -1
        self.most_recent_wall_time = -1.0
        self.file_version: float | None = None
        self._points = list(compression_bps)
        self._plugins: dict[str, dict[str, bytes]] = {}
        self._graph: bytes | None = None
        self._graph_is_of_meta_graph = False
        self._meta_graph: bytes | None = None
        self._run_metadata: dict[str, bytes] = {}
        self._first: float | None = None
        self._writer: str | None = None
        self._events = _Events(location)
        self._lock = threading.Lock()

    def Reload(self) -> EventAccumulator:  # noqa: N802 - as TensorBoard's, like all that follow
        """Read what was written since the last time; return the accumulator."""
        with self._lock:
            for event in self._events.load():
                self._process(event)
        return self

    def Tags(self) -> dict[str, Any]:  # noqa: N802
        """Return the tags of each kind, and whether there is a graph and a meta graph."""
        return {
            IMAGES: self.images.Keys(),
            AUDIO: self.audios.Keys(),
            HISTOGRAMS: self.histograms.Keys(),
            SCALARS: self.scalars.Keys(),
            COMPRESSED_HISTOGRAMS: self.compressed_histograms.Keys(),
            TENSORS: self.tensors.Keys(),
            GRAPH: self._graph is not None,
            META_GRAPH: self._meta_graph is not None,
            RUN_METADATA: list(self._run_metadata),
        }

    def Scalars(self, tag: str) -> list[ScalarEvent]:  # noqa: N802
        """Return numbers that were written as ``simple_value``; raises ``KeyError`` for a tag without any."""
        return self.scalars.Items(tag)

    def Histograms(self, tag: str) -> list[HistogramEvent]:  # noqa: N802
        """Return histograms; raises ``KeyError`` for a tag without any."""
        return self.histograms.Items(tag)

    def CompressedHistograms(self, tag: str) -> list[CompressedHistogramEvent]:  # noqa: N802
        """Return histograms as values at ``compression_bps``; raises ``KeyError`` for a tag without any."""
        return [
            CompressedHistogramEvent(event.wall_time, event.step, _compress(event.histogram_value, self._points))
            for event in self.compressed_histograms.Items(tag)
        ]

    def Images(self, tag: str) -> list[ImageEvent]:  # noqa: N802
        """Return images; raises ``KeyError`` for a tag without any."""
        return self.images.Items(tag)

    def Audio(self, tag: str) -> list[AudioEvent]:  # noqa: N802
        """Return clips; raises ``KeyError`` for a tag without any."""
        return self.audios.Items(tag)

    def Tensors(self, tag: str) -> list[TensorEvent]:  # noqa: N802
        """Return tensors, which is what TensorFlow 2 writes; raises ``KeyError`` for a tag without any."""
        return self.tensors.Items(tag)

    def Graph(self) -> GraphDef:  # noqa: N802
        """Return the graph, or that of the meta graph; raises ``ValueError`` where there is none."""
        if self._graph is None:
            raise ValueError(f"there is no graph in {self.path}")
        return _decode(GraphDef, self._graph)

    def MetaGraph(self) -> MetaGraphDef:  # noqa: N802
        """Return the meta graph; raises ``ValueError`` where there is none."""
        if self._meta_graph is None:
            raise ValueError(f"there is no meta graph in {self.path}")
        return _decode(MetaGraphDef, self._meta_graph)

    def RunMetadata(self, tag: str) -> RunMetadata:  # noqa: N802
        """Return the times and memory of one step; raises ``ValueError`` where there is nothing of this tag."""
        if tag not in self._run_metadata:
            raise ValueError(f"there is no run metadata of the tag {tag!r}")
        return _decode(RunMetadata, self._run_metadata[tag])

    def SummaryMetadata(self, tag: str) -> SummaryMetadata:  # noqa: N802
        """Return what the first value of a tag says of it; raises ``KeyError`` for a tag without metadata."""
        return self.summary_metadata[tag]

    def PluginTagToContent(self, plugin_name: str) -> dict[str, bytes]:  # noqa: N802
        """Return what a plugin stored with each of its tags; raises ``KeyError`` for one that is not there."""
        if plugin_name not in self._plugins:
            raise KeyError(f"there is nothing of the plugin {plugin_name!r}")
        return self._plugins[plugin_name]

    def FirstEventTimestamp(self) -> float:  # noqa: N802
        """Return when the first event was written, in seconds since 1970; ``ValueError`` where there is none."""
        if self._first is None:
            self._process_one()
        if self._first is None:
            raise ValueError(f"there is no event in {self.path}")
        return self._first

    def GetSourceWriter(self) -> str | None:  # noqa: N802
        """Return the name of the program that wrote the events, where the first one says so."""
        if self._writer is None:
            self._process_one()
        return self._writer

    def _process_one(self) -> None:
        with self._lock:
            for event in self._events.load():
                self._process(event)
                return

    def _process(self, event: Event) -> None:
        if self._first is None:
            self._first = event.wall_time
        if event.HasField("source_metadata"):
            self._writer = event.source_metadata.writer or None
        if event.HasField("file_version"):
            self.file_version = _version(event.file_version)
        if self.purge_orphaned_data:
            self._purge(event)
        what = event.WhichOneof("what")
        if what == "graph_def":
            self._graph, self._graph_is_of_meta_graph = event.graph_def, False
        elif what == "meta_graph_def":
            self._meta_graph = event.meta_graph_def
            if self._graph is None or self._graph_is_of_meta_graph:
                self._graph = _decode(MetaGraphDef, event.meta_graph_def).graph_def.SerializeToString()
                self._graph_is_of_meta_graph = True
        elif what == "tagged_run_metadata":
            self._run_metadata[event.tagged_run_metadata.tag] = event.tagged_run_metadata.run_metadata
        elif what == "summary":
            for value in event.summary.value:
                self._add(event, value)

    def _add(self, event: Event, value: Any) -> None:
        if value.HasField("metadata") and value.tag not in self.summary_metadata:
            self.summary_metadata[value.tag] = value.metadata
            plugin = value.metadata.plugin_data
            if plugin.plugin_name:
                self._plugins.setdefault(plugin.plugin_name, {})[value.tag] = plugin.content
        at = event.wall_time, event.step
        kind = value.WhichOneof("value")
        if kind == "simple_value":
            self.scalars.add(value.tag, ScalarEvent(*at, value.simple_value))
        elif kind == "histo":
            histogram = HistogramEvent(*at, _histogram(value.histo))
            self.histograms.add(value.tag, histogram)
            self.compressed_histograms.add(value.tag, histogram)
        elif kind == "image":
            image = value.image
            self.images.add(value.tag, ImageEvent(*at, image.encoded_image_string, image.width, image.height))
        elif kind == "audio":
            audio = value.audio
            facts = audio.encoded_audio_string, audio.content_type, audio.sample_rate, audio.length_frames
            self.audios.add(value.tag, AudioEvent(*at, *facts))
        elif kind == "tensor":
            self.tensors.add(value.tag or value.node_name, TensorEvent(*at, value.tensor))

    def _purge(self, event: Event) -> None:
        """Drop what a restarted program writes again: all of it where the file says so, else by tags."""

        def is_before(item: Any) -> bool:
            return bool(item.step < event.step)

        kinds = self.scalars, self.histograms, self.compressed_histograms, self.images, self.audios
        filters: list[Callable[..., None]] = [kind.filter for kind in kinds]
        if self.file_version is not None and self.file_version >= 2:
            if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                for drop in filters:
                    drop(is_before)
        elif event.step < self.most_recent_step and event.HasField("summary"):
            for value in event.summary.value:
                for drop in filters:
                    drop(is_before, value.tag)
        else:
            self.most_recent_step, self.most_recent_wall_time = event.step, event.wall_time


class _Events:
    """The events of a file, or of the files of a folder in the order of their names, each of them once."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._is_folder = not is_event_file_name(location.name) or location.is_folder()
        self._name = ""
        self._events: RecordIterator[Event] | None = None

    def load(self) -> Iterator[Event]:
        """Yield the events that were not yielded yet."""
        while True:
            # A generator that is closed half way must not close the file, so there is no "yield from".
            for event in self._events or ():
                yield event
            following = self._following()
            if following is None:
                return
            # What was appended before the next file was begun.
            for event in self._events or ():
                yield event
            self._name = following.name
            self._events = read_events(following)

    def _following(self) -> Location | None:
        if not self._is_folder:
            return self._location if self._events is None else None
        for name in self._location.list().names:
            if name > self._name and is_event_file_name(name) and not is_sidecar(name):
                return self._location.join(name)
        return None


def _version(text: str) -> float:
    try:
        return float(text.rpartition("brain.Event:")[2])
    except ValueError:
        return -1.0


def _histogram(proto: Any) -> HistogramValue:
    return HistogramValue(
        proto.min, proto.max, proto.num, proto.sum, proto.sum_squares, list(proto.bucket_limit), list(proto.bucket)
    )


def _compress(histogram: HistogramValue, points: Sequence[float]) -> list[tuple[float, float]]:
    """Return the value at each point of a distribution, where each bucket is taken for an even one."""
    if not histogram.num:
        return [(point, 0.0) for point in points]
    if len(histogram.bucket) > len(histogram.bucket_limit):
        raise FormatError(
            f"a histogram has {len(histogram.bucket)} buckets, but only {len(histogram.bucket_limit)} limits"
        )
    counts = np.array(histogram.bucket)
    with np.errstate(all="ignore"):
        ends = (counts * points[-1] / (counts.sum() or 1.0)).cumsum()
        starts = np.concatenate([[0.0], ends[:-1]]) if len(ends) else ends
        values = []
        for point in points:
            first = int(np.searchsorted(ends, point, side="right"))
            filled = np.flatnonzero(ends[first:] != starts[first:])
            if not len(filled):
                break
            bucket = first + int(filled[0])
            start, end = starts[bucket], ends[bucket]
            low = max(histogram.bucket_limit[bucket - 1], histogram.min) if bucket and start else histogram.min
            high = min(histogram.bucket_limit[bucket], histogram.max)
            values.append((point, low + (point - start) * float(high - low) / (end - start)))
    return values + [(point, histogram.max) for point in points[len(values) :]]


def _decode(message_class: type[AnyMessage], data: bytes) -> AnyMessage:
    try:
        check_message(data, message_class)
        return message_class.FromString(data)
    except DecodeError:
        raise FormatError(f"the bytes are no {message_class.DESCRIPTOR.name}") from None
