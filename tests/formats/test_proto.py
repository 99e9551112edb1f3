"""The schemas against TensorFlow's and TensorBoard's own, field by field, and the bindings against theirs.

A schema is flattened into facts, one a line: a field with all that decides how it is stored, an enum value, a
reserved number. Two schemas are the same if they have the same facts.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, message_factory, text_format
from google.protobuf.descriptor import FieldDescriptor

import tfbundle.proto

pytest.importorskip("tensorflow", reason="the schemas are compared with TensorFlow's")
pytest.importorskip("tensorboard", reason="the plugins' schemas are compared with TensorBoard's")

# The release of TensorFlow and TensorBoard that the schemas follow. An older one may lack what they have, and
# have what was taken out or renamed since: there, what both have is compared.
SCHEMA_TENSORFLOW = "2.21"

ROOT = Path(__file__).resolve().parents[2]

# Our packages and theirs. TensorBoard keeps most plugins in one package.
PACKAGES = {
    "tfbundle.proto": "tensorflow",
    "tfbundle.proto.error": "tensorflow.error",
    "tfbundle.proto.keras": "third_party.tensorflow.python.keras.protobuf",
    "tfbundle.proto.plugins.audio": "tensorboard",
    "tfbundle.proto.plugins.custom_scalar": "tensorboard",
    "tfbundle.proto.plugins.histogram": "tensorboard",
    "tfbundle.proto.plugins.hparams": "tensorboard.hparams",
    "tfbundle.proto.plugins.image": "tensorboard",
    "tfbundle.proto.plugins.mesh": "tensorboard.mesh",
    "tfbundle.proto.plugins.pr_curve": "tensorboard",
    "tfbundle.proto.plugins.projector": "tensorboard.projector",
    "tfbundle.proto.plugins.scalar": "tensorboard",
    "tfbundle.proto.plugins.text": "tensorboard",
}

# Their modules that hold what ours hold; each brings in the modules that it refers to.
SOURCES = [
    "tensorflow.core.framework.summary_pb2",
    "tensorflow.core.protobuf.composite_tensor_variant_pb2",
    "tensorflow.core.protobuf.config_pb2",
    "tensorflow.core.protobuf.control_flow_pb2",
    "tensorflow.core.protobuf.fingerprint_pb2",
    "tensorflow.core.protobuf.queue_runner_pb2",
    "tensorflow.core.protobuf.saved_model_pb2",
    "tensorflow.core.protobuf.tensor_bundle_pb2",
    "tensorflow.core.util.event_pb2",
    "tensorflow.core.util.saved_tensor_slice_pb2",
    "tensorflow.python.keras.protobuf.saved_metadata_pb2",
    "tensorflow.python.training.checkpoint_state_pb2",
    "tensorboard.plugins.audio.plugin_data_pb2",
    "tensorboard.plugins.custom_scalar.layout_pb2",
    "tensorboard.plugins.histogram.plugin_data_pb2",
    "tensorboard.plugins.hparams.plugin_data_pb2",
    "tensorboard.plugins.image.plugin_data_pb2",
    "tensorboard.plugins.mesh.plugin_data_pb2",
    "tensorboard.plugins.pr_curve.plugin_data_pb2",
    "tensorboard.plugins.projector.projector_config_pb2",
    "tensorboard.plugins.scalar.plugin_data_pb2",
    "tensorboard.plugins.text.plugin_data_pb2",
]

# What no file holds, though it is declared beside messages that files do hold. config.proto, which has the
# settings of sessions, and the requests in hparams' api.proto are too long to list.
LEFT_OUT = {
    "RequestedExitCode",
    "WatchdogConfig",
    "WorkerHealth",
    "WorkerHeartbeatRequest",
    "WorkerHeartbeatResponse",
    "WorkerShutdownMode",
}
LEFT_OUT_IN_PART = {"tfbundle/proto/config.proto", "tfbundle/proto/plugins/hparams/api.proto"}


def binding_modules() -> list[Any]:
    """Import every generated module."""
    found = pkgutil.walk_packages(tfbundle.proto.__path__, "tfbundle.proto.")
    return [importlib.import_module(module.name) for module in found if module.name.endswith("_pb2")]


MODULES = binding_modules()
for source in SOURCES:
    importlib.import_module(source)


def top_level(file: Any) -> list[Any]:
    """List the messages and enums that a file declares outside of any message."""
    return [*file.message_types_by_name.values(), *file.enum_types_by_name.values()]


TYPES = [descriptor for module in MODULES for descriptor in top_level(module.DESCRIPTOR)]
MESSAGES = [descriptor for descriptor in TYPES if hasattr(descriptor, "fields")]


def full_name(descriptor: Any) -> str:
    return str(descriptor.full_name)


def their_name(name: str) -> str:
    """Translate the full name of a type into the name that it has in TensorFlow or TensorBoard."""
    for package in sorted(PACKAGES, key=len, reverse=True):
        if name.startswith(package + "."):
            return PACKAGES[package] + name.removeprefix(package)
    return name


def theirs(descriptor: Any) -> Any:
    """Find what TensorFlow or TensorBoard registered as the counterpart of one of our messages or enums."""
    pool = MODULES[0].DESCRIPTOR.pool
    name = their_name(descriptor.full_name)
    if hasattr(descriptor, "fields"):
        return pool.FindMessageTypeByName(name)
    return pool.FindEnumTypeByName(name)


def installed_is_older(descriptor: Any) -> bool:
    """Say whether the package that `descriptor` comes from is older than the schemas."""
    package = importlib.import_module("tensorboard" if "plugins" in descriptor.full_name else "tensorflow")
    installed = [int(part) for part in package.__version__.split(".")[:2]]
    return installed < [int(part) for part in SCHEMA_TENSORFLOW.split(".")]


def counterpart(descriptor: Any) -> Any:
    """Find what `theirs` finds, or skip the test where a release older than the schemas lacks it."""
    try:
        return theirs(descriptor)
    except KeyError:
        if installed_is_older(descriptor):
            pytest.skip("the installed release is older and does not have it yet")
        raise


def facts(descriptor: Any) -> dict[str, Any]:
    """Flatten a message or an enum, with what is declared inside it, into facts by their name."""
    file = descriptor_pb2.FileDescriptorProto()
    descriptor.file.CopyToProto(file)
    # A file without a syntax is proto2.
    syntax = file.syntax or "proto2"
    if hasattr(descriptor, "fields"):
        message = descriptor_pb2.DescriptorProto()
        descriptor.CopyToProto(message)
        return message_facts(message, message.name, syntax)
    enum = descriptor_pb2.EnumDescriptorProto()
    descriptor.CopyToProto(enum)
    return enum_facts(enum, enum.name, syntax)


def message_facts(message: Any, path: str, syntax: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        path: {"map_entry": message.options.map_entry, "deprecated": message.options.deprecated},
    }
    for field in message.field:
        found[f"{path}.{field.name}"] = field_facts(field, syntax)
        if field.HasField("oneof_index"):
            found[f"{path} oneof {message.oneof_decl[field.oneof_index].name} has {field.name}"] = True
    for nested in message.nested_type:
        found |= message_facts(nested, f"{path}.{nested.name}", syntax)
    for enum in message.enum_type:
        found |= enum_facts(enum, f"{path}.{enum.name}", syntax)
    for reserved in message.reserved_range:
        found |= {f"{path} reserves {number}": True for number in range(reserved.start, reserved.end)}
    return found | {f"{path} reserves {name}": True for name in message.reserved_name}


def field_facts(field: Any, syntax: str) -> dict[str, Any]:
    repeated = field.label == FieldDescriptor.LABEL_REPEATED
    packable = repeated and field.type not in (
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_BYTES,
        FieldDescriptor.TYPE_MESSAGE,
        FieldDescriptor.TYPE_GROUP,
    )
    in_oneof = field.HasField("oneof_index") and not field.proto3_optional
    return {
        "number": field.number,
        "type": field.type,
        "label": field.label,
        "type_name": their_name(field.type_name.removeprefix(".")),
        "default": field.default_value if field.HasField("default_value") else None,
        "in_oneof": in_oneof,
        "packed": packable and (field.options.packed if field.options.HasField("packed") else syntax == "proto3"),
        "presence": not repeated
        and (syntax == "proto2" or in_oneof or field.proto3_optional or field.type == FieldDescriptor.TYPE_MESSAGE),
        "json_name": field.json_name,
        "deprecated": field.options.deprecated,
    }


def enum_facts(enum: Any, path: str, syntax: str) -> dict[str, Any]:
    # The first value is the default, and a proto3 enum takes numbers that it does not know.
    found: dict[str, Any] = {
        path: {"first": enum.value[0].name, "syntax": syntax, "allow_alias": enum.options.allow_alias},
    }
    for value in enum.value:
        found[f"{path}.{value.name}"] = {"number": value.number, "deprecated": value.options.deprecated}
    for reserved in enum.reserved_range:
        found |= {f"{path} reserves {number}": True for number in range(reserved.start, reserved.end + 1)}
    return found | {f"{path} reserves {name}": True for name in enum.reserved_name}


@pytest.mark.parametrize("descriptor", TYPES, ids=full_name)
def test_schema_is_theirs(descriptor: Any) -> None:
    our_facts, their_facts = facts(descriptor), facts(counterpart(descriptor))
    if installed_is_older(descriptor):
        common = our_facts.keys() & their_facts.keys()
        our_facts = {name: our_facts[name] for name in common}
        their_facts = {name: their_facts[name] for name in common}
    assert our_facts == their_facts


WHOLE = [module.DESCRIPTOR for module in MODULES if module.DESCRIPTOR.name not in LEFT_OUT_IN_PART]


@pytest.mark.parametrize("file", WHOLE, ids=lambda file: file.name.removeprefix("tfbundle/proto/"))
def test_every_type_of_a_file_is_there(file: Any) -> None:
    first = top_level(file)[0]
    if installed_is_older(first):
        pytest.skip("an older release may have declared the types in other files")
    names = {descriptor.name for descriptor in top_level(file)}
    assert {descriptor.name for descriptor in top_level(theirs(first).file)} - LEFT_OUT == names


def is_repeated(field: Any) -> bool:
    """Ask in this protobuf's way: newer ones warn about `label`, older ones have no `is_repeated`."""
    repeated = getattr(field, "is_repeated", None)
    return field.label == FieldDescriptor.LABEL_REPEATED if repeated is None else bool(repeated)


