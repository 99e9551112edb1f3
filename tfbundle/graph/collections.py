"""The collections of a MetaGraphDef: named lists that TensorFlow 1 programs keep with their graph.

A collection is a list of one of five kinds (``CollectionDef``)::

    node_list    names of nodes or tensors                                   -> str
    bytes_list   serialized messages; the collection's name implies the type -> messages, or bytes for other names
    int64_list, float_list                                                   -> int, float
    any_list     messages with the names of their types                      -> messages
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message

from tfbundle import proto as messages
from tfbundle.errors import FormatError, TfBundleError
from tfbundle.formats.message_budget import check_message
from tfbundle.proto import CollectionDef

# The message types that TensorFlow registers with ops.register_proto_function, by collection name. Programs may also
# put messages of these types into other collections, but the file does not record that.
MESSAGE_NAMES = {
    "cond_context": "CondContextDef",
    "global_step": "VariableDef",
    "local_variables": "VariableDef",
    "metric_variables": "VariableDef",
    "model_variables": "VariableDef",
    "moving_average_variables": "VariableDef",
    "queue_runners": "QueueRunnerDef",
    "savers": "SaverDef",
    "trainable_variables": "VariableDef",
    "variables": "VariableDef",
    "while_context": "WhileContextDef",
}


class Collections(Mapping[str, list[Any]]):
    """The decoded items of each collection, by name.

    Items are decoded on access, which raises ``FormatError`` if they do not have the type that the collection's name
    implies. The messages themselves are in ``MetaGraph.proto.collection_def``.
    """

    def __init__(self, protos: Mapping[str, CollectionDef], path: str | None = None) -> None:
        """Wrap the field of a message; ``path`` is used in errors."""
        self._protos = protos
        self._path = path

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self:
            raise KeyError(f"there is no collection {name!r}; there are {', '.join(self) or 'none'}")
        try:
            return decode_collection(name, self._protos[name])
        except TfBundleError as error:
            raise error.locate(path=self._path) from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._protos

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._protos))

    def __len__(self) -> int:
        return len(self._protos)

    def __reduce__(self) -> tuple[Any, ...]:
        return Collections, (dict(self._protos), self._path)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        return f"<Collections {', '.join(self)}>"


def decode_collection(name: str, proto: CollectionDef) -> list[Any]:
    """Return the items of the collection ``name``; raises ``FormatError`` if they do not have its type."""
    kind = proto.WhichOneof("kind")
    if kind is None:
        return []
    values = list(getattr(proto, kind).value)
    if kind == "any_list":
        return [_unpack(name, value) for value in values]
    if kind == "bytes_list" and name in MESSAGE_NAMES:
        message_class = getattr(messages, MESSAGE_NAMES[name])
        return [_decode(name, value, message_class) for value in values]
    return values


def _unpack(name: str, value: AnyMessage) -> Message:
    """Return the packed message, or the ``Any`` itself if it is not a TensorFlow message."""
    # The types here are registered under a separate package, which Any.Unpack would not find.
    message_class = _message_classes().get(value.type_url.rpartition("/")[2])
    return value if message_class is None else _decode(name, value.value, message_class)


def _decode(name: str, data: bytes, message_class: type[Message]) -> Message:
    check_message(data, message_class)
    try:
        return message_class.FromString(data)
    except (DecodeError, RecursionError, UnicodeDecodeError):
        raise FormatError(f"an item of the collection {name!r} is not a {message_class.DESCRIPTOR.name}") from None


@cache
def _message_classes() -> dict[str, type[Message]]:
    classes = {}
    for name in messages.__all__:
        message_class = getattr(messages, name)
        if isinstance(message_class, type) and issubclass(message_class, Message):
            classes[f"tensorflow.{name}"] = message_class
    return classes
