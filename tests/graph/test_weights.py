"""Frozen graphs where a checkpoint could stand: opened, listed, shown, verified and exported by the same commands."""

from __future__ import annotations

import pickle
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same
from tests.support.bundle_writer import write_bundle
from tests.support.expected import FIXTURES, numpy_name, sha256_of
from tests.support.graphs import ExpectedGraph, expected_graphs
from tfbundle.conversion.convert import convert
from tfbundle.errors import FormatError, MissingFileError, TfBundleError, UnsupportedError
from tfbundle.graph.weights import GraphWeights
from tfbundle.limits import LARGEST_MESSAGE, LARGEST_REPETITION
from tfbundle.open_tensors import open_tensors
from tfbundle.proto import GraphDef, MetaGraphDef, NodeDef, SavedModel, TensorProto

pytest.importorskip("click", reason="the command needs click, which is not installed")
pytest.importorskip("rich", reason="the command needs rich, which is not installed")

from tests.support.command import refusal, run, run_json

TF1 = FIXTURES / "tf-1.15.5"
FROZEN = TF1 / "frozen" / "frozen.pb"
WITH_CONSTANTS = [item for item in expected_graphs() if "constants" in item.facts]

every_frozen = pytest.mark.parametrize("expected", WITH_CONSTANTS, ids=str)


def make_graph(**values: Any) -> GraphDef:
    """A graph of one constant for each value: an array, or data type, shape and fields of a ``TensorProto``."""
    graph = GraphDef()
    graph.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    for name, value in values.items():
        node = graph.node.add(name=name, op="Const")
        tensor = node.attr["value"].tensor
        if isinstance(value, np.ndarray):
            tensor.dtype = {"float32": 1, "int32": 3, "object": 7}[value.dtype.name]
            for length in value.shape:
                tensor.tensor_shape.dim.add(size=length)
            if value.dtype == object:
                tensor.string_val.extend(value.reshape(-1).tolist())
            else:
                tensor.tensor_content = value.tobytes()
        else:
            dtype, shape, fields = value
            tensor.dtype = dtype
            for length in shape:
                tensor.tensor_shape.dim.add(size=length)
            for field, items in fields.items():
                getattr(tensor, field).extend(items)
        node.attr["dtype"].type = tensor.dtype
    return graph


