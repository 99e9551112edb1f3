"""Folders with far more in them than a program leaves, or with ways that lead back."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.hostile.catalogue import Wanted, add
from tests.support.bundle_writer import write_bundle
from tests.support.records import frames
from tfbundle.proto import Event, Summary


def _add_folder(name: str, title: str, fill: Callable[[Path], object]) -> None:
    """A folder with a checkpoint ``run/model``, and more."""

    def build(folder: Path) -> Wanted:
        top = folder / "top"
        (top / "run").mkdir(parents=True)
        write_bundle(top / "run/model", {"a": np.arange(3, dtype=np.float32)})
        fill(top)
        return Wanted(top, opens=False)

    add(f"folder-{name}", "folder", build, title)


def _link_in_a_circle(top: Path) -> None:
    for number in range(20):
        (top / f"link{number}").symlink_to(top)
        (top / f"run/link{number}").symlink_to(top / "run")


def _fill_with_indexes(top: Path) -> None:
    noise = np.random.default_rng(0).bytes(100)
    for number in range(300):
        (top / f"model-{number}.index").write_bytes(noise)


def _nest(top: Path) -> None:
    for _ in range(100):
        top = top / "d"
        top.mkdir()
    write_bundle(top / "model", {"a": np.arange(3, dtype=np.float32)})


if os.name == "posix":
    _add_folder("links-in-a-circle", "links that lead back to their folders", _link_in_a_circle)
_add_folder("many-indexes", "300 indexes of random bytes", _fill_with_indexes)
_add_folder("nested-100-deep", "folders nested 100 deep", _nest)
_add_folder(
    "state-many-paths",
    "a state file with 20,000 paths",
    lambda top: (top / "run/checkpoint").write_text(
        'model_checkpoint_path: "model"\n' + "".join(f'all_model_checkpoint_paths: "m-{n}"\n' for n in range(20_000))
    ),
)


def _add_tags(name: str, title: str, make: Callable[[], bytes], suffix: str = "") -> None:
    def build(folder: Path) -> Wanted:
        path = folder / f"events.out.tfevents.1{suffix}"
        path.write_bytes(make())
        return Wanted(path, {"loss": [1.0]})

    add(f"events-{name}", "events", build, title)


def _tags(count: int, each: int) -> bytes:
    """Return a record of ``loss``, and records with ``each`` values of other tags."""
    records = [Event(wall_time=1, file_version="brain.Event:2")]
    records.append(Event(wall_time=1, step=1, summary=Summary(value=[Summary.Value(tag="loss", simple_value=1)])))
    for start in range(0, count, each):
        values = [Summary.Value(tag=f"t{number}", simple_value=number) for number in range(start, start + each)]
        records.append(Event(wall_time=1, step=1, summary=Summary(value=values)))
    return frames([record.SerializeToString() for record in records])


_add_tags("tags-5000", "5,000 tags, a record each", lambda: _tags(5_000, 1))
_add_tags("tags-2500-in-one", "a record with 2,500 tags", lambda: _tags(2_500, 2_500))
_add_tags("tags-2500-packed", "2,500 tags, compressed", lambda: gzip.compress(_tags(2_500, 1)))
