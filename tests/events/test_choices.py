"""Runs and tags by names, globs, compiled patterns and functions, wherever Python takes them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tfbundle
from tests.support.records import frames
from tfbundle.proto import Event, Summary

TAGS = ("loss", "w[0]", "w0", "layer/acc")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tfbundle.EventLog]:
    for name in ("train", "train*", "eval"):
        values = [Summary.Value(tag=tag, simple_value=number) for number, tag in enumerate(TAGS)]
        (tmp_path / name).mkdir()
        events = [Event(step=1, summary=Summary(value=values)), Event(step=2, summary=Summary(value=values[:1]))]
        (tmp_path / name / "a.tfevents").write_bytes(frames(event.SerializeToString() for event in events))
    with tfbundle.open_events(tmp_path) as log:
        yield log


WAYS = [
    ("loss", {"loss"}),
    ("w[0]", {"w[0]"}),
    ("w?", {"w0"}),
    ("l*", {"loss", "layer/acc"}),
    (re.compile("a[ct]"), {"layer/acc"}),
    (re.compile("^w"), {"w[0]", "w0"}),
    (lambda tag: "0" in tag, {"w[0]", "w0"}),
    (["loss", re.compile("acc$")], {"loss", "layer/acc"}),
    (None, set(TAGS)),
    ([], set()),
]
MISSES = [
    ("los", "no tag 'los'; did you mean 'loss'\\?"),
    ("x*", "no tag matches 'x\\*'"),
    (re.compile("^x"), "no tag matches the pattern '\\^x'"),
    (str.isupper, "no tag matches the function str.isupper"),
    (["loss", "los"], "no tag 'los'"),
]


@pytest.mark.parametrize(("names", "wanted"), WAYS, ids=[str(number) for number in range(len(WAYS))])
def test_tags(log: tfbundle.EventLog, names: Any, wanted: set[str]) -> None:
    run = log.runs["train"]
    chosen = run.scalars.select(names)
    assert list(chosen) == [tag for tag in TAGS if tag in wanted]
    assert all(
        chosen[tag] is run.scalars[tag] or (chosen[tag].values == run.scalars[tag].values).all() for tag in chosen
    )
    steps = [event.step for event in run.events(names)]
    assert steps == ([1, 2] if "loss" in wanted else [1] if wanted else [])
    pandas = pytest.importorskip("pandas", reason="makes a table of pandas, which is not installed")
    table = log.to_pandas(runs="train", tags=names)
    assert isinstance(table, pandas.DataFrame)
    assert set(table.run) <= {"train"}
    assert set(table.tag) == wanted
    assert set(log.to_pandas(wide=True, tags=names).columns) == {"run", "step", "wall_time"} | wanted


@pytest.mark.parametrize(("names", "words"), MISSES, ids=[str(number) for number in range(len(MISSES))])
def test_tags_that_mean_none(log: tfbundle.EventLog, names: Any, words: str) -> None:
    run = log.runs["train"]
    for ask in (lambda: run.scalars.select(names), lambda: run.events(names)):
        with pytest.raises(KeyError, match=words):
            ask()
    pytest.importorskip("pandas", reason="makes a table of pandas, which is not installed")
    with pytest.raises(KeyError, match=words):
        log.to_pandas(tags=names)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ("train*", ["train*"]),
        ("trai*", ["train", "train*"]),
        (re.compile("l$"), ["eval"]),
        (lambda name: name < "f", ["eval"]),
        (["eval", "train"], ["eval", "train"]),
    ],
    ids=["name", "glob", "pattern", "function", "list"],
)
def test_runs(log: tfbundle.EventLog, names: Any, wanted: list[str]) -> None:
    assert list(log.runs.select(names)) == wanted
    read: list[str] = []
    loads: dict[str, Callable[..., None]] = {name: run.load for name, run in log.runs.items()}
    for name, run in log.runs.items():
        run.load = lambda *arguments, name=name: (read.append(name), loads[name](*arguments))[1]  # type: ignore[method-assign]
    log.load(runs=names)
    assert read == wanted
    assert len(pickle.loads(pickle.dumps(log.runs["eval"].scalars.select("w*")))) == 2


def test_runs_that_mean_none(log: tfbundle.EventLog) -> None:
    with pytest.raises(KeyError, match="no run 'trian'; did you mean 'train'"):
        log.load(runs="trian")
    with pytest.raises(KeyError, match=re.escape("no run 'ev*'; select('ev*') accepts patterns")):
        log.runs["ev*"]
    with pytest.raises(KeyError, match="accepts patterns"):
        log.runs[re.compile("ev")]  # type: ignore[index]


def test_a_tag_that_another_run_has_is_that_tag(tmp_path: Path) -> None:
    """In a table of several runs a name is a name if one of them has it."""
    pytest.importorskip("pandas", reason="makes a table of pandas, which is not installed")
    for name, tag in (("a", "w[0]"), ("b", "w0")):
        (tmp_path / name).mkdir()
        event = Event(step=1, summary=Summary(value=[Summary.Value(tag=tag, simple_value=1)]))
        (tmp_path / name / "a.tfevents").write_bytes(frames([event.SerializeToString()]))
    assert tfbundle.open_events(tmp_path).to_pandas(tags="w[0]").run.tolist() == ["a"]
