"""The items of a folder's checkpoints, and of its state file."""

from __future__ import annotations

from collections.abc import Iterator

from tfbundle.checkpoint.find.state import read_checkpoint_state
from tfbundle.checkpoint.listing import ListedCheckpoint, list_checkpoints
from tfbundle.errors import TfBundleError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.identification.names import STATE_NAME
from tfbundle.overview.items import Item, file_item
from tfbundle.storage.base import Listing, Location
from tfbundle.storage.locations import locate
from tfbundle.verification.suffixes import contradiction

# The name of a state file that never exists, for a folder whose own is damaged.
_NO_STATE = "\0"


def read_checkpoints(folder: Location) -> tuple[list[ListedCheckpoint], Item | None]:
    """Return the checkpoints of a folder, and an item for its state file if that is damaged."""
    try:
        return list_checkpoints(folder.path), None
    except (TfBundleError, OSError) as error:
        state = folder.join(STATE_NAME)
        trouble = Item("state", state.path, FileKind.STATE.value, None, problem=str(error))
    try:
        return list_checkpoints(folder.path, _NO_STATE), trouble
    except (TfBundleError, OSError):
        return [], trouble


def is_in(item: ListedCheckpoint, folder: Location) -> bool:
    """Return whether a checkpoint is in a folder, rather than in another one that the state file names."""
    parent = locate(item.prefix).parent
    return parent == folder or parent.real() == folder.real()


def checkpoint_item(item: ListedCheckpoint, folder: Location) -> Item:
    """Return the item of a checkpoint in ``folder``."""
    base = locate(item.prefix).name
    facts = {"format": item.format, "time": item.time, "in_state": item.in_state}
    facts["graph"] = folder.join(f"{base}.meta").is_file()
    what = f"a {item.format.upper()} checkpoint"
    return Item("checkpoint", item.prefix, what, item.size, item.step, facts, item.problem)


def state_items(location: Location, listing: Listing) -> Iterator[Item]:
    """Yield the item of a file with the name of a state file, unless it is of an unknown kind."""
    kind = kind_of(location)
    stat = listing.stat(location.name)
    if kind is not FileKind.STATE:
        problem = contradiction(location.name, kind)
        if problem is not None or kind not in (FileKind.UNKNOWN, FileKind.TEXT):
            yield file_item(location, kind, stat, problem)
        return
    try:
        state = read_checkpoint_state(location.path)
    except (TfBundleError, OSError) as error:
        yield file_item(location, kind, stat, str(error))
        return
    facts = {"latest": state.model_checkpoint_path, "listed": len(state.all_model_checkpoint_paths)}
    problem = None
    if not state.model_checkpoint_path:
        problem = "names no checkpoint"
    elif state.resolved is None:
        problem = f"names {state.model_checkpoint_path!r}, which does not exist"
    size = stat.size if stat is not None else None
    yield Item(kind.word, location.path, kind.value, size, None, facts, problem)
