"""Opening the tensors of a path: those of a checkpoint, or the constants of a frozen graph.

A checkpoint is tried first, so that graph modules are only imported when needed. If there is no checkpoint, or if the
checkpoint of a SavedModel has no variables, the graph is opened, provided that it is frozen.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tfbundle.checkpoint.checkpoint import open_checkpoint
from tfbundle.checkpoint.find.names import Format
from tfbundle.checkpoint.find.saved_models import is_saved_model
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.errors import FormatError, MissingFileError, UnsupportedError
from tfbundle.storage.locations import StrPath, locate
from tfbundle.tensors.mapping import TensorMapping

if TYPE_CHECKING:
    from tfbundle.graph.weights import GraphWeights


def open_tensors(path: StrPath, *, format: Format | None = None, salvage: bool = False) -> TensorMapping:
    """Return the tensors of ``path`` as a mapping, which is also a context manager that closes it.

    The arguments and the errors raised are those of ``open_checkpoint``. In addition, ``path`` may be a frozen graph: a
    ``GraphDef``, ``MetaGraphDef`` or SavedModel, in text or binary form.
    """
    path = locate(path).path
    try:
        checkpoint = open_checkpoint(path, format=format, salvage=salvage)
    except (FormatError, MissingFileError, UnsupportedError) as error:
        if format is not None or not _holds_graph(path):
            raise
        try:
            return _open_weights(path, salvage)
        except UnsupportedError:
            if isinstance(error, MissingFileError):
                raise error from None
            raise
    if is_saved_model(path) and set(checkpoint) <= {OBJECT_GRAPH_KEY}:
        with suppress(UnsupportedError):
            weights = _open_weights(path, salvage)
            checkpoint.close()
            return weights
    return checkpoint


# Most paths are checkpoints, for which the graph modules need not be imported.


def _holds_graph(path: str) -> bool:
    from tfbundle.graph.reading import holds_graph

    return holds_graph(path)


def _open_weights(path: str, salvage: bool = False) -> GraphWeights:
    from tfbundle.graph.weights import open_weights

    return open_weights(path, salvage)
