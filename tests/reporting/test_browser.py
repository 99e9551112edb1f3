"""Pages in a real browser: what they draw, how they answer to mouse and keyboard, and that nothing leaves them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.browser import Window, find_barriers, open_window
from tests.support.records import frames
from tfbundle.proto import Event, Summary

pytest.importorskip("jinja2", reason="reports need jinja2, which is not installed")

# All are tried at each place where a text of a file can be in a page.
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)</script>",
    "</script><script>alert(3)</script>",
    "</title></style></textarea><svg onload=alert(4)>",
    "{{ 7 * 7 }}{% raw %}{# #}${alert(5)}",
    "\" onmouseover='alert(6)' x=\"",
    "javascript:alert(7)",
    "<!--<script>]]>&lt;&#60;&amp;",
    "\u202etxt.exe\u2066\u200f\u061c",
    "nul\0bell\x07\x1b[31m\r\n\t",
    "\udcff\udc80 bytes",
    "\u2028\u2029\ufeff\U000e0041",
    "__proto__",
    "constructor",
    "/",
    "//",
    "a" * 1_000_000,
    "<b>" * 300_000,
    "/".join("d" * 5000),
    "\u0301" * 500 + "\u05d0\u0627",
]


ROW_NAMES = ".rows [role=row] .name > span:nth-child(2)"


@pytest.fixture(scope="module")
def window() -> Iterator[Window]:
    with open_window() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(window: Window, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    tensors = {
        f"net/layer_{i}/{name}": rng.standard_normal(shape).astype(np.float32)
        for i in range(12)
        for name, shape in (("kernel", (60, 70 + i)), ("bias", (70 + i,)))
    }
    tensors |= {f"{name}/Adam": np.zeros_like(value) for name, value in tensors.items()}
    tensors["steps"] = np.array(3, np.int64)  # type: ignore[assignment]
    tfbundle.save(folder / "model.ckpt-3", tensors)
    tfbundle.save(folder / "model.ckpt-2", tensors)
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-3"\n')
    for run in ("a", "b"):
        (folder / run).mkdir()
        write_scalars(folder / run, {"loss": [1 / (step + 1) for step in range(50)], "accuracy": [0.5] * 50})
    tfbundle.report(folder, folder / "report.html")
    return folder / "report.html"


def write_scalars(folder: Path, tags: dict[str, list[float]]) -> None:
    events = [
        Event(wall_time=1e9 + step, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
        for tag, values in tags.items()
        for step, value in enumerate(values)
    ]
    records = [Event(wall_time=1e9, file_version="brain.Event:2"), *events]
    (folder / "events.out.tfevents.1.host").write_bytes(frames([event.SerializeToString() for event in records]))


@pytest.fixture
def opened(window: Window, page: Path) -> Iterator[Window]:
    window.open(page)
    yield window
    assert window.messages == []
    assert window.requests == [page.as_uri()]


def names(opened: Window) -> list[str]:
    """The names that are shown now, read at once: the page draws its rows again whenever it has time."""
    found: list[str] = opened.page.locator(ROW_NAMES).all_inner_texts()
    return found


def expect_names(opened: Window, wanted: list[str]) -> None:
    """Wait until these names are shown, and fail if they are not within seconds."""
    from playwright.sync_api import expect

    expect(opened.page.locator(ROW_NAMES)).to_have_text(wanted)


class TestTensors:
    def test_scopes_fold_with_the_mouse(self, opened: Window) -> None:
        opened.page.locator("#collapse").click()
        expect_names(opened, ["net/", "steps"])
        opened.page.locator("#grid").get_by_text("net/", exact=True).click()
        opened.page.get_by_text("layer_1/", exact=True).wait_for()
        assert names(opened)[:3] == ["net/", "layer_0/", "layer_1/"]
        opened.page.locator("#grid").get_by_text("net/", exact=True).click()
        expect_names(opened, ["net/", "steps"])

    def test_and_with_the_keyboard(self, opened: Window) -> None:
        opened.page.locator("#collapse").click()
        opened.page.locator("#grid").focus()
        press = opened.page.keyboard.press
        press("Home")
        press("ArrowRight")
        opened.page.wait_for_function(f"document.querySelectorAll('{ROW_NAMES}').length === 14")
        press("ArrowRight")
        press("ArrowRight")
        press("ArrowDown")
        press("ArrowDown")
        assert "kernel" in opened.page.locator("[aria-selected=true]").inner_text()
        assert "net/layer_0/kernel" in opened.page.locator("#detail h3").first.inner_text()
        press("ArrowLeft")
        press("ArrowLeft")
        assert "layer_0/" in opened.page.locator("[aria-selected=true]").inner_text()
        press("End")
        assert "steps" in opened.page.locator("[aria-selected=true]").inner_text()

    def test_the_last_row_is_seen_below_the_headings(self, opened: Window) -> None:
        opened.page.locator("#expand").click()
        opened.page.locator("#grid").focus()
        for key, end in (("End", "bottom"), ("Home", "top")):
            opened.page.keyboard.press(key)
            row = opened.page.locator("[aria-selected=true]").bounding_box()
            heads, grid = (opened.page.locator(name).bounding_box() for name in (".heads", "#grid"))
            assert row is not None
            assert heads is not None
            assert grid is not None
            assert heads["y"] == pytest.approx(grid["y"], abs=2), end
            assert heads["y"] + heads["height"] - 1 <= row["y"] <= grid["y"] + grid["height"] - row["height"], end

    def test_slots_are_below_their_variable(self, opened: Window) -> None:
        opened.page.locator("#search").fill("layer_3/kernel")
        opened.page.get_by_text("2 tensors found").wait_for()
        expect_names(opened, ["net/", "layer_3/", "kernel", "Adam"])
        opened.page.locator("#grid").get_by_text("kernel", exact=True).click()
        detail = opened.page.locator("#detail")
        assert "net/layer_3/kernel/Adam" in detail.inner_text()
        assert detail.locator("svg rect").count() == 40
        assert detail.locator("canvas").count() == 1
        detail.get_by_role("button", name="net/layer_3/kernel/Adam").click()
        assert "optimizer slot" in detail.inner_text()
        assert "Adam" in opened.page.locator("[aria-selected=true]").inner_text()

    def test_search_finds_and_escape_ends_it(self, opened: Window) -> None:
        opened.page.keyboard.press("/")
        opened.page.keyboard.type("LAYER_1 [71]")
        opened.page.get_by_text("2 tensors found").wait_for()
        expect_names(opened, ["net/", "layer_1/", "bias", "Adam"])
        opened.page.keyboard.press("Escape")
        assert opened.page.locator("#status").inner_text() == ""
        opened.page.locator("#search").fill("nothing of this name")
        opened.page.get_by_text("0 tensors found").wait_for()
        expect_names(opened, [])

    @pytest.mark.parametrize("column", ["Name", "Type", "Shape", "Parameters", "Bytes"])
    def test_every_column_sorts_both_ways(self, opened: Window, column: str) -> None:
        opened.page.locator("#view").select_option("list")
        first, second = [], []
        for found in (first, second):
            opened.page.get_by_role("columnheader", name=column).get_by_role("button").first.click()
            place = ["Name", "Type", "Shape", "Parameters", "Bytes"].index(column)
            opened.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            cells = f".rows [role=row] [role=gridcell]:nth-child({place + 1})"
            found += opened.page.locator(cells).all_inner_texts()
        heading = opened.page.get_by_role("columnheader", name=column).first
        assert heading.get_attribute("aria-sort") in ("ascending", "descending")
        assert first != second
        if column == "Parameters":
            numbers = [int(text.replace(",", "")) for text in first]
            assert numbers == sorted(numbers, reverse=True)
        if column == "Name":
            assert first == sorted(first)
            assert second == sorted(second, reverse=True)

    def test_statistics_are_those_of_the_tensor(self, opened: Window, page: Path) -> None:
        opened.page.locator("#search").fill("layer_5/bias")
        opened.page.get_by_text("2 tensors found").wait_for()
        opened.page.locator("#grid").get_by_text("bias", exact=True).click()
        values = tfbundle.load(page.parent / "model.ckpt-3")["net/layer_5/bias"]
        terms = opened.page.locator("#detail dt").all_inner_texts()
        facts = dict(zip(terms, opened.page.locator("#detail dd").all_inner_texts(), strict=True))
        assert float(facts["Min"]) == pytest.approx(float(values.min()), rel=1e-5)
        assert float(facts["Max"]) == pytest.approx(float(values.max()), rel=1e-5)
        assert float(facts["Std"]) == pytest.approx(float(values.std()), rel=1e-4)
        assert float(facts["50 %"]) == pytest.approx(float(np.median(values)), rel=1e-3)


class TestCurves:
    def test_values_that_are_not_drawn_are_stated(self, window: Window, tmp_path: Path) -> None:
        write_scalars(tmp_path, {"gap": [1.0, float("nan"), 3.0], "whole": [1.0, 2.0, 3.0]})
        tfbundle.report(tmp_path, tmp_path / "report.html")
        window.open(tmp_path / "report.html")
        window.page.locator("#curves").scroll_into_view_if_needed()
        window.page.get_by_text("3 points", exact=True).wait_for()
        window.page.get_by_text("3 points; NaN and infinities are not drawn", exact=True).wait_for()
        assert window.messages == []

    def test_each_run_is_a_line_and_can_be_hidden(self, opened: Window) -> None:
        opened.page.locator("#curves").scroll_into_view_if_needed()
        paths = opened.page.locator(".chart path")
        paths.nth(3).wait_for(state="attached")
        opened.page.get_by_label("a", exact=True).uncheck()
        assert paths.count() == 2

    def test_scale_axis_and_smoothing_change_the_lines(self, opened: Window) -> None:
        opened.page.locator("#curves").scroll_into_view_if_needed()
        loss = opened.page.locator(".chart", has_text="loss")
        loss.locator("path").first.wait_for(state="attached")
        drawn = {loss.locator("path").first.get_attribute("d")}
        opened.page.locator("#vertical").select_option("log")
        drawn.add(loss.locator("path").first.get_attribute("d"))
        opened.page.locator("#smoothing").fill("0.9")
        drawn.add(loss.locator("path").first.get_attribute("d"))
        assert len(drawn) == 3
        opened.page.locator("#horizontal").select_option("time")
        assert "2001-09-09 01:46:40" in loss.locator("text").all_text_contents()
        opened.page.locator("#horizontal").select_option("relative")
        assert "40 s" in loss.locator("text").all_text_contents()


class TestThePage:
    def test_the_switch_of_colours(self, opened: Window) -> None:
        background = "getComputedStyle(document.body).backgroundColor"
        light = opened.evaluate(background)
        opened.page.locator("#theme").click()
        assert opened.evaluate(background) != light
        opened.page.locator("#theme").click()
        assert opened.evaluate(background) == light

    def test_it_follows_the_system(self, window: Window, page: Path) -> None:
        backgrounds = set()
        for theme in ("light", "dark"):
            window.open(page, theme=theme)
            backgrounds.add(window.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(backgrounds) == 2

    @pytest.mark.parametrize("width", [360, 800, 1600])
    def test_nothing_is_wider_than_the_window(self, window: Window, page: Path, width: int) -> None:
        window.open(page, width)
        assert window.evaluate("document.documentElement.scrollWidth") <= width

    @pytest.mark.parametrize("width", [390, 1280])
    def test_axe_finds_no_barriers(self, window: Window, page: Path, width: int) -> None:
        # The page's own policy would not let it run.
        window.open(page, width, bypass_policy=True)
        window.page.locator("#curves").scroll_into_view_if_needed()
        assert find_barriers(window) == []

    def test_it_prints_the_tensors(self, opened: Window) -> None:
        opened.page.emulate_media(media="print")
        opened.evaluate("dispatchEvent(new Event('beforeprint'))")
        rows = opened.page.locator("#printed tbody tr")
        assert rows.count() == 49
        assert opened.page.locator("#printed").is_visible()
        assert not opened.page.locator("#grid").is_visible()

    def test_only_its_own_script_may_run(self, window: Window, page: Path) -> None:
        """Even if a text became markup, the policy of the page would keep it from running and loading anything."""
        window.open(page)
        window.evaluate(
            "document.body.insertAdjacentHTML('beforeend', '<img src=http://127.0.0.1:9/x onerror=window.ran=1>')"
        )
        window.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
        )
        window.page.wait_for_timeout(100)
        assert window.evaluate("window.ran") is None
        refused = [message for message in window.messages if "Content Security Policy" in message]
        assert len(refused) >= 3
        assert window.blocked == ["csp"]


def check_harmless(window: Window, page: Path) -> str:
    """Open a page, touch every part of it, and return its text; fail if a text did anything."""
    window.open(page)
    expected = {"HTML", "HEAD", "BODY", "IMG", "SCRIPT"}
    assert window.evaluate("document.images.length") == 0
    assert window.evaluate("[...document.scripts].filter(script => !script.type).length") == 1
    assert expected - {"IMG"} <= set(window.evaluate("[...document.querySelectorAll('*')].map(e => e.tagName)"))
    for button in ("#expand", "#collapse", "#expand"):
        if window.page.locator(button).count():
            window.page.locator(button).click()
    if window.page.locator(".rows").count():
        window.page.locator("#grid").focus()
        window.page.keyboard.press("Home")
        for _ in range(40):
            window.page.keyboard.press("ArrowDown")
            assert window.evaluate("document.images.length") == 0
        window.page.locator("#view").select_option("list")
        window.page.locator("#search").fill("<")
    if window.page.locator("#curves").count():
        window.page.locator("#curves").scroll_into_view_if_needed()
        window.page.wait_for_timeout(100)
    window.evaluate("dispatchEvent(new Event('beforeprint'))")
    # Controls would turn or hide the text around them.
    text: str = window.evaluate("document.documentElement.textContent")
    assert not set(text) & set("\u202e\u2066\u200f\u061c\0\x07\x1b\ufeff")
    assert window.evaluate("document.querySelectorAll('[onerror],[onload],[onmouseover]').length") == 0
    assert window.evaluate("document.querySelectorAll('b, img, textarea, body svg[onload]').length") == 0
    assert window.messages == []
    assert window.requests == [page.as_uri()]
    assert window.evaluate("document.documentElement.scrollWidth") <= 1280
    assert page.stat().st_size < 2_000_000
    return text


class TestHostileTexts:
    def test_names_and_strings_of_tensors(self, window: Window, tmp_path: Path) -> None:
        tensors: dict[str, Any] = {name: np.float32(1) for name in HOSTILE}
        tensors |= {f"{name}/Adam": np.float32(1) for name in HOSTILE}
        values = [text.encode("utf-8", "surrogateescape") for text in HOSTILE]
        tensors |= {f"text_{i}": np.array([value], object) for i, value in enumerate(values)}
        prefix = tfbundle.save(tmp_path / "model", tensors)
        tfbundle.report(prefix, tmp_path / "report.html")
        check_harmless(window, tmp_path / "report.html")
        text = (tmp_path / "report.html").read_text("utf-8")
        assert r"\\u202etxt.exe" in text
        assert "(1,000,000 characters)" in text

    def test_names_of_changed_and_damaged_tensors(self, window: Window, tmp_path: Path) -> None:
        first = tfbundle.save(tmp_path / "first", {name: np.float32(1) for name in HOSTILE})
        second = tfbundle.save(
            tmp_path / "second", {name + "x" * (i % 2): np.float32(2) for i, name in enumerate(HOSTILE)}
        )
        data = Path(f"{first}.data-00000-of-00001")
        data.write_bytes(bytes(len(data.read_bytes())))
        tfbundle.report(first, tmp_path / "report.html", other=second)
        text = check_harmless(window, tmp_path / "report.html")
        assert "Tensors that could not be compared" in text
        assert f"{len(HOSTILE)} findings" in text

    def test_tags_runs_and_hyperparameters(self, window: Window, tmp_path: Path) -> None:
        short = [text for text in HOSTILE if len(text) < 200]
        write_scalars(tmp_path, {tag.replace("\udcff\udc80", "\x80"): [1.0, 2.0] for tag in HOSTILE})
        for number, name in enumerate(short):
            folder = tmp_path / f"{number}{name.replace('/', '_').replace(chr(0), '_')}"
            folder.mkdir()
            write_scalars(folder, {"loss": [1.0, 2.0]})
        write_hparams(tmp_path / "hparams", short)
        tfbundle.report(tmp_path, tmp_path / "report.html")
        text = check_harmless(window, tmp_path / "report.html")
        assert "Hyperparameters" in text
        assert r"\u202etxt.exe" in text

    def test_names_in_graphs(self, window: Window, tmp_path: Path) -> None:
        from tfbundle.proto import GraphDef, MetaGraphDef, NodeDef, SavedModel, SignatureDef, TensorInfo

        texts = [text for text in HOSTILE if "\udcff" not in text]
        graph = GraphDef(node=[NodeDef(name=text, op=text) for text in texts])
        graph.node.extend(NodeDef(name=f"read_{i}", op="ReadFile", input=[text]) for i, text in enumerate(texts))
        meta = MetaGraphDef(graph_def=graph)
        meta.meta_info_def.tags.extend(texts)
        meta.meta_info_def.tensorflow_version = HOSTILE[1]
        for text in texts:
            info = TensorInfo(name=text, dtype=1)
            meta.signature_def[text].CopyFrom(SignatureDef(inputs={text: info}, outputs={text: info}, method_name=text))
        folder = tmp_path / HOSTILE[0].replace("/", "_")
        folder.mkdir()
        (folder / "saved_model.pb").write_bytes(
            SavedModel(saved_model_schema_version=1, meta_graphs=[meta]).SerializeToString()
        )
        tfbundle.report(folder, tmp_path / "report.html")
        text = check_harmless(window, tmp_path / "report.html")
        assert "Signatures" in text
        assert "reads-files" in text or "Reads files" in text

    @pytest.mark.parametrize("name", [text for text in HOSTILE if len(text) < 200 and not set(text) & set("/\0")])
    def test_names_of_files(self, window: Window, tmp_path: Path, name: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        tfbundle.save(folder / f"{name}-1", {"w": np.float32(1)})
        tfbundle.save(folder / f"{name}-2", {"w": np.float32(1)})
        (folder / f"{name}.pb").write_bytes(b"<html>" + name.encode("utf-8", "surrogateescape"))
        tfbundle.report(folder, tmp_path / "report.html")
        check_harmless(window, tmp_path / "report.html")


def write_hparams(folder: Path, texts: list[str]) -> None:
    from tfbundle.proto.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    folder.mkdir()
    start = SessionStartInfo(group_name=texts[0], start_time_secs=1e9)
    for text in texts:
        if "\udcff" not in text:
            start.hparams[text].string_value = text
    metadata = Summary.Value(tag="_hparams_/session_start_info")
    metadata.metadata.plugin_data.plugin_name = "hparams"
    metadata.metadata.plugin_data.content = HParamsPluginData(version=0, session_start_info=start).SerializeToString()
    event = Event(wall_time=1e9, step=0, summary=Summary(value=[metadata]))
    (folder / "events.out.tfevents.1.host").write_bytes(frames([event.SerializeToString()]))
