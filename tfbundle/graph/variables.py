"""The variables that a MetaGraphDef lists, with their names in a checkpoint.

TensorFlow 1 lists them in collections (``VariableDef``). A checkpoint stores a variable under its own name, and a
partitioned one, whose parts are separate variables, under the name of the whole. TensorFlow 2 saves the graph of the
program's objects instead (``SavedObjectGraph``). A variable's key in the checkpoint is then the shortest path to it
from the saved object, or the first of several::

    object 0 --"model"--> object 1 --"kernel"--> object 2: variable "dense/kernel"
    model/kernel/.ATTRIBUTES/VARIABLE_VALUE
    model/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE    the slot "m" of object "optimizer" for it
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from tfbundle.checkpoint.objects import VALUE_SUFFIX
from tfbundle.errors import FormatError, UnsupportedError
from tfbundle.graph.attributes import Shape, decode_partial_shape
from tfbundle.graph.collections import Collections
from tfbundle.graph.graph import Graph
from tfbundle.graph.restoring import variable_shape, variable_type
from tfbundle.limits import LARGEST_KEYS
from tfbundle.proto import SavedObjectGraph, VariableDef
from tfbundle.tensors.dtypes import data_type_name

# The cost of a path segment in addition to its name, because even a short one takes time.
_STEP_SIZE = 4


class Variable(NamedTuple):
    """A variable, or a part of a partitioned one.

    ``stored_name`` is its name in a checkpoint, ``name`` that in the program, such as ``dense/kernel:0``. ``shape`` is
    that of the whole variable.
    """

    stored_name: str
    name: str
    trainable: bool
    data_type: str | None
    shape: Shape

    @property
    def own_name(self) -> str:
        """The name without the number of the output, such as ``dense/kernel``."""
        return self.name.removesuffix(":0")


def listed_variables(collections: Collections, graph: Graph) -> Iterator[Variable]:
    """Yield the variables in the collections of a TensorFlow 1 program: global ones, then other trainable ones.

    Raises ``FormatError`` if the collections contain anything else.
    """
    trainable = _definitions(collections, "trainable_variables")
    names = {definition.variable_name for definition in trainable}
    seen = set()
    for definition in (*_definitions(collections, "variables"), *trainable):
        name = definition.variable_name
        if name in seen:
            continue
        seen.add(name)
        output = graph.get(name)
        node = None if output is None else output.node
        shape = None if node is None else variable_shape(node)
        stored_name = name.rpartition(":")[0] or name
        if definition.HasField("save_slice_info_def"):
            stored_name = definition.save_slice_info_def.full_name
            shape = tuple(definition.save_slice_info_def.full_shape)
        data_type = None if node is None else variable_type(node)
        yield Variable(stored_name, name, name in names, data_type, shape)


def _definitions(collections: Collections, name: str) -> list[VariableDef]:
    found = []
    for item in collections.get(name, []):
        if not isinstance(item, VariableDef):
            raise FormatError(f"the collection {name!r} contains {type(item).__name__} instead of variables")
        found.append(item)
    return found


def saved_variables(proto: SavedObjectGraph) -> Iterator[Variable]:
    """Yield the variables among the objects of a TensorFlow 2 program, slots of optimizers included.

    Raises ``FormatError`` if an object refers to one that does not exist, and ``UnsupportedError`` if the keys would
    take more memory than those of any model, which objects in a long chain can cause.
    """
    nodes = proto.nodes
    places = _places(proto)
    slots = {}
    for number in places:
        for slot in nodes[number].slot_variables:
            _check(slot.original_variable_node_id, len(nodes))
            _check(slot.slot_variable_node_id, len(nodes))
            if slot.original_variable_node_id in places:
                slots[slot.slot_variable_node_id] = (slot.original_variable_node_id, number, slot.slot_name)
    sizes = {0: 0}
    for number, (owner, name) in places.items():  # Owners come before their children.
        sizes[number] = sizes[owner] + len(name) + _STEP_SIZE if number else 0
    size = 0
    for number in {**places, **slots}:
        saved = nodes[number]
        if saved.WhichOneof("kind") != "variable":
            continue
        if number in slots:
            owner, optimizer, name = slots[number]
            size += sizes[owner] + sizes[optimizer] + len(name)
        else:
            size += sizes[number]
        # Checked before the key is built, which takes time proportional to its length.
        if size > LARGEST_KEYS:
            raise UnsupportedError(f"the keys of the variables take more than {LARGEST_KEYS} bytes")
        if number in slots:
            way = f"{_way(places, owner)}/.OPTIMIZER_SLOT/{_way(places, optimizer)}/{name}"
        else:
            way = _way(places, number)
        variable = saved.variable
        yield Variable(
            way + VALUE_SUFFIX,
            f"{variable.name}:0",
            variable.trainable,
            data_type_name(variable.dtype),
            decode_partial_shape(variable.shape),
        )


def _places(proto: SavedObjectGraph) -> dict[int, tuple[int, str]]:
    """Return the parent of each reachable object and the name of the edge from it."""
    nodes = proto.nodes
    if not nodes:
        return {}
    places = {0: (0, "")}
    queue = deque([0])
    while queue:
        number = queue.popleft()
        for child in nodes[number].children:
            _check(child.node_id, len(nodes))
            if child.node_id not in places:
                places[child.node_id] = (number, child.local_name.replace(".", "..").replace("/", ".S"))
                queue.append(child.node_id)
    return places


def _way(places: dict[int, tuple[int, str]], number: int) -> str:
    steps = []
    while number:
        number, name = places[number]
        steps.append(name)
    return "/".join(reversed(steps))


def _check(number: int, count: int) -> None:
    if not 0 <= number < count:
        raise FormatError(f"the saved objects refer to object {number}, but there are only {count}")
