"""A run: the event files of one folder, as series by kind and tag.

The files are read on first access; ``assembly`` then combines their points into series.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from tfbundle.errors import FormatError
from tfbundle.events import plugins
from tfbundle.events.assembly import Assembly, Stored, position_of
from tfbundle.events.by_name import ByName, Names, choose
from tfbundle.events.file import EventFile, Options, OtherEvent, Replaced
from tfbundle.events.hparams import HParams, decode_hparams
from tfbundle.events.layout import AUDIO, HISTO, IMAGE, SIMPLE_VALUE, TENSOR
from tfbundle.events.messages import AnyMessage, decode_message, read_events
from tfbundle.events.plugins import Audio, Histogram, Images, PrCurve
from tfbundle.events.series import ElementSeries, Origin, ScalarSeries
from tfbundle.events.unusual import UnusualBudget
from tfbundle.formats.records.reader import Loss, Truncation
from tfbundle.notebook import Table, render, safe_view
from tfbundle.proto import Event, GraphDef, MetaGraphDef, RunMetadata, SummaryMetadata
from tfbundle.storage.base import Location
from tfbundle.tensors.arrays import Array

if TYPE_CHECKING:
    from tfbundle.graph.graph import Graph
    from tfbundle.graph.meta_graph import MetaGraph

# The numbers of fields of an Event, and of a Summary.Value.
_WHATS = {
    "file_version": 3,
    "graph_def": 4,
    "session_log": 7,
    "tagged_run_metadata": 8,
    "meta_graph_def": 9,
}
_FORMS = {"simple_value": SIMPLE_VALUE, "image": IMAGE, "histo": HISTO, "audio": AUDIO, "tensor": TENSOR}

# The plugin names under which TensorFlow 2 writes a RunMetadata (tf.summary.trace_export and the Keras callback).
_TRACE_PLUGINS = ("graph_run_metadata", "graph_run_metadata_graph")


class Run:
    """The event files of one folder. ``name`` is its path relative to the opened folder, ``"."`` for that folder."""

    def __init__(
        self, name: str, files: list[Location], options: Options | None = None, unusual: UnusualBudget | None = None
    ) -> None:
        """Store the files, which are read on first access; ``unusual`` is the budget of the log."""
        self.name = name
        self._options = options or Options()
        self._unusual = unusual or UnusualBudget()
        self._files = [self._file(file) for file in files]
        self._lock = threading.RLock()  # Several threads may make the first access.
        self._is_read = False
        self._assembly: Assembly | None = None

    @safe_view
    def _repr_html_(self) -> str:
        facts = {"files": len(self._files), "bytes": self.size}
        if not self._is_read:
            return render(f"Run {self.name}", {**facts, "tags": "not read yet"})
        kinds = ("scalars", "histograms", "images", "audio", "text", "pr_curves", "tensors")
        tags = [(kind, tag) for kind in kinds for tag in getattr(self, kind)]
        return render(f"Run {self.name}", facts, Table(("kind", "tag"), tags, len(tags), "tag"))

    def __repr__(self) -> str:
        return f"<Run {self.name!r}, {len(self._files)} file{'' if len(self._files) == 1 else 's'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickling reads the files again.
        return Run, (self.name, [file.location for file in self._files], self._options)

    # Files and damage.

    @property
    def paths(self) -> list[str]:
        """The event files, in order."""
        return [file.path for file in self._files]

    @property
    def size(self) -> int:
        """The total size of all files in bytes."""
        stats = (file.location.stat() for file in self._files)
        return sum(stat.size for stat in stats if stat is not None)

    @property
    def truncations(self) -> dict[str, Truncation]:
        """The incomplete record at the end of each file that has one, by file path."""
        return {file.path: file.truncation for file in self._read_files() if file.truncation is not None}

    @property
    def losses(self) -> dict[str, list[Loss]]:
        """The data that ``salvage`` left out of each damaged or unreadable file, by file path."""
        return {file.path: file.losses for file in self._read_files() if file.losses}

    @property
    def event_count(self) -> int:
        """The number of events in the files, without those that ``salvage`` left out."""
        return sum(file.count - sum(loss.offset < file.position for loss in file.losses) for file in self._read_files())

    def load(self, progress: Callable[[int], None] | None = None) -> None:
        """Read the files now, unless they have already been read.

        ``progress`` is called repeatedly with the number of bytes read since its last call.
        """
        with self._lock:
            if not self._is_read:
                self._read_all(progress)

    # Series.

    @property
    def scalars(self) -> ByName[ScalarSeries]:
        """Numbers: ``simple_value``, and tensors of the scalars plugin."""
        return self._assemble().series(plugins.SCALARS)

    @property
    def histograms(self) -> ByName[ElementSeries[Histogram]]:
        """Histograms, with edges and counts in float64."""
        return self._assemble().series(plugins.HISTOGRAMS)

    @property
    def images(self) -> ByName[ElementSeries[Images]]:
        """Images in encoded form; ``decode()`` returns the pixels."""
        return self._assemble().series(plugins.IMAGES)

    @property
    def audio(self) -> ByName[ElementSeries[Audio]]:
        """Audio clips in encoded form."""
        return self._assemble().series(plugins.AUDIO)

    @property
    def text(self) -> ByName[ElementSeries[Array]]:
        """Text: ``object`` arrays of ``str``."""
        return self._assemble().series(plugins.TEXT)

    @property
    def pr_curves(self) -> ByName[ElementSeries[PrCurve]]:
        """Precision and recall at thresholds from 0 to 1."""
        return self._assemble().series(plugins.PR_CURVES)

    @property
    def tensors(self) -> ByName[ElementSeries[Array]]:
        """All other tensors, of any dtype and shape."""
        return self._assemble().series(plugins.TENSORS)

    @property
    def metadata(self) -> dict[str, SummaryMetadata]:
        """The metadata of each tag that has any, as attached to its first value."""
        return dict(self._assemble().metadata)

    # Single objects.

    @property
    def graph(self) -> Graph | None:
        """The last graph of the run, or else the graph of the last meta graph."""
        from tfbundle.graph.graph import Graph

        found = self._last_event("graph_def")
        if found is not None:
            event, path = found
            return Graph(decode_message(GraphDef, event.graph_def), path=path)
        meta_graph = self.meta_graph
        return meta_graph.graph if meta_graph is not None and meta_graph.proto.HasField("graph_def") else None

    @property
    def meta_graph(self) -> MetaGraph | None:
        """The last meta graph of the run."""
        from tfbundle.graph.meta_graph import MetaGraph

        found = self._last_event("meta_graph_def")
        if found is None:
            return None
        event, path = found
        return MetaGraph(decode_message(MetaGraphDef, event.meta_graph_def), path=path)

    @property
    def run_metadata(self) -> dict[str, RunMetadata]:
        """Times and memory use of single steps, and traces of TensorFlow 2, by the names given when they were saved."""
        found = {}
        for _, file, other in self.others("tagged_run_metadata"):
            event = file.event(other)
            found[event.tagged_run_metadata.tag] = decode_message(RunMetadata, event.tagged_run_metadata.run_metadata)
        found.update(self._last_messages(RunMetadata, *_TRACE_PLUGINS))
        return found

    @property
    def hparams(self) -> HParams | None:
        """The data of the hparams plugin in this run, or ``None``."""
        return decode_hparams(self.metadata)

    @property
    def custom_scalars(self) -> Any:
        """The last ``Layout`` of charts written for the custom scalars plugin, or ``None``."""
        from tfbundle.proto.plugins.custom_scalar.layout_pb2 import Layout

        return next(iter(self._last_messages(Layout, "custom_scalars").values()), None)

    def _last_messages(self, message: type[AnyMessage], *plugin_names: str) -> dict[str, AnyMessage]:
        """Return the last message of each tag of these plugins, which store one serialized message per tensor."""
        found = {}
        tensors = self.tensors
        for tag, metadata in self.metadata.items():
            series = tensors.get(tag) if metadata.plugin_data.plugin_name in plugin_names else None
            if series:
                value = series[-1]
                if not value.dtype.hasobject or value.size != 1:
                    what = f"{value.dtype} of the shape {list(value.shape)}"
                    raise FormatError(f"{tag!r} should hold one message, not {what}", tensor=tag)
                try:
                    found[tag] = decode_message(message, value.item())
                except FormatError as error:
                    raise error.locate(tensor=tag) from None
        return found

    # Messages.

    def events(self, tag: Names = None) -> Iterator[Event]:
        """Yield the messages of all files in order, or with ``tag`` those that have a value of it. Nothing is purged.

        ``tag`` is a name, a glob, a compiled pattern, a predicate on names, or several of these. Raises ``KeyError``
        if one of them matches no tag of the run.
        """
        tags = None if tag is None else frozenset(choose("tag", self._assemble().tags, tag))
        return self._events(tags)

    def _events(self, tags: frozenset[str] | None) -> Iterator[Event]:
        for file in self._read_files():
            if not file.count:
                continue  # The file may be one that cannot be opened.
            options = self._options
            with read_events(file.location, verify=options.verify, salvage=options.salvage) as events:
                for event in events:
                    if tags is None or any((value.tag or value.node_name) in tags for value in event.summary.value):
                        yield event

    def others(self, what: str) -> list[tuple[int, EventFile, OtherEvent]]:
        """Return the events with this field, which are not summaries, each with its position and its file."""
        return [
            (position_of(number, other.order), file, other)
            for number, file in enumerate(self._read_files())
            for other in file.others
            if other.what == _WHATS[what]
        ]

    def stored(self, field: str) -> ByName[Stored]:
        """Return the values that a field of ``Summary.Value``, such as ``"histo"``, holds by tag; nothing is purged."""
        return self._assemble().stored(_FORMS[field])

    def _last_event(self, what: str) -> tuple[Event, str] | None:
        """Return the last event with this field and the path of its file, or ``None``."""
        if not (found := self.others(what)):
            return None
        _, file, other = found[-1]
        return file.event(other), file.path

    # Reading.

    def refresh(self, found: list[Location]) -> bool:
        """Read appended data and return whether anything changed; ``found`` are the files that exist now."""
        with self._lock:
            known = {file.path: file for file in self._files}
            files = []
            for location in found:
                file = known.get(location.path) or self._file(location)
                file.location = location  # Of a store, an older one may lead to what was listed before.
                files.append(file)
            changed = [file.path for file in files] != self.paths
            self._files = files
            if changed:
                self._forget()
            return (self._is_read and self._read_all()) or changed

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def _assemble(self) -> Assembly:
        with self._lock:
            files = self._read_files()
            if self._assembly is None:
                self._assembly = Assembly(files, partial(Origin, self), purge=self._options.purge)
            return self._assembly

    def _forget(self) -> None:
        """Drop everything derived from an earlier state of the files."""
        self._assembly = None
        for file in self._files:
            file.release()

    def _file(self, location: Location) -> EventFile:
        return EventFile(location, self._options, self._unusual)

    def _read_files(self) -> list[EventFile]:
        self.load()
        return self._files

    def _read_all(self, progress: Callable[[int], None] | None = None) -> bool:
        changed = False
        for number, file in enumerate(self._files):
            try:
                changed |= file.read(progress)
            except Replaced:
                self._files[number] = fresh = self._file(file.location)
                changed = True
                self._read_fresh(number, fresh)
            except BaseException:
                # The part of a damaged file that was read must not pass for the whole file.
                self._files[number] = self._file(file.location)
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
            self._files[number] = self._file(file.location)
            self._is_read = False
            raise
