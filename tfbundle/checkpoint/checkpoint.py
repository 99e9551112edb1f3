"""A checkpoint as a mapping from names to lazy tensors, and the function that opens one.

This is the face of the wing: it joins what finds the files (``paths``) with what reads them (``stores``), and adds
nothing to the formats.
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
from tfbundle.storage.locations import StrPath
from tfbundle.tensors.mapping import TensorMapping

if TYPE_CHECKING:
    from tfbundle.checkpoint.objects import ObjectGraph
    from tfbundle.checkpoint.v1.store import V1Store
    from tfbundle.findings import Finding
    from tfbundle.tensors.tensor import Tensor


class Checkpoint(TensorMapping):
    """An open checkpoint: the names of its tensors, each with a ``Tensor`` that reads itself when asked.

    Names are in the order of the file, which is that of their bytes. A checkpoint is a context manager; arrays that
    were read stay valid after it is closed, and reading from it then is a ``ValueError``. Any number of threads may
    use one.
    """

    def __init__(
        self,
        store: BundleStore | V1Store,
        files: CheckpointFiles,
        lost: tuple[Finding, ...] | None = None,
        partial: Mapping[str, Tensor] | None = None,
    ) -> None:
        """``open_checkpoint`` makes these; ``lost`` and ``partial`` are ``None`` where nothing was salvaged."""
        self._store: BundleStore | V1Store = store
        self._lost = lost
        self._partial = partial
        self._files = files

    @property
    def prefix(self) -> str:
        """The path that the checkpoint's files have in common."""
        return self._files.prefix.path

    @property
    def format(self) -> Format:
        """``"v2"`` for an index with data files, ``"v1"`` for a table that holds the values itself."""
        return self._files.format

    @property
    def lost(self) -> tuple[Finding, ...]:
        """What ``salvage=True`` could not hand out, and why; ``()`` if everything is there.

        Each finding names its tensor, where that is known: of a part of the index that is lost, nobody can say what it
        listed.
        """
        return self._lost or ()

    @property
    def partial(self) -> Mapping[str, Tensor]:
        """With ``salvage=True``, those of the lost tensors that are partitioned, and have slices that are intact.

        ``tensor.slices`` are the intact ones. A region in them can be read, as ``tensor[tensor.slices[0].index]``;
        reading anything else, or the whole, is a ``FormatError``.
        """
        return MappingProxyType(self._partial or {})

    @cached_property
    def objects(self) -> ObjectGraph | None:
        """The graph of the objects that were saved, or ``None`` for a checkpoint that stores none.

        Raises ``FormatError`` where what is stored is no such graph, and as ``Tensor.read`` does, for it lies among
        the data; the other tensors are none the worse for it.
        """
        from tfbundle.checkpoint.objects import read_object_graph

        return read_object_graph(self)

    @cached_property
    def slots(self) -> frozenset[str]:
        """The names of the tensors that are optimizer slots.

        The object graph says which; for a checkpoint without one, the names do (``w/Adam``, ``w/Momentum``,
        ``beta1_power`` and others that ``tfbundle.checkpoint.slots`` lists), if the optimizers kept their usual names.
        """
        from tfbundle.checkpoint.slots import find_slots

        return find_slots(self, self.objects)

    @cached_property
    def weights(self) -> frozenset[str]:
        """The names of the tensors that are the model's weights alone.

        Optimizer slots, counters, settings, metrics, moving averages beside their variables and the object graph are
        left out; ``tfbundle.checkpoint.weights`` has the rules.
        """
        from tfbundle.checkpoint.weights import find_weights

        return find_weights(self, self.slots, self.objects)

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
    path: StrPath, *, format: Format | None = None, verify: bool = True, salvage: bool = False
) -> Checkpoint:
    """Open a checkpoint; tensors are read when they are asked for.

    ``path`` is a prefix, any of the checkpoint's files, its folder, or a SavedModel. Where a V2 and a V1 checkpoint
    share the name, V2 is opened unless ``format="v1"`` asks for the other. ``verify=False`` leaves the checksums
    unread, which saves little time. Whatever is read without them, slices included, is handed out only while no other
    checkpoint has taken the place of this one; a writer that has renamed its data files and not yet the index stays
    unnoticed until it has.

    ``salvage=True`` opens a damaged checkpoint, with those tensors that are intact; ``Checkpoint.lost`` says what is
    missing and why. All data is read and verified at once. Of an index what counts is the block, which has one checksum
    for up to 256 KB of names. A partitioned tensor is lost if one of its slices is; ``Checkpoint.partial`` has what
    the others hold.

    Raises ``MissingFileError`` where there is no such checkpoint or a folder does not say which, ``FormatError`` where
    the index is damaged (with ``salvage`` where it is something else), and ``UnsupportedError`` where the file is of
    another kind.
    """
    if format not in (None, "v1", "v2"):
        raise ValueError(f"format is 'v1', 'v2' or None, not {format!r}")
    if salvage:
        if not verify:
            raise ValueError("salvage=True hands out what has been verified, which verify=False forbids")
        from tfbundle.checkpoint.salvage.salvage import find_damaged, salvage_store

        files = find_damaged(path, format)
        found = salvage_store(files)
        return Checkpoint(found.store, files, found.lost, found.partial)
    files = find_checkpoint(path, format)
    return Checkpoint(open_store(files, verify), files)
