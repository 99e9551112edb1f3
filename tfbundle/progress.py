"""The progress of long work: a function that is called with the amount done and the total, usually in bytes."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
