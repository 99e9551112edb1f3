"""Text protobuf, compared with google.protobuf.text_format: the same messages, and the same texts refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import google.protobuf
import pytest
from google.protobuf import any_pb2, descriptor_pb2, struct_pb2, text_format, type_pb2
from google.protobuf.message import Message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.sampling import IS_EXHAUSTIVE, places, rounds
from tfbundle import proto
from tfbundle.errors import FormatError
from tfbundle.formats.text import blocks as textproto_blocks
from tfbundle.formats.text.textproto import parse_text

# The warning is Python's about escapes such as \q, which text_format takes as they stand.
pytestmark = pytest.mark.filterwarnings("ignore:invalid (octal )?escape sequence:DeprecationWarning")

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
GRAPH_TEXTS = sorted(FIXTURES.rglob("*.pbtxt"))
STATE_FILES = sorted(FIXTURES.rglob("checkpoint"))


@cache
def reference(text: bytes, message_class: type[Message]) -> bytes | None:
    """What text_format reads, serialized, or None where it refuses, in whatever way."""
    try:
        return dump(text_format.Parse(text, message_class()))
    except Exception:
        return None


def dump(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def check(text: bytes, message_class: type[Message]) -> bool:
    """Assert that both readers agree, and return whether they accept."""
    expected = reference(text, message_class)
    if expected is None:
        with pytest.raises(FormatError, match=r"line \d+, column \d+: ."):
            parse_text(text, message_class)
        return False
    found = parse_text(text, message_class)
    assert type(found) is message_class
    assert dump(found) == expected
    return True


@pytest.fixture(params=[None, 200], ids=["large windows", "small windows"])
def window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in windows of the usual size, or in ones so small that every text is large."""
    if request.param:
        monkeypatch.setattr(textproto_blocks, "_WINDOW_SIZE", request.param)


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The parts of a text that text_format is given."""
    parts: list[bytes] = []
    merge_text = textproto_blocks.merge_text

    def record(text: bytes, pos: int, end: int, message: Message, depth: int) -> None:
        parts.append(text[pos:end])
        merge_text(text, pos, end, message, depth)

    monkeypatch.setattr(textproto_blocks, "merge_text", record)
    return parts


def message_class_of(path: Path) -> type[Message]:
    return proto.SavedModel if path.name == "saved_model.pbtxt" else proto.GraphDef


def small_graph() -> proto.GraphDef:
    """A graph with every kind of value that an attribute has."""
    graph = proto.GraphDef()
    graph.versions.producer = 27
    for index in range(3):
        node = graph.node.add(name=f"scope/näme_{index}", op="Const", input=["a", f"b:{index}"])
        node.attr["dtype"].type = proto.DataType.Value("DT_FLOAT")
        node.attr["shape"].shape.dim.add(size=-1)
        node.attr["shape"].shape.dim.add(size=3 + index, name="width")
        node.attr["unknown"].shape.SetInParent()
        node.attr["value"].tensor.dtype = proto.DataType.Value("DT_FLOAT")
        node.attr["value"].tensor.tensor_content = bytes(range(256)) * (index + 1)
        node.attr["many"].tensor.float_val.extend([0.1, -0.0, 1e-45, 3.4e38, float("inf"), float("-inf")] * 7)
        node.attr["text"].tensor.string_val.extend([b"", b'a"b', b"it's", b"\\n", b"\xff\x00"] * 5)
        node.attr["whole"].list.i.extend(range(-3, 200, 7))
        node.attr["kept"].b = True
        node.attr["rate"].f = 0.25
        node.attr["scope"].s = b"loc:@v\n\t\r"
        node.attr["call"].func.attr["N"].i = -(2**63)
    return graph


class TestRealTexts:
    @pytest.mark.parametrize("path", GRAPH_TEXTS, ids=lambda path: path.relative_to(FIXTURES).as_posix())
    def test_fixture(self, path: Path, window: None, handed_over: list[bytes]) -> None:
        assert check(path.read_bytes(), message_class_of(path))
        assert not handed_over

    @pytest.mark.parametrize("path", STATE_FILES, ids=lambda path: path.relative_to(FIXTURES).as_posix())
    def test_state_file(self, path: Path) -> None:
        check(path.read_bytes(), proto.CheckpointState)

    def test_fixtures_are_there(self) -> None:
        assert len(GRAPH_TEXTS) >= 4
        assert len(STATE_FILES) >= 1

    def test_tensorflow_writes(self, tf: Any, tmp_path: Path) -> None:
        @tf.function
        def compute(x: Any) -> Any:
            for _ in tf.range(3):
                x = tf.nn.relu(tf.matmul(x, tf.constant([[1.0, 2.5], [float("nan"), -1e-20]])))
            return tf.strings.as_string(x) + tf.constant("é\0\\'\"")

        graph_def = compute.get_concrete_function(tf.TensorSpec([None, 2])).graph.as_graph_def(add_shapes=True)
        tf.io.write_graph(graph_def, str(tmp_path), "graph.pbtxt", as_text=True)
        text = (tmp_path / "graph.pbtxt").read_bytes()
        assert check(text, proto.GraphDef)
        assert dump(parse_text(text, proto.GraphDef)) == dump(proto.GraphDef.FromString(graph_def.SerializeToString()))

    def test_collections_of_any(self, handed_over: list[bytes]) -> None:
        meta = proto.MetaGraphDef()
        for index in range(3):
            packed = meta.collection_def["things"].any_list.value.add()
            packed.Pack(struct_pb2.Value(number_value=index))
        text = text_format.MessageToString(meta).encode()
        assert b"[type.googleapis.com/google.protobuf.Value]" in text
        assert check(text, proto.MetaGraphDef)
        assert handed_over


GRAPH_SYNTAX = {
    "nothing": b"",
    "white space": b" \n\t\r\n\x0b\x0c\n",
    "comment only": b"# nothing\n# at all",
    "comment first": b'# Licence\n\nnode {\n  name: "a"\n}\n',
    "comment behind a value": b'node {\n  name: "a"  # why\n}\n',
    "comment behind a brace": b'node {  # one\n  name: "a"\n}  # end\n',
    "comment of a line": b'node {\n  # "quoted { brace"\n  name: "a"\n}\n',
    "comment out of place": b'node {\n# here\n  name: "a"\n}\nversions {\n  producer: 2\n}\n',
    "number sign in a string": b'node {\n  name: "a # b"\n}\n',
    "one line": b'node { name: "a" op: "b" input: "c" input: "d" }',
    "no white space": b'node{name:"a"op:"b"}',
    "four spaces": b'node {\n    name: "a"\n    attr {\n        key: "b"\n    }\n}\n',
    "tabs": b'node {\n\tname: "a"\n}\n',
    "no indentation": b'node {\nname: "a"\n}\nversions {\nproducer: 2\n}\n',
    "odd closing brace": b'node {\n  name: "a"\n  }\nnode {\n  name: "b"\n}\n',
    "closing brace behind a value": b'node {\n  name: "a" }\nnode {\n  name: "b"\n}\n',
    "blank lines": b'\n\nnode {\n\n  name: "a"\n\n  op: "b"\n\n}\n\n\nversions {\n  producer: 2\n\n}\n\n',
    "trailing white space": b'node { \n  name: "a" \n} \n',
    "carriage returns": b'node {\r\n  name: "a"\r\n  attr {\r\n    key: "k"\r\n  }\r\n}\r\n',
    "carriage returns alone": b'node {\r  name: "a"\r}\r',
    "carriage return in a string": b'node {\n  name: "a\rb"\n}\n',
    "no line feed at the end": b'node {\n  name: "a"\n}',
    "pointed braces": b'node <\n  name: "a"\n>\n',
    "pointed braces inside": b'node {\n  attr <\n    key: "k"\n    value < i: 5 >\n  >\n}\n',
    "mixed braces": b'node {\n  name: "a"\n>\n',
    "colon before a brace": b'node: {\n  name: "a"\n}\n',
    "no colon before a value": b'node {\n  name "a"\n}\n',
    "semicolons": b'node {\n  name: "a";\n  op: "b";\n};\n',
    "commas": b'node {\n  name: "a",\n  op: "b",\n},\nversions {\n  producer: 2\n}\n',
    "two commas": b'node {\n  name: "a",,\n}\n',
    "separator of its own line": b'node {\n  name: "a"\n  ;\n  op: "b"\n}\n',
    "list of messages": b'node: [{ name: "a" }, < name: "b" >]\n',
    "list of strings": b'node {\n  input: ["a", "b", \'c\']\n}\n',
    "list of strings with commas": b'node {\n  input: ["a, b", "c"]\n}\n',
    "empty list": b"node {\n  input: []\n}\n",
    "list of a single field": b'node {\n  name: ["a"]\n}\n',
    "list with a last comma": b'node {\n  input: ["a",]\n}\n',
    "unclosed list": b'node {\n  input: ["a"\n}\n',
    "single quotes": b"node {\n  name: 'a \"b\" c'\n}\n",
    "adjacent strings": b'node {\n  name: "a" "b" \'c\'\n}\n',
    "adjacent strings on lines": b'node {\n  name: "a"\n  "b"\n    "c"\n  op: "d"\n}\n',
    "adjacent strings at the end": b'node {\n  op: "d"\n  name: "a"\n  "b"\n}\n',
    "empty string": b'node {\n  name: ""\n}\n',
    "one quote": b'node {\n  name: "\n}\n',
    "unclosed string": b'node {\n  name: "a\n}\n',
    "string over two lines": b'node {\n  name: "a\n    b"\n}\n',
    "quote in a string": b'node {\n  name: "a"b"\n}\n',
    "UTF-8": 'node {\n  name: "é中😀"\n}\n'.encode(),
    "UTF-8 and escapes": 'node {\n  name: "é\\n中\\\\中\\303\\251"\n}\n'.encode(),
    "unquoted UTF-8": "nöde {\n}\n".encode(),
    "no-break space": 'node {\n\u00a0 name: "a"\n}\n'.encode(),
    "field twice": b'node {\n  name: "a"\n  name: "b"\n}\n',
    "empty field twice": b'node {\n  name: ""\n  name: "b"\n}\n',
    "field twice, then empty": b'node {\n  name: "a"\n  name: ""\n}\n',
    "message twice": b"versions {\n  producer: 1\n}\nversions {\n}\n",
    "unknown field": b"node {\n  nam: 1\n}\n",
    "unknown message": b"nodes {\n}\n",
    "field by number": b'1 {\n  1: "a"\n}\n',
    "field of another case": b'Node {\n  name: "a"\n}\n',
    "extension": b"[a.b.c]: 5\n",
    "extension of a message": b"node {\n  [a.b] { x: 1 }\n}\n",
    "scalar as a message": b"node {\n  name {\n  }\n}\n",
    "message as a scalar": b"versions: 5\n",
    "word without a value": b"node",
    "text after the end": b"node {\n}\n}\n",
    "not closed": b'node {\n  name: "a"\n',
    "HTML": b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n",
    "binary": bytes(range(1, 128)) + b"\n",
    "zero byte": b'node {\n  name: "a\x00b"\n}\n\x00',
    "map in any order": b'node {\n  attr {\n    value {\n      i: 5\n    }\n    key: "k"\n  }\n}\n',
    "map without a value": b'node {\n  attr {\n    key: "k"\n  }\n}\n',
    "map without a key": b"node {\n  attr {\n    value {\n      i: 5\n    }\n  }\n  attr {\n  }\n}\n",
    "map key twice": b'node {\n  attr {\n    key: "k"\n    value {\n      i: 1\n    }\n  }\n'
    b'  attr {\n    key: "k"\n    value {\n      b: true\n    }\n  }\n}\n',
    "key twice in an entry": b'node {\n  attr {\n    key: "k"\n    key: "l"\n  }\n}\n',
    "oneof twice": b'node {\n  attr {\n    key: "k"\n    value {\n      i: 1\n      f: 1\n    }\n  }\n}\n',
    "oneof twice the same": b'node {\n  attr {\n    key: "k"\n    value {\n      i: 0\n      i: 0\n    }\n  }\n}\n',
    "oneof of default value": b'node {\n  attr {\n    key: "k"\n    value {\n      i: 0\n    }\n  }\n}\n',
    "empty messages": b"node {\n}\nnode {\n"
    b'  attr {\n    key: "k"\n    value {\n      shape {\n      }\n    }\n  }\n}\n',
}


def attribute(line: bytes) -> bytes:
    """An attribute whose value is one line."""
    return b'node {\n  attr {\n    key: "k"\n    value {\n      ' + line + b"\n    }\n  }\n}\n"


STRINGS = [
    rb'"\n\t\r\"\'\\"', rb'"\000\001\377"', rb'"\400"', rb'"\777"', rb'"\0"', rb'"\12"', rb'"\18"', rb'"\x41\x4"',
    rb'"\x"', rb'"\xFFg"', rb'"\u00e9\u4e2d"', rb'"\U0001F600"', rb'"\u12"', rb'"\ud800"', rb'"\N{DIGIT ONE}"',
    rb'"\a\b\f\v\?"', rb'"\q"', rb'"\\"', rb'"\\\"', rb'"\\\\"', rb'"\\n\\101"', rb'"\\\101\\\\n"', rb'"a\"', rb'"\""',
    rb'"\\""', rb'"\\u0041"', rb'"a" "b\x20"', b'"\\\n"', rb'"\303\251"', rb'"\303"', rb'"\x00"', b'"\xc3\xa9\\x41"',
    rb'"\\x4"', rb'"\'"', rb"'\''", b"'a\"b'", rb'"\09"', rb'"\9"', b"a", b"5", b"\"a\"x", b'""""', b'"', b"''",
]  # fmt: skip
INTEGERS = [
    b"0", b"-0", b"+1", b"00", b"017", b"-017", b"08", b"0x1F", b"-0x1f", b"0b11", b"0o17", b"1_000", b"1.0", b"1e3",
    b" 5", b"5 ", b"5f", b"'5'", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808",
    b"-9223372036854775809", b"18446744073709551615", b"1" * 5000, b"2147483648", b"-2147483649", b"- 5", b"true",
]  # fmt: skip
FLOATS = [
    b"0", b"-0", b"-0.0", b"1", b"1.5", b"1.5f", b"1.5F", b".5", b"5.", b"+5", b"1e5", b"1E+5", b"1e-400", b"1e39",
    b"-1e39", b"3.4028236e38", b"1e309", b"inf", b"-inf", b"Infinity", b"-INFINITY", b"inff", b"nan", b"-nan", b"NaN",
    b"nanf", b"07", b"-07", b"00.5", b"0.5", b"0x10", b"1_0.5", b"1__0", b"1 .5", b"- 1", b"  07", b"1e", b"1d", b"0f",
    b"+-5", b"1.17549435e-38", b"1e-46", b"340282346638528859811704183484516925440", b"16777217", b"0.1", b"--5",
]  # fmt: skip
BOOLS = [b"true", b"false", b"True", b"False", b"t", b"f", b"1", b"0", b"TRUE", b"2", b'"true"', b"yes"]
ENUMS = [
    b"DT_FLOAT", b"DT_INVALID", b"1", b"77", b"-1", b"0x3", b"03", b"2147483648", b"dt_float", b"DT_NONE",
    b"DT_FLOAT_REF", b"1.0", b'"DT_FLOAT"',
]  # fmt: skip


