"""The result of a check: a report on each file, with one finding for each problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tfbundle.errors import ChecksumError, MissingFileError, TfBundleError, TruncatedError, UnsupportedError
from tfbundle.notebook import Table, render
from tfbundle.plurals import plural
from tfbundle.printable import count_of

KINDS = {
    "missing": "a file does not exist",
    "superfluous": "a data file has the checkpoint's name, but a shard number that the index does not list",
    "wrong-file": "a file is not what its name or place indicates; it is, for example, a web page or a pipe",
    "index": "the index of a checkpoint, or a block of it, is damaged; names may be lost",
    "entry": "the index entry of a tensor is invalid, or some of its slices are missing",
    "checksum": "stored bytes do not match their checksum",
    "truncated": "a file is truncated",
    "overlap": "two tensors claim the same bytes",
    "unclaimed": "bytes of a data file belong to no tensor, or bytes of an index to no block",
    "record": "a record of an event file or TFRecord file is damaged, or is not an event",
    "graph": "a graph is damaged or inconsistent",
    "unreadable": "the operating system cannot read a file, or part of it",
    "unsupported": "a file is valid but not supported, and was not checked",
}
"""The meaning of each kind of finding, by its stable word."""

RENEWED = ("index", "checksum", "truncated", "record", "graph")
"""Kinds of findings that a new copy of the file fixes, and whose messages give no advice."""


@dataclass(frozen=True)
class Finding:
    """One problem with a file.

    ``kind`` is a stable word for programs: ``"missing"``, ``"superfluous"``, ``"wrong-file"``,
    ``"index"``, ``"entry"``, ``"checksum"``, ``"truncated"``, ``"overlap"``, ``"unclaimed"``, ``"record"``,
    ``"graph"``, ``"unreadable"`` or ``"unsupported"``. ``tfbundle.findings.KINDS`` describes each.

    ``offset`` and ``size`` are in bytes of ``path``. Fields that do not apply are ``None``.
    """

    kind: str
    message: str
    path: str | None = None
    tensor: str | None = None
    shard: int | None = None
    offset: int | None = None
    size: int | None = None


class Place(NamedTuple):
    """A range of bytes in a file of a checkpoint; for a V2 checkpoint, in the data file ``shard``."""

    path: str
    shard: int | None = None
    offset: int | None = None
    size: int | None = None


class Check(NamedTuple):
    """One check of a tensor: ``run`` raises unless ``nbytes`` bytes of its values match their checksum.

    ``place`` is where the values are stored, or ``None`` if no values are checked.
    """

    nbytes: int
    place: Place | None
    run: Callable[[], object]

    def finding(self, error: TfBundleError | OSError, tensor: str, checkpoint: str) -> Finding:
        """Return the error of ``run`` as a finding about the whole place, unless the error is about another file."""
        path = checkpoint if self.place is None else self.place.path
        if isinstance(error, TfBundleError):
            error.locate(path=path, tensor=tensor)
        found = finding_of(error, "entry", tensor)
        if self.place is None or found.path != path:
            return found
        return replace(found, shard=self.place.shard, offset=self.place.offset, size=self.place.size)


@dataclass(frozen=True)
class CheckedFile:
    """A file that was checked.

    ``kind`` is ``"index"``, ``"data"`` or ``"v1"`` for the files of a checkpoint, ``"graph"``, ``"events"`` or
    ``"records"``. ``size`` is in bytes, or ``None`` if the file does not exist. ``whole`` counts its intact contents:
    the blocks of an index, the stored tensors and slices of a data file or V1 file, the nodes of a graph, or the
    records. ``padding`` is the number of bytes of a data file that only align the tensors after them.
    """

    path: str
    kind: str
    size: int | None
    whole: int = 0
    padding: int = 0


class CheckedCheckpoint(NamedTuple):
    """A checkpoint that was checked: the number of its tensors, and how many of them are intact.

    ``ok`` is whether its files and its graph have no problems.
    """

    prefix: str
    format: str
    tensors: int
    recoverable: int
    ok: bool


@dataclass(frozen=True, repr=False)
class Report:
    """The result of a check; ``ok`` is whether no problem was found.

    ``prefix`` and ``format`` identify the checkpoint that was checked (``None`` if none could be opened, or if there
    are several). ``tensors`` is the number of its tensors, and ``nbytes`` how many bytes of values and records match
    their checksums. ``recoverable`` is the number of intact tensors, which ``open_checkpoint(path, salvage=True)``
    reads. ``causes`` are sentences about what probably happened to the files, if their bytes reveal it. ``files`` lists
    each file that was checked, and ``checkpoints`` each checkpoint; ``tensors`` and ``recoverable`` are their totals.

    ``not_checked`` lists paths that ``ok`` does not cover: checkpoints and SavedModels in the folder and its subfolders
    that were not read, subfolders that cannot be listed, and a ``fingerprint.pb`` whose index is too large to hash.

    For files that are not checkpoints, ``format`` is ``"graph"``, ``"events"`` or ``"records"``. The tensors of a graph
    are its constants, and ``nbytes`` is 0, because a graph has no checksums.
    """

    path: str
    prefix: str | None = None
    format: str | None = None
    tensors: int = 0
    nbytes: int = 0
    findings: tuple[Finding, ...] = field(default=())
    recoverable: int = 0
    causes: tuple[str, ...] = field(default=())
    files: tuple[CheckedFile, ...] = field(default=())
    checkpoints: tuple[CheckedCheckpoint, ...] = field(default=())
    not_checked: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether there are no findings."""
        return not self.findings

    def __bool__(self) -> bool:
        return self.ok

    def _repr_html_(self) -> str:
        rows = ((one.kind, one.tensor or "", one.message) for one in self.findings)
        return render(
            f"Report {self.path}",
            {
                "result": verdict(self),
                "format": self.format,
                "tensors": self.tensors,
                "intact": self.recoverable,
                "verified bytes": self.nbytes,
                "not checked": len(self.not_checked) or None,
            },
            Table(("cause",), ((cause,) for cause in self.causes), len(self.causes), "cause"),
            Table(("kind", "tensor", "finding"), rows, len(self.findings), "finding"),
        )

    def __repr__(self) -> str:
        kinds = Counter(finding.kind for finding in self.findings)
        state = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or verdict(self)
        what = f"{plural(self.tensors, 'tensor')}, {plural(self.nbytes, 'byte')} verified"
        others = f", {len(self.not_checked)} not checked" if self.not_checked else ""
        return f"<Report {self.path!r}: {state}; {what}{others}>"


def verdict(report: Report) -> str:
    """Return the result of a check in a few words, which are "ok" only if everything at the path was checked."""
    if report.findings:
        return count_of(len(report.findings), "finding")
    return "partly checked, no problem found" if report.not_checked else "ok"


def finding_of(error: TfBundleError | OSError, otherwise: str, tensor: str | None = None) -> Finding:
    """Return an error as a finding, of the kind ``otherwise`` unless the error determines the kind.

    ``tensor`` is the tensor that was being read, which errors of the operating system do not name.
    """
    if not isinstance(error, TfBundleError):
        path = error.filename
        whose = "" if tensor is None else f"tensor {tensor!r}: "
        return Finding("unreadable", f"{whose}{path or 'a file'} cannot be read: {error.strerror}", path, tensor)
    kind = otherwise
    if isinstance(error, MissingFileError):
        kind = "missing"
    elif isinstance(error, UnsupportedError):
        kind = "unsupported" if otherwise != "wrong-file" else otherwise
    elif otherwise in ("entry", "record") and isinstance(error, ChecksumError):
        kind = "checksum"
    elif otherwise == "entry" and isinstance(error, TruncatedError):
        kind = "truncated"
    return Finding(kind, str(error), error.path, error.tensor, error.shard, error.offset)