def scalar(field: Any, rng: random.Random) -> Any:
    """Draw a value for a field that is not a message, with the ends of the range among them."""
    if field.type == FieldDescriptor.TYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if kind == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return rng.randbytes(rng.randrange(9))
        return "".join(rng.choices("aZ0/:_ é€\U0001f600\0", k=rng.randrange(9)))
    if kind == FieldDescriptor.CPPTYPE_FLOAT:
        return struct.unpack("<f", struct.pack("<f", rng.choice([0.0, -0.0, float("inf"), rng.gauss(0, 1e3)])))[0]
    if kind == FieldDescriptor.CPPTYPE_DOUBLE:
        return rng.choice([0.0, -0.0, float("-inf"), rng.gauss(0, 1e9)])
    low, high = {
        FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
        FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
        FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    }[kind]
    return rng.choice([0, 1, low, high, rng.randint(low, high)])


def fill(message: Any, rng: random.Random, round_: int, depth: int = 0) -> None:
    """Set every field of a message, and of the messages in it down to a depth.

    Of a oneof's members the one that is due in this round is set, so that enough rounds set them all.
    """
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and oneof.fields[round_ % len(oneof.fields)].name != field.name:
            continue
        if field.message_type is not None and depth == 3:
            continue
        target = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
            for _ in range(2):
                if value.message_type is None:
                    target[scalar(key, rng)] = scalar(value, rng)
                else:
                    fill(target[scalar(key, rng)], rng, round_, depth + 1)
        elif field.message_type is not None:
            for _ in range(2 if is_repeated(field) else 1):
                inner = target.add() if is_repeated(field) else target
                if not is_repeated(field):
                    inner.SetInParent()
                fill(inner, rng, round_, depth + 1)
        elif is_repeated(field):
            target.extend(scalar(field, rng) for _ in range(3))
        else:
            setattr(message, field.name, scalar(field, rng))


