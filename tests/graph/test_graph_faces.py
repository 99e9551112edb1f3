"""What the objects that people hold in their hands have in common: they pickle, copy, print and complete."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message

import tfbundle
from tests.support.expected import FIXTURES
from tfbundle.frozen_dict import FrozenDict

TF1, TF2 = FIXTURES / "tf-1.15.5", FIXTURES / "tf-2.21.0"


def frozen() -> Any:
    return tfbundle.load_graph(TF1 / "frozen" / "frozen.pb")


def function() -> Any:
    return tfbundle.load_graph(TF1 / "functions-and-control-flow" / "graph.pb").functions["scaled_sum"]


def meta() -> Any:
    return tfbundle.load_meta_graph(TF1 / "training" / "model.ckpt-40.meta")


def saved() -> Any:
    return tfbundle.load_saved_model(TF2 / "saved-model-with-asset" / "model")


def objects() -> Any:
    with tfbundle.open_checkpoint(FIXTURES / "tf-2.15.1" / "checkpoint-manager" / "ckpt-3") as checkpoint:
        return checkpoint.objects


FACES: dict[str, Callable[[], Any]] = {
    "graph": frozen,
    "nodes": lambda: frozen().nodes,
    "node": lambda: frozen().nodes["head/fc/weights"],
    "output": lambda: frozen()["head/fc/weights:0"],
    "constants": lambda: frozen().constants,
    "attributes": lambda: frozen().nodes["head/fc/weights"].attributes,
    "functions": lambda: function().graph.functions,
    "function": function,
    "nodes of a function": lambda: function().nodes,
    "inputs": lambda: function().inputs,
    "outputs": lambda: function().outputs,
    "meta graph": meta,
    "collections": lambda: meta().collections,
    "saver": lambda: meta().saver,
    "restored tensors": lambda: meta().saver.tensors,
    "graph of a meta graph": lambda: meta().graph,
    "SavedModel": saved,
    "assets": lambda: saved().assets,
    "signatures": lambda: saved().meta_graphs[0].signatures,
    "signature": lambda: saved().meta_graphs[0].signatures["serving_default"],
    "state": lambda: tfbundle.read_checkpoint_state(TF1 / "training"),
    "listed": lambda: tfbundle.list_checkpoints(TF1 / "training"),
    "objects": objects,
    "names of variables": lambda: objects().variable_names,
    "object": lambda: objects()[3],
    "comparison": lambda: tfbundle.compare_graph(meta(), TF1 / "training" / "model.ckpt-40"),
}

every_face = pytest.mark.parametrize("make", FACES.values(), ids=FACES)


def facts(thing: Any) -> Any:
    """What can be compared of a thing: its print, and its content as far as there is some."""
    content: Any = None
    if isinstance(thing, Mapping):
        content = {key: repr(thing[key]) for key in thing}
    elif isinstance(getattr(thing, "proto", None), Message):
        content = thing.proto.SerializeToString(deterministic=True)
    return repr(thing), content


@every_face
@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_they_pickle_and_copy(make: Callable[[], Any], duplicate: Callable[[Any], Any]) -> None:
    thing = make()
    other = duplicate(thing)
    other = pickle.loads(other) if isinstance(other, bytes) else other
    assert type(other) is type(thing)
    assert facts(other) == facts(thing)


def mappings() -> Iterator[tuple[str, Callable[[], Any]]]:
    for name, make in FACES.items():
        if isinstance(make(), Mapping):
            yield name, make


@pytest.mark.parametrize("make", [make for _, make in mappings()], ids=[name for name, _ in mappings()])
def test_mappings_behave_as_such(make: Callable[[], Any]) -> None:
    mapping = make()
    assert len(mapping) == len(list(mapping)) == len(mapping.keys()) == len(mapping.values()) == len(mapping.items())
    assert all(key in mapping for key in mapping)
    assert None not in mapping
    assert "\0" not in mapping
    assert 3 not in mapping
    assert mapping.get("\0", "absent") == "absent"
    for key in ("\0", 3, None):
        with pytest.raises(KeyError):
            mapping[key]
    assert list(mapping._ipython_key_completions_()) == list(mapping)
    assert mapping == mapping
    assert mapping != {}
    with pytest.raises(TypeError):
        mapping["\0"] = 1
    assert not hasattr(mapping, "pop")


def test_graphs_complete_the_names_of_their_tensors() -> None:
    graph = frozen()
    assert graph._ipython_key_completions_() == list(graph.nodes)
    assert all(name in graph for name in graph._ipython_key_completions_())
    assert function()._ipython_key_completions_() == list(function().nodes)


def test_what_was_pickled_still_works() -> None:
    graph = pickle.loads(pickle.dumps(meta().graph))
    assert graph["fc1/weights:0"].shape == (64, 12)
    assert graph.path == str(TF1 / "training" / "model.ckpt-40.meta")
    # The file defines the ops that TensorFlow itself does not.
    assert [node.outputs for node in graph.nodes.values()] == [node.outputs for node in graph.nodes.values()]
    saver = pickle.loads(pickle.dumps(meta().saver))
    assert saver.tensors == meta().saver.tensors
    node = pickle.loads(pickle.dumps(frozen().nodes["head/fc/biases"]))
    assert node.attributes["value"].tolist() == [0.5, 0.5]
    inner = pickle.loads(pickle.dumps(function()))
    assert inner.graph.functions["scaled_sum"].name == inner.name
    model = pickle.loads(pickle.dumps(saved()))
    assert model.assets == saved().assets
    assert pickle.loads(pickle.dumps(objects())).keys_of("save_counter") == objects().keys_of("save_counter")
    constants = pickle.loads(pickle.dumps(frozen().constants))
    assert np.array_equal(constants["head/fc/weights"], frozen().constants["head/fc/weights"])


def test_equality() -> None:
    graph = frozen()
    assert graph.constants == graph.constants
    assert graph.constants != frozen().constants
    assert graph.nodes == graph.nodes
    assert len({graph.constants, graph.nodes, frozen().nodes}) == 3
    weights, biases = (graph.nodes[f"head/fc/{name}"].attributes for name in ("weights", "biases"))
    assert weights == frozen().nodes["head/fc/weights"].attributes
    assert weights != biases


def test_read_only() -> None:
    mapping = FrozenDict({"b": 1, "a": 2})
    assert list(mapping) == ["b", "a"]
    assert mapping == {"a": 2, "b": 1}
    assert repr(mapping) == "{'b': 1, 'a': 2}"
    with pytest.raises(TypeError):
        mapping["c"] = 3  # type: ignore[index]