class TestSyntax:
    @pytest.mark.parametrize("text", GRAPH_SYNTAX.values(), ids=GRAPH_SYNTAX)
    def test_graph(self, text: bytes, window: None) -> None:
        check(text, proto.GraphDef)
        # The same with more around it, which sets other parts of it apart.
        printed = text_format.MessageToString(proto.GraphDef(node=[proto.NodeDef(name="x", op="y")] * 6)).encode()
        check(printed + text, proto.GraphDef)
        check(text + (b"" if text.endswith(b"\n") else b"\n") + printed, proto.GraphDef)
        indented = text.rstrip(b"\n").replace(b"\n", b"\n  ")
        check(b"graph_def {\n  " + indented + b"\n}\nmeta_info_def {\n}\n", proto.MetaGraphDef)

    @pytest.mark.parametrize(
        ("field", "values"),
        [
            *((field, STRINGS) for field in ("s", "placeholder")),
            ("i", INTEGERS),
            ("f", FLOATS),
            ("b", BOOLS),
            ("type", ENUMS),
        ],
        ids=["bytes", "string", "integer", "float", "bool", "enum"],
    )
    def test_values(self, field: str, values: list[bytes]) -> None:
        accepted = [check(attribute(field.encode() + b": " + value), proto.GraphDef) for value in values]
        assert True in accepted
        assert False in accepted
        if field == "placeholder":
            return
        # The same among many values of a repeated field, and in a short list.
        name = field.encode()
        for value in values:
            for plain in values[:2]:
                lines = [name + b": " + plain] * 20 + [name + b": " + value] + [name + b": " + plain] * 20
                check(attribute(b"list {\n        " + b"\n        ".join(lines) + b"\n      }"), proto.GraphDef)
                both = b", ".join((plain, value, plain))
                check(attribute(b"list {\n        " + name + b": [" + both + b"]\n      }"), proto.GraphDef)

    @pytest.mark.parametrize("field", ["int_val", "uint32_val", "uint64_val", "half_val", "double_val", "bool_val"])
    def test_ranges(self, field: str) -> None:
        for value in (*INTEGERS, *FLOATS, *BOOLS):
            text = b"tensor {\n        " + field.encode() + b": " + value + b"\n      }"
            check(attribute(text), proto.GraphDef)

    @pytest.mark.parametrize(
        "text",
        [
            b"[type.googleapis.com/google.protobuf.Value] {\n  number_value: 1\n}\n",
            b"[type.googleapis.com/google.protobuf.Value] < number_value: 1 >\n",
            b"[type.googleapis.com/tfbundle.proto.VersionDef] {\n  producer: 1\n}\n",
            b"[type.googleapis.com/no.such.Type] {\n}\n",
            b'type_url: "a/b"\nvalue: "\\000"\n',
        ],
    )
    def test_any(self, text: bytes) -> None:
        check(text, any_pb2.Any)
        inner = b"any_info {\n    " + text.rstrip(b"\n").replace(b"\n", b"\n    ") + b"\n  }"
        check(b"meta_info_def {\n  " + inner + b"\n}\n", proto.MetaGraphDef)

    def test_proto2(self) -> None:
        # Its fields have other rules, and some are required.
        text = b'name: "a"\nmessage_type {\n  name: "M"\n  field {\n    name: "f"\n    number: 5\n  }\n}\n'
        assert check(text, descriptor_pb2.FileDescriptorProto)
        assert not check(text + b'name: ""\n', descriptor_pb2.FileDescriptorProto)
        assert check(b'name { name_part: "a" is_extension: true }\n', descriptor_pb2.UninterpretedOption)

    def test_other_messages(self) -> None:
        value = struct_pb2.Struct()
        value.update({"a": [1.5, None, "x", {"b": True}], "c": {}})
        assert check(text_format.MessageToString(value).encode(), struct_pb2.Struct)
        field = type_pb2.Field(kind="TYPE_INT32", cardinality="CARDINALITY_REPEATED", number=-5, oneof_index=3)
        assert check(text_format.MessageToString(field).encode(), type_pb2.Field)


