"""Writes a V2 checkpoint tensor by tensor, byte for byte as TensorFlow would.

::

    add(name, value) --> PREFIX.data-0000k-of-0000n    bytes, one array after the other, in the given order
                     --> an entry in memory            type, shape, shard, offset, size, CRC
    end of the block --> PREFIX.index                  the entries by key, sorted

All files are complete under temporary names before the first one is renamed. Overwriting takes a detour by which every
reader finds the old checkpoint or the new one at any moment (``staging`` has the steps).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from types import TracebackType
from typing import Any

import numpy as np

from tfbundle.checkpoint.find.names import prefix_of_member
from tfbundle.checkpoint.v2.arguments import (
    check_chunk_type,
    check_name,
    check_shape,
    check_shard_size,
    check_shards,
    check_slice,
    checked_chunks,
)
from tfbundle.checkpoint.v2.data_files import DataFiles
from tfbundle.checkpoint.v2.encoding import (
    encode_entry,
    encode_partitioned,
    encode_strings,
    encode_variants,
)
from tfbundle.checkpoint.v2.index_blocks import build_index, detour_count, recount_index
from tfbundle.checkpoint.v2.model_note import encode_note, find_note
from tfbundle.checkpoint.v2.payloads import Payload, payload_of_array, payload_of_chunks, payload_of_parts
from tfbundle.checkpoint.v2.values import plain_number, stored_bytes, to_array
from tfbundle.errors import FormatError
from tfbundle.formats.checksum import crc32c
from tfbundle.formats.slice_keys import decode_name, encode_name, encode_slice_key
from tfbundle.identification.names import INDEX_SUFFIX
from tfbundle.plurals import plural
from tfbundle.storage.base import Location
from tfbundle.storage.changing import make_folder, remove_empty_folder
from tfbundle.storage.copying import CountingSink
from tfbundle.storage.locations import StorageOptions, StrPath, locate
from tfbundle.storage.placing import Detour, put_in_place, sync_folder
from tfbundle.storage.staging import StagedFile, check_replaceable
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import DT_STRING, DT_VARIANT, data_type_name, data_type_number, numpy_dtype
from tfbundle.tensors.parts import Tiling, find_part, tiling
from tfbundle.tensors.slices import TensorSlice, check_count, check_disjoint, find_gap
from tfbundle.tensors.store import Copyable, Facts
from tfbundle.tensors.tensor import Tensor

# Bytes of an array that is copied sooner than a view of it is made.
_SMALL = 1 << 12


class CheckpointWriter:
    """Writes a checkpoint tensor by tensor, from one thread, in a ``with`` block.

    The checkpoint appears when the block ends without an exception; until then an existing checkpoint with this prefix
    stays complete. With ``sync``, the files and their names are on disk when the block has ended. The folder of the
    prefix is created if its parent exists. If the prefix is that of a SavedModel's variables, the hash of the index in
    the model's ``fingerprint.pb`` is updated.
    """

    def __init__(
        self,
        path: StrPath,
        *,
        shards: int = 1,
        shard_size: int | None = None,
        sync: bool = False,
        partial: bool = False,
        written: Callable[[int], object] | None = None,
        storage_options: StorageOptions | None = None,
    ) -> None:
        """Write to the prefix ``path``; raise ``ValueError`` if it is the name of a checkpoint's file.

        Tensors are distributed over ``shards`` data files. With ``shard_size``, the files are filled one after the
        other, and none exceeds that many bytes unless a single tensor or slice does.

        ``partial`` allows partitioned tensors with missing slices, for workers that each save their own slices; such a
        tensor cannot be read as a whole. ``written`` is called with the number of bytes after each write, several times
        for a large tensor. ``storage_options`` are those of ``locate``, for URLs.
        """
        self._location = locate(path, storage_options)
        self.prefix = self._location.path
        if not self.prefix or prefix_of_member(self.prefix) is not None:
            raise ValueError(f"{self.prefix!r} is not a prefix; leave out .index, .meta or .data-00000-of-00001")
        self._data = DataFiles(self._location, check_shards(shards), check_shard_size(shards, shard_size), sync=sync)
        self._sync = sync
        self._partial = partial
        self._written = written
        self._beside: list[StagedFile] = []
        self._made_folder = False
        self._entries: dict[bytes, bytes] = {}
        self._partitioned: dict[bytes, tuple[int, tuple[int, ...], list[TensorSlice]]] = {}
        self._first_shards: dict[bytes, int] = {}
        self._open = self._broken = False

    def __repr__(self) -> str:
        return f"<CheckpointWriter {self.prefix!r}, {plural(self.nbytes, 'byte')}>"

    @property
    def nbytes(self) -> int:
        """The number of bytes of tensors written so far."""
        return self._data.nbytes

    def __enter__(self) -> CheckpointWriter:
        if self._data.files:
            raise ValueError("a CheckpointWriter writes one checkpoint; make another")
        folder = self._index_location.parent
        try:
            if not folder.is_folder():
                make_folder(folder)
                self._made_folder = True
            check_replaceable(self._index_location)
            self._data.create()
        except BaseException:
            self._discard()
            raise
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        try:
            if kind is None:
                self._finish()
                self._made_folder = False
        finally:
            self._discard()

    def add(self, name: str, value: Any, *, data_type: str | None = None, shard: int | None = None) -> None:
        """Write a tensor: an array, a number, a string, a list of these, or a ``Tensor``.

        ``data_type`` is TensorFlow's type, such as ``"DT_QINT8"``, if the value does not determine it. ``shard`` is the
        number of the data file, if it is not to be chosen. Raises ``ValueError`` for an empty or duplicate name,
        ``TypeError`` for a value that cannot be a tensor, and the errors of reading a ``Tensor``.
        """
        if isinstance(value, Tensor):
            self._add_tensor(name, value, shard)
            return
        key = self._new_key(name)
        number = plain_number(value.dtype) if _is_plain(value) and data_type is None else None
        if number is not None and value.nbytes <= _SMALL:
            self._store_bytes(key, number, value.shape, value.tobytes(), shard)
            return
        number, array = to_array(name, value, data_type)
        self._store_array(key, number, array, shard)

    def _add_tensor(self, name: str, tensor: Tensor, shard: int | None) -> None:
        number = data_type_number(tensor.data_type)
        copyable = tensor.copyable()
        if copyable:
            for stored in copyable:
                self.add_copy(name, tensor.data_type, stored, shard=shard)
        elif tensor.slices:
            whole = tensor.read()  # Checksums cover what is read as a whole.
            for part in tensor.slices:
                self._add_slice(name, number, tensor.shape, part, whole[part.index], shard)
        elif tensor.region is not None:
            self._add_slice(name, number, tensor.whole_shape, tensor.region, tensor.read(), shard)
        elif number in (DT_STRING, DT_VARIANT):
            _, array = to_array(name, tensor.read())
            self._store_array(self._new_key(name), number, array, shard)
        else:
            payload = payload_of_chunks(map(stored_bytes, tensor.chunks()))
            self._store(self._new_key(name), number, tensor.shape, tensor.nbytes, payload, shard)

    def add_chunks(
        self, name: str, shape: Iterable[int], dtype: Any, chunks: Iterable[Any], *, shard: int | None = None
    ) -> None:
        """Write a tensor of numbers from arrays, which together are its elements in C order.

        Raises ``ValueError`` if an array has a dtype other than ``dtype``, or the number of elements does not fit
        ``shape``.
        """
        key = self._new_key(name)
        number = check_chunk_type(name, dtype)
        dims = check_shape(name, shape)
        payload = payload_of_chunks(checked_chunks(name, number, dims, chunks))
        self._store(key, number, dims, prod(dims) * numpy_dtype(number).itemsize, payload, shard)

    def add_slice(
        self,
        name: str,
        shape: Iterable[int],
        index: Any,
        value: Any,
        *,
        data_type: str | None = None,
        shard: int | None = None,
    ) -> None:
        """Write one part of a partitioned tensor of ``shape``; ``index`` is a tuple of slices with step 1.

        When the block ends, the parts must cover the whole tensor. The exception is a slot that TensorFlow 1 made for a
        part of a variable, such as ``w/part_0/Adam`` for a part of ``w``: it is that one part of a tensor of the
        variable's shape. ``data_type`` and ``shard`` are as for ``add``.
        """
        dims = check_shape(name, shape)
        number, array = to_array(name, value, data_type)
        self._add_slice(name, number, dims, check_slice(name, index, dims), array, shard)

    def _add_slice(
        self, name: str, number: int, shape: tuple[int, ...], part: TensorSlice, value: Any, shard: int | None
    ) -> None:
        if part.lengths == shape:  # TensorFlow stores a slice that is everything as a plain tensor.
            self.add(name, value, data_type=data_type_name(number), shard=shard)
            return
        _, array = to_array(name, value)
        key = self._slice_key(name, number, shape, part, array.shape)
        self._note_slice(name, part, self._store_array(key, number, array, shard))

    def add_copy(self, name: str, data_type: str, stored: Copyable, *, shard: int | None = None) -> None:
        """Copy an array that ``Tensor.copyable`` returned, as a tensor, or as the slice of one that it was.

        Raises the errors of ``add`` and those of reading.
        """
        number = data_type_number(data_type)
        part, whole = stored.box, stored.whole_shape
        if part is None or part.lengths == whole:
            self._store(self._new_key(name), number, stored.shape, stored.size, stored.copy, shard)
            return
        key = self._slice_key(name, number, whole, part, stored.shape)
        self._note_slice(name, part, self._store(key, number, stored.shape, stored.size, stored.copy, shard))

    def _slice_key(
        self, name: str, number: int, shape: tuple[int, ...], part: TensorSlice, given: tuple[int, ...]
    ) -> bytes:
        """Return the key of a slice of a partitioned tensor, after comparing it with those before it."""
        key = check_name(name)
        if key not in self._partitioned:
            self._partitioned[self._new_key(name)] = number, shape, []
        self._check_open()
        known, whole, _ = self._partitioned[key]
        if (known, whole) != (number, shape) or given != part.lengths:
            raise ValueError(f"slice {part} of {name!r} has another type or shape than the tensor or the index")
        slice_key = encode_slice_key(key, part.extents)
        if slice_key in self._entries:
            raise ValueError(f"slice {part} of {name!r} was given twice")
        return slice_key

    def _note_slice(self, name: str, part: TensorSlice, shard: int) -> None:
        key = encode_name(name)
        _, shape, parts = self._partitioned[key]
        self._first_shards.setdefault(key, shard)
        parts.append(part)
        check_count(parts, len(shape))

    def _check_open(self) -> None:
        if self._broken:
            raise ValueError("a tensor was written in part, and the checkpoint is not; see the error before this one")
        if not self._open:
            raise ValueError("a CheckpointWriter is used in a with block, and not after it")

    def _new_key(self, name: str) -> bytes:
        if self._broken or not self._open:
            self._check_open()
        key = check_name(name)
        if key in self._entries or key in self._partitioned:
            raise ValueError(f"the name {name!r} was given twice")
        return key

    def _store_array(self, key: bytes, number: int, array: Array, shard: int | None) -> int:
        if number in (DT_STRING, DT_VARIANT):
            encode = encode_strings if number == DT_STRING else encode_variants
            parts, crc = encode(array.reshape(-1).tolist())
            return self._store(key, number, array.shape, sum(map(len, parts)), payload_of_parts(parts, crc), shard)
        payload = payload_of_array(array)
        return self._store(key, number, array.shape, array.nbytes, payload, shard)

    def _store(
        self, key: bytes, number: int, shape: tuple[int, ...], size: int, payload: Payload, shard: int | None
    ) -> int:
        """Write an array that takes ``size`` bytes, and return the number of its shard."""
        shard = self._data.choose(size, shard)
        file = self._data.files[shard]
        offset = file.size
        try:
            crc = payload(file if self._written is None else CountingSink(file, self._written))
        except BaseException:
            # Further data would follow an incomplete tensor.
            self._broken = self._broken or file.size != offset
            raise
        self._entries[key] = encode_entry(number, shape, shard, offset, file.size - offset, crc)
        return shard

    def _store_bytes(self, key: bytes, number: int, shape: tuple[int, ...], data: bytes, shard: int | None) -> None:
        """Do what ``_store`` does for an array of few bytes, of which there may be very many."""
        shard = self._data.choose(len(data), shard)
        file = self._data.files[shard]
        offset = file.size
        self._entries[key] = encode_entry(number, shape, shard, offset, len(data), crc32c(data))
        try:
            file.write(data)
            if self._written is not None:
                self._written(len(data))
        except BaseException:
            self._broken = True
            raise

    def _finish(self) -> None:
        if self._broken:
            self._check_open()
        for key, (number, shape, parts) in self._partitioned.items():
            name = decode_name(key)
            try:
                check_disjoint(parts)
            except FormatError as error:
                raise ValueError(f"{error} in {name!r}") from None
            gap = None if self._partial else find_gap(parts, shape)
            if gap is not None and not self._is_part(key):
                raise ValueError(f"the region {gap} of {name!r} is in none of its {len(parts)} slices")
            self._entries[key] = encode_partitioned(
                number, shape, self._first_shards[key], [part.extents for part in parts]
            )
        self._data.finish()
        keys = sorted(self._entries)
        blocks = build_index(keys, self._entries, len(self._data))
        index = self._stage(self._index_location, blocks)
        detour = self._plan_detour(keys, blocks)
        # Written before anything is renamed, so that a folder that takes no files is an error in time.
        found = find_note(self._location)
        note = None if found is None else self._stage(found[0], [encode_note(found[1], b"".join(blocks))])
        put_in_place(self._data.files, index, detour, sync=self._sync)
        if note is not None:
            note.rename()
            sync_folder(note, sync=self._sync)

    def _stage(self, target: Location, parts: Iterable[bytes]) -> StagedFile:
        """Return a complete file under a temporary name."""
        file = StagedFile(target, self._data.opened)
        self._beside.append(file)
        for part in parts:
            file.write(part)
        file.finish()
        return file

    def _plan_detour(self, keys: list[bytes], blocks: list[bytes]) -> Detour | None:
        """Return the detour that overwriting takes, or ``None`` where no data file replaces one."""
        own = len(self._data)
        count = detour_count(self._location, own)
        if count is None:
            return None
        names = [self._data.location(number, count) for number in range(count)]
        index = self._stage(self._index_location, recount_index(blocks, keys, self._entries, own, count))
        return Detour(index, names[:own], names[own:])

    @property
    def _index_location(self) -> Location:
        return self._location.plus(INDEX_SUFFIX)

    def _is_part(self, key: bytes) -> bool:
        """Return whether a tensor is the slot of a part of another, which TensorFlow stores as one slice."""
        number, shape, parts = self._partitioned[key]

        def tiling_of(owner: str) -> Tiling | None:
            known = self._partitioned.get(encode_name(owner))
            return None if known is None else tiling(Facts(known[0], known[1], tuple(known[2])))

        return find_part(decode_name(key), Facts(number, shape, tuple(parts)), tiling_of) is not None

    def _discard(self) -> None:
        self._data.discard()
        for file in self._beside:
            file.discard()
        if self._made_folder:
            remove_empty_folder(self._index_location.parent)
            self._made_folder = False


def _is_plain(value: Any) -> bool:
    """Return whether a value is an array or a number of numpy, and of no class that has more to it, such as a mask."""
    return type(value) is np.ndarray or isinstance(value, np.generic)
