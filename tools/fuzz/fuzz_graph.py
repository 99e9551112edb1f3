"""Graphs, metas and SavedModels in binary: the message that protobuf reads, and every question about it answered."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import DecodeError, Message

from tests.hostile.exercise import demand
from tests.hostile.exercise_others import look_everywhere
from tests.support.expected import FIXTURES
from tfbundle import Graph, MetaGraph, SavedModel
from tfbundle.errors import TfBundleError
from tfbundle.graph.reading import decode_message
from tfbundle.proto import GraphDef, MetaGraphDef
from tfbundle.proto import SavedModel as SavedModelProto

_LARGEST_SEED = 4 << 10
_CLASSES: tuple[type[Message], ...] = (GraphDef, MetaGraphDef, SavedModelProto)


def seeds() -> Iterator[bytes]:
    """The graphs in the fixtures, with as many nodes as fit; the first byte says which message it is."""
    for path in sorted([*FIXTURES.rglob("*.meta"), *FIXTURES.rglob("*.pb")]):
        number = 1 if path.suffix == ".meta" else 2 if path.name == "saved_model.pb" else 0
        try:
            message = _CLASSES[number].FromString(path.read_bytes())
        except DecodeError:
            continue
        metas = message.meta_graphs if number == 2 else [message]
        graphs = [message] if number == 0 else [meta.graph_def for meta in metas]
        for graph in graphs:
            while graph.ByteSize() > _LARGEST_SEED // 2 and graph.node:
                del graph.node[len(graph.node) // 2 :]
            while graph.library.ByteSize() > _LARGEST_SEED // 4 and graph.library.function:
                del graph.library.function[len(graph.library.function) // 2 :]
        for meta in metas if number else ():
            meta.meta_info_def.ClearField("stripped_op_list")
            meta.ClearField("object_graph_def")
        data = message.SerializeToString()
        if len(data) <= _LARGEST_SEED:
            yield bytes([number]) + data


def check(data: bytes) -> None:
    """Raise if the promise is broken."""
    if not data:
        return
    number = data[0] % len(_CLASSES)
    message_class = _CLASSES[number]
    try:
        message = decode_message(data[1:], message_class)
    except TfBundleError:
        message = None
    try:
        wanted = message_class.FromString(data[1:])
    except DecodeError:
        wanted = None
    demand((message is None) == (wanted is None), "protobuf reads what is refused, or the other way round")
    if message is None:
        return
    demand(message == wanted or "nan" in str(wanted), "protobuf reads another message")
    wrapper = (Graph, MetaGraph, SavedModel)[number]
    look_everywhere(wrapper(message, "graph.pb") if number == 2 else wrapper(message))
