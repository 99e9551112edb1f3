"""From the path that a person gave to the checkpoint it means.

Any member of a checkpoint will do, so will its folder, and a SavedModel. What is meant is never guessed: a folder opens
the checkpoint that its state file names or the only one there is, and anything else is an error that says what was
found and what to pass instead.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from functools import cache
from typing import NoReturn

from tfbundle.checkpoint.find.names import (
    META_SUFFIX,
    CheckpointFiles,
    Folder,
    Format,
    advise_missing_index,
    find_files,
    index_path,
    is_half_saved,
    prefix_of_member,
    prefix_of_v1_shard,
    scan_folder,
)
from tfbundle.checkpoint.find.state import STATE_NAME, CheckpointState, read_checkpoint_state
from tfbundle.errors import FormatError, MissingFileError, TfBundleError, UnsupportedError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.storage.local import is_file, is_folder, list_folder, stat_file

# TensorFlow takes the first of these where both are there.
SAVED_MODEL_NAMES = ("saved_model.pb", "saved_model.pbtxt")
# What may lie beside it, of TensorFlow, Keras and TensorFlow Hub.
_SAVED_MODEL_NOTES = ("fingerprint.pb", "keras_metadata.pb", "tfhub_module.pb")
# Beyond this many, a list of candidates helps nobody.
_MOST_LISTED = 10
# How many files of a folder are opened to see whether one is a checkpoint.
_MOST_OPENED = 100


def find_checkpoint(path: str | os.PathLike[str], format: Format | None = None) -> CheckpointFiles:
    """The checkpoint that ``path`` means.

    ``path`` is a prefix, a member file (``.index``, ``.data-*``, ``.meta``, the state file, a V1 file), a folder, a
    SavedModel's folder or file. Raises ``MissingFileError`` where there is no such checkpoint or a folder does not
    say which, and ``UnsupportedError`` or ``FormatError`` where the path is a file of another kind.
    """
    path = os.fspath(path)
    if not path:
        raise MissingFileError(
            "the path is empty; pass a checkpoint's prefix, one of its files, or its folder", path=path
        )
    if is_folder(path):
        return _in_folder(path, format)
    if is_file(path):
        return _from_file(path, format)
    found = find_files(path, format)
    # A prefix may be empty: that of ".index".
    for prefix in (prefix_of_member(path), prefix_of_v1_shard(path)):
        if found is None and prefix is not None:
            found = find_files(prefix, format)
    if found is None:
        _raise_missing(path, format)
    return found


def _from_file(path: str, format: Format | None) -> CheckpointFiles:
    prefix = prefix_of_member(path)
    if prefix is not None:
        found = find_files(prefix, format)
        if found is not None:
            return found
    kind = kind_of(path)
    if kind is FileKind.BUNDLE_INDEX and prefix is None:
        raise UnsupportedError(
            f"{path} is {kind.value}, but is not called one; give it the name PREFIX.index, "
            "with its data files beside it as PREFIX.data-00000-of-00001",
            path=path,
        )
    if kind is FileKind.V1_TABLE:
        # The V2 checkpoint of the same name wins; a file of a sharded set means the whole set.
        found = find_files(path, format)
        if found is None:
            raise MissingFileError(f"{path} is a v1 checkpoint, and v2 was asked for", path=path)
        whole = prefix_of_v1_shard(path)
        return (find_files(whole, "v1") if whole and found.format == "v1" else None) or found
    if kind is FileKind.STATE:
        return _from_state(read_checkpoint_state(path), format)
    if is_saved_model(path):
        return _in_saved_model(os.path.dirname(path) or os.curdir, format)
    found = find_files(path, "v2") if format != "v1" else None
    if found is not None:
        return found
    # Many programs call notes of theirs .meta.
    is_member = not path.endswith(META_SUFFIX) or kind in (FileKind.META_GRAPH, FileKind.META_GRAPH_TEXT)
    if prefix is not None and is_member:
        _raise_orphan(path, prefix, format)
    if kind in (FileKind.EMPTY, FileKind.HTML, FileKind.GIT_LFS, FileKind.ZEROS, FileKind.UNKNOWN):
        raise FormatError(f"{path} is {kind.value}; {kind.advice}", path=path)
    raise UnsupportedError(f"{path} is {kind.value}, not a checkpoint; {kind.advice}", path=path)


def _raise_orphan(path: str, prefix: str, format: Format | None) -> NoReturn:
    if path.endswith(".index") and is_file(path):  # Then only the asked-for format is absent.
        raise MissingFileError(f"there is no V1 checkpoint {prefix}; {path} belongs to a V2 checkpoint", path=prefix)
    raise MissingFileError(
        f"the checkpoint of {path} has no index: {prefix}.index is not there, and without it nothing tells which "
        f"bytes are which tensor; {advise_missing_index(prefix)}",
        path=prefix + ".index",
    )


def _in_folder(folder: str, format: Format | None) -> CheckpointFiles:
    state_path = os.path.join(folder, STATE_NAME)
    if is_file(state_path):
        return _from_state(read_checkpoint_state(state_path), format)
    if is_saved_model(folder):
        return _in_saved_model(folder, format)
    there = scan_folder(folder)
    names_in = cache(list_folder)  # Of thousands of candidates, each is looked for in the same folder.
    candidates = [prefix for prefix in (*there.v2, *there.v1) if find_files(prefix, format, names_in)]
    if not candidates and format != "v2":
        candidates = _unnamed_v1(folder)
    if len(candidates) == 1:
        found = find_files(candidates[0], format)
        assert found is not None
        return found
    if not candidates:
        # A prefix may share its name with a folder.
        found = find_files(folder.rstrip("/\\"), "v2") if format != "v1" else None
        if found is not None:
            return found
    raise MissingFileError(_describe_folder(folder, there, candidates), path=folder)


def _in_saved_model(folder: str, format: Format | None) -> CheckpointFiles:
    prefix = variables_prefix(folder)
    found = find_files(prefix, format)
    if found is None:
        raise MissingFileError(
            f"the SavedModel {folder} has no variables: {prefix}.index is not there", path=prefix + ".index"
        )
    return found


def is_saved_model(path: str) -> bool:
    """Whether a path is a SavedModel's folder or file, or a note beside that, by the names."""
    if is_folder(path):
        return any(is_file(os.path.join(path, name)) for name in SAVED_MODEL_NAMES)
    return os.path.basename(path) in SAVED_MODEL_NAMES or is_saved_model_note(path)


