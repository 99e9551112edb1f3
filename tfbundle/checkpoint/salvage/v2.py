"""The remains of a V2 checkpoint's index, as a store that reads the tensors that are still listed.

Intact blocks of the index are used, and found even if the footer is lost (``formats/table/damaged``). Damaged blocks
are used only for the names in findings, because a name or a type in them may be wrong even if the tensor's bytes are
right.

The header is one entry of the index. Without it, the number of data files is inferred from their names, and the byte
order from their contents (``byteorder``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from tfbundle.checkpoint.find.names import parse_shard
from tfbundle.checkpoint.salvage.byteorder import ask_numbers, ask_strings, has_byteorder
from tfbundle.checkpoint.v2.entry import decode_facts
from tfbundle.checkpoint.v2.index import BundleIndex, Header, Parents, decode_tensors, read_header
from tfbundle.checkpoint.v2.payload import ByteOrder
from tfbundle.checkpoint.v2.shards import Shards
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.checkpoint.v2.stored_slices import SliceReader, StoredSlice
from tfbundle.errors import FormatError, MissingFileError, TfBundleError, UnsupportedError
from tfbundle.findings import Finding, finding_of
from tfbundle.formats.slice_keys import decode_name, decode_slice_key, encode_name
from tfbundle.formats.table.damaged import list_keys, scan_table
from tfbundle.formats.table.reader import BlockHandle, Directory, Table
from tfbundle.identification.names import INDEX_SUFFIX
from tfbundle.limits import MOST_SHARDS
from tfbundle.plurals import plural
from tfbundle.storage.base import Location, Source
from tfbundle.tensors.dtypes import DT_STRING
from tfbundle.tensors.shared_stores import SharedStores
from tfbundle.tensors.slices import DamagedSlices

_Entries = tuple[list[bytes], list[bytes]]


def open_salvaged_bundle(prefix: Location, damaged: DamagedSlices) -> BundleStore:
    """Return the store of a damaged V2 checkpoint, shared by all of its unpickled tensors."""

    def open_store() -> BundleStore:
        remains, _ = salvage_bundle(prefix)
        return restrict_bundle(remains, remains.records(), damaged)

    return _shared.get((prefix, damaged), open_store)


_shared: SharedStores[BundleStore] = SharedStores()


def salvage_bundle(prefix: Location) -> tuple[BundleStore, list[Finding]]:
    """Return the remains of a checkpoint, whose values are not yet verified, and findings about the losses.

    Raises ``MissingFileError`` if there is no index, and ``UnsupportedError`` if the header requires a newer reader.
    """
    prefix = prefix.anchored()
    source = prefix.plus(INDEX_SUFFIX).open()
    findings: list[Finding] = []
    table, blocks = _read_intact_blocks(source, findings)
    header = _find_header(table)
    shards = Shards(prefix, _count_shards(prefix) if header is None else header.num_shards, source)
    records = decode_tensors(blocks, Parents(table))
    if header is None:
        header = _infer_header(BundleIndex(table, Header(shards.count, "little"), records), shards, findings)
    if findings:  # Otherwise no entry is missing, and a key that looks like a slice is a tensor's unusual name.
        findings += _drop_orphans(records, source.path)
    index = BundleIndex(table, header, records)
    reader = SliceReader(shards, header.byteorder, verify=True)
    return BundleStore(index, reader, (open_salvaged_bundle, (prefix, ()))), findings


def restrict_bundle(store: BundleStore, names: Iterable[str], damaged: DamagedSlices) -> BundleStore:
    """Return the store of some tensors of a salvaged one, without the ``damaged`` slices of others."""
    index = store.index.restrict(names, dict(damaged))
    return BundleStore(index, store.reader, (open_salvaged_bundle, (store.prefix, damaged)))


def _read_intact_blocks(source: Source, findings: list[Finding]) -> tuple[Table, list[_Entries]]:
    """Return a table of the intact blocks and their entries; ``findings`` receives the others."""
    try:
        table = Table(source)
    except FormatError as error:
        findings.append(finding_of(error, "index"))
        directory, gaps = scan_table(source)
        for gap in gaps:
            message = (
                f"no block of {source.path} is intact in {plural(gap.size, 'byte')} from offset {gap.offset}; the "
                "tensors that they listed are lost"
            )
            findings.append(Finding("index", message, source.path, offset=gap.offset, size=gap.size))
            findings += _name_lost(source, BlockHandle(*gap))
        table = Table(source, directory=directory)
    kept = Directory([], [])
    blocks = []
    for number, handle in enumerate(table.handles):
        try:
            blocks.append(table.block(number))
        except (FormatError, OSError) as error:
            findings.append(finding_of(error, "index"))
            findings += _name_lost(source, handle)
        else:
            kept.separators.append(table.separators[number])
            kept.handles.append(handle)
    source.check_unchanged()
    return Table(source, directory=kept), blocks


def _name_lost(source: Source, handle: BlockHandle) -> Iterator[Finding]:
    """Yield a finding for each name that can be read in a damaged block."""
    for name in dict.fromkeys(map(_owner, list_keys(source, handle))):
        if name:
            message = f"{name!r} stands in a damaged block of the index, so that nothing certain is known of it"
            yield Finding("index", message, source.path, name, offset=handle.offset)


def _find_header(table: Table) -> Header | None:
    try:
        return read_header(table)
    except UnsupportedError:
        raise
    except FormatError:
        return None


def _count_shards(prefix: Location) -> int:
    """Return how many data files the checkpoint has, by the names of the existing ones."""
    try:
        names = prefix.parent.list().names
    except MissingFileError:
        return 0
    counts = Counter(
        shard.total
        for shard in map(parse_shard, names)
        if shard is not None and shard.prefix == prefix.name and shard.total <= MOST_SHARDS
    )
    # If there are several sets, the most complete one.
    return max(counts, key=lambda count: (counts[count] / count if count else 0, count), default=0)


def _infer_header(index: BundleIndex, shards: Shards, findings: list[Finding]) -> Header:
    """Return the header that the data files suggest.

    If they do not determine the byte order, numbers are removed from the index's records.
    """
    readers: dict[ByteOrder, SliceReader] = {
        order: SliceReader(shards, order, verify=True) for order in ("little", "big")
    }
    found = ask_strings(_slices_of(index, lambda data_type: data_type == DT_STRING), readers)
    order = "is that of its strings"
    if found is None:
        found = ask_numbers(_slices_of(index, has_byteorder), readers["little"])
        order = "is the one in which its numbers are plausible"
    if found is None:
        order = "is not known, so that nothing but strings and single bytes can be read"
    path = index.table.source.path
    message = (
        f"the header of {path} is lost; by the names of the data files there are {shards.count}, and the byte order "
        f"{order}"
    )
    findings.append(Finding("index", message, path))
    if found is None:
        findings += _drop_numbers(index.records(), path)
    return Header(shards.count, found or "little")


def _drop_numbers(records: dict[str, bytes], path: str) -> Iterator[Finding]:
    """Remove the tensors whose values depend on the byte order."""
    for name, record in list(records.items()):
        with suppress(TfBundleError):
            if has_byteorder(decode_facts(record).data_type):
                del records[name]
                message = f"the byte order of {name!r} stood in the header, and nothing that is left shows it"
                yield Finding("index", message, path, name)


def _slices_of(index: BundleIndex, want: Callable[[int], bool]) -> Iterator[StoredSlice]:
    """Yield the stored slices of the tensors whose data types ``want`` accepts."""
    for name, record in index.records().items():
        with suppress(TfBundleError):
            if want(decode_facts(record).data_type):
                yield from (stored for _, stored in index.stored_slices(name, record))


def _drop_orphans(records: dict[str, bytes], path: str) -> Iterator[Finding]:
    """Remove slices whose tensor's own entry is lost, because only that states the whole shape."""
    orphans: Counter[str] = Counter()
    for name in [name for name in records if name.startswith("\0")]:
        owner = _owner(encode_name(name))
        if owner != name:
            del records[name]
            orphans[owner] += 1
    for owner, count in orphans.items():
        message = f"the entry of {owner!r} is lost; {count} of its slices are there, and state too little"
        yield Finding("index", message, path, owner)


def _owner(key: bytes) -> str:
    """Return the name of the tensor that a key belongs to, which may be its own key or that of a slice."""
    if key.startswith(b"\0"):
        try:
            return decode_name(decode_slice_key(key)[0])
        except FormatError:
            pass
    return decode_name(key)
