"""How names are typed, and how they are printed: of tensors, files, runs, tags and nodes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click, which is not installed")
pytest.importorskip("rich", reason="the command needs rich, which is not installed")

from tests.support.bundle_writer import write_bundle
from tests.support.command import outcome, refusal, run, run_json
from tests.support.expected import FIXTURES
from tests.support.records import frames
from tfbundle.printable import escape_name
from tfbundle.proto import Event, GraphDef, MetaGraphDef, Summary

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)

# What a terminal would act on: its own codes, a carriage return, the direction of writing, a bell, a C1 code, a line.
HOSTILE = "e\x1b]0;owned\x07\x1b[2J\r\u202e\u2066\x9b1m\u200b\n\x08z"


# How names are typed.


def test_a_name_comes_before_a_pattern(tmp_path: Path) -> None:
    tensors = {"w[0]/kernel": MATRIX, "w0/kernel": MATRIX + 1, "w1/kernel": MATRIX + 2, "a*": MATRIX, "ab": MATRIX}
    write_bundle(tmp_path / "b", tensors)

    def listed(*globs: str) -> list[str]:
        return [tensor["name"] for tensor in run_json("ls", tmp_path / "b", *globs)["tensors"]]

    assert listed("w[0]/kernel") == ["w[0]/kernel"]
    assert listed("w[01]/kernel") == ["w0/kernel", "w1/kernel"]
    assert listed("a*") == ["a*"]
    assert listed("a?") == ["a*", "ab"]
    assert run_json("show", tmp_path / "b", "w[0]/kernel")["values"][0][0] == 0


def test_names_with_numbers_are_listed_in_their_order(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {f"layer_{number}/w": MATRIX for number in (1, 2, 10, 20)})
    names = [tensor["name"] for tensor in run_json("ls", tmp_path / "b")["tensors"]]
    assert names == ["layer_1/w", "layer_2/w", "layer_10/w", "layer_20/w"]


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (["m", "[0:2,:]"], MATRIX[0:2]),
        (["m", "0:2,:"], MATRIX[0:2]),
        (["m", " [ 1 ] "], MATRIX[1]),
        (["m[0:2,:]"], MATRIX[0:2]),
        (["m[...,-1]"], MATRIX[..., -1]),
        (["m[3]"], MATRIX[3]),
        (["m[0]"], MATRIX + 1),  # There is a tensor of this name.
        (["m[0][1]"], MATRIX[1] + 1),
    ],
)
def test_a_part_as_it_is_printed(tmp_path: Path, arguments: list[str], values: np.ndarray[Any, Any]) -> None:
    write_bundle(tmp_path / "b", {"m": MATRIX, "m[0]": MATRIX + 1})
    shown = run_json("show", tmp_path / "b", *arguments)
    np.testing.assert_array_equal(shown["values"], values)
    is_part = values.shape != MATRIX.shape
    assert shown["verified"] is not is_part
    assert ("not verified" in run("show", tmp_path / "b", *arguments).stdout) is is_part


def test_a_part_that_is_none(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"m": MATRIX})
    assert "'x' is not an index" in refusal("show", tmp_path / "b", "m[x]")
    assert "'' is not an index" in refusal("show", tmp_path / "b", "m[]")
    assert "did you mean 'm'" in refusal("show", tmp_path / "b", "mm[0]") or "others" in refusal(
        "show", tmp_path / "b", "mm[0]"
    )


def test_variables_of_tensorflow_2() -> None:
    path = FIXTURES / "tf-2.21.0" / "keras-saved-model" / "model"
    variables = {row["variable"]: row["name"] for row in run_json("ls", path)["tensors"] if row["variable"]}
    assert variables
    for variable, name in variables.items():
        assert name in [row["name"] for row in run_json("ls", path, variable)["tensors"]]
        assert run_json("show", path, variable)["shape"] == run_json("show", path, name)["shape"]


def test_slots_that_are_left_out(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"w": MATRIX, "w/Adam": MATRIX, "w/Adam_1": MATRIX})
    found = run_json("ls", tmp_path / "b", "--no-slots")
    assert ([row["name"] for row in found["tensors"]], found["left_out"]) == (["w"], 2)
    assert run("ls", tmp_path / "b", "--no-slots").stdout.endswith("; 2 slots left out\n")
    write_bundle(tmp_path / "d", {"w": MATRIX, "w/Adam": MATRIX, "global_step": np.int64(7).reshape(())})
    found = run_json("ls", tmp_path / "d", "--weights")
    assert ([row["name"] for row in found["tensors"]], found["left_out"]) == (["w"], 2)
    assert run("ls", tmp_path / "d", "--weights").stdout.endswith("; 2 other tensors left out\n")
    write_bundle(tmp_path / "c", {"w": MATRIX})
    assert run("ls", tmp_path / "c", "--no-slots").stdout.endswith("; 0 slots left out\n")


def test_a_glob_that_the_shell_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "b", {"conv/w": MATRIX})
    monkeypatch.chdir(tmp_path)
    assert "quote patterns" in refusal("ls", "b", "b.index", "b.data-00000-of-00001")
    assert "quote patterns" not in refusal("ls", "b", "conw/v")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("verfy", "did you mean 'verify'?"),
        ("lss", "did you mean 'ls'?"),
        ("b.index", "'tfbundle info b.index' identifies it. See"),
        ("zzz", "No such command 'zzz'."),
    ],
)
def test_commands_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, words: str) -> None:
    write_bundle(tmp_path / "b", {"m": MATRIX})
    monkeypatch.chdir(tmp_path)
    assert words in refusal(command)


# How names are printed.


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every name is hostile."""
    folder = tmp_path_factory.mktemp("hostile") / HOSTILE
    run_folder = folder / "runs" / HOSTILE
    run_folder.mkdir(parents=True)
    write_bundle(folder / HOSTILE, {HOSTILE: MATRIX, HOSTILE + "2": MATRIX})
    write_bundle(folder / "other", {HOSTILE: MATRIX + 1, HOSTILE + "3": MATRIX})
    (folder / f"{HOSTILE}.index.html.index").write_bytes(b"<html>")
    (folder / f"{HOSTILE}-2_temp_0123456789abcdef0123456789abcdef").mkdir()
    (folder / "checkpoint").write_text(
        "".join(f"all_model_checkpoint_paths: {json.dumps(name)}\n" for name in (HOSTILE, HOSTILE + "gone"))
        + f"model_checkpoint_path: {json.dumps(HOSTILE + 'gone')}\n"
    )
    graph = GraphDef()
    node = graph.node.add(name=HOSTILE, op=HOSTILE, device=HOSTILE, input=[HOSTILE + "in"])
    node.attr[HOSTILE].s = HOSTILE.encode()
    graph.library.function.add().signature.name = HOSTILE
    (folder / f"{HOSTILE}.pb").write_bytes(graph.SerializeToString())
    meta = MetaGraphDef(graph_def=graph)
    meta.meta_info_def.tags.append(HOSTILE)
    meta.meta_info_def.tensorflow_version = HOSTILE
    meta.signature_def[HOSTILE].inputs[HOSTILE].name = HOSTILE
    meta.collection_def[HOSTILE].node_list.value.append(HOSTILE)
    (folder / f"{HOSTILE}.meta").write_bytes(meta.SerializeToString())
    summary = Summary(value=[Summary.Value(tag=HOSTILE, simple_value=1.0)])
    records = [Event(wall_time=1.0, step=1, summary=summary).SerializeToString()]
    (run_folder / f"events.out.tfevents.1.{HOSTILE}").write_bytes(frames(records)[:-2])
    (folder / f"{HOSTILE}.tfrecord").write_bytes(frames([b"x"])[:-1])
    return folder


