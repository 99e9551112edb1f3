"""The metas of a V1 checkpoint: the name and description of each tensor, and the places of its slices.

Each file has a meta, which states type and shape of the tensors that it holds, and their slices in this file. Slices of
a tensor may be in several files, whose metas have to agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat
from math import prod
from typing import NamedTuple

from tfbundle.checkpoint.v1.files import V1Files, check_set
from tfbundle.checkpoint.v1.saved_slice import count_slices, decode_meta, decode_statement
from tfbundle.checkpoint.v1.slice_table import Block, SliceTable
from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.formats.slice_keys import decode_name, encode_slice_keys
from tfbundle.formats.versions import check_version
from tfbundle.limits import FREE_SLICES
from tfbundle.storage.base import Location
from tfbundle.tensors.dtypes import data_type_name
from tfbundle.tensors.overlaps import Effort
from tfbundle.tensors.parts import Tiling, VariablePart, find_part, tiling
from tfbundle.tensors.slices import TensorSlice, check_disjoint, locate_slice
from tfbundle.tensors.store import Facts

_META_KEY = b""


class Part(NamedTuple):
    """One file's data about a tensor: the file's number, the entry in its meta, and the blocks of its slices.

    There are no ``blocks`` where the statement makes no sense, and they are ``None`` where it and others list too many
    slices.
    """

    file: int
    statement: bytes
    blocks: tuple[Block | None, ...] | None


# One for each file that knows the tensor. The blocks' checksums show whether it still holds the same values.
Record = tuple[Part, ...]


class StoredSlice(NamedTuple):
    """One slice of a tensor: its place in the tensor, and where it is stored."""

    box: TensorSlice
    file: int
    block: Block | None


class V1Index:
    """The names and metas of an open V1 checkpoint."""

    def __init__(
        self,
        files: V1Files,
        records: dict[str, Record],
        damaged: Mapping[str, frozenset[int]] | None = None,
    ) -> None:
        """``open`` makes these, and ``salvage`` makes them from the remains of one.

        ``damaged`` has the numbers of slices that are left out of what their tensors have.
        """
        self.files = files
        self._records = records
        self._damaged = damaged or {}
        self._owners: dict[str, Tiling | None] = {}
        self._last: tuple[str, Record | None, tuple[Facts, list[StoredSlice]]] = "", None, (Facts(0, (), ()), [])
        self._disjoint: set[str] = set()
        self._effort = Effort()

    def check_disjoint(self, name: str, slices: list[StoredSlice]) -> None:
        """Raise ``FormatError`` if slices of a tensor overlap; ``UnsupportedError`` if the check takes too long."""
        if name not in self._disjoint:
            check_disjoint([stored.box for stored in slices], self._effort)
            self._disjoint.add(name)

    @classmethod
    def open(cls, prefix: Location, files: Sequence[Location], *, verify: bool) -> V1Index:
        """Open ``files`` and read their metas; ``prefix`` is the name that the caller uses for the checkpoint.

        Raises ``MissingFileError`` if one of the set does not exist, ``FormatError`` if a file is not a V1
        checkpoint, and ``UnsupportedError`` for a newer format.
        """
        check_set(prefix.path, [file.path for file in files])
        opened = V1Files(prefix, files, partial(SliceTable, verify=verify))
        parts: dict[bytes, list[Part]] = {}
        for number in range(len(opened)):
            read_parts(opened, number, parts)
        if len(opened) > 1 and not opened.are_current():
            raise FormatError(f"{prefix} was overwritten while it was being opened; open it again", path=prefix.path)
        return cls(opened, records_of(parts))

    def restrict(self, names: Iterable[str], damaged: Mapping[str, frozenset[int]]) -> V1Index:
        """Return the index of some of the tensors, without the ``damaged`` slices of others."""
        index = V1Index(self.files, {name: self._records[name] for name in names}, damaged)
        # Where a slot of a part belongs does not depend on whether its variable is intact.
        index._owners = self._owners
        index._disjoint, index._effort = self._disjoint, self._effort
        return index

    def records(self) -> dict[str, Record]:
        """Return every tensor's record by name, in the order of the names' bytes."""
        return self._records

    def find(self, name: str) -> Record | None:
        """Return a tensor's record, or ``None``."""
        return self._records.get(name)

    def facts(self, name: str, record: Record) -> Facts:
        """Return type, shape and, if there are several, slices of a tensor."""
        return self.stored_slices(name, record)[0]

    def all_facts(self) -> Iterable[Facts | None]:
        """Return ``None`` for each tensor: reading all of them together is not faster."""
        return repeat(None, len(self._records))

    def stored_slices(self, name: str, record: Record) -> tuple[Facts, list[StoredSlice]]:
        """Return the facts of a tensor, and its stored slices without damaged ones.

        Raises ``FormatError`` where its files contradict each other.
        """
        # One tensor is asked about several times in a row.
        known, of, found = self._last
        if known != name or of is not record:
            found = self._decode(name, record)
            self._last = name, record, found
        facts, slices = found
        return facts, list(slices)

    def _decode(self, name: str, record: Record) -> tuple[Facts, list[StoredSlice]]:
        slices: list[StoredSlice] = []
        kinds: list[tuple[int, tuple[int, ...]]] = []
        for part in record:
            path = self.files.paths[part.file]
            if part.blocks is None:
                raise UnsupportedError(
                    f"{path} lists far more slices of it and others than it has values for", path=path, tensor=name
                )
            try:
                data_type, shape, stated = decode_statement(part.statement)
                boxes = [locate_slice(extents, shape) for extents in stated]
            except TfBundleError as error:
                error.offset = None  # A place in the meta means nothing to anyone.
                raise error.locate(path=path, tensor=name) from None
            kinds.append((data_type, shape))
            if kinds[0] != kinds[-1]:
                raise FormatError(
                    f"{self.files.paths[record[0].file]} has it as {_describe(*kinds[0])}, and {path} as "
                    f"{_describe(*kinds[-1])}",
                    path=path,
                    tensor=name,
                )
            slices += map(StoredSlice, boxes, [part.file] * len(boxes), part.blocks)
        data_type, shape = kinds[0]
        boxes = [stored.box for stored in slices]
        found = find_part(name, Facts(data_type, shape, tuple(boxes)), self._tiling_of) if len(boxes) == 1 else None
        if found is not None:
            # It is a separate tensor, so that its slice begins where it does.
            lengths = found.region.lengths
            box = TensorSlice((0,) * len(lengths), lengths, found.region.extents)
            return Facts(data_type, lengths, ()), [slices[0]._replace(box=box)]
        if name in self._damaged:
            slices = [stored for number, stored in enumerate(slices) if number not in self._damaged[name]]
            return Facts(data_type, shape, tuple(stored.box for stored in slices)), slices
        is_whole = len(boxes) == 1 and boxes[0].volume == prod(shape)
        return Facts(data_type, shape, () if is_whole else tuple(boxes)), slices

    def part(self, name: str, record: Record) -> VariablePart | None:
        """Return where a tensor belongs that is a slot of a part of a variable; ``None`` for any other."""
        facts = self._stated(record)
        return None if facts is None else find_part(name, facts, self._tiling_of)

    def _tiling_of(self, name: str) -> Tiling | None:
        """Return how another tensor is partitioned, which the slots of each of its parts request."""
        if name not in self._owners:
            record = self._records.get(name)
            self._owners[name] = tiling(None if record is None else self._stated(record))
        return self._owners[name]

    def _stated(self, record: Record) -> Facts | None:
        """Return the type and shape that the first file states, and the slices of all; ``None`` for nonsense."""
        if any(part.blocks is None for part in record):
            return None
        try:
            stated = [decode_statement(part.statement) for part in record]
            shape = stated[0].shape
            slices = tuple(locate_slice(extents, shape) for one in stated for extents in one.slices)
        except TfBundleError:
            return None
        return Facts(stated[0].data_type, shape, slices)


