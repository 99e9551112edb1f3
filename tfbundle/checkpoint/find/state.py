"""The ``checkpoint`` file, which lists the checkpoints of a folder that training kept, and the latest.

It is a ``CheckpointState`` message in text form::

    model_checkpoint_path: "model.ckpt-30"
    all_model_checkpoint_paths: "model.ckpt-20"
    all_model_checkpoint_paths: "model.ckpt-30"

Relative paths are relative to the file's folder. Absolute paths go stale when the folder moves to another place or
machine; the checkpoints are then searched for in the folder that contains the state file now. Absolute paths in a
copied folder still lead to the original, although the files of the copy are meant.
"""

from __future__ import annotations

import codecs
import os
import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from tfbundle.checkpoint.find.listings import Asked, Asking, Listings, Nothing
from tfbundle.checkpoint.find.names import CheckpointFiles, find_files, prefix_of_member, prefix_of_v1_shard
from tfbundle.errors import FormatError, MissingFileError, UnsupportedError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.identification.names import STATE_NAME
from tfbundle.limits import LARGEST_BY_HAND, LARGEST_NOTE, LARGEST_TEXT_GROWTH, LONGEST_PATH, MOST_FOLDERS
from tfbundle.proto import CheckpointState as CheckpointStateProto
from tfbundle.storage.base import Listing, Location
from tfbundle.storage.locations import StorageOptions, StrPath, locate, with_options
from tfbundle.storage.stated_paths import has_drive, last_part, split_path

# The control characters that result if backslashes are taken for escapes, with the letter after the backslash.
_CONTROLS = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v"}
_CONTROL = re.compile("[\a\b\f\n\r\t\v]")
# How many separators of a path are examined, from its end: some may be adjacent, or next to dots.
_MOST_SEPARATORS = 4 * MOST_FOLDERS


class CheckpointState(NamedTuple):
    """The content of a state file, unchanged; ``resolve`` finds the checkpoints that its paths lead to now.

    Times are seconds since 1970. The lists of paths and timestamps are parallel, oldest first; there are no timestamps
    in files of TensorFlow before 1.12.
    """

    path: str
    model_checkpoint_path: str
    all_model_checkpoint_paths: list[str]
    all_model_checkpoint_timestamps: list[float]
    last_preserved_timestamp: float

    @property
    def folder(self) -> str:
        """The folder that contains the state file."""
        return locate(self.path).parent.path

    @property
    def resolved(self) -> str | None:
        """The current prefix of the latest checkpoint, or ``None`` if it does not exist."""
        return self.resolve(self.model_checkpoint_path)

    @property
    def all_resolved(self) -> list[str | None]:
        """The current prefix of each of ``all_model_checkpoint_paths``, or ``None`` for those that do not exist."""
        listings = Listings()
        paths = self.all_model_checkpoint_paths
        resolved = {path: self.resolve(path, listings) for path in dict.fromkeys(paths)}
        return [resolved[path] for path in paths]

    def resolve(self, stored: str, listings: Listings | None = None) -> str | None:
        """Return the current prefix of the checkpoint with the path ``stored``: that path, or one in the state file's
        folder.

        The latter comes first if the folder is a copy of one that still exists. ``listings`` caches folder listings
        when many paths are resolved.
        """
        found = self.find(stored, listings)
        return None if found is None else found.prefix.path

    def find(self, stored: str, listings: Listings | None = None) -> CheckpointFiles | None:
        """Return the files of the checkpoint that ``resolve`` finds."""
        listings = listings or Asking()
        if not stored or "\0" in stored or len(stored) > LONGEST_PATH:
            return None
        state = locate(self.path)
        spellings = [stored]
        # The first test takes a tenth of the time of the second, which matters for megabytes of paths.
        if not stored.isprintable() and _CONTROL.search(stored):
            spellings.append(_CONTROL.sub(lambda match: "\\" + _CONTROLS[match[0]], stored))
        for spelling in spellings:
            if "?" in spelling:
                spelling = prefix_of_v1_shard(spelling) or spelling
            if not _is_likely(state, spelling, listings):
                continue
            for candidate in dict.fromkeys(_candidates(state, spelling, listings)):
                found = _find(candidate, listings)
                if found is not None:
                    return found
        return None