def write(path: Path, message: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(message.SerializeToString())
    return path


def zeros(*shape: int) -> tuple[Any, ...]:
    """A constant that says nothing of its elements."""
    return (1, shape, {})


MATRIX = np.arange(24, dtype=np.float32).reshape(4, 6)


# What TensorFlow read.


@every_frozen
def test_constants_are_tensors(expected: ExpectedGraph) -> None:
    wanted = expected.facts["constants"]
    with open_tensors(expected.path) as weights:
        assert isinstance(weights, GraphWeights)
        assert (weights.prefix, weights.format, weights.lost) == (str(expected.path), "graph", ())
        assert (weights.objects, weights.slots) == (None, frozenset())
        assert sorted(weights) == sorted(wanted)
        assert len(weights) == len(wanted)
        for name, tensor in weights.items():
            array = tensor.read()
            assert sha256_of(array) == wanted[name]["sha256"]
            assert tensor.shape == array.shape == tuple(wanted[name]["shape"])
            assert tensor.dtype == array.dtype
            assert array.flags.writeable
            assert tensor.ranges == ()
            assert tensor.nbytes == (sum(map(len, array.flat)) if array.dtype == object else array.nbytes)
            chunks = list(tensor.chunks())
            flat = np.concatenate(chunks) if chunks else np.empty(0, array.dtype)
            assert sha256_of(flat) == wanted[name]["sha256"]


@every_frozen
def test_the_commands_take_them(expected: ExpectedGraph, tmp_path: Path) -> None:
    wanted = expected.facts["constants"]
    listed = run_json("ls", expected.path)
    assert (listed["path"], listed["format"]) == (str(expected.path), "graph")
    assert {tensor["name"]: tuple(tensor["shape"]) for tensor in listed["tensors"]} == {
        name: tuple(facts["shape"]) for name, facts in wanted.items()
    }
    assert all(tensor["shards"] == [] and tensor["error"] is None for tensor in listed["tensors"])
    (file,) = (report := run_json("verify", expected.path)).pop("files")
    assert (file["kind"], file["path"], file["size"]) == ("graph", str(expected.path), expected.path.stat().st_size)
    assert report == {
        "ok": True,
        "path": str(expected.path),
        "prefix": str(expected.path),
        "format": "graph",
        "tensors": len(wanted),
        "nbytes": 0,
        "findings": [],
        "recoverable": len(wanted),
        "causes": [],
        "checkpoints": [],
        "not_checked": [],
    }
    for name, facts in wanted.items():
        shown = run_json("show", expected.path, name)
        assert (shown["shape"], shown["ranges"]) == (facts["shape"], [])
    numbers = [tensor["name"] for tensor in listed["tensors"] if numpy_name(tensor["dtype"]) != "object"]
    numbers = [name for name in numbers if "bfloat16" not in name]
    with open_tensors(expected.path) as weights:
        stored = [name for name in numbers if weights[name].dtype.num < 256]
        options = [option for name in stored for option in ("--names", name)]
        assert run("convert", expected.path, tmp_path / "out.npz", *options).exit_code == 0
        with np.load(tmp_path / "out.npz") as written:
            assert sorted(written) == sorted(stored)
            for name in stored:
                assert sha256_of(written[name]) == wanted[name]["sha256"]


def test_to_safetensors(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    result = run("convert", FROZEN, tmp_path / "out.safetensors")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'out.safetensors'}: 6 tensors, 204 B\n")
    written = numpy.load_file(tmp_path / "out.safetensors")
    constants = tfbundle.load_graph(FROZEN).constants
    assert set(written) == set(constants)
    assert all(np.array_equal(written[name], constants[name]) for name in written)


def test_for_people() -> None:
    lines = run("ls", FROZEN, "head/*").stdout.splitlines()
    assert [line.split() for line in lines[1:-1]] == [
        ["head/fc/biases", "[2]", "float32", "8", "B", "-"],
        ["head/fc/weights", "[3,2]", "float32", "24", "B", "-"],
    ]
    assert lines[-1] == "2 tensors, 8 parameters, 32 B"
    assert "stored" not in run("show", FROZEN, "head/fc/weights").stdout
    said = run("verify", FROZEN).stdout
    assert said.endswith(f"\n{FROZEN}: ok; 6 of 6 constants decoded; a graph has no checksums\n")
    assert run_json("show", FROZEN, "head/fc/weights", "1:,0")["values"] == pytest.approx([0.46614605, -2.6621287])


def test_what_tensorflow_froze(tf: Any, tmp_path: Path) -> None:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    dense = tf.Variable(np.arange(12, dtype="f4").reshape(3, 4), name="dense")
    zero = tf.Variable(tf.zeros([40, 50]), name="zero")

    @tf.function
    def call(x: Any) -> Any:
        return tf.nn.relu(x @ dense), zero + 1.0

    frozen = convert_variables_to_constants_v2(call.get_concrete_function(tf.TensorSpec([None, 3], tf.float32)))
    tf.io.write_graph(frozen.graph, str(tmp_path), "frozen.pb", as_text=False)
    tf.io.write_graph(frozen.graph, str(tmp_path), "frozen.pbtxt", as_text=True)
    for path in (tmp_path / "frozen.pb", tmp_path / "frozen.pbtxt"):
        wanted = {
            node.name: tf.make_ndarray(node.attr["value"].tensor)
            for node in frozen.graph.as_graph_def().node
            if node.op == "Const"
        }
        with open_tensors(path) as weights:
            assert list(weights) == list(wanted)
            assert all(np.array_equal(weights[name].read(), array) for name, array in wanted.items())
        assert any(array.shape == (40, 50) for array in wanted.values())


def test_a_frozen_graph_against_its_checkpoint(tf: Any, tmp_path: Path) -> None:
    """What it was frozen from is the same in both, but for the slots of the one and the shapes of the other."""
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4])
        w = v1.get_variable("w", initializer=MATRIX, use_resource=False)
        b = v1.get_variable("b", initializer=np.zeros(6, np.float32), use_resource=True)
        v1.get_variable("w/Momentum", initializer=MATRIX, use_resource=False)
        y = tf.reshape(x @ w + b, [-1, 2, 3], name="y")
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
        frozen = v1.graph_util.convert_variables_to_constants(session, session.graph_def, [y.op.name])
    path = write(tmp_path / "frozen.pb", frozen)
    found = tfbundle.diff(tmp_path / "model.ckpt", path)
    assert (found.removed, found.changed, found.same) == (("w/Momentum",), (), 2)
    assert "y/shape" in found.added
    ours, theirs = (tfbundle.fingerprint(source).tensors for source in (tmp_path / "model.ckpt", path))
    assert all(ours[name] == theirs[name] for name in ("w", "b"))
    (node,) = (node for node in frozen.node if node.name == "b")
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.full(6, 1.5, np.float32)))
    result = run("diff", tmp_path / "model.ckpt", write(path, frozen))
    assert result.exit_code == 1
    assert "~ b  6 of 6 elements, by at most 1.5 " in result.stdout


