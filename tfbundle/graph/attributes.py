"""The attributes of a node, each decoded on access.

Each attribute states its kind (``AttrValue``), so the op's definition is not needed to decode it::

    string   bytes               type    TensorFlow's name, such as "DT_FLOAT"
    int      int                 shape   a tuple with None for an unknown dimension, or None for an unknown rank
    float    float               tensor  a numpy array
    bool     bool                func    FunctionCall
    list     a list of these     in a function's body, AttributePlaceholder for values set by the caller
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
"""The sizes of a tensor's dimensions, with ``None`` for each unknown size; ``None`` if the rank is not known."""


class FunctionCall(NamedTuple):
    """A function that a node calls, such as a branch of a conditional, and the attributes of the call."""

    name: str
    attributes: Attributes


class AttributePlaceholder(NamedTuple):
    """A placeholder in a function's body for the attribute ``name`` of the node that calls the function."""

    name: str


class Attributes(Mapping[str, Any]):
    """Attribute values by name, decoded on every access.

    Access to an invalid value raises ``FormatError``, and to an invalid tensor the errors of ``decode_tensor``.
    """

    __slots__ = ("_path", "_proto")

    def __init__(self, proto: Mapping[str, AttrValue], path: str | None = None) -> None:
        """Wrap the field of a message; ``path`` is used in errors."""
        self._proto = proto
        self._path = path

    def __getitem__(self, name: str) -> Any:
        return self.decode(name)

    def decode(self, name: str, expansion: Expansion | None = None) -> Any:
        """Return the value of an attribute; its tensors count toward the limit of ``expansion``, if one is given."""
        # A protobuf map field would create an entry for a missing name.
        if name not in self:
            raise KeyError(name)
        try:
            return decode_attribute(self._proto[name], expansion)
        except TfBundleError as error:
            raise error.locate(path=self._path) from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._proto

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._proto))

    def __len__(self) -> int:
        return len(self._proto)

    def __eq__(self, other: object) -> bool:
        # Some values decode to arrays, which do not compare to a single bool.
        return isinstance(other, Attributes) and dict(self._proto) == dict(other._proto)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Attributes, (dict(self._proto), self._path)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        return f"<Attributes {', '.join(self)}>"


class Expansion:
    """Decodes tensors that are kept together, with one limit on the memory of their repeated elements.

    A tensor may state only some of its elements, which costs nothing in the file. ``decode_tensor`` limits the growth
    of one tensor; a list of them could take a multiple of that.
    """

    def __init__(self) -> None:
        self._left = LARGEST_EXPANSION

    def decode(self, proto: TensorProto) -> Array:
        """Return the array; raises the errors of ``decode_tensor``, and ``UnsupportedError`` beyond the limit."""
        # Beyond the limit nothing more is decoded, which would cost time.
        array = decode_tensor(proto) if self._left >= 0 else None
        if array is not None and any(array.strides):
            self._left -= max(0, array.nbytes - proto.ByteSize() * LARGEST_EXPANSION_GROWTH)
        if array is None or self._left < 0:
            raise UnsupportedError(
                "tensors that state only some of their elements would take more than "
                f"{LARGEST_EXPANSION} bytes together"
            )
        return array


def decode_attribute(proto: AttrValue, expansion: Expansion | None = None) -> Any:
    """Return the value of an attribute, or ``None`` if it is empty.

    Its tensors count toward the limit of ``expansion``, if one is given; otherwise those of a list have one.
    """
    kind = proto.WhichOneof("value")
    if kind is None:
        return None
    if kind == "list":
        for field, values in proto.list.ListFields():
            if field.name == "tensor":
                shared = expansion or Expansion()
                return [shared.decode(value) for value in values]
            return [_decode(field.name, value) for value in values]
        return []
    if kind == "placeholder":
        return AttributePlaceholder(proto.placeholder)
    if kind == "tensor" and expansion is not None:
        return expansion.decode(proto.tensor)
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
    """Return an attribute's value, or ``None`` if it is missing or has another kind.

    A value of a kind that the op does not expect may be of any size, and is not decoded.
    """
    # A protobuf map field would create an entry for a missing name.
    if name not in attributes or attributes[name].WhichOneof("value") != kind:
        return None
    return _decode(kind, getattr(attributes[name], kind))


def decode_partial_shape(proto: TensorShapeProto) -> Shape:
    """Return a shape whose rank or sizes may be unknown.

    Raises ``FormatError`` for a size below -1, and for more dimensions than a tensor may have.
    """
    if proto.unknown_rank:
        return None
    if len(proto.dim) > LARGEST_RANK:
        raise FormatError(f"a tensor cannot have {len(proto.dim)} dimensions")
    dims = [dim.size for dim in proto.dim]
    if any(size < -1 for size in dims):
        raise FormatError(f"a tensor cannot have the shape {dims}")
    return tuple(None if size < 0 else size for size in dims)
