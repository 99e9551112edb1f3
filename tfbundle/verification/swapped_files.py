"""Data files of a bundle that have each other's names.

Nothing is right in such a file, and each looks as if it were of another checkpoint, or cut short. But what should be in
it has its checksum, and that is looked for in the others of which nothing is right: a few tensors tell.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress

from tfbundle.checkpoint.v2.pieces import Piece
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import TfBundleError
from tfbundle.findings import Finding
from tfbundle.verification.layout import Claim, Layout

_MOST_FILES = 10
# What is looked for in other files: so many tensors, none of them larger, and together no smaller.
_MOST_SAMPLES = 3
_LARGEST_SAMPLE = 1 << 20
_FEWEST_BYTES = 32


def find_exchanged(
    store: BundleStore,
    records: Mapping[str, bytes],
    layout: Layout,
    present: Mapping[int, str],
    findings: Collection[Finding],
) -> dict[str, str]:
    """The data files in which nothing is right, each with the one that holds what should be in it."""
    wrong = {(finding.shard, finding.offset) for finding in findings if finding.kind in ("checksum", "truncated")}
    suspects: dict[int, list[Claim]] = {}
    for shard in present:
        claims = [claim for claim in layout.claims.get(shard, ()) if claim.offset < claim.end]
        if claims and all((shard, claim.offset) in wrong for claim in claims):
            suspects[shard] = claims
    if len(suspects) > _MOST_FILES:
        return {}
    samples = {
        shard: _choose(store, records, dict.fromkeys(claim.name for claim in claims), shard)
        for shard, claims in suspects.items()
    }
    return {
        present[shard]: present[other]
        for shard, pieces in samples.items()
        for other in samples
        if other != shard and _are_in(store, pieces, other)
    }


def _choose(store: BundleStore, records: Mapping[str, bytes], names: Collection[str], shard: int) -> list[Piece]:
    """Some stored pieces that should be in a data file; none if they are too small to prove anything."""
    pieces: list[Piece] = []
    with suppress(TfBundleError, OSError):
        for name in names:
            pieces += (piece for _, piece in store.pieces(name, records[name]) if piece.location.shard == shard)
    small = [piece for piece in pieces if piece.location.size <= _LARGEST_SAMPLE]
    chosen = sorted(small, key=lambda piece: piece.location.size)[-_MOST_SAMPLES:]
    return chosen if sum(piece.location.size for piece in chosen) >= _FEWEST_BYTES else []


def _are_in(store: BundleStore, pieces: list[Piece], shard: int) -> bool:
    """Whether a data file has what some pieces should be, in their places."""
    try:
        for piece in pieces:
            store.reader.check(piece._replace(location=piece.location._replace(shard=shard)))
    except (TfBundleError, OSError):
        return False
    return bool(pieces)
