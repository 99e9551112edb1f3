"""Every checkpoint that lies in a folder, whether or not the state file still knows of it.

Names tell most of them (``PREFIX.index``, ``PREFIX-00000-of-00002``). A V1 checkpoint in one file has no suffix: it is
found by the graph beside it, by the state file, or by its content. Other files have such names too (shards of records,
indexes of other programs), so that a name alone makes no checkpoint.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache
from math import isfinite
from typing import NamedTuple

from tfbundle.checkpoint.find.names import (
    INDEX_SUFFIX,
    META_SUFFIX,
    CheckpointFiles,
    Format,
    find_files,
    index_path,
    prefix_of_member,
    prefix_of_v1_shard,
    scan_folder,
    step_of,
)
from tfbundle.checkpoint.find.state import STATE_NAME, CheckpointState, read_checkpoint_state
from tfbundle.checkpoint.stores import open_store
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import TfBundleError
from tfbundle.formats.table.reader import MAGIC
from tfbundle.identification.files import identify_source
from tfbundle.identification.kinds import FileKind
from tfbundle.storage.local import LocalSource, is_file, list_folder, real_path, stat_file


class ListedCheckpoint(NamedTuple):
    """A checkpoint in a folder.

    ``step`` is the number at the end of its name, or ``None``. ``time`` is when it was saved, in seconds since 1970: as
    the state file has it, otherwise when its files were last changed. ``size`` is that of its files in bytes, without
    the graph (``.meta``). ``problem`` says why it is not complete, as far as its index and the sizes of its files tell;
    ``verify`` looks at every byte. ``in_state`` is whether the state file lists it.
    """

    prefix: str
    format: Format
    step: int | None
    time: float
    size: int
    problem: str | None
    in_state: bool

    @property
    def complete(self) -> bool:
        """Whether all its files are there, and as long as its index says."""
        return self.problem is None


def list_checkpoints(folder: str | os.PathLike[str], latest_filename: str | None = None) -> list[ListedCheckpoint]:
    """Every checkpoint in a folder, and those elsewhere that its state file lists, by step.

    Checkpoints without a step come first. Where a V2 and a V1 checkpoint share a name, both are listed.
    ``latest_filename`` is the name of the state file where it is not ``checkpoint``.

    Raises ``MissingFileError`` where there is no such folder, and ``FormatError`` where the state file is none.
    """
    folder = os.fspath(folder)
    names_in = cache(list_folder)  # A folder may hold thousands, and is listed once.
    state_path = os.path.join(folder, latest_filename or STATE_NAME)
    state = read_checkpoint_state(state_path) if is_file(state_path) else None
    resolved = {} if state is None else _resolve(state, names_in)
    times = {} if state is None else _times(state, resolved)
    found: dict[tuple[str, Format], CheckpointFiles] = {}
    for files in _find(folder, names_in, resolved.values(), times):
        found.setdefault((_place(files.prefix), files.format), files)
    members = cache(_members)
    listed = [_describe(files, times, members) for files in found.values()]
    return sorted(listed, key=lambda item: (-1 if item.step is None else item.step, item.prefix, item.format))


def _resolve(state: CheckpointState, names_in: Callable[[str], list[str]]) -> dict[str, str | None]:
    """What a state file lists, as it is written there, and where it lies now."""
    stored = (*state.all_model_checkpoint_paths, state.model_checkpoint_path)
    return {path: state.resolve(path, names_in) for path in stored}


def _times(state: CheckpointState, resolved: Mapping[str, str | None]) -> dict[str, float | None]:
    """The checkpoints that a state file lists, by place, each with its time if the file has it."""
    stored = state.all_model_checkpoint_paths
    times = [time if isfinite(time) else None for time in state.all_model_checkpoint_timestamps]
    if len(times) != len(stored):
        times = [None] * len(stored)

    def place(path: str) -> str:
        # What is not there may have left files without an index in the folder.
        return _place(resolved[path] or os.path.join(state.folder, path.replace("\\", "/").rpartition("/")[2]))

    places = {place(path): time for path, time in zip(stored, times, strict=True)}
    if state.model_checkpoint_path:
        places.setdefault(place(state.model_checkpoint_path), None)
    return places


def _place(prefix: str) -> str:
    """A prefix as no other path spells it: the folder without links."""
    folder, name = os.path.split(prefix)
    return os.path.join(real_path(folder or os.curdir), name)


def _find(
    folder: str, names_in: Callable[[str], list[str]], resolved: Iterable[str | None], places: Collection[str]
) -> Iterator[CheckpointFiles]:
    names = names_in(folder)
    there = scan_folder(folder)
    companions = {prefix_of_member(name) for name in names if not name.endswith(INDEX_SUFFIX)}

    def is_known(prefix: str) -> bool:
        return os.path.basename(prefix) in companions or _place(prefix) in places

    for prefix in there.v2:
        if is_known(prefix) or _holds_table(index_path(prefix), FileKind.BUNDLE_INDEX):
            yield CheckpointFiles(prefix, "v2")
    for prefix in there.without_index:
        yield CheckpointFiles(prefix, "v2")
    for prefix in there.v1:
        files = find_files(prefix, "v1", names_in)
        if files and (is_known(prefix) or any(_holds_table(path, FileKind.V1_TABLE) for path in files.v1_files)):
            yield files
    for name in names:
        path = os.path.join(folder, name)
        is_part = prefix_of_member(name) is not None or prefix_of_v1_shard(name) is not None
        if not is_part and _holds_table(path, FileKind.V1_TABLE):
            yield CheckpointFiles(path, "v1", (path,))
    for prefix in filter(None, resolved):
        found = find_files(prefix, None, names_in)
        if found is not None:
            yield found


def _holds_table(path: str, kind: FileKind) -> bool:
    """Whether a file is a table of this kind. Most files are none, and the last bytes tell."""
    try:
        source = LocalSource(path)
        try:
            end = source.read_at(max(0, source.size - 8), min(8, source.size))
            return end == MAGIC.to_bytes(8, "little") and identify_source(source) is kind
        finally:
            source.close()
    except (TfBundleError, OSError):
        return False


def _describe(
    files: CheckpointFiles, times: Mapping[str, float | None], members: Callable[[str], Mapping[str, list[str]]]
) -> ListedCheckpoint:
    place = _place(files.prefix)
    folder, base = os.path.split(files.prefix)
    paths = list(files.v1_files) if files.format == "v1" else members(folder).get(base, [])
    facts = [fact for fact in map(stat_file, paths) if fact is not None]
    time = times.get(place)
    return ListedCheckpoint(
        files.prefix,
        files.format,
        step_of(files.prefix),
        max((fact.mtime for fact in facts), default=0.0) if time is None else time,
        sum(fact.size for fact in facts),
        _find_problem(files),
        place in times,
    )


def _members(folder: str) -> dict[str, list[str]]:
    """The indexes and data files in a folder, by the name of their checkpoint."""
    found = defaultdict(list)
    for name in list_folder(folder or os.curdir):
        base = prefix_of_member(name)
        if base is not None and not name.endswith(META_SUFFIX):
            found[base].append(os.path.join(folder, name))
    return dict(found)


def _find_problem(files: CheckpointFiles) -> str | None:
    if files.format == "v2" and not is_file(index_path(files.prefix)):
        return f"{index_path(files.prefix)} is not there"
    try:
        store = open_store(files, verify=True)
        try:
            if isinstance(store, BundleStore):
                _check_shards(store)
        finally:
            store.close()
    except (TfBundleError, OSError) as error:
        return str(error)
    return None


def _check_shards(store: BundleStore) -> None:
    """Raise unless every shard is there, and as long as the entries need."""
    for shard in range(store.shards.count):
        store.shards.source(shard)
    ends: dict[int, tuple[int, str]] = {}
    for name, record in store.records().items():
        for _, piece in store.pieces(name, record):
            place = piece.location
            ends[place.shard] = max(ends.get(place.shard, (0, "")), (place.offset + place.size, name))
    for shard, (end, name) in ends.items():
        try:
            store.shards.source(shard).require(0, end)
        except TfBundleError as error:
            raise error.locate(tensor=name, shard=shard) from None
