"""What a check of a checkpoint says: findings, one for each thing that is wrong, in a report."""

from __future__ import annotations

from dataclasses import dataclass, field

from tfbundle.errors import ChecksumError, MissingFileError, TfBundleError, TruncatedError, UnsupportedError


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a checkpoint.

    ``kind`` is a stable word for programs:

    ``"missing"``      a file is not there
    ``"superfluous"``  a file is there that is called like one of the checkpoint's, and is none of them
    ``"wrong-file"``   a file is something else than a checkpoint's
    ``"index"``        the index, or a block of it, is damaged; names may be lost
    ``"entry"``        what the index says of a tensor makes no sense, or some of its slices are absent
    ``"checksum"``     stored bytes are not the ones that were written
    ``"truncated"``    a file ends too early
    ``"overlap"``      two tensors claim the same bytes
    ``"unclaimed"``    no tensor claims these bytes
    ``"unsupported"``  valid, but not readable here, so not checked

    ``offset`` and ``size`` are in bytes of ``path``; what does not apply is ``None``.
    """

    kind: str
    message: str
    path: str | None = None
    tensor: str | None = None
    shard: int | None = None
    offset: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class Report:
    """What a check found: ``ok`` if nothing.

    ``prefix`` and ``format`` say which checkpoint was checked (``None`` where there was none to open), ``tensors`` how
    many names it has, ``nbytes`` how many bytes of tensor data were held against their checksums. ``recoverable``
    counts the tensors that are whole, which ``open_checkpoint(path, salvage=True)`` reads. ``stories`` are sentences
    that say what probably happened to the files, where that can be told.

    Of a frozen graph the format is ``"graph"``, ``tensors`` are its constants, and ``nbytes`` is 0, as a graph has no
    checksums.
    """

    path: str
    prefix: str | None = None
    format: str | None = None
    tensors: int = 0
    nbytes: int = 0
    findings: tuple[Finding, ...] = field(default=())
    recoverable: int = 0
    stories: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def __bool__(self) -> bool:
        return self.ok


def finding_of(error: TfBundleError, otherwise: str) -> Finding:
    """An error as a finding, of the kind ``otherwise`` unless the error is of a kind of its own."""
    kind = otherwise
    if isinstance(error, MissingFileError):
        kind = "missing"
    elif isinstance(error, UnsupportedError):
        kind = "unsupported" if otherwise != "wrong-file" else otherwise
    elif otherwise == "entry" and isinstance(error, ChecksumError):
        kind = "checksum"
    elif otherwise == "entry" and isinstance(error, TruncatedError):
        kind = "truncated"
    return Finding(kind, str(error), error.path, error.tensor, error.shard, error.offset)
