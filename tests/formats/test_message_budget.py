"""What messages may take in memory: on either side of the budget, by what a field costs, and for honest files."""

from __future__ import annotations

import pytest

import tfbundle
from tfbundle.formats.message_budget import _unseen, check_message
from tfbundle.formats.text.scalars import varint
from tfbundle.limits import FREE_MESSAGE_MEMORY
from tfbundle.proto import AttrValue, Event, GraphDef, NodeDef, SavedModel, TrackableObjectGraph

SIZE = 4 << 20


def _field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def _many(number: int, data: bytes = b"") -> bytes:
    field = _field(number, data)
    return field * (SIZE // len(field))


def _in_list(number: int) -> bytes:
    return _field(1, _field(5, _field(1, b"x") + _field(2, _field(1, _many(number)))))


DENSE = {
    "nodes": (GraphDef, _many(1)),
    "attributes": (GraphDef, _many(1, _field(5, b""))),
    "attributes of one node": (GraphDef, _field(1, _many(5))),
    "functions": (GraphDef, _field(2, _many(1))),
    "nodes of a function": (GraphDef, _field(2, _field(1, _many(3)))),
    "shapes": (GraphDef, _in_list(7)),
    "tensors": (GraphDef, _in_list(8)),
    "function calls": (GraphDef, _in_list(9)),
    "graphs": (SavedModel, _many(2)),
    "collections": (SavedModel, _field(2, _many(4))),
    "values": (Event, _field(5, _many(1))),
    "objects": (TrackableObjectGraph, _many(1)),
    "children": (TrackableObjectGraph, _field(1, _many(1))),
}


@pytest.mark.parametrize("name", DENSE)
def test_messages_that_grow_are_refused(name: str) -> None:
    message_class, data = DENSE[name]
    with pytest.raises(tfbundle.UnsupportedError, match=r"more than .* bytes of memory"):
        check_message(data, message_class)
    # A part of it takes less than any message may.
    check_message(data[: FREE_MESSAGE_MEMORY // 1024], message_class)


def test_longer_forms_of_a_tag_and_a_length_count_too() -> None:
    with pytest.raises(tfbundle.UnsupportedError):
        check_message(b"\x8a\x00\x80\x00" * (SIZE // 2), GraphDef)


@pytest.mark.parametrize("number", [100_000, 10_000])
@pytest.mark.effort
def test_graphs_as_tensorflow_writes_them_are_accepted(number: int) -> None:
    nodes = (
        NodeDef(
            name=f"model/layer_{n}/MatMul",
            op="MatMul",
            input=[f"model/layer_{n - 1}/MatMul", f"model/layer_{n}/read"],
            attr={"T": AttrValue(type=1), "transpose_a": AttrValue(b=False), "transpose_b": AttrValue(b=True)},
        )
        for n in range(number)
    )
    check_message(GraphDef(node=nodes).SerializeToString(), GraphDef)


def test_bytes_of_values_do_not_count() -> None:
    graph = GraphDef()
    node = graph.node.add(name="w", op="Const")
    node.attr["value"].tensor.tensor_content = b"\x0a\x00" * (SIZE // 2)  # What many empty nodes would be.
    check_message(graph.SerializeToString(), GraphDef)


def test_what_is_not_a_message_is_left_to_the_decoder() -> None:
    check_message(b"\xff" * SIZE, GraphDef)
    check_message(b"\x0a\xff\xff\xff\xff\x0f" + bytes(SIZE), GraphDef)


def _honest_node(number: int) -> bytes:
    return _field(1, NodeDef(name=f"model/layer_{number}/MatMul", op="MatMul").SerializeToString())


# Attributes cost the most for their bytes.
_DENSE_NODE = _field(1, b"\x2a\x00" * 200)


@pytest.mark.parametrize(("every", "refused"), [(10, True), (1000, False)])
def test_dense_messages_between_honest_ones(every: int, refused: bool) -> None:
    """A list of a hundred thousand messages is sampled; what hides in it is found nevertheless."""
    nodes = [_DENSE_NODE if number % every == 0 else _honest_node(number) for number in range(100_000)]
    data = b"".join(nodes)
    if refused:
        with pytest.raises(tfbundle.UnsupportedError):
            check_message(data, GraphDef)
    else:
        check_message(data, GraphDef)


def test_one_large_message_among_many() -> None:
    nodes = [_honest_node(number) for number in range(100_000)]
    nodes[77_777] = _field(1, b"\x2a\x00" * (2 << 20))
    with pytest.raises(tfbundle.UnsupportedError):
        check_message(b"".join(nodes), GraphDef)


@pytest.mark.parametrize("large", [1, 10, 300])
@pytest.mark.parametrize("widest", [1, 100])
@pytest.mark.effort
def test_large_dense_messages_among_small_ones_of_any_sizes(large: int, widest: int) -> None:
    """The fewer they are, the less likely they are drawn; the more the others differ, the less their sizes explain."""
    nodes = [_field(1, _field(1, b"x" * (50 + number * 7919 % widest))) for number in range(30_000)]
    nodes[15_000 : 15_000 + large] = [_field(1, b"\x2a\x00" * (SIZE // 2 // large))] * large
    with pytest.raises(tfbundle.UnsupportedError):
        check_message(b"".join(nodes), GraphDef)


def test_sizes_that_are_drawn_explain_the_list_or_do_not() -> None:
    alike = [bytes(100)] * 3000
    assert _unseen(alike, 100_000, 100_000 * 102) == 0
    # One message of ten million bytes that was not drawn, and one that was, for which there are not more like it.
    assert _unseen(alike, 100_000, 100_000 * 102 + 10_000_000) == 10_000_000
    assert _unseen([*alike[1:], bytes(10_000_000)], 100_000, 100_000 * 102 + 20_000_000) > 20_000_000


@pytest.mark.parametrize("dense", ["first", "last"])
@pytest.mark.effort
def test_dense_levels_are_split_across_large_fields(dense: str) -> None:
    """A field that is longer than what is split at a time is before or after many empty ones."""
    large, empty = _field(1, _field(1, bytes(1 << 20))), b"\x0a\x00" * (8 << 20)
    with pytest.raises(tfbundle.UnsupportedError):
        check_message(empty + large if dense == "first" else large + empty, GraphDef)


def test_messages_that_nest_too_deeply_are_left_to_the_decoder() -> None:
    """Each level is a copy of the rest, of which there may be a million."""
    data = b""
    for _ in range(400):
        data = _field(2, _field(10, _field(2, b"\x0a\x01x" + data)))
    node = _field(1, _field(5, b"\x0a\x01f" + data))
    check_message(node + bytes((0x1A, 0)) * 8 + node * (SIZE // len(node)), GraphDef)
