"""What a page shows, as plain values: collected by the modules of this room, drawn by its template and script.

Every text in here may come from a file. The template escapes each of them, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tfbundle.tensors.statistics import Statistics


class Stored(NamedTuple):
    """Bytes of a tensor: ``size`` bytes at ``offset`` of the file with the number ``file``."""

    file: int
    offset: int
    size: int


class TensorFacts(NamedTuple):
    """One tensor.

    ``state`` is ``"intact"`` (its checksum matches), ``"read"`` (the format has no checksums), or ``"damaged"``
    (``problem`` is why). ``parameters`` is the number of its elements, 0 for strings. ``owner`` is the number of the
    variable whose slot this is, ``variable`` its name in TensorFlow 2, ``texts`` the first strings of a string tensor,
    and ``values`` the numbers of a tiny tensor.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    parameters: int
    nbytes: int
    state: str
    role: str = ""
    variable: str | None = None
    owner: int | None = None
    places: tuple[Stored, ...] = ()
    statistics: Statistics | None = None
    texts: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class Tensors:
    """The tensors of a checkpoint or graph, in stored order, and their files; ``left_out`` counts the rest."""

    path: str
    format: str
    files: tuple[str, ...]
    tensors: tuple[TensorFacts, ...]
    has_statistics: bool = True
    left_out: int = 0


@dataclass(frozen=True)
class Notice:
    """A finding of a check, a scan, or the collection itself: how bad, in one word what, and in one sentence why.

    ``level`` is ``"error"``, ``"warning"`` or ``"note"``.
    """

    level: str
    kind: str
    message: str
    place: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Table:
    """A small table: headings, which of them are numbers, and rows of text."""

    headings: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0

    @classmethod
    def of(cls, columns: Mapping[str, bool], rows: Sequence[tuple[str, ...]], most: int = 1000) -> Table:
        """Return a table of the first ``most`` rows; ``columns`` are the headings, and whether each is of numbers."""
        return cls(tuple(columns), tuple(columns.values()), tuple(rows[:most]), max(0, len(rows) - most))


@dataclass(frozen=True)
class Facts:
    """Labels and values, in order."""

    title: str
    rows: tuple[tuple[str, str], ...]
    tables: tuple[tuple[str, Table], ...] = ()


class Nodes(NamedTuple):
    """The nodes of a graph, or of the ``function`` with this name, as columns.

    Node ``i`` has the next ``counts[i]`` of the ``sources``: numbers of nodes, or their complements for control inputs,
    with the names of their ``outputs``, empty for the first. ``calls`` are names of functions by the number of a node,
    and ``start`` is the node that is shown first.
    """

    function: str
    names: list[str]
    ops: list[str]
    counts: list[int]
    sources: list[int]
    outputs: list[str]
    calls: Mapping[int, tuple[str, ...]]
    start: int


@dataclass(frozen=True)
class Drawing:
    """The nodes of one graph and of its functions; ``path`` is the argument of the command that shows it.

    ``nodes_left_out`` is the number of nodes of the graph itself if there is no space for them, and
    ``functions_left_out`` that of functions without space.
    """

    title: str
    path: str
    bodies: tuple[Nodes, ...]
    nodes_left_out: int = 0
    functions_left_out: int = 0


@dataclass(frozen=True)
class Curve:
    """One series of numbers of a run; ``total`` is its length before it was thinned out."""

    run: str
    steps: list[int]
    times: list[float]
    values: list[float | None]
    total: int


@dataclass(frozen=True)
class Verdict:
    """The result of a check in a line; ``level`` is ``"ok"``, or that of a ``Notice``."""

    level: str
    label: str
    text: str


@dataclass(frozen=True)
class Page:
    """Everything that one page shows; empty parts are not drawn."""

    path: str
    title: str
    description: str
    version: str
    verdicts: tuple[Verdict, ...] = ()
    notices: tuple[Notice, ...] = ()
    notices_left_out: int = 0
    advice: tuple[str, ...] = ()
    summary: tuple[tuple[str, str], ...] = ()
    tensors: Tensors | None = None
    checkpoints: Table | None = None
    contents: Table | None = None
    charts: Mapping[str, tuple[Curve, ...]] = field(default_factory=dict)
    charts_left_out: int = 0
    hparams: Table | None = None
    graphs: tuple[Facts, ...] = ()
    changes: Facts | None = None
    drawings: tuple[Drawing, ...] = ()
