"""Object graphs: the fixtures that have one, and those that a test makes."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.arrays import object_array
from tests.support.bundle_writer import write_bundle
from tests.support.expected import FIXTURES, expected_checkpoints
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.proto import TrackableObjectGraph

CHECKPOINTS = [one for format in ("v2", "v1") for one in expected_checkpoints(format) if one.error is None]
WITH_OBJECTS = [one for one in CHECKPOINTS if OBJECT_GRAPH_KEY in one.tensors]
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"

with_objects = pytest.mark.parametrize("expected", WITH_OBJECTS, ids=str)
TRAINED = [
    FIXTURES / "tf-2.4.4" / "keras-weights" / "weights",
    FIXTURES / "tf-2.15.1" / "keras-weights" / "weights",
    FIXTURES / "tf-2.4.4" / "checkpoint-manager" / "ckpt-3",
    FIXTURES / "tf-2.15.1" / "checkpoint-manager" / "ckpt-3",
    FIXTURES / "tf-2.21.0" / "checkpoint-manager" / "ckpt-3",
    FIXTURES / "tf-2.4.4" / "keras-saved-model" / "model",
    FIXTURES / "tf-2.15.1" / "keras-saved-model" / "model",
]
trained = pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.relative_to(FIXTURES).as_posix())

# The variables of the classifier that is in these fixtures.
WEIGHTS = ("conv/kernel", "conv/bias", "norm/gamma", "norm/beta", "hidden/kernel", "hidden/bias", "logits/kernel")


def graph_of(*nodes: dict[str, Any]) -> TrackableObjectGraph:
    """A graph; each node has ``children`` as (name, number) and perhaps ``key``, ``full_name`` and ``slots``."""
    graph = TrackableObjectGraph()
    for facts in nodes:
        node = graph.nodes.add()
        for name, number in facts.get("children", ()):
            node.children.add(local_name=name, node_id=number)
        for original, name, number in facts.get("slots", ()):
            node.slot_variables.add(original_variable_node_id=original, slot_name=name, slot_variable_node_id=number)
        if "key" in facts:
            node.attributes.add(
                name="VARIABLE_VALUE", full_name=facts.get("full_name", ""), checkpoint_key=facts["key"]
            )
    return graph


def write_objects(prefix: Path, graph: TrackableObjectGraph | bytes, **tensors: Any) -> Path:
    data = graph if isinstance(graph, bytes) else graph.SerializeToString()
    write_bundle(prefix, {OBJECT_GRAPH_KEY: object_array([data], ()), **tensors})
    return prefix
