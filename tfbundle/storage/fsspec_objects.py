"""Files of a file system of fsspec that the caller made.

fsspec states no version along with the bytes, so that the facts of a file are requested again after each read, and what
was read is dropped if they have changed.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, BinaryIO

from tfbundle.errors import MissingFileError, TfBundleError
from tfbundle.storage.objects import Answer, ObjectFacts, Objects, overwritten

_STEP = 8 << 20
# What file systems call the ETag, and the time of the last change.
_E_TAGS = ("ETag", "etag", "md5Hash", "content_md5")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")


class FsspecObjects(Objects):
    """The files of a file system; keys are paths without a slash at their start."""

    def __init__(self, file_system: Any, above: str = "") -> None:
        """Name the files of ``file_system``; its paths begin with ``above``, a slash or nothing."""
        protocol = file_system.protocol
        self.root = f"{protocol if isinstance(protocol, str) else protocol[0]}:/{above.rstrip('/')}"
        self._fs = file_system
        self._above = above

    def __reduce__(self) -> tuple[object, ...]:
        return FsspecObjects, (self._fs, self._above)

    def read(self, key: str, start: int, end: int, e_tag: str | None, into: Sequence[memoryview] = ()) -> Answer:
        """Return a part of a file; see ``Objects.read``."""
        with self._translated(key):
            data = memoryview(self._fs.cat_file(self._above + key, start=start, end=end))
            facts = self._now(key)
        if e_tag is not None and facts.e_tag != e_tag:
            raise overwritten(self.url(key))
        return Answer(facts, start, data)

    def read_tail(self, key: str, size: int) -> Answer:
        """Return the end of a file; see ``Objects.read_tail``."""
        with self._translated(key):
            facts = self._now(key)
        start = max(0, facts.size - size)
        answer = self.read(key, start, facts.size, facts.e_tag)
        if answer.facts != facts:
            raise overwritten(self.url(key))
        return answer

    def facts(self, key: str) -> ObjectFacts | None:
        """Return the facts of a file, or ``None`` if there is none."""
        try:
            with self._translated(key):
                return self._now(key)
        except MissingFileError:
            return None

    def _now(self, key: str) -> ObjectFacts:
        path = self._above + key
        self._fs.invalidate_cache(self._fs._parent(path))
        info = self._fs.info(path)
        if info.get("type") == "directory":
            raise FileNotFoundError(path)
        return _facts(info)

    def list(self, folder: str) -> tuple[dict[str, ObjectFacts], set[str]]:
        """Return the entries of a folder."""
        path = self._above + folder
        try:
            with self._translated(folder):
                self._fs.invalidate_cache(path)
                found = self._fs.ls(path, detail=True)
        except (MissingFileError, NotADirectoryError):
            return {}, set()
        objects: dict[str, ObjectFacts] = {}
        folders: set[str] = set()
        for info in found:
            name = info["name"].rstrip("/").rpartition("/")[2]
            if info["type"] == "directory":
                folders.add(name)
            elif info["name"].strip("/") != path.strip("/"):  # A file lists itself.
                objects[name] = _facts(info)
        return objects, folders

    def upload(self, key: str, file: BinaryIO) -> None:
        """Write a file, which appears whole where the file system can do that."""
        self.changes += 1
        path = self._above + key
        with self._translated(key):
            self._fs.makedirs(self._fs._parent(path), exist_ok=True)
            target = self._fs.open(path, "wb", block_size=_STEP, autocommit=False)
            try:
                shutil.copyfileobj(file, target, _STEP)
                target.close()
            except BaseException:
                with suppress(Exception):
                    target.discard()
                raise
            target.commit()

    def delete(self, key: str) -> None:
        """Remove a file; nothing happens if there is none."""
        self.changes += 1
        with suppress(MissingFileError), self._translated(key):
            self._fs.rm_file(self._above + key)

    def copy(self, key: str, to: str) -> None:
        """Copy a file within the file system."""
        self.changes += 1
        with self._translated(key):
            self._fs.cp_file(self._above + key, self._above + to)

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        url = self.url(key)
        try:
            yield
        except TfBundleError:
            raise
        except FileNotFoundError:
            raise MissingFileError(f"there is no file {url}", path=url) from None
        except OSError as error:
            error.filename = url
            raise
        except Exception as error:  # The class depends on the file system.
            raise OSError(errno.EIO, f"{type(error).__name__}: {error}"[:300], url) from None


def _facts(info: Mapping[str, Any]) -> ObjectFacts:
    # Listings of Azure have the ETag without its quotes, and other answers with them.
    e_tag = next((str(info[name]).strip('"') for name in _E_TAGS if info.get(name)), None)
    when = next((info[name] for name in _TIMES if info.get(name)), 0.0)
    if isinstance(when, str):
        with suppress(ValueError):
            when = datetime.fromisoformat(when.replace("Z", "+00:00"))
    if isinstance(when, datetime):
        when = when.timestamp()
    return ObjectFacts(int(info["size"] or 0), float(when) if isinstance(when, int | float) else 0.0, e_tag)
