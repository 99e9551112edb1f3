"""The three functions that read a graph from a path, by what they are to give."""

from __future__ import annotations

from tfbundle.errors import UnsupportedError
from tfbundle.graph.graph import Graph
from tfbundle.graph.meta_graph import MetaGraph
from tfbundle.graph.reading import find_graph, find_saved_model, read_graph_message
from tfbundle.graph.saved_model import SavedModel
from tfbundle.proto import GraphDef, MetaGraphDef
from tfbundle.proto import SavedModel as SavedModelProto
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StrPath

Loaded = Graph | MetaGraph | SavedModel


def load_graph(path: StrPath) -> Graph:
    """Read a graph: ``GraphDef``, ``MetaGraphDef`` or ``SavedModel``, as text or binary, whatever the file is called.

    ``path`` is the file, a SavedModel's folder, or the prefix, a member or the folder of a checkpoint that has a
    ``.meta`` or is a SavedModel's. Of a SavedModel with several graphs it is the one that is tagged ``serve``.

    Raises ``MissingFileError`` where there is no such file, ``UnsupportedError`` where it is of another kind or does
    not say which graph is meant, and ``FormatError`` where it is damaged or empty.
    """
    loaded = one_graph(load_any(path))
    return loaded.graph if isinstance(loaded, MetaGraph) else loaded


def load_meta_graph(path: StrPath) -> MetaGraph:
    """Read a ``MetaGraphDef``, such as ``model.ckpt-1000.meta``, as text or binary, or that of a SavedModel.

    ``path`` is what ``load_graph`` takes, and what is raised is the same; a ``GraphDef`` is an ``UnsupportedError``.
    """
    loaded = one_graph(load_any(path))
    if isinstance(loaded, Graph):
        raise UnsupportedError(
            f"{loaded} is a GraphDef, without collections and signatures; tfbundle.load_graph reads it",
            path=loaded.path,
        )
    return loaded


def load_saved_model(path: StrPath) -> SavedModel:
    """Read a SavedModel, given its folder or its file, as text or binary.

    Raises ``MissingFileError`` where there is none, ``UnsupportedError`` where the file is of another kind, and
    ``FormatError`` where it is damaged.
    """
    loaded = _wrap(find_saved_model(path))
    if not isinstance(loaded, SavedModel):
        kind, reader = ("GraphDef", "load_graph") if isinstance(loaded, Graph) else ("MetaGraphDef", "load_meta_graph")
        raise UnsupportedError(f"{loaded} is a {kind}; tfbundle.{reader} reads it", path=loaded.path)
    return loaded


def load_any(path: StrPath) -> Loaded:
    """Read whichever of the three a path means; raises as ``load_graph`` does."""
    return _wrap(find_graph(path))


def one_graph(loaded: Loaded) -> Graph | MetaGraph:
    """Return what was loaded, and of a SavedModel the only graph, or of several the one that is tagged ``serve``.

    Raises ``UnsupportedError`` where a SavedModel does not say which graph is meant.
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
