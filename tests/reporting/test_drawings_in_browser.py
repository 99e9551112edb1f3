"""The neighbourhood of a node in a real browser: it has the nodes that the command finds, and can be walked."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("jinja2", reason="reports need jinja2, which is not installed")

import tfbundle
from tests.reporting.test_browser import HOSTILE
from tests.support.browser import Window, find_barriers, open_window
from tests.support.expected import FIXTURES
from tfbundle.graph.graph import Graph
from tfbundle.graph.neighbourhood import find_neighbourhood
from tfbundle.proto import GraphDef, NodeDef

MODEL = FIXTURES / "tf-2.15.1" / "keras-saved-model" / "model"


@pytest.fixture(scope="module")
def window() -> Iterator[Window]:
    with open_window() as opened:
        yield opened


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Nodes with up to two inputs each, some of which only wait, as names and in an order that is not sorted."""
    drawn = random.Random(5)
    proto = GraphDef()
    for i in range(80):
        sources = {drawn.randrange(i), i * 3 // 4} if i else set()
        inputs = [f"{'^' * (drawn.random() < 0.2)}scope/n{source}" for source in sorted(sources)]
        proto.node.add(name=f"scope/n{i}", op=f"Op{i % 7}", input=inputs)
    return Graph(proto)


@pytest.fixture(scope="module")
def page(window: Window, graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graph")
    (folder / "graph.pb").write_bytes(graph.proto.SerializeToString())
    return Path(tfbundle.report(folder / "graph.pb", folder / "report.html"))


@pytest.fixture(scope="module")
def model_page(window: Window, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tfbundle.report(MODEL, tmp_path_factory.mktemp("model") / "report.html"))


@pytest.fixture
def opened(window: Window, page: Path) -> Iterator[Window]:
    window.open(page)
    yield window
    check_quiet(window, page)


@pytest.fixture
def model(window: Window, model_page: Path) -> Iterator[Window]:
    window.open(model_page)
    yield window
    check_quiet(window, model_page)


def check_quiet(opened: Window, page: Path) -> None:
    assert opened.messages == []
    assert opened.requests == [page.as_uri()]


def labels(opened: Window) -> list[str]:
    found: list[str] = opened.evaluate(
        "[...document.querySelectorAll('#graph-canvas .node')].map(e => e.getAttribute('aria-label'))"
    )
    return found


def distances(opened: Window) -> dict[str, int]:
    """The nodes in the drawing, by how many steps away each is stated to be."""
    found = {}
    for label in labels(opened):
        name, _, *where = label.split(", ")
        steps = int(where[1].split()[0]) if where else 0
        found[name] = -steps if where[:1] == ["input"] else steps
    return found


def current(opened: Window) -> str:
    found: str = opened.page.locator("#graph-detail h3").first.inner_text()
    return found


def focused(opened: Window) -> str:
    found: str = opened.evaluate("document.activeElement.getAttribute('aria-label')")
    return found.partition(",")[0]


def search(opened: Window, text: str) -> None:
    opened.page.locator("#graph-search").fill(text)
    opened.page.keyboard.press("Enter")


class TestTheDrawing:
    @pytest.mark.parametrize("depth", [1, 2, 3])
    def test_has_the_nodes_that_the_command_finds(self, opened: Window, graph: Graph, depth: int) -> None:
        for node in ("scope/n0", "scope/n1", "scope/n20", "scope/n41", "scope/n79"):
            search(opened, node)
            opened.page.locator("#graph-depth").select_option(str(depth))
            wanted = find_neighbourhood(graph, node, depth, most=500).distances
            found = distances(opened)
            assert found.items() <= wanted.items()
            for step in range(-depth, depth + 1):
                count = sum(distance == step for distance in wanted.values())
                assert sum(distance == step for distance in found.values()) == min(count, 12)
            hidden = len(wanted) - len(found)
            hint = opened.page.locator("#graph-hint").inner_text()
            more = f"The drawing has the nearest nodes; {hidden} more are within this depth." if hidden else ""
            assert hint == more, node

    def test_has_the_edges_of_the_graph(self, opened: Window, graph: Graph) -> None:
        search(opened, "scope/n41")
        opened.page.locator("#graph-depth").select_option("1")
        shown = distances(opened)
        edges = {
            (text.lstrip("^"), name, text.startswith("^"))
            for name in shown
            for text in graph.nodes[name].proto.input
            if text.lstrip("^") in shown
        }
        assert opened.page.locator("#graph-canvas .edge").count() == len(edges)
        assert opened.page.locator("#graph-canvas .waits").count() == sum(waits for _, _, waits in edges)

    def test_layers_do_not_overlap(self, opened: Window) -> None:
        search(opened, "scope/n20")
        boxes = opened.evaluate(
            "[...document.querySelectorAll('#graph-canvas rect')].map(r => [+r.getAttribute('x'), +r.getAttribute('y'),"
            " +r.getAttribute('width'), +r.getAttribute('height')])"
        )
        assert len(boxes) > 5
        for i, (x, y, width, height) in enumerate(boxes):
            for other_x, other_y, *_ in boxes[:i]:
                assert abs(x - other_x) > width or abs(y - other_y) > height

    def test_many_neighbours_are_counted(self, window: Window, tmp_path: Path) -> None:
        nodes = [NodeDef(name=f"n{i}", op="A") for i in range(1000)]
        nodes.append(NodeDef(name="sum", op="AddN", input=[node.name for node in nodes]))
        (tmp_path / "graph.pb").write_bytes(GraphDef(node=nodes).SerializeToString())
        page = Path(tfbundle.report(tmp_path / "graph.pb", tmp_path / "report.html"))
        window.open(page)
        assert len(labels(window)) == 13
        assert window.page.locator("#graph-canvas .more").text_content() == "and 988 more"
        assert "Inputs (1,000)" in window.page.locator("#graph-detail").inner_text()
        check_quiet(window, page)

    def test_prints(self, opened: Window) -> None:
        opened.page.emulate_media(media="print")
        assert opened.page.locator("#graph-canvas svg").is_visible()
        assert not opened.page.locator("#graph-tools").is_visible()
        assert len(opened.page.pdf()) > 10_000


class TestWalking:
    def test_by_the_mouse_and_back(self, opened: Window, graph: Graph) -> None:
        search(opened, "scope/n41")
        source = graph.nodes["scope/n41"].proto.input[0].lstrip("^")
        opened.page.locator(f"#graph-canvas .node[aria-label^='{source},']").click()
        assert current(opened) == source
        assert distances(opened)[source] == 0
        assert distances(opened)["scope/n41"] == 1
        opened.page.locator("#graph-back").click()
        assert current(opened) == "scope/n41"

    def test_by_the_keyboard(self, opened: Window, graph: Graph) -> None:
        search(opened, "scope/n41")
        assert focused(opened) == "scope/n41"
        opened.page.keyboard.press("ArrowLeft")
        source = focused(opened)
        assert source in {text.lstrip("^") for text in graph.nodes["scope/n41"].proto.input}
        assert current(opened) == "scope/n41"
        opened.page.keyboard.press("Enter")
        assert current(opened) == focused(opened) == source
        opened.page.keyboard.press("ArrowRight")
        assert source in {text.lstrip("^") for text in graph.nodes[focused(opened)].proto.input}
        opened.page.keyboard.press("Home")
        assert focused(opened) == source
        opened.page.keyboard.press("Backspace")
        assert current(opened) == focused(opened) == "scope/n41"

    def test_arrows_visit_a_whole_layer(self, opened: Window) -> None:
        search(opened, "scope/n0")
        opened.page.locator("#graph-depth").select_option("1")
        layer = {name for name, distance in distances(opened).items() if distance == 1}
        opened.page.locator("#graph-canvas [tabindex='0']").focus()
        opened.page.keyboard.press("ArrowRight")
        for _ in range(20):
            opened.page.keyboard.press("ArrowUp")
        visited = {focused(opened)}
        for _ in range(20):
            opened.page.keyboard.press("ArrowDown")
            visited.add(focused(opened))
        assert visited == layer
        assert len(layer) > 1

    def test_one_node_is_in_the_order_of_the_keyboard(self, opened: Window) -> None:
        search(opened, "scope/n41")
        assert opened.page.locator("#graph-canvas [tabindex='0']").count() == 1
        opened.page.keyboard.press("ArrowLeft")
        assert opened.page.locator("#graph-canvas [tabindex='0']").count() == 1

    def test_by_the_links(self, opened: Window) -> None:
        search(opened, "scope/n41")
        link = opened.page.locator("#graph-detail li button").first
        name = link.inner_text()
        link.click()
        assert current(opened) == name


class TestSearching:
    def test_by_name_and_op(self, opened: Window, graph: Graph) -> None:
        opened.page.locator("#graph-search").fill("SCOPE op3")
        wanted = [node.name for node in graph.proto.node if node.op == "Op3"]
        assert opened.page.locator("#graph-status").inner_text() == f"{len(wanted)} nodes found"
        assert opened.page.locator("#graph-found .name").all_inner_texts() == wanted
        opened.page.keyboard.press("ArrowDown")
        opened.page.keyboard.press("ArrowDown")
        opened.page.keyboard.press("Enter")
        assert current(opened) == wanted[1]
        assert not opened.page.locator("#graph-found").is_visible()

    def test_an_equal_name_comes_first(self, opened: Window) -> None:
        opened.page.locator("#graph-search").fill("scope/n7")
        assert opened.page.locator("#graph-found .name").all_inner_texts()[:2] == ["scope/n7", "scope/n70"]
        opened.page.locator("#graph-found li").nth(1).click()
        assert current(opened) == "scope/n70"

    def test_long_lists_are_cut_and_escape_ends(self, opened: Window) -> None:
        opened.page.locator("#graph-search").fill("scope")
        assert opened.page.locator("#graph-found li").count() == 50
        assert opened.page.locator("#graph-status").inner_text() == "80 nodes found, the first 50 are listed"
        opened.page.keyboard.press("Escape")
        assert opened.page.locator("#graph-found li").count() == 0
        opened.page.locator("#graph-search").fill("nothing of this name")
        assert opened.page.locator("#graph-status").inner_text() == "0 nodes found"


class TestFunctions:
    def test_each_can_be_chosen(self, model: Window) -> None:
        functions = tfbundle.load_saved_model(MODEL).meta_graph().graph.functions
        options = model.page.locator("#graph-body option").all_inner_texts()
        assert {text.split()[1] for text in options[1:]} == set(functions)
        name = options[5].split()[1]
        model.page.locator("#graph-body").select_option(label=options[5])
        outputs = list(functions[name].outputs)
        assert not outputs or current(model) == outputs[0]
        search(model, "(input)")
        assert current(model) in functions[name].inputs

    def test_a_call_opens_it_and_back_returns(self, model: Window) -> None:
        graph = tfbundle.load_saved_model(MODEL).meta_graph().graph
        assert graph.nodes[current(model)].op == "StatefulPartitionedCall"
        called = graph.nodes[current(model)].proto.attr["f"].func.name
        before = current(model)
        model.page.get_by_role("button", name=f"Open {called}").click()
        assert current(model) in graph.functions[called].outputs
        model.page.locator("#graph-back").click()
        assert current(model) == before


class TestThePage:
    @pytest.mark.parametrize("width", [360, 800, 1400])
    def test_fits_and_has_no_barriers(self, window: Window, model_page: Path, width: int) -> None:
        window.open(model_page, width, bypass_policy=True)
        window.page.locator("#nodes").scroll_into_view_if_needed()
        window.page.locator("#graph-search").fill("kernel")
        assert window.evaluate("document.scrollingElement.scrollWidth") <= width
        assert find_barriers(window) == []

    def test_what_is_left_out_names_the_command(self, window: Window, tmp_path: Path) -> None:
        nodes = [NodeDef(name=f"n{i}", op="A") for i in range(30_001)]
        (tmp_path / "graph.pb").write_bytes(GraphDef(node=nodes).SerializeToString())
        page = Path(tfbundle.report(tmp_path / "graph.pb", tmp_path / "report.html"))
        window.open(page)
        text = window.page.locator("#graph-left-out").inner_text()
        assert "the graph itself (30,001 nodes) cannot be drawn" in text
        assert f"tfbundle graph {tmp_path / 'graph.pb'} NODE --depth 2" in text
        assert not window.page.locator("#graph-view").is_visible()
        check_quiet(window, page)

    def test_a_large_graph_answers_quickly(self, window: Window, tmp_path: Path) -> None:
        nodes = [
            NodeDef(name=f"n{i}", op="A", input=[f"n{i // 2}", f"n{i - 1}", "n0"] if i else []) for i in range(30_000)
        ]
        (tmp_path / "graph.pb").write_bytes(GraphDef(node=nodes).SerializeToString())
        page = Path(tfbundle.report(tmp_path / "graph.pb", tmp_path / "report.html"))
        window.open(page)
        window.page.locator("#graph-depth").select_option("3")
        for node in ("n0", "n15000", "n29999"):
            search(window, node)
            assert current(window) == node
        start = window.evaluate("performance.now()")
        search(window, "n0")
        assert window.evaluate("performance.now()") - start < 3000
        check_quiet(window, page)


class TestHostileTexts:
    def test_names_and_ops_are_text(self, window: Window, tmp_path: Path) -> None:
        texts = [text for text in HOSTILE if "\udcff" not in text]
        graph = GraphDef(node=[NodeDef(name=text, op=text) for text in texts])
        graph.node.add(name="all", op="A", input=[f"{text}:{text}" for text in texts])
        for text in texts:
            function = graph.library.function.add()
            function.signature.name = text
            function.signature.input_arg.add(name=text)
            function.signature.output_arg.add(name=text)
            function.ret[text] = text
        (tmp_path / "graph.pb").write_bytes(graph.SerializeToString())
        page = Path(tfbundle.report(tmp_path / "graph.pb", tmp_path / "report.html"))
        window.open(page)
        for option in range(window.page.locator("#graph-body option").count()):
            window.page.locator("#graph-body").select_option(index=option)
            for text in ("<", "a", "\\"):
                search(window, text)
        window.page.locator("#graph-body").select_option(index=0)
        search(window, "<script>alert(2)</script>")
        assert current(window) == "<script>alert(2)</script>"
        assert window.evaluate("document.querySelectorAll('#nodes img, #nodes script, #nodes b').length") == 0
        assert window.evaluate("document.querySelectorAll('[onerror],[onload],[onmouseover]').length") == 0
        assert not set(window.evaluate("document.body.textContent")) & set("\u202e\u2066\u200f\u061c\0\x07\x1b")
        check_quiet(window, page)