class TestErrors:
    def fail(self, text: bytes, message_class: type[Message] = proto.GraphDef) -> str:
        with pytest.raises(FormatError) as caught:
            parse_text(text, message_class, path="run/graph.pbtxt")
        assert type(caught.value) is FormatError
        assert caught.value.path == "run/graph.pbtxt"
        return str(caught.value)

    @pytest.mark.parametrize("ahead", [0, 5, 5000])
    def test_unknown_field_has_its_place(self, ahead: int) -> None:
        good = b'node {\n  name: "a"\n}\n' * ahead
        bad = b"node {\n  nme: 5\n}\n"
        message = self.fail(good + bad + good)
        assert f"line {3 * ahead + 2}, column 3: " in message
        assert 'no field named "nme"' in message
        nested = (good + bad + good).rstrip(b"\n").replace(b"\n", b"\n  ")
        message = self.fail(b"graph_def {\n  " + nested + b"\n}\n", proto.MetaGraphDef)
        assert f"line {3 * ahead + 3}, column 5: " in message
        assert 'no field named "nme"' in message

    def test_agrees_with_text_format_on_the_place(self) -> None:
        text = text_format.MessageToString(small_graph()).encode()
        lines = text.split(b"\n")
        for number in rounds(range(0, len(lines), 23)):
            for damage in (b"x: 1", b"name: ?", b'"'):
                damaged = b"\n".join([*lines[:number], lines[number] + damage, *lines[number + 1 :]])
                try:
                    text_format.Parse(damaged, proto.GraphDef())
                except text_format.ParseError as error:
                    if error.GetLine() is not None:
                        place = f"line {error.GetLine()}, column {error.GetColumn()}: "
                        assert place in self.fail(damaged)

    def test_encoding(self) -> None:
        assert "line 1, column 1: a byte order mark" in self.fail(b"\xef\xbb\xbfnode {\n}\n")
        assert "line 2, column 11: the text is not UTF-8" in self.fail(b'node {\n  name: "a\xff"\n}\n')
        assert "line 3, column 4: the text is not UTF-8" in self.fail("node {\n}\n# é".encode() + b"\xc3")
        for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
            assert "the text is in UTF-16" in self.fail("node {\n}\n".encode(encoding))
            assert "the text is in UTF-32" in self.fail("node {\n}\n".encode(encoding.replace("16", "32")))
        many = 'node {\n  name: "é"\n}\n'.encode() * 100_000
        assert f"line {300_002}, column 4" in self.fail(
            many + b"node {\n# \xe9\xe9\xff\n}\n".replace(b"\xe9\xe9", b"x")
        )

    def test_bytes_that_are_not_utf8(self) -> None:
        assert "a string is not UTF-8" in self.fail(b'node {\n  name: "\\377"\n}\n')
        assert parse_text(attribute(b's: "\\377"'), proto.GraphDef).node[0].attr["k"].s == b"\xff"

    @pytest.mark.parametrize(
        ("string", "words"),
        [
            (rb'"a\"', "this string ends with a single backslash; a literal backslash is written"),
            (rb"'a\'", "this string ends with a single backslash; a literal backslash is written"),
            (rb'"C:\Users"', "this string has an invalid escape sequence; a literal backslash is written"),
            (rb'"\u12"', "this string has an invalid escape sequence"),
            (rb'"\N{DASH}"', "this string has an invalid escape sequence"),
        ],
    )
    def test_escapes_that_are_none(self, string: bytes, words: str) -> None:
        for text in (b"node {\n  name: %s\n}\n", b"node { # a\n  name: %s\n}\n"):
            message = self.fail(text % string)
            assert f"line 2, column 9: {words}" in message
            assert "codec" not in message

    def test_long_lines_are_not_repeated(self) -> None:
        assert len(self.fail(b"node { name: ? # " + b"x" * 100_000 + b"\n}\n")) < 500

    def test_cut_off(self) -> None:
        # Where the text is large, the missing brace is found before text_format is asked.
        text = b"graph_def {\n" + b'  node {\n    name: "a"\n  }\n' * 60_000
        message = self.fail(text, proto.MetaGraphDef)
        assert 'line 180001, column 4: the text ends before the "}" that closes the message of line 1' in message

    @pytest.mark.parametrize("printed", [True, False])
    def test_depth(self, printed: bool) -> None:
        def nest(levels: int) -> bytes:
            if not printed:
                return b"args { " * levels + b"} " * levels
            opened = [b"  " * level + b"args {" for level in range(levels)]
            closed = [b"  " * level + b"}" for level in reversed(range(levels))]
            return b"\n".join(opened + closed) + b"\n"

        assert parse_text(nest(100), proto.FullTypeDef) == text_format.Parse(nest(100), proto.FullTypeDef())
        assert "nested more than 100 levels" in self.fail(nest(101), proto.FullTypeDef)
        assert "nested" in self.fail(nest(1000 if printed else 20_000), proto.FullTypeDef)
        assert "nested" in self.fail(b"args { " * 200_000, proto.FullTypeDef)

    def test_little_stack_is_left(self) -> None:
        text = b"args { " * 90 + b"} " * 90

        def descend(levels: int) -> str:
            return self.fail(text, proto.FullTypeDef) if levels == 0 else descend(levels - 1)

        def depth_left(levels: int = 0) -> int:
            try:
                return depth_left(levels + 1)
            except RecursionError:
                return levels

        assert "line " in descend(depth_left() - 150)


