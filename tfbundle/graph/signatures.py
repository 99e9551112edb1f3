"""The signatures of a MetaGraphDef: the tensors that callers may feed and fetch, under public names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tfbundle.errors import UnsupportedError
from tfbundle.frozen_dict import FrozenDict
from tfbundle.graph.attributes import Expansion, Shape, decode_partial_shape
from tfbundle.proto import SignatureDef, TensorInfo
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import data_type_name, numpy_dtype


class SignatureTensor(NamedTuple):
    """An input or an output of a signature.

    ``names`` are the tensors of the graph that it consists of: one, or for a sparse tensor those of its values, indices
    and shape, and for any other composite tensor those of all components. ``data_type`` is ``None`` if no type is
    stated, as for an op to be run; ``dtype`` is also ``None`` if numpy has no equivalent. ``shape`` has ``None`` for an
    unknown size, and is ``None`` if the rank is not known.
    """

    names: tuple[str, ...]
    data_type: str | None
    dtype: np.dtype[Any] | None
    shape: Shape

    @property
    def name(self) -> str | None:
        """The tensor of the graph, or ``None`` if there are several."""
        return self.names[0] if len(self.names) == 1 else None


class Signature(NamedTuple):
    """A function that a model offers, such as ``"serving_default"``.

    ``inputs`` and ``outputs`` are keyed by the names that callers use; ``method_name`` is the kind of the signature,
    such as ``"tensorflow/serving/predict"``; ``defaults`` are the values of inputs that callers may omit.
    """

    name: str
    method_name: str
    inputs: Mapping[str, SignatureTensor]
    outputs: Mapping[str, SignatureTensor]
    defaults: Mapping[str, Array]


def decode_signature(name: str, proto: SignatureDef, expansion: Expansion) -> Signature:
    """Return a signature from its message; ``expansion`` is shared by all signatures of a graph.

    Raises ``FormatError`` for invalid types, shapes and values, and the errors of ``Expansion.decode``.
    """
    return Signature(
        name,
        proto.method_name,
        _decode_tensors(proto.inputs),
        _decode_tensors(proto.outputs),
        FrozenDict({key: expansion.decode(proto.defaults[key]) for key in sorted(proto.defaults)}),
    )


def _decode_tensors(protos: Mapping[str, TensorInfo]) -> Mapping[str, SignatureTensor]:
    return FrozenDict({key: _decode_signature_tensor(protos[key]) for key in sorted(protos)})


def _decode_signature_tensor(proto: TensorInfo) -> SignatureTensor:
    """Decode a ``TensorInfo``; raises ``FormatError`` for an invalid type or shape."""
    return SignatureTensor(
        _tensor_names(proto),
        data_type_name(proto.dtype) if proto.dtype else None,
        _array_dtype(proto.dtype),
        decode_partial_shape(proto.tensor_shape) if proto.HasField("tensor_shape") else None,
    )


def _array_dtype(data_type: int) -> np.dtype[Any] | None:
    try:
        # A composite type with components of several types has no dtype.
        return numpy_dtype(data_type) if data_type else None
    except UnsupportedError:
        return None


def _tensor_names(proto: TensorInfo) -> tuple[str, ...]:
    kind = proto.WhichOneof("encoding")
    if kind == "coo_sparse":
        sparse = proto.coo_sparse
        return sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name
    if kind == "composite_tensor":
        return tuple(name for part in proto.composite_tensor.components for name in _tensor_names(part))
    return (proto.name,) if proto.name else ()
