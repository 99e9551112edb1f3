"""A checkpoint as a mapping from names to lazy tensors, and the functions that open one.

This is the face of the wing: it joins what finds the files (``paths``) with what reads them (``bundle``, ``v1``), and
adds nothing to the formats.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, ItemsView, Iterator, Mapping, ValuesView
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from tfbundle.checkpoint.bundle import BundleStore
from tfbundle.checkpoint.names import CheckpointFiles, Format
from tfbundle.checkpoint.paths import find_checkpoint
from tfbundle.checkpoint.tensor import Array, Tensor
from tfbundle.errors import FormatError, MissingFileError, TfBundleError
from tfbundle.identify import FileKind, identify

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from tfbundle.checkpoint.v1 import V1Store
    from tfbundle.checkpoint.verification import Report

# What ``names`` of ``load`` may be: a glob, exact names, or stored names with the wanted ones.
Names = str | Collection[str] | Mapping[str, str] | None


class Checkpoint(Mapping[str, Tensor]):
    """An open checkpoint: the names of its tensors, each with a ``Tensor`` that reads itself when asked.

    Names are in the order of the file, which is that of their bytes. A checkpoint is a context manager; arrays that
    were read stay valid after it is closed, and reading from it then is a ``ValueError``. Any number of threads may
    use one.
    """

    def __init__(self, store: BundleStore | V1Store, files: CheckpointFiles) -> None:
        """``open_checkpoint`` makes these."""
        self._store = store
        self._files = files

    @property
    def prefix(self) -> str:
        """The path that the checkpoint's files have in common."""
        return self._files.prefix

    @property
    def format(self) -> Format:
        """``"v2"`` for an index with data files, ``"v1"`` for a table that holds the values itself."""
        return self._files.format

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of this name; a ``KeyError`` that suggests the closest names where there is none."""
        record = self._store.find(name) if isinstance(name, str) else None
        if record is None:
            raise KeyError(self._unknown(name))
        return Tensor(self._store, name, record)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._store.find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.records())

    def __len__(self) -> int:
        return len(self._store.records())

    def items(self) -> ItemsView[str, Tensor]:
        """Names with their tensors, in the order of the file."""
        return _Items(self)

    def values(self) -> ValuesView[Tensor]:
        """The tensors, in the order of the file."""
        return _Values(self)

    def __bool__(self) -> bool:
        # A checkpoint without tensors is one all the same.
        return True

    def __eq__(self, other: object) -> bool:
        # Each look-up makes a tensor of its own, so that mappings of them are never equal by their items.
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files. Tensors can then no longer be read."""
        self._store.close()

    def verify(self, progress: Callable[[int, int], None] | None = None) -> Report:
        """Check every checksum, as ``tfbundle.verify`` does. The files are opened anew."""
        from tfbundle.checkpoint.verification import verify_files

        return verify_files(self.prefix, self._files, progress)

    def __repr__(self) -> str:
        try:
            content = f"{len(self)} tensors"
        except (TfBundleError, OSError, ValueError) as error:
            content = f"unreadable: {error}"
        return f"<Checkpoint {self.prefix!r}, format {self.format}, {content}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (os.path.join(os.getcwd(), self.prefix), self.format, self._store.verify)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def _unknown(self, name: object) -> str:
        close = difflib.get_close_matches(str(name), list(self), n=3)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else f"; it has {len(self)} others"
        return f"there is no tensor {name!r} in {self.prefix}{hint}"


class _Items(ItemsView[str, Tensor]):
    # Goes through the entries once, and does not look each name up again.
    _mapping: Checkpoint

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        store = self._mapping._store
        for name, record in store.records().items():
            yield name, Tensor(store, name, record)


class _Values(ValuesView[Tensor]):
    _mapping: Checkpoint

    def __iter__(self) -> Iterator[Tensor]:
        for _, tensor in self._mapping.items():
            yield tensor


def _reopen(prefix: str, format: Format, verify: bool) -> Checkpoint:
    return open_checkpoint(prefix, format=format, verify=verify)


