"""Checkpoints with 50,000 names in many scopes, which might be optimizer slots, and a few that are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from tests.hostile.catalogue import Wanted, add
from tfbundle.checkpoint.objects import ObjectGraph
from tfbundle.proto import TrackableObjectGraph

_COUNT = 50_000
_DEEP = 25_000
_SCOPES = "a/" * 80
_MORE_SCOPES = "/".join(f"s{number}" for number in range(80))


def _add(name: str, title: str, of_one: Callable[[int], Iterable[str]], others: Iterable[str] = ()) -> None:
    """Add a case with the names that ``of_one`` makes of each number, none of which is a slot."""

    def build(folder: Path) -> Wanted:
        made = (name for number in range(_COUNT) for name in of_one(number))
        names = dict.fromkeys(islice(made, _COUNT))
        names |= dict.fromkeys((*others, "w", "w/Adam", "x/w/Adam_1", "Adam/w/m", "w/part_0/Ftrl", "x/y/w_slot_v"))
        slots = {name for name in names if name.endswith(_SLOTS)}
        return Wanted(folder, {"names": names, "slots": slots, "owners": dict.fromkeys(slots - {"x/y/w_slot_v"}, "w")})

    add(f"slots-{name}", "slots", build, title)


_SLOTS = ("w/Adam", "w/Adam_1", "Adam/w/m", "w/part_0/Ftrl", "w_slot_v")

_add("deep-parts", "parts of variables in 80 scopes", lambda i: [f"{_MORE_SCOPES}/w{i}/part_{i}/Adam"])
_add("repeated-scope", "parts of variables in one scope 80 times", lambda i: [f"{i}/{_SCOPES}part_{i}/Adam"], ["a"])
_add(
    "same-last-part",
    "variables in 80 scopes with the last part of other variables",
    lambda i: [f"{_SCOPES}{i}/v/Adam", f"b/{i}/v"],
)
_add(
    "other-scopes",
    "variables in 80 scopes that other variables are stored in",
    lambda i: [f"{_SCOPES}Adam/v{i}/m", f"b/v{i}"],
)
_add(
    "tables",
    "tables of embeddings in 80 scopes",
    lambda i: [f"{_SCOPES}v{i}/Adam-keys", f"b/v{i}", f"b/v{i}-keys"],
)
_add(
    "settings",
    "variables in 80 scopes, each with an optimizer's settings",
    lambda i: [f"{_SCOPES}v{i}/m", f"b/v{i}"],
    [f"{'a/' * depth}{setting}" for depth in range(1, 81) for setting in ("decay", "learning_rate")],
)
_add("digits", "names of 1,000 digits", lambda i: [f"{'1' * 1000}_{i}_/Adam"] if i < 20_000 else [])


def _add_graph(name: str, title: str, of_graph: Callable[[TrackableObjectGraph], dict[str, str]], *names: str) -> None:
    """Add a case with a graph that ``of_graph`` fills, which returns its slots and their variables."""

    def build(folder: Path) -> Wanted:
        proto = TrackableObjectGraph()
        owners = of_graph(proto)
        stored = dict.fromkeys((*owners, *owners.values(), *names))
        return Wanted(
            folder, {"names": stored, "objects": ObjectGraph(proto), "slots": owners.keys(), "owners": owners}
        )

    add(f"slots-graph-{name}", "slots", build, title)


def _variable(proto: TrackableObjectGraph, *keys: str) -> int:
    node = proto.nodes.add()
    for key in keys:
        node.attributes.add(name="VARIABLE_VALUE", checkpoint_key=key)
    return len(proto.nodes) - 1


def _deep(proto: TrackableObjectGraph, form: str, owner: str) -> dict[str, str]:
    optimizer = proto.nodes.add()
    slots = [form.format(number) for number in range(_DEEP)]
    for slot in slots:
        number = _variable(proto, slot)
        optimizer.slot_variables.add(slot_name="m", original_variable_node_id=0, slot_variable_node_id=number)
    return dict.fromkeys(slots, owner)


def _same(proto: TrackableObjectGraph) -> dict[str, str]:
    optimizer = proto.nodes.add()
    own, original = _variable(proto, "m", *(f"k{number}" for number in range(_DEEP))), _variable(proto, "w")
    for _ in range(_COUNT):
        optimizer.slot_variables.add(slot_name="m", original_variable_node_id=original, slot_variable_node_id=own)
    return {"m": "w"}


def _shared_list(proto: TrackableObjectGraph) -> dict[str, str]:
    shared = proto.nodes.add()
    for number in range(20_000):
        shared.children.add(local_name=str(number), node_id=_variable(proto, f"v{number}"))
    own = _variable(proto, "x/w/m")
    for _ in range(5_000):
        optimizer = proto.nodes.add()
        proto.nodes.add().children.add(local_name="0", node_id=own)
        last = len(proto.nodes) - 1
        for name, number in (("_iterations", 1), ("_variables", last), ("_trainable_variables", 0)):
            optimizer.children.add(local_name=name, node_id=number)
    return {"x/w/m": "w"}


_add_graph("ends", "25,000 slots in 80 scopes", lambda proto: _deep(proto, f"{_MORE_SCOPES}/{{}}/v/m", "v"), "b/v")
_add_graph("starts", "25,000 slots with 80 scopes", lambda proto: _deep(proto, f"{_MORE_SCOPES}/{{}}/m", "s0"), "s0/v")
_add_graph("same", "50,000 slots that are one object of 25,000 keys", _same)
_add_graph("shared-list", "5,000 optimizers with one list of 20,000 variables", _shared_list)
