"""The parts of a page apart from its tensors: checkpoints, curves, hyperparameters, graphs, changes, and the docs."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.reporting.test_report import data_of, names_of
from tests.support.expected import FIXTURES
from tests.support.records import frames
from tfbundle.overview.walk import overview, overview_with_neighbours
from tfbundle.proto import Event, Summary
from tfbundle.reporting.changes import describe_changes
from tfbundle.reporting.crew import run_tasks
from tfbundle.reporting.curves import read_runs, thinned
from tfbundle.reporting.folder import checkpoint_table, contents_table, format_time
from tfbundle.reporting.graphs import read_graphs
from tfbundle.reporting.payload import LONGEST, shorten
from tfbundle.storage.locations import locate

DOCS = Path(__file__).resolve().parents[2] / "docs" / "report.md"


class TestThinning:
    def test_short_curves_stay(self) -> None:
        assert thinned(np.arange(100.0), 100).tolist() == list(range(100))

    @pytest.mark.parametrize("length", [101, 999, 100_000])
    def test_long_ones_keep_their_peaks_and_their_order(self, length: int) -> None:
        values = np.sin(np.arange(length) / 50)
        values[length // 3], values[length // 2] = 100, -100
        kept = thinned(values, 100)
        assert 50 <= len(kept) <= 100
        assert (np.diff(kept) > 0).all()
        assert {100, -100} <= set(values[kept].tolist())

    def test_of_nothing_but_nan(self) -> None:
        assert len(thinned(np.full(1000, np.nan), 10)) <= 10


class TestFolders:
    def test_checkpoints_are_in_the_order_of_their_steps(self, tmp_path: Path) -> None:
        for step in (9, 100, 20):
            tfbundle.save(tmp_path / f"model.ckpt-{step}", {"w": np.float32(step)})
        for location in (locate(tmp_path), locate(tmp_path / "model.ckpt-20")):
            table = checkpoint_table(location, *overview_with_neighbours(location))
            assert table is not None
            assert [row[:2] for row in table.rows] == [
                ("model.ckpt-9", "9"), ("model.ckpt-20", "20"), ("model.ckpt-100", "100"),
            ]  # fmt: skip
            assert {row[-1] for row in table.rows} == {"complete"}

    def test_a_single_checkpoint_has_no_table(self, tmp_path: Path) -> None:
        location = locate(tfbundle.save(tmp_path / "model", {"w": np.float32(1)}))
        assert checkpoint_table(location, *overview_with_neighbours(location)) is None

    def test_an_incomplete_one_says_so(self, tmp_path: Path) -> None:
        for step in (1, 2):
            tfbundle.save(tmp_path / f"m-{step}", {"w": np.float32(1)})
        (tmp_path / "m-2.data-00000-of-00001").unlink()
        location = locate(tmp_path)
        table = checkpoint_table(location, *overview_with_neighbours(location))
        assert table is not None
        assert table.rows[0][-1] == "complete"
        assert "m-2.data-00000-of-00001" in table.rows[1][-1]

    def test_a_page_in_the_folder_does_not_change_the_next(self, tmp_path: Path) -> None:
        pytest.importorskip("jinja2", reason="reports need jinja2, which is not installed")
        tfbundle.save(tmp_path / "model-1", {"w": np.float32(1)})
        out = tmp_path / "report.html"
        pages = []
        for _ in range(2):
            tfbundle.report(tmp_path, out)
            pages.append(out.read_bytes())
        assert pages[0] == pages[1]

    def test_contents_are_everything_else(self) -> None:
        location = locate(FIXTURES / "tf-1.15.5" / "training")
        table = contents_table(location, overview(location))
        assert table is not None
        assert {"graph.pb", "graph.pbtxt"} <= {row[0] for row in table.rows}
        assert not any(row[0].startswith("model.ckpt-20") and "meta" not in row[0] for row in table.rows)

    @pytest.mark.parametrize("seconds", [None, float("nan"), float("inf"), 1e300, -1e300])
    def test_times_that_no_calendar_has(self, seconds: float | None) -> None:
        assert format_time(seconds) == "–"

    def test_a_time_is_in_utc(self) -> None:
        assert format_time(1e9) == "2001-09-09 01:46:40"


class TestRuns:
    def write(self, folder: Path, values: list[float]) -> None:
        folder.mkdir(exist_ok=True)
        events = [
            Event(
                wall_time=5.0 + step, step=step, summary=Summary(value=[Summary.Value(tag="loss", simple_value=value)])
            )
            for step, value in enumerate(values)
        ]
        (folder / "events.out.tfevents.1.h").write_bytes(frames([event.SerializeToString() for event in events]))

    def test_curves_of_all_runs(self, tmp_path: Path) -> None:
        self.write(tmp_path / "a", [1.0, float("nan"), 0.25])
        self.write(tmp_path / "b", [2.0] * 5000)
        runs = read_runs(locate(tmp_path))
        assert list(runs.charts) == ["loss"]
        first, second = runs.charts["loss"]
        assert (first.run, first.steps, first.values, first.total) == ("a", [0, 1, 2], [1.0, None, 0.25], 3)
        assert first.times == [5.0, 6.0, 7.0]
        assert second.total == 5000
        assert len(second.steps) <= 1000
        assert runs.hparams is None

    def test_damaged_records_leave_the_others(self, tmp_path: Path) -> None:
        self.write(tmp_path / "a", [1.0, 2.0, 3.0])
        file = tmp_path / "a" / "events.out.tfevents.1.h"
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        (curve,) = read_runs(locate(tmp_path)).charts["loss"]
        assert curve.values == [1.0, 3.0]

    def test_hyperparameters(self) -> None:
        path = FIXTURES / "events-tf-2.21.0" / "mesh-and-hparams"
        with tfbundle.open_events(path) as log:
            table = log.hparams_table()
        runs = read_runs(locate(path))
        assert runs.hparams is not None
        assert len(runs.hparams.rows) == table.row_count > 0
        assert set(runs.hparams.headings) <= set(table)
        assert "–" not in [row[runs.hparams.headings.index("run")] for row in runs.hparams.rows]


class TestGraphs:
    def test_a_saved_model_has_its_signatures(self) -> None:
        location = locate(FIXTURES / "tf-2.15.1" / "keras-saved-model")
        model = next(FIXTURES.glob("tf-2.15.1/keras-saved-model/**/saved_model.pb")).parent
        location = locate(model)
        notices: list[Any] = []
        (facts,) = read_graphs(location, overview(location), notices).facts
        assert notices == []
        meta = tfbundle.load_saved_model(model).meta_graph()
        assert dict(facts.rows)["TensorFlow"] == meta.tensorflow_version
        assert dict(facts.rows)["Nodes"] == f"{len(meta.graph.nodes):,}"
        tables = dict(facts.tables)
        assert {row[0] for row in tables["Signatures"].rows} == {
            name for name, signature in meta.signatures.items() if signature.inputs or signature.outputs
        }
        counts = meta.graph.op_counts + meta.graph.function_op_counts
        assert dict(tables["Ops"].rows) == {op: f"{count:,}" for op, count in counts.items()}  # type: ignore[comparison-overlap]


class TestChanges:
    def test_layers_and_tensors(self, tmp_path: Path) -> None:
        first = {
            "a/w": np.zeros(4, np.float32),
            "a/b": np.zeros(2),
            "c/w": np.ones(3),
            "c/old": np.ones(1),
            "same": np.ones(1),
        }
        second = {
            "a/w": np.array([0, 1, -3, 0], np.float32),
            "a/b": np.zeros(3),
            "c/w": np.array([1, np.nan, 1]),
            "c/new": np.ones(1),
            "same": np.ones(1),
        }
        one, two = tfbundle.save(tmp_path / "one", first), tfbundle.save(tmp_path / "two", second)
        facts = describe_changes(one, two, tfbundle.diff(one, two))
        assert dict(facts.rows) | {"From": one, "To": two} == dict(facts.rows)
        assert dict(facts.rows)["Changed"] == "3 tensors"
        tables = dict(facts.tables)
        assert [row[:5] for row in tables["Layers"].rows] == [("a", "2", "0", "0", "2"), ("c", "1", "1", "1", "1")]
        changed = {row[0]: row for row in tables["Changed tensors"].rows}
        assert changed["a/w"][3:5] == ("2", "3")
        assert changed["a/b"][2] == "[2] → [3]"
        assert changed["c/w"][6] == "1"
        assert tables["Added tensors"].rows == (("c/new",),)
        assert tables["Removed tensors"].rows == (("c/old",),)

    def test_variables_are_named_where_tensors_have_other_names(self, tmp_path: Path) -> None:
        pytest.importorskip("jinja2", reason="reports need jinja2, which is not installed")
        folder = next(FIXTURES.glob("tf-2.15.1/checkpoint-manager"))
        first, *_, last = sorted(folder.glob("*.index"))
        with tfbundle.open_checkpoint(last) as checkpoint:
            assert checkpoint.objects is not None
            names = checkpoint.objects.variable_names
        changes = tfbundle.diff(last, first)
        changed = dict(describe_changes("a", "b", changes, names).tables)["Changed tensors"]
        assert changed.headings[:3] == ("Name", "Variable", "Type")
        assert [row[1] for row in changed.rows] == [names.get(change.name, "–") for change in changes.changed]
        tfbundle.report(last, tmp_path / "report.html", other=first)
        page = (tmp_path / "report.html").read_text("utf-8")
        assert '<th scope="col">Variable</th>' in page
        assert "Variable" not in dict(describe_changes("a", "b", changes).tables)["Changed tensors"].headings

    def test_in_a_page(self, tmp_path: Path) -> None:
        pytest.importorskip("jinja2", reason="reports need jinja2, which is not installed")
        one = tfbundle.save(tmp_path / "one", {"w": np.float32(1)})
        two = tfbundle.save(tmp_path / "two", {"w": np.float32(2)})
        tfbundle.report(one, tmp_path / "report.html", other=two)
        assert "Changed tensors" in (tmp_path / "report.html").read_text("utf-8")
        with pytest.raises(tfbundle.MissingFileError):
            tfbundle.report(one, tmp_path / "other.html", other=tmp_path / "absent")
        assert not (tmp_path / "other.html").exists()


class TestSlots:
    @pytest.mark.parametrize(
        "path",
        [
            *FIXTURES.glob("tf-1.15.5/optimizers/*.index"),
            *FIXTURES.glob("tf-*/checkpoint-manager/*.index"),
            *FIXTURES.glob("tf-*/training/*.index"),
        ],
        ids=lambda path: str(path.relative_to(FIXTURES)),
    )
    def test_every_slot_of_a_variable_is_below_it(self, path: Path, tmp_path: Path) -> None:
        pytest.importorskip("jinja2", reason="reports need jinja2, which is not installed")
        tfbundle.report(path, tmp_path / "report.html")
        tensors = data_of(tmp_path / "report.html")["tensors"]
        names = names_of(tensors)
        owners = tensors.get("owner", [-1] * len(names))
        with tfbundle.open_checkpoint(path) as checkpoint:
            slots = checkpoint.slots
            for name, owner in zip(names, owners, strict=True):
                if owner >= 0:
                    assert name in slots
                    assert names[owner] not in slots
                    # Rows and columns of Adafactor's statistics are smaller, and Shampoo has a square of each.
                    sizes = checkpoint[name].size, checkpoint[names[owner]].size
                    assert sizes[0] <= sizes[1] or "hampoo" in name
        owned = {name for name, owner in zip(names, owners, strict=True) if owner >= 0}
        assert {name for name in slots - owned if "beta" not in name and "optimizer/_" not in name} == set()


class TestCrews:
    def test_all_tasks_run(self) -> None:
        done: list[int] = []
        reports: list[None] = []
        run_tasks((partial(done.append, number) for number in range(500)), lambda: reports.append(None))
        assert sorted(done) == list(range(500))
        assert len(reports) <= 500

    def test_an_error_of_creating_a_task_ends_it(self) -> None:
        done: list[int] = []

        def tasks() -> Iterator[Callable[[], None]]:
            yield partial(done.append, 1)
            raise KeyError("this one")

        with pytest.raises(KeyError, match="this one"):
            run_tasks(tasks(), lambda: None)
        assert done == [1]

    def test_an_error_ends_it(self) -> None:
        done = []

        def fail() -> None:
            raise KeyError("this one")

        with pytest.raises(KeyError, match="this one"):
            run_tasks([fail, *[lambda: done.append(1)] * 1000], lambda: None)
        assert len(done) < 1000

    def test_without_other_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*arguments: Any) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr("threading.Thread.start", refuse)
        done: list[int] = []
        run_tasks([lambda: done.append(1)] * 9, lambda: None)
        assert len(done) == 9


class TestTexts:
    @pytest.mark.parametrize(("length", "is_cut"), [(LONGEST + 60, False), (LONGEST + 61, True), (1_000_000, True)])
    def test_long_ones_are_cut(self, length: int, is_cut: bool) -> None:
        text = "".join(chr(97 + i % 26) for i in range(length))
        short = shorten(text)
        assert (short != text) == is_cut
        assert len(short) < LONGEST + 100
        assert short[:300] == text[:300]
        assert short.endswith(text[-60:])
        assert not is_cut or f"({length:,} characters)" in short


def test_the_example_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jinja2", reason="reports need jinja2, which is not installed")
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Intact" in page
    assert data_of(tmp_path / "report.html")["tensors"]["rest"] == ["dense/kernel"]


def test_the_docs_state_the_numbers_of_the_code() -> None:
    from tfbundle.tensors.statistics import EXACT, PICTURE

    text = DOCS.read_text("utf-8")
    assert f"{EXACT:,} elements" in text
    assert f"{PICTURE} rows and columns" in text
