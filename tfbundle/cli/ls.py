"""``tfbundle ls``: list the contents of a checkpoint, from its index alone."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tfbundle.cli.arguments import format_option, json_option, match_names, open_tensors, path_argument, variable_names
from tfbundle.cli.completion import complete_tensors
from tfbundle.cli.output import print_json, print_line, print_table, print_warning
from tfbundle.errors import TfBundleError
from tfbundle.natural_order import natural_key
from tfbundle.printable import count_of, escape_name, format_shape, format_size, one_line

if TYPE_CHECKING:
    from tfbundle.checkpoint.find.names import Format
    from tfbundle.tensors.tensor import Tensor

# The number of a data file in its name, in both formats.
_SHARD = re.compile(r"-(\d+)-of-\d+\Z")
_INDENT = "  "
# The most data files that are searched for.
_MOST_FILES = 100
# Lines of a tree are not indented beyond this depth.
_DEEPEST = 30


class Row(NamedTuple):
    """The listed facts of a tensor; ``error`` gives the reason if they are not known."""

    name: str
    variable: str | None = None
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    data_type: str | None = None
    nbytes: int | None = None
    slices: int = 0
    region: str | None = None
    whole_shape: tuple[int, ...] | None = None
    files: tuple[str, ...] = ()
    error: str | None = None

    @property
    def parameters(self) -> int:
        """The number of its elements; strings are none."""
        return 0 if self.shape is None or self.dtype == "string" else prod(self.shape)

    @property
    def shards(self) -> list[int]:
        """The numbers of the data files that hold it."""
        return sorted({int(match[1]) for match in map(_SHARD.search, self.files) if match})


# Ties keep the order of the file. The largest tensors come first.
_ORDERS: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: natural_key(row.name),
    "size": lambda row: -(row.nbytes or 0),
    "shape": lambda row: (len(row.shape or ()), row.shape or ()),
    "dtype": lambda row: row.dtype or "",
    "shard": lambda row: row.shards,
}


@click.command()
@path_argument
@click.argument("globs", nargs=-1, metavar="[GLOB]...", shell_complete=complete_tensors)
@click.option("--sort", type=click.Choice(list(_ORDERS)), default="name", help="The sort order.", show_default=True)
@click.option("--no-slots", is_flag=True, help="Exclude optimizer slots, and print how many there are.")
@click.option("--weights", is_flag=True, help="List only the weights, without slots, counters or settings.")
@click.option("--tree", is_flag=True, help="Show the scopes as a tree, with totals.")
@click.option("--depth", type=click.IntRange(1), metavar="N", help="Show the tree to this depth.")
@json_option
@format_option
def command(
    path: str,
    globs: tuple[str, ...],
    sort: str,
    no_slots: bool,
    weights: bool,
    tree: bool,
    depth: int | None,
    as_json: bool,
    format: Format | None,
) -> None:
    """List tensors: name, shape, dtype, size, shard.

    With GLOBs, only tensors whose names match one of them are listed. * matches / too, and a GLOB that equals the name
    of a tensor matches only that tensor. For a frozen graph, its constants are listed.

    Only the index is read, so the data files need not exist. If they do, the names of TensorFlow 2 variables are listed
    too, and a GLOB that matches no tensor name is matched against them. The exit status is 1 if an entry of the index
    is invalid.

    With --tree, the parts of the names between / are scopes, each with the number, parameters and size of the tensors
    in it. --depth implies --tree. Siblings are sorted by name, or with --sort size by size.
    """
    if tree or depth is not None:
        if as_json:
            raise click.UsageError("--tree is a table for people; --json lists the tensors")
        if sort not in ("name", "size"):
            raise click.UsageError("--tree is sorted by name or by size")
    with open_tensors(path, format) as checkpoint:
        variables = variable_names(checkpoint)
        chosen = list(match_names(checkpoint, globs) if globs else checkpoint)
        names = [name for name in chosen if name in checkpoint.weights] if weights else chosen
        names = [name for name in names if name not in checkpoint.slots] if no_slots else names
        rows = sorted((describe(checkpoint[name], variables.get(name)) for name in names), key=_ORDERS[sort])
    total = {
        "tensors": len(rows),
        "parameters": sum(row.parameters for row in rows),
        "nbytes": sum(row.nbytes or 0 for row in rows),
        "shards": len({file for row in rows for file in row.files}),
    }
    if as_json:
        tensors = [
            {
                "name": row.name,
                "variable": row.variable,
                "shape": row.shape,
                "dtype": row.dtype,
                "data_type": row.data_type,
                "nbytes": row.nbytes,
                "slices": row.slices,
                "region": row.region,
                "whole_shape": row.whole_shape,
                "shards": row.shards,
                "error": row.error,
            }
            for row in rows
        ]
        print_json(
            {
                "path": checkpoint.prefix,
                "format": checkpoint.format,
                "tensors": tensors,
                "total": total,
                "left_out": len(chosen) - len(names),
            }
        )
    else:
        kind = "other tensor" if weights else "slot"
        if tree or depth is not None:
            headers, cells = ["name", "tensors", "parameters", "size", "shape", "dtype"], _tree(rows, depth, sort)
            print_table(headers, cells, numbers=headers[1:4])
        else:
            _print_list(rows)
        print_line(
            f"{count_of(total['tensors'], 'tensor')}, {count_of(total['parameters'], 'parameter')}, "
            f"{format_size(total['nbytes'])}"
            + (f", {count_of(total['shards'], 'shard')}" if total["shards"] else "")
            + (f"; {count_of(len(chosen) - len(names), kind)} left out" if no_slots or weights else "")
        )
        _warn_of_missing(rows, path)
    if any(row.error for row in rows):
        raise click.exceptions.Exit(1)


def _warn_of_missing(rows: Sequence[Row], path: str) -> None:
    """Print a warning if local data files do not exist, because names and shapes are read from the index alone."""
    from tfbundle.storage.locations import locate
    from tfbundle.storage.object_stores import scheme_of

    # Asking for an object would be a request.
    files = dict.fromkeys(file for row in rows for file in row.files if scheme_of(file) is None)
    missing = [file for file in islice(files, _MOST_FILES) if locate(file).stat() is None]
    if missing:
        others = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        print_warning(
            f"tfbundle: the values cannot be read: {missing[0]}{others} {'do' if others else 'does'} not exist; "
            f"'tfbundle verify {shlex.quote(path)}' lists what is missing"
        )


def describe(tensor: Tensor, variable: str | None) -> Row:
    """Return what the index states about a tensor, with the name of its variable."""
    from tfbundle.tensors.dtypes import python_name

    try:
        return Row(
            tensor.name,
            variable,
            tensor.shape,
            python_name(tensor.data_type),
            tensor.data_type,
            tensor.nbytes,
            len(tensor.slices),
            None if tensor.region is None else str(tensor.region),
            tensor.whole_shape,
            tuple(dict.fromkeys(part.path for part in tensor.ranges)),
        )
    except TfBundleError as error:
        return Row(tensor.name, variable, error=str(error))


def _print_list(rows: Sequence[Row]) -> None:
    headers, cells = ["name", "shape", "dtype", "size", "shard"], list(map(_cells, rows))
    if any(row.variable for row in rows):
        headers.append("variable")
        cells = [(*line, escape_name(row.variable or "-")) for row, line in zip(rows, cells, strict=True)]
    print_table(headers, cells, numbers=("size",))


def _tree(rows: Sequence[Row], depth: int | None, sort: str) -> list[tuple[str, ...]]:
    from tfbundle.cli.scopes import build_scopes, walk_scopes

    root = build_scopes([(row.name, row.parameters, row.nbytes or 0) for row in rows])
    cells: list[tuple[str, ...]] = []
    for level, label, scope in walk_scopes(root, depth, (lambda scope: -scope.nbytes) if sort == "size" else None):
        name = _INDENT * min(level, _DEEPEST) + escape_name(label)
        totals = (f"{scope.parameters:,}", format_size(scope.nbytes))
        if scope.item is None:
            cells.append((name, f"{scope.tensors:,}", *totals, "", ""))
        elif (row := rows[scope.item]).error is not None:
            cells.append((name, "", "?", "?", "?", one_line(row.error)))
        else:
            cells.append((name, "", *totals, format_shape(row.shape or ()), row.dtype or ""))
    return cells


def _cells(row: Row) -> tuple[str, ...]:
    name = escape_name(row.name)
    if row.error is not None:
        return (name, "?", "?", "?", one_line(row.error))
    shards = ",".join(map(str, row.shards)) or "-"
    slices = f" ({count_of(row.slices, 'slice')})" if row.slices else ""
    if row.region is not None:
        slices = f" ({row.region} of {format_shape(row.whole_shape or ())})"
    return (name, format_shape(row.shape or ()), row.dtype or "", format_size(row.nbytes or 0), shards + slices)
