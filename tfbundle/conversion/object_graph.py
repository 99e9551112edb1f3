"""The object graph of a TensorFlow 2 checkpoint after tensors were renamed or dropped.

TensorFlow restores by the graph: it walks from the saved object along the names of children, and the attributes of each
object state the keys of its tensors. A tensor therefore has its name in several places, which must stay consistent::

    key of the tensor   model/dense/kernel/.ATTRIBUTES/VARIABLE_VALUE
    checkpoint_key      the same, in an attribute of the variable's node
    children            "model", "dense", "kernel", on the way to that node
    slot_variables      of the optimizer, which refer to the nodes of the variable and of its slot

Rules:

* A renamed key is renamed in its attribute. If the new key is a path of the same length, the children along the path
  are renamed too, provided that all keys below agree, so that ``Checkpoint(net=...)`` restores an object that was saved
  as ``model``. If all keys below a path move (``model/...`` to ``...``, or the reverse), the object moves as well: the
  new path refers to it, or to an existing object that receives its children.
* An object that lost all its tensors is removed from its owners and optimizers. Otherwise TensorFlow would consider a
  variable without a value restored.
* Nodes keep their numbers, because all references are by number.
"""

from __future__ import annotations

from collections.abc import Mapping

from tfbundle.checkpoint.objects import ObjectGraph
from tfbundle.conversion.object_paths import move_objects, rename_children
from tfbundle.proto import TrackableObjectGraph


def rewrite_objects(objects: ObjectGraph, names: Mapping[str, str]) -> bytes:
    """Return the serialized graph for a checkpoint with the tensors ``names``, which maps old keys to new keys.

    The graph itself is not in ``names``. If no name changes, the result is an equal graph.
    """
    proto = TrackableObjectGraph()
    proto.CopyFrom(objects.proto)
    if any(old != new for old, new in names.items()):
        move_objects(proto, objects, names)
        rename_children(proto, objects, names)
    lost = set()
    for number, node in enumerate(proto.nodes):
        kept = [value for value in node.attributes if value.checkpoint_key in names]
        if len(kept) == len(node.attributes):
            for value in node.attributes:
                value.checkpoint_key = names[value.checkpoint_key]
            continue
        copies = [type(value).FromString(value.SerializeToString()) for value in kept]
        for value in copies:
            value.checkpoint_key = names[value.checkpoint_key]
        del node.attributes[:]
        node.attributes.extend(copies)
        if not kept:
            lost.add(number)
    if lost:
        _cut_off(proto, lost - _owners_of_kept(proto))
    return proto.SerializeToString()


def _owners_of_kept(proto: TrackableObjectGraph) -> set[int]:
    """Return the numbers of the nodes that lead to a node with attributes."""
    owners: dict[int, list[int]] = {}
    for number, node in enumerate(proto.nodes):
        for child in node.children:
            owners.setdefault(child.node_id, []).append(number)
    found = {number for number, node in enumerate(proto.nodes) if len(node.attributes)}
    stack = list(found)
    while stack:
        for owner in owners.get(stack.pop(), ()):
            if owner not in found:
                found.add(owner)
                stack.append(owner)
    return found


def _cut_off(proto: TrackableObjectGraph, lost: set[int]) -> None:
    for node in proto.nodes:
        children = [child for child in node.children if child.node_id not in lost]
        if len(children) != len(node.children):
            copies = [type(child).FromString(child.SerializeToString()) for child in children]
            del node.children[:]
            node.children.extend(copies)
        slots = [
            slot
            for slot in node.slot_variables
            if slot.slot_variable_node_id not in lost and slot.original_variable_node_id not in lost
        ]
        if len(slots) != len(node.slot_variables):
            kept = [type(slot).FromString(slot.SerializeToString()) for slot in slots]
            del node.slot_variables[:]
            node.slot_variables.extend(kept)
