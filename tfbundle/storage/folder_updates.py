"""Some files of a folder replaced by others, all of them or none.

A local folder is made again next to its place, with links to the files that stay (``replacing_folders``). An object
store cannot replace many objects in one step. There, new objects get names that nothing has, and one object, the
``top``, states which of them count::

    step                                                               counts   a stop leaves, beside what counts
    0  all is written to a folder of this machine                      old      nothing
    1  _pending.json is sent: names that are new, or count no longer   old      _pending.json
    2  the new objects are sent, several at a time                     old      some of the new objects
    3  the top is sent                                                 new      objects that count no longer
    4  those are removed                                               new      _pending.json
    5  _pending.json is removed                                        new      nothing

If a step fails, the new objects are removed. If the process is stopped, ``finish_update`` removes what does not count
when the next one begins.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from tfbundle.errors import FormatError, MissingFileError
from tfbundle.storage.base import Location
from tfbundle.storage.folders import LocalLocation
from tfbundle.storage.remote_folders import RemoteLocation
from tfbundle.storage.replacing_folders import folder_replacement, link_tree
from tfbundle.storage.uploads import send

_PENDING = "_pending.json"
_LARGEST = 1 << 28
# Requests at a time.
_THREADS = 8


def check_updatable(location: Location) -> None:
    """Raise ``UnsupportedError`` for a server that is read only, without a request."""
    if isinstance(location, RemoteLocation):
        location.objects.check_writable(location.path)


@contextmanager
def folder_update(location: Location, top: str, removed: Collection[str]) -> Iterator[Location]:
    """Yield a new folder of this machine, whose files become those of ``location`` when the block ends well.

    The file ``top`` may replace one; all others must have new names. Other files stay, except those ``removed``. Names
    are relative, with slashes. Raises the errors of ``folder_replacement``, and ``OSError`` if a store fails; then the
    old files are there.
    """
    if isinstance(location, RemoteLocation):
        with _prefix_update(location, top, removed) as folder:
            yield folder
        return
    with folder_replacement(location) as new:
        if location.is_folder():
            link_tree(location, new, without=[location.join(*name.split("/")) for name in (*removed, top)])
        yield new


@contextmanager
def _prefix_update(location: RemoteLocation, top: str, removed: Collection[str]) -> Iterator[Location]:
    with tempfile.TemporaryDirectory() as folder:
        yield LocalLocation(folder)
        paths = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]
        names = {os.path.relpath(path, folder).replace(os.sep, "/"): path for path in sorted(paths)}
        last = names.pop(top)
        goal, pending = location.join(top), location.join(_PENDING)
        before = goal.objects.facts(goal.key)
        pending.objects.upload(pending.key, io.BytesIO(json.dumps([*names, *removed]).encode()))
        try:
            _send(location, names)
            send(last, goal)
        except BaseException:
            # If the answer to the last request was lost, the new objects may count.
            with suppress(OSError):
                if goal.objects.facts(goal.key) == before:
                    _remove(location, [*names, _PENDING])
            raise
        with suppress(OSError):  # The next update removes what is left.
            _remove(location, [*removed, _PENDING])


def finish_update(location: Location, counting: Collection[str], is_name: Callable[[str], bool]) -> Location:
    """Remove the objects that a stopped update left in a store, except those ``counting``; return the folder as it is.

    Raises ``FormatError`` if a name in ``_pending.json`` is not one for which ``is_name`` is true, and ``OSError``.
    """
    if not isinstance(location, RemoteLocation) or _PENDING not in location.list():
        return location
    pending = location.join(_PENDING)
    try:
        names = json.loads(pending.read(_LARGEST))
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) and is_name(name) for name in names):
        raise FormatError(f"{pending} does not have the names of objects; remove it", path=pending.path)
    _remove(location, [*(name for name in names if name not in counting), _PENDING])
    return location.current()


def _send(location: RemoteLocation, names: dict[str, str]) -> None:
    with ThreadPoolExecutor(_THREADS) as threads:
        futures = [threads.submit(send, path, location.join(name)) for name, path in names.items()]
        try:
            for future in futures:
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _remove(location: RemoteLocation, names: Collection[str]) -> None:
    """Remove objects, the last one only if all others are gone."""
    *others, last = names

    def remove(name: str) -> None:
        target = location.join(name)
        with suppress(MissingFileError):
            target.objects.delete(target.key)

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(remove, others))
    remove(last)