def rounds(descriptor: Any) -> int:
    return max([3, *(len(oneof.fields) for oneof in descriptor.oneofs)])


@pytest.mark.parametrize("descriptor", MESSAGES, ids=full_name)
def test_filled_message_is_the_same_in_both(descriptor: Any) -> None:
    """Bytes alone would not do: a binding that does not know a field hands its bytes on nevertheless."""
    ours = message_factory.GetMessageClass(descriptor)
    original = message_factory.GetMessageClass(counterpart(descriptor))
    rng = random.Random(descriptor.full_name)
    for round_ in range(rounds(descriptor)):
        written = original()
        fill(written, rng, round_)
        data = written.SerializeToString(deterministic=True)
        read = ours.FromString(data)
        assert read.SerializeToString(deterministic=True) == data
        assert text_format.MessageToString(read) == text_format.MessageToString(written)
        assert original.FromString(read.SerializeToString()) == written


def test_every_oneof_member_is_filled() -> None:
    """The filler itself: no member of StructuredValue's oneof is left out over the rounds."""
    value = tfbundle.proto.StructuredValue
    seen = set()
    for round_ in range(rounds(value.DESCRIPTOR)):
        message = value()
        fill(message, random.Random(round_), round_)
        seen.add(message.WhichOneof("kind"))
    assert seen == {field.name for field in value.DESCRIPTOR.fields}


