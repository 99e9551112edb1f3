"""Removal of the files of a checkpoint, and the times of existing checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from tfbundle.checkpoint.find.names import parse_shard, v1_prefix_of
from tfbundle.errors import MissingFileError
from tfbundle.identification.names import INDEX_SUFFIX
from tfbundle.proto import SaverDef
from tfbundle.storage.base import Location
from tfbundle.storage.changing import remove_file
from tfbundle.storage.locations import StrPath, locate

_SHARDS = re.compile(r"-[\d?]+-of-\d+\Z")


def meta_graph_filename(checkpoint_filename: StrPath, meta_graph_suffix: str = "meta") -> str:
    """Return the path of the graph that is saved with a checkpoint: the prefix without the pattern of its shards."""
    return f"{_SHARDS.sub('', locate(checkpoint_filename).path)}.{meta_graph_suffix}"


def remove_checkpoint(
    checkpoint_prefix: StrPath,
    checkpoint_format_version: int = SaverDef.V2,
    meta_graph_suffix: str = "meta",
) -> None:
    """Remove the files of the checkpoint with this prefix: graph, index and all data files, as far as they exist.

    For ``SaverDef.V1``, the files are those of a V1 checkpoint: one file or, for the pattern of its shards, several.
    Characters such as ``*`` have no special meaning, while TensorFlow treats a prefix as a pattern. Raises ``OSError``
    if a file cannot be removed.
    """
    prefix = locate(checkpoint_prefix)
    _remove(prefix.beside(f"{_SHARDS.sub('', prefix.name)}.{meta_graph_suffix}"))
    if checkpoint_format_version == SaverDef.V2:
        remove_v2(prefix)
        return
    for file in _v1_files(prefix):
        _remove(file)


def remove_v2(prefix: Location) -> None:
    """Remove the index and all data files of a V2 checkpoint; raises as ``remove_checkpoint`` does."""
    _remove(prefix.plus(INDEX_SUFFIX))
    for name in _names_beside(prefix):
        shard = parse_shard(name) if name.startswith(prefix.name) else None
        if shard is not None and shard.prefix == prefix.name:
            _remove(prefix.beside(name))


def _remove(file: Location) -> None:
    with suppress(MissingFileError):  # Another process may be removing it, too.
        remove_file(file)


def get_checkpoint_mtimes(checkpoint_prefixes: Iterable[StrPath]) -> list[float]:
    """Return when the checkpoints of these prefixes were written, in seconds since 1970.

    Checkpoints that do not exist are left out, so that there may be fewer times than prefixes.
    """
    times = (_mtime(locate(prefix)) for prefix in checkpoint_prefixes)
    return [time for time in times if time is not None]


def _mtime(prefix: Location) -> float | None:
    for file in (prefix.plus(INDEX_SUFFIX), *_v1_files(prefix)):
        if (stat := file.stat()) is not None:
            return stat.mtime
    return None


def _v1_files(prefix: Location) -> list[Location]:
    """Return the files that a V1 checkpoint may have: one, or those that match the pattern of its shards."""
    if "?" not in prefix.name or v1_prefix_of(prefix) is None:
        return [prefix]
    matches = re.compile(re.escape(prefix.name).replace(r"\?", ".")).fullmatch
    return [prefix.beside(name) for name in _names_beside(prefix) if matches(name)]


def _names_beside(prefix: Location) -> list[str]:
    try:
        return prefix.parent.list().names
    except MissingFileError:
        return []
