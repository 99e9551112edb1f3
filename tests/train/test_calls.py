"""What programs call beside the readers: events, records, tensors in messages, assignment maps, new checkpoints."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.arrays import DTYPES, assert_same, sample_array
from tests.support.bundle_writer import write_bundle
from tests.support.expected import FIXTURES
from tfbundle import train
from tfbundle.errors import ChecksumError, FormatError, MissingFileError, UnsupportedError
from tfbundle.proto import TensorProto
from tfbundle.tensors.dtypes import numpy_dtypes

TRAINING = FIXTURES / "tf-1.15.5" / "training"
EVERY_DTYPE = next((FIXTURES / "tf-1.15.5" / "every-dtype").glob("*.index")).with_suffix("")
EVENTS = sorted(path for path in FIXTURES.glob("events-*/*/**/*tfevents*") if path.is_file())


class TestEvents:
    @pytest.mark.parametrize("path", EVENTS[::7], ids=lambda path: path.relative_to(FIXTURES).as_posix())
    def test_against_tensorflow(self, tf: Any, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                theirs = [event.SerializeToString() for event in tf.compat.v1.train.summary_iterator(str(path))]
            except tf.errors.DataLossError:
                return  # Compressed.
        assert [event.SerializeToString() for event in train.summary_iterator(str(path))] == theirs

    def test_a_file_that_grows(self, tmp_path: Path) -> None:
        data = (FIXTURES / "events-tf-1.15.5" / "restarts").rglob("*tfevents*")
        whole = next(iter(sorted(data))).read_bytes()
        path = tmp_path / "events.out.tfevents.1"
        path.write_bytes(whole[: len(whole) // 2])
        events = train.summary_iterator(path)
        first = list(events)
        assert list(events) == []
        path.write_bytes(whole)
        rest = list(events)
        assert len(rest) > 0
        assert first + rest == list(train.summary_iterator(path))

    def test_errors(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError):
            train.summary_iterator(tmp_path / "none")
        data = bytearray(EVENTS[0].read_bytes())
        data[14] ^= 1
        (tmp_path / "damaged").write_bytes(data)
        with pytest.raises(ChecksumError):
            list(train.summary_iterator(tmp_path / "damaged"))

    @pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
    def test_records(self, tf: Any, tmp_path: Path, compression: str) -> None:
        options = tf.io.TFRecordOptions(compression_type=compression)
        records = [b"", b"one", b"x" * 5000]
        with tf.io.TFRecordWriter(str(tmp_path / "r"), options) as writer:
            for record in records:
                writer.write(record)
        number = {"": 0, "ZLIB": 1, "GZIP": 2}[compression]
        for given in (None, compression, options, number, tf.compat.v1.io.TFRecordOptions(number)):
            assert list(train.tf_record_iterator(str(tmp_path / "r"), given)) == records
        if compression:
            with pytest.raises(FormatError):
                list(train.tf_record_iterator(tmp_path / "r", "NONE"))


class TestMakeNdarray:
    @pytest.mark.parametrize("name", DTYPES)
    @pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
    def test_against_tensorflow(self, tf: Any, name: str, shape: tuple[int, ...]) -> None:
        array = sample_array(name, shape)
        try:
            proto = tf.make_tensor_proto(array)
            theirs = tf.make_ndarray(proto)
        except (TypeError, ValueError):
            pytest.skip("TensorFlow makes no message of it, or no array")
        ours = train.make_ndarray(proto)
        assert_same(ours, theirs)
        assert ours.flags.writeable
        ours[...] = ours.copy()

    def test_types_of_few_values(self, tf: Any) -> None:
        for number in (1, 2, 3, 4, 5, 6, 9, 10, 17, 22, 23):
            field = {1: "float_val", 2: "double_val", 9: "int64_val", 10: "bool_val", 22: "uint32_val"}.get(
                number, "uint64_val" if number == 23 else "int_val"
            )
            for values in ([], [1], [1, 0]):
                theirs = tf.make_tensor_proto(0).__class__(dtype=number, **{field: values})
                theirs.tensor_shape.dim.add(size=4)
                assert_same(train.make_ndarray(theirs), tf.make_ndarray(theirs))

    def test_what_takes_far_more_memory(self) -> None:
        proto = TensorProto(dtype=1, float_val=[1.0])
        proto.tensor_shape.dim.add(size=16 << 20)
        assert train.make_ndarray(proto).nbytes == 64 << 20
        proto.tensor_shape.dim[0].size += 1
        with pytest.raises(UnsupportedError, match="would take 67108868 bytes"):
            train.make_ndarray(proto)

    def test_every_type(self) -> None:
        for name in numpy_dtypes():
            if name == "variant":
                continue
            proto = TensorProto(dtype=train.as_dtype(name).as_datatype_enum)
            proto.tensor_shape.dim.add(size=2)
            assert train.make_ndarray(proto).shape == (2,)


class TestPrinting:
    @pytest.mark.parametrize("path", [TRAINING / "model.ckpt-20", EVERY_DTYPE], ids=["training", "every-dtype"])
    def test_against_tensorflow(self, tf: Any, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from tensorflow.python.tools import inspect_checkpoint

        name = train.list_variables(path)[0][0]
        calls: list[dict[str, Any]] = [
            {"tensor_name": None, "all_tensors": True},
            {"tensor_name": None, "all_tensors": False, "all_tensor_names": True},
            {"tensor_name": "", "all_tensors": False},
            {"tensor_name": name, "all_tensors": False},
            {"tensor_name": "none", "all_tensors": False},
            {"tensor_name": "", "all_tensors": False, "count_exclude_pattern": "Adam|half"},
        ]
        for arguments in calls:
            printed = []
            for module in (train, inspect_checkpoint):
                module.print_tensors_in_checkpoint_file(str(path), **arguments)
                printed.append(capsys.readouterr().out)
            # It does not put slices of half together, and prints that in place of the values.
            wanted = printed[1].removesuffix("Dtype half not supported.\n")
            assert printed[0][: len(wanted)] == wanted
            assert wanted != printed[1] or printed[0] == wanted
            assert len(wanted) > 10

    def test_errors(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError):
            train.print_tensors_in_checkpoint_file(tmp_path / "none", "", False)


VALUES = {"old/w": np.arange(3.0), "old/deep/w": np.arange(4.0), "older": np.arange(2.0), "b": np.float64(5)}
MAPS: list[Any] = [
    {"old/w": "new/w"},
    {"old/": "new/"},
    {"old/": "/"},
    {"/": "new/"},
    {"/": "/"},
    {"old/deep/": "x/y/", "b": "c"},
    [("b", "c"), ("b", "d")],
    {"old/": "new/", "b": "n"},
]


class TestAssignment:
    @pytest.mark.parametrize("mapping", MAPS, ids=str)
    def test_against_tensorflow(self, tf: Any, tmp_path: Path, mapping: Any) -> None:
        write_bundle(tmp_path / "m", {name: np.asarray(value) for name, value in VALUES.items()})
        ours = train.init_from_checkpoint(tmp_path / "m", mapping)
        assert ours
        v1 = tf.compat.v1
        with tf.Graph().as_default(), v1.Session() as session:
            variables = {
                name: v1.get_variable(name, value.shape, tf.float64, initializer=v1.zeros_initializer())
                for name, value in ours.items()
            }
            v1.train.init_from_checkpoint(str(tmp_path / "m"), mapping)
            session.run(v1.global_variables_initializer())
            for name, variable in variables.items():
                np.testing.assert_array_equal(session.run(variable), ours[name])
        for value in ours.values():
            value += 1  # Each is an array of its own.
        assert all(np.array_equal(value, VALUES["b"] + 1) for name, value in ours.items() if name in "cd")

    @pytest.mark.parametrize(
        ("mapping", "message"),
        [
            ({"old/v": "w"}, "did you mean 'old/w'"),
            ({"none/": "new/"}, "no tensor below"),
            ({"old/": "new"}, "a scope becomes a scope"),
            ({"old/w": "new/"}, "a scope becomes a scope"),
        ],
    )
    def test_errors(self, tmp_path: Path, mapping: Any, message: str) -> None:
        write_bundle(tmp_path / "m", {name: np.asarray(value) for name, value in VALUES.items()})
        with pytest.raises(ValueError, match=message):
            train.init_from_checkpoint(tmp_path / "m", mapping)

    def test_a_folder(self) -> None:
        arrays = train.init_from_checkpoint(TRAINING, {"fc1/": "layer/"})
        assert_same(arrays["layer/weights"], train.load_variable(TRAINING, "fc1/weights"))


class Sleeper:
    """Time that passes while another program sleeps, and what happens in the meantime."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.now = 1000.0
        self.folder = folder
        self.saved: dict[float, int] = {}
        self.log: list[Any] = []
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.log.append(round(self.now, 3))
        for at in sorted(self.saved):
            if at <= self.now:
                step = self.saved.pop(at)
                write_bundle(self.folder / f"m-{step}", {"a": np.arange(2)})
                (self.folder / "checkpoint").write_text(f'model_checkpoint_path: "m-{step}"\n')

    def run(self, iterator: Iterator[str], most: int) -> None:
        for path in islice(iterator, most):
            self.log.append(Path(path).name)


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout": 5},
        {"timeout": 0},
        {"timeout": 3.5, "min_interval_secs": 2.5},
        {"min_interval_secs": 30, "timeout": 1},
        {"timeout": 2, "timeout_fn": "third"},
        {"timeout": None, "timeout_fn": "third"},
    ],
    ids=str,
)
def test_new_checkpoints(tf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    logs = []
    for name, module in (("ours", train), ("theirs", tf.train)):
        (tmp_path / name).mkdir()
        with monkeypatch.context() as patch:
            sleeper = Sleeper(patch, tmp_path / name)
            sleeper.saved = {1001.5: 1, 1003.5: 2, 1004.5: 3, 1006.2: 4}
            asked: list[int] = []

            def third(asked: list[int] = asked) -> bool:
                asked.append(1)
                return len(asked) == 3

            given = {key: third if value == "third" else value for key, value in settings.items()}
            sleeper.run(module.checkpoints_iterator(str(tmp_path / name), **given), most=6)
            logs.append([*sleeper.log, len(asked)])
    assert logs[0] == logs[1]
