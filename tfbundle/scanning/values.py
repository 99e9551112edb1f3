"""What is known of a value before the program runs: numbers, and strings of which parts may be open.

A value is an array of objects: ``int``, ``float`` or ``bool``, or ``Text``, which represents a string, or anything
that is not known. Where several values are possible (the branches of a conditional, the elements of a dataset, several
callers), the array has all of them, along a separate dimension.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

Value = np.ndarray[Any, np.dtype[np.object_]]

MOST_ITEMS = 1024
"""Items of a value; names of files and addresses are few."""
LONGEST_TEXT = 1 << 20
"""Bytes of a string that folding makes. Those that the graph itself has may be longer."""
# What an open part counts for.
_HOLE_SIZE = 64
_HOLES = {"caller": "<from the caller>", "saver": "<checkpoint>", "shard": "<shard>"}


class Hole(NamedTuple):
    """A part of a value that is open.

    ``kind`` is ``"caller"`` (the caller of the model chooses it), ``"saver"`` (the path that a saver is given),
    ``"asset"`` (the path of an asset, ``text``), ``"shard"`` (``-NNNNN-of-NNNNN``) or ``"unknown"``.
    """

    kind: str
    text: str = ""

    def __str__(self) -> str:
        return f"<asset {self.text}>" if self.kind == "asset" else _HOLES.get(self.kind, "<unknown>")


class Text:
    """A string in parts, some of which may be open."""

    __slots__ = ("parts",)

    def __init__(self, *parts: bytes | Hole) -> None:
        self.parts = parts

    @property
    def data(self) -> bytes | None:
        """The bytes, or ``None`` if a part is open."""
        if not self.parts:
            return b""
        if len(self.parts) == 1 and isinstance(self.parts[0], bytes):
            return self.parts[0]
        return None

    @property
    def only_hole(self) -> Hole | None:
        """The hole that is all of it, or ``None``."""
        return self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], Hole) else None

    @property
    def size(self) -> int:
        """The approximate size in memory, in bytes."""
        return sum(len(part) if isinstance(part, bytes) else _HOLE_SIZE for part in self.parts)

    def start(self, length: int) -> str:
        """Return the first characters, about ``length`` of them."""
        shown: list[str] = []
        for part in self.parts:
            shown.append(part[:length].decode("utf-8", "surrogateescape") if isinstance(part, bytes) else str(part))
            length -= len(shown[-1])
            if length <= 0:
                break
        return "".join(shown)

    def __str__(self) -> str:
        return self.start(self.size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Text) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)


UNKNOWN = Text(Hole("unknown"))
CALLER = Text(Hole("caller"))


def join_texts(texts: Iterable[Text]) -> Text:
    """Return the concatenation of strings; one that would be too long is unknown."""
    parts: list[Hole | list[bytes]] = []
    size = 0
    for part in (part for text in texts for part in text.parts):
        size += len(part) if isinstance(part, bytes) else _HOLE_SIZE
        if size > LONGEST_TEXT:
            return UNKNOWN
        last = parts[-1] if parts else None
        if isinstance(part, Hole):
            if part != last:  # Several unknown parts in a row are one.
                parts.append(part)
        elif isinstance(last, list):
            last.append(part)
        else:
            parts.append([part])
    return Text(*(part if isinstance(part, Hole) else b"".join(part) for part in parts))


def value_of(items: Iterable[object], shape: tuple[int, ...] | None = None) -> Value:
    """Return an array of these items, flat unless a shape is given."""
    listed = list(items)
    array = np.empty(len(listed), dtype=object)
    for place, item in enumerate(listed):
        array[place] = item
    return array if shape is None else array.reshape(shape)


def scalar(item: object) -> Value:
    """Return an array of one item without dimensions."""
    return value_of([item], ())


def unknown() -> Value:
    """Return a value of which nothing is known."""
    return scalar(UNKNOWN)


def alternatives(values: Iterable[Value]) -> Value:
    """Return all that may be; one value stays as it is."""
    listed = list(values)
    if not listed:
        return unknown()
    first = listed[0]
    if all(value is first or (value.shape == first.shape and bool((value == first).all())) for value in listed[1:]):
        return first
    items = list(dict.fromkeys(item for value in listed for item in value.flat))
    return value_of(items if len(items) <= MOST_ITEMS else [*items[: MOST_ITEMS - 1], UNKNOWN])


def texts_of(value: Value) -> Iterator[Text]:
    """Yield the items as strings, each once."""
    for item in dict.fromkeys(value.flat):
        yield item if isinstance(item, Text) else Text(str(item).encode())