def read_parts(files: V1Files, number: int, parts: dict[bytes, list[Part]]) -> None:
    """Add the parts of each tensor in a file to ``parts``."""
    table = files.table(number)
    # A slice takes a few bytes in the meta, and a hundred times as many once it is searched for.
    allowed = FREE_SLICES
    listed = 0
    for name, statement in _read_meta(table):
        found = parts.setdefault(name, [])
        blocks: tuple[Block | None, ...] | None = None
        try:
            count = count_slices(statement)
            if count > 1 and listed + count > allowed == FREE_SLICES:
                allowed += len(table)
            if count <= 1 or listed + count <= allowed:
                keys = encode_slice_keys(name, decode_statement(statement).slices)
                blocks = tuple(map(table.locate, keys))
                listed += count if count > 1 else 0
        except TfBundleError:
            blocks = ()  # Reading the tensor decodes the statement again, and raises the error.
        found.append(Part(number, statement, blocks))


def records_of(parts: dict[bytes, list[Part]]) -> dict[str, Record]:
    """Return the description of each tensor in all files, in the order of the names' bytes."""
    return {decode_name(name): tuple(parts[name]) for name in sorted(parts)}


def _read_meta(table: SliceTable) -> list[tuple[bytes, bytes]]:
    """Return the name of each tensor in a file, with its entry in the meta."""
    path = table.source.path
    value = table.find(_META_KEY)
    if value is None:
        raise FormatError(f"{path} has no meta; it is a table of another kind", path=path)
    try:
        meta = decode_meta(value)
    except FormatError as error:
        error.offset = None
        raise error.locate(path=path) from None
    table.source.check_unchanged()
    check_version(meta.versions, path)
    return meta.statements


def _describe(data_type: int, shape: tuple[int, ...]) -> str:
    return f"{data_type_name(data_type)} of shape {list(shape)}"
