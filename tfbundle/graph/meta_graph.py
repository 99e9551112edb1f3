"""A ``MetaGraphDef``: a graph and its metadata, as in ``model.ckpt-1000.meta`` and in SavedModels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from tfbundle.checkpoint.find.names import step_of
from tfbundle.errors import TfBundleError
from tfbundle.frozen_dict import FrozenDict
from tfbundle.graph.attributes import Expansion
from tfbundle.graph.collections import Collections
from tfbundle.graph.graph import Graph
from tfbundle.graph.restoring import RestoredTensor, find_restored
from tfbundle.graph.signatures import Signature, decode_signature
from tfbundle.graph.variables import Variable, listed_variables, saved_variables
from tfbundle.identification.names import META_SUFFIX
from tfbundle.notebook import Table, render, safe_view
from tfbundle.plurals import plural
from tfbundle.proto import MetaGraphDef, SavedObjectGraph, SaverDef


class Saver:
    """The settings with which the program saved its variables (``SaverDef``)."""

    def __init__(self, proto: SaverDef, graph: Graph) -> None:
        """Create a saver, as ``MetaGraph.saver`` does."""
        self.proto = proto
        self._graph = graph

    @property
    def version(self) -> str:
        """The checkpoint format that it writes: ``"V1"``, ``"V2"``, or ``"LEGACY"``, which is also V1."""
        number = self.proto.version
        known = SaverDef.CheckpointFormatVersion.values()
        return SaverDef.CheckpointFormatVersion.Name(number) if number in known else str(number)

    @property
    def max_to_keep(self) -> int:
        """The number of checkpoints to keep; 0 for all."""
        return self.proto.max_to_keep

    @property
    def keep_checkpoint_every_n_hours(self) -> float:
        """The interval in hours at which a checkpoint is kept permanently."""
        return self.proto.keep_checkpoint_every_n_hours

    @property
    def sharded(self) -> bool:
        """Whether each device writes a separate file."""
        return self.proto.sharded

    @property
    def filename_tensor_name(self) -> str:
        """The tensor that is fed with the checkpoint's prefix."""
        return self.proto.filename_tensor_name

    @property
    def save_tensor_name(self) -> str:
        """The tensor that is fetched to save."""
        return self.proto.save_tensor_name

    @property
    def restore_op_name(self) -> str:
        """The op that is run to restore."""
        return self.proto.restore_op_name

    @cached_property
    def tensors(self) -> tuple[RestoredTensor, ...]:
        """The tensors that ``restore_op_name`` restores; the saver saves the same ones under the same names."""
        return tuple(find_restored(self._graph, self.proto.restore_op_name))

    def __reduce__(self) -> tuple[Any, ...]:
        return Saver, (self.proto, self._graph)

    def __repr__(self) -> str:
        sharded = ", sharded" if self.sharded else ""
        return f"<Saver {self.version}, max_to_keep {self.max_to_keep}{sharded}>"


class MetaGraph:
    """A graph and its metadata: collections, signatures and the saver."""

    proto: MetaGraphDef
    """The message as stored in the file."""
    path: str | None
    """The file that the message was read from, or ``None``."""

    def __init__(self, proto: MetaGraphDef, *, path: str | None = None) -> None:
        """Wrap a message; ``path`` is used in errors."""
        self.proto = proto
        self.path = path

    @cached_property
    def graph(self) -> Graph:
        """The graph itself."""
        definitions = self.proto.meta_info_def.stripped_op_list.op
        return Graph(self.proto.graph_def, op_definitions=definitions, path=self.path)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that distinguish the graphs of a SavedModel, such as ``("serve",)``; empty in a ``.meta`` file."""
        return tuple(self.proto.meta_info_def.tags)

    @property
    def tensorflow_version(self) -> str:
        """The TensorFlow version that wrote it, such as ``"1.15.5"``; empty if not stated."""
        return self.proto.meta_info_def.tensorflow_version

    @property
    def step(self) -> int | None:
        """The training step in the file's name, such as 1000 in ``model.ckpt-1000.meta``, or ``None``."""
        return None if self.path is None else step_of(self.path.removesuffix(META_SUFFIX))

    @cached_property
    def collections(self) -> Collections:
        """The collections by name, decoded on access: messages, names, numbers or bytes."""
        return Collections(self.proto.collection_def, self.path)

    @cached_property
    def saver(self) -> Saver | None:
        """The saver of the variables, or ``None`` if the file has none."""
        return Saver(self.proto.saver_def, self.graph) if self.proto.HasField("saver_def") else None

    @cached_property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name; ``FormatError`` if a dtype or shape is not valid."""
        protos = self.proto.signature_def
        expansion = Expansion()
        try:
            return FrozenDict({name: decode_signature(name, protos[name], expansion) for name in sorted(protos)})
        except TfBundleError as error:
            raise error.locate(path=self.path) from None

    @property
    def object_graph(self) -> SavedObjectGraph | None:
        """The object graph that a TensorFlow 2 program saved, or ``None``."""
        return self.proto.object_graph_def if self.proto.HasField("object_graph_def") else None

    def variables(self, scope: str | None = None, trainable: bool | None = None) -> list[str]:
        """Return the names of variables, in the form that ``tfbundle.load`` accepts.

        This corresponds to ``get_collection``: ``scope`` is a regular expression that must match at the start of a
        variable's name (``re.match``). ``trainable=True`` selects the variables in ``TRAINABLE_VARIABLES``, and
        ``False`` the others in ``GLOBAL_VARIABLES``. A partitioned variable is listed once, under its full name. The
        variables of a TensorFlow 2 program are those of its saved objects; they are selected by variable name, and
        their keys in the checkpoint are returned.
        """
        matches = re.compile(scope or "").match
        chosen = (
            variable.stored_name
            for variable in self.all_variables
            if (trainable is None or variable.trainable is trainable) and matches(variable.name)
        )
        return list(dict.fromkeys(chosen))

    @cached_property
    def all_variables(self) -> tuple[Variable, ...]:
        """Every variable with its dtype and shape; the parts of a partitioned variable are listed separately."""
        try:
            listed = tuple(listed_variables(self.collections, self.graph))
            if not listed and self.object_graph is not None:
                listed = tuple(saved_variables(self.object_graph))
        except TfBundleError as error:
            raise error.locate(path=self.path) from None
        return listed

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.proto, self.path)

    @safe_view
    def _repr_html_(self) -> str:
        signatures = self.signatures
        rows = ((name, *(", ".join(part) for part in (one.inputs, one.outputs))) for name, one in signatures.items())
        return render(
            f"MetaGraph {self.path or ''}",
            {
                "tags": ", ".join(self.tags),
                "nodes": len(self.proto.graph_def.node),
                "TensorFlow": self.tensorflow_version,
            },
            Table(("signature", "inputs", "outputs"), rows, len(signatures), "signature"),
        )

    def __repr__(self) -> str:
        tags = f", tags {', '.join(self.tags)}" if self.tags else ""
        return f"<MetaGraph {self.path!r}, {plural(len(self.proto.graph_def.node), 'node')}{tags}>"

    def __str__(self) -> str:
        return self.path or "the meta graph"


def _restore(proto: MetaGraphDef, path: str | None) -> MetaGraph:
    """Return the meta graph that was pickled."""
    return MetaGraph(proto, path=path)
