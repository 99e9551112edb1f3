"""What a path is, and what a folder and its subfolders contain, identified by content.

Each folder is listed once, even if several links lead to it. Files that belong together form one item: a checkpoint, a
SavedModel, the event files of a run, or a folder of another program. Every other file of a known kind is an item, too,
and the rest is counted. The amounts listed, opened and read are bounded; beyond the limits the overview is incomplete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tfbundle.checkpoint.find.misplaced import describe_missing_variables
from tfbundle.checkpoint.find.names import (
    find_files,
    find_shards_beside,
    is_incomplete_folder,
    is_sidecar,
    is_sidecar_folder,
    prefix_of_member,
    prefix_of_v1_shard,
)
from tfbundle.checkpoint.find.renamed import is_stray_copy
from tfbundle.checkpoint.find.saved_models import variables_prefix
from tfbundle.checkpoint.listing import ListedCheckpoint, describe_checkpoint, expect_small
from tfbundle.errors import MissingFileError, TfBundleError
from tfbundle.identification.files import kind_of
from tfbundle.identification.folders import identify_folder
from tfbundle.identification.kinds import FileKind
from tfbundle.identification.names import (
    ASSETS,
    EXTRA_ASSETS,
    INDEX_SUFFIX,
    SAVED_MODEL_CHUNKED_NAME,
    SAVED_MODEL_NAMES,
    SAVED_MODEL_NOTES,
    STATE_NAME,
    VARIABLES,
    is_event_file_name,
)
from tfbundle.overview.checkpoints import checkpoint_item, is_in, read_checkpoints, state_items
from tfbundle.overview.items import Item, Overview, file_item, unreadable_item
from tfbundle.storage.base import Listing, Location
from tfbundle.storage.locations import StrPath, locate
from tfbundle.storage.visits import Visits
from tfbundle.verification.graphs import requires_variables
from tfbundle.verification.suffixes import contradiction

if TYPE_CHECKING:
    from tfbundle.events.run import Run
    from tfbundle.events.unusual import UnusualBudget

_MOST_FOLDERS = 10_000
_MOST_FILES = 20_000
# The largest total size of event files, in bytes; they must be read completely.
_MOST_EVENTS = 32 << 20
# The largest total size, in bytes, of the graphs of SavedModels without a checkpoint. They are read to find out whether
# a checkpoint is missing.
_MOST_GRAPHS = 64 << 20

_WHOLE_FOLDERS = (
    FileKind.ORBAX_FOLDER,
    FileKind.T5X_FOLDER,
    FileKind.ZARR_FOLDER,
    FileKind.OCDBT_FOLDER,
    FileKind.COREML_FOLDER,
)
# Kinds that are only counted, unless the content contradicts the name.
_OTHERS = (FileKind.UNKNOWN, FileKind.TEXT, FileKind.EMPTY, FileKind.HTML, FileKind.APPLE_DOUBLE)
_SAVED_MODELS = (FileKind.SAVED_MODEL_FOLDER, FileKind.SAVED_MODEL_CHUNKED_FOLDER)
_SAVED_MODEL_FILES = (*SAVED_MODEL_NAMES, SAVED_MODEL_CHUNKED_NAME, *SAVED_MODEL_NOTES)
_SAVED_MODEL_FOLDERS = (VARIABLES, ASSETS, EXTRA_ASSETS)


def overview(path: StrPath) -> Overview:
    """Return what ``path`` is: a file, the prefix of a checkpoint, or a folder with all of its contents.

    Raises ``MissingFileError`` if there is none of these, and ``FormatError`` if it is a pipe or a device.
    """
    return overview_with_neighbours(locate(path))[0]


def overview_with_neighbours(location: Location) -> tuple[Overview, list[ListedCheckpoint]]:
    """Return what ``overview`` does, and for the prefix of a checkpoint all checkpoints in its folder."""
    if not location.path:
        raise MissingFileError("the path is empty; pass a file, a checkpoint's prefix or a folder", path="")
    prefix, listed = _of_prefix(location)
    if prefix is not None:
        return Overview(location.path, prefix.kind, prefix.description, (prefix,)), listed
    walk = _Walk()
    if location.is_folder():
        return walk.tree(location), []
    if not location.is_file():
        raise MissingFileError(f"there is no file, folder or checkpoint {location.path}", path=location.path)
    item = walk.file(location)
    return Overview(location.path, item.kind, item.description, (item,), complete=walk.is_complete), []


def folder_problems(folder: Location) -> list[Item]:
    """Return the items with problems in a folder, without its subfolders."""
    items = _Walk(events=0).folder(folder, folder.list(), [])
    return [item for item in items if item.problem and item.kind != "incomplete-checkpoint"]


def _of_prefix(location: Location) -> tuple[Item | None, list[ListedCheckpoint]]:
    """Return the checkpoint of which ``location`` is the prefix or a member, and all checkpoints in its folder."""
    if not location.name or not location.parent.is_folder():
        return None, []
    name = location.name
    is_member = prefix_of_member(name) is not None or prefix_of_v1_shard(name) is not None
    is_another = location.is_folder() or (location.is_file() and kind_of(location) is not FileKind.V1_TABLE)
    is_prefix = location.plus(INDEX_SUFFIX).is_file() or find_shards_beside(location) is not None
    if is_another and not is_member and not is_prefix:
        return None, []  # The folder need not be read for every file.
    bases = {name, prefix_of_member(name), prefix_of_v1_shard(name)}
    listed, _ = read_checkpoints(location.parent)
    found = [item for item in listed if locate(item.prefix).name in bases and is_in(item, location.parent)]
    found.sort(key=lambda item: (locate(item.prefix).name != name, item.format != "v2"))
    if not found and is_prefix and (files := find_files(location)) is not None:
        # In its folder, it would be a sidecar by its name.
        found = [describe_checkpoint(files)]
    return (checkpoint_item(found[0], location.parent) if found else None), listed


class _Walk:
    """The remaining limits, and the totals so far."""

    def __init__(self, events: int | None = None) -> None:
        """``events`` is how many bytes of event files may be read, if not the usual limit."""
        self.is_complete = True
        self._files = _MOST_FILES
        self._events = _MOST_EVENTS if events is None else events
        self._unusual: UnusualBudget | None = None  # What all runs may have together.
        self._graphs = _MOST_GRAPHS
        self._folders = 0
        self._others = 0
        self._others_size = 0

    def tree(self, root: Location) -> Overview:
        """Return the overview of a folder and its subfolders."""
        kind = identify_folder(root.list())
        items: list[Item] = []
        visits = Visits()
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            if self._folders >= _MOST_FOLDERS or self._files <= 0:
                self.is_complete = False
                break
            try:
                listing = visits.list(folder)
                if listing is None:
                    continue
            except (TfBundleError, OSError) as error:
                items.append(unreadable_item(folder, error))
                continue
            self._folders += 1
            expect_small(folder)
            below: list[Location] = []
            items += self.folder(folder, listing, below)
            waiting += reversed(below)
        return Overview(
            root.path,
            kind.word,
            kind.value,
            tuple(items),
            self._folders,
            self._others,
            self._others_size,
            self.is_complete,
        )

    def folder(self, folder: Location, listing: Listing, below: list[Location]) -> Iterator[Item]:
        """Yield the items of a folder; subfolders that are not items themselves are added to ``below``."""
        kind = identify_folder(listing)
        if kind in _WHOLE_FOLDERS:
            yield Item(kind.word, folder.path, kind.value, self._size_below(folder), advice=kind.advice)
            return
        own = {
            name
            for name in listing.names
            if is_sidecar(name) and not listing.is_folder(name) and not is_stray_copy(name, listing)
        }
        if kind in _SAVED_MODELS:
            own.update(_SAVED_MODEL_FILES, _SAVED_MODEL_FOLDERS)
            yield self._saved_model(folder, listing, kind)
        yield from self._checkpoints(folder, listing, own)
        events = [name for name in listing.names if is_event_file_name(name) and not is_sidecar(name)]
        events = [name for name in events if listing.is_file(name)]
        own.update(events)
        yield from self._run(folder, listing, events)
        for name in listing.names:
            if name in own:
                continue
            if not listing.is_folder(name):
                yield from self._plain(folder.join(name), listing, name)
            elif is_incomplete_folder(name):
                what = "a folder in which a checkpoint was being written"
                size = self._size_below(folder.join(name))
                problem = "was not finished, or is still being written"
                yield Item("incomplete-checkpoint", folder.join(name).path, what, size, problem=problem)
            elif not is_sidecar_folder(name):
                below.append(folder.join(name))

    def _saved_model(self, folder: Location, listing: Listing, kind: FileKind) -> Item:
        problem = None
        for name in SAVED_MODEL_NAMES:
            if listing.is_file(name):
                found = self._kind(folder.join(name))
                if not isinstance(found, FileKind):
                    problem = found.problem
                elif found not in (FileKind.SAVED_MODEL, FileKind.SAVED_MODEL_TEXT):
                    problem = f"{name} is {found.value}"
        prefix = variables_prefix(folder)
        has_variables = prefix.plus(INDEX_SUFFIX).is_file()
        if problem is None and has_variables:
            listed, trouble = read_checkpoints(prefix.parent)
            problem = trouble.problem if trouble else next((item.problem for item in listed if item.problem), None)
        elif problem is None:
            problem = self._missing_variables(folder, listing)
        size = sum(self._size_below(folder.join(name)) for name in _SAVED_MODEL_FOLDERS if listing.is_folder(name))
        size += sum(stat.size for stat in map(listing.stat, _SAVED_MODEL_FILES) if stat is not None)
        advice = kind.advice if kind is FileKind.SAVED_MODEL_CHUNKED_FOLDER else None
        facts = {"variables": has_variables}
        return Item(kind.word, folder.path, "a SavedModel", size, None, facts, problem, advice)

    def _missing_variables(self, folder: Location, listing: Listing) -> str | None:
        """Return the problem of a SavedModel without a checkpoint; there is none if its graph has no variables."""
        self._graphs -= next((stat.size for stat in map(listing.stat, SAVED_MODEL_NAMES) if stat is not None), 0)
        if self._graphs < 0:
            self.is_complete = False
            return None
        try:
            return describe_missing_variables(folder) if requires_variables(folder.path) else None
        except (TfBundleError, OSError) as error:
            return str(error)

    def _checkpoints(self, folder: Location, listing: Listing, own: set[str]) -> Iterator[Item]:
        """Yield the checkpoints of a folder; their files, and the state file, are added to ``own``."""
        listed, trouble = read_checkpoints(folder)
        self._files -= len(listed)
        if trouble is not None:
            own.add(STATE_NAME)
            yield trouble
        bases = set()
        for item in listed:
            if is_in(item, folder):
                bases.add(locate(item.prefix).name)
                yield checkpoint_item(item, folder)
        for name in listing.names:
            if name in bases or {prefix_of_member(name), prefix_of_v1_shard(name)} & bases:
                own.add(name)
        if listing.is_file(STATE_NAME) and STATE_NAME not in own and not trouble:
            own.add(STATE_NAME)
            # A valid state file is not listed if there are checkpoints.
            yield from (item for item in state_items(folder.join(STATE_NAME), listing) if item.problem or not bases)

    def _run(self, folder: Location, listing: Listing, names: Iterable[str]) -> Iterator[Item]:
        """Yield the run that the event files of a folder form, and items for files that are only named like them."""
        files: list[Location] = []
        size = 0
        for name in names:
            location = folder.join(name)
            kind = self._kind(location)
            problem = contradiction(name, kind) if isinstance(kind, FileKind) else kind.problem
            if isinstance(kind, Item):
                yield kind
            elif problem is not None:
                yield file_item(location, kind, listing.stat(name), problem)
            else:
                files.append(location)
                stat = listing.stat(name)
                size += stat.size if stat is not None else 0
        if files:
            yield self._describe_run(folder.path, files, size)

    def _describe_run(self, path: str, files: list[Location], size: int) -> Item:
        facts: dict[str, object] = {"files": len(files)}
        description = "a run of event files" if len(files) > 1 else "a run"
        if size > self._events:
            self.is_complete = False
            return Item("run", path, description, size, None, facts)
        self._events -= size
        from tfbundle.events.file import Options  # Most folders of checkpoints have no runs.
        from tfbundle.events.run import Run
        from tfbundle.events.unusual import UnusualBudget

        if self._unusual is None:
            self._unusual = UnusualBudget()
        run = Run(".", files, Options(salvage=True), self._unusual)
        try:
            run.load()
            tags, highest = _tags(run)
            facts |= {"tags": tags, "events": run.event_count}
            problem = None
            if run.losses:
                lost = sum(len(losses) for losses in run.losses.values())
                problem = f"{lost} damaged or unreadable record{'' if lost == 1 else 's'}"
            elif run.truncations:
                problem = "the last record is incomplete: it is still being written, or was interrupted"
            return Item("run", path, description, size, highest, facts, problem)
        except (TfBundleError, OSError) as error:
            return Item("run", path, description, size, None, facts, str(error))
        finally:
            run.close()

    def _plain(self, location: Location, listing: Listing, name: str) -> Iterator[Item]:
        """Yield the item of a single file; files of unknown kinds are counted instead."""
        stat = listing.stat(name)
        if stat is None:
            return  # A pipe, a device, or a dangling link.
        kind = self._kind(location)
        if isinstance(kind, Item):
            yield kind
            return
        problem = contradiction(name, kind, listing)
        is_plain = kind in _OTHERS
        if is_plain and problem is None:
            self._others += 1
            self._others_size += stat.size
        else:
            yield file_item(location, kind, stat, problem)

    def _kind(self, location: Location) -> FileKind | Item:
        self._files -= 1
        if self._files < 0:
            self.is_complete = False
            return FileKind.UNKNOWN
        try:
            return kind_of(location)
        except (TfBundleError, OSError) as error:
            return unreadable_item(location, error)

    def file(self, location: Location) -> Item:
        """Return the item of one file."""
        kind = kind_of(location)
        stat = location.stat()
        if kind is FileKind.STATE:
            return next(state_items(location, location.parent.list()))
        if kind is FileKind.EVENTS and stat is not None:
            return self._describe_run(location.path, [location], stat.size)
        from tfbundle.overview.facts import find_facts  # A folder does not need the modules of every kind of file.

        facts, problem = find_facts(location, kind, stat.size) if stat is not None else ({}, None)
        item = file_item(location, kind, stat, contradiction(location.name, kind) or problem)
        return replace(item, facts=facts, advice=item.advice if problem is None else FileKind.EMPTY.advice)

    def _size_below(self, root: Location) -> int:
        """Return the total size of the files in a folder that forms one item, in bytes."""
        size = 0
        visits = Visits()
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            if self._folders >= _MOST_FOLDERS:
                self.is_complete = False
                break
            try:
                listing = visits.list(folder)
            except (TfBundleError, OSError):
                continue
            if listing is None:
                continue
            self._folders += 1
            for name in listing.names:
                stat = listing.stat(name)
                if stat is not None:
                    size += stat.size
                elif listing.is_folder(name):
                    waiting.append(folder.join(name))
        return size


def _tags(run: Run) -> tuple[int, int | None]:
    """Return the number of series of a run, and the highest step of all of them."""
    from tfbundle.events.plugins import KINDS

    count, highest = 0, None
    for kind in KINDS:
        for series in getattr(run, kind).values():
            count += 1
            if len(series):
                last = int(series.steps.max())
                highest = last if highest is None else max(highest, last)
    return count, highest
