"""Graphs, metas, SavedModels and other programs, scanned: whatever the bytes, a report with every foreign op."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fuzz_graph
from google.protobuf.message import DecodeError

import tfbundle
from tests.hostile.exercise import demand
from tests.support.expected import FIXTURES
from tfbundle.errors import TfBundleError
from tfbundle.proto import GraphDef, MetaGraphDef, SavedModel
from tfbundle.scanning.op_effects import class_of

_LARGEST_SEED = 4 << 10
_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
_NAMES = ("graph.pb", "model.meta", "saved_model.pb", "graph.pbtxt", "events.out.tfevents.1", "model.keras", "model.h5")


def seeds() -> Iterator[bytes]:
    """Those of the graphs, and the small programs of the fixtures; the first byte says how the file is called."""
    yield from fuzz_graph.seeds()
    for path in sorted(FIXTURES.rglob("programs-*/**/*")):
        number = next((number for number, name in enumerate(_NAMES) if path.suffix == Path(name).suffix), 0)
        if path.is_file() and path.stat().st_size <= _LARGEST_SEED:
            yield bytes([number]) + path.read_bytes()


def check(data: bytes) -> None:
    """Raise if the promise is broken."""
    if not data:
        return
    path = _FOLDER / _NAMES[data[0] % len(_NAMES)]
    path.write_bytes(data[1:])
    try:
        report = tfbundle.scan(path)
        again = tfbundle.scan(path)
    except TfBundleError:
        return
    finally:
        path.unlink()
    demand(report == again, "two scans of the same file differ")
    report._repr_html_()
    json.dumps([vars(one) for one in report.findings])
    if report.complete and path.suffix in (".pb", ".meta"):
        found = {one.op for one in report.findings}
        left_out = _foreign_ops(path.name, data[1:]) - found
        demand(not left_out, f"no finding for the ops {left_out}")


def _foreign_ops(name: str, data: bytes) -> set[str]:
    """The ops of a graph that TensorFlow does not have, and that are not functions of the graph."""
    message_class = {"graph.pb": GraphDef, "model.meta": MetaGraphDef, "saved_model.pb": SavedModel}[name]
    try:
        message = message_class.FromString(data)
    except DecodeError:
        return set()
    metas = message.meta_graphs if name == "saved_model.pb" else [message]
    graphs = [message] if name == "graph.pb" else [meta.graph_def for meta in metas]
    foreign: set[str] = set()
    for graph in graphs:
        functions = {function.signature.name for function in graph.library.function}
        foreign |= {node.op for node in graph.node if class_of(node.op) is None and node.op not in functions}
    return foreign
