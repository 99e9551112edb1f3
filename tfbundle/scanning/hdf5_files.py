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
from collections.abc import Iterator

import numpy as np

from tfbundle.scanning.keras_code import check_size, config_findings
from tfbundle.scanning.report import ScanFinding
from tfbundle.storage.base import Source

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Bytes of one configuration in a file, and of all that may be one; unclosed ones are read several times.
_LONGEST_JSON = 16 << 20
_MOST_JSON = 64 << 20
_MOST_FINDINGS = 1000
_START = re.compile(rb'\{\s*"')
_NOT_TEXT = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CLASS = re.compile(r'"class_name"\s*:\s*"')
_MODEL = b"model_config"
# Links are searched for in stretches, so that what that takes is small.
_STRETCH = 1 << 22
_EXTERNAL = 64
_LONGEST_NAME = 4096
_NAME = re.compile(rb"[^\0-\x1f\x7f]{2,}(?=\0)")
_MOST_NAMES = 8


def has_hdf5_signature(source: Source) -> bool:
    """Return whether a file is HDF5, after a user block of any size."""
    base = 0
    while base + len(_SIGNATURE) <= source.size:
        if source.read_at(base, len(_SIGNATURE)) == _SIGNATURE:
            return True
        base = max(512, 2 * base)
    return False


def hdf5_findings(data: memoryview, path: str) -> tuple[list[ScanFinding], str | None]:
    """Return what is found in a file, and why something could not be read, if so."""
    findings, problem = _configurations(data, path)
    for name, what in dict.fromkeys(_other_files(data)):
        if len(findings) >= _MOST_FINDINGS:
            return findings, "it leads to more files than are looked at"
        message = f"{what} reads another file when the weights are loaded: {name}"
        findings.append(ScanFinding("reads-files", "high", message, path, argument=name))
    return findings, problem


def _configurations(data: memoryview, path: str) -> tuple[list[ScanFinding], str | None]:
    findings: list[ScanFinding] = []
    decoder = json.JSONDecoder()
    problem = None
    left = _MOST_JSON
    position = 0
    has_model = False
    while (match := _START.search(data, position)) is not None:
        start = match.start()
        # A string in HDF5 ends with a zero byte, or something binary follows.
        end = _NOT_TEXT.search(data, start, start + _LONGEST_JSON + 1)
        stop = min(len(data), start + _LONGEST_JSON) if end is None else end.start()
        left -= stop - start
        if left < 0 or len(findings) > _MOST_FINDINGS:
            return findings[:_MOST_FINDINGS], "it has more configurations than are looked at"
        # A character a byte, so that positions are those of the file. What is not ASCII is within strings.
        text = bytes(data[start:stop]).decode("latin-1")
        try:
            check_size(text)
            value, size = decoder.raw_decode(text)
            if not text.isascii():
                value = json.loads(text[:size].encode("latin-1").decode("utf-8", "replace"))
        except json.JSONDecodeError as error:
            if _CLASS.search(text):
                problem = "a configuration in it is no JSON"
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


def _other_files(data: memoryview) -> Iterator[tuple[str, str]]:
    """Yield the names of other files, each with what leads there."""
    yield from ((_shown(name), "an external link") for name in _linked(data))
    base = 0
    while bytes(data[base : base + len(_SIGNATURE)]) != _SIGNATURE:
        base = max(512, 2 * base)
        if base >= len(data):
            return
    if base + 16 > len(data):
        return
    version = data[base + 8]
    size, length = (data[base + 13], data[base + 14]) if version < 2 else (data[base + 9], data[base + 10])
    if size not in (2, 4, 8) or length not in (2, 4, 8):
        return
    yield from ((_shown(name), "an external dataset") for name in _listed(data, base, size, length))
    yield from ((_shown(name), "a virtual dataset") for name in _virtual(data, base, size, length))


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _linked(data: memoryview) -> Iterator[bytes]:
    """Yield the files of external links: version 1, flags, type 64, order, character set, name, and where it leads."""
    bytes_of = np.frombuffer(data, np.uint8)
    for first in range(0, len(bytes_of), _STRETCH):
        part = bytes_of[first : first + _STRETCH + 2]
        found = (part[:-2] == 1) & (part[2:] == _EXTERNAL) & (part[1:-1] >= 8) & (part[1:-1] < 32)
        for place in np.flatnonzero(found):
            name = _link(data, first + int(place))
            if name is not None:
                yield name


def _link(data: memoryview, start: int) -> bytes | None:
    flags = data[start + 1]
    width = 1 << (flags & 3)
    place = start + 3 + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    length = int.from_bytes(data[place : place + width], "little")
    place += width
    if not 0 < length <= _LONGEST_NAME:
        return None
    name = bytes(data[place : place + length])
    place += length
    size = int.from_bytes(data[place : place + 2], "little")
    value = bytes(data[place + 2 : place + 2 + size])
    # Where it leads: version and flags, then two names.
    if b"\0" in name or len(value) != size or value[:1] != b"\0" or value[1:].count(b"\0") != 2 or value[-1:] != b"\0":
        return None
    file, _, inner = value[1:-1].partition(b"\0")
    return file if file and inner and not _NOT_TEXT.search(file) else None


def _listed(data: memoryview, base: int, size: int, length: int) -> Iterator[bytes]:
    """Yield the names in external file lists, which are in a local heap."""
    for match in re.finditer(rb"\x01\0\0\0", data):
        place = match.end()
        allocated, used = (int.from_bytes(data[place + at : place + at + 2], "little") for at in (0, 2))
        heap = base + int.from_bytes(data[place + 4 : place + 4 + size], "little")
        if not 0 < used <= allocated or bytes(data[heap : heap + 4]) != b"HEAP":
            continue
        names = heap + 8 + 2 * length
        segment = base + int.from_bytes(data[names : names + size], "little")
        for number in range(min(used, _MOST_NAMES)):
            slot = place + 4 + size + number * 3 * length
            name = segment + int.from_bytes(data[slot : slot + length], "little")
            found = bytes(data[name : name + _LONGEST_NAME]).partition(b"\0")[0]
            if found:
                yield found


def _virtual(data: memoryview, base: int, size: int, length: int) -> Iterator[bytes]:
    """Yield the names of files and datasets that virtual datasets are made of, which are in a global heap."""
    for match in re.finditer(rb"\x04\x03", data):
        place = match.end()
        heap = base + int.from_bytes(data[place : place + size], "little")
        number = int.from_bytes(data[place + size : place + size + 4], "little")
        if bytes(data[heap : heap + 4]) != b"GCOL":
            continue
        end = heap + int.from_bytes(data[heap + 8 : heap + 8 + length], "little")
        at = heap + 8 + length
        while at + 8 + length <= min(end, len(data)):
            index = int.from_bytes(data[at : at + 2], "little")
            count = int.from_bytes(data[at + 8 : at + 8 + length], "little")
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
    # Where one entry ends depends on its selections. Names of files and datasets are what has letters in it.
    yield b", ".join(dict.fromkeys(_NAME.findall(block[1 + length :])[: 2 * _MOST_NAMES])) or b"unknown"