PRINTERS: dict[str, Callable[[Message], str]] = {
    "plain": text_format.MessageToString,
    "one line": lambda message: text_format.MessageToString(message, as_one_line=True),
    "short lists": lambda message: text_format.MessageToString(message, use_short_repeated_primitives=True),
    "pointed": lambda message: text_format.MessageToString(message, pointy_brackets=True),
    "index order": lambda message: text_format.MessageToString(message, use_index_order=True),
    "UTF-8": lambda message: text_format.MessageToString(message, as_utf8=True),
    "not UTF-8": lambda message: text_format.MessageToString(message, as_utf8=False),
    "colons": lambda message: text_format.MessageToString(message, force_colon=True),
    "indented": lambda message: text_format.MessageToString(message, indent=2),
    "unknown fields": lambda message: text_format.MessageToString(message, print_unknown_fields=True),
}
if int(google.protobuf.__version__.partition(".")[0]) < 6:
    # Later releases deprecate it, and then do not have it.
    PRINTERS["float format"] = lambda message: text_format.MessageToString(message, float_format=".3g")

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
INT64 = st.integers(-(2**63), 2**63 - 1)
SHAPES = st.builds(
    proto.TensorShapeProto,
    dim=st.lists(st.builds(proto.TensorShapeProto.Dim, size=INT64, name=NAMES), max_size=3),
    unknown_rank=st.booleans(),
)
TENSORS = st.builds(
    proto.TensorProto,
    dtype=st.sampled_from(proto.DataType.values()),
    tensor_shape=SHAPES,
    tensor_content=st.binary(max_size=40),
    float_val=st.lists(st.floats(width=32), max_size=30),
    double_val=st.lists(st.floats(), max_size=30),
    int_val=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=30),
    int64_val=st.lists(INT64, max_size=30),
    string_val=st.lists(st.binary(max_size=8), max_size=30),
    bool_val=st.lists(st.booleans(), max_size=20),
    uint64_val=st.lists(st.integers(0, 2**64 - 1), max_size=20),
)
LISTS = st.builds(
    proto.AttrValue.ListValue,
    s=st.lists(st.binary(max_size=8), max_size=20),
    i=st.lists(INT64, max_size=20),
    type=st.lists(st.sampled_from(proto.DataType.values()), max_size=20),
    shape=st.lists(SHAPES, max_size=3),
)
ATTRIBUTES = st.one_of(
    st.builds(proto.AttrValue, s=st.binary(max_size=20)),
    st.builds(proto.AttrValue, i=INT64),
    st.builds(proto.AttrValue, f=st.floats(width=32)),
    st.builds(proto.AttrValue, b=st.booleans()),
    st.builds(proto.AttrValue, type=st.integers(-5, 200)),
    st.builds(proto.AttrValue, shape=SHAPES),
    st.builds(proto.AttrValue, tensor=TENSORS),
    st.builds(proto.AttrValue, list=LISTS),
    st.builds(proto.AttrValue, placeholder=NAMES),
    st.builds(proto.AttrValue),
)
NODES = st.builds(
    proto.NodeDef,
    name=NAMES,
    op=st.sampled_from(["Const", "Add", ""]),
    input=st.lists(NAMES, max_size=20),
    device=NAMES,
    attr=st.dictionaries(st.sampled_from(["T", "N", "value", ""]) | NAMES, ATTRIBUTES, max_size=4),
)
GRAPHS = st.builds(proto.GraphDef, node=st.lists(NODES, max_size=4), versions=st.builds(proto.VersionDef))


