"""Writes checkpoints that TensorFlow cannot tell from its own: ``save``, and ``CheckpointWriter`` for more control.

Data lie in the order in which tensors are given, and the index is sorted. All files are complete under temporary names
before the first one is renamed. Overwriting takes a detour by which every reader finds the old checkpoint or the new
one at any moment (``staging`` has the steps).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count as count_from
from math import prod
from types import TracebackType
from typing import Any

import numpy as np

from tfbundle.checkpoint.find.names import INDEX_SUFFIX, parse_shard, prefix_of_member, shard_path
from tfbundle.checkpoint.v2.encoding import (
    encode_entry,
    encode_header,
    encode_partitioned,
    encode_strings,
    encode_variants,
)
from tfbundle.checkpoint.v2.values import plain_bytes, plain_number, stored_bytes, to_array
from tfbundle.errors import FormatError
from tfbundle.formats.checksum import crc32c
from tfbundle.formats.slice_keys import FULL, Extent, decode_name, encode_name, encode_slice_key
from tfbundle.formats.table.builder import TableBuilder
from tfbundle.limits import LARGEST_RANK, MOST_SHARDS
from tfbundle.progress import Progress
from tfbundle.storage.base import Location
from tfbundle.storage.changing import make_folder, remove_empty_folder
from tfbundle.storage.locations import StrPath, locate
from tfbundle.storage.staging import Detour, OpenFiles, StagedFile, check_replaceable, put_in_place
from tfbundle.tensors.dtypes import DT_STRING, DT_VARIANT, data_type_number, numpy_dtype
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.parts import Tiling, find_part, tiling
from tfbundle.tensors.slices import TensorSlice, check_count, check_disjoint, find_gap, locate_slice
from tfbundle.tensors.store import Facts
from tfbundle.tensors.tensor import Tensor


def save(
    path: StrPath,
    tensors: Mapping[str, Any] | Iterable[tuple[str, Any]],
    *,
    shards: int = 1,
    progress: Progress | None = None,
) -> str:
    """Write a V2 checkpoint with the prefix ``path``, and return the prefix.

    ``tensors`` are arrays, numbers, strings, lists of these or ``Tensor`` by name; or pairs of name and value, which
    are taken one at a time. Those of an open checkpoint are written in the order of its data, so that its files come
    out again byte for byte. Each goes to the data file of ``shards`` that has the fewest bytes.

    ``progress`` is called after each tensor with the bytes of values that were written and those of all; the latter are
    those given so far where ``tensors`` are pairs.

    Raises ``ValueError`` for names that are empty or given twice, ``TypeError`` for values that no tensor holds, and
    what reading a ``Tensor`` raises; then nothing is left behind.
    """
    if isinstance(tensors, TensorMapping):
        pairs: Iterable[tuple[str, Any]] = sorted(tensors.items(), key=lambda pair: _first_place(pair[1]))
    else:
        pairs = tensors.items() if isinstance(tensors, Mapping) else tensors
    total = sum(_nbytes(*pair) for pair in pairs) if progress is not None and isinstance(tensors, Mapping) else 0
    done = 0
    with CheckpointWriter(path, shards=shards) as writer:
        for name, value in pairs:
            writer.add(name, value)
            if progress is not None:
                done += _nbytes(name, value)
                progress(done, max(done, total))
    return writer.prefix


def _first_place(tensor: Tensor) -> tuple[str, int, int]:
    """Return where a tensor begins; one without bytes lies ahead of that which begins at the same offset."""
    place = next(iter(tensor.ranges), None)
    return ("", 0, 0) if place is None else (place.path, place.offset, place.size)


def _nbytes(name: str, value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    _, array = to_array(name, value)
    return sum(map(len, array.flat)) if array.dtype.hasobject else array.nbytes


class CheckpointWriter:
    """Writes a checkpoint tensor by tensor, from one thread, in a ``with`` block.

    Nothing is at the prefix before the block ends well, and at any moment there is the old checkpoint or the new one,
    whole. With ``sync`` the files and their names are on disk when the block has ended. The folder of the prefix is
    made if the one above it is there.
    """

    def __init__(self, path: StrPath, *, shards: int = 1, sync: bool = False, partial: bool = False) -> None:
        """Write to the prefix ``path``; raises ``ValueError`` for one that is the name of a checkpoint's file.

        ``partial`` allows partitioned tensors of which slices are not given, as where each of several workers saves its
        own; what lacks slices cannot be read as a whole.
        """
        self._location = locate(path)
        self.prefix = self._location.path
        if not self.prefix or prefix_of_member(self.prefix) is not None:
            raise ValueError(f"{self.prefix!r} is no prefix; leave out .index, .meta or .data-00000-of-00001")
        self._count = _check_shards(shards)
        self._sync = sync
        self._partial = partial
        self._opened = OpenFiles(self._count)
        self._files: list[StagedFile] = []
        self._made_folder = False
        self._entries: dict[bytes, bytes] = {}
        self._partitioned: dict[bytes, tuple[int, tuple[int, ...], list[TensorSlice]]] = {}
        self._first_shards: dict[bytes, int] = {}
        self._open = self._broken = False

    @property
    def nbytes(self) -> int:
        """The bytes of tensors that were written so far."""
        return sum(file.size for file in self._files[: self._count])

    def __enter__(self) -> CheckpointWriter:
        if self._files:
            raise ValueError("a CheckpointWriter writes one checkpoint; make another")
        folder = self._index_location.parent
        try:
            if not folder.is_folder():
                make_folder(folder)
                self._made_folder = True
            check_replaceable(self._index_location)
            for number in range(self._count):
                self._files.append(StagedFile(self._data_location(number, self._count), self._opened))
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
        """Write a tensor. ``data_type`` is TensorFlow's type where the value does not say, such as ``"DT_QINT8"``."""
        if isinstance(value, Tensor):
            self._add_tensor(name, value, shard)
            return
        key = self._new_key(name)
        number = plain_number(value.dtype) if type(value) is np.ndarray and data_type is None else None
        if number is not None:
            data = plain_bytes(value)
            self._store(key, number, value.shape, ([data], crc32c(data)), shard)
            return
        number, array = to_array(name, value, data_type)
        self._store(key, number, array.shape, self._payload(number, array), shard)

    def _add_tensor(self, name: str, tensor: Tensor, shard: int | None) -> None:
        number = data_type_number(tensor.data_type)
        if tensor.slices:
            whole = tensor.read()  # Checksums cover what is read as a whole.
            for part in tensor.slices:
                self._add_slice(name, number, tensor.shape, part, whole[part.index], shard)
        elif tensor.region is not None:
            self._add_slice(name, number, tensor.whole_shape, tensor.region, tensor.read(), shard)
        elif number in (DT_STRING, DT_VARIANT):
            _, array = to_array(name, tensor.read())
            self._store(self._new_key(name), number, tensor.shape, self._payload(number, array), shard)
        else:
            self._store(self._new_key(name), number, tensor.shape, map(stored_bytes, tensor.chunks()), shard)

    def add_chunks(
        self, name: str, shape: Iterable[int], dtype: Any, chunks: Iterable[Any], *, shard: int | None = None
    ) -> None:
        """Write a tensor of numbers from arrays that are its elements in C order.

        Raises ``ValueError`` where they have another dtype than ``dtype``, or are more or fewer than ``shape`` takes.
        """
        key = self._new_key(name)
        number = data_type_number(dtype if isinstance(dtype, str) else np.dtype(dtype).name)
        if number in (DT_STRING, DT_VARIANT):
            raise ValueError(f"{name!r} is made of chunks, which only numbers can be; add() strings as a whole")
        dims = _check_shape(name, shape)
        self._store(key, number, dims, _checked(name, number, dims, chunks), shard)

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

        The parts are the whole tensor when the block ends. Only a slot that TensorFlow 1 made for a part of a variable,
        such as ``w/part_0/Adam`` for a part of ``w``, is that one part of a tensor of the variable's shape.
        ``data_type`` is as for ``add``.
        """
        dims = _check_shape(name, shape)
        number, array = to_array(name, value, data_type)
        self._add_slice(name, number, dims, _slice_of(name, index, dims), array, shard)

    def _add_slice(
        self, name: str, number: int, shape: tuple[int, ...], part: TensorSlice, value: Any, shard: int | None
    ) -> None:
        key = _encode(name)
        if part.lengths == shape:  # TensorFlow stores a slice that is everything as a plain tensor.
            self.add(name, value, shard=shard)
            return
        if key not in self._partitioned:
            self._partitioned[self._new_key(name)] = number, shape, []
        known, whole, parts = self._partitioned[key]
        _, array = to_array(name, value)
        if (known, whole) != (number, shape) or array.shape != part.lengths:
            raise ValueError(f"slice {part} of {name!r} has another type or shape than the tensor or the index")
        slice_key = encode_slice_key(key, part.extents)
        if slice_key in self._entries:
            raise ValueError(f"slice {part} of {name!r} was given twice")
        shard = self._store(slice_key, number, array.shape, self._payload(number, array), shard)
        self._first_shards.setdefault(key, shard)
        parts.append(part)
        check_count(parts, len(shape))

    def _new_key(self, name: str) -> bytes:
        if not self._open:
            raise ValueError("a CheckpointWriter is used in a with block, and not after it")
        key = _encode(name)
        if key in self._entries or key in self._partitioned:
            raise ValueError(f"the name {name!r} was given twice")
        return key

    def _payload(self, number: int, array: np.ndarray[Any, Any]) -> tuple[list[bytes], int] | list[memoryview]:
        if number == DT_STRING:
            return encode_strings(array.reshape(-1).tolist())
        return encode_variants(array.reshape(-1).tolist()) if number == DT_VARIANT else [stored_bytes(array)]

    def _store(
        self,
        key: bytes,
        number: int,
        shape: tuple[int, ...],
        payload: tuple[Sequence[bytes | memoryview], int] | Iterable[bytes | memoryview],
        shard: int | None,
    ) -> int:
        if shard is None:
            shard = min(range(self._count), key=lambda i: self._files[i].size) if self._count > 1 else 0
        elif not 0 <= shard < self._count:
            raise ValueError(f"there is no shard {shard} of {self._count}")
        file = self._files[shard]
        offset, crc = file.size, 0
        if isinstance(payload, tuple):
            parts, crc = payload
            self._broken = True  # Until all is written, what follows would lie behind an incomplete tensor.
            for part in parts:
                file.write(part)
            self._broken = False
        else:
            try:
                for chunk in payload:
                    crc = crc32c(chunk, crc)
                    file.write(chunk)
            except BaseException:
                self._open, self._broken = False, True
                raise
        self._entries[key] = encode_entry(number, shape, shard, offset, file.size - offset, crc)
        return shard

    def _finish(self) -> None:
        if self._broken:
            raise ValueError("a tensor was written in part, and the checkpoint is not; see the error before this one")
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
        data = self._files.copy()
        for file in data:
            file.finish(sync=self._sync)
        keys = sorted(self._entries)
        index = self._write_index(keys, self._count)
        put_in_place(data, index, self._plan_detour(keys), sync=self._sync)

    def _write_index(self, keys: list[bytes], count: int) -> StagedFile:
        index = StagedFile(self._index_location, self._opened)
        self._files.append(index)
        table = TableBuilder(index.write)
        table.add(b"", encode_header(count))
        for key in keys:
            table.add(key, self._entries[key])
        table.finish()
        index.finish(sync=self._sync)
        return index

    def _plan_detour(self, keys: list[bytes]) -> Detour | None:
        """Return the detour that overwriting takes, or ``None`` where no data file replaces one."""
        base = self._index_location.name.removesuffix(INDEX_SUFFIX)
        shards = (parse_shard(name) for name in self._index_location.parent.list().names if name.startswith(base))
        used = {shard.total for shard in shards if shard is not None and shard.prefix == base}
        if self._count not in used:
            return None
        count = next(number for number in count_from(self._count + 1) if number not in used)
        if count > MOST_SHARDS:
            raise ValueError(f"{self.prefix} has files of {MOST_SHARDS} shards, and cannot be overwritten with as many")
        names = [self._data_location(number, count) for number in range(count)]
        return Detour(self._write_index(keys, count), names[: self._count], names[self._count :])

    @property
    def _index_location(self) -> Location:
        return self._location.plus(INDEX_SUFFIX)

    def _data_location(self, number: int, count: int) -> Location:
        return self._location.plus(shard_path("", number, count))

    def _is_part(self, key: bytes) -> bool:
        """Return whether a tensor is the slot of a part of another, which TensorFlow stores as one slice."""
        number, shape, parts = self._partitioned[key]

        def tiling_of(owner: str) -> Tiling | None:
            known = self._partitioned.get(encode_name(owner))
            return None if known is None else tiling(Facts(known[0], known[1], tuple(known[2])))

        name = key.decode("utf-8", "surrogateescape")
        return find_part(name, Facts(number, shape, tuple(parts)), tiling_of) is not None

    def _discard(self) -> None:
        for file in self._files:
            file.discard()
        if self._made_folder:
            remove_empty_folder(self._index_location.parent)
            self._made_folder = False


def _check_shards(shards: object) -> int:
    if isinstance(shards, bool) or not isinstance(shards, int) or not 1 <= shards <= MOST_SHARDS:
        raise ValueError(f"shards is a number from 1 to {MOST_SHARDS}, not {shards!r}")
    return shards


def _encode(name: object) -> bytes:
    if not isinstance(name, str) or not name:
        raise ValueError(f"the name of a tensor is a str that is not empty, not {name!r}")
    try:
        return encode_name(name)
    except UnicodeEncodeError as error:
        raise ValueError(f"{name!r} is no name: {error.reason}") from None


def _check_shape(name: str, shape: Iterable[int]) -> tuple[int, ...]:
    dims = tuple(int(length) for length in shape)
    if len(dims) > LARGEST_RANK or any(length < 0 for length in dims):
        raise ValueError(f"{name!r} cannot have the shape {list(dims)}")
    return dims


def _slice_of(name: str, index: Any, shape: tuple[int, ...]) -> TensorSlice:
    items = index if isinstance(index, tuple) else (index,)
    if len(items) != len(shape) or not all(isinstance(i, slice) and i.step in (None, 1) for i in items):
        raise ValueError(f"the index of a slice of {name!r} is a tuple of {len(shape)} slices with step 1")
    extents: list[Extent] = []
    for item, whole in zip(items, shape, strict=True):
        if item.start is None and item.stop is None:
            extents.append((0, FULL))
        else:
            start, stop = item.start or 0, whole if item.stop is None else item.stop
            extents.append((start, stop - start))
    if any(length < 0 and (start, length) != (0, FULL) for start, length in extents):
        raise ValueError(f"the index of a slice of {name!r} ends before it starts")
    try:
        return locate_slice(extents, shape)
    except FormatError as error:
        raise ValueError(f"{name!r}: {error}") from None


def _checked(name: str, number: int, shape: tuple[int, ...], chunks: Iterable[Any]) -> Iterator[memoryview]:
    """Yield the bytes of chunks, and raise ``ValueError`` where they do not add up to the tensor."""
    left = prod(shape)
    dtype = numpy_dtype(number)
    for chunk in chunks:
        array = np.asarray(chunk)
        if array.dtype.name != dtype.name:
            raise ValueError(f"a chunk of {name!r} has the dtype {array.dtype}, and the tensor {dtype}")
        left -= array.size
        if left < 0:
            raise ValueError(f"the chunks of {name!r} have more elements than the shape {list(shape)}")
        yield stored_bytes(array)
    if left:
        raise ValueError(f"the chunks of {name!r} lack {left} elements of the shape {list(shape)}")
