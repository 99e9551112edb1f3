"""``ls --tree``: scopes with the totals of what is below them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfbundle
from tests.support.command import outcome, run
from tfbundle.cli.scopes import build_scopes, walk_scopes

TRAINING = Path(__file__).resolve().parents[2] / "fixtures" / "tf-1.15.5" / "training"


def rows(*arguments: str) -> list[list[str]]:
    result = run("ls", TRAINING, *arguments)
    assert result.exit_code == 0
    return [line.split() for line in result.stdout.splitlines()[1:-1]]


def test_scopes_have_the_totals_of_their_tensors() -> None:
    shown = rows("--tree", "fc1*")
    with tfbundle.open_checkpoint(TRAINING) as checkpoint:
        sizes = {name: int(np.prod(checkpoint[name].shape)) for name in checkpoint if name.startswith("fc1")}
    assert shown[0][:3] == ["fc1/", "6", f"{sum(sizes.values()):,}"]
    below = {line[0]: line[1:3] for line in shown if line[0].endswith("/")}
    assert below["weights/"] == ["2", "1,536"]
    assert below["biases/"] == ["2", "24"]


def test_depth_folds_what_is_deeper() -> None:
    assert [line[0] for line in rows("--depth", "1")] == [
        "beta1_power", "beta2_power", "conv1/", "fc1/", "fc2/", "global_step",
    ]  # fmt: skip
    assert [line[0] for line in rows("--depth", "2", "--sort", "size")][:3] == ["fc1/", "weights/", "weights"]


def test_keys_of_tensorflow_2_end_with_the_attribute() -> None:
    path = TRAINING.parents[1] / "tf-2.15.1" / "keras-weights"
    shown = run("ls", path, "--tree").stdout
    assert "VARIABLE_VALUE" not in shown
    assert "\n  kernel  " in shown


def test_names_are_escaped_and_indented_only_so_far(tmp_path: Path) -> None:
    deep = "/".join(f"s{number}" for number in range(60))
    names = [f"{deep[: deep.index(f's{level}/')]}t{level}" for level in range(1, 59)]
    tfbundle.save(tmp_path / "m", dict.fromkeys([*names, "\x1b[31m/a", "\x1b[31m/b"], np.float32(0)))
    shown = run("ls", tmp_path / "m", "--tree").stdout
    assert "\x1b" not in shown
    assert max(len(line) - len(line.lstrip()) for line in shown.splitlines()) == 60


@pytest.mark.parametrize("arguments", [["--tree", "--json"], ["--depth", "1", "--json"], ["--tree", "--sort", "shard"]])
def test_what_a_tree_does_not_have_is_refused(arguments: list[str]) -> None:
    status, printed, error = outcome("ls", TRAINING, *arguments)
    assert (status, printed) == (2, "")
    assert "--tree" in error


@given(st.lists(st.text("ab/", max_size=8), unique=True), st.integers(1, 4))
def test_every_tensor_is_below_its_scopes(names: list[str], depth: int) -> None:
    root = build_scopes([(name, 1, len(name)) for name in names])
    assert (root.tensors, root.nbytes) == (len(names), sum(map(len, names)))
    nodes = list(walk_scopes(root, None))
    assert sorted(node.item for _, _, node in nodes if node.item is not None) == list(range(len(names)))
    assert len(nodes) < max(1, 2 * len(names))
    for _, label, node in nodes:
        assert node.name.endswith(label)
        if node.item is None:
            assert node.name.endswith("/")
            assert node.tensors == sum(child.tensors for child in node.children) > 1
            assert all(name.startswith(node.name) for name in (child.name for child in node.children))
    shallow = list(walk_scopes(root, depth))
    assert [line for line in nodes if line[0] < depth] == shallow
