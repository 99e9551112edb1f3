"""Which variable each optimizer slot belongs to.

An object graph states it for the optimizers of TensorFlow and of Keras up to 2.10. Everywhere else the name of a slot
contains that of its variable: ``w/Adam`` and ``training/Adam/w/m`` belong to ``w`` (see ``slots``). In a Keras 3
checkpoint, the own name of a slot ends with that of the variable, in which slashes are underscores, and the name of the
slot: ``adam/dense_kernel_momentum``.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping

from tfbundle.checkpoint.objects import ObjectGraph
from tfbundle.checkpoint.scoped_names import find_ends, find_starts
from tfbundle.checkpoint.slot_names import AVERAGE

# The ends of the own names of Keras 3's slots.
_KERAS_ENDS = ("_momentum", "_velocity", "_accumulator", "_linear", "_m", "_v", "_u", "_norm")


def find_slot_owners(names: Collection[str], slots: Collection[str], objects: ObjectGraph | None) -> dict[str, str]:
    """Return the names of slots with the names of their variables; slots whose variable is not known are left out."""
    stated = {} if objects is None else _stated(objects)
    owners = {slot: owner for slot, owner in stated.items() if slot in slots and owner in names and owner != slot}
    rest = [slot for slot in slots if slot not in owners]
    by_name = _by_name(rest, names, slots)
    known = {} if objects is None else _by_flat_name(objects.variable_names, slots)
    for slot in rest:
        owner = by_name.get(slot)
        if owner is None and objects is not None:
            owner = _by_own_name(objects.variable_names.get(slot, ""), known)
        if owner is not None:
            owners[slot] = owner
    return owners


def _stated(objects: ObjectGraph) -> dict[str, str]:
    found = {}
    keys: dict[int, str | None] = {}

    def key_of(number: int) -> str | None:
        if number not in keys:
            keys[number] = objects.value_key(number)
        return keys[number]

    for optimizer in objects.with_slots:
        for slot in objects[optimizer].slots:
            own, original = key_of(slot.number), key_of(slot.original)
            if own is not None and original is not None:
                found[own] = original
    return found


def _by_name(slots: Iterable[str], names: Iterable[str], all_slots: Container[str]) -> dict[str, str]:
    """Return the given slots whose names contain that of a variable, with its name.

    It precedes the last part, as in ``training/Adam/w/m``, or for a slot of a part of a variable, it is the start, as
    in ``w/part_0/Ftrl``. The longest end comes before the longest start.
    """
    scopes = {slot: slot.rpartition("/")[0] for slot in slots}
    wanted = set(scopes.values()) - {""}
    if not wanted:
        return {}
    others = [name for name in names if name not in all_slots]
    # Averages may be saved in place of variables.
    variables = {name.removesuffix(AVERAGE): name for name in others if name.endswith(AVERAGE)}
    variables.update((name, name) for name in others)
    variables.pop("", None)
    if not variables:
        return {}
    found = find_ends(wanted, variables.keys())
    found.update(find_starts(wanted - found.keys(), variables.keys()))
    return {slot: variables[found[scope]] for slot, scope in scopes.items() if scope in found}


def _by_flat_name(variables: Mapping[str, str], slots: Collection[str]) -> dict[str, str]:
    return {name.replace("/", "_"): key for key, name in variables.items() if key not in slots}


def _by_own_name(name: str, known: Mapping[str, str]) -> str | None:
    last = name.rpartition("/")[2]
    for end in _KERAS_ENDS:
        if last.endswith(end):
            return known.get(last.removesuffix(end))
    return None
