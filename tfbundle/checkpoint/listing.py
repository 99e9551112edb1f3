"""All checkpoints in a folder, whether or not the state file still lists them.

Most are found by their names (``PREFIX.index``, ``PREFIX-00000-of-00002``). A V1 checkpoint in one file has no suffix:
it is found by its graph in the same folder, by the state file, or by its content. Other files have such names too
(shards of records, indexes of other programs), so a name alone is not sufficient.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from math import isfinite
from typing import NamedTuple

from tfbundle.checkpoint.find.listings import Listings
from tfbundle.checkpoint.find.names import (
    CheckpointFiles,
    Format,
    find_files,
    holds_data,
    is_sidecar,
    parse_shard,
    prefix_of_member,
    prefix_of_v1_shard,
    scan_folder,
    shard_path,
    step_of,
)
from tfbundle.checkpoint.find.renamed import advise_missing_index
from tfbundle.checkpoint.find.state import CheckpointState, find_state
from tfbundle.checkpoint.stores import open_store
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import MissingFileError, TfBundleError
from tfbundle.formats.table.reader import MAGIC
from tfbundle.identification.files import identify_source
from tfbundle.identification.kinds import FileKind
from tfbundle.identification.names import INDEX_SUFFIX, META_SUFFIX
from tfbundle.storage.base import FileStat, Listing, Location
from tfbundle.storage.locations import StorageOptions, StrPath, locate, with_options
from tfbundle.storage.stated_paths import last_part
from tfbundle.tensors.store import Facts, TensorStore


class ListedCheckpoint(NamedTuple):
    """A checkpoint in a folder.

    ``step`` is the number at the end of its name, or ``None``. ``time`` is when it was saved, in seconds since 1970,
    according to the state file or else to the last change of its files. ``size`` is the size of its files in bytes,
    without the graph (``.meta``). ``problem`` states why it is incomplete, as far as its index and the sizes of its
    files show; only ``verify`` checks every byte. ``in_state`` is whether the state file lists it.
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
        """Whether all its files exist and have the sizes that its index requires."""
        return self.problem is None


class Examined(NamedTuple):
    """A checkpoint whose index was read.

    ``facts`` are those of its tensors, as far as their entries are valid, or ``None`` if the index cannot be read.
    ``errors`` state why it is incomplete.
    """

    listed: ListedCheckpoint
    facts: list[Facts] | None
    errors: list[TfBundleError | OSError]


# Bytes of indexes and other small files that are read together.
_MOST_EXPECTED = 16 << 20
# The time of each checkpoint in the state file, by place: the folder without links, and the name.
Times = Mapping[tuple[Location, str], float | None]