COMMANDS: list[list[str]] = [
    ["info", "."],
    ["info", HOSTILE],
    ["info", f"{HOSTILE}.pb"],
    ["info", f"{HOSTILE}.tfrecord"],
    ["ls", HOSTILE],
    ["ls", HOSTILE, "nothing*"],
    ["show", HOSTILE, escape_name(HOSTILE)],
    ["show", HOSTILE, HOSTILE + "0"],
    ["state", "."],
    ["state", "runs"],
    ["inventory", "."],
    ["inventory", HOSTILE + "0"],
    ["events", "dataset", "runs", "-o", "a" + HOSTILE],
    ["events", "dataset", "runs", "-o", "a" + HOSTILE, "--run", HOSTILE + "0"],
    ["objects", HOSTILE],
    ["graph", f"{HOSTILE}.pb"],
    ["graph", f"{HOSTILE}.meta"],
    ["graph", f"{HOSTILE}.pb", HOSTILE],
    ["graph", f"{HOSTILE}.pb", HOSTILE + "0"],
    ["graph", HOSTILE],
    ["check", f"{HOSTILE}.meta", HOSTILE],
    ["check", f"{HOSTILE}.pb", "other"],
    ["verify", HOSTILE],
    ["verify", "."],
    ["verify", "runs"],
    ["diff", HOSTILE, "other"],
    ["fingerprint", HOSTILE],
    ["events", "runs"],
    ["events", f"runs/{HOSTILE}"],
    ["events", "show", "runs", HOSTILE],
    ["events", "show", "runs", HOSTILE + "0"],
    ["events", "list", "runs", "--run", HOSTILE + "0"],
    ["events", "nowhere" + HOSTILE],
    ["records", f"{HOSTILE}.tfrecord"],
    ["records", f"{HOSTILE}.pb"],
    *([name, HOSTILE + "nowhere"] for name in ("info", "ls", "state", "objects", "graph", "verify", "records")),
    ["ls", HOSTILE, "--sort", HOSTILE],
    [HOSTILE],
]


@pytest.mark.skipif(os.name != "posix", reason="no such names are allowed on this system")
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda value: escape_name(" ".join(value)))
def test_nothing_of_a_name_reaches_a_terminal(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(hostile)
    _, out, error = outcome(*arguments)
    assert out + error
    for line in (out + error).split("\n"):
        # Drawings of plots have block characters, which show.
        assert line.isprintable(), ascii(line)


@pytest.mark.skipif(os.name != "posix", reason="no such names are allowed on this system")
def test_every_command_is_among_them() -> None:
    from tfbundle.cli.main import COMMANDS as NAMES

    tried = {arguments[0] for arguments in COMMANDS}
    # These write files, and print the name of what they wrote; see their own tests.
    assert set(NAMES) - tried <= {
        "export",
        "convert",
        "average",
        "scan",
        "report",
        "references",
        "edit",
        "save",
        "stats",
    }


def test_a_folder_without_checkpoints_names_the_command_that_lists_it(tmp_path: Path) -> None:
    (tmp_path / "logs" / "train").mkdir(parents=True)
    message = refusal("ls", tmp_path / "logs")
    assert message.rstrip().endswith(f"; 'tfbundle info {tmp_path / 'logs'}' lists its contents")
    (tmp_path / "two words").mkdir()
    assert "tfbundle info" not in refusal("ls", tmp_path / "two words")  # It would need quotes.
    (tmp_path / "logs" / "run").mkdir()
    write_bundle(tmp_path / "logs" / "run" / "model.ckpt-1", {"w": MATRIX})
    assert "tfbundle info" not in refusal("ls", tmp_path / "logs")  # The folder with checkpoints is named.
