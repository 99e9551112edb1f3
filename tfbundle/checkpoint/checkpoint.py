"""A checkpoint as a mapping from names to lazy tensors, and the function that opens one.

This module connects the search for the files (``find.paths``) with the stores that read them (``stores``). It contains
nothing that is specific to a format.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tfbundle.checkpoint.find.names import CheckpointFiles, Format
from tfbundle.checkpoint.find.paths import find_checkpoint
from tfbundle.checkpoint.stores import open_store
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import TfBundleError
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StorageOptions, StrPath, with_options
from tfbundle.tensors.mapping import TensorMapping

if TYPE_CHECKING:
    import dask.array

    from tfbundle.checkpoint.chosen_names import Names
    from tfbundle.checkpoint.objects import ObjectGraph
    from tfbundle.checkpoint.v1.store import V1Store
    from tfbundle.findings import Finding
    from tfbundle.tensors.tensor import Tensor


class Checkpoint(TensorMapping):
    """An open checkpoint: a mapping from the names of its tensors to lazy ``Tensor`` objects.

    Names are in the order of the file, which is that of their bytes. A checkpoint is a context manager; arrays that
    were read stay valid after it is closed, and reading from it then raises ``ValueError``. Any number of threads may
    use it.
    """

    def __init__(
        self,
        store: BundleStore | V1Store,
        files: CheckpointFiles,
        lost: tuple[Finding, ...] | None = None,
        partial: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Hold an open store; ``lost`` and ``partial`` are ``None`` unless the checkpoint was salvaged."""
        self._store: BundleStore | V1Store = store
        self._lost = lost
        self._partial = partial
        self._files = files

    @property
    def prefix(self) -> str:
        """The path that the checkpoint's files have in common."""
        return self._files.prefix.path

    @property
    def format(self) -> str:
        """``"v2"`` for an index with data files, ``"v1"`` for tables that contain the values themselves."""
        return self._files.format

    @property
    def lost(self) -> tuple[Finding, ...]:
        """What ``salvage=True`` could not recover, and why; ``()`` if nothing is missing.

        Each finding names its tensor where it is known. The names in a lost part of the index are not.
        """
        return self._lost or ()

    @property
    def partial(self) -> Mapping[str, Tensor]:
        """With ``salvage=True``, the lost tensors that are partitioned and still have intact slices.

        ``tensor.slices`` are the intact ones. A region inside them can be read, as ``tensor[tensor.slices[0].index]``;
        reading any other region, or the whole tensor, raises ``FormatError``.
        """
        return MappingProxyType(self._partial or {})

    @cached_property
    def objects(self) -> ObjectGraph | None:
        """The graph of the saved objects, or ``None`` for a checkpoint that stores none.

        Raises ``FormatError`` if the stored value is not such a graph, and the errors of ``Tensor.read``, because the
        graph is stored as a tensor. Other tensors stay readable.
        """
        from tfbundle.checkpoint.objects import read_object_graph

        return read_object_graph(self)

    @cached_property
    def slots(self) -> frozenset[str]:
        """The names of the tensors that are optimizer slots.

        The object graph identifies them. In a checkpoint without one they are recognised by name (``w/Adam``,
        ``w/Momentum``, ``beta1_power`` and those of the other optimizers of TensorFlow), provided that the optimizers
        kept their default names.
        """
        from tfbundle.checkpoint.slots import find_slots

        return find_slots(self, self.objects)

    @cached_property
    def weights(self) -> frozenset[str]:
        """The names of the tensors that are weights of the model.

        Optimizer slots, counters, settings, metrics, moving averages whose variables are stored too, and the object
        graph are not included. Without an object graph, these are recognised by their typical names.
        """
        from tfbundle.checkpoint.weights import find_weights

        return find_weights(self, self.slots, self.objects)

    def to_dask(self, names: Names = None, chunk_bytes: int | None = None) -> dict[str, dask.array.Array]:
        """Return the tensors that ``names`` selects, as in ``load``, as dask arrays; see ``Tensor.to_dask``."""
        from tfbundle.checkpoint.chosen_names import select_names
        from tfbundle.tensors.dask_arrays import CHUNK_BYTES, dask_arrays

        return dask_arrays(self, select_names(self, names), CHUNK_BYTES if chunk_bytes is None else chunk_bytes)

    def __repr__(self) -> str:
        try:
            content = f"{len(self)} tensors"
        except (TfBundleError, OSError, ValueError) as error:
            content = f"unreadable: {error}"
        return f"<Checkpoint {self.prefix!r}, format {self.format}, {content}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._files.prefix, self.format, self._store.verify, self._lost is not None)


def _reopen(prefix: Location, format: Format, verify: bool, salvage: bool) -> Checkpoint:
    return open_checkpoint(prefix, format=format, verify=verify, salvage=salvage)


def open_checkpoint(
    path: StrPath,
    *,
    format: Format | None = None,
    verify: bool = True,
    salvage: bool = False,
    storage_options: StorageOptions | None = None,
) -> Checkpoint:
    """Open a checkpoint, whose tensors are read on request.

    ``path`` is a prefix, any of the checkpoint's files, its folder, or a SavedModel. If a V2 and a V1 checkpoint have
    the same name, V2 is opened unless ``format="v1"`` is passed. ``verify=False`` skips the checksums, which saves
    little time. Values that are read without them, slices included, are returned only as long as the checkpoint has not
    been replaced; a writer that has renamed its data files but not yet the index is not detected until it renames that.

    ``salvage=True`` opens a damaged checkpoint with the tensors that are intact; ``Checkpoint.lost`` lists what is
    missing and why. All data is read and verified immediately. An index is salvaged block by block: each block has one
    checksum for up to 256 KB of names. A partitioned tensor is lost if any of its slices is; ``Checkpoint.partial``
    provides the others.

    Raises ``MissingFileError`` if there is no such checkpoint or a folder does not determine one, ``FormatError`` if
    the index is damaged (with ``salvage``, if it is not an index), and ``UnsupportedError`` if the file is of another
    kind.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    path = with_options(path, storage_options)
    if format not in (None, "v1", "v2"):
        raise ValueError(f"format must be 'v1', 'v2' or None, not {format!r}")
    if salvage:
        if not verify:
            raise ValueError("salvage=True returns verified tensors only; it cannot be combined with verify=False")
        from tfbundle.checkpoint.salvage.salvage import find_damaged, salvage_store

        files = find_damaged(path, format)
        found = salvage_store(files)
        return Checkpoint(found.store, files, found.lost, found.partial)
    files = find_checkpoint(path, format)
    return Checkpoint(open_store(files, verify), files)
