"""Pages about hostile files: a page that shows the damage, or one of our errors, and no other exception."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("jinja2", reason="reports need jinja2, which is not installed")

import tfbundle
from tests.hostile.catalogue import CASES
from tests.hostile.worker import fill_catalogue
from tfbundle.proto import GraphDef, NodeDef
from tfbundle.reporting.report import render_report

fill_catalogue()

# Of each kind some, because each of the checks that a page is made of is tried with all of them.
CHOSEN = [name for number, name in enumerate(sorted(CASES)) if CASES[name].kind == "checkpoint" and number % 5 == 0]
CHOSEN += [
    name
    for number, name in enumerate(sorted(CASES))
    if CASES[name].kind in ("events", "folder", "state", "foreign") and number % 7 == 0
]
CHOSEN += ["npz-names-empty", "graph-cycle", "program-zip-damaged", "entry-slice-twice", "v1-slices-2-000"]


@pytest.mark.parametrize("name", dict.fromkeys(name for name in CHOSEN if name in CASES))
def test_a_page_or_an_error(name: str, tmp_path: Path) -> None:
    wanted = CASES[name].build(tmp_path)
    start = time.process_time()
    try:
        page = render_report(wanted.path)
    except tfbundle.TfBundleError:
        page = b"<!DOCTYPE html>"
    assert page.startswith(b"<!DOCTYPE html>")
    # A page is made of about five calls, each of which has a second.
    assert time.process_time() - start < 5


PEAK = """
import sys, tfbundle
from tfbundle.reporting.report import render_report
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmHWM"))
tfbundle.save(sys.argv[2], {"w": 1.0})
render_report(sys.argv[2])
before = peak()
assert b"200,000" in render_report(sys.argv[1])
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux reports it")
def test_large_graphs_are_in_memory_one_at_a_time(tmp_path: Path) -> None:
    """A page reads a graph several times; one of 200,000 nodes takes 61 MB when it is verified, and two take 80."""
    graph = GraphDef(node=[NodeDef(name=str(number), op="NoOp") for number in range(200_000)])
    (tmp_path / "graph.pb").write_bytes(graph.SerializeToString())
    command = [sys.executable, "-c", PEAK, str(tmp_path / "graph.pb"), str(tmp_path / "small")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 70, done.stdout
