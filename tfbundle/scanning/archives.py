"""The files in zip and tar archives, one after the other, without unpacking them to disk.

The number of bytes unpacked in memory is bounded, for a file and for an archive; files beyond it are named and left
out. A member whose name leads out of the folder in which the archive is unpacked is a separate finding.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from tfbundle.identification.names import INDEX_SUFFIX
from tfbundle.scanning.contents import BytesSource, Content
from tfbundle.scanning.report import ScanFinding
from tfbundle.storage.base import Source
from tfbundle.storage.local import LocalSource
from tfbundle.storage.stated_paths import has_drive, leads_outside, split_path

LARGEST_MEMBER = 64 << 20
"""Bytes of one file of an archive."""
_MOST_BYTES = 128 << 20
# Data of checkpoints that are larger are passed, so that they do not use this up.
_SMALL = 1 << 20
_MOST_MEMBERS = 10_000
_TAR_HEAD, _TAR_MAGIC_OFFSET = 512, 257
_LARGEST_GROWTH = 200
_LONGEST_LINK = 4096
_ENCRYPTED, _ZIP_HEADER = 1, 30
# A compressed tar archive is unpacked to its end: so many bytes, and so many times its own.
_FREE_BYTES = 64 << 20
_LARGEST_STREAM_GROWTH = 20
_ERRORS = (
    EOFError,
    NotImplementedError,  # A method of compression that Python does not have.
    OSError,
    OverflowError,
    RuntimeError,  # A password is needed.
    ValueError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)

LeaveOut = Callable[[str, str], None]


class Budget:
    """How many bytes may still be unpacked in a scan."""

    def __init__(self) -> None:
        self.left = _MOST_BYTES


class _Member:
    """A file in an archive: its name, its size, and how to open it."""

    __slots__ = ("name", "open", "packed", "size", "start", "target")

    def __init__(
        self,
        name: str,
        size: int,
        packed: int,
        open_member: Callable[[], IO[bytes] | None],
        target: str | None = None,
        start: int | None = None,
    ) -> None:
        """Take what is known of it.

        ``target`` is where a link leads, if that is out of the archive. ``start`` is where a large one is in the file
        of the archive, if it is not compressed, so that it is read there and not unpacked.
        """
        self.target = target
        self.start = start
        self.name = name
        self.size = size
        self.packed = packed
        self.open = open_member


def zip_contents(
    content: Content, budget: Budget, leave_out: LeaveOut, report: Callable[[ScanFinding], None]
) -> Iterator[Content]:
    """Yield the files of a zip archive."""
    try:
        with zipfile.ZipFile(content.stream()) as archive:
            # ZipInfo.is_dir fails for an empty name.
            files = (info for info in archive.infolist() if not info.filename.endswith("/"))
            members = (_zip_member(content.source, archive, info) for info in files)
            yield from _contents(content, members, budget, leave_out, report)
    except _ERRORS as error:
        leave_out(content.path, f"the archive cannot be read: {error}")


def _zip_member(source: Source, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    target = None
    if stat.S_ISLNK(info.external_attr >> 16) and info.file_size <= _LONGEST_LINK:
        target = _target(info.filename, archive.read(info).decode("utf-8", "surrogateescape"), is_hard=False)
    start = None
    # Of a remote file a view is a copy.
    is_local = isinstance(source, LocalSource | BytesSource)
    if (
        is_local
        and info.file_size > LARGEST_MEMBER
        and info.compress_type == zipfile.ZIP_STORED
        and not info.flag_bits & _ENCRYPTED
    ):
        head = source.read_at(info.header_offset, _ZIP_HEADER)
        start = info.header_offset + _ZIP_HEADER + int.from_bytes(head[26:28], "little")
        start += int.from_bytes(head[28:30], "little")
        if info.compress_size != info.file_size or start + info.file_size > source.size:
            start = None
    return _Member(info.filename, info.file_size, info.compress_size, lambda: archive.open(info), target, start)


def is_zip(content: Content) -> bool:
    """Return whether a file ends as a zip archive does, whatever its other content."""
    try:
        return zipfile.is_zipfile(content.stream())
    except _ERRORS:
        return False


def tar_contents(
    content: Content, budget: Budget, leave_out: LeaveOut, report: Callable[[ScanFinding], None]
) -> Iterator[Content]:
    """Yield the files of a tar archive, which may be compressed."""
    try:
        # As a stream, so that compressed data is unpacked once, and only as far as it is examined.
        with tarfile.open(fileobj=content.stream(), mode="r|*", bufsize=1 << 20) as archive:
            yield from _contents(content, _tar_members(content, archive, leave_out), budget, leave_out, report)
    except _ERRORS as error:
        leave_out(content.path, f"the archive cannot be read: {error}")


def _tar_members(content: Content, archive: tarfile.TarFile, leave_out: LeaveOut) -> Iterator[_Member]:
    largest = _FREE_BYTES + _LARGEST_STREAM_GROWTH * content.source.size
    for info in archive:
        # Members after it can be reached only by unpacking it.
        if info.offset_data + info.size > largest and content.source.size < info.offset_data + info.size:
            reason = f"{info.name} has {info.size} bytes, more than are unpacked; the members after it were not scanned"
            leave_out(content.path, reason)
            return
        if info.isfile():
            yield _Member(info.name, info.size, info.size, lambda info=info: archive.extractfile(info))  # type: ignore[misc]
        elif info.issym() or info.islnk():
            yield _Member(info.name, 0, 0, lambda: None, _target(info.name, info.linkname, is_hard=info.islnk()))


def _target(name: str, target: str, *, is_hard: bool) -> str | None:
    """Return the target of a link, or ``None`` if it is in the archive; hard links name another member."""
    folder = [] if is_hard else [part for part in split_path(name)[:-1] if part not in ("", ".")]
    depth = len(folder)
    for part in split_path(target):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            return target
    return target if target[:1] in ("/", "\\") or has_drive(target) else None


def _contents(
    content: Content,
    members: Iterator[_Member],
    budget: Budget,
    leave_out: LeaveOut,
    report: Callable[[ScanFinding], None],
) -> Iterator[Content]:
    for number, member in enumerate(members):
        path = f"{content.path}!{member.name}"
        if number >= _MOST_MEMBERS:
            leave_out(content.path, f"the archive has more than {_MOST_MEMBERS} files")
            return
        if leads_outside(member.name):
            message = f"{member.name!r} would be unpacked outside of the folder"
            report(ScanFinding("archive-path", "high", message, path, trigger="unreachable", argument=member.name))
        if member.target is not None:
            message = f"{member.name!r} is a link to {member.target!r}, outside of the folder"
            report(ScanFinding("archive-path", "high", message, path, trigger="unreachable", argument=member.target))
        if member.size > _SMALL and not is_worth_reading(member.name):
            continue
        *folders, name = split_path(member.name)
        if member.start is not None:
            yield Content(BytesSource(path, content.source.view(member.start, member.size)), name, tuple(folders))
            continue
        size = min(member.size, LARGEST_MEMBER + 1)
        if size > LARGEST_MEMBER or size > budget.left or size > (1 << 20) + member.packed * _LARGEST_GROWTH:
            if is_worth_reading(member.name):
                leave_out(path, f"it has {member.size} bytes, more than are unpacked in memory")
            continue
        try:
            stream = member.open()
            data = b"" if stream is None else stream.read(size)
        except _ERRORS as error:
            leave_out(path, f"it cannot be unpacked: {error}")
            continue
        budget.left -= len(data)
        yield Content(BytesSource(path, data), name, tuple(folders))


def is_compressed_tar(content: Content) -> bool:
    """Return whether a compressed file contains a tar archive."""
    try:
        with _decompress(content) as stream:
            return stream.read(_TAR_HEAD)[_TAR_MAGIC_OFFSET:].startswith(b"ustar")
    except _ERRORS:
        return False


def unpacked(content: Content, budget: Budget, leave_out: LeaveOut) -> Content | None:
    """Return the contents of a compressed file, or ``None`` if it cannot be unpacked in memory."""
    try:
        with _decompress(content) as stream:
            data = stream.read(min(LARGEST_MEMBER, budget.left) + 1)
    except _ERRORS as error:
        leave_out(content.path, f"it cannot be unpacked: {error}")
        return None
    name, _, _ = content.name.rpartition(".")
    path = f"{content.path}!{name or content.name}"
    is_whole = len(data) <= min(LARGEST_MEMBER, budget.left)
    budget.left -= len(data)
    if not is_whole:
        if is_worth_reading(name):
            leave_out(content.path, "it has more bytes than are unpacked in memory")
        return None
    return Content(BytesSource(path, data), name or content.name, content.folders)


def _decompress(content: Content) -> bz2.BZ2File | lzma.LZMAFile | gzip.GzipFile:
    head = content.head(6)
    if head.startswith(b"BZh"):
        return bz2.BZ2File(content.stream())
    if head.startswith(b"\xfd7zXZ"):
        return lzma.LZMAFile(content.stream())
    return gzip.GzipFile(fileobj=content.stream())


def is_worth_reading(name: str) -> bool:
    """Return whether a file that is left out may hold a program, by its name; the data of checkpoints hold none."""
    lower = name.lower()
    return not (".data-" in lower or lower.endswith((".npy", ".safetensors", INDEX_SUFFIX)))
