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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_large_graphs_are_in_memory_one_at_a_time(tmp_path: Path) -> None:
    """A page reads a graph of a million nodes several times, within 256 MB."""
    path = CASES["program-a-million-nodes"].build(tmp_path).path
    script = (
        "import sys, resource, tfbundle\n"
        "from tfbundle.reporting.report import render_report\n"
        "tfbundle.save(sys.argv[2], {'w': 1.0})\n"
        "render_report(sys.argv[2])\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10\n"
        "before = peak()\n"
        "assert b'1,000,000' in render_report(sys.argv[1])\n"
        "print(peak() - before)\n"
    )
    command = [sys.executable, "-c", script, str(path), str(tmp_path / "small")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 256, done.stdout
