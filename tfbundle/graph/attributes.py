"""The attributes of a node, decoded one by one as they are asked for.

A node says with each attribute of which kind it is (``AttrValue``), so that no definition of the op is needed::

    string   bytes               type    TensorFlow's name, such as "DT_FLOAT"
    int      int                 shape   a tuple with None for an unknown dimension, or None for an unknown rank
    float    float               tensor  a numpy array
    bool     bool                func    FunctionCall
    list     a list of these     in a function's body, AttributePlaceholder for what the caller fills in
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.limits import LARGEST_EXPANSION, LARGEST_EXPANSION_GROWTH, LARGEST_RANK
from tfbundle.proto import AttrValue, TensorProto, TensorShapeProto
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import data_type_name
from tfbundle.tensors.tensor_proto import decode_tensor

Shape = tuple[int | None, ...] | None
"""The lengths of a tensor's dimensions, ``None`` for one that is not known; ``None`` where not even the rank is."""


class FunctionCall(NamedTuple):
    """A function that a node calls, such as a branch of a conditional, and the attributes that it is called with."""

    name: str
    attributes: Attributes


class AttributePlaceholder(NamedTuple):
    """Stands in a function's body for the attribute ``name`` of whoever calls the function."""

    name: str


class Attributes(Mapping[str, Any]):
    """Names of attributes with their values, which are decoded again each time they are asked for.

    A value that makes no sense raises ``FormatError`` when it is asked for, and a tensor what ``decode_tensor`` does.
    """

    __slots__ = ("_path", "_proto")

    def __init__(self, proto: Mapping[str, AttrValue], path: str | None = None) -> None:
        """Wrap the field of a message; ``path`` is for errors."""
        self._proto = proto
        self._path = path

    def __getitem__(self, name: str) -> Any:
        # A map field of protobuf would make an entry of each name that it does not have.
        if name not in self:
            raise KeyError(name)
        try:
            return decode_attribute(self._proto[name])
        except TfBundleError as error:
            raise error.locate(path=self._path) from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._proto

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._proto))

    def __len__(self) -> int:
        return len(self._proto)

    def __eq__(self, other: object) -> bool:
        # Some decode to arrays, which do not compare to a single truth.
        return isinstance(other, Attributes) and dict(self._proto) == dict(other._proto)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Attributes, (dict(self._proto), self._path)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        return f"<Attributes {', '.join(self)}>"


class Expansion:
    """Decodes tensors that are kept together, whose elements may be made up only to a limit for all of them.

    A tensor may state some of its elements and leave out the rest, at no cost in the file. ``decode_tensor`` limits
    what one may grow by; a list of them would take that many times.
    """

    def __init__(self) -> None:
        self._left = LARGEST_EXPANSION

    def decode(self, proto: TensorProto) -> Array:
        """Return the array; raises as ``decode_tensor`` does, and ``UnsupportedError`` beyond the limit."""
        array = decode_tensor(proto)
        if any(array.strides):
            self._left -= max(0, array.nbytes - proto.ByteSize() * LARGEST_EXPANSION_GROWTH)
        if self._left < 0:
            raise UnsupportedError(
                "tensors that state only some of their elements would take more than "
                f"{LARGEST_EXPANSION} bytes together"
            )
        return array


def decode_attribute(proto: AttrValue) -> Any:
    """Return the value of an attribute, or ``None`` where it says nothing."""
    kind = proto.WhichOneof("value")
    if kind is None:
        return None
    if kind == "list":
        for field, values in proto.list.ListFields():
            if field.name == "tensor":
                expansion = Expansion()
                return [expansion.decode(value) for value in values]
            return [_decode(field.name, value) for value in values]
        return []
    if kind == "placeholder":
        return AttributePlaceholder(proto.placeholder)
    return _decode(kind, getattr(proto, kind))


def _decode(kind: str, value: Any) -> Any:
    if kind == "type":
        return data_type_name(value)
    if kind == "shape":
        return decode_partial_shape(value)
    if kind == "tensor":
        return decode_tensor(value)
    if kind == "func":
        return FunctionCall(value.name, Attributes(value.attr))
    return value


def stated(attributes: Mapping[str, AttrValue], name: str, kind: str) -> Any:
    """Return an attribute's value, or ``None`` where there is none of this kind.

    What has another kind than its op requires may be of any size, and is not decoded.
    """
    # A map field of protobuf would make an entry of each name that it does not have.
    if name not in attributes or attributes[name].WhichOneof("value") != kind:
        return None
    return _decode(kind, getattr(attributes[name], kind))


def decode_partial_shape(proto: TensorShapeProto) -> Shape:
    """Return a shape of which not everything need be known.

    Raises ``FormatError`` for a length below -1, and for more dimensions than a tensor may have.
    """
    if proto.unknown_rank:
        return None
    if len(proto.dim) > LARGEST_RANK:
        raise FormatError(f"no tensor has {len(proto.dim)} dimensions")
    dims = [dim.size for dim in proto.dim]
    if any(size < -1 for size in dims):
        raise FormatError(f"no tensor has the shape {dims}")
    return tuple(None if size < 0 else size for size in dims)
