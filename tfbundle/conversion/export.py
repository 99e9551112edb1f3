"""Writes the tensors of a checkpoint to a file of another library: ``.npz`` for numpy, ``.safetensors`` for the rest.

    from tfbundle.conversion.export import export

    export("run/model.ckpt-1000", "model.safetensors")

What is to be written is planned from the index alone, and what the format cannot hold is refused before anything is
written. Tensors then pass through in pieces of about a megabyte, so that a checkpoint need not fit into memory (those
of a V1 checkpoint one at a time). The output appears under its name only once it is complete and on disk.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass

from tfbundle.checkpoint.chosen_names import Names
from tfbundle.checkpoint.find.names import prefix_of_member, prefix_of_v1_shard
from tfbundle.conversion.npz import NPZ
from tfbundle.conversion.plan import Cast, OutputFormat, plan
from tfbundle.conversion.safetensors import SAFETENSORS
from tfbundle.open_tensors import open_tensors
from tfbundle.progress import Progress
from tfbundle.storage.local import list_folder
from tfbundle.storage.replacing import replacement
from tfbundle.tensors.mapping import TensorMapping

__all__ = ["Exported", "export", "output_format"]

FORMATS = {format.name: format for format in (NPZ, SAFETENSORS)}


@dataclass(frozen=True)
class Exported:
    """What an export wrote: the file, its format, how many tensors, and the bytes of their values."""

    path: str
    format: str
    tensors: int
    nbytes: int


def export(
    source: str | os.PathLike[str] | TensorMapping,
    out: str | os.PathLike[str],
    *,
    to: str | None = None,
    names: Names = None,
    exclude: Names = None,
    cast: Cast | None = None,
    slots: bool = True,
    progress: Progress | None = None,
) -> Exported:
    """Write the tensors of ``source``, a checkpoint, a frozen graph or the path of one, to the file ``out``.

    ``to`` is ``"npz"`` or ``"safetensors"``; without it the suffix of ``out`` decides. ``names`` chooses and renames as
    for ``load``, and without it all tensors are written but a TensorFlow 2 checkpoint's object graph, which is no
    weight; ``exclude`` is a glob or exact names to leave out. ``cast`` is ``"float32"`` for all floating-point tensors
    (``"int32"`` likewise for all integers), ``"bfloat16=float32"`` for those of a type, several of these, or
    ``{"bfloat16": "float32"}``; types are called as in TensorFlow. ``slots=False`` leaves optimizer slots out
    (``Checkpoint.slots``). ``progress`` is called with the bytes written and the bytes to be written.

    Every tensor is verified unless the checkpoint was opened with ``verify=False``. Raises ``UnsupportedError`` with
    the names of all tensors that the format cannot hold, or that do not fit the integers that they are cast to;
    ``ValueError`` for arguments that make no sense; ``KeyError`` for names that are not there; and what reading raises.
    Whatever is raised, a file that was at ``out`` before is still there, unchanged.
    """
    out = os.fspath(out)
    format = output_format(out, to)
    with nullcontext(source) if isinstance(source, TensorMapping) else open_tensors(source) as checkpoint:
        _check_output(out, checkpoint)
        planned = plan(checkpoint, format, names, exclude, cast, slots=slots)
        total = sum(tensor.nbytes for tensor in planned)
        done = 0

        def count(nbytes: int) -> None:
            nonlocal done
            done += nbytes
            if progress is not None:
                progress(done, total)

        with replacement(out) as file:
            format.write(file, planned, count)
    return Exported(out, format.name, len(planned), total)


def output_format(out: str, to: str | None = None) -> OutputFormat:
    """The format called ``to``, or the one that the suffix of ``out`` means; ``ValueError`` where there is none."""
    if to is not None:
        if to not in FORMATS:
            raise ValueError(f"to is {' or '.join(map(repr, FORMATS))}, not {to!r}")
        return FORMATS[to]
    suffix = os.path.splitext(out)[1].lower()
    for format in FORMATS.values():
        if suffix == f".{format.name}":
            return format
    raise ValueError(
        f"the name {out} does not tell its format; call it {' or '.join('.' + name for name in FORMATS)}, or say which "
        "one with to"
    )


def _check_output(out: str, checkpoint: TensorMapping) -> None:
    """Raise ``ValueError`` rather than replace a file of the source by what is made from it."""
    if not os.path.exists(out):
        return
    folder, base = os.path.split(checkpoint.prefix)
    for name in list_folder(folder or os.curdir):
        own = (name, prefix_of_member(name), prefix_of_v1_shard(name))
        # By whatever name or link it is reached.
        if base in own and os.path.samefile(out, os.path.join(folder, name)):
            raise ValueError(f"{out} is a file of the checkpoint that is to be exported")
