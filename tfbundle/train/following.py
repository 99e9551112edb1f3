"""New checkpoints of a folder, as training writes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tfbundle.storage.locations import StrPath, locate
from tfbundle.train.reading import latest_checkpoint

# The interval, in seconds, at which a folder is examined.
_SECONDS = 1.0


def checkpoints_iterator(
    checkpoint_dir: StrPath,
    min_interval_secs: float = 0,
    timeout: float | None = None,
    timeout_fn: Callable[[], object] | None = None,
) -> Iterator[str]:
    """Yield the prefix of the latest checkpoint in a folder, each time that there is a new one.

    The folder is examined once a second, and not before ``min_interval_secs`` have passed since the last checkpoint;
    those in between are skipped. If there is no new one for ``timeout`` seconds, the iteration ends, unless
    ``timeout_fn`` returns something false. ``timeout_fn`` is also called after each checkpoint. The folder may not
    exist yet.

    Raises ``FormatError`` for a damaged state file, while TensorFlow waits.
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
