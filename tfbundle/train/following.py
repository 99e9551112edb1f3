"""New checkpoints of a folder, as training writes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tfbundle.storage.locations import StrPath, locate
from tfbundle.train.reading import latest_checkpoint

# How long to wait before a folder is looked at again.
_SECONDS = 1.0


def checkpoints_iterator(
    checkpoint_dir: StrPath,
    min_interval_secs: float = 0,
    timeout: float | None = None,
    timeout_fn: Callable[[], object] | None = None,
) -> Iterator[str]:
    """Yield the prefix of the latest checkpoint in a folder, again and again when there is another.

    The folder is looked at once a second, and ``min_interval_secs`` after the last one at the earliest; those in
    between are missed. If there is none for ``timeout`` seconds, it is the end, unless ``timeout_fn`` returns something
    false. ``timeout_fn`` is also asked after each checkpoint. The folder need not be there yet.

    Raises ``FormatError`` for a damaged state file, where TensorFlow waits.
    """
    folder = locate(checkpoint_dir)
    latest: str | None = None
    while True:
        found = _wait(folder, latest, None if timeout is None else time.time() + timeout)
        if found is not None:
            latest = found
            earliest = time.time() + min_interval_secs
            yield found
            if (left := earliest - time.time()) > 0:
                time.sleep(left)
        elif timeout_fn is None:
            return
        if timeout_fn is not None and timeout_fn():
            return


def _wait(folder: StrPath, known: str | None, end: float | None) -> str | None:
    while (found := latest_checkpoint(folder)) is None or found == known:
        if end is not None and time.time() + _SECONDS > end:
            return None
        time.sleep(_SECONDS)
    return found
