"""Files that belong together, written under temporary names and put in place once all of them are complete.

A temporary name is ``NAME.tempstate`` and a random number, as TensorFlow's, whose first digits all of them share. The
last file, the index, is what makes the others count. Where none of them replaces one, the index is renamed last, and
that is the moment of the change.

Two files cannot be replaced in one step, so that old data are never replaced while an index counts on them. The new
data have other names for a while, those of more shards, and an index that states so many (the detour)::

    step                                           index   counts on      data-0-of-1   data-0-of-2
    0  all is written under temporary names        old     data-0-of-1    old           -
    1  new data are linked under detour names      old     data-0-of-1    old           new
    2  the index of the detour is renamed          detour  data-0-of-2    old           new
    3  new data are renamed                        detour  data-0-of-2    new           new
    4  the index is renamed                        new     data-0-of-1    new           new
    5  links are removed                           new     data-0-of-1    new           -

Whatever stops the process between two steps, or within one, each reader finds the old or the new checkpoint, whole. If
a step fails, links to the old files take their places again in the opposite order, before the index's. Where a file
system has no links, files are copied. Object stores are written by ``uploads``.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from tfbundle.errors import MissingFileError
from tfbundle.storage.base import Location, Source
from tfbundle.storage.copying import copy_range, read_back
from tfbundle.storage.descriptors import most_open_files, open_making_room
from tfbundle.storage.early_sync import EarlySync
from tfbundle.storage.folders import LocalLocation
from tfbundle.storage.remote_folders import RemoteLocation
from tfbundle.storage.uploads import check_writable, put_objects, replace_objects, send

# So many bytes are collected before the system is called: of one file, of all, and of each of very many. Linux looks
# for memory in one piece for what a single call writes; with a megabyte and more, that may take longer than the copy.
_BUFFER = 256 << 10
_ALL_BUFFERS = 8 << 20
_SMALLEST_BUFFER = 1 << 12
# Bytes of a name, which most file systems limit.
_LONGEST_NAME = 255
# Of these 13 digits are the save's, and 7 count its files.
_TOKEN_BITS = 43
_BINARY = getattr(os, "O_BINARY", 0)


class _Descriptor:
    """A file descriptor that closes with its last user."""

    def __init__(self, path: str, flags: int) -> None:
        self.number: int | None = os.open(path, flags | os.O_RDWR | _BINARY, 0o666)

    def close(self) -> None:
        """Close it, which is when some network drives report what they could not write."""
        number, self.number = self.number, None
        if number is not None:
            os.close(number)

    def __del__(self) -> None:
        if getattr(self, "number", None) is not None:
            with suppress(OSError):
                self.close()


class OpenFiles:
    """The descriptors of files that are written together, of which the system may allow fewer than there are files."""

    def __init__(self, count: int, base: str | None = None, *, sync: bool) -> None:
        """``count`` is how many files there will be; with ``sync``, their bytes are on disk when they are finished.

        ``base`` is what temporary names begin with, for files whose own names mean something to who lists a folder.
        """
        self.early = EarlySync() if sync else None
        self._base = base
        self._token = secrets.randbits(_TOKEN_BITS)
        self._named = 0
        self.buffer = min(_BUFFER, max(_ALL_BUFFERS // count, _SMALLEST_BUFFER))
        self._open: dict[int, _Descriptor] = {}

    def temporary(self, path: str) -> str:
        """Return another temporary name beside ``path``, which is no longer than a name may be."""
        folder, base = os.path.split(path)
        base = base if self._base is None else self._base
        end = f".tempstate{self._token:013d}{self._named:07d}"
        self._named += 1
        kept = os.fsencode(base)[: _LONGEST_NAME - len(end)]
        return os.path.join(folder, os.fsdecode(kept) + end)

    def get(self, key: int, path: str, flags: int = 0) -> int:
        """Return the descriptor of a file, which is opened again, for appending, if it had to be closed."""
        descriptor = self._open.get(key)
        if descriptor is None:
            descriptor = open_making_room(lambda: _Descriptor(path, flags or os.O_APPEND), self._open)
            if len(self._open) >= most_open_files():
                self.close(next(iter(self._open)))
            self._open[key] = descriptor
        assert descriptor.number is not None
        return descriptor.number

    def close(self, key: int) -> None:
        """Close the descriptor of a file, if it is open."""
        descriptor = self._open.pop(key, None)
        if descriptor is not None:
            if self.early is not None:
                self.early.wait()
            descriptor.close()


class StagedFile:
    """A new file under a temporary name, which is written from its start to its end."""

    def __init__(self, target: Location, opened: OpenFiles) -> None:
        """Create the file beside ``target``; raises ``ValueError`` where a folder or a device is in its place."""
        check_replaceable(target)
        self.target: str = target.path
        # What goes to an object store is complete on this machine first.
        self.remote = target if isinstance(target, RemoteLocation) else None
        folder = tempfile.gettempdir() if self.remote is not None else os.path.dirname(self.target)
        self.path = opened.temporary(os.path.join(folder, target.name))
        self.opened = opened
        try:
            opened.get(id(self), self.path, os.O_CREAT | os.O_EXCL)
        except FileNotFoundError:
            folder = os.path.dirname(self.target) or os.curdir
            raise MissingFileError(f"there is no folder {folder} to write to", path=folder) from None
        except OSError as error:
            raise self._named(error) from None
        self._is_staged = True
        self._buffer = bytearray()
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes. An ``OSError`` names the file that it was to become."""
        self.size += len(data)
        if len(data) < self.opened.buffer:
            self._buffer += data
            if len(self._buffer) < self.opened.buffer:
                return
            data = b""
        self._flush()
        if data:
            self._write(data)

    def copy_range(self, source: Source, offset: int, buffer: memoryview) -> bool:
        """Append a part of an open file by the system; see ``copying.Sink``."""
        self._flush()
        try:
            number = self.opened.get(id(self), self.path)
            if not copy_range(source, offset, len(buffer), number):
                return False
            read_back(number, self.size, buffer)
        except OSError as error:
            raise self._named(error) from None
        self.size += len(buffer)
        if self.opened.early is not None:
            self.opened.early.written(number, len(buffer))
        return True

    def _flush(self) -> None:
        if self._buffer:
            buffer, self._buffer = self._buffer, bytearray()
            self._write(buffer)

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        try:
            number = self.opened.get(id(self), self.path)
            while rest:
                count = os.write(number, rest[:_BUFFER])
                rest = rest[count:]
                if self.opened.early is not None:
                    self.opened.early.written(number, count)
        except OSError as error:
            raise self._named(error) from None

    def close(self) -> None:
        """Write what is left, and close the file until more is written."""
        self._flush()
        try:
            self.opened.close(id(self))
        except OSError as error:
            raise self._named(error) from None

    def finish(self) -> None:
        """Write what is left and close the file."""
        self._flush()
        if self.opened.early is not None:
            try:
                self.opened.early.finish(self.target)
                os.fsync(self.opened.get(id(self), self.path))
            except OSError as error:
                raise self._named(error) from None
        self.close()

    def retarget(self, target: Location) -> None:
        """Change the name that it is to take in the same folder; raises as the constructor does."""
        if target.path != self.target:
            check_replaceable(target)
            self.target = target.path
            self.remote = target if isinstance(target, RemoteLocation) else None

    def rename(self) -> None:
        """Take the final name."""
        if self.remote is not None:
            send(self.path, self.remote)
            return
        try:
            os.replace(self.path, self.target)
        except OSError as error:
            raise self._named(error) from None
        self._is_staged = False

    def discard(self) -> None:
        """Remove the file, if it has not taken its final name."""
        if self._is_staged:
            with suppress(OSError):
                self.opened.close(id(self))
            _remove(self.path)

    def _named(self, error: OSError) -> OSError:
        """Return an error with the final name of the file instead of the temporary one."""
        return type(error)(error.errno, error.strerror, self.target)