def _find(candidate: Location, listings: Listings) -> CheckpointFiles | None:
    """Return the checkpoint with this prefix, or the one that has a file with this name."""
    found = find_files(candidate, None, listings)
    prefix = prefix_of_member(candidate.name)
    if prefix is not None and (found is None or found.format == "v1"):
        return find_files(candidate.beside(prefix), "v2", listings) or found
    return found


def _is_likely(state: Location, stored: str, listings: Listings) -> bool:
    """Return whether any folder that a stored path may lead to has a name that begins like the checkpoint's files.

    Most checkpoints that a long state file names are gone. Its paths have a few folders in common, so this test takes a
    hundredth of the time of a search for each file.
    """
    name = last_part(stored)
    if name in ("", "."):
        return True
    head = stored[: -len(name)]
    found = listings.likely.get((state, head))
    if found is None:
        folder = state.parent
        parts = _parts(head)
        ends = [parts[-count:] for count in range(1, min(len(parts) + 1, MOST_FOLDERS))]
        places = [(_as_written(folder, stored) or folder.join(name)).parent, folder]
        places += [folder.join(*end) for end in ends if _leads_on(listings.of(folder), end[0])]
        there = {id(here): here for here in map(listings.of, places) if not isinstance(here, Nothing)}
        found = listings.likely[state, head] = list(there.values())
    # Where backslashes are not separators, they are part of a name.
    names = {name, stored.rpartition("/")[2]}
    return any(_may_hold(here, name) for here in found for name in names)


def _parts(stored: str) -> list[str]:
    """Return the last folders and the name in a path, as many as are searched for."""
    parts = split_path(stored, _MOST_SEPARATORS)
    if len(parts) > _MOST_SEPARATORS:
        del parts[0]  # The rest of the path, which may be a megabyte.
    return [part for part in parts if part not in ("", ".") and not has_drive(part)]


def _leads_on(listing: Listing, part: str) -> bool:
    """Return whether the first part of a relative path exists."""
    return part == ".." or part in listing


def _may_hold(listing: Listing, name: str) -> bool:
    """Return whether a folder has a name that begins like the files of this checkpoint."""
    if isinstance(listing, Asked):
        return True
    base = prefix_of_member(name)
    base = name if base is None else base
    place = bisect_left(listing.names, base)
    return place < len(listing.names) and listing.names[place].startswith(base)


def _candidates(state: Location, stored: str, listings: Listings) -> Iterator[Location]:
    """Yield the prefixes that a stored path may mean, the likeliest first."""
    folder = state.parent
    # The folder may have moved together with folders below it, so longer and longer suffixes of the path are tried;
    # also of relative paths and of gs://bucket/model.ckpt, because folders are flattened and downloaded too.
    parts = _parts(stored)
    ends = range(1, min(len(parts), MOST_FOLDERS) + 1)
    if last_part(stored) in ("", "."):
        # The prefix ended in a slash ("run/", which is stored as "."), and its files have no name (".index").
        if parts:
            yield folder.join(stored.removesuffix("."), "")
        yield folder.join("")
        for count in ends:
            yield folder.join(*parts[-count:], "")
        return
    here = listings.of(folder)
    is_here = _may_hold(here, parts[-1]) if parts else False
    if parts == [stored]:
        if is_here:
            yield folder.join(stored)
        return
    first = _as_written(folder, stored)
    is_relative = first is not None and first.path.startswith(folder.join("").path)
    is_last = first is not None and not is_relative and _is_of_another_run(state, first, listings)
    if first is not None and not is_last:
        yield first
    for count in ends:
        if is_here if count == 1 else _leads_on(here, parts[-count]):
            yield folder.join(*parts[-count:])
    if first is not None and is_last:
        yield first


def _as_written(folder: Location, stored: str) -> Location | None:
    if not stored.lower().startswith("file://"):
        return folder.join(stored)
    try:
        return locate(stored)
    except UnsupportedError:
        return None  # It is a file of another machine.


def _is_of_another_run(state: Location, prefix: Location, listings: Listings) -> bool:
    """Return whether an absolute prefix leads out of the state file's folder, into one that has a state file too.

    TensorFlow writes a state file next to the checkpoints that it names, so this one was copied from there.
    """
    folder = prefix.parent
    if folder.path == state.parent.path or not listings.of(folder).is_file(state.name):
        return False
    return not listings.real(folder).is_below(listings.real(state.parent))


