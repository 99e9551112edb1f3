"""Tensors of a checkpoint, all or chosen by name, as a dict of arrays."""

from __future__ import annotations

from tfbundle.checkpoint.checkpoint import open_checkpoint
from tfbundle.checkpoint.chosen_names import Names, select_names
from tfbundle.checkpoint.find.names import Format
from tfbundle.storage.locations import StrPath
from tfbundle.tensors.arrays import Array


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

    ``names`` chooses: a str is the tensor of that name if there is one, else a glob over whole names (``*`` crosses
    ``/``); a compiled pattern or a function of a name chooses too; a list has exact names, a dict ``{stored: wanted}``
    exact names with the names to use instead. Without it every tensor is read. The arrays are the caller's own.

    Object-based checkpoints (TensorFlow 2) store tensors under keys such as
    ``layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE``. The variables' own names, such as ``dense/kernel``,
    are taken as well, also in lists and globs; what was chosen by such a name is called so.

    ``slots=False`` leaves optimizer slots out, whatever ``names`` says; ``Checkpoint.slots`` has their names.

    ``mmap=True`` gives read-only arrays: views of the mapped file where the stored bytes are the array (perhaps not
    aligned), and arrays of their own for the rest (strings, slices, another byte order, V1). The checksums are still
    verified unless ``verify=False``. Before Python 3.13 each map keeps a descriptor: with more data files than half of
    those that the process may have, the rest are arrays of their own too. A mapped file must not be cut short while its
    views are in use.

    Raises ``KeyError`` where a name or pattern means nothing, or several variables of one name, and what
    ``open_checkpoint`` and ``Tensor.read`` raise.
    """
    with open_checkpoint(path, format=format, verify=verify) as checkpoint:
        wanted = select_names(checkpoint, names)
        if not slots:
            wanted = {name: called for name, called in wanted.items() if name not in checkpoint.slots}
        arrays = checkpoint._store.read_many(list(wanted), mmap=mmap)
        return arrays if names is None else {wanted[name]: array for name, array in arrays.items()}