def list_checkpoints(
    folder: StrPath,
    latest_filename: str | bytes | None = None,
    *,
    storage_options: StorageOptions | None = None,
) -> list[ListedCheckpoint]:
    """Return every checkpoint in a folder, and those elsewhere that its state file lists, by step.

    Checkpoints without a step come first. If a V2 and a V1 checkpoint have the same name, both are listed.
    ``latest_filename`` is the name of the state file if it is not ``checkpoint``.

    Raises ``MissingFileError`` if there is no such folder, and ``FormatError`` if the state file is invalid.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    folder = with_options(folder, storage_options)
    location = locate(folder)
    expect_small(location)
    return list_with_state(location, find_state(location, latest_filename))


def expect_small(folder: Location) -> None:
    """Prepare to examine a folder, in which every file but those of data is looked into; nothing is raised."""
    folder.expect(lambda name: parse_shard(name) is None, _MOST_EXPECTED)


def list_with_state(folder: Location, state: CheckpointState | None) -> list[ListedCheckpoint]:
    """Return the checkpoints in a folder as ``list_checkpoints`` does; ``state`` is its state file, if it has one."""
    listings = Listings()  # A folder may hold thousands, and is listed once.
    found, times = _find_with_times(folder, folder.list(), state, listings)
    members = _Members(listings)
    listed = [
        _describe(files, times, place, members, _find_problem(files, members)) for (place, _), files in found.items()
    ]
    return sorted(listed, key=lambda item: (-1 if item.step is None else item.step, item.prefix, item.format))


def find_all(folder: Location) -> list[CheckpointFiles]:
    """Return every checkpoint in a folder, by step, without opening them; a damaged state file is ignored.

    Raises ``MissingFileError`` if there is no such folder.
    """
    names = folder.list()
    try:
        state = find_state(folder)
    except (TfBundleError, OSError):
        state = None
    found, _ = _find_with_times(folder, names, state, Listings())

    def order(files: CheckpointFiles) -> tuple[int, str, Format]:
        step = step_of(files.prefix.name)
        return -1 if step is None else step, files.prefix.path, files.format

    return sorted(found.values(), key=order)


def describe_checkpoint(files: CheckpointFiles) -> ListedCheckpoint:
    """Return the item of ``list_checkpoints`` for one checkpoint, without its state file."""
    listings = Listings()
    members = _Members(listings)
    return _describe(files, {}, _place(files.prefix, listings), members, _find_problem(files, members))


def examine_checkpoints(found: Iterable[CheckpointFiles]) -> Iterator[Examined]:
    """Read the indexes of checkpoints, of which no state file is considered; each is opened once."""
    listings = Listings()
    members = _Members(listings)
    for files in found:
        facts: list[Facts] = []
        errors: list[TfBundleError | OSError] = []
        is_read = False

        def visit(
            store: TensorStore,
            facts: list[Facts] = facts,
            errors: list[TfBundleError | OSError] = errors,
        ) -> None:
            nonlocal is_read
            records = store.records()
            is_read = True
            for (name, record), fact in zip(records.items(), store.all_facts(), strict=True):
                try:
                    facts.append(store.facts(name, record) if fact is None else fact)
                except TfBundleError as error:
                    errors.append(error.locate(tensor=name))

        problem = _find_problem(files, members, visit)
        listed = _describe(files, {}, _place(files.prefix, listings), members, problem)
        if problem is not None and (not errors or str(problem) != str(errors[0])):
            errors.append(problem)
        yield Examined(listed, facts if is_read else None, errors)


def _find_with_times(
    folder: Location, names: Listing, state: CheckpointState | None, listings: Listings
) -> tuple[dict[tuple[tuple[Location, str], Format], CheckpointFiles], Times]:
    """Return every checkpoint by place and format, and the times in the state file."""
    resolved = {} if state is None else _resolve(state, listings)
    times: Times = {} if state is None else _times(state, folder, resolved, listings)
    found: dict[tuple[tuple[Location, str], Format], CheckpointFiles] = {}
    for files in _find(folder, names, resolved.values(), times, listings):
        found.setdefault((_place(files.prefix, listings), files.format), files)
    return found, times


def _resolve(state: CheckpointState, listings: Listings) -> dict[str, CheckpointFiles | None]:
    """Return each path that a state file lists, unchanged, with the checkpoint that it leads to now."""
    stored = dict.fromkeys((*state.all_model_checkpoint_paths, state.model_checkpoint_path))
    return {path: state.find(path, listings) for path in stored}


def _times(
    state: CheckpointState, folder: Location, resolved: Mapping[str, CheckpointFiles | None], listings: Listings
) -> Times:
    stored = state.all_model_checkpoint_paths
    times = [time if isfinite(time) else None for time in state.all_model_checkpoint_timestamps]
    if len(times) != len(stored):
        times = [None] * len(stored)

    def place(path: str) -> tuple[Location, str]:
        files = resolved[path]
        if files is not None:
            return _place(files.prefix, listings)
        # A missing checkpoint may have left files without an index in the folder.
        return listings.real(folder), last_part(path)

    places = {place(path): time for path, time in zip(stored, times, strict=True)}
    if state.model_checkpoint_path:
        places.setdefault(place(state.model_checkpoint_path), None)
    return places


def _place(prefix: Location, listings: Listings) -> tuple[Location, str]:
    """Return a prefix in canonical form: the folder without links, and the name."""
    return listings.real(prefix.parent), prefix.name


def _find(
    folder: Location,
    listing: Listing,
    resolved: Iterable[CheckpointFiles | None],
    places: Collection[tuple[Location, str]],
    listings: Listings,
) -> Iterator[CheckpointFiles]:
    names = [name for name in listing.names if not is_sidecar(name)]
    there = scan_folder(folder, listing)
    companions = {prefix_of_member(name) for name in names if not name.endswith(INDEX_SUFFIX)}

    def is_known(prefix: Location) -> bool:
        return prefix.name in companions or _place(prefix, listings) in places

    for prefix in there.v2:
        if is_known(prefix) or _holds_table(prefix.plus(INDEX_SUFFIX), FileKind.BUNDLE_INDEX):
            yield CheckpointFiles(prefix, "v2")
    for prefix in there.without_index:
        if _place(prefix, listings) not in places and not holds_data(prefix, listing):
            continue
        yield CheckpointFiles(prefix, "v2")
    for prefix in there.v1:
        files = find_files(prefix, "v1", listings)
        if files and (is_known(prefix) or any(_holds_table(file, FileKind.V1_TABLE) for file in files.v1_files)):
            yield files
    for name in names:
        is_part = prefix_of_member(name) is not None or prefix_of_v1_shard(name) is not None
        if not is_part and _holds_table(folder.join(name), FileKind.V1_TABLE):
            yield CheckpointFiles(folder.join(name), "v1", (folder.join(name),))
    for found in resolved:
        if found is not None:
            yield found


def _holds_table(location: Location, kind: FileKind) -> bool:
    """Return whether a file is a table of this kind. A few bytes suffice to rule out most other files."""
    try:
        source = location.open()
        try:
            start = source.read_at(0, min(2, source.size))
            end = source.read_at(max(0, source.size - 8), min(8, source.size))
            may_be_table = start == bytes(2) or end == MAGIC.to_bytes(8, "little")
            return may_be_table and identify_source(source) is kind
        finally:
            source.close()
    except (TfBundleError, OSError):
        return False


def _describe(
    files: CheckpointFiles,
    times: Times,
    place: tuple[Location, str],
    members: _Members,
    problem: TfBundleError | OSError | None,
) -> ListedCheckpoint:
    if files.format == "v1":
        facts = [fact for fact in (file.stat() for file in files.v1_files) if fact is not None]
    else:
        facts = members.facts(files.prefix)
    time = times.get(place)
    return ListedCheckpoint(
        files.prefix.path,
        files.format,
        step_of(files.prefix.name),
        max((fact.mtime for fact in facts), default=0.0) if time is None else time,
        sum(fact.size for fact in facts),
        None if problem is None else str(problem),
        place in times,
    )


class _Members:
    """The indexes and data files of V2 checkpoints; each folder is listed once."""

    def __init__(self, listings: Listings) -> None:
        """Take the folders' entries from ``listings``."""
        self._listings = listings
        self._names: dict[Location, dict[str, list[str]]] = {}

    def take_look(self) -> bool:
        """Return whether a folder may be searched once more for a missing file."""
        return self._listings.take_look()

    def is_there(self, location: Location) -> bool:
        """Return whether a file is in the listing of its folder."""
        return location.name in self._listings.of(location.parent)

    def facts(self, prefix: Location) -> list[FileStat]:
        """Return size and time of each file of a checkpoint."""
        folder = prefix.parent
        listing = self._listings.of(folder)
        names = self._names.get(folder)
        if names is None:
            names = defaultdict(list)
            for name in listing.names:
                base = prefix_of_member(name)
                if base is not None and not name.endswith(META_SUFFIX):
                    names[base].append(name)
            self._names[folder] = names
        found = map(listing.stat, names.get(prefix.name, ()))
        return [fact for fact in found if fact is not None]


