"""Processes that end before a call of the system, as one that is killed there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any


def exit_before(names: Iterable[str], left: int) -> None:
    """End this process with status 9 when functions of ``os`` with these names have been called ``left`` times."""

    def stopping(call: Callable[..., Any]) -> Callable[..., Any]:
        def stop(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            if not left:
                os._exit(9)
            left -= 1
            return call(*arguments, **options)

        return stop

    for name in names:
        setattr(os, name, stopping(getattr(os, name)))