class TestPrintedMessages:
    @settings(max_examples=25 if IS_EXHAUSTIVE else 8)
    @given(graph=GRAPHS)
    @example(graph=small_graph())
    def test_round_trip(self, graph: proto.GraphDef) -> None:
        plain = text_format.MessageToString(graph)
        for printer, printed in PRINTERS.items():
            text = printed(graph).encode()
            assert check(text, proto.GraphDef), printer
            if printer != "float format":
                assert text_format.MessageToString(parse_text(text, proto.GraphDef)) == plain, printer

    @pytest.mark.parametrize("printer", ["plain", "short lists", "index order", "UTF-8", "not UTF-8"])
    def test_is_read_fast(self, printer: str, handed_over: list[bytes]) -> None:
        # A printed form that falls back to text_format is read rightly, but twenty times more slowly.
        parse_text(PRINTERS[printer](small_graph()).encode(), proto.GraphDef)
        assert not handed_over

    def test_only_the_odd_block_is_handed_over(self, handed_over: list[bytes]) -> None:
        text = text_format.MessageToString(small_graph()).encode()
        assert check(text.replace(b"dim {\n", b"dim {  # one\n", 1), proto.GraphDef)
        assert 0 < sum(map(len, handed_over)) < 200


def mutations(text: bytes, count: int, chance: random.Random) -> Iterator[bytes]:
    """Texts that differ from a printed one in a few bytes or lines."""
    alphabet = b" \n{}<>:;,\"'\\#[]0123456789xnuabceDT_.-+/\t\r\xc3\xa9\xff"
    for _ in range(count):
        changed = bytearray(text)
        for _ in range(chance.choice((1, 1, 2, 3))):
            place = chance.randrange(len(changed) + 1)
            lines = changed.split(b"\n")
            one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
            kind = chance.randrange(8)
            if kind == 0:
                changed[place : place + 1] = bytes([chance.choice(alphabet)])
            elif kind == 1:
                changed[place:place] = bytes(chance.choices(alphabet, k=chance.randrange(1, 4)))
            elif kind == 2:
                del changed[place : place + chance.randrange(1, 5)]
            elif kind == 3:
                del changed[place:]
            else:
                if kind == 4:
                    lines[one], lines[other] = lines[other], lines[one]
                elif kind == 5:
                    lines.insert(other, lines[one])
                elif kind == 6:
                    lines[other:other] = lines[one : one + chance.randrange(1, 12)]
                else:
                    line = lines[one]
                    lines[one] = chance.choice(
                        (b"# x", line + b" # c", line.strip(), line.replace(b'"', b"'"), b"", line + b"\r", line + b";",
                        line.replace(b"{", b"<").replace(b"}", b">"), b" " + line, line + lines[other].strip())
                    )  # fmt: skip
                changed = bytearray(b"\n".join(lines))
        yield bytes(changed)


