"""Finished files take their names together: all of them, or none.

The last file, the index, is what makes the others count. Where none of them replaces one, the index is renamed last,
and that is the moment of the change.

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

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from tfbundle.storage.base import Location
from tfbundle.storage.folders import local_path
from tfbundle.storage.staging import StagedFile, remove
from tfbundle.storage.uploads import put_objects, replace_objects


@dataclass(frozen=True)
class Detour:
    """An index that takes the index's place for a while, and the names of the data files on which it counts.

    ``names`` are one for each data file, in their order; ``empty`` are those of more files, which hold nothing.
    """

    index: StagedFile
    names: Sequence[Location]
    empty: Sequence[Location]


def put_in_place(data: Sequence[StagedFile], index: StagedFile, detour: Detour | None, *, sync: bool) -> None:
    """Rename finished files. Without ``detour``, no data file may replace one.

    Raises the system's ``OSError``; then the former files are restored.
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
            _link(file.path, local_path(name), links)
        for name in detour.empty:
            os.close(os.open(local_path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            links.append(local_path(name))
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
            remove(path)


def replace_all(files: Sequence[StagedFile], removed: Sequence[Location] = (), *, sync: bool) -> None:
    """Rename finished files, each of which may replace one, whose permissions it takes, and then remove ``removed``.

    Raises the system's ``OSError``; then the former files are restored. Whatever stops the process, each file is the
    former or the new one, and none is removed until all are new.
    """
    if files and files[0].remote is not None:
        replace_objects(files, removed)
        return
    links: list[str] = []
    old: list[tuple[str, str]] = []
    gone = [local_path(location) for location in removed]
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
            remove(path)


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
            remove(path)
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


def sync_folder(file: StagedFile, *, sync: bool) -> None:
    """Bring the names in the folder of a file to disk, where the system can."""
    if not sync or os.name == "nt" or file.remote is not None:
        return
    number = os.open(os.path.dirname(file.target) or os.curdir, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
