"""The progress of long work: a function that is called with what is done and what there is, in bytes as a rule."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
