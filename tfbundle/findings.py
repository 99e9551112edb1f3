"""What a check says: findings, one for each thing that is wrong, in a report about each file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tfbundle.errors import ChecksumError, MissingFileError, TfBundleError, TruncatedError, UnsupportedError

KINDS = {
    "missing": "a file is not there",
    "superfluous": "a data file has the name of the checkpoint, and a number that the index does not have",
    "wrong-file": "a file is something else than its name or its place says, such as a web page or a pipe",
    "index": "the index of a checkpoint, or a block of it, is damaged; names may be lost",
    "entry": "the index says of a tensor what cannot be, or some of its slices are not there",
    "checksum": "stored bytes are not the ones that were written",
    "truncated": "a file ends too early",
    "overlap": "two tensors claim the same bytes",
    "unclaimed": "no tensor claims these bytes of a data file, or no block those of an index",
    "record": "a record of an event file or a TFRecord file is damaged, or is no event",
    "graph": "a graph is damaged, or contradicts itself",
    "unreadable": "the operating system refuses to read a file, or a part of it",
    "unsupported": "valid, but not supported, so not checked",
}
"""What a finding may be, by the word for it, which does not change."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a file.

    ``kind`` is a word that does not change, for programs: ``"missing"``, ``"superfluous"``, ``"wrong-file"``,
    ``"index"``, ``"entry"``, ``"checksum"``, ``"truncated"``, ``"overlap"``, ``"unclaimed"``, ``"record"``,
    ``"graph"``, ``"unreadable"`` or ``"unsupported"``. ``tfbundle.findings.KINDS`` says what each means.

    ``offset`` and ``size`` are in bytes of ``path``; what does not apply is ``None``.
    """

    kind: str
    message: str
    path: str | None = None
    tensor: str | None = None
    shard: int | None = None
    offset: int | None = None
    size: int | None = None


class Place(NamedTuple):
    """Bytes in a file of a checkpoint, in the data file ``shard`` of a V2 checkpoint."""

    path: str
    shard: int | None = None
    offset: int | None = None
    size: int | None = None


class Check(NamedTuple):
    """One thing to check of a tensor: ``run`` raises unless ``nbytes`` of its values are what was written.

    ``place`` is where these lie, or ``None`` where no values are checked.
    """

    nbytes: int
    place: Place | None
    run: Callable[[], object]

    def finding(self, error: TfBundleError | OSError, tensor: str, checkpoint: str) -> Finding:
        """Return what ``run`` raised, as a finding about all of the place, unless it is another file that is wrong."""
        path = checkpoint if self.place is None else self.place.path
        if isinstance(error, TfBundleError):
            error.locate(path=path, tensor=tensor)
        found = finding_of(error, "entry", tensor)
        if self.place is None or found.path != path:
            return found
        return replace(found, shard=self.place.shard, offset=self.place.offset, size=self.place.size)


@dataclass(frozen=True)
class CheckedFile:
    """A file that was looked at.

    ``kind`` is ``"index"``, ``"data"`` or ``"v1"`` for the files of a checkpoint, ``"graph"``, ``"events"`` or
    ``"records"``. ``size`` is in bytes, and ``None`` where the file is not there. ``whole`` counts what is in order in
    it: the blocks of an index, the stored tensors and slices in a data file or a V1 file, the nodes of a graph, the
    records. ``padding`` is how many bytes of a data file do nothing but align the tensor behind them.
    """

    path: str
    kind: str
    size: int | None
    whole: int = 0
    padding: int = 0


class CheckedCheckpoint(NamedTuple):
    """A checkpoint that was checked: how many names it has, and how many of these tensors are intact.

    ``ok`` says whether nothing is wrong with its files and its graph.
    """

    prefix: str
    format: str
    tensors: int
    recoverable: int
    ok: bool


@dataclass(frozen=True, repr=False)
class Report:
    """What a check found; ``ok`` says whether nothing is wrong with what was checked.

    ``prefix`` and ``format`` say which checkpoint was checked (``None`` where there was none to open, or several),
    ``tensors`` how many names it has, ``nbytes`` how many bytes of values and records were compared with their
    checksums. ``recoverable`` counts the tensors that are intact, which ``open_checkpoint(path, salvage=True)`` reads.
    ``causes`` are sentences that say what probably happened to the files, where their bytes show it. ``files`` has each
    file that was looked at, and ``checkpoints`` each checkpoint; ``tensors`` and ``recoverable`` are sums of these.

    ``not_checked`` are paths of which ``ok`` says nothing: checkpoints and SavedModels that lie in the folder or below
    it and were not read, folders below it that cannot be listed, and a ``fingerprint.pb`` beside an index that is too
    large to be hashed.

    Of files that are no checkpoint ``format`` is ``"graph"``, ``"events"`` or ``"records"``. The tensors of a graph are
    its constants, and ``nbytes`` is 0, as a graph has no checksums.
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
        """Whether nothing is wrong."""
        return not self.findings

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        kinds = Counter(finding.kind for finding in self.findings)
        state = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "ok"
        what = f"{self.tensors} tensor{'' if self.tensors == 1 else 's'}, {self.nbytes} bytes verified"
        others = f", {len(self.not_checked)} not checked" if self.not_checked else ""
        return f"<Report {self.path!r}: {state}; {what}{others}>"


def finding_of(error: TfBundleError | OSError, otherwise: str, tensor: str | None = None) -> Finding:
    """Return an error as a finding, of the kind ``otherwise`` unless the error is of a kind of its own.

    ``tensor`` is what was to be read, which the system's errors do not say.
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
