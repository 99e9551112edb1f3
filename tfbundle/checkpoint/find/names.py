"""How the files of a checkpoint are called.

::

    V2   PREFIX.index   PREFIX.data-00000-of-00002   PREFIX.data-00001-of-00002
    V1   PREFIX         or, sharded,   PREFIX-00000-of-00002   PREFIX-00001-of-00002
    with either, PREFIX.meta: the graph
    while one is being written   PREFIX_temp_<32 hex digits>/part-...   PREFIX_temp/part-...

The names follow TensorFlow's (``core/util/tensor_bundle/naming.cc``, ``python/training/saver.py``).
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Callable
from typing import Literal, NamedTuple

from tfbundle.storage.local import is_file, is_folder, list_folder

Format = Literal["v1", "v2"]

INDEX_SUFFIX = ".index"
META_SUFFIX = ".meta"

_SHARD = re.compile(r"\.data-\d{5,}-of-(\d{5,})\Z")
# Question marks stand for all files of a sharded V1 checkpoint: one set of them in a state file, often two in prose.
_V1_SHARD = re.compile(r"-(?:\d{5}-of-\d{5}|\?{5}-of-(?:\d{5}|\?{5}))\Z")
_HALF_SAVED = re.compile(r"_temp(?:_[0-9a-f]{32})?\Z")
# How names end, or begin, that copying, downloading and syncing programs and editors give to a file which is not whole.
_SIDECAR = re.compile(
    r"""
    _?\.gstmp\Z                                             # gsutil, gcloud
    | \._COPYING_\Z                                         # Hadoop
    | \.(?:part|partial|filepart|incomplete|aria2|tmp|swp)\Z # curl, rclone, WinSCP, Hugging Face and many others
    | \.(?:crdownload|opdownload|download)\Z                # browsers
    | \.(?=[0-9a-fA-F]*[a-f])(?=[0-9a-fA-F]*[A-F])[0-9a-fA-F]{8}\Z  # boto, at random; hosts have one case
    | \.tempstate\d+\Z                                      # TensorFlow
    | :?Zone\.Identifier\Z                                  # Windows
    | [~#]\Z | \A[~#]                                       # editors, Syncthing
    """,
    re.VERBOSE,
)
_SIDECAR_FOLDERS = (
    "__MACOSX",
    ".AppleDouble",
    "@eaDir",
    ".~tmp~",
    ".rsync-partial",
    ".ipynb_checkpoints",
    "$RECYCLE.BIN",
)
_STEP = re.compile(r"-(\d+)\Z")


class CheckpointFiles(NamedTuple):
    """A checkpoint that was found: its prefix, format, and for V1 the files that are there."""

    prefix: str
    format: Format
    v1_files: tuple[str, ...] = ()


def index_path(prefix: str) -> str:
    """The index file of a V2 checkpoint."""
    return prefix + INDEX_SUFFIX


def shard_path(prefix: str, shard: int, count: int) -> str:
    """A data file of a V2 checkpoint with ``count`` of them."""
    return f"{prefix}.data-{shard:05d}-of-{count:05d}"


def advise_missing_shard(prefix: str, shard: int, count: int) -> str:
    """What to do about a data file that is not there: it may lie beside its place, under another name."""
    suffix = shard_path("", shard, count)
    folder, base = os.path.split(prefix)
    names = set(list_folder(folder or os.curdir))
    others = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    others = [other for other in others if other != base and other + INDEX_SUFFIX not in names]
    if len(others) != 1:
        return "copy it beside the index"
    return f"{others[0] + suffix} is, without an index: if it is the same checkpoint's, give them one name"


def advise_missing_index(prefix: str) -> str:
    """The same about an index: one without data files may have been renamed."""
    folder = os.path.dirname(prefix)
    names = list_folder(folder or os.curdir)
    with_data = {name[: match.start()] for name in names if (match := _SHARD.search(name))}
    others = [name for name in names if name.endswith(INDEX_SUFFIX) and prefix_of_member(name) not in with_data]
    if len(others) != 1:
        return "copy it from where the checkpoint was written"
    return f"{others[0]} lies there without data files: if it is the same checkpoint's, give them one name"


def prefix_of_member(path: str) -> str | None:
    """The prefix, if ``path`` is called like an index, a data file or a graph that belongs to a checkpoint."""
    for suffix in (INDEX_SUFFIX, META_SUFFIX):
        if path.endswith(suffix):
            return path[: -len(suffix)]
    match = _SHARD.search(path)
    return path[: match.start()] if match else None


def prefix_of_v1_shard(path: str) -> str | None:
    """The prefix, if ``path`` is called like one file of a sharded V1 checkpoint."""
    match = _V1_SHARD.search(path)
    return path[: match.start()] if match else None


def is_half_saved(folder: str) -> bool:
    """Whether a folder is called like those in which TensorFlow collects a checkpoint before it is complete."""
    return _HALF_SAVED.search(folder.rstrip("/\\")) is not None


def is_sidecar(name: str) -> bool:
    """Return whether a file of this base name is what another program puts beside a file, or a copy in progress.

    Such a file is neither a checkpoint nor an event file, whatever else its name contains. Whoever passes its path
    still means it.
    """
    # macOS keeps in ._NAME what another file system cannot hold of NAME; Emacs' locks begin with the other.
    if name.startswith(("._", ".#")):
        return True
    # rsync's copies have a leading dot, and so have Hadoop's checksums and swap files. A checkpoint's name may begin
    # with a dot, or be empty, and its members are told by their ends.
    if name.startswith("."):
        return prefix_of_member(name) is None
    return _SIDECAR.search(name) is not None


def is_sidecar_folder(name: str) -> bool:
    """Return whether a folder of this base name is where another program keeps sidecars or deleted files."""
    return name in _SIDECAR_FOLDERS or name.startswith(".Trash")


def step_of(prefix: str) -> int | None:
    """The training step in a name such as ``model.ckpt-1000``."""
    match = _STEP.search(prefix)
    return int(match[1]) if match else None


def find_files(
    prefix: str, format: Format | None = None, names_in: Callable[[str], list[str]] = list_folder
) -> CheckpointFiles | None:
    """The checkpoint with this prefix; V2 wins where both formats share it and ``format`` asks for neither.

    ``names_in`` gives the sorted names in a folder, from memory where many prefixes are looked for.
    """
    if format != "v1" and is_file(index_path(prefix)):
        return CheckpointFiles(prefix, "v2")
    if format != "v2":
        if is_file(prefix):
            return CheckpointFiles(prefix, "v1", (prefix,))
        shards = _v1_shards(prefix, names_in)
        if shards:
            return CheckpointFiles(prefix, "v1", shards)
    return None


def _v1_shards(prefix: str, names_in: Callable[[str], list[str]]) -> tuple[str, ...]:
    folder, base = os.path.split(prefix)
    # What is called PREFIX.data-00000-of-00001 belongs to a V2 checkpoint.
    if not base or base.endswith(".data") or not is_folder(folder or os.curdir):
        return ()
    names = names_in(folder or os.curdir)
    # All that begin with the base and a minus sign; "." is the character behind that.
    begun = names[bisect_left(names, base + "-") : bisect_left(names, base + ".")]
    return tuple(os.path.join(folder, name) for name in begun if _V1_SHARD.fullmatch(name, len(base)))


class Folder(NamedTuple):
    """What a folder holds: checkpoints by prefix, data files whose index is not there, and half-saved checkpoints."""

    v2: tuple[str, ...]
    v1: tuple[str, ...]
    without_index: tuple[str, ...]
    half_saved: tuple[str, ...]


def scan_folder(folder: str) -> Folder:
    """The checkpoints in a folder, told by their files' names; files that are called like nothing are left aside.

    A V1 checkpoint in one file has no suffix to tell it by; it is found when its graph (``.meta``) lies beside it, or
    when the state file names it.
    """
    names = list_folder(folder)
    present = set(names)
    v2, v1, orphans, half_saved = set(), set(), set(), set()
    for name in names:
        if is_half_saved(name) and is_folder(os.path.join(folder, name)):
            half_saved.add(name)
        elif name.endswith(INDEX_SUFFIX):
            if not is_folder(os.path.join(folder, name)):
                v2.add(name[: -len(INDEX_SUFFIX)])
        elif (prefix := prefix_of_member(name)) is not None:
            if name.endswith(META_SUFFIX):
                if prefix in present and not is_folder(os.path.join(folder, prefix)):
                    v1.add(prefix)
            elif prefix + INDEX_SUFFIX not in present:
                orphans.add(prefix)
        elif (prefix := prefix_of_v1_shard(name)) is not None:
            v1.add(prefix)

    def joined(prefixes: set[str]) -> tuple[str, ...]:
        return tuple(os.path.join(folder, prefix) for prefix in sorted(prefixes, key=_by_step))

    return Folder(joined(v2), joined(v1 - v2), joined(orphans), joined(half_saved))


def _by_step(prefix: str) -> tuple[str, int]:
    """Sorts ``model-9`` before ``model-10``."""
    step = step_of(prefix)
    return (_STEP.sub("", prefix), -1 if step is None else step)