def test_frozen_graphs_are_compared(tmp_path: Path) -> None:
    with open_tensors(FROZEN) as weights:
        arrays = {name: tensor.read() for name, tensor in weights.items()}
        for other in (FROZEN.with_suffix(".pbtxt"), weights):
            assert not tfbundle.diff(FROZEN, other)
            assert tfbundle.fingerprint(other) == tfbundle.fingerprint(FROZEN)
    write_bundle(tmp_path / "model", arrays)
    assert not tfbundle.diff(tmp_path / "model", FROZEN)
    sha256 = tfbundle.fingerprint(tmp_path / "model").sha256
    assert run("fingerprint", FROZEN).stdout.endswith(f"\n{sha256}\n")
    # A format means a checkpoint.
    with pytest.raises(UnsupportedError):
        tfbundle.diff(tmp_path / "model", FROZEN, format="v2")
    with pytest.raises(UnsupportedError, match="requires 19 variables"):
        tfbundle.fingerprint(TF1 / "training" / "graph.pb")


def test_a_saved_model_without_variables(tf: Any, tmp_path: Path) -> None:
    """TensorFlow 2 gives it a checkpoint nevertheless, with nothing but the object graph."""

    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.weights = tf.constant(MATRIX)

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])  # type: ignore[misc]
        def __call__(self, x: Any) -> Any:
            return x @ self.weights

    tf.saved_model.save(Module(), str(tmp_path))
    for path in (tmp_path, tmp_path / "saved_model.pb"):
        with open_tensors(path) as weights:
            assert weights.format == "graph"
            assert any(np.array_equal(tensor.read(), MATRIX) for tensor in weights.values())
        assert run_json("verify", path)["ok"]


# Where a graph is taken, and where not.


@pytest.mark.parametrize("kind", ["meta", "saved model", "saved model as text"])
def test_other_messages_that_are_frozen(tmp_path: Path, kind: str) -> None:
    graph = make_graph(w=MATRIX)
    meta = MetaGraphDef(graph_def=graph)
    meta.meta_info_def.tags.append("serve")
    saved = SavedModel(saved_model_schema_version=1, meta_graphs=[meta])
    if kind == "meta":
        path = write(tmp_path / "frozen.meta", meta)
    elif kind == "saved model":
        path = write(tmp_path / "model" / "saved_model.pb", saved).parent
    else:
        path = tmp_path / "model"
        path.mkdir()
        (path / "saved_model.pbtxt").write_text(str(saved), encoding="utf-8")
    with open_tensors(path) as weights:
        assert list(weights) == ["w"]
        assert np.array_equal(weights["w"].read(), MATRIX)
    assert tfbundle.verify(path).ok
    assert convert(path, tmp_path / "out.npz").tensors == 1


def test_a_checkpoint_comes_first(tmp_path: Path) -> None:
    prefix = TF1 / "training" / "model.ckpt-40"
    with open_tensors(f"{prefix}.meta") as checkpoint:
        assert isinstance(checkpoint, tfbundle.Checkpoint)
    # A graph that is called as the prefix of a checkpoint.
    for suffix in (".index", ".data-00000-of-00001"):
        (tmp_path / f"model.pb{suffix}").write_bytes(Path(f"{prefix}{suffix}").read_bytes())
    write(tmp_path / "model.pb", make_graph(w=MATRIX))
    with open_tensors(tmp_path / "model.pb") as checkpoint:
        assert isinstance(checkpoint, tfbundle.Checkpoint)
    # Whoever requests a format means a checkpoint.
    for format in ("v1", "v2"):
        with pytest.raises(UnsupportedError, match=r"load_graph\(path\)\.constants has its weights"):
            open_tensors(FROZEN, format=format)  # type: ignore[arg-type]


def test_graphs_that_are_not_frozen(tmp_path: Path) -> None:
    text = TF1 / "training" / "graph.pbtxt"
    for command in (["ls", text], ["show", text, "w"], ["convert", text, tmp_path / "out.npz"]):
        said = refusal(*command)
        assert said.endswith(
            f"{text} is a graph that requires 19 variables, whose values it does not contain; pass the checkpoint "
            "that was saved with it\n"
        )
    assert tfbundle.verify(text).ok  # Nothing is wrong with the graph itself.
    nothing = write(tmp_path / "nothing.pb", make_graph())
    assert "without constants" in refusal("ls", nothing)


