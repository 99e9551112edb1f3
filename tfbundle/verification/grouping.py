"""Findings about V1 slices, of which one damaged block may hold thousands, as one finding for each cause.

A block has one checksum for all of its slices, so that damage to it is reported once for each of them. Slices without
a block in common are grouped by their tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace

from tfbundle.findings import Finding
from tfbundle.plurals import plural

# A finding about several tensors names so many of them.
_NAMED = 3


def group_by_block(blocks: Sequence[Finding], slices: Iterable[Finding]) -> list[Finding]:
    """Return one finding for each damaged block and, of other findings about slices, one for each tensor.

    ``blocks`` are findings about damaged blocks. A finding about a block has a ``tensor`` only if all of its slices
    belong to that tensor.
    """
    damaged = {(finding.path, finding.offset) for finding in blocks}

    def key_of(finding: Finding) -> Hashable:
        # A checksum is always that of a block, which may be in a file that is not checked block by block.
        is_damaged = finding.kind == "checksum" or (finding.path, finding.offset) in damaged
        return (finding.path, finding.offset, _cause(finding)) if is_damaged else finding

    merged = [_about_block(group) for group in _grouped(slices, key_of)]
    reported = {(finding.path, finding.offset) for finding in merged}
    unused = [finding for finding in blocks if (finding.path, finding.offset) not in reported]
    return [*unused, *map(_about_tensor, _grouped(merged, _tensor_of))]


def _grouped(findings: Iterable[Finding], key_of: Callable[[Finding], Hashable]) -> Iterable[list[Finding]]:
    groups: dict[Hashable, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(key_of(finding), []).append(finding)
    return groups.values()


def _tensor_of(finding: Finding) -> Hashable:
    return finding if finding.tensor is None else (finding.path, finding.offset, finding.kind, finding.tensor)


def _cause(finding: Finding) -> str:
    return finding.message.removeprefix(f"tensor {finding.tensor!r}: ")


def _about_block(group: list[Finding]) -> Finding:
    first = group[0]
    names = list(dict.fromkeys(finding.tensor for finding in group if finding.tensor is not None))
    if len(group) == 1 or not names:
        return first
    if len(names) == 1:
        return replace(first, message=f"{first.message}; {len(group)} slices of it are affected")
    listed = ", ".join(map(repr, names[:_NAMED]))
    others = f" and {plural(len(names) - _NAMED, 'other')}" if len(names) > _NAMED else ""
    message = f"{_cause(first)}; {plural(len(names), 'tensor')} are affected: {listed}{others}"
    return replace(first, message=message, tensor=None)


def _about_tensor(group: list[Finding]) -> Finding:
    first = group[0]
    if len(group) == 1:
        return first
    return replace(
        first, message=f"{first.message}; {plural(len(group) - 1, 'more slice')} of it cannot be read either"
    )
