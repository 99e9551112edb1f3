"""Sorted tables: what a search finds, iteration yields, and the other way round."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sealing import seal_table

from tests.hostile.exercise import demand
from tests.support.expected import FIXTURES
from tests.support.table_writer import encode_table
from tfbundle.errors import TfBundleError
from tfbundle.formats.table.reader import Table, read_block
from tfbundle.storage.local import LocalSource

_LARGEST_SEED = 4 << 10
_FILE = Path(tempfile.mkdtemp(prefix="fuzz-")) / "table"


def seeds() -> Iterator[bytes]:
    """Indexes and V1 checkpoints, and a table of several blocks."""
    for path in sorted([*FIXTURES.glob("*/*/*.index"), *FIXTURES.glob("handmade/v1-*/bundle")]):
        if path.stat().st_size <= _LARGEST_SEED:
            yield path.read_bytes()
    for compress in (False, True):
        pairs = {b"key%d" % number: b"value" * (number % 3) for number in range(40)}
        yield encode_table(pairs, block_size=60, restart_interval=3, compress=compress)


def check(data: bytes) -> None:
    """Raise if the promise is broken."""
    # The first bit says whether the checksums are to hold, or not to be asked for.
    if not data:
        return
    verify = bool(data[0] & 1)
    _FILE.write_bytes(seal_table(data) if verify else data)
    source = LocalSource(_FILE)
    try:
        _read(source, verify)
    finally:
        source.close()


def _read(source: LocalSource, verify: bool) -> None:
    try:
        table = Table(source, verify=verify)
    except TfBundleError:
        return
    with suppress(TfBundleError):
        read_block(source, table.footer.metaindex_handle, verify=verify)
    try:
        pairs = dict(table.items())
    except TfBundleError:
        pairs = None
    if pairs is None:
        for key in (b"", b"a", b"\0", b"weights"):
            with suppress(TfBundleError, KeyError):
                table[key]
        return
    demand(list(pairs) == sorted(pairs), "keys are not in order")
    for key, value in pairs.items():
        demand(table.find(key) == value, f"{key!r} is iterated over and not found")
        demand(
            table.find(key + b"\0") == pairs.get(key + b"\0"), f"what follows {key!r} is found and not iterated over"
        )
