"""What an overview consists of: one item for each checkpoint, model, run or other file that is worth a line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Item:
    """Something that was found.

    ``kind`` is ``"checkpoint"``, ``"incomplete-checkpoint"`` (a folder in which one was being written), ``"run"`` (the
    event files of a folder), ``"unreadable"``, or what ``identify`` returns for a file or folder. ``path`` is a
    checkpoint's prefix, and otherwise a file or a folder. ``size`` is in bytes, ``step`` the training step of a
    checkpoint or the highest of a run. ``facts`` are more of them, by name. ``problem`` says what is wrong.
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
    """What a path is: one item of a file or a prefix, and everything below it of a folder.

    ``kind`` is that of the path itself. ``others`` counts the files of no known kind, and ``others_size`` are their
    bytes. ``folders`` counts the folders that were listed. Where a tree is larger than what is read, ``complete`` is
    false.
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
        """Whether nothing is wrong."""
        return not any(item.problem for item in self.items)
