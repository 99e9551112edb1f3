"""Checkpoints that are hostile to a plan of a conversion, or of an average: names, slices and sizes without data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.catalogue import Wanted, add
from tests.support.bundle_writer import FULL, Saved, write_bundle

A = np.arange(3, dtype=np.float32)
_AVERAGE = "ExponentialMovingAverage"


def _add(name: str, title: str, tensors: Callable[[], Mapping[str, Any]], **choices: Any) -> None:
    """A checkpoint that is planned with ``choices``."""

    def build(folder: Path) -> Wanted:
        write_bundle(folder / "m", tensors())
        return Wanted(folder / "m", {"choices": choices})

    add(f"surgery-{name}", "surgery", build, title)


def _parts(count: int, *, is_apart: bool) -> dict[str, Any]:
    """Return a variable in slices of one element, and the averages of its parts."""
    whole = np.arange(count, dtype=np.float32)
    boxes = [((number, 1),) for number in range(count)]
    parts = {
        f"w/part_{number}/{_AVERAGE}": whole[:1] if is_apart else Saved(whole, slices=[boxes[number]])
        for number in range(count)
    }
    return {"w": Saved(whole, slices=boxes), **parts}


_STRINGS = np.array([b"a"], object)
_add(
    "strings-2-40", "a tensor of a trillion strings", lambda: {"a": A, "w": Saved(_STRINGS, lies={"shape": (1 << 40,)})}
)
_add(
    "numbers-2-40", "4 TB of numbers without data", lambda: {"w": Saved(A, lies={"shape": (1 << 40,), "size": 1 << 42})}
)
_add("shape-overflows", "a shape whose product overflows", lambda: {"w": Saved(A, lies={"shape": (1 << 62, 1 << 62)})})
_add("type-unknown", "an unknown type", lambda: {"a": A, "w": Saved(A, lies={"dtype": 57})}, cast="bfloat16")
_add("names-deep", "names of 20,000 scopes", lambda: {f"{'a/' * 20_000}{number}": A for number in range(20)})
_add(
    "names-collide",
    "10,000 names that become one",
    lambda: dict.fromkeys(map(str, range(10_000)), A),
    rename={".*": "x"},
)
_add("averages-deep", "averages in 20,000 scopes", lambda: {f"{'a/' * 20_000}w/{_AVERAGE}": A, "w": A}, averages=True)
_add(
    "averages-collide",
    "5,000 averages of one variable",
    lambda: {"w": A, **{f"s{number}/w/{_AVERAGE}": A for number in range(5000)}},
    averages=True,
)
_add("averages-by-part", "the averages of 1,000 parts", lambda: _parts(1000, is_apart=False), averages=True)
_add("averages-by-name", "the averages of 1,000 parts by name", lambda: _parts(1000, is_apart=True), averages=True)
_add(
    "averages-overlap",
    "averages of the same part",
    lambda: {
        "w": Saved(np.zeros((4, 2), np.float32), slices=[((0, 2), FULL), ((2, 2), FULL)]),
        **{
            f"s{number}/w/part_0/{_AVERAGE}": Saved(np.zeros((4, 2), np.float32), slices=[((0, 2), FULL)])
            for number in range(500)
        },
    },
    averages=True,
)


def _add_index(name: str, text: Callable[[], str]) -> None:
    """An index of sharded safetensors files."""

    def build(folder: Path) -> Wanted:
        path = folder / "model.safetensors.index.json"
        path.write_text(text(), encoding="utf-8")
        return Wanted(path, {"choices": {}})

    add(f"surgery-index-{name}", "surgery", build, f"an index of safetensors files: {name.replace('-', ' ')}")


_add_index("nested", lambda: '{"weight_map": ' + "[" * 5000 + "]" * 5000 + "}")
_add_index(
    "files-that-are-absent", lambda: json.dumps({"weight_map": {str(n): f"{n}.safetensors" for n in range(20_000)}})
)
_add_index("elsewhere", lambda: json.dumps({"weight_map": {"a": "../../etc/passwd", "b": "/etc/passwd"}}))
_add_index("itself", lambda: json.dumps({"weight_map": {"a": "model.safetensors.index.json"}}))
_add_index("numbers", lambda: json.dumps({"weight_map": {"a": 1, "b": None}}))
