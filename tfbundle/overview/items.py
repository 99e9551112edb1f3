"""The items of an overview: one for each checkpoint, model, run or other recognized file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tfbundle.errors import TfBundleError
from tfbundle.identification.kinds import FileKind
from tfbundle.storage.base import Location


@dataclass(frozen=True)
class Item:
    """An item of an overview.

    ``kind`` is ``"checkpoint"``, ``"incomplete-checkpoint"`` (a folder in which one was being written), ``"run"`` (the
    event files of a folder), ``"unreadable"``, or a kind that ``identify`` returns. ``path`` is the prefix of a
    checkpoint, or else a file or folder. ``size`` is in bytes. ``step`` is the training step of a checkpoint, or the
    highest step of a run. ``facts`` are further details by name, ``problem`` describes a problem, and ``advice`` is a
    next step.
    """

    kind: str
    path: str
    description: str
    size: int | None = None
    step: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    advice: str | None = None


@dataclass(frozen=True)
class Overview:
    """What a path is: one item for a file or a prefix, or all items in a folder and its subfolders.

    ``kind`` is that of the path itself. ``others`` counts the files of unknown kinds, and ``others_size`` is their
    total size in bytes. ``folders`` counts the folders that were listed. ``complete`` is false if the tree exceeds a
    limit, so that not everything was read.
    """

    path: str
    kind: str
    description: str
    items: tuple[Item, ...] = ()
    folders: int = 0
    others: int = 0
    others_size: int = 0
    complete: bool = True

    @property
    def ok(self) -> bool:
        """Whether no item has a problem."""
        return not any(item.problem for item in self.items)


def file_item(location: Location, kind: FileKind, stat: object, problem: str | None) -> Item:
    """Return the item of one file of a known kind."""
    size = getattr(stat, "size", None)
    return Item(kind.word, location.path, kind.value, size, None, {}, problem, kind.advice)


def unreadable_item(location: Location, error: Exception) -> Item:
    """Return the item of a file or folder that cannot be read."""
    problem = str(error) if isinstance(error, TfBundleError) else f"cannot be read: {getattr(error, 'strerror', error)}"
    return Item("unreadable", location.path, "not readable", None, problem=problem)
