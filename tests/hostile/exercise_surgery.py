"""Plans of conversions and averages, which write nothing whatever the source states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tfbundle
from tests.hostile.exercise import attempt, demand
from tfbundle import TfBundleError

# Arguments that do not suit the source are refused in these words.
_REFUSED = ("would all be called", "no moving averages", "moving averages of parts")


def exercise_plans(path: Path, choices: dict[str, Any]) -> str:
    """Plan a conversion and an average to each kind of output; return the last refusal."""
    problem = ""
    for out in ("out", "out.npz", "out.safetensors"):
        problem = _plan(lambda out=out: tfbundle.convert(path, path.parent / out, dry_run=True, **choices)) or problem  # type: ignore[misc]
    problem = _plan(lambda: tfbundle.average([path, path], path.parent / "out", dry_run=True, **choices)) or problem
    demand(not list(path.parent.glob("out*")), "a plan wrote files")
    return problem


def _plan(action: Callable[[], Any]) -> str:
    try:
        done = attempt(action)
    except (KeyError, ValueError) as error:
        demand(any(words in str(error) for words in _REFUSED), f"refused with {error!r}")
        return str(error)[:300]
    return str(done) if isinstance(done, TfBundleError) else ""
