"""Read and write TensorFlow checkpoints, graphs and event files as numpy arrays, without TensorFlow.

    import tfbundle

    weights = tfbundle.load("run/")                          # a dict of numpy arrays
    with tfbundle.open_checkpoint("run/model.ckpt-1000") as checkpoint:
        tensor = checkpoint["conv1/weights"]                 # lazy: reads nothing yet
        tensor.shape, tensor.dtype, tensor[10:20, :]

Every result is correct, or a ``TfBundleError`` states the problem, its place, and the next step.

Public names load their modules when they are first used, so that importing the package is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tfbundle._version import __version__
from tfbundle.errors import (
    ChecksumError,
    FormatError,
    MissingFileError,
    TfBundleError,
    TruncatedError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from tfbundle import train
    from tfbundle.checkpoint.checkpoint import Checkpoint, open_checkpoint
    from tfbundle.checkpoint.find.state import CheckpointState, latest_checkpoint, read_checkpoint_state
    from tfbundle.checkpoint.leftovers import Leftover, list_leftovers, remove_leftovers
    from tfbundle.checkpoint.listing import ListedCheckpoint, list_checkpoints
    from tfbundle.checkpoint.loading import load
    from tfbundle.checkpoint.objects import ObjectGraph
    from tfbundle.checkpoint.saving import save
    from tfbundle.checkpoint.v2.writer import CheckpointWriter
    from tfbundle.comparison.diff import Change, Diff, diff
    from tfbundle.comparison.fingerprint import Fingerprint, fingerprint
    from tfbundle.comparison.graph_check import GraphComparison, compare_graph
    from tfbundle.conversion.averaging import average
    from tfbundle.conversion.convert import Converted, convert
    from tfbundle.conversion.event_files.edit import EditedEvents, edit_events
    from tfbundle.events.log import EventLog, open_events
    from tfbundle.events.messages import read_events
    from tfbundle.events.run import Run
    from tfbundle.findings import CheckedFile, Finding, Report
    from tfbundle.fleet.dataset import EventDataset, export_events
    from tfbundle.fleet.event_batches import event_batches
    from tfbundle.fleet.inventory import inventory
    from tfbundle.fleet.troubles import EventTrouble, EventTroubles
    from tfbundle.formats.records.tfrecord import read_records
    from tfbundle.graph.graph import Function, Graph
    from tfbundle.graph.loading import load_graph, load_meta_graph, load_saved_model
    from tfbundle.graph.meta_graph import MetaGraph
    from tfbundle.graph.node import Node, Output
    from tfbundle.graph.saved_model import SavedModel
    from tfbundle.identification.files import identify
    from tfbundle.identification.kinds import FileFacts
    from tfbundle.reporting.report import report
    from tfbundle.scanning.report import NotScanned, ScanFinding, ScanReport
    from tfbundle.scanning.scan import scan
    from tfbundle.storage.locations import locate
    from tfbundle.tensors.tensor import Tensor
    from tfbundle.train.repair import plan_repair, repair_state
    from tfbundle.train.stand_in import as_tensorflow
    from tfbundle.verification.verify import verify
    from tfbundle.views.references import zarr_references

_MODULES = {
    "Change": "comparison.diff",
    "CheckedFile": "findings",
    "Checkpoint": "checkpoint.checkpoint",
    "CheckpointWriter": "checkpoint.v2.writer",
    "CheckpointState": "checkpoint.find.state",
    "Converted": "conversion.convert",
    "Diff": "comparison.diff",
    "EditedEvents": "conversion.event_files.edit",
    "EventDataset": "fleet.dataset",
    "EventLog": "events.log",
    "EventTrouble": "fleet.troubles",
    "EventTroubles": "fleet.troubles",
    "FileFacts": "identification.kinds",
    "Finding": "findings",
    "Fingerprint": "comparison.fingerprint",
    "Function": "graph.graph",
    "Graph": "graph.graph",
    "GraphComparison": "comparison.graph_check",
    "ListedCheckpoint": "checkpoint.listing",
    "MetaGraph": "graph.meta_graph",
    "Node": "graph.node",
    "ObjectGraph": "checkpoint.objects",
    "Output": "graph.node",
    "Report": "findings",
    "Run": "events.run",
    "NotScanned": "scanning.report",
    "SavedModel": "graph.saved_model",
    "ScanFinding": "scanning.report",
    "ScanReport": "scanning.report",
    "Tensor": "tensors.tensor",
    "as_tensorflow": "train.stand_in",
    "average": "conversion.averaging",
    "compare_graph": "comparison.graph_check",
    "convert": "conversion.convert",
    "diff": "comparison.diff",
    "edit_events": "conversion.event_files.edit",
    "event_batches": "fleet.event_batches",
    "export_events": "fleet.dataset",
    "fingerprint": "comparison.fingerprint",
    "identify": "identification.files",
    "inventory": "fleet.inventory",
    "latest_checkpoint": "checkpoint.find.state",
    "list_checkpoints": "checkpoint.listing",
    "load": "checkpoint.loading",
    "locate": "storage.locations",
    "load_graph": "graph.loading",
    "load_meta_graph": "graph.loading",
    "load_saved_model": "graph.loading",
    "open_checkpoint": "checkpoint.checkpoint",
    "open_events": "events.log",
    "read_checkpoint_state": "checkpoint.find.state",
    "read_events": "events.messages",
    "read_records": "formats.records.tfrecord",
    "save": "checkpoint.saving",
    "scan": "scanning.scan",
    "verify": "verification.verify",
    "zarr_references": "views.references",
    "Leftover": "checkpoint.leftovers",
    "list_leftovers": "checkpoint.leftovers",
    "remove_leftovers": "checkpoint.leftovers",
    "plan_repair": "train.repair",
    "repair_state": "train.repair",
    "report": "reporting.report",
}

__all__ = [
    "Change",
    "CheckedFile",
    "Checkpoint",
    "CheckpointState",
    "CheckpointWriter",
    "ChecksumError",
    "Converted",
    "Diff",
    "EditedEvents",
    "EventDataset",
    "EventLog",
    "EventTrouble",
    "EventTroubles",
    "FileFacts",
    "Finding",
    "Fingerprint",
    "FormatError",
    "Function",
    "Graph",
    "GraphComparison",
    "Leftover",
    "ListedCheckpoint",
    "MetaGraph",
    "MissingFileError",
    "Node",
    "NotScanned",
    "ObjectGraph",
    "Output",
    "Report",
    "Run",
    "SavedModel",
    "ScanFinding",
    "ScanReport",
    "Tensor",
    "TfBundleError",
    "TruncatedError",
    "UnsupportedError",
    "__version__",
    "as_tensorflow",
    "average",
    "compare_graph",
    "convert",
    "diff",
    "edit_events",
    "event_batches",
    "export_events",
    "fingerprint",
    "identify",
    "inventory",
    "latest_checkpoint",
    "list_checkpoints",
    "list_leftovers",
    "load",
    "load_graph",
    "load_meta_graph",
    "load_saved_model",
    "locate",
    "open_checkpoint",
    "open_events",
    "plan_repair",
    "read_checkpoint_state",
    "read_events",
    "read_records",
    "remove_leftovers",
    "repair_state",
    "report",
    "save",
    "scan",
    "train",
    "verify",
    "zarr_references",
]

# Type checkers must not see this function, or any name at all would do.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load the module of a public name, and store the name."""
        if name == "train":
            return importlib.import_module(f"{__name__}.train")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """Return the public names, and those that every module has; not what this file happens to use."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