def open_checkpoint(path: str | os.PathLike[str], *, format: Format | None = None, verify: bool = True) -> Checkpoint:
    """Open a checkpoint; tensors are read when they are asked for.

    ``path`` is a prefix, any of the checkpoint's files, its folder, or a SavedModel. Where a V2 and a V1 checkpoint
    share the name, V2 is opened unless ``format="v1"`` asks for the other. ``verify=False`` leaves the checksums
    unread, which saves little time.

    Raises ``MissingFileError`` where there is no such checkpoint or a folder does not say which, ``FormatError`` where
    the index is damaged, and ``UnsupportedError`` where the file is of another kind.
    """
    if format not in (None, "v1", "v2"):
        raise ValueError(f"format is 'v1', 'v2' or None, not {format!r}")
    files = find_checkpoint(path, format)
    return Checkpoint(open_store(files, verify), files)


def open_store(files: CheckpointFiles, verify: bool) -> BundleStore | V1Store:
    """Open what ``find_checkpoint`` found; what is not a checkpoint at all is an error that says what it is."""
    try:
        if files.format == "v2":
            return BundleStore(_from_root(files.prefix), verify=verify)
        from tfbundle.checkpoint.v1 import V1Store

        return V1Store(_from_root(files.prefix), [_from_root(path) for path in files.v1_files], verify=verify)
    except FormatError as error:
        if error.path is None:
            raise
        try:
            kind = identify(error.path)
        except MissingFileError:
            raise error from None
        if kind in (FileKind.BUNDLE_INDEX, FileKind.V1_TABLE, FileKind.TABLE, FileKind.UNKNOWN):
            raise
        raise FormatError(f"{error.path} is {kind.value}; {kind.advice}", path=error.path) from error


def _from_root(path: str) -> str:
    """The path from whatever working folder there is by the time when a file is opened."""
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


def load(
    path: str | os.PathLike[str],
    *,
    names: Names = None,
    mmap: bool = False,
    verify: bool = True,
    format: Format | None = None,
) -> dict[str, Array]:
    """Read tensors into a dict of numpy arrays.

    ``names`` chooses: a str is a glob over whole names (``*`` crosses ``/``), a list is exact names, a dict
    ``{stored: wanted}`` exact names with what to call them; without it every tensor is read. The arrays are the
    caller's own.

    ``mmap=True`` gives read-only arrays: views of the mapped file where the stored bytes are the array (perhaps not
    aligned), and arrays of their own for the rest (strings, slices, another byte order, V1). The checksums are still
    verified unless ``verify=False``. A mapped file must not be cut short while its views are in use.

    Raises ``KeyError`` where a name, or a glob, finds nothing, and what ``open_checkpoint`` and ``Tensor.read`` raise.
    """
    with open_checkpoint(path, format=format, verify=verify) as checkpoint:
        wanted = select_names(checkpoint, names)
        arrays = checkpoint._store.read_many(list(wanted), mmap=mmap)
        return {wanted[name]: array for name, array in arrays.items()}


def select_names(checkpoint: Checkpoint, names: Names) -> dict[str, str]:
    """The stored names that ``names`` of ``load`` chooses, each with the name that it is to have."""
    if names is None:
        return {name: name for name in checkpoint}
    if isinstance(names, str):
        pattern = re.compile(fnmatch.translate(names))
        chosen = {name: name for name in checkpoint if pattern.match(name)}
        if not chosen:
            raise KeyError(f"no tensor in {checkpoint.prefix} matches {names!r}")
        return chosen
    wanted = dict(names) if isinstance(names, Mapping) else {name: name for name in names}
    for name in wanted:
        checkpoint[name]  # Raises the KeyError that suggests others.
    name, count = max(Counter(wanted.values()).items(), key=itemgetter(1), default=("", 0))
    if count > 1:
        raise ValueError(f"{count} tensors would all be called {name!r}")
    return wanted
