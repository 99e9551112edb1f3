"""What objects show in a notebook: bounded, escaped, without scripts, and without reading data."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import object_array
from tests.support.bundle_writer import FULL, Saved, data_file, write_bundle
from tests.support.v1_writer import write_v1
from tfbundle import UnsupportedError
from tfbundle.findings import Finding, Report
from tfbundle.notebook import LARGEST, MOST_ROWS, Table, render
from tfbundle.open_tensors import open_tensors
from tfbundle.proto import GraphDef, NodeDef
from tfbundle.storage.local import LocalSource

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
TRAINING = FIXTURES / "tf-1.15.5" / "training"
RUNS = FIXTURES / "events-tf-2.21.0" / "every-plugin-2"
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "&lt;b&gt; &amp;",
    "{{ 7 * 7 }}",
    "turn \u202e around",
    "nul \0 and \x1b[31m",
    "x" * 1_000_000,
    "é \udcff",
)
TAGS = {"div", "strong", "span", "table", "thead", "tbody", "tr", "th", "td", "pre"}


class Parsed(HTMLParser):
    """The elements and the text of a view."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows = 0
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= {"style"}
        self.open.append(tag)
        self.rows += tag == "tr"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def view(item: Any) -> Parsed:
    html = item._repr_html_()
    assert len(html.encode()) <= LARGEST
    parsed = Parsed(html)
    assert not re.search("[\0-\x08\x0e-\x1f\u202a-\u202e\u2066-\u2069]", parsed.text)
    assert repr(item)  # The form for terminals.
    return parsed


@pytest.fixture
def things() -> Iterator[dict[str, Any]]:
    """One of each class that has a view."""
    saved_model = next(path.parent for path in FIXTURES.rglob("saved_model.pb") if (path.parent / "variables").is_dir())
    with tfbundle.open_checkpoint(TRAINING / "model.ckpt-40") as checkpoint, tfbundle.open_events(RUNS) as log:
        log.load()
        run = next(run for run in log.runs.values() if run.scalars)
        meta = tfbundle.load_meta_graph(TRAINING / "model.ckpt-40.meta")
        model = tfbundle.load_saved_model(saved_model)
        yield {
            "Checkpoint": checkpoint,
            "Tensor": checkpoint["fc1/weights"],
            "Graph": meta.graph,
            "Node": next(node for node in meta.graph.nodes.values() if node.inputs),
            "MetaGraph": meta,
            "SavedModel": model,
            "EventLog": log,
            "Run": run,
            "ScalarSeries": next(iter(run.scalars.values())),
            "Report": tfbundle.verify(TRAINING / "model.ckpt-40"),
            "Diff": tfbundle.diff(TRAINING / "model.ckpt-40", TRAINING / "model.ckpt-20"),
            "ScanReport": tfbundle.scan(saved_model),
        }


def test_every_class_has_a_view(things: dict[str, Any]) -> None:
    texts = {name: view(thing).text for name, thing in things.items()}
    for name, text in texts.items():
        assert text.startswith(name), text[:80]
    assert "fc1/weights" in texts["Checkpoint"]
    assert "float32" in texts["Tensor"]
    assert "[64, 12]" in texts["Tensor"]
    assert things["Node"].op in texts["Node"]
    assert "Const" in texts["Graph"]
    assert "serv" in texts["SavedModel"]
    assert next(iter(things["EventLog"].runs)) in texts["EventLog"]
    assert next(iter(things["Run"].scalars)) in texts["Run"]
    assert "ok" in texts["Report"]
    assert "not checked" not in texts["Report"]
    report = Report("run", not_checked=("model.ckpt-1", "model.ckpt-2"))
    assert "not checked" in report._repr_html_()
    assert things["Diff"].changed[0].name in texts["Diff"]


def test_nothing_but_the_index_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slices = [((0, 5), FULL), ((5, 5), FULL)]
    saved = {
        "p": Saved(np.ones((10, 4)), slices=slices, shards=(0, 0)),
        "w": np.ones(3),
        "words": object_array([b"a"]),
    }
    write_bundle(tmp_path / "m", saved)
    data_file(tmp_path / "m").unlink()  # What is not there cannot be read.
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        assert view(checkpoint).rows == 4
        for tensor in checkpoint.values():
            assert tensor.data_type in view(tensor).text
    shutil.copytree(RUNS, tmp_path / "logs")
    with tfbundle.open_events(tmp_path / "logs") as log:
        opened: list[Any] = []
        monkeypatch.setattr(LocalSource, "__init__", lambda self, path, *rest: opened.append(path))
        view(log)
        for run in log.runs.values():
            assert "not read yet" in view(run).text
        assert opened == []


