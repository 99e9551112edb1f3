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
    from tfbundle.proto.attr_value_pb2 import AttrValue as AttrValue
    from tfbundle.proto.attr_value_pb2 import NameAttrList as NameAttrList
    from tfbundle.proto.checkpoint_state_pb2 import CheckpointState as CheckpointState
    from tfbundle.proto.cluster_pb2 import ClusterDef as ClusterDef
    from tfbundle.proto.cluster_pb2 import JobDef as JobDef
    from tfbundle.proto.composite_tensor_variant_pb2 import (
        CompositeTensorVariantMetadata as CompositeTensorVariantMetadata,
    )
    from tfbundle.proto.config_pb2 import RunMetadata as RunMetadata
    from tfbundle.proto.config_pb2 import SessionMetadata as SessionMetadata
    from tfbundle.proto.control_flow_pb2 import CondContextDef as CondContextDef
    from tfbundle.proto.control_flow_pb2 import ControlFlowContextDef as ControlFlowContextDef
    from tfbundle.proto.control_flow_pb2 import ValuesDef as ValuesDef
    from tfbundle.proto.control_flow_pb2 import WhileContextDef as WhileContextDef
    from tfbundle.proto.cost_graph_pb2 import CostGraphDef as CostGraphDef
    from tfbundle.proto.event_pb2 import Event as Event
    from tfbundle.proto.event_pb2 import LogMessage as LogMessage
    from tfbundle.proto.event_pb2 import SessionLog as SessionLog
    from tfbundle.proto.event_pb2 import SourceMetadata as SourceMetadata
    from tfbundle.proto.event_pb2 import TaggedRunMetadata as TaggedRunMetadata
    from tfbundle.proto.fingerprint_pb2 import FingerprintDef as FingerprintDef
    from tfbundle.proto.full_type_pb2 import FullTypeDef as FullTypeDef
    from tfbundle.proto.full_type_pb2 import FullTypeId as FullTypeId
    from tfbundle.proto.function_pb2 import FunctionDef as FunctionDef
    from tfbundle.proto.function_pb2 import FunctionDefLibrary as FunctionDefLibrary
    from tfbundle.proto.function_pb2 import GradientDef as GradientDef
    from tfbundle.proto.function_pb2 import RegisteredGradient as RegisteredGradient
    from tfbundle.proto.graph_debug_info_pb2 import GraphDebugInfo as GraphDebugInfo
    from tfbundle.proto.graph_pb2 import GraphDef as GraphDef
    from tfbundle.proto.histogram_pb2 import HistogramProto as HistogramProto
    from tfbundle.proto.keras.saved_metadata_pb2 import SavedMetadata as SavedMetadata
    from tfbundle.proto.meta_graph_pb2 import AssetFileDef as AssetFileDef
    from tfbundle.proto.meta_graph_pb2 import CollectionDef as CollectionDef
    from tfbundle.proto.meta_graph_pb2 import MetaGraphDef as MetaGraphDef
    from tfbundle.proto.meta_graph_pb2 import SignatureDef as SignatureDef
    from tfbundle.proto.meta_graph_pb2 import TensorInfo as TensorInfo
    from tfbundle.proto.node_def_pb2 import NodeDef as NodeDef
    from tfbundle.proto.op_def_pb2 import OpDef as OpDef
    from tfbundle.proto.op_def_pb2 import OpDeprecation as OpDeprecation
    from tfbundle.proto.op_def_pb2 import OpList as OpList
    from tfbundle.proto.queue_runner_pb2 import QueueRunnerDef as QueueRunnerDef
    from tfbundle.proto.resource_handle_pb2 import ResourceHandleProto as ResourceHandleProto
    from tfbundle.proto.saved_model_pb2 import SavedModel as SavedModel
    from tfbundle.proto.saved_object_graph_pb2 import CapturedTensor as CapturedTensor
    from tfbundle.proto.saved_object_graph_pb2 import FunctionSpec as FunctionSpec
    from tfbundle.proto.saved_object_graph_pb2 import SaveableObject as SaveableObject
    from tfbundle.proto.saved_object_graph_pb2 import SavedAsset as SavedAsset
    from tfbundle.proto.saved_object_graph_pb2 import SavedBareConcreteFunction as SavedBareConcreteFunction
    from tfbundle.proto.saved_object_graph_pb2 import SavedConcreteFunction as SavedConcreteFunction
    from tfbundle.proto.saved_object_graph_pb2 import SavedConstant as SavedConstant
    from tfbundle.proto.saved_object_graph_pb2 import SavedFunction as SavedFunction
    from tfbundle.proto.saved_object_graph_pb2 import SavedObject as SavedObject
    from tfbundle.proto.saved_object_graph_pb2 import SavedObjectGraph as SavedObjectGraph
    from tfbundle.proto.saved_object_graph_pb2 import SavedResource as SavedResource
    from tfbundle.proto.saved_object_graph_pb2 import SavedUserObject as SavedUserObject
    from tfbundle.proto.saved_object_graph_pb2 import SavedVariable as SavedVariable
    from tfbundle.proto.saved_tensor_slice_pb2 import SavedSlice as SavedSlice
    from tfbundle.proto.saved_tensor_slice_pb2 import SavedSliceMeta as SavedSliceMeta
    from tfbundle.proto.saved_tensor_slice_pb2 import SavedTensorSliceMeta as SavedTensorSliceMeta
    from tfbundle.proto.saved_tensor_slice_pb2 import SavedTensorSlices as SavedTensorSlices
    from tfbundle.proto.saver_pb2 import SaverDef as SaverDef
    from tfbundle.proto.step_stats_pb2 import DeviceStepStats as DeviceStepStats
    from tfbundle.proto.step_stats_pb2 import NodeExecStats as NodeExecStats
    from tfbundle.proto.step_stats_pb2 import StepStats as StepStats
    from tfbundle.proto.struct_pb2 import BoundedTensorSpecProto as BoundedTensorSpecProto
    from tfbundle.proto.struct_pb2 import DictValue as DictValue
    from tfbundle.proto.struct_pb2 import ListValue as ListValue
    from tfbundle.proto.struct_pb2 import NamedTupleValue as NamedTupleValue
    from tfbundle.proto.struct_pb2 import NoneValue as NoneValue
    from tfbundle.proto.struct_pb2 import PairValue as PairValue
    from tfbundle.proto.struct_pb2 import StructuredValue as StructuredValue
    from tfbundle.proto.struct_pb2 import TensorSpecProto as TensorSpecProto
    from tfbundle.proto.struct_pb2 import TupleValue as TupleValue
    from tfbundle.proto.struct_pb2 import TypeSpecProto as TypeSpecProto
    from tfbundle.proto.summary_pb2 import DataClass as DataClass
    from tfbundle.proto.summary_pb2 import Summary as Summary
    from tfbundle.proto.summary_pb2 import SummaryDescription as SummaryDescription
    from tfbundle.proto.summary_pb2 import SummaryMetadata as SummaryMetadata
    from tfbundle.proto.tensor_bundle_pb2 import BundleEntryProto as BundleEntryProto
    from tfbundle.proto.tensor_bundle_pb2 import BundleHeaderProto as BundleHeaderProto
    from tfbundle.proto.tensor_pb2 import TensorProto as TensorProto
    from tfbundle.proto.tensor_pb2 import VariantTensorDataProto as VariantTensorDataProto
    from tfbundle.proto.tensor_shape_pb2 import TensorShapeProto as TensorShapeProto
    from tfbundle.proto.tensor_slice_pb2 import TensorSliceProto as TensorSliceProto
    from tfbundle.proto.trackable_object_graph_pb2 import RegisteredSaver as RegisteredSaver
    from tfbundle.proto.trackable_object_graph_pb2 import TrackableObjectGraph as TrackableObjectGraph
    from tfbundle.proto.types_pb2 import DataType as DataType
    from tfbundle.proto.types_pb2 import SerializedDType as SerializedDType
    from tfbundle.proto.variable_pb2 import SaveSliceInfoDef as SaveSliceInfoDef
    from tfbundle.proto.variable_pb2 import VariableAggregation as VariableAggregation
    from tfbundle.proto.variable_pb2 import VariableDef as VariableDef
    from tfbundle.proto.variable_pb2 import VariableSynchronization as VariableSynchronization
    from tfbundle.proto.versions_pb2 import VersionDef as VersionDef

