"""The remains of a V1 checkpoint: the existing files, and the intact blocks of each.

The first block of a file lists its contents, and the values show neither type nor shape. A file without its meta is
therefore lost, but of a file without its footer every intact block can be used, which ``formats/table/damaged`` finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tfbundle.checkpoint.v1.files import V1Files, check_set
from tfbundle.checkpoint.v1.index import Part, V1Index, read_parts, records_of
from tfbundle.checkpoint.v1.slice_table import SliceTable
from tfbundle.checkpoint.v1.store import V1Store
from tfbundle.errors import FormatError, MissingFileError, TfBundleError
from tfbundle.findings import Finding, finding_of
from tfbundle.formats.slice_keys import decode_name, decode_slice_key
from tfbundle.formats.table.damaged import list_keys, scan_table
from tfbundle.plurals import plural
from tfbundle.storage.base import Location, Source
from tfbundle.tensors.shared_stores import SharedStores
from tfbundle.tensors.slices import DamagedSlices


def open_salvaged_v1(prefix: Location, files: tuple[Location, ...], damaged: DamagedSlices) -> V1Store:
    """Return the store of a damaged V1 checkpoint, shared by all of its unpickled tensors."""

    def open_store() -> V1Store:
        remains, _ = salvage_v1(prefix, files)
        return restrict_v1(remains, remains.records(), damaged)

    return _shared.get((files, damaged), open_store)


_shared: SharedStores[V1Store] = SharedStores()


def salvage_v1(prefix: Location, files: Sequence[Location]) -> tuple[V1Store, list[Finding]]:
    """Return the remains of a checkpoint, whose values are not yet verified, and findings about the losses.

    Raises ``TfBundleError`` only if no file exists, or one cannot be opened at all.
    """
    findings: list[Finding] = []
    try:
        check_set(prefix.path, [file.path for file in files])
    except MissingFileError as error:
        if not files:
            raise
        findings.append(finding_of(error, "index"))
    opened = V1Files(prefix, files, _TableOpener(findings))
    parts: dict[bytes, list[Part]] = {}
    for number in range(len(opened)):
        try:
            read_parts(opened, number, parts)
        except (TfBundleError, OSError) as error:
            if isinstance(error, MissingFileError) and len(opened) == 1:
                raise
            findings.append(finding_of(error, "index"))
            findings += _name_lost(opened, number)
    if len(opened) > 1 and not opened.are_current():
        raise FormatError(f"{prefix} was overwritten while it was being opened; open it again", path=prefix.path)
    index = V1Index(opened, records_of(parts))
    reopening = (open_salvaged_v1, (opened.prefix, opened.locations, ()))
    return V1Store(index, reopening, verify=True), findings


def restrict_v1(store: V1Store, names: Iterable[str], damaged: DamagedSlices) -> V1Store:
    """Return the store of some tensors of a salvaged one, without the ``damaged`` slices of others."""
    index = store.index.restrict(names, dict(damaged))
    reopening = (open_salvaged_v1, (store.prefix, store.files.locations, damaged))
    return V1Store(index, reopening, verify=True)


def _name_lost(files: V1Files, number: int) -> Iterator[Finding]:
    """Yield a finding for each tensor with values in a file whose meta is lost, as far as its blocks show."""
    path = files.paths[number]
    names: dict[bytes, None] = {}
    try:
        table = files.table(number)
    except (TfBundleError, OSError):
        return  # It is not a file, or may not be read.
    for handle in table.handles:
        for key in list_keys(table.source, handle):
            try:
                names[decode_slice_key(key)[0]] = None
            except FormatError:
                continue
    for name in map(decode_name, names):
        message = f"{name!r} has values in {path}, but what they mean stood in a block that is lost"
        yield Finding("index", message, path, name)


class _TableOpener:
    """Opens tables, also without a footer, and adds the losses of each to ``findings``, once."""

    def __init__(self, findings: list[Finding]) -> None:
        self._findings = findings
        self._scanned: set[str] = set()

    def __call__(self, source: Source) -> SliceTable:
        try:
            return SliceTable(source)
        except FormatError as error:
            directory, gaps = scan_table(source)
            if source.path not in self._scanned:  # With many files, one may be opened again.
                self._scanned.add(source.path)
                self._findings.append(finding_of(error, "index"))
                for gap in gaps:
                    message = (
                        f"no block of {source.path} is intact in {plural(gap.size, 'byte')} from offset {gap.offset}; "
                        "the values in them are lost"
                    )
                    self._findings.append(Finding("index", message, source.path, None, None, *gap))
            return SliceTable(source, directory=directory)
