"""Any source of tensors written to any target, renamed, cast and thinned out on the way.

    import tfbundle

    tfbundle.convert("run/model.ckpt-1000", "model.safetensors")
    tfbundle.convert("run/", "weights.npz", cast="bfloat16=float32", rename={r"^model/": ""}, dry_run=True).items

What is to be written is planned first, and what cannot be done is refused before anything is written. Tensors then pass
through in pieces of about a megabyte, so that a checkpoint need not fit into memory (those of a V1 checkpoint one at a
time). Each output appears under its name only once it is complete and on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfbundle.checkpoint.chosen_names import Names
from tfbundle.checkpoint.find.owned import check_replaceable
from tfbundle.conversion.casting import Cast
from tfbundle.conversion.plan import Choices, Item, Transform, Transpose, make_plan
from tfbundle.conversion.renaming import Rename
from tfbundle.conversion.sources.members import MemberTensors
from tfbundle.conversion.sources.opening import opened
from tfbundle.conversion.targets.choosing import target_of
from tfbundle.conversion.targets.target import Layout, check_held
from tfbundle.identification.folders import identify_folder
from tfbundle.identification.kinds import FileKind
from tfbundle.progress import Progress
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StrPath, locate
from tfbundle.tensors.mapping import TensorMapping

__all__ = ["Converted", "convert"]


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote, or with ``dry_run`` would write.

    ``path`` is the output and ``files`` all files of it; ``tensors`` counts what was written and ``nbytes`` the bytes
    of the values. ``items`` has a line for every tensor of the source, those that were left out included.
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
        """How many tensors were left out, by the reason."""
        return dict(Counter(item.action for item in self.items if item.new_name is None))

    def __repr__(self) -> str:
        verb = "would be written" if self.dry_run else "written"
        return f"<Converted {self.path!r}, {self.format}, {self.tensors} tensors {verb}, {self.nbytes} bytes>"


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
) -> Converted:
    """Write the tensors of ``source`` to ``out``.

    ``source`` is the path of a checkpoint, a frozen graph, a SavedModel, or a ``.npz``, ``.safetensors`` or HDF5 file
    (``.h5``, ``.weights.h5``, ``.keras``); or an open checkpoint, or any mapping of arrays. ``to`` is
    ``"checkpoint"``, ``"npz"``, ``"safetensors"``, ``"hdf5"`` or ``"zarr"``; without it the suffix of ``out`` decides,
    and a name without one is the prefix of a checkpoint. A checkpoint is written in TensorFlow's format V2.

    * ``names`` chooses and renames as for ``load``; without it all tensors are written. The object graph of a
      TensorFlow 2 checkpoint goes into checkpoints, where it follows all other changes, and into other formats only
      where ``names`` chooses it. ``exclude`` leaves out a name, a glob or exact names, ``slots=False`` optimizer slots
      (``Checkpoint.slots``), and ``weights=True`` everything but the model's weights (``Checkpoint.weights``).
    * ``averages=True`` writes moving averages under the names of their variables, in place of them.
    * ``rename`` is ``{old: new}``, where an old name that no tensor has is a regular expression with its replacement; a
      list of such pairs, dicts or functions, in order; or a function from the old name to the new one.
    * ``cast`` is ``"float32"`` for all floating-point tensors (``"int32"`` likewise for all integers),
      ``"bfloat16=float32"`` for those of a type, ``"*/kernel=float16"`` for those of a name or glob, several of these,
      or ``{"bfloat16": "float32"}``; types are called as in TensorFlow.
    * ``transpose`` is ``{pattern: axes}``, such as ``{"*/kernel": (1, 0)}``.
    * ``transform`` is called with the new name and the tensor; it returns the tensor to leave it as it is, an array to
      write in its place, or ``None`` to leave it out. It is called twice for what it changes: to plan, and to write.

    ``shards`` divides the output into so many files, ``shard_size`` into files of at most so many bytes. What a
    checkpoint, a graph or a run owns is replaced only with ``overwrite=True``. ``dry_run=True`` plans and checks, and
    writes nothing. ``progress`` is called with the bytes written and the bytes to be written.

    Every tensor is verified unless the checkpoint was opened with ``verify=False``. Raises ``UnsupportedError`` with
    the names of all tensors that the format cannot hold, or that would lose integers by a cast; ``ValueError`` for
    arguments that make no sense and names that collide; ``KeyError`` for names that match nothing; and what reading
    raises. Whatever is raised, a file that was at ``out`` before is still there, unchanged.
    """
    place = locate(out)
    target = target_of(place, to)
    layout = Layout(shards, shard_size)
    with opened(source) as tensors:
        choices = Choices(names, rename, exclude, cast, transpose, transform, slots, weights, averages)
        plan = make_plan(tensors, choices, keeps_objects=target.keeps_objects)
        check_held(target, plan)
        outputs = target.outputs(place, plan, layout)
        for output in [place, *outputs] if target.is_prefix else outputs:
            check_replaceable(output, overwrite=overwrite, sources=_places(tensors))
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
    """Return the files that are read, as far as they have names."""
    files = tensors.files if isinstance(tensors, MemberTensors) else (tensors.prefix,)
    return [locate(file) for file in files]


def _check_folder(out: Location, sources: list[Location], *, overwrite: bool) -> None:
    """Raise ``ValueError`` where something lies that no folder of arrays replaces, or not unasked."""
    if not out.is_folder():
        if out.is_file():
            raise ValueError(f"{out} is a file, and the output is a folder; choose another name")
        return
    if any(source.real().is_below(out.real()) for source in sources):
        raise ValueError(f"{out} holds what it is made from; choose another name")
    listing = out.list()
    if listing.names and identify_folder(listing) is not FileKind.ZARR_FOLDER:
        raise ValueError(f"{out} is a folder of other files; choose another name")
    if listing.names and not overwrite:
        raise ValueError(f"{out} is there already; choose another name, or replace it with overwrite=True")
