"""Pages about hostile files: a page that shows the damage, or one of our errors, and no other exception."""

from __future__ import annotations

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
