"""Determine the number and the types of a node's outputs.

A node does not state them. They follow from the definition of its op and the node's attributes: ``MatMul`` has one
output of type ``T``, ``Split`` has ``num_split`` of them, ``If`` has the types in the list ``Tout``. A MetaGraphDef
contains the definitions of the ops that it uses, and a function has its own definition. For all other ops there is a
table of TensorFlow's ops (``known_ops``), in which outputs are written like this::

    T                      one output, whose type is the attribute T
    out_type=3             the same, with the default 3 (DT_INT32) if the node lacks the attribute
    1                      one output of type 1 (DT_FLOAT)
    N*T                    as many outputs as the attribute N states
    *Tout                  one output for each type in the list Tout
    values:T,indices:3     several outputs, with their names
    -                      none
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from operator import attrgetter
from typing import NamedTuple

from tfbundle.errors import FormatError
from tfbundle.graph.named_messages import NamedMessages
from tfbundle.limits import MOST_OUTPUT_LISTS, MOST_OUTPUTS
from tfbundle.proto import AttrValue, FunctionDef, NodeDef, OpDef
from tfbundle.tensors.dtypes import without_reference


class OutputList(NamedTuple):
    """The definition of an output, which may be a list of tensors.

    ``type`` is a ``DataType`` number or the name of an attribute; ``number`` is the attribute with the number of
    tensors, and ``type_list`` the attribute with the types of all. The defaults apply to nodes that lack the attribute.
    """

    name: str
    type: int | str
    default_type: int | None
    number: str
    default_number: int | None
    type_list: str


OutputLists = tuple[OutputList, ...]


class _Layout:
    """The outputs of one op, with an index of those that are lists, so that others are found without counting."""

    def __init__(self, lists: OutputLists) -> None:
        self.lists = lists
        self.variable = [place for place, output in enumerate(lists) if output.number or output.type_list]
        self._places: dict[str, int] = {}
        for place, output in enumerate(lists):
            self._places.setdefault(output.name, place)

    def find(self, node: NodeDef, index: int) -> tuple[bool, int | None]:
        """Return whether a node may have an output with this index, and its type; errors as in ``OpOutputs.types``."""
        behind = 0  # The position after the last list that was passed.
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
        """Return the index of the tensor ``number`` of the output ``name``, or ``None`` if it does not exist."""
        # The table has a single output of an op without its name.
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
    """The outputs of ops, from the given definitions or else from those of TensorFlow."""

    def __init__(self, definitions: Sequence[OpDef] = (), functions: Sequence[FunctionDef] = ()) -> None:
        """Take the definitions and functions in the file, which are indexed on the first lookup."""
        self._stated = definitions
        self._functions = functions
        self._layouts: dict[str, _Layout | None] = {}

    @cached_property
    def functions(self) -> NamedMessages[FunctionDef]:
        """The functions by name."""
        return NamedMessages(self._functions, attrgetter("signature.name"))

    @cached_property
    def _definitions(self) -> NamedMessages[OpDef]:
        return NamedMessages(self._stated, attrgetter("name"))

    def lists(self, op: str) -> OutputLists | None:
        """Return the outputs in an op's definition, or ``None`` for an unknown op.

        Raises ``FormatError`` for an invalid definition.
        """
        layout = self._layout(op)
        return None if layout is None else layout.lists

    def types(self, node: NodeDef) -> list[int | None] | None:
        """Return the ``DataType`` number of each output, with ``None`` for an unknown type.

        Returns ``None`` if the number of outputs is not known. Raises ``FormatError`` if the node's attributes do not
        fit its op.
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
        """Return whether a node may have an output with this index, and its ``DataType`` number.

        The time does not depend on the index. Raises the errors of ``types``.
        """
        layout = self._layout(node.op)
        # An unknown op may have any output.
        return (True, None) if layout is None else layout.find(node, index)

    def index_of(self, node: NodeDef, name: str, number: int) -> int | None:
        """Return the index of the tensor ``number`` of the output ``name``, or ``None`` if it does not exist.

        For an unknown op it is ``number``. Raises the errors of ``types``.
        """
        layout = self._layout(node.op)
        return number if layout is None else layout.index_of(node, name, number)

    def _layout(self, op: str) -> _Layout | None:
        if op not in self._layouts:
            function = self.functions.get(op)
            definition = self._definitions.get(op) if function is None else function.signature
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
    """Return the number of tensors in one output of a node, or ``None`` if it is not known."""
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
        raise FormatError(f"the node {node.name!r} claims to have {count} outputs")


def _list_type(output: OutputList, node: NodeDef, index: int) -> int | None:
    """Return the type of one of the tensors in an output."""
    if output.type_list:
        return without_reference(node.attr[output.type_list].list.type[index])
    number = output.default_type
    if isinstance(output.type, int):
        number = output.type
    elif (value := _attribute(node, output.type, "type")) is not None:
        number = without_reference(value.type)
    return number or None


def _attribute(node: NodeDef, name: str, kind: str) -> AttrValue | None:
    """Return an attribute of the node, or ``None`` if it is missing or set by the caller of a function."""
    if name not in node.attr:
        return None
    value = node.attr[name]
    found = value.WhichOneof("value")
    if found in (None, "placeholder"):
        return None
    if found != kind:
        raise FormatError(
            f"attribute {name!r} of the node {node.name!r} is not of the kind that its op {node.op} requires"
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
    from tfbundle.graph.known_ops import TABLE  # Loaded only for nodes whose op has no definition.

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
