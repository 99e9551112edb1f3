"""How many outputs a node has, and of which types.

A node itself does not say. The definition of its op does, in terms of the node's attributes: ``MatMul`` gives one
tensor of type ``T``, ``Split`` gives ``num_split`` of them, ``If`` a list of types ``Tout``. A MetaGraphDef brings the
definitions of the ops that it uses, a function has one of its own, and for what remains there is a table of all ops of
TensorFlow (``known_ops``), where outputs are written like this::

    T                      one output, whose type the attribute T names
    out_type=3             the same, and 3 (DT_INT32) where the node has no such attribute
    1                      one output of the type 1 (DT_FLOAT)
    N*T                    as many as the attribute N says
    *Tout                  one for each type in the list of types Tout
    values:T,indices:3     several outputs, with their names
    -                      none
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from tfbundle.errors import FormatError
from tfbundle.limits import MOST_OUTPUTS
from tfbundle.proto import AttrValue, NodeDef, OpDef
from tfbundle.tensors.dtypes import without_reference


class OutputList(NamedTuple):
    """What a definition says of an output, which may be a list of tensors.

    ``type`` is a ``DataType`` number or the name of an attribute; ``number`` the attribute that says how many, and
    ``type_list`` the attribute with the types of all. A default serves nodes that lack the attribute.
    """

    name: str
    type: int | str
    default_type: int | None
    number: str
    default_number: int | None
    type_list: str


OutputLists = tuple[OutputList, ...]


class OpOutputs:
    """The outputs of ops: as some definitions say, or else as TensorFlow's own ops have them."""

    def __init__(self, definitions: Iterable[OpDef] = ()) -> None:
        """Definitions are those that the file brings, of functions too."""
        self._definitions = {definition.name: definition for definition in definitions}
        self._decoded: dict[str, OutputLists | None] = {}

    def lists(self, op: str) -> OutputLists | None:
        """Return the outputs that an op's definition has, or ``None`` for an op that nothing is known of."""
        if op not in self._decoded:
            definition = self._definitions.get(op)
            self._decoded[op] = _known_ops().get(op) if definition is None else _decode_definition(definition)
        return self._decoded[op]

    def types(self, node: NodeDef) -> list[int | None] | None:
        """Return the ``DataType`` number of each output, with ``None`` for one that is left open.

        The whole is ``None`` where not even the number of outputs is known. Raises ``FormatError`` where the node's
        attributes make no sense for its op.
        """
        lists = self.lists(node.op)
        if lists is None:
            return None
        types: list[int | None] = []
        for output in lists:
            length = list_length(output, node)
            if length is None:
                return None
            if output.type_list:
                types += [_list_type(output, node, index) for index in range(length)]
            else:
                types += [_list_type(output, node, 0)] * length
        return types

    def find(self, node: NodeDef, index: int) -> tuple[bool, int | None]:
        """Whether a node may have an output of this index, and its ``DataType`` number; raises as ``types`` does.

        It takes no longer for the last of many.
        """
        for output in self.lists(node.op) or ():
            length = list_length(output, node)
            if length is None:
                return True, None
            if index < length:
                return True, _list_type(output, node, index)
            index -= length
        # Of an op that nothing is known of, any output may exist.
        return self.lists(node.op) is None, None


def list_length(output: OutputList, node: NodeDef) -> int | None:
    """How many tensors make up one output of a node, or ``None`` where that is left open."""
    if output.type_list:
        value = _attribute(node, output.type_list, "list")
        return None if value is None else len(value.list.type)
    if not output.number:
        return 1
    value = _attribute(node, output.number, "i")
    count = output.default_number if value is None else value.i
    if count is not None and not 0 <= count <= MOST_OUTPUTS:
        raise FormatError(f"the node {node.name!r} says that it has {count} outputs")
    return count


def _list_type(output: OutputList, node: NodeDef, index: int) -> int | None:
    """Return the type of one of the tensors that make up an output."""
    if output.type_list:
        return without_reference(node.attr[output.type_list].list.type[index])
    number = output.default_type
    if isinstance(output.type, int):
        number = output.type
    elif (value := _attribute(node, output.type, "type")) is not None:
        number = without_reference(value.type)
    return number or None


def _attribute(node: NodeDef, name: str, kind: str) -> AttrValue | None:
    """Return an attribute of the node; ``None`` where it is not there, or for the caller of a function to say."""
    if name not in node.attr:
        return None
    value = node.attr[name]
    found = value.WhichOneof("value")
    if found in (None, "placeholder"):
        return None
    if found != kind:
        raise FormatError(
            f"attribute {name!r} of the node {node.name!r} is of another kind than its op {node.op} requires"
        )
    return value


def _decode_definition(definition: OpDef) -> OutputLists:
    defaults = {attr.name: attr.default_value for attr in definition.attr if attr.HasField("default_value")}
    outputs = []
    for arg in definition.output_arg:
        default_type, default_number = defaults.get(arg.type_attr), defaults.get(arg.number_attr)
        outputs.append(
            OutputList(
                arg.name,
                arg.type_attr or without_reference(arg.type),
                default_type.type if default_type is not None else None,
                arg.number_attr,
                default_number.i if default_number is not None else None,
                arg.type_list_attr,
            )
        )
    return tuple(outputs)


@cache
def _known_ops() -> Mapping[str, OutputLists]:
    from tfbundle.graph.known_ops import TABLE  # Read once a node without a definition is met.

    known = {}
    for line in TABLE.strip().replace("\n ", " ").split("\n"):
        text, _, ops = line.partition(" = ")
        outputs = () if text == "-" else tuple(map(_parse_output, text.split(",")))
        known.update(dict.fromkeys(ops.split(), outputs))
    return known


def _parse_output(text: str) -> OutputList:
    name, _, text = text.rpartition(":")
    if text.startswith("*"):
        return OutputList(name, "", None, "", None, text[1:])
    number, _, kind = text.rpartition("*")
    number, _, default_number = number.partition("=")
    kind, _, default_type = kind.partition("=")
    return OutputList(
        name,
        int(kind) if kind.isdecimal() else kind,
        int(default_type) if default_type else None,
        number,
        int(default_number) if default_number else None,
        "",
    )