ROUNDS = 30 if IS_EXHAUSTIVE else 10


class TestDamage:
    @pytest.mark.parametrize("name", ["training", "made"])
    def test_mutations(self, name: str, window: None) -> None:
        chance = random.Random(5)
        if name == "made":
            text = text_format.MessageToString(small_graph().node[0]).encode()
            texts = mutations(b"node {\n  " + text.rstrip().replace(b"\n", b"\n  ") + b"\n}\n", 10 * ROUNDS, chance)
        else:
            nodes = (FIXTURES / "tf-1.4.1/training/graph.pbtxt").read_bytes().split(b"\nnode {")[1:-1]
            parts = [chance.sample(nodes, chance.randrange(1, 5)) for _ in range(ROUNDS)]
            texts = (text for part in parts for text in mutations(b"node {" + b"\nnode {".join(part), 15, chance))
        verdicts = [check(text, proto.GraphDef) for text in texts]
        assert 0.05 < sum(verdicts) / len(verdicts) < 0.6

    @given(graph=GRAPHS, seed=st.integers(0, 2**32))
    def test_mutations_of_generated_graphs(self, graph: proto.GraphDef, seed: int) -> None:
        for text in mutations(text_format.MessageToString(graph).encode(), 3, random.Random(seed)):
            check(text, proto.GraphDef)

    def test_every_truncation(self, window: None) -> None:
        graph = small_graph()
        del graph.node[1:]
        for key in ("many", "value", "text", "whole"):
            del graph.node[0].attr[key]
        text = text_format.MessageToString(graph).encode()
        verdicts = [check(text[:size], proto.GraphDef) for size in places(len(text) + 1)]
        assert sum(verdicts) < 8
        assert verdicts[-1]
