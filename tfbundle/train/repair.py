"""Repair of the state file of a folder: its text or its paths are restored from the checkpoints in the folder.

::

    state file             what is written
    has stale paths        moved checkpoints as paths relative to the folder; missing ones are left out
    is missing, or         the complete checkpoints of the folder, by step, and the last one as the latest
    cannot be parsed

A file of another kind with the name of the state file, such as a checkpoint, is not replaced.
"""

from __future__ import annotations

from tfbundle.checkpoint.find.listings import Listings
from tfbundle.checkpoint.find.state import CheckpointState, find_state, state_name
from tfbundle.checkpoint.listing import list_with_state
from tfbundle.errors import FormatError, MissingFileError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.limits import LARGEST_NOTE
from tfbundle.proto import CheckpointState as CheckpointStateProto
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StorageOptions, StrPath, locate
from tfbundle.train.state_file import encode_state, write_state

# The kinds of a state file that was truncated, overwritten or written by hand.
_BROKEN = (FileKind.STATE, FileKind.TEXT, FileKind.UNKNOWN, FileKind.EMPTY, FileKind.ZEROS)


def plan_repair(
    folder: StrPath, latest_filename: str | bytes | None = None, *, storage_options: StorageOptions | None = None
) -> str | None:
    """Return the text that the state file of a folder should have, or ``None`` if it needs no repair.

    ``latest_filename`` is its name if it is not ``checkpoint``. ``storage_options`` are those of ``locate``, for URLs.
    Raises ``MissingFileError`` if there is no checkpoint that it could name, and ``FormatError`` if a file of another
    kind has its name.
    """
    message = _repaired(locate(folder, storage_options), latest_filename)
    return None if message is None else encode_state(message).decode()


def repair_state(
    folder: StrPath, latest_filename: str | bytes | None = None, *, storage_options: StorageOptions | None = None
) -> bool:
    """Write the text that ``plan_repair`` returns, and return whether there is any; raises as it does."""
    location = locate(folder, storage_options)
    message = _repaired(location, latest_filename)
    if message is not None:
        write_state(location, message, latest_filename)
    return message is not None


def _repaired(folder: Location, latest_filename: str | bytes | None) -> CheckpointStateProto | None:
    state = _read_state(folder, latest_filename)
    if state is None:
        return _made(folder, latest_filename)
    listings = Listings()
    stored = list(state.all_model_checkpoint_paths)
    times = list(state.all_model_checkpoint_timestamps)
    times = times if len(times) == len(stored) else []
    latest = _led_to(state, folder, state.model_checkpoint_path, listings)
    led_to = [_led_to(state, folder, path, listings) for path in stored]
    kept = [number for number, path in enumerate(led_to) if path is not None]
    paths = [path for path in led_to if path is not None]
    times = [times[number] for number in kept] if times else []
    if latest is None:
        if not paths:
            return _made(folder, latest_filename)
        latest = paths[-1]
    if latest == state.model_checkpoint_path and paths == stored:
        return None
    return CheckpointStateProto(
        model_checkpoint_path=latest,
        all_model_checkpoint_paths=paths,
        all_model_checkpoint_timestamps=times,
        last_preserved_timestamp=state.last_preserved_timestamp,
    )


def _read_state(folder: Location, latest_filename: str | bytes | None) -> CheckpointState | None:
    """Return the content of the state file, or ``None`` if it does not exist or has nothing to keep."""
    location = folder.join(state_name(latest_filename))
    try:
        state = find_state(folder, latest_filename)
    except FormatError:
        stat = location.stat()
        if stat is None or stat.size > LARGEST_NOTE or kind_of(location) not in _BROKEN:
            raise
        return None
    if state is None and location.is_file():
        raise FormatError(
            f"{location} is a V1 checkpoint, in whose place no state file can be; pass latest_filename",
            path=location.path,
        )
    return state


def _led_to(state: CheckpointState, folder: Location, stored: str, listings: Listings) -> str | None:
    """Return a path as it should be stored, or ``None`` if it leads to nothing."""
    found = state.resolve(stored, listings)
    if found is None:
        return None
    if locate(found).absolute() == folder.join(stored).absolute():
        return stored
    return locate(found).relative_to(folder)


def _made(folder: Location, latest_filename: str | bytes | None) -> CheckpointStateProto:
    listed = [item for item in list_with_state(folder, None) if item.complete]
    if not listed:
        name = state_name(latest_filename)
        raise MissingFileError(f"{folder} has no complete checkpoint that {name} could name", path=folder.path)
    listed.sort(key=lambda item: (-1 if item.step is None else item.step, item.time))
    paths = list(dict.fromkeys(locate(item.prefix).relative_to(folder) for item in listed))
    times = {locate(item.prefix).relative_to(folder): item.time for item in listed}
    return CheckpointStateProto(
        model_checkpoint_path=paths[-1],
        all_model_checkpoint_paths=paths,
        all_model_checkpoint_timestamps=[times[path] for path in paths],
    )
