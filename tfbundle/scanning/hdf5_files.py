r"""What an HDF5 file leads to: configurations of Keras, and other files that its datasets and links are in.

HDF5 keeps attributes and names as they are, so that both are found without a reader of the format::

    attribute           model_config = {"class_name": ...}          JSON, in one place
    external link       01 FLAGS 40 ... NAME, SIZE 00 FILE\0 OBJECT\0
    external file list  01 000000 SLOTS USED ADDRESS -> HEAP ... FILE\0       a dataset whose bytes are in other files
    virtual dataset     04 03 ADDRESS NUMBER -> GCOL ... FILE\0 DATASET\0    a dataset made of parts of others

An address is that of a heap with a signature, and a link has two sizes that have to fit, so that weights, which are
any bytes, are not taken for one. Sizes of addresses are those of the file's superblock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfbundle.scanning.keras_code import check_size, config_findings
from tfbundle.scanning.report import ScanFinding
from tfbundle.storage.base import Source
from tfbundle.tensors.arrays import Array

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Bytes of one configuration in a file, and of all that may be one; unclosed ones are read several times.
_LONGEST_JSON = 16 << 20
_MOST_JSON = 64 << 20
_MOST_FINDINGS = 1000
# An object with a key. Weights have hardly any, so that more than these were put there.
_START = re.compile(rb'\{\s*"(?:[^"\\\0-\x1f]|\\[^\0-\x1f])*"\s*:')
_MOST_FAILURES = 20_000
_NOT_TEXT = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CLASS = re.compile(r'"class_name"\s*:\s*"')
_MODEL = b"model_config"
# Links are searched for in stretches, to bound the memory.
_STRETCH = 1 << 22
_EXTERNAL = 64
_LONGEST_NAME = 4096
_NAME = re.compile(rb"[^\0-\x1f\x7f]{2,}(?=\0)")
_MOST_NAMES = 8
_MOST_STEPS = 50_000
# The number of leading bytes that identify such a place.
_HEAD = 16
_WIDTHS = (2, 4, 8)


def has_hdf5_signature(source: Source) -> bool:
    """Return whether a file is HDF5, after a user block of any size."""
    base = 0
    while base + len(_SIGNATURE) <= source.size:
        if source.read_at(base, len(_SIGNATURE)) == _SIGNATURE:
            return True
        base = max(512, 2 * base)
    return False


def hdf5_findings(data: memoryview, path: str) -> tuple[list[ScanFinding], str | None]:
    """Return the findings in a file, and the reason if part of it could not be read."""
    findings, problem = _configurations(data, path)
    others = _OtherFiles(data)
    for name, what in dict.fromkeys(others.find()):
        if len(findings) >= _MOST_FINDINGS:
            return findings, "it refers to more files than a scan examines"
        message = f"{what} reads another file when the weights are loaded: {name}"
        findings.append(ScanFinding("reads-files", "high", message, path, argument=name))
    if others.is_exhausted:
        problem = "it has more possible references to other files than a scan examines"
    return findings, problem


def _configurations(data: memoryview, path: str) -> tuple[list[ScanFinding], str | None]:
    findings: list[ScanFinding] = []
    decoder = json.JSONDecoder()
    problem = None
    left = _MOST_JSON
    position = 0
    has_model = False
    failures = 0
    while (match := _START.search(data, position)) is not None:
        start = match.start()
        # A string in HDF5 ends with a zero byte, or something binary follows.
        end = _NOT_TEXT.search(data, start, start + _LONGEST_JSON + 1)
        stop = min(len(data), start + _LONGEST_JSON) if end is None else end.start()
        left -= stop - start
        if left < 0 or failures > _MOST_FAILURES or len(findings) > _MOST_FINDINGS:
            return findings[:_MOST_FINDINGS], "it has more configurations than a scan examines"
        # A character a byte, so that positions are those of the file. What is not ASCII is within strings.
        text = bytes(data[start:stop]).decode("latin-1")
        try:
            check_size(text)
            value, size = decoder.raw_decode(text)
            if not text.isascii():
                value = json.loads(text[:size].encode("latin-1").decode("utf-8", "replace"))
        except json.JSONDecodeError as error:
            failures += 1
            if _CLASS.search(text):
                problem = "a configuration in it is not JSON"
            position = max(match.end(), start + error.pos)
            continue
        except RecursionError:
            return findings, "a configuration in it is nested too deeply"
        has_model = has_model or "class_name" in value
        findings += config_findings(value, path, "")
        position = start + size
    if problem is None and not has_model and _contains(data, _MODEL):
        problem = "it has a model whose configuration was not found"
    return findings, problem


def _contains(data: memoryview, word: bytes) -> bool:
    return re.search(re.escape(word), data) is not None


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


class _OtherFiles:
    """Finds the names of other files. Each place that may have one is a step, and steps are bounded."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._bytes = np.frombuffer(data, np.uint8)
        self._left = _MOST_STEPS
        base = 0
        while base < len(data) and bytes(data[base : base + len(_SIGNATURE)]) != _SIGNATURE:
            base = max(512, 2 * base)
        self._base = base
        superblock = bytes(data[base : base + 16]).ljust(16, b"\0")
        # Widths of addresses and of lengths, in bytes.
        self._width, self._length = superblock[13:15] if superblock[8] < 2 else superblock[9:11]

    @property
    def is_exhausted(self) -> bool:
        return self._left <= 0

    def find(self) -> Iterator[tuple[str, str]]:
        """Yield the names, each with the kind of reference."""
        yield from ((_shown(name), "an external link") for name in self._linked())
        if self._width in _WIDTHS and self._length in _WIDTHS:
            yield from ((_shown(name), "an external dataset") for name in self._listed())
            yield from ((_shown(name), "a virtual dataset") for name in self._virtual())

    def _number(self, place: int, width: int) -> int:
        return int.from_bytes(self._data[place : place + width], "little")

    def _places(self, first: Sequence[int | None], accept: Callable[[Array, Array], Array] | None) -> Iterator[int]:
        """Yield where bytes are as ``first`` has them, and ``accept`` returns true, of a stretch and places in it."""
        for start in range(0, len(self._bytes), _STRETCH):
            part = self._bytes[start : start + _STRETCH + _HEAD]
            count = min(_STRETCH, len(part) - _HEAD + 1)
            if count <= 0:
                return
            is_one = np.ones(count, np.bool_)
            for offset, value in enumerate(first):
                if value is not None:
                    is_one &= part[offset : offset + count] == value
            places = np.flatnonzero(is_one)
            if accept is not None:
                places = places[accept(part, places)]
            for place in places[: max(self._left, 0) + 1]:
                self._left -= 1
                if self._left <= 0:
                    return
                yield start + int(place)

    def _linked(self) -> Iterator[bytes]:
        """Yield the files of external links: version 1, flags, type 64, order, character set, name, and the link."""
        for start in self._places((1, None, _EXTERNAL), lambda part, places: part[places + 1] - 8 < 24):
            data, flags = self._data, self._data[start + 1]
            width = 1 << (flags & 3)
            place = start + 3 + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
            length = self._number(place, width)
            if not 0 < length <= _LONGEST_NAME:
                continue
            place += width + length
            size = self._number(place, 2)
            value = bytes(data[place + 2 : place + 2 + size])
            # Version and flags, then two names.
            if len(value) == size and value[:1] == b"\0" and value[-1:] == b"\0" and value[1:].count(b"\0") == 2:
                file, _, inner = value[1:-1].partition(b"\0")
                if file and inner and b"\0" not in bytes(data[place - length : place]) and not _NOT_TEXT.search(file):
                    yield file

    def _listed(self) -> Iterator[bytes]:
        """Yield the names in external file lists, which are in a local heap."""

        def accept(part: Array, places: Array) -> Array:
            allocated, used = (
                part[places + at].astype(np.uint16) | part[places + at + 1].astype(np.uint16) << 8 for at in (4, 6)
            )
            is_one: Array = (used > 0) & (used <= allocated)
            return is_one

        data = self._data
        for place in self._places((1, 0, 0, 0), accept):
            heap = self._base + self._number(place + 8, self._width)
            if bytes(data[heap : heap + 4]) != b"HEAP":
                continue
            segment = self._base + self._number(heap + 8 + 2 * self._length, self._width)
            slots = place + 8 + self._width
            for slot in range(min(self._number(place + 6, 2), _MOST_NAMES)):
                name = segment + self._number(slots + slot * 3 * self._length, self._length)
                found = bytes(data[name : name + _LONGEST_NAME]).partition(b"\0")[0]
                if found:
                    yield found

    def _virtual(self) -> Iterator[bytes]:
        """Yield the names of files and datasets that virtual datasets are made of, which are in a global heap."""
        data, length = self._data, self._length

        def accept(part: Array, places: Array) -> Array:
            # An address in the file has zeros in its upper bytes.
            used = max(1, (len(data).bit_length() + 7) // 8)
            is_near = np.ones(len(places), np.bool_)
            for at in range(used, self._width):
                is_near &= part[places + 2 + at] == 0
            return is_near

        seen: set[tuple[int, int]] = set()
        for place in self._places((4, 3), accept):
            heap = self._base + self._number(place + 2, self._width)
            number = self._number(place + 2 + self._width, 4)
            if bytes(data[heap : heap + 4]) != b"GCOL" or (heap, number) in seen:
                continue
            seen.add((heap, number))
            end = min(heap + self._number(heap + 8, length), len(data))
            at = heap + 8 + length
            while at + 8 + length <= end and self._left > 0:
                self._left -= 1
                index, count = self._number(at, 2), self._number(at + 8, length)
                at += 8 + length
                if index == number:
                    yield from _sources(bytes(data[at : at + min(count, _STRETCH)]), length)
                if not index or index == number:
                    break
                at += -(-count // 8) * 8


def _sources(block: bytes, length: int) -> Iterator[bytes]:
    """Yield the files of a virtual dataset: a version, the number of entries, and of each a file, dataset, extents."""
    entries = int.from_bytes(block[1 : 1 + length], "little")
    first = block[1 + length :].partition(b"\0")[0]
    if entries == 1 and block[:1] == b"\0":
        if first != b".":  # The file itself.
            yield first
        return
    # Where one entry ends depends on its selections. Names of files and datasets contain letters.
    yield b", ".join(dict.fromkeys(_NAME.findall(block[1 + length :])[: 2 * _MOST_NAMES])) or b"unknown"