def test_graphs_whose_checkpoint_is_missing(tmp_path: Path) -> None:
    """That the checkpoint does not exist says more than that the graph is not frozen."""
    meta = tmp_path / "model.ckpt-40.meta"
    meta.write_bytes((TF1 / "training" / "model.ckpt-40.meta").read_bytes())
    with pytest.raises(MissingFileError, match=r"model\.ckpt-40\.index does not exist"):
        open_tensors(meta)
    (finding,) = tfbundle.verify(meta).findings
    assert (finding.kind, finding.path) == ("missing", str(tmp_path / "model.ckpt-40.index"))
    model = FIXTURES / "tf-2.21.0" / "saved-model-with-asset" / "model"
    (tmp_path / "saved_model.pb").write_bytes((model / "saved_model.pb").read_bytes())
    with pytest.raises(MissingFileError, match="has no variables"):
        open_tensors(tmp_path)


def test_open_checkpoint_points_to_the_constants() -> None:
    """In the library, a checkpoint and a graph stay two things."""
    for function in (tfbundle.open_checkpoint, tfbundle.load):
        with pytest.raises(UnsupportedError, match=r"tfbundle\.load_graph\(path\)\.constants has its weights"):
            function(FROZEN)


def test_checkpoints_load_nothing_of_graphs() -> None:
    import subprocess
    import sys

    script = (
        "import sys, tfbundle.open_tensors\n"
        f"tfbundle.open_tensors.open_tensors({str(TF1 / 'training')!r}).close()\n"
        "print([name for name in sys.modules if name.startswith('tfbundle.graph')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# The tensors.


def test_nothing_is_decoded_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> Any:
        raise AssertionError("a constant was decoded")

    monkeypatch.setattr("tfbundle.graph.constants.decode_tensor", refuse)
    with open_tensors(FROZEN) as weights:
        assert [(tensor.name, tensor.shape, tensor.data_type, tensor.nbytes) for tensor in weights.values()][-1] == (
            "head/fc/biases",
            (2,),
            "DT_FLOAT",
            8,
        )
        with pytest.raises(AssertionError, match="was decoded"):
            weights["head/fc/biases"].read()


@pytest.mark.parametrize(
    "index", [0, -1, (1, 2), (slice(None, None, -2), ...), (slice(3, 1), 0), (..., None, slice(1, 6, 3)), ()], ids=str
)
@pytest.mark.parametrize("constant", [MATRIX, zeros(4, 6), (3, (4, 6), {"int_val": [1, 2, 3]})], ids=str)
def test_parts(tmp_path: Path, constant: Any, index: Any) -> None:
    with open_tensors(write(tmp_path / "g.pb", make_graph(w=constant))) as weights:
        tensor = weights["w"]
        whole, part = tensor.read(), tensor[index]
        assert np.array_equal(part, whole[index])
        assert part.shape == whole[index].shape
        assert part.dtype == whole.dtype


@pytest.mark.parametrize("scalar", [np.array(b"word", object), np.array(2.5, np.float32)], ids=str)
def test_parts_of_a_scalar(tmp_path: Path, scalar: Any) -> None:
    with open_tensors(path := write(tmp_path / "g.pb", make_graph(w=scalar))) as weights:
        assert_same(weights["w"][...], scalar)
        assert_same(weights["w"][None], scalar[None])
        assert weights["w"][()] == scalar[()]
    assert run("show", path, "w").stdout.splitlines()[-1] == str(scalar)


def test_pickles(tmp_path: Path) -> None:
    path = write(tmp_path / "g.pb", make_graph(v=MATRIX + 1, w=MATRIX))
    with open_tensors(path) as weights:
        tensor = pickle.loads(pickle.dumps(weights["w"]))
        again = pickle.loads(pickle.dumps(weights))
    assert tensor.shape == (4, 6)
    assert np.array_equal(tensor.read(), MATRIX)
    assert list(again) == ["v", "w"]
    for other in (make_graph(v=MATRIX + 1, w=MATRIX * 2), make_graph(w=MATRIX), make_graph(v=MATRIX)):
        with open_tensors(write(path, make_graph(v=MATRIX + 1, w=MATRIX))) as weights:
            tensor = pickle.loads(pickle.dumps(weights["w"]))
        write(path, other)
        with pytest.raises(FormatError, match="replaced since"):
            tensor.read()


def test_closed() -> None:
    with open_tensors(FROZEN) as weights:
        tensor = weights["head/fc/biases"]
        array = tensor.read()
    assert array.tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="is closed"):
        tensor.read()


