"""The manifest of a data set: what was read of which run, and in which files its rows are.

``_manifest.json``, which readers of Parquet folders ignore::

    schema      "tfbundle/event-dataset/1"
    root        the tree of runs that was read
    partition   "run" or "sweep"
    tags        the selection of tags, or null for all
    partitions  a list of
        name, folder      the run or sweep, and the folder of its files
        parts             a list of [number of the file, rows in it]
        runs              by name:
            files         by name: [size, time, ETag, position, records, marks]
            metadata      a list of [plugin, data class, tags], which decide what a tensor is
            troubles      a list of rows of EventTroubles

``position`` is the offset after the last complete record, and ``marks`` are checksums of bytes before it, as [offset,
size, CRC-32C], or null for a file that can only be read from its start.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tfbundle.errors import FormatError
from tfbundle.fleet.reading import FileState, RunState, TagMetadata
from tfbundle.fleet.troubles import EventTrouble
from tfbundle.formats.records.continuation import NOTED_SIZE, Mark
from tfbundle.matching import Pattern
from tfbundle.storage.base import FileStat, Location

NAME = "_manifest.json"
_SCHEMA = "tfbundle/event-dataset/1"
_LARGEST = 1 << 28
# What takes the place of flags for a name or glob, and for a function.
_TEXT, _FUNCTION = -1, -2
_FOLDER = re.compile(r"[A-Za-z0-9+-][A-Za-z0-9_.+-]{0,199}")
_FILE = re.compile(rf"{_FOLDER.pattern}/part-\d{{5,19}}\.parquet")


class Part(NamedTuple):
    """A file of a partition: its number, and how many rows it has."""

    number: int
    rows: int

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"part-{self.number:05d}.parquet"


class Partition(NamedTuple):
    """A partition: its name, the name of its folder, its files, and what was read of its runs."""

    name: str
    folder: str
    parts: tuple[Part, ...]
    runs: dict[str, RunState]


class Selection(NamedTuple):
    """What a data set is made of. Rows are kept only while this stays the same."""

    root: str
    partition: str
    tags: tuple[tuple[str, int], ...] | None


class Manifest(NamedTuple):
    """What a data set contains."""

    selection: Selection
    partitions: tuple[Partition, ...]

    @property
    def files(self) -> list[str]:
        """The names of all files with rows."""
        return [f"{one.folder}/{part.name}" for one in self.partitions for part in one.parts]


def is_file_name(name: str) -> bool:
    """Return whether a file with rows may have this name."""
    return _FILE.fullmatch(name) is not None


def describe_tags(tags: Sequence[Pattern] | None) -> tuple[tuple[str, int], ...] | None:
    """Return patterns as texts, each with the flags of a regular expression, or what takes their place."""
    if tags is None:
        return None
    found = []
    for pattern in tags:
        if isinstance(pattern, str):
            found.append((pattern, _TEXT))
        else:
            found.append((pattern.pattern, pattern.flags) if isinstance(pattern, re.Pattern) else ("", _FUNCTION))
    return tuple(found)


def has_function(selection: Selection) -> bool:
    """Return whether tags are selected by a function, which cannot be compared with that of an earlier call."""
    return any(flags == _FUNCTION for _, flags in selection.tags or ())


def read_manifest(folder: Location) -> Manifest | None:
    """Return the manifest in a folder, or ``None`` if it has none; raises ``FormatError`` if it is damaged."""
    location = folder.join(NAME)
    if not location.is_file():
        return None
    try:
        return _decode(json.loads(location.read(_LARGEST)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"{location} is damaged: {type(error).__name__}: {error}; remove {folder} to write it again",
            path=location.path,
        ) from None


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of the file."""
    root, partition, tags = manifest.selection
    content = {
        "schema": _SCHEMA,
        "root": root,
        "partition": partition,
        "tags": tags,
        "partitions": [
            {
                "name": one.name,
                "folder": one.folder,
                "parts": one.parts,
                "runs": {name: _encode_run(state) for name, state in one.runs.items()},
            }
            for one in manifest.partitions
        ],
    }
    return json.dumps(content, separators=(",", ":")).encode("ascii")


def _encode_run(state: RunState) -> dict[str, Any]:
    tags: defaultdict[TagMetadata, list[str]] = defaultdict(list)
    for tag, metadata in state.metadata.items():
        tags[metadata].append(tag)
    return {
        "files": {
            name: [*(file.stat or (None, None, None)), file.position, file.records, file.marks]
            for name, file in state.files.items()
        },
        "metadata": [[*metadata, names] for metadata, names in tags.items()],
        "troubles": state.troubles,
    }


def _decode(content: Any) -> Manifest:
    if content["schema"] != _SCHEMA:
        raise ValueError(f"the schema is {content['schema']!r}, not {_SCHEMA!r}")
    tags = content["tags"]
    selection = Selection(
        _text(content["root"]),
        _text(content["partition"]),
        None if tags is None else tuple((_text(text), _integer(flags, _FUNCTION)) for text, flags in tags),
    )
    partitions = [
        Partition(
            _text(one["name"]),
            _folder(one["folder"]),
            tuple(Part(_integer(number), _integer(rows)) for number, rows in one["parts"]),
            {name: _decode_run(run) for name, run in one["runs"].items()},
        )
        for one in content["partitions"]
    ]
    folders = [one.folder.casefold() for one in partitions]
    if len(set(folders)) < len(folders):
        raise ValueError("two partitions have the same folder")
    return Manifest(selection, tuple(partitions))


def _decode_run(content: Any) -> RunState:
    files = {}
    for name, (size, mtime, e_tag, position, records, marks) in content["files"].items():
        stat = None if size is None else FileStat(_integer(size), float(mtime), None if e_tag is None else _text(e_tag))
        files[name] = FileState(stat, _integer(position), _integer(records), _marks(marks))
    metadata = {
        _text(tag): TagMetadata(_text(plugin), _integer(data_class))
        for plugin, data_class, tags in content["metadata"]
        for tag in tags
    }
    return RunState(files, metadata, tuple(_trouble(*row) for row in content["troubles"]))


def _trouble(path: Any, run: Any, tag: Any, kind: Any, message: Any, offset: Any, size: Any) -> EventTrouble:
    texts = [None if text is None else _text(text) for text in (run, tag)]
    numbers = [None if number is None else _integer(number) for number in (offset, size)]
    return EventTrouble(_text(path), texts[0], texts[1], _text(kind), _text(message), numbers[0], numbers[1])


def _marks(marks: Iterable[Any] | None) -> tuple[Mark, ...] | None:
    if marks is None:
        return None
    found = tuple(Mark(*map(_integer, mark)) for mark in marks)
    if any(mark.size > NOTED_SIZE for mark in found):
        raise ValueError("a mark is too large")
    return found


def _folder(name: Any) -> str:
    if not _FOLDER.fullmatch(_text(name)):
        raise ValueError(f"{name!r} is not the folder of a partition")
    return str(name)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _integer(value: Any, least: int = 0) -> int:
    if type(value) is not int or not least <= value < 1 << 63:
        raise TypeError(f"{value!r} is not such an integer")
    return value
