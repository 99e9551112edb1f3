"""Read a graph, a meta graph or a SavedModel from a path."""

from __future__ import annotations

from tfbundle.errors import UnsupportedError
from tfbundle.graph.graph import Graph
from tfbundle.graph.meta_graph import MetaGraph
from tfbundle.graph.reading import find_graph, find_saved_model, read_graph_message
from tfbundle.graph.saved_model import SavedModel
from tfbundle.proto import GraphDef, MetaGraphDef
from tfbundle.proto import SavedModel as SavedModelProto
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StorageOptions, StrPath, with_options

Loaded = Graph | MetaGraph | SavedModel


def load_graph(
    path: StrPath,
    *,
    storage_options: StorageOptions | None = None,
) -> Graph:
    """Read a graph from a ``GraphDef``, ``MetaGraphDef`` or ``SavedModel`` file, text or binary, of any name.

    ``path`` is the file, the folder of a SavedModel, or the prefix, a member or the folder of a checkpoint that has a
    ``.meta`` file or belongs to a SavedModel. Of a SavedModel with several graphs, the one tagged ``serve`` is read.

    Raises ``MissingFileError`` if the file does not exist, ``UnsupportedError`` if it is of another kind or the choice
    of the graph is ambiguous, and ``FormatError`` if it is damaged or empty.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    path = with_options(path, storage_options)
    loaded = one_graph(load_any(path))
    return loaded.graph if isinstance(loaded, MetaGraph) else loaded


def load_meta_graph(
    path: StrPath,
    *,
    storage_options: StorageOptions | None = None,
) -> MetaGraph:
    """Read a ``MetaGraphDef``, such as ``model.ckpt-1000.meta``, text or binary, or that of a SavedModel.

    ``path`` and the errors are as for ``load_graph``; a ``GraphDef`` raises ``UnsupportedError``.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    path = with_options(path, storage_options)
    loaded = one_graph(load_any(path))
    if isinstance(loaded, Graph):
        raise UnsupportedError(
            f"{loaded} is a GraphDef, without collections and signatures; tfbundle.load_graph reads it",
            path=loaded.path,
        )
    return loaded


def load_saved_model(
    path: StrPath,
    *,
    storage_options: StorageOptions | None = None,
) -> SavedModel:
    """Read a SavedModel from its folder or its file, text or binary.

    Raises ``MissingFileError`` if there is none, ``UnsupportedError`` if the file is of another kind, and
    ``FormatError`` if it is damaged.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    path = with_options(path, storage_options)
    loaded = _wrap(find_saved_model(path))
    if not isinstance(loaded, SavedModel):
        kind, reader = ("GraphDef", "load_graph") if isinstance(loaded, Graph) else ("MetaGraphDef", "load_meta_graph")
        raise UnsupportedError(f"{loaded} is a {kind}; tfbundle.{reader} reads it", path=loaded.path)
    return loaded


def load_any(path: StrPath) -> Loaded:
    """Read the graph, meta graph or SavedModel at a path; raises the errors of ``load_graph``."""
    return _wrap(find_graph(path))


def one_graph(loaded: Loaded) -> Graph | MetaGraph:
    """Return the argument, or for a SavedModel its only graph, or of several the one tagged ``serve``.

    Raises ``UnsupportedError`` if the choice is ambiguous.
    """
    return loaded.meta_graph() if isinstance(loaded, SavedModel) else loaded


def _wrap(file: Location) -> Loaded:
    message, path = read_graph_message(file), file.path
    if isinstance(message, GraphDef):
        return Graph(message, path=path)
    if isinstance(message, MetaGraphDef):
        return MetaGraph(message, path=path)
    assert isinstance(message, SavedModelProto)
    return SavedModel(message, path)
