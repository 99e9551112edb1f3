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
from tfbundle.limits import MOST_OUTPUT_LISTS, MOST_OUTPUTS
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


class _Layout:
    """The outputs of one op, with those marked that are lists, so that any other is found without counting."""

    def __init__(self, lists: OutputLists) -> None:
        self.lists = lists
        self.variable = [place for place, output in enumerate(lists) if output.number or output.type_list]
        self._places: dict[str, int] = {}
        for place, output in enumerate(lists):
            self._places.setdefault(output.name, place)

    def find(self, node: NodeDef, index: int) -> tuple[bool, int | None]:
        """Whether a node may have an output of this index, and its type; raises as ``OpOutputs.types`` does."""
        behind = 0  # The place behind the last list that was passed.
        for place in self.variable:
            if index < place - behind:
                break
            index -= place - behind
            length = list_length(self.lists[place], node)
            if length is None:
                return True, None
            if index < length:
                return True, _list_type(self.lists[place], node, index)
            index -= length
            behind = place + 1
        if behind + index >= len(self.lists):
            return False, None
        return True, _list_type(self.lists[behind + index], node, 0)

    def index_of(self, node: NodeDef, name: str, number: int) -> int | None:
        """Return the index of the tensor ``number`` of the output ``name``, or ``None`` where there is none."""
        # An op with a single output has it in the table without a name.
        is_nameless = len(self.lists) == 1 and not self.lists[0].name
        place = 0 if is_nameless else self._places.get(name)
        if place is None:
            return None
        length = list_length(self.lists[place], node)
        if length is not None and number >= length:
            return None
        index = place + number
        for before in self.variable:
            if before >= place:
                break
            length = list_length(self.lists[before], node)
            index += 0 if length is None else length - 1
        return index


class OpOutputs:
    """The outputs of ops: as some definitions say, or else as TensorFlow's own ops have them."""

    def __init__(self, definitions: Iterable[OpDef] = ()) -> None:
        """Definitions are those that the file brings, of functions too."""
        self._definitions = {definition.name: definition for definition in definitions}
        self._layouts: dict[str, _Layout | None] = {}

    def lists(self, op: str) -> OutputLists | None:
        """Return the outputs that an op's definition has, or ``None`` for an op that nothing is known of.

        Raises ``FormatError`` for a definition that no op has.
        """
        layout = self._layout(op)
        return None if layout is None else layout.lists

    def types(self, node: NodeDef) -> list[int | None] | None:
        """Return the ``DataType`` number of each output, with ``None`` for one that is left open.

        The whole is ``None`` where not even the number of outputs is known. Raises ``FormatError`` where the node's
        attributes make no sense for its op.
        """
        lists = self.lists(node.op)
        if lists is None:
            return None
        types: list[int | None] = []
        claimed = 0
        for output in lists:
            length = list_length(output, node)
            if length is None:
                return None
            if output.type_list:
                types += [_list_type(output, node, index) for index in range(length)]
            else:
                claimed += length if output.number else 0
                _check_count(node, claimed)
                types += [_list_type(output, node, 0)] * length
        return types

    def find(self, node: NodeDef, index: int) -> tuple[bool, int | None]:
        """Whether a node may have an output of this index, and its ``DataType`` number; raises as ``types`` does.

        It takes no longer for the last of many.
        """
        layout = self._layout(node.op)
        # Of an op that nothing is known of, any output may exist.
        return (True, None) if layout is None else layout.find(node, index)

    def index_of(self, node: NodeDef, name: str, number: int) -> int | None:
        """Return the index of a tensor by the name of its output, and its number in that; ``None`` for no output.

        Of an op that nothing is known of it is the number. Raises as ``types`` does.
        """
        layout = self._layout(node.op)
        return number if layout is None else layout.index_of(node, name, number)

    def _layout(self, op: str) -> _Layout | None:
        if op not in self._layouts:
            definition = self._definitions.get(op)
            lists = _known_ops().get(op) if definition is None else _decode_definition(definition)
            self._layouts[op] = None if lists is None else _Layout(lists)
        layout = self._layouts[op]
        if layout is not None and len(layout.variable) > MOST_OUTPUT_LISTS:
            raise FormatError(
                f"the op {op!r} is defined with {len(layout.variable)} outputs that are lists of tensors; more than "
                f"{MOST_OUTPUT_LISTS} are not counted"
            )
        return layout


def list_length(output: OutputList, node: NodeDef) -> int | None:
    """How many tensors make up one output of a node, or ``None`` where that is left open."""
    if output.type_list:
        value = _attribute(node, output.type_list, "list")
        return None if value is None else len(value.list.type)
    if not output.number:
        return 1
    value = _attribute(node, output.number, "i")
    count = output.default_number if value is None else value.i
    if count is not None:
        _check_count(node, count)
    return count


def _check_count(node: NodeDef, count: int) -> None:
    if not 0 <= count <= MOST_OUTPUTS:
        raise FormatError(f"the node {node.name!r} says that it has {count} outputs")


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
