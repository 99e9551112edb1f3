"""The entry point of verification: one function that checks any path.

For a folder, everything that TensorFlow writes in a run is checked (``runs``). Any other path (``models``) is a
checkpoint with its graph, a SavedModel, a graph, an event file or another file of records. Checksums are compared if
there are any; other files are read to the end. Even an HTML page or a path that does not exist yields a report.
"""

from __future__ import annotations

from collections.abc import Container

from tfbundle.checkpoint.find.names import Format
from tfbundle.errors import UnsupportedError
from tfbundle.findings import Report, finding_of
from tfbundle.progress import Progress
from tfbundle.storage.locations import StorageOptions, StrPath, locate, with_options
from tfbundle.verification.models import verify_model
from tfbundle.verification.runs import verify_folder
from tfbundle.verification.values import Bytes


def verify(
    path: StrPath,
    *,
    format: Format | None = None,
    all: bool = False,
    progress: Progress | None = None,
    storage_options: StorageOptions | None = None,
) -> Report:
    """Verify every checksum of a checkpoint, and check its files for all other problems.

    ``path`` is a checkpoint's prefix or one of its files, a SavedModel, a graph, an event file or another file of
    records (compressed or not), or a folder. The ``.meta`` file of a checkpoint and the graphs and assets of a
    SavedModel are checked with it. A graph has no checksums; its constants are decoded. ``format``, ``"v1"`` or
    ``"v2"``, selects one of two checkpoints that share a prefix (by default the V2 one), and restricts the check to
    checkpoints.

    A folder is checked as a run: the checkpoint that ``open_checkpoint`` opens, if there is one, all event files in the
    folder and its subfolders, and ``graph.pbtxt``. If it has several checkpoints and no state file, all of them are
    checked. Files whose content does not match their names, such as web pages, are findings, too. Other checkpoints in
    the folder and its subfolders are listed in ``Report.not_checked``. With ``all=True`` they are checked, too, and
    ``Report.checkpoints`` states which are intact.

    ``progress`` is called with the bytes done and the total number of bytes, or for a graph alone, with the numbers of
    constants. Damage of any kind is a finding; so is a file that the operating system cannot read, or a path with
    nothing to check.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    path = with_options(path, storage_options)
    return verify_rest(path, frozenset(), format=format, all=all, progress=progress)


def verify_rest(
    path: StrPath,
    verified: Container[Bytes],
    *,
    format: Format | None = None,
    all: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Do as ``verify``, but do not read bytes again that the caller has just read and found to be intact."""
    try:
        location = locate(path)
    except UnsupportedError as error:  # A URL that is not supported.
        return Report(str(error.path), findings=(finding_of(error, "unsupported"),))
    if location.is_folder() and (format is None or all):
        return verify_folder(location, format, all, progress, verified)
    return verify_model(location, format, progress or _ignore, verified)


def _ignore(done: int, total: int) -> None:
    """Do nothing."""
