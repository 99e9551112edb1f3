"""Tensors of a checkpoint, all or selected by name, as a dict of arrays."""

from __future__ import annotations

from tfbundle.checkpoint.checkpoint import open_checkpoint
from tfbundle.checkpoint.chosen_names import Names, select_names
from tfbundle.checkpoint.find.names import Format
from tfbundle.storage.locations import StorageOptions, StrPath, with_options
from tfbundle.tensors.arrays import Array


def load(
    path: StrPath,
    *,
    names: Names = None,
    mmap: bool = False,
    verify: bool = True,
    format: Format | None = None,
    slots: bool = True,
    storage_options: StorageOptions | None = None,
) -> dict[str, Array]:
    """Read tensors into a dict of numpy arrays.

    ``names`` selects tensors. A str is the tensor of that name if there is one, else a glob over whole names (``*``
    matches ``/`` too); a compiled pattern or a function selects by name; a list has exact names, and a dict
    ``{stored: wanted}`` maps exact names to the names to use instead. By default every tensor is read. The caller owns
    the arrays.

    Object-based checkpoints (TensorFlow 2) store tensors under keys such as
    ``layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE``. The variables' own names, such as ``dense/kernel``,
    are accepted as well, also in lists and globs; a tensor that was selected by such a name is returned under it.

    ``slots=False`` leaves out optimizer slots, even if ``names`` selects them; ``Checkpoint.slots`` has their names.

    ``mmap=True`` returns read-only arrays: views of the mapped file where the stored bytes are the array (not
    necessarily aligned), and copies for the rest (strings, slices, another byte order, V1). The checksums are still
    verified unless ``verify=False``. Before Python 3.13 each map keeps a file descriptor: once the maps use half of the
    descriptors that the process may open, the tensors of further data files are copies too. A mapped file must not be
    truncated while its views are in use.

    Raises ``KeyError`` if a name or pattern matches nothing, or several variables have a requested name, and the errors
    of ``open_checkpoint`` and ``Tensor.read``.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    path = with_options(path, storage_options)
    with open_checkpoint(path, format=format, verify=verify) as checkpoint:
        wanted = select_names(checkpoint, names)
        if not slots:
            wanted = {name: called for name, called in wanted.items() if name not in checkpoint.slots}
        arrays = checkpoint._store.read_many(list(wanted), mmap=mmap)
        return arrays if names is None else {wanted[name]: array for name, array in arrays.items()}