def is_saved_model_note(path: str) -> bool:
    """Whether a path is a file that lies beside a SavedModel's and means it, by the names."""
    folder, name = os.path.split(path)
    return name in _SAVED_MODEL_NOTES and is_file(path) and is_saved_model(folder or os.curdir)


def variables_prefix(folder: str) -> str:
    """The prefix of a SavedModel's checkpoint."""
    return os.path.join(folder, "variables", "variables")


def _unnamed_v1(folder: str) -> list[str]:
    """V1 checkpoints that nothing but their content tells."""
    paths = [os.path.join(folder, name) for name in list_folder(folder)[:_MOST_OPENED]]
    return [path for path in paths if stat_file(path) and kind_of(path) is FileKind.V1_TABLE]


def _describe_folder(folder: str, there: Folder, candidates: list[str]) -> str:
    if candidates:
        return (
            f"{folder} has {len(candidates)} checkpoints and no state file to say which is meant; "
            f"pass one of {_listed(map(_to_pass, candidates))}"
        )
    if is_half_saved(folder):
        return f"{folder} is a half-saved checkpoint: training stopped while it was being written"
    text = f"there is no checkpoint in the folder {folder}"
    if there.half_saved:
        text += f"; {_listed(there.half_saved)} is half-saved: training stopped while it was being written"
    if there.without_index:
        text += f"; {_listed(there.without_index)} has data files but no index"
    below = [name for name in list_folder(folder) if is_folder(os.path.join(folder, name))]
    below = [os.path.join(folder, name) for name in below if _has_checkpoint(os.path.join(folder, name))]
    if below:
        return f"{text}; there are some in {_listed(below)}"
    return text if there.half_saved or there.without_index else text + _describe_others(folder)


