"""What is left of a V1 checkpoint: its files as far as they are there, and in each the blocks that are whole.

What a file holds is stated in its first block, and its values tell neither type nor shape. So a file without its meta
is lost, and a file without its footer is as good as its blocks, which ``formats/damaged_table`` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakValueDictionary

from tfbundle.checkpoint.v1.files import V1Files, check_set
from tfbundle.checkpoint.v1.index import Part, Record, StoredSlice
from tfbundle.checkpoint.v1.slice_table import SliceTable
from tfbundle.checkpoint.v1.store import V1Store
from tfbundle.errors import FormatError, MissingFileError, TfBundleError
from tfbundle.findings import Finding, finding_of
from tfbundle.formats.slice_keys import decode_name, decode_slice_key
from tfbundle.formats.table.damaged import list_keys, scan_table
from tfbundle.storage.base import Source
from tfbundle.tensors.slices import DamagedSlices
from tfbundle.tensors.store import Facts


def open_salvaged_v1(path: str, files: tuple[str, ...], damaged: DamagedSlices) -> SalvagedV1:
    """The store of a damaged V1 checkpoint, shared by all unpickled tensors that lie in it."""
    key = (files, damaged)
    store = _shared.get(key)
    if store is None or not store.is_current():
        store = _shared[key] = SalvagedV1(path, files, damaged)
    return store


_shared: WeakValueDictionary[tuple[tuple[str, ...], DamagedSlices], SalvagedV1] = WeakValueDictionary()


class SalvagedV1(V1Store):
    """A V1 checkpoint of which parts may be lost; ``findings`` says which."""

    def __init__(self, path: str, files: Sequence[str], damaged: DamagedSlices = ()) -> None:
        """Read the metas that are left; ``damaged`` is what ``keep`` was told when the files were checked.

        Raises only where no file is there, or where one cannot be opened at all.
        """
        self.findings: list[Finding] = []
        self._damaged = dict(damaged)
        super().__init__(path, files, verify=True)

    def reopening(self) -> tuple[Callable[..., V1Store], tuple[Any, ...]]:
        """How another process opens this store."""
        return open_salvaged_v1, (self.path, self.files.paths, tuple(self._damaged.items()))

    def keep(self, names: list[str], damaged: DamagedSlices) -> None:
        """Forget all tensors but these, and those slices of others that are ``damaged``."""
        self._records = {name: self._records[name] for name in names}
        self._damaged = dict(damaged)

    def pieces(self, name: str, record: Record) -> tuple[Facts, list[StoredSlice]]:
        """What is known of a tensor, and its stored slices, without damaged ones."""
        facts, pieces = super().pieces(name, record)
        if name not in self._damaged:
            return facts, pieces
        pieces = [piece for number, piece in enumerate(pieces) if number not in self._damaged[name]]
        return facts._replace(slices=tuple(piece.box for piece in pieces)), pieces

    def _find_files(self, files: Sequence[str]) -> V1Files:
        return _Files(self.path, files, self.findings)

    def _read_parts(self, number: int, parts: dict[bytes, list[Part]]) -> None:
        try:
            super()._read_parts(number, parts)
        except (TfBundleError, OSError) as error:
            self.findings.append(finding_of(error, "index"))
            self._name_lost(number)

    def _name_lost(self, number: int) -> None:
        """Add a finding for each tensor that has values in a file whose meta is lost, as far as blocks tell."""
        path = self.files.paths[number]
        names: dict[bytes, None] = {}
        try:
            table = self.files.table(number)
        except (TfBundleError, OSError):
            return  # It is not even a file, or may not be read.
        for handle in table.handles:
            for key in list_keys(table.source, handle):
                try:
                    names[decode_slice_key(key)[0]] = None
                except FormatError:
                    continue
        for name in map(decode_name, names):
            message = f"{name!r} has values in {path}, but what they mean stood in a block that is lost"
            self.findings.append(Finding("index", message, path, name))


class _Files(V1Files):
    def __init__(self, path: str, files: Sequence[str], findings: list[Finding]) -> None:
        self._findings = findings
        self._scanned: set[str] = set()
        super().__init__(path, files, verify=True)

    def __iter__(self) -> Iterator[SliceTable]:
        """The tables of those files that could be opened."""
        for number in range(len(self)):
            try:
                yield self.table(number)
            except (TfBundleError, OSError):
                if number in self._seen:
                    raise

    def _check_set(self) -> None:
        try:
            check_set(self.path, self.paths)
        except MissingFileError as error:
            if not self.paths:
                raise
            self._findings.append(finding_of(error, "index"))

    def _make_table(self, source: Source) -> SliceTable:
        try:
            return super()._make_table(source)
        except FormatError as error:
            directory, gaps = scan_table(source)
            if source.path not in self._scanned:  # A file is opened again where there are many.
                self._scanned.add(source.path)
                self._findings.append(finding_of(error, "index"))
                for gap in gaps:
                    message = (
                        f"no block of {source.path} is whole in {gap.size} bytes from offset {gap.offset}; "
                        "the values in them are lost"
                    )
                    self._findings.append(Finding("index", message, source.path, None, None, *gap))
            return SliceTable(source, directory=directory)