def test_large_checkpoints_show_their_first_tensors(tmp_path: Path) -> None:
    tfbundle.save(tmp_path / "m", {f"w{number:03d}": np.float32(number) for number in range(MOST_ROWS + 1)})
    tfbundle.save(tmp_path / "n", {f"w{number:03d}": np.float32(number) for number in range(MOST_ROWS)})
    with tfbundle.open_checkpoint(tmp_path / "m") as more, tfbundle.open_checkpoint(tmp_path / "n") as all_shown:
        assert view(more).rows == MOST_ROWS + 1
        assert "and 1 more tensor" in view(more).text
        assert view(all_shown).rows == MOST_ROWS + 1
        assert "more" not in view(all_shown).text


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_text(tmp_path: Path, name: str) -> None:
    write_bundle(tmp_path / "m", {name: np.ones(3), "other": np.ones(2)})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        views = [view(checkpoint), view(checkpoint[name])]
    graph = GraphDef(
        node=[NodeDef(name=name.encode("utf-8", "replace").decode(), op=name[:99].encode("utf-8", "replace").decode())]
    )
    graph.node[0].input.append(graph.node[0].name)
    (tmp_path / "g.pb").write_bytes(graph.SerializeToString())
    loaded = tfbundle.load_graph(tmp_path / "g.pb")
    views += [view(loaded), view(next(iter(loaded.nodes.values())))]
    finding = Finding("entry", name, name, name)
    views += [
        view(Report(name, causes=(name,), findings=(finding,) * 30)),
        view(
            tfbundle.Diff(
                (name,) * 30, (name,) * 30, (tfbundle.Change(name, (name, name), ((1,), (2,))),) * 30, 0, (finding,)
            )
        ),
        view(tfbundle.ScanReport(name, (tfbundle.ScanFinding("r", "high", name, name, name, name),) * 30)),
    ]
    for parsed in views:
        assert "7 * 7" in parsed.text if "7 * 7" in name else "49" not in parsed.text
        assert len(parsed.text) < LARGEST


def test_damaged_and_closed_files_show_their_text_form(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"w": Saved(np.ones(3), lies={"shape": (-1,)}), "x": np.ones(2)})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        assert "unreadable" in view(checkpoint).text
        assert "unreadable" in view(checkpoint["w"]).text
    write_v1(tmp_path / "v", {"a": np.ones(3)})
    with open_tensors(tmp_path / "v") as old:
        assert view(old).rows == 2
    with tfbundle.open_checkpoint(TRAINING / "model.ckpt-40") as closed:
        pass
    assert view(closed).text.startswith("<Checkpoint")
    with tfbundle.open_checkpoint(tmp_path / "m") as truncated:
        content = (tmp_path / "m.index").read_bytes()
        (tmp_path / "m.index").write_bytes(content[:60])
        assert "unreadable" in view(truncated).text


def test_the_whole_is_bounded() -> None:
    wide = Table(["c" * 500] * 30, [["v" * 500] * 30] * 1000, 1000, "row")
    html = render("t" * 10_000, {"f" * 1000: "v" * 1000}, wide, wide)
    assert len(html) <= LARGEST
    assert "more rows" in Parsed(html).text


def test_plots(things: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("agg")
    from matplotlib.figure import Figure

    series = things["ScalarSeries"]
    axes = series.plot(axes=Figure().subplots(), color="red")
    (line,) = axes.get_lines()
    assert line.get_xdata().tolist() == series.steps.tolist()
    assert line.get_ydata().tolist() == np.asarray(series.values, np.float64).tolist()
    tensor = things["Tensor"]
    axes = tensor.hist(bins=10, axes=Figure().subplots())
    counts, edges, _ = axes.patches[0].get_data()
    expected = np.histogram(tensor.read().astype(np.float64), 10)
    assert counts.tolist() == expected[0].tolist()
    assert edges.tolist() == pytest.approx(expected[1].tolist())
    strange = {
        "$x_{$": np.array([np.nan, np.inf, 1, 1], np.float32),
        "c": np.zeros(2, np.complex64),
        "e": np.zeros(0, np.int32),
        "s": object_array([b"a"]),
    }
    tfbundle.save(tmp_path / "m", strange)
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        figure = Figure()
        axes = checkpoint["$x_{$"].hist(axes=figure.subplots())
        assert int(axes.patches[0].get_data()[0].sum()) == 2
        figure.savefig(tmp_path / "x.png")
        assert int(checkpoint["e"].hist(axes=Figure().subplots()).patches[0].get_data()[0].sum()) == 0
        for name in ("c", "s"):
            with pytest.raises(UnsupportedError, match="not real numbers"):
                checkpoint[name].hist()
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for call in (series.plot, tensor.hist):
        with pytest.raises(UnsupportedError, match="pip install matplotlib"):
            call()


@pytest.mark.filterwarnings("ignore")
def test_nbconvert_shows_the_view(tmp_path: Path) -> None:
    nbconvert = pytest.importorskip("nbconvert", reason="nbconvert is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    from nbconvert.preprocessors import ExecutePreprocessor

    name = HOSTILE[0]
    write_bundle(tmp_path / "m", {name: np.ones(3)})
    source = f"import tfbundle\ncheckpoint = tfbundle.open_checkpoint({str(tmp_path / 'm')!r})\ncheckpoint"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    ExecutePreprocessor(timeout=120, kernel_name="python3").preprocess(book, {"metadata": {"path": str(tmp_path)}})
    (output,) = book.cells[0].outputs
    assert output.data["text/plain"].startswith("<Checkpoint")
    page, _ = nbconvert.HTMLExporter().from_notebook_node(book)
    assert "&lt;script&gt;alert(1)" in output.data["text/html"]
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page


@pytest.mark.parametrize(
    ("cells", "side"), [([1, 2.5], "right"), (["", 2], "right"), (["", ""], "left"), ([1, "two"], "left")]
)
def test_numbers_are_aligned_at_the_right(cells: list[object], side: str) -> None:
    """Also where some are missing, as the number of bytes of a string tensor is."""
    view = render("title", {}, Table(("column",), [[cell] for cell in cells], len(cells), "row"))
    assert set(re.findall(r"text-align:(\w+)", view)) == {side}