def test_as_a_mapping() -> None:
    with open_tensors(FROZEN) as weights:
        assert repr(weights) == f"<GraphWeights {str(FROZEN)!r}, 6 constants>"
        assert weights._ipython_key_completions_() == list(weights)
        assert "head/fc/biases" in weights
        assert "Placeholder" not in weights
        with pytest.raises(KeyError, match="did you mean 'head/fc/biases'"):
            weights["head/fc/bias"]


def test_one_value_for_many(tmp_path: Path) -> None:
    """A constant may claim any size for nothing; it is listed, and no memory is taken for it."""
    large = LARGEST_REPETITION // 4 + 1
    path = write(
        tmp_path / "g.pb",
        make_graph(large=(1, [1, large], {"float_val": [2]}), huge=zeros(1 << 20, 1 << 20), strings=(7, [9], {})),
    )
    with open_tensors(path) as weights:
        assert weights["huge"].nbytes == 1 << 42
        for name, most in (("large", LARGEST_REPETITION), ("huge", LARGEST_MESSAGE)):
            for read in (weights[name].read, lambda name=name: weights[name][:]):
                with pytest.raises(UnsupportedError, match=f"more than the limit of {most}") as caught:
                    read()
                assert (caught.value.path, caught.value.tensor) == (str(path), name)
        assert weights["huge"][5, ::1000].tolist() == [0.0] * 1049
        assert weights["strings"].read().tolist() == [b""] * 9
        assert sum(map(len, weights["large"].chunks())) == large
        with pytest.raises(UnsupportedError, match=f"more than the limit of {LARGEST_MESSAGE}"):
            weights["huge"].chunks()
    assert run_json("verify", path)["ok"]
    assert run("convert", path, tmp_path / "out.npz", "--names", "large").exit_code == 0
    with np.load(tmp_path / "out.npz") as written:
        assert written["large"].shape == (1, large)
        assert (written["large"] == 2).all()


@pytest.mark.parametrize("name", ["read", "ls", "verify", "fingerprint"])
def test_many_constants_of_zeros(name: str, tmp_path: Path) -> None:
    """A frozen model may have several variables that training never touched."""
    path = write(tmp_path / "g.pb", make_graph(**{f"c{number}": zeros(5, 1 << 20) for number in range(10)}))
    if name == "read":
        with open_tensors(path) as weights:
            values = {name: tensor.read() for name, tensor in weights.items()}
        assert [value.nbytes for value in values.values()] == [20 << 20] * 10
        assert not values["c9"].any()
        values["c3"][0, 0] = 1
        assert values["c3"].sum() == 1
        assert not values["c4"][0, 0]
    else:
        assert run(name, path).exit_code == 0


@pytest.mark.parametrize(("count", "refused"), [(2, False), (3, True)])
def test_constants_that_repeat_ones_together(count: int, refused: bool, tmp_path: Path) -> None:
    half = LARGEST_REPETITION // 2 // 4
    ones = {f"c{number}": (1, [half], {"float_val": [1]}) for number in range(count)}
    path = write(tmp_path / "g.pb", make_graph(**ones, zeros=zeros(1 << 26)))
    with open_tensors(path) as weights:
        assert weights["zeros"].read().nbytes == 1 << 28
        if refused:
            with pytest.raises(UnsupportedError, match="several constants"):
                weights["c0"].read()
        else:
            assert weights["c0"].read().sum() == half


def test_negative_zeros_keep_their_sign(tmp_path: Path) -> None:
    path = write(tmp_path / "g.pb", make_graph(c=(1, [3], {"float_val": [-0.0]})))
    with open_tensors(path) as weights:
        assert np.signbit(weights["c"].read()).all()
        assert np.signbit(weights["c"][:2]).all()


# Damage.


def cut_content(node: NodeDef) -> None:
    node.attr["value"].tensor.tensor_content = b"123"


def drop_value(node: NodeDef) -> None:
    node.attr["value"].Clear()


def change_dtype(node: NodeDef) -> None:
    node.attr["dtype"].type = 3


