"""Load a graph from any source: a graph file, a SavedModel, a checkpoint, or the events of a run.

Graph files are tried first, so that the code for events is loaded only if there is none. A program that writes
summaries may also write its graph to them. The graph of a run is the last of the first kind that exists::

    meta_graph_def         TensorFlow 1: a MetaGraphDef, which has more information than its graph
    graph_def              TensorFlow 1, and tf.summary.graph: a GraphDef
    tagged RunMetadata     tf.summary.trace_export, Keras: the graphs of all functions that ran; several are joined as
                           in TensorBoard, under the scopes graph_1, graph_2, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfbundle.checkpoint.find.names import scan_folder
from tfbundle.errors import MissingFileError, UnsupportedError
from tfbundle.graph.graph import Graph
from tfbundle.graph.loading import Loaded, load_any
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.identification.names import is_event_file_name
from tfbundle.proto import GraphDef
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StrPath, locate

if TYPE_CHECKING:
    from tfbundle.events.run import Run

# The name of a run in the folder itself.
_ROOT = "."
# All files of a run are read to find its graph.
_MOST_RUNS = 100
# At most so many runs are listed in a message.
_MOST_LISTED = 10


def load_any_graph(path: StrPath) -> Loaded:
    """Return the graph at ``path``: any path that ``load_graph`` accepts, an event file, or a run's folder.

    Of several runs below a folder, the run in the folder itself is preferred, or else the only one that has a graph.
    Raises the errors of ``load_graph``, and ``UnsupportedError`` if several runs have a graph.
    """
    location = locate(path)
    if location.is_file() and _is_event_file(location):
        return _find_in_runs(location, None)
    try:
        return load_any(location)
    except MissingFileError as error:
        if not location.is_folder():
            raise
        return _find_in_runs(location, error)


def _is_event_file(file: Location) -> bool:
    kind = kind_of(file)
    return kind is FileKind.EVENTS or (
        is_event_file_name(file.name) and kind in (FileKind.TFRECORD, FileKind.EMPTY, FileKind.GZIP, FileKind.UNKNOWN)
    )


def _find_in_runs(location: Location, error: MissingFileError | None) -> Loaded:
    """Return the graph in the event files at a path; ``error`` is the reason why other files have none."""
    from tfbundle.events.log import open_events

    # Damage elsewhere in a file must not prevent reading its graph, which has a separate checksum.
    with open_events(location, salvage=True) as log:
        if error is not None and not log.runs:
            raise error
        if len(log.runs) > _MOST_RUNS:
            raise MissingFileError(
                f"there are {len(log.runs)} runs below {location}; pass the folder of one", path=location.path
            )
        graphs: dict[str, Loaded] = {}
        for name, run in log.runs.items():
            graph = _graph_of(run)
            if graph is not None and name == _ROOT:
                return graph
            if graph is not None:
                graphs[name] = graph
        damaged = [path for run in log.runs.values() for path in run.losses]
    if len(graphs) == 1:
        return next(iter(graphs.values()))
    if graphs:
        names = ", ".join(list(graphs)[:_MOST_LISTED])
        raise UnsupportedError(
            f"{len(graphs)} runs below {location} have a graph; pass the folder of one of them: {names}",
            path=location.path,
        )
    state = f" ({damaged[0]} is damaged)" if damaged else ""
    if error is None:
        message = f"{location} is an event file without a graph{state}; tfbundle.open_events reads it"
        raise UnsupportedError(message, path=location.path)
    there = scan_folder(location)
    if there.v1 or there.v2:
        raise error
    raise MissingFileError(
        f"there is no graph in {location}: its event files contain none{state}; tfbundle.open_events reads them",
        path=location.path,
    )


def _graph_of(run: Run) -> Loaded | None:
    meta = run.meta_graph
    if meta is not None and meta.proto.HasField("graph_def"):
        return meta
    graph = run.graph
    if graph is not None:
        return graph
    for trace in reversed(run.run_metadata.values()):
        traced = [functions.pre_optimization_graph for functions in trace.function_graphs]
        if any(proto.node for proto in traced):
            return Graph(traced[0] if len(traced) == 1 else _join(traced), path=run.paths[-1])
    return None


def _join(protos: Sequence[GraphDef]) -> GraphDef:
    """Return one graph with the nodes of several, each under a separate scope."""
    joined = GraphDef()
    joined.versions.CopyFrom(protos[0].versions)
    functions = set()
    for number, proto in enumerate(protos, 1):
        scope = f"graph_{number}/"
        for node in proto.node:
            added = joined.node.add()
            added.CopyFrom(node)
            added.name = scope + node.name
            added.input[:] = [f"^{scope}{name[1:]}" if name.startswith("^") else scope + name for name in node.input]
        for function in proto.library.function:
            if function.signature.name not in functions:
                functions.add(function.signature.name)
                joined.library.function.add().CopyFrom(function)
    return joined