# The module that each name lives in.
_MODULES = {
    "AssetFileDef": "meta_graph_pb2",
    "AttrValue": "attr_value_pb2",
    "BoundedTensorSpecProto": "struct_pb2",
    "BundleEntryProto": "tensor_bundle_pb2",
    "BundleHeaderProto": "tensor_bundle_pb2",
    "CapturedTensor": "saved_object_graph_pb2",
    "CheckpointState": "checkpoint_state_pb2",
    "ClusterDef": "cluster_pb2",
    "CollectionDef": "meta_graph_pb2",
    "CompositeTensorVariantMetadata": "composite_tensor_variant_pb2",
    "CondContextDef": "control_flow_pb2",
    "ControlFlowContextDef": "control_flow_pb2",
    "CostGraphDef": "cost_graph_pb2",
    "DataClass": "summary_pb2",
    "DataType": "types_pb2",
    "DeviceStepStats": "step_stats_pb2",
    "DictValue": "struct_pb2",
    "Event": "event_pb2",
    "FingerprintDef": "fingerprint_pb2",
    "FullTypeDef": "full_type_pb2",
    "FullTypeId": "full_type_pb2",
    "FunctionDef": "function_pb2",
    "FunctionDefLibrary": "function_pb2",
    "FunctionSpec": "saved_object_graph_pb2",
    "GradientDef": "function_pb2",
    "GraphDebugInfo": "graph_debug_info_pb2",
    "GraphDef": "graph_pb2",
    "HistogramProto": "histogram_pb2",
    "JobDef": "cluster_pb2",
    "ListValue": "struct_pb2",
    "LogMessage": "event_pb2",
    "MetaGraphDef": "meta_graph_pb2",
    "NameAttrList": "attr_value_pb2",
    "NamedTupleValue": "struct_pb2",
    "NodeDef": "node_def_pb2",
    "NodeExecStats": "step_stats_pb2",
    "NoneValue": "struct_pb2",
    "OpDef": "op_def_pb2",
    "OpDeprecation": "op_def_pb2",
    "OpList": "op_def_pb2",
    "PairValue": "struct_pb2",
    "QueueRunnerDef": "queue_runner_pb2",
    "RegisteredGradient": "function_pb2",
    "RegisteredSaver": "trackable_object_graph_pb2",
    "ResourceHandleProto": "resource_handle_pb2",
    "RunMetadata": "config_pb2",
    "SaveSliceInfoDef": "variable_pb2",
    "SaveableObject": "saved_object_graph_pb2",
    "SavedAsset": "saved_object_graph_pb2",
    "SavedBareConcreteFunction": "saved_object_graph_pb2",
    "SavedConcreteFunction": "saved_object_graph_pb2",
    "SavedConstant": "saved_object_graph_pb2",
    "SavedFunction": "saved_object_graph_pb2",
    "SavedMetadata": "keras.saved_metadata_pb2",
    "SavedModel": "saved_model_pb2",
    "SavedObject": "saved_object_graph_pb2",
    "SavedObjectGraph": "saved_object_graph_pb2",
    "SavedResource": "saved_object_graph_pb2",
    "SavedSlice": "saved_tensor_slice_pb2",
    "SavedSliceMeta": "saved_tensor_slice_pb2",
    "SavedTensorSliceMeta": "saved_tensor_slice_pb2",
    "SavedTensorSlices": "saved_tensor_slice_pb2",
    "SavedUserObject": "saved_object_graph_pb2",
    "SavedVariable": "saved_object_graph_pb2",
    "SaverDef": "saver_pb2",
    "SerializedDType": "types_pb2",
    "SessionLog": "event_pb2",
    "SessionMetadata": "config_pb2",
    "SignatureDef": "meta_graph_pb2",
    "SourceMetadata": "event_pb2",
    "StepStats": "step_stats_pb2",
    "StructuredValue": "struct_pb2",
    "Summary": "summary_pb2",
    "SummaryDescription": "summary_pb2",
    "SummaryMetadata": "summary_pb2",
    "TaggedRunMetadata": "event_pb2",
    "TensorInfo": "meta_graph_pb2",
    "TensorProto": "tensor_pb2",
    "TensorShapeProto": "tensor_shape_pb2",
    "TensorSliceProto": "tensor_slice_pb2",
    "TensorSpecProto": "struct_pb2",
    "TrackableObjectGraph": "trackable_object_graph_pb2",
    "TupleValue": "struct_pb2",
    "TypeSpecProto": "struct_pb2",
    "ValuesDef": "control_flow_pb2",
    "VariableAggregation": "variable_pb2",
    "VariableDef": "variable_pb2",
    "VariableSynchronization": "variable_pb2",
    "VariantTensorDataProto": "tensor_pb2",
    "VersionDef": "versions_pb2",
    "WhileContextDef": "control_flow_pb2",
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