def read_checkpoint_state(
    path: StrPath,
    latest_filename: str | bytes | None = None,
    *,
    storage_options: StorageOptions | None = None,
) -> CheckpointState:
    """Read a state file, given its folder or the file itself.

    ``latest_filename`` is the file's name in the folder if it is not ``checkpoint``. Raises ``MissingFileError`` if it
    does not exist, and ``FormatError`` if it is not a ``CheckpointState`` or is larger than 4 MiB.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    path = with_options(path, storage_options)
    location = locate(path)
    if location.is_folder():
        location = location.join(state_name(latest_filename))
    data = location.read(LARGEST_NOTE)
    try:
        message = _parse(data, location.path)
    except FormatError:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise FormatError(
                f"{location} is text in UTF-16, but state files are in UTF-8; save it in that encoding",
                path=location.path,
            ) from None
        kind = kind_of(location)
        is_called_so = location.name == state_name(latest_filename)
        if kind is FileKind.STATE or (kind in (FileKind.UNKNOWN, FileKind.TEXT) and is_called_so):
            raise
        raise FormatError(
            f"{location} is {kind.value}, not a state file; pass the folder, or the file in it that is named "
            f"{STATE_NAME}",
            path=location.path,
        ) from None
    return CheckpointState(
        location.path,
        message.model_checkpoint_path,
        list(message.all_model_checkpoint_paths),
        list(message.all_model_checkpoint_timestamps),
        message.last_preserved_timestamp,
    )


def _parse(data: bytes, path: str) -> CheckpointStateProto:
    from tfbundle.formats.text.textproto import parse_text  # Most checkpoints are opened without a state file.

    if len(data) > LARGEST_BY_HAND and data.count(b"\\") > len(data) // LARGEST_TEXT_GROWTH:
        # Protobuf takes seventy bytes of memory for each byte of such text.
        raise FormatError(f"{path} is not a state file: most of its {len(data)} bytes are escapes", path=path)
    try:
        return parse_text(data, CheckpointStateProto, path=path)
    except FormatError:
        # In a Windows path that was written by hand, "C:\\runs", a backslash does not begin an escape.
        if b"\\" not in data or len(data) > LARGEST_BY_HAND:
            raise
        with_backslashes = re.sub(rb"\\([\\\"'])?", lambda match: match[0] if match[1] else rb"\\", data)
        try:
            return parse_text(with_backslashes, CheckpointStateProto, path=path)
        except FormatError:
            pass
        raise


def state_name(latest_filename: str | bytes | None = None) -> str:
    """Return the name of a folder's state file: ``latest_filename`` as text, or ``checkpoint`` without one."""
    return os.fsdecode(latest_filename or STATE_NAME)


def find_state(folder: Location, latest_filename: str | bytes | None = None) -> CheckpointState | None:
    """Return the content of a folder's state file, or ``None`` if it has none.

    A V1 checkpoint with the name of a state file does not count as one; TensorFlow writes no state file next to it.
    Raises ``FormatError`` if the file is of another kind.
    """
    location = folder.join(state_name(latest_filename))
    if not location.is_file():
        return None
    try:
        return read_checkpoint_state(location)
    except MissingFileError:
        if location.is_file():  # A broken link.
            raise
        return None  # It was deleted in the meantime.
    except FormatError:
        if kind_of(location) is FileKind.V1_TABLE:
            return None
        raise


def latest_checkpoint(
    checkpoint_dir: StrPath,
    latest_filename: str | bytes | None = None,
    *,
    storage_options: StorageOptions | None = None,
) -> str | None:
    """Return the prefix of the checkpoint that a folder's state file names as the latest, or ``None``.

    Returns ``None`` if there is no state file, or the checkpoint does not exist. If the stored path is stale because
    the folder moved, the prefix is the one in the folder. A state file that cannot be read raises ``FormatError``,
    because it does not mean that there is no checkpoint.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    checkpoint_dir = with_options(checkpoint_dir, storage_options)
    state = find_state(locate(checkpoint_dir).current(), latest_filename)
    return None if state is None else state.resolved
