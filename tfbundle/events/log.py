"""The event files of one or more runs, opened with one call."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tfbundle.events.by_name import ByName, Names, choose
from tfbundle.events.file import Options
from tfbundle.events.files import find_runs
from tfbundle.events.run import Run
from tfbundle.events.series import ScalarSeries
from tfbundle.events.unusual import UnusualBudget
from tfbundle.notebook import Table, render, safe_view
from tfbundle.progress import Progress
from tfbundle.storage.locations import StorageOptions, StrPath, locate, with_options

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]
    import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]

    from tfbundle.events.column_table import ColumnTable
    from tfbundle.events.over_runs import Group


class EventLog:
    """The runs below a path, by name. The files of a run are read on first access.

    ``unreadable`` maps each folder below the path that cannot be listed to the error.
    """

    def __init__(self, path: StrPath, options: Options | None = None) -> None:
        """Find the runs at ``path``; raises the errors of ``open_events``."""
        self._location = locate(path)
        self.path = self._location.path
        self.unreadable: dict[str, OSError] = {}
        self._options = options or Options()
        self._unusual = UnusualBudget()
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()
        self._look()

    @safe_view
    def _repr_html_(self) -> str:
        rows = ((name, len(run.paths), run.size) for name, run in self.runs.items())
        table = Table(("run", "files", "bytes"), rows, len(self.runs), "run")
        return render(f"EventLog {self._location}", {"runs": len(self.runs)}, table)

    def __repr__(self) -> str:
        return f"<EventLog {self.path!r}, {len(self._runs)} run{'' if len(self._runs) == 1 else 's'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickling finds the files and reads them again.
        return EventLog, (self._location, self._options)

    @property
    def runs(self) -> ByName[Run]:
        """The runs by name: the folder's path relative to ``path``, and ``"."`` for ``path`` itself.

        ``runs.select`` accepts globs, compiled patterns and functions.
        """
        return ByName("run", self._runs, self._runs.__getitem__)

    def load(self, progress: Progress | None = None, *, runs: Names = None) -> None:
        """Read all files now, or those of the selected ``runs``, instead of on first access.

        ``progress`` is called with the number of bytes read so far and the total. ``runs`` is a name, a glob, a
        compiled pattern, a predicate on names, or several of these. Raises ``KeyError`` if one of them matches no run.
        """
        chosen = list(self.runs.select(runs).values())
        total = sum(run.size for run in chosen)
        done = 0

        def advance(size: int) -> None:
            nonlocal done
            done += size
            if progress is not None:
                progress(done, total)

        for run in chosen:
            run.load(advance)

    def refresh(self) -> bool:
        """Read appended data, find files that are new, replaced or deleted, and return whether anything changed.

        Afterwards the log equals one that is opened now. Series that were returned earlier do not change.
        """
        return self._look()

    def _look(self) -> bool:
        with self._lock:
            found, self.unreadable = find_runs(self._location.current())
            changed = False
            runs = {}
            for name, files in found.items():
                run = self._runs.get(name)
                if run is None:
                    run = Run(name, files, self._options, self._unusual)
                    changed = True
                else:
                    changed |= run.refresh(files)
                runs[name] = run
            for name in self._runs.keys() - runs.keys():
                self._runs[name].close()
                changed = True
            self._runs = runs
            return changed

    def close(self) -> None:
        """Close the files. Arrays stay valid; reading anything that was not read before raises ``ValueError``."""
        for run in self._runs.values():
            run.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _scalars(self, runs: Names, tags: Names) -> list[tuple[str, ScalarSeries]]:
        found = [(run, run.scalars) for run in self.runs.select(runs).values()]
        there = dict.fromkeys(tag for _, scalars in found for tag in scalars)
        chosen = dict.fromkeys(choose("tag", there, tags))
        return [(run.name, scalars[tag]) for run, scalars in found for tag in scalars if tag in chosen]

    def to_pandas(self, *, wide: bool = False, runs: Names = None, tags: Names = None) -> pandas.DataFrame:
        """Return the scalars as a table: all of them, or those of the selected ``runs`` and ``tags``.

        A long table has a row for each point, with the columns ``run``, ``tag``, ``step``, ``wall_time`` and ``value``
        (float64). A wide one has a row for each run and step, and a column for each tag. ``runs`` and ``tags`` are a
        name, a glob, a compiled pattern, a predicate on names, or several of these. Raises ``KeyError`` if one of them
        matches nothing, and ``UnsupportedError`` for complex numbers or if pandas is not installed.
        """
        from tfbundle.events import tables

        return tables.to_pandas(self._scalars(runs, tags), wide=wide)

    def to_arrow(self, *, wide: bool = False, runs: Names = None, tags: Names = None) -> pyarrow.Table:
        """Return the scalars as an Arrow table, with the columns and arguments of ``to_pandas``."""
        from tfbundle.events import tables

        return tables.to_arrow(self._scalars(runs, tags), wide=wide)

    def aggregate(self, group: Group, *, tags: Names = None) -> ColumnTable:
        """Return the mean and standard deviation of scalars by step, over groups of runs.

        ``group`` is a regular expression that must match the whole name of a run. The name of the group is the text
        captured by the parentheses (joined by ``/``), or the expression itself if it has none. Alternatively, ``group``
        is a function that maps the name of a run to the name of its group, or to ``None`` to leave the run out.
        ``tags`` selects scalars as in ``to_pandas``; by default all are included.

        The columns are ``group``, ``tag``, ``step`` and ``count`` (int64), ``mean`` and ``std`` (float64), with a row
        for each group, tag and step. If a run has several points at a step, the last one counts. ``count`` is the
        number of runs that have a number at the step; NaN is left out. ``std`` is the sample standard deviation
        (``ddof=1``), and NaN for fewer than two numbers.

        Raises ``KeyError`` if no run is in a group or ``tags`` match nothing, ``ValueError`` for an invalid regular
        expression, and ``UnsupportedError`` for complex numbers.
        """
        from tfbundle.events.over_runs import aggregate_runs

        return aggregate_runs(self._runs.values(), group, tags)

    def hparams_table(self, tags: Names = None) -> ColumnTable:
        """Return the hyperparameters and the last values of the metrics of each session of the hparams plugin.

        The columns are ``run``, ``group`` (the session group), ``status``, ``start_time``, ``end_time`` (seconds since
        1970, NaN if not known), one for each hyperparameter, and one for each metric. A metric of a run below the
        session's run is named by that run and the tag: ``validation/epoch_loss``. ``tags`` selects metrics by this
        name, or else by tag; by default, those that the experiments list are included, or all scalars if none are
        listed.

        A hyperparameter is float64, bool, or an ``object`` array, with NaN or ``None`` for sessions that lack it.
        Metrics are float64. A name that is already taken gets the suffix " (hparam)" or " (metric)".

        Raises ``KeyError`` for tags that no session has, ``FormatError`` for invalid data of the plugin, and
        ``UnsupportedError`` for complex numbers.
        """
        from tfbundle.events.hparams_table import hparams_table

        return hparams_table(self._runs.values(), tags)


def open_events(
    path: StrPath,
    *,
    purge: bool = False,
    verify: bool = True,
    salvage: bool = False,
    storage_options: StorageOptions | None = None,
) -> EventLog:
    """Open the event files at ``path``: one file, the folder of a run, or a tree of runs.

    All points are kept, in the order of the files. With ``purge``, points that TensorBoard's data server drops after a
    restart are dropped: in each tag, every point followed by one with the same or a smaller step. All checksums are
    verified, or none with ``verify=False``. A log may be used from any number of threads.

    Raises ``MissingFileError`` if ``path`` does not exist. A damaged file raises ``ChecksumError`` or ``FormatError``
    when its run is first read, and a file that the system fails to read raises ``OSError``. With ``salvage``, damaged
    and unreadable data is left out instead (``run.losses``). An incomplete last record is not an error
    (``run.truncations``).

    Compressed files are read too, although TensorFlow does not write any. To read an image, or any other value that is
    not a number, the file is decompressed up to that value, so reading all of them in order decompresses the file once
    more. The first read that goes backwards makes a temporary copy for random access, about as large as the file. A
    compressed file that has grown is read again in full by ``refresh``.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    path = with_options(path, storage_options)
    return EventLog(path, Options(purge=purge, verify=verify, salvage=salvage))
