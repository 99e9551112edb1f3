"""The messages that TensorFlow stores, each loaded when it is first asked for.

`tfbundle.proto.BundleEntryProto` loads the bindings of tensor_bundle.proto and what they refer to; graphs and
events stay unloaded until something asks for them. The bindings are generated from the schemas in `protos/` by
`tools/bindings.py`. What TensorBoard's plugins store is in `tfbundle.proto.plugins`, because names there, such
as `DataType`, would hide TensorFlow's.

Messages are registered under package `tfbundle.proto`, so that one process can use TensorFlow too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfbundle.proto.checkpoint_state_pb2 import CheckpointState as CheckpointState
    from tfbundle.proto.resource_handle_pb2 import ResourceHandleProto as ResourceHandleProto
    from tfbundle.proto.saved_tensor_slice_pb2 import SavedSlice as SavedSlice
    from tfbundle.proto.saved_tensor_slice_pb2 import SavedSliceMeta as SavedSliceMeta
    from tfbundle.proto.saved_tensor_slice_pb2 import SavedTensorSliceMeta as SavedTensorSliceMeta
    from tfbundle.proto.saved_tensor_slice_pb2 import SavedTensorSlices as SavedTensorSlices
    from tfbundle.proto.tensor_pb2 import TensorProto as TensorProto
    from tfbundle.proto.tensor_pb2 import VariantTensorDataProto as VariantTensorDataProto
    from tfbundle.proto.tensor_bundle_pb2 import BundleEntryProto as BundleEntryProto
    from tfbundle.proto.tensor_bundle_pb2 import BundleHeaderProto as BundleHeaderProto
    from tfbundle.proto.tensor_shape_pb2 import TensorShapeProto as TensorShapeProto
    from tfbundle.proto.tensor_slice_pb2 import TensorSliceProto as TensorSliceProto
    from tfbundle.proto.types_pb2 import DataType as DataType
    from tfbundle.proto.types_pb2 import SerializedDType as SerializedDType
    from tfbundle.proto.versions_pb2 import VersionDef as VersionDef

# The module that each name lives in.
_MODULES = {
    "BundleEntryProto": "tensor_bundle_pb2",
    "BundleHeaderProto": "tensor_bundle_pb2",
    "CheckpointState": "checkpoint_state_pb2",
    "DataType": "types_pb2",
    "ResourceHandleProto": "resource_handle_pb2",
    "SavedSlice": "saved_tensor_slice_pb2",
    "SavedSliceMeta": "saved_tensor_slice_pb2",
    "SavedTensorSliceMeta": "saved_tensor_slice_pb2",
    "SavedTensorSlices": "saved_tensor_slice_pb2",
    "SerializedDType": "types_pb2",
    "TensorProto": "tensor_pb2",
    "TensorShapeProto": "tensor_shape_pb2",
    "TensorSliceProto": "tensor_slice_pb2",
    "VariantTensorDataProto": "tensor_pb2",
    "VersionDef": "versions_pb2",
}

__all__ = [*_MODULES]

# Type checkers must not see this function, or they would take any name at all.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load the module that `name` lives in and keep what it holds under that name."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List what the module has and what it can load."""
    return sorted(globals().keys() | _MODULES.keys())