def run(code: str) -> str:
    """Run code in a fresh interpreter that finds the same tfbundle, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def test_checkpoint_messages_load_without_graphs_and_events() -> None:
    printed = run(
        "import sys\n"
        "from tfbundle.proto import BundleEntryProto, BundleHeaderProto\n"
        "print([name for name in sys.modules if name.startswith('tfbundle.proto.')])\n"
    )
    loaded = {name.removeprefix("tfbundle.proto.") for name in ast.literal_eval(printed)}
    assert "tensor_bundle_pb2" in loaded
    assert not loaded & {"event_pb2", "function_pb2", "graph_pb2", "meta_graph_pb2", "summary_pb2"}


@pytest.mark.parametrize("name", tfbundle.proto.__all__)
def test_name_is_handed_on(name: str) -> None:
    found = getattr(tfbundle.proto, name)
    module = importlib.import_module(f"tfbundle.proto.{tfbundle.proto._MODULES[name]}")
    assert found is getattr(module, name)
    assert found.DESCRIPTOR.full_name == f"{module.DESCRIPTOR.package}.{name}"
    assert name in dir(tfbundle.proto)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'GraphDeff'"):
        _ = tfbundle.proto.GraphDeff


def test_type_checkers_see_the_same_names() -> None:
    """The imports for type checkers say what the table of names says."""
    tree = ast.parse(Path(str(tfbundle.proto.__file__)).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: str(statement.module)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert seen == {name: f"tfbundle.proto.{module}" for name, module in tfbundle.proto._MODULES.items()}


def test_bindings_ask_for_no_particular_runtime() -> None:
    """Later compilers write a check of the protobuf version into their output, which older ones then fail."""
    assert [module.__name__ for module in MODULES if hasattr(module, "_runtime_version")] == []


def test_bindings_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "tools/bindings.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode == 2:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
