"""Conversion of any source of tensors to any target, with tensors selected, renamed and cast on the way.

    import tfbundle

    tfbundle.convert("run/model.ckpt-1000", "model.safetensors")
    tfbundle.convert("run/", "weights.npz", cast="bfloat16=float32", rename={r"^model/": ""}, dry_run=True).items

The output is planned first, and whatever is impossible is refused before anything is written. Tensors are then copied
in chunks of about a megabyte, so that a checkpoint need not fit into memory (those of a V1 checkpoint one tensor at a
time). Each output appears under its name only once it is complete and on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfbundle.checkpoint.chosen_names import Names
from tfbundle.checkpoint.find.owned import check_output, check_replaceable
from tfbundle.conversion.casting import Cast
from tfbundle.conversion.plan import Choices, Transpose, make_plan
from tfbundle.conversion.planned import Item, Transform
from tfbundle.conversion.renaming import Rename
from tfbundle.conversion.sources.members import MemberTensors
from tfbundle.conversion.sources.opening import opened
from tfbundle.conversion.targets.choosing import target_of
from tfbundle.conversion.targets.target import Layout, check_held
from tfbundle.identification.folders import identify_folder
from tfbundle.identification.kinds import FileKind
from tfbundle.plurals import plural
from tfbundle.progress import Progress
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StorageOptions, StrPath, locate, with_options
from tfbundle.tensors.mapping import TensorMapping

__all__ = ["Converted", "convert"]


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote, or with ``dry_run`` would write.

    ``path`` is the output and ``files`` are its files; ``tensors`` is the number of tensors written and ``nbytes`` the
    size of their values in bytes. ``items`` has one item for every tensor of the source, including those left out.
    """

    path: str
    format: str
    tensors: int
    nbytes: int
    files: tuple[str, ...]
    items: tuple[Item, ...]
    dry_run: bool = False

    @property
    def left_out(self) -> dict[str, int]:
        """The number of tensors that were left out, by reason."""
        return dict(Counter(item.action for item in self.items if item.new_name is None))

    def __repr__(self) -> str:
        verb = "would be written" if self.dry_run else "written"
        tensors, size = plural(self.tensors, "tensor"), plural(self.nbytes, "byte")
        return f"<Converted {self.path!r}, {self.format}, {tensors} {verb}, {size}>"


def convert(
    source: StrPath | TensorMapping | Mapping[str, Any],
    out: StrPath,
    *,
    to: str | None = None,
    names: Names = None,
    rename: Rename | None = None,
    exclude: Names = None,
    cast: Cast | None = None,
    transpose: Transpose | None = None,
    transform: Transform | None = None,
    slots: bool = True,
    weights: bool = False,
    averages: bool = False,
    shards: int | None = None,
    shard_size: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    dry_run: bool = False,
    storage_options: StorageOptions | None = None,
) -> Converted:
    """Write the tensors of ``source`` to ``out``.

    ``source`` is the path of a checkpoint, a frozen graph, a SavedModel, or a ``.npz``, ``.safetensors`` or HDF5 file
    (``.h5``, ``.weights.h5``, ``.keras``); or an open checkpoint, or any mapping of arrays. ``to`` is
    ``"checkpoint"``, ``"npz"``, ``"safetensors"``, ``"hdf5"`` or ``"zarr"``. By default the suffix of ``out`` decides,
    and a name without a suffix is the prefix of a checkpoint. Checkpoints are written in TensorFlow's format V2.

    * ``names`` selects and renames as in ``load``; by default all tensors are written. The object graph of a
      TensorFlow 2 checkpoint is updated and written to checkpoints, and is written to other formats only if ``names``
      selects it. ``exclude`` leaves out a name, a glob or exact names, ``slots=False`` optimizer slots
      (``Checkpoint.slots``), and ``weights=True`` everything but the model's weights (``Checkpoint.weights``).
    * ``averages=True`` writes moving averages under the names of their variables, in place of the variables.
    * ``rename`` is ``{old: new}``, where an old name that no tensor has is a regular expression with its replacement; a
      list of such pairs, dicts or functions, applied in order; or a function from the old name to the new one.
    * ``cast`` is ``"float32"`` for all floating-point tensors (or ``"int32"`` for all integers),
      ``"bfloat16=float32"`` for those of a type, ``"*/kernel=float16"`` for those of a name or glob, several of these,
      or ``{"bfloat16": "float32"}``; types have their TensorFlow names.
    * ``transpose`` is ``{pattern: axes}``, such as ``{"*/kernel": (1, 0)}``.
    * ``transform`` is called with the new name and the tensor. It returns the tensor to leave it unchanged, an array to
      write in its place, or ``None`` to leave it out. It is called twice for each tensor that it changes: to plan, and
      to write.

    ``shards`` is the number of files to write, ``shard_size`` the largest size of a file in bytes. Files of an existing
    checkpoint, graph or run are replaced only with ``overwrite=True``. ``dry_run=True`` plans and checks, and writes
    nothing. ``progress`` is called with the number of bytes written and the total.

    Every tensor is verified unless the checkpoint was opened with ``verify=False``. Raises ``UnsupportedError`` with
    the names of all tensors that the format cannot store, or whose integers a cast would change; ``ValueError`` for
    invalid arguments and colliding names; ``KeyError`` for names that match nothing; and the errors of reading. On any
    error, a file that was at ``out`` before is still there, unchanged.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    source = with_options(source, storage_options)
    out = with_options(out, storage_options)
    place = locate(out)
    target = target_of(place, to)
    layout = Layout(shards, shard_size)
    with opened(source) as tensors:
        choices = Choices(names, rename, exclude, cast, transpose, transform, slots, weights, averages)
        plan = make_plan(tensors, choices, keeps_objects=target.keeps_objects)
        check_held(target, plan)
        outputs = target.outputs(place, plan, layout)
        check = check_replaceable if target.is_prefix else check_output
        for output in [place, *outputs] if target.is_prefix else outputs:
            check(output, overwrite=overwrite, sources=_places(tensors))
        if target.is_folder:
            _check_folder(outputs[0], _places(tensors), overwrite=overwrite)
        total, done = plan.nbytes, 0

        def count(nbytes: int) -> None:
            nonlocal done
            done += nbytes
            if progress is not None:
                progress(done, total)

        if not dry_run:
            target.write(place, plan, layout, count)
    files = tuple(output.path for output in outputs)
    path = place.path if target.is_prefix else files[0]
    return Converted(path, target.name, len(plan.tensors), total, files, plan.items, dry_run)


def _places(tensors: TensorMapping) -> list[Location]:
    """Return the files that are read and have names."""
    files = tensors.files if isinstance(tensors, MemberTensors) else (tensors.prefix,)
    return [locate(file) for file in files]


def _check_folder(out: Location, sources: list[Location], *, overwrite: bool) -> None:
    """Raise ``ValueError`` if ``out`` is something that a folder of arrays must not replace."""
    if not out.is_folder():
        if out.is_file():
            raise ValueError(f"{out} is a file, and the output is a folder; choose another name")
        return
    if any(source.real().is_below(out.real()) for source in sources):
        raise ValueError(f"{out} contains a source of the output; choose another name")
    listing = out.list()
    if listing.names and identify_folder(listing) is not FileKind.ZARR_FOLDER:
        raise ValueError(f"{out} is a folder of other files; choose another name")
    if listing.names and not overwrite:
        raise ValueError(f"{out} already exists; choose another name, or replace it with overwrite=True")
