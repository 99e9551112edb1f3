"""Assignment maps: the tensors of a checkpoint that a new model starts with, and their names there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tfbundle.checkpoint.checkpoint import Checkpoint
from tfbundle.storage.locations import StrPath
from tfbundle.suggestions import suggest_names
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.mapping import store_of
from tfbundle.train.reading import open_latest


def init_from_checkpoint(
    ckpt_dir_or_file: StrPath, assignment_map: Mapping[str, str] | Iterable[tuple[str, str]]
) -> dict[str, Array]:
    """Return the tensors that an assignment map selects as new arrays, by their new names.

    ::

        {"old/w": "new/w"}       one tensor
        {"old/": "new/"}         all below a scope
        {"/": "new/"}            all tensors
        {"old/": "/"}            all below a scope, without it
        [("w", "a"), ("w", "b")] pairs, for a tensor with several new names

    They are read in the order of the old names, and the last one for a new name counts. It differs from
    TensorFlow's in this: arrays are returned, while TensorFlow changes the variables of a graph; a scope selects all
    tensors of the checkpoint below it, while TensorFlow selects those of the graph. Names of variables are ``str``.

    Raises ``ValueError`` if a tensor or scope does not exist, or is mapped to the other.
    """
    pairs = assignment_map.items() if isinstance(assignment_map, Mapping) else assignment_map
    with open_latest(ckpt_dir_or_file) as checkpoint:
        chosen: dict[str, str] = {}
        for old, new in sorted(pairs, key=lambda pair: pair[0]):
            if old.endswith("/") != new.endswith("/"):
                raise ValueError(f"a scope becomes a scope, and a tensor a tensor, not {old!r} {new!r}")
            chosen.update(_below(checkpoint, old, new) if old.endswith("/") else {new: _known(checkpoint, old)})
        stored = dict.fromkeys(chosen.values())
        arrays = store_of(checkpoint).read_many(list(stored), mmap=False)
        seen: set[str] = set()
        result = {}
        for new, old in chosen.items():
            result[new] = arrays[old].copy() if old in seen else arrays[old]
            seen.add(old)
        return result


def _known(checkpoint: Checkpoint, name: str) -> str:
    if name not in checkpoint:
        raise ValueError(f"there is no tensor {name!r} in {checkpoint.prefix}{suggest_names(name, checkpoint)}")
    return name


def _below(checkpoint: Checkpoint, old: str, new: str) -> dict[str, str]:
    scope, new_scope = old.removeprefix("/"), new.removeprefix("/")
    found = {new_scope + name[len(scope) :]: name for name in checkpoint if name.startswith(scope)}
    if not found:
        raise ValueError(f"there is no tensor below {old!r} in {checkpoint.prefix}")
    return found
