"""Opening the tensors of a path: those of a checkpoint, or of a frozen graph.

A checkpoint is tried first, so that graph modules are not loaded where there is one. A graph is opened where there is
no checkpoint, or where a SavedModel's checkpoint has no variables, if it is frozen: it has constants and no variables.
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
    """Return the tensors that ``path`` means, as a mapping that is closed at the end of a ``with`` block.

    ``path``, ``format`` and ``salvage`` are as for ``open_checkpoint``, and what is raised is the same; beyond that,
    ``path`` may be a frozen graph: a ``GraphDef``, ``MetaGraphDef`` or SavedModel, as text or binary.
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


# Most paths are those of checkpoints, and need no graph modules.


def _holds_graph(path: str) -> bool:
    from tfbundle.graph.reading import holds_graph

    return holds_graph(path)


def _open_weights(path: str, salvage: bool = False) -> GraphWeights:
    from tfbundle.graph.weights import open_weights

    return open_weights(path, salvage)
