"""The tensors of a checkpoint that are optimizer slots: the values accumulated for each variable in training.

A model runs without them, and with Adam they are two thirds of the bytes. Counters and settings (``iterations``,
``learning_rate``, ``global_step``) are not slots, nor are moving averages of the weights, which are meant to replace
the weights.

Object-based checkpoints identify slots, in one of two ways:

* Optimizers of TensorFlow and of Keras up to 2.10 (later ``keras.optimizers.legacy``) list ``slot_variables``.
* Keras optimizers since then, including those of Keras 3, have a child ``_iterations`` and a list ``_variables`` of
  (nearly) all their variables, besides lists such as ``_momentums``; the experimental optimizers of 2.9 have only the
  latter. Variables that are direct children are counters or settings; members of the list
  ``_model_variables_moving_average`` are averages; all other members of the lists are slots.

In checkpoints without an object graph, slots are recognised by their names; see ``slot_names``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tfbundle.checkpoint.objects import Node, ObjectGraph
from tfbundle.checkpoint.slot_names import BETA_POWER, OTHER_LISTS, find_slot_names


def find_slots(names: Collection[str], objects: ObjectGraph | None) -> frozenset[str]:
    """Return the names of optimizer slots, by the object graph of a checkpoint, or without one by their form."""
    if objects is None:
        return find_slot_names(names)
    lists: dict[int, frozenset[int]] = {}
    numbers: set[int] = set()
    optimizers = {*objects.with_slots, *objects.with_child("_iterations")}
    for node in map(objects.__getitem__, sorted(optimizers)):
        numbers.update(slot.number for slot in node.slots)
        numbers.update(_keras_slots(node, objects, lists), _beta_powers(node))
    keys = (key for number in numbers for key in objects.keys_at(number))
    return frozenset(key for key in keys if key in names)


def _keras_slots(optimizer: Node, objects: ObjectGraph, lists: dict[int, frozenset[int]]) -> Iterator[int]:
    own = {child.name: child.number for child in optimizer.children}
    if "_iterations" not in own or not ("_variables" in own or "_index_dict" in own):
        return

    def members(number: int) -> frozenset[int]:
        if number not in lists:
            lists[number] = frozenset(child.number for child in objects[number].children if child.name.isdecimal())
        return lists[number]

    # A list belongs to one optimizer; a list with several owners is read once.
    candidates = [number for name, number in own.items() if name not in OTHER_LISTS and number not in lists]
    # The other lists may be shared by many optimizers, so they are not joined for each.
    kept = (frozenset(own.values()), *(members(own[name]) for name in OTHER_LISTS if name in own))
    for number in candidates:
        yield from (member for member in members(number) if not any(member in others for others in kept))


def _beta_powers(optimizer: Node) -> Iterator[int]:
    if optimizer.slots:
        yield from (child.number for child in optimizer.children if BETA_POWER.fullmatch(child.name))
