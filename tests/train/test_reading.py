"""TensorFlow's names: the same calls to TensorFlow and to this, on every fixture."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same
from tests.support.bundle_writer import Saved, write_bundle
from tests.support.expected import FIXTURES, Expected, expected_checkpoints, numpy_name, read_of, sha256_of
from tfbundle import train
from tfbundle.errors import FormatError, MissingFileError

CHECKPOINTS = [one for format in ("v2", "v1") for one in expected_checkpoints(format) if one.error is None]
STATES = {
    file.parent: json.loads(file.read_text(encoding="utf-8"))["state"]
    for file in sorted(FIXTURES.glob("*/*/EXPECTED.json"))
    if "state" in json.loads(file.read_text(encoding="utf-8"))
}
TRAINING = FIXTURES / "tf-1.15.5" / "training"

every_checkpoint = pytest.mark.parametrize("expected", CHECKPOINTS, ids=str)
every_state = pytest.mark.parametrize("folder", STATES, ids=lambda folder: folder.relative_to(FIXTURES).as_posix())


def open_one(expected: Expected) -> train.CheckpointReader:
    # Where both formats share a name TensorFlow takes V2, so that V1 is compared through the file alone.
    checkpoint = tfbundle.open_checkpoint(expected.path, format="v1" if expected.format == "v1" else None)
    return train.CheckpointReader(checkpoint)


class TestReaderAgainstExpectations:
    @every_checkpoint
    def test_maps(self, expected: Expected) -> None:
        reader = open_one(expected)
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        assert shapes == {name: facts["shape"] for name, facts in expected.tensors.items()}
        names = {"half": "float16", "float": "float32", "double": "float64"}
        assert {name: dtype.name for name, dtype in dtypes.items()} == {
            name: names.get(facts["dtype"], facts["dtype"]) for name, facts in expected.tensors.items()
        }

    @every_checkpoint
    def test_values(self, expected: Expected) -> None:
        reader = open_one(expected)
        for name in read_of(expected.tensors):
            facts = expected.tensors[name]
            if "sha256" not in facts:
                continue
            value = reader.get_tensor(name)
            if facts["dtype"] == "string" and not facts["shape"]:
                assert type(value) is bytes
                value = np.array(value, object)
            elif not facts["shape"]:
                assert isinstance(value, np.generic)
            assert value.dtype == np.dtype(numpy_name(facts["dtype"]))
            found = {sha256_of(np.asarray(value))}
            if "sha256_as_int8" in facts:
                found.add(sha256_of(np.asarray(value), as_int8=True))
            assert found & {facts["sha256"], facts.get("sha256_as_int8")}


class TestReaderAgainstTensorFlow:
    @every_checkpoint
    def test_every_call(self, tf: Any, expected: Expected) -> None:
        if expected.format == "v1" and expected.path.with_name(expected.path.name + ".index").exists():
            pytest.skip("TensorFlow takes the V2 checkpoint of this name")
        theirs = tf.compat.v1.train.NewCheckpointReader(str(expected.path))
        ours = train.NewCheckpointReader(str(expected.path))
        lines = theirs.debug_string()
        if expected.format == "v2":
            assert ours.debug_string() == lines
        else:  # TensorFlow's order there is that of a hash table.
            assert sorted(ours.debug_string().split(b"\n")) == sorted(lines.split(b"\n"))
        try:
            shapes = theirs.get_variable_to_shape_map()
        except UnicodeDecodeError:
            assert any("\udc80" <= character <= "\udcff" for name in expected.tensors for character in name)
            return
        assert ours.get_variable_to_shape_map() == shapes
        assert {type(shape) for shape in ours.get_variable_to_shape_map().values()} <= {list}
        dtypes = ours.get_variable_to_dtype_map()
        assert dtypes == theirs.get_variable_to_dtype_map()
        for name in read_of(shapes):
            assert ours.has_tensor(name) is theirs.has_tensor(name) is True
            facts = expected.tensors[name]
            if "error" in facts or facts["source"] != "read by TensorFlow" or facts["dtype"] == "variant":
                continue  # It cannot, or ends the process, as for slices of more than eight dimensions.
            try:
                wanted = theirs.get_tensor(name)
            except tf.errors.UnimplementedError:
                assert expected.format == "v1"  # Slices: its Saver puts them together, its reader does not.
                continue
            assert_same(ours.get_tensor(name), wanted)
            assert_same(ours.get_tensor(name.encode()), wanted)

    @pytest.mark.parametrize(
        "path", [TRAINING, TRAINING / "model.ckpt-20", FIXTURES / "tf-1.15.5" / "v1-sharded"], ids=str
    )
    def test_functions(self, tf: Any, path: Path) -> None:
        for given in (str(path), path):
            assert train.list_variables(given) == tf.train.list_variables(given)
            for name, _ in tf.train.list_variables(given):
                wanted = tf.train.load_variable(given, name)
                assert_same(train.load_variable(given, name), wanted)
                assert_same(train.load_variable(given, name + ":0"), wanted)

    def test_signatures(self, tf: Any) -> None:
        import inspect

        for name in (
            "NewCheckpointReader",
            "checkpoint_exists",
            "get_checkpoint_state",
            "latest_checkpoint",
            "list_variables",
            "load_checkpoint",
            "load_variable",
        ):
            theirs = inspect.signature(getattr(tf.compat.v1.train, name)).parameters
            ours = inspect.signature(getattr(train, name)).parameters
            assert list(ours) == list(theirs), name
            assert [one.default for one in ours.values()] == [one.default for one in theirs.values()], name


class TestReader:
    def test_absent_names(self) -> None:
        reader = train.load_checkpoint(TRAINING)
        assert reader.has_tensor("beta1_power") is True
        assert reader.has_tensor(b"beta1_power") is True
        for name in ("beta1_powe", "", "beta1_power/"):
            assert reader.has_tensor(name) is False
            with pytest.raises(KeyError, match="there is no tensor"):
                reader.get_tensor(name)

    def test_absent_files(self, tmp_path: Path) -> None:
        for call in (train.NewCheckpointReader, train.load_checkpoint, train.list_variables):
            with pytest.raises(MissingFileError):
                call(tmp_path / "model.ckpt")
            with pytest.raises(MissingFileError):
                call(tmp_path)

    def test_bytes_as_path(self) -> None:
        assert train.NewCheckpointReader(str(TRAINING / "model.ckpt-20").encode()).has_tensor("beta1_power")

    def test_names_that_are_not_utf8(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "model", {"a\udcff": np.arange(3)})
        reader = train.NewCheckpointReader(tmp_path / "model")
        assert reader.get_tensor(b"a\xff").tolist() == reader.get_tensor("a\udcff").tolist() == [0, 1, 2]
        assert reader.debug_string() == b"a\xff (DT_INT64) [3]\n"

    def test_entry_without_sense(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "model", {"a": Saved(np.arange(3), lies={"raw": b"\xff"}), "b": np.arange(2)})
        reader = train.NewCheckpointReader(tmp_path / "model")
        assert reader.get_tensor("b").tolist() == [0, 1]
        for call in (reader.debug_string, reader.get_variable_to_shape_map, reader.get_variable_to_dtype_map):
            with pytest.raises(FormatError):
                call()

    def test_unknown_type(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "model", {"a": Saved(np.arange(3), lies={"dtype": 77})})
        dtype = train.NewCheckpointReader(tmp_path / "model").get_variable_to_dtype_map()["a"]
        assert dtype.as_datatype_enum == 77
        with pytest.raises(FormatError):
            _ = dtype.as_numpy_dtype


class TestStates:
    @every_state
    def test_against_expectations(self, folder: Path) -> None:
        expected = STATES[folder]
        state = train.get_checkpoint_state(folder)
        assert state is not None
        latest = expected["latest_checkpoint"]
        if folder.name == "moved":
            latest = Path(expected["model_checkpoint_path"]).name  # TensorFlow finds nothing where the path leads.
        assert train.latest_checkpoint(folder) == (None if latest is None else str(folder / latest))
        assert state.model_checkpoint_path == str(folder / Path(expected["model_checkpoint_path"]).name)
        assert list(state.all_model_checkpoint_paths) == [
            str(folder / Path(path).name) for path in expected["all_model_checkpoint_paths"]
        ]

    @every_state
    def test_against_tensorflow(self, tf: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if folder.name == "moved":
            pytest.skip("TensorFlow does not look for what moved")
        monkeypatch.chdir(folder)
        for given in (str(folder), folder, ".", "", Path()):
            ours, theirs = train.get_checkpoint_state(given), tf.train.get_checkpoint_state(given)
            assert ours is not None
            assert ours.SerializeToString() == theirs.SerializeToString()
            assert train.latest_checkpoint(given) == tf.train.latest_checkpoint(given)
            for prefix in (ours.model_checkpoint_path, *ours.all_model_checkpoint_paths):
                assert train.checkpoint_exists(prefix) is tf.compat.v1.train.checkpoint_exists(prefix)

    def test_latest_can_be_opened(self) -> None:
        folder = FIXTURES / "tf-1.15.5" / "v1-sharded"
        latest = train.latest_checkpoint(folder)
        assert latest == str(folder / "model.ckpt-5-?????-of-00004")
        assert train.checkpoint_exists(latest)
        assert train.load_checkpoint(latest).has_tensor("beta1_power")

    def test_other_name(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "best", {"a": np.arange(2)})
        (tmp_path / "best_checkpoint").write_text('model_checkpoint_path: "best"')
        assert train.get_checkpoint_state(tmp_path) is None
        assert train.latest_checkpoint(tmp_path) is None
        assert train.latest_checkpoint(tmp_path, "best_checkpoint") == str(tmp_path / "best")
        state = train.get_checkpoint_state(tmp_path, latest_filename="best_checkpoint")
        assert state is not None
        assert state.model_checkpoint_path == str(tmp_path / "best")

    @pytest.mark.parametrize("text", ["", "all_model_checkpoint_paths: 'a'", "nonsense", "model_checkpoint_path: 3"])
    def test_damaged(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "checkpoint").write_text(text)
        with pytest.raises(FormatError):
            train.get_checkpoint_state(tmp_path)

    def test_exists(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "model", {"a": np.arange(2)})
        assert train.checkpoint_exists(tmp_path / "model") is True
        for other in ("mode", "model.ckpt", "", "a\0b", "model-?????-of-00001", "?"):
            assert train.checkpoint_exists(str(tmp_path / other)) is False


CONVERTER = '''
import tensorflow as tf


def convert(folder):
    """Weights of the latest checkpoint for another framework, without what only training needs."""
    state = tf.train.get_checkpoint_state(folder)
    reader = tf.train.load_checkpoint(state.model_checkpoint_path)
    dtypes = reader.get_variable_to_dtype_map()
    weights = {}
    for name, shape in tf.train.list_variables(state.model_checkpoint_path):
        if "/Adam" in name or "/Momentum" in name or dtypes[name].name != "float32":
            continue
        values = reader.get_tensor(name)
        weights[name.replace("/", ".")] = values.T if len(shape) == 2 else values
    return weights
'''


class TestPorting:
    """A converter that was written against TensorFlow does the same with its first line changed."""

    def run(self, source: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        exec(source, names)
        weights: dict[str, Any] = names["convert"](str(TRAINING))
        return weights

    def test_ported(self) -> None:
        weights = self.run(CONVERTER.replace("import tensorflow as tf", "import tfbundle as tf"))
        assert weights["fc2.weights"].shape == (3, 12)
        assert math.isclose(weights["beta1_power"], 0.9**41, rel_tol=1e-4)
        assert not any("Adam" in name for name in weights)

    def test_same_as_before(self, tf: Any) -> None:
        before = self.run(CONVERTER)
        after = self.run(CONVERTER.replace("import tensorflow as tf", "import tfbundle as tf"))
        assert before.keys() == after.keys()
        for name, values in before.items():
            assert_same(after[name], values)


class TestPaths:
    """What a path means, as TensorFlow takes it."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_bundle(tmp_path / "checkpoint", {"v": np.array(1)})
        write_bundle(tmp_path / "final", {"v": np.array(2)})
        (tmp_path / "checkpoint").write_text('model_checkpoint_path: "final"\nall_model_checkpoint_paths: "final"\n')
        return tmp_path

    def test_a_prefix_that_is_called_as_the_state_file(self, tf: Any, folder: Path) -> None:
        for name, value in (("checkpoint", 1), ("final", 2), ("", 2)):
            path = str(folder / name)
            for module in (tf.train, train):
                assert module.load_variable(path, "v") == value
                assert module.load_checkpoint(path).get_tensor("v") == value
                assert module.list_variables(path) == [("v", [])]
            if name:
                reader, theirs = train.NewCheckpointReader(path), tf.compat.v1.train.NewCheckpointReader(path)
                assert reader.get_tensor("v") == theirs.get_tensor("v") == value
                assert train.checkpoint_exists(path) is tf.compat.v1.train.checkpoint_exists(path) is True
        assert train.latest_checkpoint(folder) == tf.train.latest_checkpoint(str(folder)) == str(folder / "final")

    def test_a_prefix_and_a_folder(self, tf: Any, folder: Path) -> None:
        write_bundle(folder.with_name(folder.name), {"v": np.array(3)})
        for module in (tf.train, train):
            assert module.load_variable(str(folder), "v") == 2
        for module in (tf.compat.v1.train, train):
            assert module.NewCheckpointReader(str(folder)).get_tensor("v") == 3

    def test_bytes_and_urls(self, folder: Path) -> None:
        for given in (os.fsencode(folder), folder.as_uri(), folder):
            assert train.latest_checkpoint(given) == str(folder / "final")
            state = train.get_checkpoint_state(given)
            assert state is not None
            assert state.model_checkpoint_path == str(folder / "final")
            assert train.load_variable(given, "v") == 2
            assert train.list_variables(given) == [("v", [])]
        for given in (os.fsencode(folder / "final"), (folder / "final").as_uri()):
            assert train.checkpoint_exists(given) is True
            assert train.NewCheckpointReader(given).get_tensor("v") == 2
            assert train.load_checkpoint(given).get_tensor("v") == 2

    def test_a_state_that_names_a_file(self, folder: Path) -> None:
        (folder / "checkpoint").write_text('model_checkpoint_path: "final.index"\n')
        assert train.latest_checkpoint(folder) == str(folder / "final")
        assert train.load_variable(folder, "v") == 2
