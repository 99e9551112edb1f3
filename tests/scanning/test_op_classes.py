"""Every op has a class; the tables agree with what TensorFlow registers."""

from typing import Any

import pytest

from tfbundle.graph.op_outputs import OpOutputs
from tfbundle.scanning.calls import CALLERS
from tfbundle.scanning.harmless_ops import PURE, STATE
from tfbundle.scanning.judging import RULE_OF_CLASS
from tfbundle.scanning.op_effects import CLASSES, class_of, effects
from tfbundle.scanning.report import SEVERITIES
from tfbundle.scanning.rules import RULES

STRING = 7


@pytest.fixture(scope="module")
def registered(tf: Any) -> dict[str, Any]:
    """The definition of every op of the installed TensorFlow."""
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    data = pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    return {op.name: op for op in op_def_pb2.OpList.FromString(data).op}


def test_every_op_of_the_installed_tensorflow_has_a_class(registered: dict[str, Any]) -> None:
    assert not [name for name in registered if class_of(name) is None]


def test_every_op_of_older_releases_has_a_class() -> None:
    outputs = OpOutputs()
    known = [*PURE, *STATE, *effects()]
    assert len(known) == len(set(known)) > 1940
    assert all(outputs.lists(name) is not None for name in known)


def test_an_unknown_op_has_none() -> None:
    assert class_of("SomebodysOp") is None


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("MatMul", "pure"),
        ("VarHandleOp", "state"),
        ("ReadFile", "reads"),
        ("WriteFile", "writes"),
        ("PrintV2", "writes"),
        ("MatchingFiles", "lists"),
        ("RpcClient", "network"),
        ("EagerPyFunc", "python"),
        ("DatasetFromGraph", "program"),
        ("XlaCallModule", "native"),
        ("Abort", "process"),
        ("FileSystemSetConfiguration", "configuration"),
    ],
)
def test_each_class(op: str, expected: str) -> None:
    assert class_of(op) == expected


def test_effects_are_of_known_classes_and_severities() -> None:
    for effect in effects().values():
        assert effect.op_class in CLASSES
        assert RULE_OF_CLASS[effect.op_class] in RULES
        assert SEVERITIES.index(effect.called) <= SEVERITIES.index(effect.loaded)


def test_what_ops_act_on_is_where_tensorflow_has_it(registered: dict[str, Any]) -> None:
    for name, effect in effects().items():
        op = registered.get(name)
        if op is None:
            continue  # It is gone since.
        for number in effect.inputs:
            assert number < len(op.input_arg), name
            assert not any(arg.number_attr or arg.type_list_attr for arg in op.input_arg[:number]), name
            if effect.op_class not in ("process", "configuration"):
                assert op.input_arg[number].type == STRING, name
        if effect.attribute is not None:
            attributes = {attribute.name: attribute.type for attribute in op.attr}
            assert attributes[effect.attribute] in ("string", "list(string)"), name


def test_ops_with_strings_called_as_paths_have_an_effect(registered: dict[str, Any]) -> None:
    """A new op that takes a file name should not be taken for a harmless one."""
    words = ("file", "path", "directory", "address", "url", "host")
    harmless = {
        # Names of parts of files that others open, and of functions.
        "ShardedFilename", "ShardedFilespec", "RegexFullMatch",
        # Options of a summary, of TPUs and of tf.data.
        "TPUReplicateMetadata", "_XlaHostComputeMlir", "XlaHostCompute",
    }  # fmt: skip
    found = set()
    for name, op in registered.items():
        for arg in op.input_arg:
            if arg.type == STRING and any(word in arg.name for word in words):
                found.add(name)
        for attribute in op.attr:
            if attribute.type in ("string", "list(string)") and any(word in attribute.name for word in words):
                found.add(name)
    assert {name for name in found - harmless if class_of(name) in ("pure", "state", None)} == set()


def test_ops_that_call_functions_are_known(registered: dict[str, Any]) -> None:
    callers = {name for name, op in registered.items() if any(attr.type in ("func", "list(func)") for attr in op.attr)}
    assert callers <= CALLERS