def change_shape(node: NodeDef) -> None:
    node.attr["value"].tensor.tensor_shape.dim[0].size = -2


def become_variant(node: NodeDef) -> None:
    node.attr["value"].tensor.dtype = node.attr["dtype"].type = 21


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (cut_content, "3 bytes for 24 elements"),
        (drop_value, "Const without a value"),
        (change_dtype, "Const of DT_INT32, and its value is of DT_FLOAT"),
        (change_shape, "-2"),
        (become_variant, "DT_VARIANT"),
    ],
)
def test_a_constant_that_makes_no_sense(tmp_path: Path, change: Any, said: str) -> None:
    graph = make_graph(bad=MATRIX, good=MATRIX)
    change(graph.node[1])
    path = write(tmp_path / "g.pb", graph)
    with open_tensors(path) as weights:
        assert list(weights) == ["bad", "good"]
        with pytest.raises(TfBundleError, match=said) as caught:
            weights["bad"].read()
        assert caught.value.path == str(path)
        assert np.array_equal(weights["good"].read(), MATRIX)
    report = tfbundle.verify(path)
    (finding,) = report.findings
    assert finding.kind == ("unsupported" if "VARIANT" in said else "entry")
    assert (finding.tensor, finding.path) == ("bad", str(path))
    assert (report.tensors, report.recoverable, report.nbytes) == (2, 1, 0)
    result = run("verify", path)
    assert result.exit_code == 1
    assert result.stdout.endswith(f"{path}: 1 finding; 1 of 2 constants decoded; a graph has no checksums\n")
    result = run("convert", "--salvage", path, tmp_path / "out.npz")
    assert result.exit_code == 1
    assert result.stdout.startswith("lost:\n")
    with np.load(tmp_path / "out.npz") as written:
        assert list(written) == ["good"]


def test_graphs_that_are_damaged(tmp_path: Path) -> None:
    data = FROZEN.read_bytes()
    path = tmp_path / "frozen.pb"
    at = data.index(b"head/fc/biases") - 1
    path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
    with pytest.raises(FormatError, match="truncated or damaged"):
        open_tensors(path)
    (finding,) = tfbundle.verify(path).findings
    assert (finding.kind, finding.path) == ("graph", str(path))
    graph = make_graph(w=MATRIX)
    graph.node.add().CopyFrom(graph.node[1])
    with pytest.raises(FormatError, match=r"two nodes of .* have the name 'w'"):
        open_tensors(write(path, graph))
    assert not tfbundle.verify(path)


def test_a_graph_is_not_replaced_by_its_export(tmp_path: Path) -> None:
    path = write(tmp_path / "g.npz", make_graph(w=MATRIX))
    with pytest.raises(ValueError, match="is a source of the output"):
        convert(path, path)
    assert path.read_bytes() == make_graph(w=MATRIX).SerializeToString()


@pytest.mark.parametrize(
    ("values", "shape", "wanted"),
    [
        ([b"ab", b"c"], (2,), 3),
        ([b"ab", b"c"], (2, 3), 2 + 5),  # The last one stands for all that are left out.
        ([b"abc"], (4,), 12),
        ([], (4,), 0),
        ([], (0,), 0),
        ([b"ab"], (1 << 40,), 2 << 40),
    ],
)
def test_the_size_of_strings_is_known_without_them(
    values: list[bytes], shape: tuple[int, ...], wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = TensorProto(dtype=7, string_val=values)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    graph = GraphDef()
    graph.node.add(name="c", op="Const").attr["value"].tensor.CopyFrom(tensor)
    (tmp_path / "graph.pb").write_bytes(graph.SerializeToString())
    with open_tensors(tmp_path / "graph.pb") as weights:
        if prod(shape) < 1000:
            assert sum(map(len, weights["c"].read().flat)) == wanted
        monkeypatch.setattr("tfbundle.graph.weights.decode_constant", None)
        assert weights["c"].nbytes == wanted


def test_more_strings_than_elements_have_no_size(tmp_path: Path) -> None:
    tensor = TensorProto(dtype=7, string_val=[b"a", b"b"])
    tensor.tensor_shape.dim.add(size=1)
    graph = GraphDef()
    graph.node.add(name="c", op="Const").attr["value"].tensor.CopyFrom(tensor)
    (tmp_path / "graph.pb").write_bytes(graph.SerializeToString())
    with open_tensors(tmp_path / "graph.pb") as weights, pytest.raises(tfbundle.FormatError, match="holds 2 values"):
        weights["c"].nbytes  # noqa: B018
