"""Messages by name: which of several is found, and that no object is kept for each."""

from __future__ import annotations

import tracemalloc
from operator import attrgetter

from tfbundle.graph.named_messages import NamedMessages
from tfbundle.proto import GraphDef, NodeDef

_COUNT = 20_000


def _nodes(*names: str) -> GraphDef:
    return GraphDef(node=[NodeDef(name=name, op=f"op{number}") for number, name in enumerate(names)])


def test_the_first_of_several_is_found() -> None:
    found = NamedMessages(_nodes("a", "b", "a").node, attrgetter("name"))
    assert list(found) == ["a", "b"]
    assert found.repeated == "a"
    first = found.get("a")
    assert first is not None
    assert first.op == "op0"
    assert found.get("c") is None
    assert "c" not in found


def test_only_chosen_messages_are_indexed() -> None:
    found = NamedMessages(_nodes("a", "b", "a").node, attrgetter("name"), lambda node: node.op != "op0")
    assert list(found) == ["b", "a"]
    assert found.repeated is None


def test_an_index_does_not_keep_an_object_for_each_message() -> None:
    nodes = _nodes(*(f"n{number}" for number in range(_COUNT))).node
    tracemalloc.start()
    try:
        held = list(nodes)
        of_objects = tracemalloc.get_traced_memory()[0]
        del held
        before = tracemalloc.get_traced_memory()[0]
        found = NamedMessages(nodes, attrgetter("name"))
        of_index = tracemalloc.get_traced_memory()[0] - before
        held = [found[name] for name in found]
        assert len(held) == _COUNT
        both = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert both - of_index > of_objects * 0.8, "the index holds the objects"
    assert of_index < 200 * _COUNT
