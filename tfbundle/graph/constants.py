"""The constants of a graph: the weights of a frozen model.

A ``Const`` node stores its value as a ``TensorProto`` in the attribute ``value``. Nothing is decoded or allocated
until a constant is accessed by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from operator import attrgetter
from typing import Any

from tfbundle.errors import FormatError, TfBundleError
from tfbundle.graph.named_messages import NamedMessages
from tfbundle.plurals import plural
from tfbundle.proto import NodeDef, TensorProto
from tfbundle.suggestions import suggest_names
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import data_type_name
from tfbundle.tensors.shapes import decode_shape
from tfbundle.tensors.tensor_proto import decode_tensor


class Constants(Mapping[str, Array]):
    """The value of each ``Const`` node by the node's name, in the order of the file.

    Arrays are read-only and decoded on every access; one that repeats a single value takes no memory, as in
    ``decode_tensor``. Access to an invalid value raises ``FormatError``; the others stay readable.
    """

    def __init__(self, nodes: Sequence[NodeDef], owner: str, path: str | None) -> None:
        """Collect the ``Const`` nodes; ``owner`` is how errors name the graph, and ``path`` its file."""
        self._protos: NamedMessages[NodeDef] = NamedMessages(nodes, attrgetter("name"), lambda node: node.op == "Const")
        self._owner = owner
        self._path = path

    def __getitem__(self, name: str) -> Array:
        proto = self._protos.get(name)
        if proto is None:
            raise KeyError(f"there is no constant {name!r} in {self._owner}{suggest_names(name, self._protos)}")
        try:
            return decode_constant(proto)
        except TfBundleError as error:
            raise error.locate(path=self._path, tensor=name) from None

    def __contains__(self, name: object) -> bool:
        return name in self._protos

    def __iter__(self) -> Iterator[str]:
        return iter(self._protos)

    def __len__(self) -> int:
        return len(self._protos)

    # Arrays do not compare to a single bool.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        # Protobuf's lists cannot be pickled.
        return Constants, ([self._protos[name] for name in self._protos], self._owner, self._path)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        return f"<{plural(len(self), 'constant')} of {self._owner}>"


def constant_facts(node: NodeDef) -> tuple[int, tuple[int, ...]]:
    """Return the ``DataType`` number and shape of a ``Const`` node; ``FormatError`` if the node has no value."""
    proto = _find_value(node)
    return proto.dtype, decode_shape(proto.tensor_shape)


def decode_constant(node: NodeDef) -> Array:
    """Return the value of a ``Const`` node; ``FormatError`` if it has none, and the errors of ``decode_tensor``."""
    return decode_tensor(_find_value(node))


def string_size(node: NodeDef) -> int:
    """Return the total size in bytes of all strings of a ``Const`` node, where the last one may be repeated.

    Repeated strings are counted without being created. Raises ``FormatError`` if there are more strings than elements.
    """
    proto = _find_value(node)
    stated, count = len(proto.string_val), prod(decode_shape(proto.tensor_shape))
    if proto.tensor_content or stated > count:
        return sum(map(len, decode_tensor(proto).flat))
    last = len(proto.string_val[-1]) if stated else 0
    return sum(map(len, proto.string_val)) + (count - stated) * last


def _find_value(node: NodeDef) -> TensorProto:
    # Reading a missing key of a protobuf map of messages would add it.
    if "value" not in node.attr or node.attr["value"].WhichOneof("value") != "tensor":
        raise FormatError(f"the node {node.name!r} is a Const without a value")
    proto = node.attr["value"].tensor
    if "dtype" in node.attr and node.attr["dtype"].type != proto.dtype:
        stated, found = data_type_name(node.attr["dtype"].type), data_type_name(proto.dtype)
        raise FormatError(f"the node {node.name!r} is a Const of {stated}, and its value is of {found}")
    return proto
