"""Completion in shells: their scripts are loaded, and what they then offer is what is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click, which is not installed")
pytest.importorskip("rich", reason="the command needs rich, which is not installed")

from tests.support.bundle_writer import write_bundle
from tests.support.expected import FIXTURES
from tests.support.processes import ROOT, run_process
from tests.support.records import frames
from tfbundle.cli.main import COMMANDS
from tfbundle.proto import Event, Summary

GRAPH = FIXTURES / "tf-1.15.5" / "training" / "graph.pbtxt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    write_bundle(folder / "model", {"conv1/kernel": np.ones(3), "conv1/bias": np.ones(3), "a\nb": np.ones(1)})
    (folder / "damaged.index").write_bytes(b"x" * 100)
    for run, tags in (("train", ("loss", "accuracy")), ("eval", ("loss", "recall"))):
        (folder / "logs" / run).mkdir(parents=True)
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=1.0) for tag in tags])
        records = [Event(wall_time=1.0, step=1, summary=summary).SerializeToString()]
        (folder / "logs" / run / "events.out.tfevents.1").write_bytes(frames(records))
    return folder


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which ``tfbundle`` is the command."""
    bin_folder = tmp_path_factory.mktemp("bin")
    script = bin_folder / "tfbundle"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tfbundle "$@"\n')
    script.chmod(0o755)
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "TERM": "dumb"}


def complete(line: list[str], folder: Path) -> list[str]:
    """What bash is offered for the last word of a line, with the kind that it is of."""
    environment = {
        **os.environ,
        "_TFBUNDLE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["tfbundle", *line]),
        "COMP_CWORD": str(len(line)),
    }
    done = run_process(env=environment, cwd=folder)
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        (["l"], ["plain,ls"]),
        ([""], [f"plain,{name}" for name in COMMANDS]),
        (["ls", "--so"], ["plain,--sort"]),
        (["ls", "--sort", "s"], ["plain,size", "plain,shape", "plain,shard"]),
        (["ls", "mo"], ["file,mo"]),
        (["show", "model", "conv1/"], ["plain,conv1/bias", "plain,conv1/kernel"]),
        (["show", "model", "a"], [r"plain,a\nb"]),
        (["ls", "model", "conv1/b"], ["plain,conv1/bias"]),
        (["show", "damaged", "c"], []),
        (["show", "nowhere", "c"], []),
        (["show", "logs", "c"], []),
        (["events", "sh"], ["plain,show"]),
        (["events", "lo"], ["file,lo"]),
        (["events", "show", "logs", ""], ["plain,loss", "plain,recall", "plain,accuracy"]),
        (["events", "show", "--run", "train", "logs", "a"], ["plain,accuracy"]),
        (["events", "show", "logs", "loss", "--run", ""], ["plain,eval", "plain,train"]),
        (["graph", str(GRAPH), "global_step/A"], ["plain,global_step/Assign"]),
        (["verify", "--form"], ["plain,--format"]),
    ],
    ids=lambda value: " ".join(value) if value and "," not in value[0] else "",
)
def test_what_is_offered(folder: Path, line: list[str], offered: list[str]) -> None:
    assert sorted(complete(line, folder)) == sorted(offered)


def test_large_files_are_not_read(folder: Path, tmp_path: Path) -> None:
    events = tmp_path / "run" / "events.out.tfevents.1"
    events.parent.mkdir()
    data = (folder / "logs" / "train" / "events.out.tfevents.1").read_bytes()
    for count, offered in ((1, ["plain,loss"]), ((16 << 20) // len(data) + 1, [])):
        events.write_bytes(data * count)
        before = time.monotonic()
        assert complete(["events", "show", str(tmp_path), "l"], tmp_path) == offered
        assert time.monotonic() - before < 20  # Far from what a loaded machine needs.


BASH = """
eval "$(_TFBUNDLE_COMPLETE=bash_source tfbundle)" || exit 1
COMP_WORDS=(tfbundle show model conv1/); COMP_CWORD=3; COMPREPLY=()
_tfbundle_completion tfbundle
printf '%s\\n' "${COMPREPLY[@]}"
complete -p tfbundle
"""
ZSH = """
autoload -U compinit && compinit -u -D
eval "$(_TFBUNDLE_COMPLETE=zsh_source tfbundle)" || exit 1
compadd() { print -l -- "${(@P)@[-1]}" }
_describe() { print -l -- "${(@P)@[-1]}" }
words=(tfbundle show model conv1/); CURRENT=4
_tfbundle_completion
"""
FISH = """
_TFBUNDLE_COMPLETE=fish_source tfbundle | source; or exit 1
complete --do-complete "tfbundle show model conv1/"
"""


@pytest.mark.parametrize(
    ("shell", "arguments", "script"),
    [("bash", ["--norc", "-c"], BASH), ("zsh", ["-f", "-c"], ZSH), ("fish", ["--no-config", "-c"], FISH)],
)
def test_a_shell_loads_its_script(
    folder: Path, program: dict[str, str], shell: str, arguments: list[str], script: str
) -> None:
    path = shutil.which(shell)
    if path is None or os.name != "posix":
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        [path, *arguments, script], env=program, cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert "conv1/bias" in lines
    assert "conv1/kernel" in lines
    assert not any(line.startswith("Usage") for line in lines)


@pytest.mark.skipif(shutil.which("bash") is None or os.name != "posix", reason="bash is not installed")
def test_bash_inserts_what_it_reads_as_the_name(tmp_path: Path, program: dict[str, str]) -> None:
    names = ["*", "a*", "[ab]", "two words", "tab\there", "it's", "$HOME", "plain"]
    write_bundle(tmp_path / "m", {name: np.ones(1) for name in names})
    (tmp_path / "a").write_bytes(b"")  # What a pattern would become.
    script = """
    eval "$(_TFBUNDLE_COMPLETE=bash_source tfbundle)" || exit 1
    COMP_WORDS=(tfbundle show m "$WORD"); COMP_CWORD=3
    _tfbundle_completion tfbundle
    for one in "${COMPREPLY[@]}"; do
        if [ -n "$WORD" ]; then printf '%s\\n' "$one"; else eval "printf '%s\\n' $one"; fi
    done
    """

    def offered(word: str) -> list[str]:
        done = subprocess.run(
            ["bash", "--norc", "-c", script],
            env={**program, "WORD": word},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stderr == ""
        return done.stdout.splitlines()

    assert sorted(offered("")) == sorted(name.replace("\t", "\\t") for name in names)
    assert offered("'a") == ["a*"]  # Within quotes nothing has to be quoted.


def test_an_unknown_shell_is_not_a_crash(program: dict[str, str]) -> None:
    environment = {**program, "_TFBUNDLE_COMPLETE": "tcsh_source"}
    done = run_process(env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
