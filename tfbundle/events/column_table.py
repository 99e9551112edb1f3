"""A table of numpy columns, which converts to pandas or Arrow if these are installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfbundle.errors import UnsupportedError
from tfbundle.tensors.arrays import Array

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]
    import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]


class Categories(NamedTuple):
    """A column of few distinct names in many rows: ``names``, and the index (int32) of the name in each row."""

    codes: Array
    names: list[str]


class ColumnTable(Mapping[str, Array]):
    """Columns of equal length by name, in order.

    Numbers are float64 or int64 arrays, and text is an ``object`` array of ``str``, with ``None`` for missing values.
    """

    def __init__(self, columns: Mapping[str, Array | Categories]) -> None:
        self._columns = dict(columns)

    def __getitem__(self, name: str) -> Array:
        column = self._columns[name]
        if not isinstance(column, Categories):
            return column
        names = np.empty(len(column.names), object)
        names[:] = column.names
        values: Array = names[column.codes]
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        rows = self.row_count
        return f"<ColumnTable, {rows} row{'' if rows == 1 else 's'}: {', '.join(self)}>"

    @property
    def row_count(self) -> int:
        """The number of rows."""
        first = next(iter(self._columns.values()), None)
        return 0 if first is None else len(first.codes if isinstance(first, Categories) else first)

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows, as Python numbers and strings."""
        return zip(*(self[name].tolist() for name in self), strict=True)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a ``DataFrame``; names that repeat are categories."""
        try:
            import pandas
        except ImportError:
            raise UnsupportedError("to_pandas requires pandas: pip install pandas") from None
        return pandas.DataFrame(
            {
                name: pandas.Categorical.from_codes(column.codes, column.names)
                if isinstance(column, Categories)
                else column
                for name, column in self._columns.items()
            }
        )

    def to_arrow(self) -> pyarrow.Table:
        """Return a ``Table``; names that repeat are dictionary-encoded, and a column of several types is text."""
        try:
            import pyarrow
        except ImportError:
            raise UnsupportedError("to_arrow requires pyarrow: pip install pyarrow") from None
        columns = {}
        for name, column in self._columns.items():
            if isinstance(column, Categories):
                names = pyarrow.array(column.names, pyarrow.string())
                columns[name] = pyarrow.DictionaryArray.from_arrays(column.codes, names)
            elif column.dtype.hasobject:
                columns[name] = _arrow_of(column.tolist())
            else:
                columns[name] = pyarrow.array(column)
        return pyarrow.table(columns)


def _arrow_of(values: list[Any]) -> Any:
    import pyarrow

    if {type(value) for value in values} <= {bool, type(None)} and any(value is not None for value in values):
        return pyarrow.array(values, pyarrow.bool_())
    texts = [value if value is None or isinstance(value, str) else str(value) for value in values]
    return pyarrow.array(texts, pyarrow.string())