def _find_problem(
    files: CheckpointFiles, members: _Members, visit: Callable[[TensorStore], None] | None = None
) -> TfBundleError | OSError | None:
    """Return why a checkpoint is incomplete, or ``None``; ``visit`` is called with the open store."""
    index = files.prefix.plus(INDEX_SUFFIX)
    if files.format == "v2" and not index.is_file():
        advice = f"; {advise_missing_index(files.prefix)}" if members.take_look() else ""
        return MissingFileError(f"{index} does not exist{advice}", path=index.path)
    try:
        store = open_store(files, verify=True)
        try:
            if visit is not None:
                visit(store)
            if isinstance(store, BundleStore):
                _check_shards(store, members)
        finally:
            store.close()
    except (TfBundleError, OSError) as error:
        return error
    return None


def _check_shards(store: BundleStore, members: _Members) -> None:
    """Raise ``TfBundleError`` unless every shard exists and is as long as its entries require."""
    for shard in range(store.shards.count):
        location = store.prefix.beside(shard_path(store.prefix.name, shard, store.shards.count))
        if not members.is_there(location) and not members.take_look():
            raise MissingFileError(
                f"the checkpoint's data file {location} does not exist (shard {shard} of {store.shards.count})",
                path=location.path,
                shard=shard,
            )
        store.shards.source(shard)
    for shard, (end, name) in store.ends().items():
        try:
            store.shards.source(shard).require(0, end)
        except TfBundleError as error:
            raise error.locate(tensor=name, shard=shard) from None
