"""A ``MetaGraphDef``: a graph with what the program knew of it, as in ``model.ckpt-1000.meta`` and in SavedModels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from tfbundle.checkpoint.find.names import META_SUFFIX, step_of
from tfbundle.errors import TfBundleError
from tfbundle.frozen_dict import FrozenDict
from tfbundle.graph.attributes import Expansion
from tfbundle.graph.collections import Collections
from tfbundle.graph.graph import Graph
from tfbundle.graph.restoring import RestoredTensor, find_restored
from tfbundle.graph.signatures import Signature, decode_signature
from tfbundle.graph.variables import Variable, listed_variables, saved_variables
from tfbundle.proto import MetaGraphDef, SavedObjectGraph, SaverDef


class Saver:
    """How the program saved its variables (``SaverDef``)."""

    def __init__(self, proto: SaverDef, graph: Graph) -> None:
        """``MetaGraph.saver`` makes this."""
        self.proto = proto
        self._graph = graph

    @property
    def version(self) -> str:
        """The checkpoint format that it writes: ``"V1"``, ``"V2"``, or ``"LEGACY"``, which is V1 too."""
        number = self.proto.version
        known = SaverDef.CheckpointFormatVersion.values()
        return SaverDef.CheckpointFormatVersion.Name(number) if number in known else str(number)

    @property
    def max_to_keep(self) -> int:
        """How many checkpoints it keeps; 0 for all."""
        return self.proto.max_to_keep

    @property
    def keep_checkpoint_every_n_hours(self) -> float:
        """One checkpoint in so many hours stays for good."""
        return self.proto.keep_checkpoint_every_n_hours

    @property
    def sharded(self) -> bool:
        """Whether each device writes a file of its own."""
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
        """What it restores, as the ops say behind ``restore_op_name``; it saves the same under the same names."""
        return tuple(find_restored(self._graph, self.proto.restore_op_name))

    def __reduce__(self) -> tuple[Any, ...]:
        return Saver, (self.proto, self._graph)

    def __repr__(self) -> str:
        sharded = ", sharded" if self.sharded else ""
        return f"<Saver {self.version}, max_to_keep {self.max_to_keep}{sharded}>"


class MetaGraph:
    """A graph, and what belongs to it: collections, signatures, the saver."""

    proto: MetaGraphDef
    """The message as the file has it."""
    path: str | None
    """The file that it came from, or ``None``."""

    def __init__(self, proto: MetaGraphDef, *, path: str | None = None) -> None:
        """``path`` is for errors."""
        self.proto = proto
        self.path = path

    @cached_property
    def graph(self) -> Graph:
        """The graph itself."""
        definitions = self.proto.meta_info_def.stripped_op_list.op
        return Graph(self.proto.graph_def, op_definitions=definitions, path=self.path)

    @property
    def tags(self) -> tuple[str, ...]:
        """What distinguishes the graphs of a SavedModel, such as ``("serve",)``; empty in a ``.meta`` file."""
        return tuple(self.proto.meta_info_def.tags)

    @property
    def tensorflow_version(self) -> str:
        """The release that wrote it, such as ``"1.15.5"``; empty where it does not say."""
        return self.proto.meta_info_def.tensorflow_version

    @property
    def step(self) -> int | None:
        """The training step in the file's name, such as 1000 of ``model.ckpt-1000.meta``."""
        return None if self.path is None else step_of(self.path.removesuffix(META_SUFFIX))

    @cached_property
    def collections(self) -> Collections:
        """The collections by name, decoded when they are asked for: messages, names, numbers or bytes."""
        return Collections(self.proto.collection_def, self.path)

    @cached_property
    def saver(self) -> Saver | None:
        """How the variables were saved, or ``None`` where the file does not say."""
        return Saver(self.proto.saver_def, self.graph) if self.proto.HasField("saver_def") else None

    @cached_property
    def signatures(self) -> Mapping[str, Signature]:
        """What callers may ask of the graph, by name; ``FormatError`` where types or shapes make no sense."""
        protos = self.proto.signature_def
        expansion = Expansion()
        try:
            return FrozenDict({name: decode_signature(name, protos[name], expansion) for name in sorted(protos)})
        except TfBundleError as error:
            raise error.locate(path=self.path) from None

    @property
    def object_graph(self) -> SavedObjectGraph | None:
        """The objects that a TensorFlow 2 program saved, or ``None``."""
        return self.proto.object_graph_def if self.proto.HasField("object_graph_def") else None

    def variables(self, scope: str | None = None, trainable: bool | None = None) -> list[str]:
        """Return the names of variables, to be handed to ``tfbundle.load``.

        This is what ``get_collection`` gave: ``scope`` is a regular expression that a variable's name has to begin
        with (``re.match``); ``trainable=True`` asks for those in ``TRAINABLE_VARIABLES``, and ``False`` for the others
        in ``GLOBAL_VARIABLES``. A partitioned variable comes once, under the name of the whole. The variables of a
        TensorFlow 2 program are those of its saved objects, chosen by their own names and given by their keys in the
        checkpoint.
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
        """Every variable with its dtype and shape, each part of a partitioned one by itself."""
        try:
            listed = tuple(listed_variables(self.collections, self.graph))
            if not listed and self.object_graph is not None:
                listed = tuple(saved_variables(self.object_graph))
        except TfBundleError as error:
            raise error.locate(path=self.path) from None
        return listed

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.proto, self.path)

    def __repr__(self) -> str:
        tags = f", tags {', '.join(self.tags)}" if self.tags else ""
        return f"<MetaGraph {self.path!r}, {len(self.proto.graph_def.node)} nodes{tags}>"

    def __str__(self) -> str:
        return self.path or "the meta graph"


def _restore(proto: MetaGraphDef, path: str | None) -> MetaGraph:
    """Return the meta graph that was pickled."""
    return MetaGraph(proto, path=path)
