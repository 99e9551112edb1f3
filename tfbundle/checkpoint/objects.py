"""The object graph of a TensorFlow 2 checkpoint: the owner of each tensor, and the name of its variable.

A checkpoint of ``tf.train.Checkpoint``, of Keras weights or of a SavedModel stores the graph of the saved Python
objects (``TrackableObjectGraph``) as a string tensor under a separate key::

    node 0 (what was saved) --"model"--> node 1 --"kernel"--> node 2
                            --"optimizer"--> node 3              attribute VARIABLE_VALUE: full name "dense/kernel",
                                                                 key "model/kernel/.ATTRIBUTES/VARIABLE_VALUE"

References may form cycles, as between a layer and its model. Nodes are therefore identified by number, and a walk
through the graph follows each of them once.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from google.protobuf.message import DecodeError

from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.formats.message_budget import check_message
from tfbundle.frozen_dict import FrozenDict
from tfbundle.limits import LARGEST_OBJECT_GRAPH, MOST_OBJECTS, MOST_OBJECTS_A_TENSOR
from tfbundle.proto import TrackableObjectGraph

if TYPE_CHECKING:
    from tfbundle.tensors.mapping import TensorMapping

OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
# The name of the attribute that is the value of a variable.
VARIABLE_VALUE = "VARIABLE_VALUE"
# The part that all keys have in common that TensorFlow restores by the object graph.
ATTRIBUTES = "/.ATTRIBUTES/"
# The end of the key of a variable's value.
VALUE_SUFFIX = f"{ATTRIBUTES}{VARIABLE_VALUE}"

_CHILDREN = TrackableObjectGraph.TrackableObject.CHILDREN_FIELD_NUMBER
_ATTRIBUTES = TrackableObjectGraph.TrackableObject.ATTRIBUTES_FIELD_NUMBER
_SLOTS = TrackableObjectGraph.TrackableObject.SLOT_VARIABLES_FIELD_NUMBER
# Every node and every item in one begins with one of these bytes: the tag of field 1, 2 or 3 with bytes, or the first
# byte of that tag in an overlong form.
_TAGS = (b"\x0a", b"\x12", b"\x1a", b"\x8a", b"\x92", b"\x9a")


class Child(NamedTuple):
    """A reference to another object: its name in the owner, and the number of its node."""

    name: str
    number: int


class Attribute(NamedTuple):
    """A value that an object saved.

    ``name`` is ``"VARIABLE_VALUE"`` for a variable, ``full_name`` the variable's own name, such as ``dense/kernel``
    (empty for other values), ``key`` the tensor's name in the checkpoint.
    """

    name: str
    full_name: str
    key: str


class Slot(NamedTuple):
    """A variable that an optimizer keeps for another: its name, such as ``"m"``, and the nodes of both."""

    name: str
    original: int
    number: int


class Node(NamedTuple):
    """One object."""

    number: int
    children: tuple[Child, ...]
    attributes: tuple[Attribute, ...]
    slots: tuple[Slot, ...]


class Visit(NamedTuple):
    """A step of a walk: its depth, the object's name in the owner, and the number of the object's node.

    ``is_first`` is false if the object has its place elsewhere in the tree; its children are then not visited here.
    """

    depth: int
    name: str
    number: int
    is_first: bool


class ObjectGraph(Sequence[Node]):
    """The objects that a TensorFlow 2 checkpoint was saved from: a sequence of nodes, of which number 0 is the root.

    A node has ``children``, ``attributes`` (the values that it saved, each with its key in the checkpoint) and
    ``slots`` (the variables that an optimizer keeps for others), each a tuple.
    """

    def __init__(self, proto: TrackableObjectGraph) -> None:
        """Raise ``FormatError`` for a graph without nodes, or with references to nodes that it does not have."""
        self.proto = proto
        self._nodes = proto.nodes
        count = len(self._nodes)
        if not count:
            raise FormatError("the object graph has no nodes")
        names: dict[str, str] = {}
        variables: set[str] = set()
        slots = []
        for number, node in enumerate(self._nodes):
            numbers: list[int] = []
            # Listing the present fields is several times faster than accessing each possible field.
            for field, values in node.ListFields():
                if field.number == _CHILDREN:
                    numbers += [child.node_id for child in values]
                elif field.number == _SLOTS:
                    slots.append(number)
                    for slot in values:
                        numbers += (slot.original_variable_node_id, slot.slot_variable_node_id)
                elif field.number == _ATTRIBUTES:
                    for attribute in values:
                        if attribute.name == VARIABLE_VALUE:
                            variables.add(attribute.checkpoint_key)
                        if attribute.full_name:
                            names.setdefault(attribute.checkpoint_key, attribute.full_name)
            for other in numbers:
                if not 0 <= other < count:
                    raise FormatError(f"node {number} of the object graph refers to node {other} of only {count}")
        self.with_slots = tuple(slots)
        """The numbers of the nodes that list slots."""
        self.variable_count = len(variables)
        """The number of variables. Those of some distribution strategies have no own name."""
        self.variable_names: Mapping[str, str] = FrozenDict(names)
        """The variable's own name for each key of the checkpoint that has one. Variables may share a name."""
        self._keys: dict[str, list[str]] | None = None
        # A large node may be referred to many times, so each is converted once.
        self._made: dict[int, Node] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    @overload
    def __getitem__(self, index: int) -> Node: ...

    @overload
    def __getitem__(self, index: slice) -> list[Node]: ...

    def __getitem__(self, index: int | slice) -> Node | list[Node]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        made = self._made.get(number)
        if made is None:
            made = self._made[number] = self._make(number)
        return made

    def __iter__(self) -> Iterator[Node]:
        # Each node is needed only once here, so none is kept.
        return map(self._make, range(len(self)))

    def _make(self, number: int) -> Node:
        node = self._nodes[number]
        return Node(
            number,
            tuple(Child(child.local_name, child.node_id) for child in node.children),
            tuple(Attribute(value.name, value.full_name, value.checkpoint_key) for value in node.attributes),
            tuple(
                Slot(slot.slot_name, slot.original_variable_node_id, slot.slot_variable_node_id)
                for slot in node.slot_variables
            ),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectGraph, (self.proto,)

    def __repr__(self) -> str:
        return f"<ObjectGraph of {len(self)} objects, {self.variable_count} variables>"

    def keys_of(self, variable_name: str) -> list[str]:
        """Return the keys of the variables with this name."""
        if self._keys is None:
            keys = defaultdict(list)
            for key, name in self.variable_names.items():
                keys[name].append(key)
            self._keys = dict(keys)
        return list(self._keys.get(variable_name, ()))

    def keys_at(self, number: int) -> list[str]:
        """Return the keys of the values that a node saved; takes less time than the node, which is not kept."""
        return [value.checkpoint_key for value in self._nodes[number].attributes]

    def value_key(self, number: int) -> str | None:
        """Return the key of the value of a variable's node, or ``None`` for other nodes; see ``keys_at``."""
        values = (value.checkpoint_key for value in self._nodes[number].attributes if value.name == VARIABLE_VALUE)
        return next(values, None)

    def with_child(self, name: str) -> Iterator[int]:
        """Yield the numbers of the nodes that have a child with this name."""
        for number, node in enumerate(self._nodes):
            if any(child.local_name == name for child in node.children):
                yield number

    def walk(self) -> Iterator[Visit]:
        """Yield the objects as a tree from the saved object, owners before their children.

        An object has its place at the end of the shortest path to it, the first of several, as in the keys of the
        checkpoint; all other references to it are visited too, but not followed. Slots are not part of the tree.
        """
        places = self._places()
        yield Visit(0, "", 0, True)
        stack = [(0, enumerate(self[0].children))]
        while stack:
            number, children = stack[-1]
            for position, child in children:
                is_first = places[child.number] == (number, position)
                yield Visit(len(stack), child.name, child.number, is_first)
                if is_first:
                    stack.append((child.number, enumerate(self[child.number].children)))
                    break
            else:
                stack.pop()

    def _places(self) -> dict[int, tuple[int, int]]:
        """Return the owner of each reachable object in the tree, and which of its children the object is."""
        places = {0: (-1, -1)}
        queue = deque([0])
        while queue:
            number = queue.popleft()
            for position, child in enumerate(self._nodes[number].children):
                if child.node_id not in places:
                    places[child.node_id] = (number, position)
                    queue.append(child.node_id)
        return places


def read_object_graph(checkpoint: TensorMapping) -> ObjectGraph | None:
    """Return the graph that a checkpoint stores, or ``None``.

    Raises the errors of ``Tensor.read`` and ``decode_object_graph``.
    """
    if OBJECT_GRAPH_KEY not in checkpoint:
        return None
    tensor = checkpoint[OBJECT_GRAPH_KEY]
    path = checkpoint.prefix
    try:
        if tensor.ranges:  # A partitioned tensor may have lost all of its slices.
            path = tensor.ranges[0].path
        if tensor.shape or tensor.data_type != "DT_STRING":
            raise FormatError(f"{OBJECT_GRAPH_KEY!r} is {tensor.data_type} of shape {list(tensor.shape)}, not a string")
        data: bytes = tensor.read().item()
        return decode_object_graph(data, len(checkpoint))
    except TfBundleError as error:
        raise error.locate(path=path, tensor=OBJECT_GRAPH_KEY) from None


def decode_object_graph(data: bytes, tensors: int = 0) -> ObjectGraph:
    """Return the graph from its bytes; ``tensors`` is the number of tensors in the checkpoint.

    Raises ``FormatError`` if the bytes are not a graph, and ``UnsupportedError`` if they are more than such a
    checkpoint can need.
    """
    if len(data) > LARGEST_OBJECT_GRAPH:
        raise UnsupportedError(
            f"the object graph has {len(data)} bytes, and more than {LARGEST_OBJECT_GRAPH} are not decoded"
        )
    # Decoding takes memory for each node and reference, so an upper bound of their number is computed before.
    most = MOST_OBJECTS + MOST_OBJECTS_A_TENSOR * tensors
    if len(data) > 2 * most and sum(map(data.count, _TAGS)) > most:
        raise UnsupportedError(
            f"the object graph has more than {most} nodes and references, which is more than {tensors} tensors need"
        )
    check_message(data, TrackableObjectGraph)
    try:
        return ObjectGraph(TrackableObjectGraph.FromString(data))
    except DecodeError:
        raise FormatError("the object graph is not a TrackableObjectGraph") from None