@dataclass(frozen=True)
class Detour:
    """An index that takes the index's place for a while, and the names of the data files on which it counts.

    ``names`` are one for each data file, in their order; ``empty`` are those of more files, which hold nothing.
    """

    index: StagedFile
    names: Sequence[Location]
    empty: Sequence[Location]


def check_replaceable(target: Location) -> None:
    """Raise ``ValueError`` if something other than a file lies there, and ``OSError`` for a name that is too long."""
    if isinstance(target, RemoteLocation):
        check_writable(target)
        return
    path = _local(target)
    try:
        mode = os.lstat(path).st_mode
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise
        return
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise ValueError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'not a file'}; choose another name")


def put_in_place(data: Sequence[StagedFile], index: StagedFile, detour: Detour | None, *, sync: bool) -> None:
    """Rename finished files. Without ``detour``, no data file may replace one.

    Raises the system's ``OSError``; then what was there is there again.
    """
    if index.remote is not None:
        put_objects(data, index, None if detour is None else (detour.index, detour.names, detour.empty))
        return
    if detour is None:
        _put_new(data, index, sync=sync)
        return
    links: list[str] = []
    old: list[tuple[str, str]] = []
    try:
        for file, name in zip(data, detour.names, strict=True):
            _link(file.path, _local(name), links)
        for name in detour.empty:
            os.close(os.open(_local(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            links.append(_local(name))
        for target in (*(file.target for file in data), index.target):
            if os.path.lexists(target):
                copy = index.opened.temporary(target)
                _link(target, copy, links)
                old.append((copy, target))
        sync_folder(index, sync=sync)
        try:
            detour.index.rename()
            sync_folder(index, sync=sync)
            for file in data:
                file.rename()
            sync_folder(index, sync=sync)
            index.rename()
        except BaseException:
            try:
                _restore(old, [file.target for file in (*data, index)])
            except OSError:
                links.clear()  # The index of the detour is in its place, and counts on them.
            raise
        sync_folder(index, sync=sync)
    finally:
        for path in links:
            _remove(path)


def replace_all(files: Sequence[StagedFile], removed: Sequence[Location] = (), *, sync: bool) -> None:
    """Rename finished files, each of which may replace one, whose permissions it takes, and then remove ``removed``.

    Raises the system's ``OSError``; then what was there is there again. Whatever stops the process, each file is there
    as it was or as it is to be, and until all are as they are to be none is removed.
    """
    if files and files[0].remote is not None:
        replace_objects(files, removed)
        return
    links: list[str] = []
    old: list[tuple[str, str]] = []
    gone = [_local(location) for location in removed]
    try:
        for file in files:
            if os.path.exists(file.target):
                shutil.copymode(file.target, file.path)
        for target in (*(file.target for file in files), *gone):
            if os.path.lexists(target):
                copy = files[0].opened.temporary(target)
                _link(target, copy, links)
                old.append((copy, target))
        try:
            for file in files:
                file.rename()
            for folder_file in {os.path.dirname(file.target): file for file in files}.values():
                sync_folder(folder_file, sync=sync)
            for path in gone:
                os.unlink(path)
        except BaseException:
            try:
                _restore(old, [file.target for file in files])
            except OSError:
                links.clear()  # What could not be put back is still there under its temporary name.
            raise
    finally:
        for path in links:
            _remove(path)


def _put_new(data: Sequence[StagedFile], index: StagedFile, *, sync: bool) -> None:
    renamed: list[str] = []
    try:
        for file in data:
            file.rename()
            renamed.append(file.target)
        sync_folder(index, sync=sync)
        index.rename()
    except BaseException:
        for path in renamed:
            _remove(path)
        raise
    sync_folder(index, sync=sync)


def _restore(old: Sequence[tuple[str, str]], targets: Sequence[str]) -> None:
    """Put old files where they were, the index last, and remove what replaced nothing."""
    for copy, target in old:
        os.replace(copy, target)
    replaced = {target for _, target in old}
    for target in reversed(targets):  # The index goes before the data on which it counts.
        if target not in replaced:
            with suppress(FileNotFoundError):
                os.unlink(target)


def _link(path: str, name: str, links: list[str]) -> None:
    """Give a file a second name; a link is made again, and not followed."""
    if os.path.islink(path):
        os.symlink(os.readlink(path), name)
        links.append(name)
        return
    try:
        os.link(path, name)
        links.append(name)
    except FileExistsError:
        raise
    except OSError:
        links.append(name)
        shutil.copy2(path, name)


def _local(location: Location) -> str:
    if not isinstance(location, LocalLocation):
        raise ValueError(f"{location} is not on this machine, where the other files are")
    return location.path


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def sync_folder(file: StagedFile, *, sync: bool) -> None:
    """Bring the names in the folder of a file to disk, where the system can."""
    if not sync or os.name == "nt" or file.remote is not None:
        return
    number = os.open(os.path.dirname(file.target) or os.curdir, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
