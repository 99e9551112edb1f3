"""The face of this room: one function that checks whatever a path holds.

A folder is checked for all that TensorFlow leaves of a run (``runs``), any other path for what it means (``models``): a
checkpoint with its graph, a SavedModel, a graph, event files and other records. Where there are checksums they are
compared, and what has none is read to its end. Nothing is needed to start with, so that a path to an HTML page or to
nothing at all gives a report too.
"""

from __future__ import annotations

from tfbundle.checkpoint.find.names import Format
from tfbundle.errors import UnsupportedError
from tfbundle.findings import Report, finding_of
from tfbundle.progress import Progress
from tfbundle.storage.locations import StrPath, locate
from tfbundle.verification.models import verify_model
from tfbundle.verification.runs import verify_folder


def verify(
    path: StrPath, *, format: Format | None = None, all: bool = False, progress: Progress | None = None
) -> Report:
    """Check every checksum of a checkpoint, and everything else that its files show.

    ``path`` is a checkpoint's prefix or one of its files, a SavedModel, a graph, an event file or another file of
    records (compressed or not), or a folder. The ``.meta`` beside a checkpoint and the graphs and assets of a
    SavedModel are checked with it. A graph has no checksums; its constants are decoded. ``format`` is ``"v1"`` or
    ``"v2"``, for checkpoints that share a prefix (otherwise the V2 one is checked), and then nothing but checkpoints is
    checked.

    A folder means a run: the checkpoint that ``open_checkpoint`` opens, if there is one, all event files in the folder
    and below it, and ``graph.pbtxt``. Where several checkpoints lie in it and no state file says which is meant, all
    are checked. Files that are not what their names say, such as web pages, are findings, too. Other checkpoints in the
    folder and below it are listed in ``Report.not_checked``; ``all=True`` checks them too, and ``Report.checkpoints``
    says which are intact.

    ``progress`` is called with the bytes done and the bytes there are, or of a graph alone with the constants. Damage
    of any kind is a finding, and so is what the operating system cannot read, or that there is nothing to check.
    """
    try:
        location = locate(path)
    except UnsupportedError as error:  # An URL that is not read.
        return Report(str(error.path), findings=(finding_of(error, "unsupported"),))
    if location.is_folder() and (format is None or all):
        return verify_folder(location, format, all, progress)
    return verify_model(location, format, progress or _ignore)


def _ignore(done: int, total: int) -> None:
    """Do nothing."""