def _describe_others(folder: str) -> str:
    """What a folder without checkpoints holds, by the first file that is of a known kind."""
    for name in list_folder(folder)[:_MOST_OPENED]:
        path = os.path.join(folder, name)
        try:
            kind = kind_of(path) if stat_file(path) else FileKind.UNKNOWN
        except (TfBundleError, OSError):
            continue
        if kind not in (FileKind.UNKNOWN, FileKind.EMPTY, FileKind.ZEROS):
            return f"; {path} is {kind.value}: {kind.advice}"
    return ""


def _has_checkpoint(folder: str) -> bool:
    try:
        there = scan_folder(folder)
        found = there.v2 or there.v1 or find_files(variables_prefix(folder))
    except OSError:
        return False
    return bool(found) and not is_half_saved(folder)


def _from_state(state: CheckpointState, format: Format | None) -> CheckpointFiles:
    prefix = state.resolved
    found = find_files(prefix, format) if prefix else None
    if found is not None:
        return found
    if prefix:  # It resolved, so that only the asked-for format is absent.
        raise _other_format(prefix, format)
    there = scan_folder(state.folder)
    others = [*there.v2, *there.v1]
    listing = f"; {state.folder} holds {_listed(map(_to_pass, others))}, pass one of them" if others else ""
    if not others and there.half_saved:
        listing = f"; {_listed(there.half_saved)} is half-saved: training stopped while it was being written"
    raise MissingFileError(
        f"{state.path} names {state.model_checkpoint_path or 'no checkpoint'!r}, which is not there{listing}",
        path=os.path.join(state.folder, state.model_checkpoint_path),
    )


def _raise_missing(path: str, format: Format | None) -> NoReturn:
    member_of = prefix_of_member(path)
    prefix = path if member_of is None else member_of
    folder = os.path.dirname(prefix) or os.curdir
    if not is_folder(folder):
        bare = path.rstrip("/\\")
        hint = f"; did you mean {bare}?" if find_files(bare) else ""
        raise MissingFileError(f"there is no checkpoint {path}: there is no folder {folder}{hint}", path=path)
    if format and find_files(prefix):
        raise _other_format(prefix, format)
    there = scan_folder(folder)
    if os.path.basename(prefix) in map(os.path.basename, there.without_index):
        _raise_orphan(path, prefix, format)
    begun = [temp for temp in there.half_saved if os.path.basename(temp).startswith(os.path.basename(prefix) + "_temp")]
    if begun:
        raise MissingFileError(
            f"there is no checkpoint {path} but {_listed(begun)}, which is half-saved: training stopped while it was "
            "being written",
            path=path,
        )
    close = difflib.get_close_matches(prefix, [*there.v2, *there.v1], n=3)
    hint = f"; did you mean {_listed(close)}?" if close else ""
    raise MissingFileError(f"there is no checkpoint {path}: {prefix}.index is not there{hint}", path=path)


def _other_format(prefix: str, format: Format | None) -> MissingFileError:
    other = "v1" if format == "v2" else "v2"
    return MissingFileError(f"{prefix} is a {other} checkpoint, and {format} was asked for", path=prefix)


def _to_pass(prefix: str) -> str:
    """The path that means this checkpoint; a prefix may be that of a folder too, which would mean the folder's."""
    return index_path(prefix) if is_folder(prefix) else prefix


def _listed(paths: Iterable[str]) -> str:
    paths = list(paths)
    shown = ", ".join(paths[:_MOST_LISTED])
    return f"{shown} and {len(paths) - _MOST_LISTED} more" if len(paths) > _MOST_LISTED else shown
