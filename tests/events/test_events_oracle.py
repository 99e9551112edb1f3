"""Series beside what TensorFlow and TensorBoard read from the same files."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tfbundle
from tests.support.expected import FIXTURES
from tests.support.records import frames
from tfbundle.events.plugins import KINDS
from tfbundle.events.purge import kept_by_purge
from tfbundle.proto import Event, SessionLog, Summary

CASES = sorted(path.parent for path in FIXTURES.glob("events-*/*/EXPECTED.json"))


@pytest.fixture(scope="session")
def accumulator() -> Any:
    """TensorBoard's class, which keeps every point."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip(
            "tensorboard.backend.event_processing.event_accumulator", reason="compares with TensorBoard"
        )

    def load(path: Path) -> Any:
        return module.EventAccumulator(
            str(path), dict.fromkeys(module.STORE_EVERYTHING_SIZE_GUIDANCE, 0), purge_orphaned_data=False
        ).Reload()

    return load


def plain(values: np.ndarray[Any, Any]) -> list[str]:
    """Numbers as text: NaN is equal to NaN, and every digit counts."""
    return [repr(float(value)) for value in values.tolist()]


def test_there_are_fixtures_of_every_writer() -> None:
    assert {case.parent.name for case in CASES} >= {"events-tf-1.15.5", "events-tf-2.21.0", "events-tensorboardx"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_what_tensorflow_read_when_the_fixture_was_made(case: Path) -> None:
    expected = json.loads((case / "EXPECTED.json").read_text(encoding="utf-8"))
    for file in expected["events"]:
        events = tfbundle.read_events(case / file["path"])
        tags: dict[str, list[list[Any]]] = {}
        count = 0
        error = None
        try:
            for event in events:
                count += 1
                for value in event.summary.value:
                    one = [event.step, repr(event.wall_time), value.WhichOneof("value")]
                    if value.HasField("simple_value"):
                        one.append(repr(value.simple_value))
                    tags.setdefault(value.tag, []).append(one)
        except tfbundle.TfBundleError as caught:
            error = caught
        assert count == file["count"]
        assert tags == file["tags"]
        assert (error is not None) == (file["error"] is not None and events.truncation is None)
    for run, wanted in expected["accumulated"].items():
        # What these fixtures drop is the same by the rule of then and that of the data server.
        found = tfbundle.open_events(case, purge=case.name in ("purged", "restarts")).runs[run]
        for tag, points in wanted["scalars"].items():
            series = found.scalars[tag]
            assert series.steps.tolist() == [point[0] for point in points]
            assert list(map(repr, series.wall_times.tolist())) == [point[1] for point in points]
            assert plain(series.values) == [point[2] for point in points]
        for kind in ("images", "audio", "histograms"):
            for tag, steps in wanted[kind].items():
                assert getattr(found, kind)[tag].steps.tolist() == steps
                assert len(list(getattr(found, kind)[tag])) == len(steps)
        everything = {tag for kind in KINDS for tag in getattr(found, kind)}
        assert everything >= set(wanted["tensors"])
        for tag, steps in wanted["tensors"].items():
            kind = next(kind for kind in KINDS if tag in getattr(found, kind))
            assert getattr(found, kind)[tag].steps.tolist() == steps
        assert (found.graph is not None) == wanted["graph"]
        assert sorted(found.run_metadata.keys() - set(found.tensors)) == sorted(wanted["run_metadata"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_every_value_as_tensorboard_reads_it(accumulator: Any, case: Path) -> None:
    for name, run in tfbundle.open_events(case).runs.items():
        wanted = accumulator(case / name)
        for tag in wanted.Tags()["scalars"]:
            points = wanted.Scalars(tag)
            assert run.scalars[tag].wall_times.tolist() == [point.wall_time for point in points]
            assert plain(run.scalars[tag].values) == [repr(float(point.value)) for point in points]
        for tag in wanted.Tags()["images"]:
            assert [(one.width, one.height, one.encoded) for one in run.images[tag]] == [
                (point.width, point.height, (point.encoded_image_string,)) for point in wanted.Images(tag)
            ]
        for tag in wanted.Tags()["audio"]:
            assert [(one.encoded, one.sample_rate, one.length_frames) for one in run.audio[tag]] == [
                ((point.encoded_audio_string,), point.sample_rate, point.length_frames) for point in wanted.Audio(tag)
            ]
        for tag in wanted.Tags()["histograms"]:
            for one, point in zip(run.histograms[tag], wanted.Histograms(tag), strict=True):
                histo = point.histogram_value
                assert all(getattr(one, part) == getattr(histo, part) for part in MOMENTS)
                assert one.counts[one.counts > 0].tolist() == [count for count in histo.bucket if count > 0]
                limits = [limit for limit, count in zip(histo.bucket_limit, histo.bucket, strict=True) if count > 0]
                assert one.edges[1:-1][one.counts[:-1] > 0].tolist() == limits[:-1]
        for tag in wanted.Tags()["tensors"]:
            kind = next(kind for kind in KINDS if tag in getattr(run, kind))
            series = getattr(run, kind)[tag]
            points = wanted.Tensors(tag)
            assert series.wall_times.tolist() == [point.wall_time for point in points]
            for one, point in zip(series, points, strict=True):
                assert_same_tensor(kind, one, as_array(point.tensor_proto))
        tags = wanted.Tags()
        if tags["graph"]:
            assert run.graph is not None
            assert set(run.graph.nodes) == {node.name for node in run.graph.proto.node}
            assert as_bytes(run.graph.proto) == as_bytes(wanted.Graph())
        if tags["meta_graph"]:
            assert run.meta_graph is not None
            assert as_bytes(run.meta_graph.proto) == as_bytes(wanted.MetaGraph())
        for tag in tags["run_metadata"]:
            assert as_bytes(run.run_metadata[tag]) == as_bytes(wanted.RunMetadata(tag))
        for plugin in ("mesh", "text", "pr_curves", "hparams", "graph_keras_model"):
            try:
                known = set(wanted.PluginTagToContent(plugin))
            except KeyError:
                known = set()
            assert {tag for tag, one in run.metadata.items() if one.plugin_data.plugin_name == plugin} == known


MOMENTS = ("min", "max", "num", "sum", "sum_squares")


def as_array(tensor: Any) -> np.ndarray[Any, Any]:
    from tensorboard.util.tensor_util import make_ndarray

    if tensor.dtype == 14:  # TensorBoard alone does not know bfloat16.
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        return np.frombuffer(tensor.tensor_content, ml_dtypes.bfloat16).reshape(shape)
    array: np.ndarray[Any, Any] = make_ndarray(tensor)
    return array


def as_bytes(message: Any) -> bytes:
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def assert_same_tensor(kind: str, found: Any, wanted: np.ndarray[Any, Any]) -> None:
    """What a plugin's kind makes of a tensor holds all that is in it."""
    if kind == "scalars":
        assert repr(float(found)) == repr(float(wanted))
    elif kind == "histograms":
        assert found.counts.tolist() == wanted[:, 2].tolist()
        assert found.edges[:-1].tolist() == wanted[:, 0].tolist()
        assert found.edges[1:].tolist() == wanted[:, 1].tolist()
    elif kind == "images":
        assert [b"%d" % found.width, b"%d" % found.height, *found.encoded] == wanted.tolist()
    elif kind == "audio":
        pairs = list(zip(found.encoded, found.labels, strict=True))
        assert pairs == [(clip, label.decode()) for clip, label in wanted.tolist()]
    elif kind == "text":
        assert np.vectorize(str.encode, otypes=[object])(found).tolist() == wanted.tolist()
    elif kind == "pr_curves":
        assert np.array_equal(np.stack(found[1:]), wanted)
    else:
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        assert found.tolist() == wanted.tolist()


def test_plugins_of_the_fixtures() -> None:
    """Each plugin that has a schema of its own, from each writer that has it."""

    def run(case: str, name: str = ".") -> Any:
        return tfbundle.open_events(FIXTURES / case).runs[name]

    for case in ("events-tf-1.15.5/mesh-and-hparams", "events-tf-2.21.0/mesh-and-hparams"):
        found = run(case)
        assert [array.shape for array in found.tensors["shape_VERTEX"]] == [(1, 4, 3), (1, 4, 3)]
        assert found.tensors["shape_FACE"][0].tolist() == [[[0, 1, 2], [0, 2, 3]]]
        assert found.tensors["shape_COLOR"][1].dtype == np.uint8
        hparams = found.hparams
        assert (hparams.values["rate"], hparams.values["kind"], hparams.values["flag"]) == (0.1, "a", True)
        assert (hparams.group_name, hparams.status, hparams.metrics) == ("group", "STATUS_SUCCESS", [("", "accuracy")])
        assert (hparams.start_time, hparams.end_time) == (1.5e9, 1.6e9)
        assert hparams.experiment.user == "somebody"
        assert [event.log_message.message for event in found.events() if event.HasField("log_message")] == ["the end"]
    assert [array.shape for array in run("events-tensorboardx/more-kinds").tensors["shape_1"]] == [(1, 4, 3)] * 2
    for found in (run("events-tf-1.15.5/every-plugin-1"), run("events-tf-2.21.0/every-plugin-2", "train")):
        assert found.custom_scalars.category[0].chart[0].multiline.tag == ["loss.*"]
    assert run("events-tensorboardx/more-kinds").custom_scalars.category[0].chart[0].title == "losses"
    for case in ("events-tf-2.3.4/keras-2", "events-tf-2.21.0/keras-2"):
        train = run(case, "train")
        assert json.loads(train.tensors["keras"][0].item())["class_name"] == "Sequential"
        traces = train.run_metadata
        assert traces
        assert all(trace.function_graphs for trace in traces.values())
    names = [Path(path).name for path in run("events-tf-2.3.4/keras-2", "train").paths]
    assert [name.split("host")[1] for name in names] == [".v2", ".profile-empty"]
    assert list(run("events-tf-2.21.0/every-plugin-2", "train").run_metadata) == ["trace"]


@pytest.mark.parametrize("case", [case for case in CASES if case.name == "truncated-tails"], ids=str)
def test_what_tensorflow_reads_of_a_truncated_tail(case: Path, tmp_path: Path) -> None:
    cuts = json.loads((case / "EXPECTED.json").read_text(encoding="utf-8"))["cuts"]
    data = (case / cuts["path"]).read_bytes()
    last = cuts["counts"][0][0]
    for size, count, _ in cuts["counts"]:
        path = tmp_path / "part.tfevents"
        path.write_bytes(data[:size])
        events = tfbundle.read_events(path)
        assert len(list(events)) == count
        assert events.truncation == ((last, size - last) if size > last else None)


@pytest.mark.parametrize("case", [case for case in CASES if case.name == "compressed-records"], ids=str)
def test_what_tensorflow_reads_of_compressed_records(case: Path) -> None:
    for wanted in json.loads((case / "EXPECTED.json").read_text(encoding="utf-8"))["records"]:
        payloads = list(tfbundle.read_records(case / wanted["path"]))
        digest = hashlib.sha256(b"".join(struct.pack("<Q", len(payload)) + payload for payload in payloads))
        assert (len(payloads), digest.hexdigest()) == (wanted["count"], wanted["sha256"])


def write_restarts(folder: Path, draw: random.Random) -> None:
    """A run that starts again and again, with or without saying so."""
    folder.mkdir()
    for number in range(draw.randint(1, 3)):
        version = draw.choice(["brain.Event:2", "brain.Event:1", "x"])
        events = [Event(wall_time=number, file_version=version)] if draw.random() < 0.75 else []
        for _ in range(draw.randint(0, 30)):
            event = Event(wall_time=number, step=draw.randint(-1, 8))
            if draw.random() < 0.1:
                event.session_log.status = draw.choice([SessionLog.START, SessionLog.STOP])
            else:
                for tag in draw.sample("abc", draw.randint(0, 2)):
                    event.summary.value.append(Summary.Value(tag=tag, simple_value=draw.randint(0, 99)))
                event.summary.SetInParent()
            events.append(event)
        (folder / f"events.out.tfevents.{number}").write_bytes(frames(e.SerializeToString() for e in events))


# With this module TensorBoard runs without TensorFlow, which it would take seconds to import; its data server reads.
_TENSORBOARD = """
import sys, types
sys.modules["tensorboard.compat.notf"] = types.ModuleType("notf")
from tensorboard.main import run_main
run_main()
"""


@contextmanager
def tensorboard_server(folder: Path) -> Iterator[str]:
    """TensorBoard as it runs by default, with its data server in Rust, and the address that it answers at."""
    pytest.importorskip("tensorboard", reason="compares with TensorBoard")
    pytest.importorskip("tensorboard_data_server", reason="compares with TensorBoard's data server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--load_fast=true", f"--logdir={folder}", "--host=127.0.0.1", f"--port={port}"]
    command = [sys.executable, "-c", _TENSORBOARD, *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield f"http://127.0.0.1:{port}/data"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def ask(address: str) -> Any:
    """The JSON that is at an address, once the server is up."""
    for _ in range(3000):
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"no answer at {address}")


@pytest.mark.skipif(os.name == "nt", reason="TensorBoard's data server runs on Linux and macOS")
def test_purge_as_tensorboards_server(tmp_path: Path) -> None:
    for number in range(25):
        write_restarts(tmp_path / f"run{number}", random.Random(number))
    log = tfbundle.open_events(tmp_path, purge=True)
    wanted = {(run.name, tag): series for run in log.runs.values() for tag, series in run.scalars.items()}
    kept = sum(len(series) for series in wanted.values())
    written = sum(len(s) for run in tfbundle.open_events(tmp_path).runs.values() for s in run.scalars.values())
    assert len(wanted) > 50
    assert 0 < kept < written / 2
    with tensorboard_server(tmp_path) as address:
        found: dict[str, dict[str, Any]] = {}
        for _ in range(600):  # The data server reads the files in the background.
            found = ask(f"{address}/plugin/scalars/tags")
            if sum(map(len, found.values())) == len(wanted):
                break
            time.sleep(0.05)
        assert {(run, tag) for run, tags in found.items() for tag in tags} == set(wanted)
        for (run, tag), series in wanted.items():
            points = ask(f"{address}/plugin/scalars/scalars?{urllib.parse.urlencode({'run': run, 'tag': tag})}")
            ours = zip(series.wall_times.tolist(), series.steps.tolist(), series.values.tolist(), strict=True)
            assert points == list(map(list, ours)), (run, tag)


@pytest.mark.parametrize("forms", [1, 3])
def test_purge_takes_no_longer_than_sorting(forms: int) -> None:
    """Steps that fall all the time drop all but the last point; those that rise drop none."""
    falling = np.arange(1_000_000, 0, -1)
    kept = kept_by_purge(np.tile(falling, forms))
    assert kept is not None
    assert np.flatnonzero(kept).tolist() == [forms * 1_000_000 - 1]
    assert kept_by_purge(np.sort(falling)) is None


def test_every_kind_as_tensorflow_2_writes_it(tf: Any, accumulator: Any, tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import api as hp

    noise = np.random.default_rng(0)
    picture = noise.integers(0, 255, (2, 4, 5, 3), np.uint8)
    sound = noise.uniform(-1, 1, (2, 100, 1)).astype("f4")
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        for step in range(3):
            tf.summary.scalar("loss", 0.5 / (step + 1), step=step, description="what it costs")
            tf.summary.histogram("weights", noise.normal(size=100), step=step, buckets=7)
            tf.summary.image("pictures", picture, step=step, max_outputs=2)
            tf.summary.audio("sounds", sound, 8000, step=step)
            tf.summary.text("notes", ["a *note*", "ünï"], step=step)
            tf.summary.write("raw", tf.constant(range(6), tf.int16), step=step)
        hp.hparams({"rate": 0.1, "name": "x", "flag": True}, trial_id="1")
    run = tfbundle.open_events(tmp_path).runs["."]
    assert plain(run.scalars["loss"].values) == [repr(float(np.float32(0.5 / n))) for n in (1, 2, 3)]
    assert run.scalars["loss"].description == "what it costs"
    for series in run.histograms.values():
        for one in series:
            assert one.edges.shape == (8,)
            assert one.counts.sum() == 100
            assert (np.diff(one.edges) > 0).all()
    images = run.images["pictures"][-1]
    assert (images.width, images.height, len(images.encoded)) == (5, 4, 2)
    pytest.importorskip("PIL", reason="images are decoded by Pillow")
    assert np.array_equal(np.stack(images.decode()), picture)
    clips = run.audio["sounds"][0]
    assert len(clips.encoded) == 2
    decoded, rate = tf.audio.decode_wav(clips.encoded[1])
    assert rate.numpy() == 8000
    np.testing.assert_allclose(decoded.numpy(), sound[1], atol=1e-4)
    assert run.text["notes"][0].tolist() == ["a *note*", "ünï"]
    assert run.tensors["raw"][2].dtype == np.int16
    assert run.tensors["raw"][2].tolist() == list(range(6))
    assert run.hparams is not None
    assert run.hparams.values == {"rate": 0.1, "name": "x", "flag": True}
    wanted = accumulator(tmp_path)
    assert set(wanted.Tags()["tensors"]) - {"_hparams_/session_start_info"} == {
        tag for kind in KINDS for tag in getattr(run, kind)
    } - {"_hparams_/session_start_info"}


def test_the_same_series_as_summary_iterator(tf: Any, tmp_path: Path) -> None:
    draw = random.Random(5)
    path = tmp_path / "events.out.tfevents.1"
    events = [
        Event(
            wall_time=draw.random(),
            step=draw.choice([0, 5, -3, 2**40]),
            summary=Summary(
                value=[Summary.Value(tag=t, simple_value=draw.choice([0.1, float("nan"), float("-inf")])) for t in "ab"]
            ),
        )
        for _ in range(200)
    ]
    path.write_bytes(frames(e.SerializeToString() for e in events))
    wanted: dict[str, list[tuple[int, float, str]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                wanted.setdefault(value.tag, []).append((event.step, event.wall_time, repr(value.simple_value)))
    run = tfbundle.open_events(path).runs["."]
    assert {
        tag: list(zip(s.steps.tolist(), s.wall_times.tolist(), plain(s.values), strict=True))
        for tag, s in run.scalars.items()
    } == {
        tag: [(step, wall, repr(float(np.float32(float(v))))) for step, wall, v in points]
        for tag, points in wanted.items()
    }
