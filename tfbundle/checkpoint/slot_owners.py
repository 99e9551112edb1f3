"""Which variable each optimizer slot belongs to.

An object graph states it for the optimizers of TensorFlow and of Keras up to 2.10. Everywhere else the name of a slot
contains that of its variable: ``w/Adam`` and ``training/Adam/w/m`` belong to ``w`` (see ``slots``). In a Keras 3
checkpoint, the own name of a slot ends with that of the variable, in which slashes are underscores, and the name of the
slot: ``adam/dense_kernel_momentum``.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping

from tfbundle.checkpoint.objects import VARIABLE_VALUE, ObjectGraph
from tfbundle.checkpoint.slot_names import AVERAGE

# How many scopes of a name are examined.
_MOST_SCOPES = 32
# The ends of the own names of Keras 3's slots.
_KERAS_ENDS = ("_momentum", "_velocity", "_accumulator", "_linear", "_m", "_v", "_u", "_norm")


def find_slot_owners(names: Container[str], slots: Collection[str], objects: ObjectGraph | None) -> dict[str, str]:
    """Return the names of slots with the names of their variables; slots whose variable is not known are left out."""
    found = {} if objects is None else _stated(objects)
    owners = {slot: owner for slot, owner in found.items() if slot in slots and owner in names and owner != slot}
    known = {} if objects is None else _by_flat_name(objects.variable_names, slots)
    for slot in slots:
        if slot not in owners:
            owner = _by_name(slot, names, slots)
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
            values = (item.key for item in objects[number].attributes if item.name == VARIABLE_VALUE)
            keys[number] = next(values, None)
        return keys[number]

    for optimizer in objects.with_slots:
        for slot in objects[optimizer].slots:
            own, original = key_of(slot.number), key_of(slot.original)
            if own is not None and original is not None:
                found[own] = original
    return found


def _by_name(slot: str, names: Container[str], slots: Collection[str]) -> str | None:
    """Return the variable whose name is a run of scopes in that of a slot.

    It is the run before the last scope, as in ``training/Adam/w/m``, or for a slot of a part the first one, as in
    ``w/part_0/Ftrl``.
    """
    scopes = slot.split("/", _MOST_SCOPES)[:-1]
    runs = [scopes[start:] for start in range(len(scopes))]
    runs += [scopes[:end] for end in range(len(scopes) - 1, 0, -1)]
    for variable in map("/".join, runs):
        for owner in (variable, variable + AVERAGE):  # Averages may be saved in place of variables.
            if owner in names and owner not in slots:
                return owner
    return None


def _by_flat_name(variables: Mapping[str, str], slots: Collection[str]) -> dict[str, str]:
    return {name.replace("/", "_"): key for key, name in variables.items() if key not in slots}


def _by_own_name(name: str, known: Mapping[str, str]) -> str | None:
    last = name.rpartition("/")[2]
    for end in _KERAS_ENDS:
        if last.endswith(end):
            return known.get(last.removesuffix(end))
    return None
