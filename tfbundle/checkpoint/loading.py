"""Tensors of a checkpoint, all or chosen by name, as a dict of arrays."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Collection, Mapping
from operator import itemgetter

from tfbundle.checkpoint.checkpoint import open_checkpoint
from tfbundle.checkpoint.find.names import Format
from tfbundle.storage.locations import StrPath
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.tensor import Tensor

# What ``names`` of ``load`` may be: a glob, exact names, or stored names with the wanted ones.
Names = str | Collection[str] | Mapping[str, str] | None

# An exported model of Keras 3 lists its variables under "variables", and stores all once more under this.
_KERAS_COPIES = "_all_variables/"
_WILDCARDS = frozenset("*?[")
# Beyond this many, a list of keys helps nobody.
_MOST_LISTED = 10


def load(
    path: StrPath,
    *,
    names: Names = None,
    mmap: bool = False,
    verify: bool = True,
    format: Format | None = None,
    slots: bool = True,
) -> dict[str, Array]:
    """Read tensors into a dict of numpy arrays.

    ``names`` chooses: a str is a glob over whole names (``*`` crosses ``/``), a list is exact names, a dict
    ``{stored: wanted}`` exact names with what to call them; without it every tensor is read. The arrays are the
    caller's own.

    Object-based checkpoints (TensorFlow 2) store tensors under keys such as
    ``layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE``. What finds no key there is looked for among the
    variables' own names, such as ``dense/kernel``, and the array is called so.

    ``slots=False`` leaves optimizer slots out, whatever ``names`` says; ``Checkpoint.slots`` tells which they are.

    ``mmap=True`` gives read-only arrays: views of the mapped file where the stored bytes are the array (perhaps not
    aligned), and arrays of their own for the rest (strings, slices, another byte order, V1). The checksums are still
    verified unless ``verify=False``. A mapped file must not be cut short while its views are in use.

    Raises ``KeyError`` where a name, or a glob, finds nothing, or several variables of one name, and what
    ``open_checkpoint`` and ``Tensor.read`` raise.
    """
    with open_checkpoint(path, format=format, verify=verify) as checkpoint:
        wanted = select_names(checkpoint, names)
        if not slots:
            wanted = {name: called for name, called in wanted.items() if name not in checkpoint.slots}
        arrays = checkpoint._store.read_many(list(wanted), mmap=mmap)
        return arrays if names is None else {wanted[name]: array for name, array in arrays.items()}


def select_names(checkpoint: TensorMapping, names: Names) -> dict[str, str]:
    """The stored names that ``names`` of ``load`` chooses, each with the name that it is to have."""
    if names is None:
        return dict(zip(checkpoint, checkpoint, strict=True))
    if isinstance(names, str):
        return _match_names(checkpoint, names)
    wanted: dict[str, str] = {}
    for name, called in names.items() if isinstance(names, Mapping) else ((name, name) for name in names):
        key = name if name in checkpoint else key_of(checkpoint, name)
        if wanted.setdefault(key, called) != called:
            raise ValueError(f"{wanted[key]!r} and {called!r} would be the same tensor, {key!r}")
    called, count = max(Counter(wanted.values()).items(), key=itemgetter(1), default=("", 0))
    if count > 1:
        raise ValueError(f"{count} tensors would all be called {called!r}")
    return wanted


def _match_names(checkpoint: TensorMapping, glob: str) -> dict[str, str]:
    """What a glob means: stored names, or if it matches none, names of variables."""
    matches = re.compile(fnmatch.translate(glob)).match
    chosen = {name: name for name in checkpoint if matches(name)}
    if not chosen and checkpoint.objects is not None:
        variables = {name for name in checkpoint.objects.variable_names.values() if matches(name)}
        chosen = {key_of(checkpoint, name): name for name in sorted(variables)}
    if not chosen:
        raise KeyError(describe_no_match(checkpoint, glob))
    return chosen


def describe_no_match(checkpoint: TensorMapping, glob: str) -> str:
    """That a glob matches nothing, and of one without wildcards what may have been meant."""
    if _WILDCARDS.isdisjoint(glob):
        return checkpoint.describe_unknown(glob)
    return f"no tensor in {checkpoint.prefix} matches {glob!r}"


def key_of(checkpoint: TensorMapping, variable: str) -> str:
    """The stored name of the variable that is called so; a ``KeyError`` where there is none, or more than one."""
    keys = checkpoint.objects.keys_of(variable) if checkpoint.objects is not None else []
    keys = [key for key in keys if key in checkpoint]
    own = [key for key in keys if not key.startswith(_KERAS_COPIES)]
    if len(keys) == 1:
        return keys[0]
    if len(own) == 1 and _are_alike([checkpoint[key] for key in keys]):
        return own[0]
    if not keys:
        checkpoint[variable]  # Raises the KeyError that suggests others.
    shown = ", ".join(map(repr, keys[:_MOST_LISTED]))
    more = f" and {len(keys) - _MOST_LISTED} more" if len(keys) > _MOST_LISTED else ""
    raise KeyError(f"{len(keys)} variables in {checkpoint.prefix} are called {variable!r}; pass a key of {shown}{more}")


def _are_alike(tensors: list[Tensor]) -> bool:
    """Whether the same is stored of tensors, by their checksums."""
    return len({(one.data_type, one.shape, *((piece.size, piece.crc) for piece in one.ranges)) for one in tensors}) == 1
