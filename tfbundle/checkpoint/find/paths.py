"""Resolution of a path from the caller to a checkpoint.

The path may be any member of a checkpoint, its folder, or a SavedModel. The choice is never a guess: a folder opens the
checkpoint that its state file names, or its only one. In all other cases an error states what was found and what to
pass instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NoReturn

from tfbundle.checkpoint.find.likely_names import likely_names
from tfbundle.checkpoint.find.listings import Listings
from tfbundle.checkpoint.find.misplaced import describe_missing_variables
from tfbundle.checkpoint.find.names import (
    CheckpointFiles,
    Folder,
    Format,
    find_files,
    find_shards_beside,
    holds_data,
    is_incomplete_folder,
    is_placeholder,
    is_sidecar,
    prefix_of,
    prefix_of_member,
    scan_folder,
    v1_prefix_of,
)
from tfbundle.checkpoint.find.renamed import (
    advise_missing_index,
    describe_packed,
    describe_renamed_index,
    holds_index,
    index_name_for,
    is_alike,
    may_be_renamed,
)
from tfbundle.checkpoint.find.saved_models import is_placeholder_of_saved_model, is_saved_model, variables_prefix
from tfbundle.checkpoint.find.state import CheckpointState, find_state, read_checkpoint_state
from tfbundle.errors import FormatError, MissingFileError, TfBundleError, UnsupportedError
from tfbundle.identification.files import kind_of
from tfbundle.identification.folders import identify_folder
from tfbundle.identification.kinds import FileKind
from tfbundle.identification.names import INDEX_SUFFIX, META_SUFFIX, SAVED_MODEL_NAMES, STATE_NAME
from tfbundle.limits import LONGEST_PATH
from tfbundle.storage.base import Listing, Location
from tfbundle.storage.locations import StrPath, locate

# A longer list of candidates is not useful.
_MOST_LISTED = 10
# State file and indexes of a small run, which are read together where that saves time.
_FEW_BYTES = 100_000
# How many files of a folder are opened to determine whether one is a checkpoint.
_MOST_OPENED = 100


def find_checkpoint(path: StrPath, format: Format | None = None) -> CheckpointFiles:
    """Return the checkpoint at ``path``.

    ``path`` is a prefix, a member file (``.index``, ``.data-*``, ``.meta``, the state file, a V1 file), a folder, or a
    SavedModel's folder or file. An existing prefix takes precedence over a file or folder with the same name. Raises
    ``MissingFileError`` if there is no such checkpoint or a folder does not determine one, and ``UnsupportedError`` or
    ``FormatError`` if the path is a file of another kind.
    """
    location = locate(path)
    if not location.path:
        raise MissingFileError(
            "the path is empty; pass a checkpoint's prefix, one of its files, or its folder", path=location.path
        )
    location = location.anchored()
    if location.is_folder():
        return _in_folder(location, format)
    # On a server without listings each question is a request, and most paths that are not a member's are prefixes.
    found = find_files(location, "v2") if format != "v1" and prefix_of(location) is None else None
    if found is not None:
        return found
    if location.is_file():
        return _from_file(location, format)
    found = find_files(location, format)
    # A prefix may be empty, as for ".index".
    for prefix in (prefix_of(location), v1_prefix_of(location)):
        if found is None and prefix is not None:
            found = find_files(prefix, format)
    if found is None:
        _raise_missing(location, format)
    return found


def _from_file(location: Location, format: Format | None) -> CheckpointFiles:
    # A state file, or any other file, may have the name of a prefix.
    found = find_files(location, "v2") if format != "v1" else None
    if found is not None:
        return found
    prefix = prefix_of(location)
    if prefix is not None:
        found = find_files(prefix, format)
        if found is not None:
            return found
    kind = kind_of(location)
    if kind is FileKind.BUNDLE_INDEX and prefix is None:
        raise UnsupportedError(
            f"{location} is {kind.value}, but is not named like one; rename it to {index_name_for(location.name)}, "
            "with its data files next to it as PREFIX.data-00000-of-00001",
            path=location.path,
        )
    if kind is FileKind.V1_TABLE:
        if format == "v2":
            raise MissingFileError(f"{location} is a v1 checkpoint, but v2 was requested", path=location.path)
        # A file of a sharded set represents the whole set.
        whole = v1_prefix_of(location)
        found = find_files(whole, "v1") if whole is not None else None
        return found or CheckpointFiles(location, "v1", (location,))
    if format != "v2" and (found := find_shards_beside(location)) is not None:
        return found
    if kind is FileKind.STATE or (kind is FileKind.TEXT and location.name == STATE_NAME):
        return _from_state(read_checkpoint_state(location), location.parent, format)
    if is_saved_model(location):
        return _in_saved_model(location.parent, format)
    # Many programs use the suffix .meta for files of their own.
    is_member = not location.name.endswith(META_SUFFIX) or kind in (FileKind.META_GRAPH, FileKind.META_GRAPH_TEXT)
    if prefix is not None and is_member:
        _raise_orphan(location, prefix)
    if kind in (FileKind.EMPTY, FileKind.HTML, FileKind.GIT_LFS, FileKind.GIT_ANNEX, FileKind.ZEROS, FileKind.UNKNOWN):
        raise FormatError(f"{location} is {kind.value}; {kind.advice}", path=location.path)
    raise UnsupportedError(
        f"{location} is {kind.value}, not a TensorFlow checkpoint; {kind.advice}", path=location.path
    )


def _raise_orphan(location: Location, prefix: Location) -> NoReturn:
    if location.name.endswith(INDEX_SUFFIX) and location.is_file():  # Then only the requested format is absent.
        raise MissingFileError(
            f"there is no V1 checkpoint {prefix}; {location} belongs to a V2 checkpoint", path=prefix.path
        )
    raise MissingFileError(
        f"the checkpoint of {location} has no index: {prefix}.index does not exist, and only the index states where "
        f"each tensor is stored; {advise_missing_index(prefix)}",
        path=prefix.path + INDEX_SUFFIX,
    )


def _in_folder(folder: Location, format: Format | None) -> CheckpointFiles:
    # A prefix may share its name with a folder. The index suffix is also used by files that are not indexes.
    if folder.name:
        found = find_files(folder, format)
        if found is not None and (found.format == "v1" or holds_index(folder.plus(INDEX_SUFFIX))):
            return found
    folder.expect(lambda name: name == STATE_NAME or name.endswith(INDEX_SUFFIX), _FEW_BYTES)
    state = find_state(folder)
    if state is not None:
        return _from_state(state, folder, format)
    there = scan_folder(folder)
    if is_saved_model(folder):
        has_variables = find_files(variables_prefix(folder), format) is not None
        if has_variables or not (there.v2 or there.v1) or not is_placeholder_of_saved_model(folder):
            return _in_saved_model(folder, format)
    listings = Listings()  # Thousands of candidates may be searched for in the same folder.
    candidates = [prefix for prefix in (*there.v2, *there.v1) if find_files(prefix, format, listings) is not None]
    if len(candidates) > 1 or (candidates and is_placeholder(candidates[0].plus(INDEX_SUFFIX))):
        candidates = _without_strangers(candidates, folder)
    if not candidates and format != "v2":
        candidates = _unnamed_v1(folder)
    if len(candidates) == 1:
        found = find_files(candidates[0], format)
        if found is not None:
            return found
    if not candidates:
        found = find_files(folder.bare(), "v2") if format != "v1" else None
        if found is not None:
            return found
    raise MissingFileError(_describe_folder(folder, there, candidates), path=folder.path)


def _in_saved_model(folder: Location, format: Format | None) -> CheckpointFiles:
    prefix = variables_prefix(folder)
    found = find_files(prefix, format)
    if found is None:
        if format is not None and (other := find_files(prefix)) is not None:
            raise _other_format(other.prefix, format)
        raise MissingFileError(describe_missing_variables(folder), path=prefix.path + INDEX_SUFFIX)
    return found


def _without_strangers(candidates: list[Location], folder: Location) -> list[Location]:
    """Return the prefixes except those whose only file is an invalid index, such as a web page."""
    names = [name for name in folder.list().names if not name.endswith(INDEX_SUFFIX)]
    companions = {prefix_of_member(name) for name in names}

    def is_real(prefix: Location) -> bool:
        index = prefix.plus(INDEX_SUFFIX)
        return prefix.name in companions or not index.is_file() or holds_index(index)

    return list(filter(is_real, candidates))


def _unnamed_v1(folder: Location) -> list[Location]:
    """Return the V1 checkpoints that are recognised by content alone."""
    kinds = _kinds_in(folder)
    return [location for location, kind in kinds if kind is FileKind.V1_TABLE and not is_sidecar(location.name)]


def _kinds_in(folder: Location) -> Iterator[tuple[Location, FileKind]]:
    """Yield the first regular files of a folder with their kinds; unreadable files are skipped."""
    listing = folder.list()
    for name in list(filter(may_be_renamed, listing.names))[:_MOST_OPENED]:
        location = folder.join(name)
        try:
            if listing.stat(name) is not None:
                yield location, kind_of(location)
        except (TfBundleError, OSError):
            continue


def _describe_folder(folder: Location, there: Folder, candidates: list[Location]) -> str:
    if candidates:
        return (
            f"{folder} has {len(candidates)} checkpoints and no state file to select one; "
            f"pass one of {_listed(map(_to_pass, candidates))}"
        )
    if is_incomplete_folder(folder.path):
        return f"{folder} is an incomplete checkpoint: training stopped while it was being written"
    text = f"there is no checkpoint in the folder {folder}"
    if there.incomplete:
        text += f"; {_listed(there.incomplete)} is incomplete: training stopped while it was being written"
    listing = folder.list()
    orphans = [prefix for prefix in there.without_index if holds_data(prefix, listing)]
    if len(orphans) > 1:
        text += f"; {_listed(orphans)} have data files but no index"
    elif orphans:
        text += f"; {orphans[0]} has data files but no index; {advise_missing_index(orphans[0])}"
    kind = identify_folder(listing)
    if kind is not FileKind.FOLDER:
        return f"{text}: it is {kind.value}; {kind.advice}"
    renamed = _describe_renamed_saved_model(folder, listing)
    if renamed:
        return f"{text}; {renamed}"
    below = [folder.join(name) for name in listing.names if listing.is_folder(name)]
    below = [location for location in below if _has_checkpoint(location)]
    if below:
        return f"{text}; there are checkpoints in {_listed(below)}"
    return text if there.incomplete or orphans else text + _describe_others(folder)


def _describe_renamed_saved_model(folder: Location, listing: Listing) -> str:
    """Return which file in a folder is a SavedModel that was renamed or is still compressed; ``""`` if there is
    none.
    """
    for wanted in SAVED_MODEL_NAMES:
        for name in listing.names:
            location = folder.join(name)
            if is_alike(name, wanted) and listing.stat(name) is not None:
                packed = describe_packed(location, wanted)
                with suppress(TfBundleError, OSError):
                    kind = kind_of(location)
                    if packed or kind in (FileKind.SAVED_MODEL, FileKind.SAVED_MODEL_TEXT):
                        return packed or f"{name} is {kind.value}: rename it to {wanted}"
    return ""


def _describe_others(folder: Location) -> str:
    """Return what a folder without checkpoints contains: a renamed index, or the first file of a known kind."""
    others = ""
    for location, kind in _kinds_in(folder):
        if kind is FileKind.BUNDLE_INDEX:
            return f"; {location} is {kind.value}: rename it to {index_name_for(location.name)}, and its data files"
        if not others and kind not in (FileKind.UNKNOWN, FileKind.TEXT, FileKind.EMPTY, FileKind.ZEROS):
            others = f"; {location} is {kind.value}: {kind.advice}"
    return others


def _has_checkpoint(folder: Location) -> bool:
    try:
        there = scan_folder(folder)
        found = there.v2 or there.v1 or find_files(variables_prefix(folder))
    except OSError:
        return False
    return bool(found) and not is_incomplete_folder(folder.path)


def _from_state(state: CheckpointState, folder: Location, format: Format | None) -> CheckpointFiles:
    found = state.find(state.model_checkpoint_path)
    if found is not None:
        prefix = found.prefix.anchored()
        found = find_files(prefix, format)
        if found is None:  # It exists, so only the requested format is absent.
            raise _other_format(prefix, format)
        return found
    there = scan_folder(folder)
    others = _without_strangers([*there.v2, *there.v1], folder)
    listing = ""
    if others:
        listing = f"; {state.folder} has {_listed(map(_to_pass, others))}, pass one of them"
    elif there.incomplete:
        listing = f"; {_listed(there.incomplete)} is incomplete: training stopped while it was being written"
    if len(state.model_checkpoint_path) > LONGEST_PATH:
        count = len(state.model_checkpoint_path)
        raise MissingFileError(
            f"{state.path} names a path of {count} characters, longer than any system can open{listing}",
            path=state.path,
        )
    stored = folder.join(state.model_checkpoint_path)
    if not others and not there.incomplete and state.model_checkpoint_path and stored.parent == folder:
        renamed = describe_renamed_index(stored, folder.list())
        listing = f"; {renamed}" if renamed else ""
    raise MissingFileError(
        f"{state.path} names {state.model_checkpoint_path or 'no checkpoint'!r}, which does not exist{listing}",
        path=stored.path,
    )


def _raise_missing(location: Location, format: Format | None) -> NoReturn:
    prefix = prefix_of(location) or location
    folder = prefix.parent
    if not folder.is_folder():
        bare = location.bare()
        hint = f"; did you mean {bare}?" if find_files(bare) else ""
        raise MissingFileError(
            f"there is no checkpoint {location}: there is no folder {folder}{hint}", path=location.path
        )
    if format and find_files(prefix):
        raise _other_format(prefix, format)
    try:
        names = folder.list()
    except OSError as error:  # A server without listings, or a folder that may not be listed.
        raise MissingFileError(
            f"there is no checkpoint {location}: {prefix}.index does not exist ({error.strerror or error})",
            path=location.path,
        ) from None
    there = scan_folder(folder, names)
    if any(prefix.name == orphan.name for orphan in there.without_index):
        _raise_orphan(location, prefix)
    begun = [temporary for temporary in there.incomplete if temporary.name.startswith(prefix.name + "_temp")]
    if begun:
        raise MissingFileError(
            f"there is no checkpoint {location} but {_listed(begun)}, which is "
            "incomplete: training stopped while it was being written",
            path=location.path,
        )
    renamed = describe_renamed_index(prefix, names)
    close = likely_names(prefix.name, [other.name for other in (*there.v2, *there.v1)])
    hint = ""
    if renamed:
        hint = f"; {renamed}"
    elif close:
        hint = f"; did you mean {_listed(prefix.beside(name) for name in close)}?"
    elif others := _without_strangers([*there.v2], folder):
        hint = f"; the folder has {_to_pass(prefix.beside(others[0].name))}" if len(others) == 1 else ""
    elif not there.v1:
        hint = _describe_others(folder)
    raise MissingFileError(
        f"there is no checkpoint {location}: {prefix}.index does not exist{hint}", path=location.path
    )


def _other_format(prefix: Location, format: Format | None) -> MissingFileError:
    other = "v1" if format == "v2" else "v2"
    return MissingFileError(f"{prefix} is a {other} checkpoint, but {format} was requested", path=prefix.path)


def _to_pass(prefix: Location) -> str:
    """Return the path to pass for this checkpoint; a prefix that ends in a slash would be taken for a folder."""
    return prefix.plus(INDEX_SUFFIX).path if prefix.is_folder() else prefix.path


def _listed(locations: Iterable[Location | str]) -> str:
    paths = list(map(str, locations))
    shown = ", ".join(paths[:_MOST_LISTED])
    return f"{shown} and {len(paths) - _MOST_LISTED} more" if len(paths) > _MOST_LISTED else shown
