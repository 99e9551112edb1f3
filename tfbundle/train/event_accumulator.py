"""TensorBoard's ``EventAccumulator``: the contents of the event files of one run, by kind and tag.

::

    accumulator = EventAccumulator("run/").Reload()
    for event in accumulator.Scalars("loss"):
        event.wall_time, event.step, event.value

It is a face of ``tfbundle.open_events``, which gives the same, and more, as numpy arrays. The points of a run, by the
field that stores them, are sampled by index (``reservoir``) after TensorBoard's purge (``orphans``), and become the
events of ``event_values``. One thing is not among them: how a tensor of a single number was encoded, because its series
has the number. ``Tensors`` therefore takes these from the run's messages.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from tfbundle.errors import FormatError
from tfbundle.events.assembly import Stored
from tfbundle.events.log import EventLog, open_events
from tfbundle.events.messages import decode_message
from tfbundle.events.run import Run
from tfbundle.proto import GraphDef, MetaGraphDef, RunMetadata, SummaryMetadata, TensorProto
from tfbundle.storage.locations import StrPath, locate
from tfbundle.train.event_values import (
    AudioEvent,
    CompressedHistogramEvent,
    HistogramEvent,
    ImageEvent,
    ScalarEvent,
    TensorEvent,
    audio_events,
    compressed_events,
    histogram_events,
    image_events,
    read_value,
    scalar_events,
    time_and_step,
)
from tfbundle.train.orphans import Orphans, parse_version
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

_ROOT = "."  # The name of the run in the path that was opened.

# How many values of a tag are kept, by kind; 0 for all.
DEFAULT_SIZE_GUIDANCE = {COMPRESSED_HISTOGRAMS: 500, IMAGES: 4, AUDIO: 4, SCALARS: 10000, HISTOGRAMS: 1, TENSORS: 10}
STORE_EVERYTHING_SIZE_GUIDANCE = dict.fromkeys(DEFAULT_SIZE_GUIDANCE, 0)

# Multiples of half a standard deviation of a normal distribution, in hundredths of a percent.
NORMAL_HISTOGRAM_BPS = (0, 668, 1587, 3085, 5000, 6915, 8413, 9332, 10000)


class EventAccumulator:
    """The values of one event file, or of those of one folder, without the folders below it.

    It differs from TensorBoard's in this: damage raises ``ChecksumError`` or ``FormatError``, where TensorBoard stops
    reading silently; ``Reload`` also reads what was appended to files before the last one; compressed files are read,
    too; a missing folder is a ``MissingFileError``; there are no assets of plugins. Everything but numbers is read from
    the files when it is requested, so that they must still exist then.
    """

    def __init__(
        self,
        path: StrPath,
        size_guidance: Mapping[str, int] | None = None,
        compression_bps: Sequence[float] = NORMAL_HISTOGRAM_BPS,
        purge_orphaned_data: bool = True,
    ) -> None:
        """Note the path, which ``Reload`` reads.

        ``size_guidance`` has the number of values of a tag to keep, by kind, as in ``DEFAULT_SIZE_GUIDANCE``; 0 keeps
        all. ``compression_bps`` are the points of ``CompressedHistograms``. With ``purge_orphaned_data`` a restart of
        the program drops the values that an earlier start wrote from the same step on. Raises ``ValueError`` for an
        empty path.
        """
        if not path:
            raise ValueError("there is no path of event files")
        sizes = {**DEFAULT_SIZE_GUIDANCE, **(size_guidance or {})}
        self._location = locate(path)
        self.path = self._location.path
        self.scalars = Reservoir(sizes[SCALARS], scalar_events)
        self.histograms = Reservoir(sizes[HISTOGRAMS], histogram_events)
        self.compressed_histograms = Reservoir(
            sizes[COMPRESSED_HISTOGRAMS], partial(compressed_events, list(compression_bps)), always_keep_last=False
        )
        self.images = Reservoir(sizes[IMAGES], image_events)
        self.audios = Reservoir(sizes[AUDIO], audio_events)
        self.tensors = Reservoir(sizes[TENSORS], self._tensor_events)
        self.summary_metadata: dict[str, SummaryMetadata] = {}
        self.purge_orphaned_data = purge_orphaned_data
        self.most_recent_step = -1
        self.most_recent_wall_time = -1.0
        self.file_version: float | None = None
        self._run_metadata: dict[str, bytes] = {}
        self._first: float | None = None
        self._writer: str | None = None
        self._log: EventLog | None = None
        self._run = Run(_ROOT, [])  # As of the last Reload.
        self._encoded: dict[tuple[str, int], TensorProto] | None = None
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<EventAccumulator {self.path!r}>"

    def Reload(self) -> EventAccumulator:  # noqa: N802 - as TensorBoard's, like all that follow
        """Read what was written since the last time; return the accumulator."""
        with self._lock:
            if self._log is not None:
                self._log.refresh()
            run = self._open()
            orphans = Orphans(run) if self.purge_orphaned_data else None
            traces = [file.event(other).tagged_run_metadata for _, file, other in run.others("tagged_run_metadata")]
            for field, reservoir in self._reservoirs():
                stored = run.stored(field)
                reservoir.fill(stored, partial(orphans.find, field) if orphans else lambda tag, positions: [])
            self.summary_metadata = run.metadata
            if orphans is not None:
                self.most_recent_step = orphans.most_recent_step
                self.most_recent_wall_time = orphans.most_recent_wall_time
            self._read_head(run)
            self._run_metadata = {trace.tag: trace.run_metadata for trace in traces}
            self._run, self._encoded = run, None
        return self

    def _open(self) -> Run:
        if self._log is None:
            self._log = open_events(self._location)
        run = self._log.runs.get(_ROOT) or Run(_ROOT, [])
        run.load()
        return run

    def _reservoirs(self) -> Iterator[tuple[str, Reservoir[Any]]]:
        yield "simple_value", self.scalars
        yield "histo", self.histograms
        yield "histo", self.compressed_histograms
        yield "image", self.images
        yield "audio", self.audios
        yield "tensor", self.tensors

    def Tags(self) -> dict[str, Any]:  # noqa: N802
        """Return the tags of each kind, and whether there is a graph and a meta graph."""
        return {
            IMAGES: self.images.Keys(),
            AUDIO: self.audios.Keys(),
            HISTOGRAMS: self.histograms.Keys(),
            SCALARS: self.scalars.Keys(),
            COMPRESSED_HISTOGRAMS: self.compressed_histograms.Keys(),
            TENSORS: self.tensors.Keys(),
            GRAPH: bool(self._run.others("graph_def") or self._run.others("meta_graph_def")),
            META_GRAPH: bool(self._run.others("meta_graph_def")),
            RUN_METADATA: list(self._run_metadata),
        }

    def Scalars(self, tag: str) -> list[ScalarEvent]:  # noqa: N802
        """Return numbers written as ``simple_value``; raises ``KeyError`` for a tag without any."""
        return self.scalars.Items(tag)

    def Histograms(self, tag: str) -> list[HistogramEvent]:  # noqa: N802
        """Return histograms; raises ``KeyError`` for a tag without any."""
        return self.histograms.Items(tag)

    def CompressedHistograms(self, tag: str) -> list[CompressedHistogramEvent]:  # noqa: N802
        """Return histograms as values at ``compression_bps``; raises ``KeyError`` for a tag without any."""
        return self.compressed_histograms.Items(tag)

    def Images(self, tag: str) -> list[ImageEvent]:  # noqa: N802
        """Return images; raises ``KeyError`` for a tag without any."""
        return self.images.Items(tag)

    def Audio(self, tag: str) -> list[AudioEvent]:  # noqa: N802
        """Return audio clips; raises ``KeyError`` for a tag without any."""
        return self.audios.Items(tag)

    def Tensors(self, tag: str) -> list[TensorEvent]:  # noqa: N802
        """Return tensors, which TensorFlow 2 writes for every kind; raises ``KeyError`` for a tag without any."""
        with self._lock:
            return self.tensors.Items(tag)

    def Graph(self) -> GraphDef:  # noqa: N802
        """Return the graph, or that of the meta graph; raises ``ValueError`` if there is neither."""
        if self._run.others("graph_def"):
            graph = self._run.graph
        else:
            meta_graph = self._run.meta_graph
            graph = meta_graph.graph if meta_graph is not None else None
        if graph is None:
            raise ValueError(f"there is no graph in {self.path}")
        return graph.proto

    def MetaGraph(self) -> MetaGraphDef:  # noqa: N802
        """Return the meta graph; raises ``ValueError`` if there is none."""
        meta_graph = self._run.meta_graph
        if meta_graph is None:
            raise ValueError(f"there is no meta graph in {self.path}")
        return meta_graph.proto

    def RunMetadata(self, tag: str) -> RunMetadata:  # noqa: N802
        """Return the times and memory of one step; raises ``ValueError`` for a tag without any."""
        if tag not in self._run_metadata:
            raise ValueError(f"there is no run metadata of the tag {tag!r}")
        return decode_message(RunMetadata, self._run_metadata[tag])

    def SummaryMetadata(self, tag: str) -> SummaryMetadata:  # noqa: N802
        """Return the metadata of the first value of a tag; raises ``KeyError`` for a tag without metadata."""
        return self.summary_metadata[tag]

    def PluginTagToContent(self, plugin_name: str) -> dict[str, bytes]:  # noqa: N802
        """Return the content that a plugin stored with each of its tags; raises ``KeyError`` for an unknown plugin."""
        plugins = {tag: metadata.plugin_data for tag, metadata in self.summary_metadata.items()}
        found = {tag: plugin.content for tag, plugin in plugins.items() if plugin.plugin_name == plugin_name}
        if not plugin_name or not found:
            raise KeyError(f"there is nothing of the plugin {plugin_name!r}")
        return found

    def FirstEventTimestamp(self) -> float:  # noqa: N802
        """Return when the first event was written, in seconds since 1970; raises ``ValueError`` if there is none."""
        with self._lock:
            if self._first is None:
                self._read_head(self._open())
            if self._first is None:
                raise ValueError(f"there is no event in {self.path}")
            return self._first

    def GetSourceWriter(self) -> str | None:  # noqa: N802
        """Return the name of the program that wrote the last file, if the first events of a file state it."""
        with self._lock:
            if self._writer is None:
                self._read_head(self._open())
            return self._writer

    def _read_head(self, run: Run) -> None:
        events = [file.event(other) for _, file, other in run.others("file_version")]
        self.file_version = parse_version(events[-1].file_version) if events else None
        if (first := next(run.events(), None)) is not None:
            self._first = first.wall_time
            stated = [event.source_metadata for event in (first, *events) if event.HasField("source_metadata")]
            self._writer = (stated[-1].writer or None) if stated else None

    def _tensor_events(self, tag: str, stored: Stored, kept: list[int]) -> list[TensorEvent]:
        others = set(stored.points.others)
        if self._encoded is None and not others.issuperset(kept):
            self._encoded = self._read_encoded()
        encoded = self._encoded or {}
        events = []
        for index in kept:
            proto = read_value(tag, stored, index).tensor if index in others else encoded.get((tag, index))
            if proto is None:
                raise FormatError(f"{self.path} was overwritten after it was read; call Reload()", path=self.path)
            events.append(TensorEvent(*time_and_step(stored, index), proto))
        return events

    def _read_encoded(self) -> dict[tuple[str, int], TensorProto]:
        """Return the tensors of single numbers that the samples have, by tag and index, in one pass."""
        missing: set[tuple[str, int]] = set()
        for tag in self.tensors.Keys():
            stored, kept = self.tensors.sample(tag)
            missing.update((tag, index) for index in set(kept).difference(stored.points.others))
        found = {}
        seen: Counter[str] = Counter()
        for event in islice(self._run.events(), self._run.event_count):
            for value in event.summary.value:
                if value.WhichOneof("value") == "tensor":
                    tag = value.tag or value.node_name
                    key = tag, seen[tag]
                    seen[tag] += 1
                    if key in missing:
                        # A copy, for a message keeps all of its event in memory.
                        found[key] = TensorProto()
                        found[key].CopyFrom(value.tensor)
        return found
