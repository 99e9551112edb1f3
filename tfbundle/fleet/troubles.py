"""The second table of event data: a row for each damaged file, or part of one, that was left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from tfbundle.errors import TfBundleError, UnsupportedError
from tfbundle.events.tables import as_text
from tfbundle.findings import finding_of

if TYPE_CHECKING:
    import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]


class EventTrouble(NamedTuple):
    """Something that could not be read.

    ``path`` is the file, or a folder that cannot be listed, and ``run`` the run that it belongs to. ``tag`` is set if
    only one tag is affected. ``kind`` is a word of ``tfbundle.findings.KINDS``. ``offset`` and ``size`` are the bytes
    of the file that were left out.
    """

    path: str
    run: str | None
    tag: str | None
    kind: str
    message: str
    offset: int | None = None
    size: int | None = None


class EventTroubles(Sequence[EventTrouble]):
    """A list of troubles that ``event_batches`` fills while its batches are read."""

    def __init__(self, troubles: Iterable[EventTrouble] = ()) -> None:
        """Start with these troubles."""
        self._rows = list(troubles)

    @overload
    def __getitem__(self, index: int) -> EventTrouble: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[EventTrouble]: ...
    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[EventTrouble]:
        return iter(self._rows)

    def __repr__(self) -> str:
        return f"<EventTroubles, {len(self)} row{'' if len(self) == 1 else 's'}>"

    def extend(self, troubles: Iterable[EventTrouble]) -> None:
        """Append rows."""
        self._rows.extend(troubles)

    def to_arrow(self) -> pyarrow.Table:
        """Return a table with a column for each field of ``EventTrouble``."""
        pyarrow = import_pyarrow()
        text, number = pyarrow.string(), pyarrow.int64()
        types = (text, text, text, text, text, number, number)
        rows = [[as_text(cell) if isinstance(cell, str) else cell for cell in row] for row in self._rows]
        columns = zip(*rows, strict=True) if rows else [()] * len(types)
        arrays = [pyarrow.array(column, kind) for column, kind in zip(columns, types, strict=True)]
        return pyarrow.table(arrays, list(EventTrouble._fields))


def trouble_of(
    error: TfBundleError | OSError,
    path: str,
    run: str | None,
    tag: str | None = None,
    offset: int | None = None,
    size: int | None = None,
) -> EventTrouble:
    """Return an error as a row."""
    finding = finding_of(error, "record")
    return EventTrouble(finding.path or path, run, tag, finding.kind, finding.message, offset, size)


def import_pyarrow() -> Any:
    """Return pyarrow; raises ``UnsupportedError``, which names the extra, if it is not installed."""
    try:
        import pyarrow
    except ImportError:
        raise UnsupportedError('tables of many runs require the extra "arrow": pip install "tfbundle[arrow]"') from None
    return pyarrow
