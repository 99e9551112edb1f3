"""Files that are written to an object store: staged on this machine, and sent once all of them are complete.

An object appears whole or not at all, and has no other name before, so that a temporary file takes the place of the
temporary name. Nothing is sent before everything is written, and a large file is sent in parts that the store drops if
one of them fails. The order is that of local files: data first, and the index, which makes them count, last.

Two objects cannot be replaced in one step, so that a checkpoint that is replaced takes the detour of ``staging``::

    step                                              index   counts on      data-0-of-1   data-0-of-2
    0  all is written to temporary files              old     data-0-of-1    old           -
    1  new data are sent under detour names           old     data-0-of-1    old           new
    2  the index of the detour is sent                detour  data-0-of-2    old           new
    3  the store copies the new data                  detour  data-0-of-2    new           new
    4  the index is sent                              new     data-0-of-1    new           new
    5  objects under detour names are removed         new     data-0-of-1    new           -

If a step before the third fails, the old checkpoint is there, and what was sent is removed. If a later one fails, the
new checkpoint is there, whole, under the names of the detour.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO, Protocol

from tfbundle.storage.base import Location
from tfbundle.storage.folders import LocalLocation
from tfbundle.storage.remote_folders import RemoteLocation


class Staged(Protocol):
    """A file that is complete under a temporary name on this machine."""

    path: str
    remote: RemoteLocation | None


def check_writable(location: RemoteLocation) -> None:
    """Raise ``UnsupportedError`` for a server that is read only, and ``ValueError`` for the name of a folder."""
    location.objects.check_writable(location.path)
    if not location.name or (location.is_folder() and not location.is_file()):
        raise ValueError(f"{location.path} is a folder; choose another name")


def send(path: str, location: RemoteLocation) -> None:
    """Send a file of this machine."""
    with open(path, "rb") as file:
        location.objects.upload(location.key, file)


def put_objects(
    data: Sequence[Staged],
    index: Staged,
    detour: tuple[Staged, Sequence[Location], Sequence[Location]] | None,
) -> None:
    """Send data and then the index; ``detour`` is an index, the names of the data and those of empty files.

    Raises ``OSError``; then the old checkpoint or the new one is there.
    """
    if detour is None:
        _send_all([(file, _remote(file)) for file in data], (), index)
        return
    other, names, empty = detour
    places = [_checked(name) for name in names]
    _send_all(list(zip(data, places, strict=True)), [_checked(name) for name in empty], other)
    for file, place in zip(data, places, strict=True):
        target = _remote(file)
        try:
            target.objects.copy(place.key, target.key)
        except OSError:  # Stores limit the size of what they copy.
            send(file.path, target)
    send(index.path, _remote(index))
    for place in (*places, *map(_checked, empty)):
        _remove(place)


def _send_all(files: Sequence[tuple[Staged, RemoteLocation]], empty: Sequence[RemoteLocation], index: Staged) -> None:
    place = _remote(index)
    before = place.objects.facts(place.key)
    try:
        for file, target in files:
            send(file.path, target)
        for target in empty:
            target.objects.upload(target.key, io.BytesIO())
        send(index.path, place)
    except BaseException:
        # If the answer to the last request was lost, the index may count on the data.
        with suppress(OSError):
            if place.objects.facts(place.key) == before:
                for target in (*(target for _, target in files), *empty):
                    _remove(target)
        raise


def replace_objects(files: Sequence[Staged], removed: Sequence[Location]) -> None:
    """Send files, each of which may replace an object, and then remove ``removed``.

    Raises ``OSError``; then the former objects are restored.
    """
    suffix = f".tempstate{secrets.randbits(60):020d}"
    copies: list[tuple[RemoteLocation, RemoteLocation]] = []
    new: list[RemoteLocation] = []
    gone = [_checked(location) for location in removed]
    try:
        for target in (*map(_remote, files), *gone):
            if target.objects.facts(target.key) is None:
                new.append(target)
            else:
                copy = target.plus(suffix)
                target.objects.copy(target.key, copy.key)
                copies.append((copy, target))
        try:
            for file in files:
                send(file.path, _remote(file))
            for target in gone:
                target.objects.delete(target.key)
        except BaseException:
            for copy, target in copies:
                target.objects.copy(copy.key, target.key)
            for target in new:
                _remove(target)
            raise
    finally:
        for copy, _ in copies:
            _remove(copy)


@contextmanager
def object_replacement(location: RemoteLocation) -> Iterator[BinaryIO]:
    """Yield a new file to write to, which is sent to ``location`` when the block ends without an exception."""
    check_writable(location)
    with tempfile.TemporaryFile() as file:
        yield file
        file.seek(0)
        location.objects.upload(location.key, file)


@contextmanager
def prefix_replacement(location: RemoteLocation) -> Iterator[Location]:
    """Yield a new folder of this machine, whose files replace those below ``location`` when the block ends well.

    Files at the top are sent last, and what was below ``location`` and is no longer is removed then.
    """
    location.objects.check_writable(location.path)
    old = dict(objects_below(location))
    folder = tempfile.mkdtemp()
    sent: list[RemoteLocation] = []
    try:
        yield LocalLocation(folder)
        names = [
            os.path.relpath(os.path.join(place, name), folder).replace(os.sep, "/")
            for place, _, files in os.walk(folder)
            for name in files
        ]
        for name in sorted(names, key=lambda name: (-name.count("/"), name)):
            target = location.join(name)
            send(os.path.join(folder, *name.split("/")), target)
            sent.append(target)
        for name in old.keys() - set(names):
            _remove(old[name])
    except BaseException:
        for target in sent:
            if target.path not in {place.path for place in old.values()}:
                _remove(target)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def objects_below(location: RemoteLocation, above: str = "") -> Iterator[tuple[str, RemoteLocation]]:
    """Yield all objects below a folder, with their names from there."""
    if not location.is_folder():
        return
    listing = location.current().list()
    for name in listing.names:
        if listing.is_folder(name):
            yield from objects_below(location.join(name), f"{above}{name}/")
        else:
            yield f"{above}{name}", location.join(name)


def _remove(location: RemoteLocation) -> None:
    with suppress(OSError):
        location.objects.delete(location.key)


def _remote(file: Staged) -> RemoteLocation:
    assert file.remote is not None  # The caller has made sure that the index is in a store.
    return file.remote


def _checked(location: Location) -> RemoteLocation:
    if not isinstance(location, RemoteLocation):
        raise ValueError(f"{location} is not in the store of the other files")
    return location
