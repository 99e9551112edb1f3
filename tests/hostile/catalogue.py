"""The list of all cases, to which the modules beside this one add theirs.

A case is a function that writes files into a folder and says what reading them has to give. Its name is that of the
test, its title the line in a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Kind = Literal[
    "checkpoint", "folder", "foreign", "records", "events", "graph", "program", "slots", "state", "surgery", "self-test"
]


@dataclass(frozen=True)
class Wanted:
    """What reading has to give.

    ``path`` is what is read. ``values`` have to be read with these bits and ``refused`` has to be refused; together
    they are all the names that are listed. Where ``opens`` is false no name may be listed at all. For other kinds of
    files than checkpoints, ``values`` is what must come out, by a name of the case's own, or nothing to leave it open.
    """

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    opens: bool = True


class Case(NamedTuple):
    """A case: what kind of reading it is for, the function that writes it, and what it is, in a few words."""

    name: str
    kind: Kind
    build: Callable[[Path], Wanted]
    title: str


CASES: dict[str, Case] = {}


def add(name: str, kind: Kind, build: Callable[[Path], Wanted], title: str = "") -> None:
    """Add a case; its name must be new."""
    assert name not in CASES, name
    CASES[name] = Case(name, kind, build, title or name.replace("-", " "))


def case(kind: Kind, title: str = "") -> Callable[[Callable[[Path], Wanted]], Callable[[Path], Wanted]]:
    """Add a case that is called as its function is."""

    def keep(build: Callable[[Path], Wanted]) -> Callable[[Path], Wanted]:
        add(build.__name__.replace("_", "-"), kind, build, title)
        return build

    return keep
