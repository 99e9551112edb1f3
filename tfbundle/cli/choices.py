"""Options and output that ``convert`` and ``average`` share: how tensors are chosen, named and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import choose_copies, exclude_option, match_names, names_option
from tfbundle.cli.output import print_line, print_table
from tfbundle.cli.wording import for_command
from tfbundle.errors import TfBundleError
from tfbundle.natural_order import natural_key
from tfbundle.printable import count_of, escape_name, format_shape, format_size, one_line

if TYPE_CHECKING:
    from tfbundle.conversion.convert import Converted
    from tfbundle.tensors.mapping import TensorMapping

FORMATS = ("checkpoint", "npz", "safetensors", "hdf5", "zarr")
SUFFIXES = ".npz, .safetensors, .h5 or .zarr"

_HEADERS = ("name", "new name", "type", "shape", "bytes", "action")
_SLOT = "left out: optimizer slot"
_LARGEST_MAPPING = 1 << 26
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Size(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A number of bytes, with or without a unit."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes of ``500M``, ``2GiB`` or ``1000000``."""
        if isinstance(value, int):
            return value
        text = value.strip().upper().removesuffix("B").removesuffix("I")
        unit = _UNITS.get(text[-1:], 1)
        number = text if unit == 1 else text[:-1]
        if not (number.isascii() and number.isdigit() and len(number) < 16):
            self.fail(f"'{value}' is not a size, such as 500M or 2G.", param, ctx)
        return int(number) * unit


_OPTIONS = (
    click.option("--to", type=click.Choice(FORMATS), help="The output format.  [default: by the suffix of OUT]"),
    names_option,
    exclude_option,
    click.option(
        "--no-slots",
        is_flag=True,
        help="Exclude optimizer slots: those recorded as such by TensorFlow 2, and those recognized by name in "
        "TensorFlow 1 checkpoints, such as w/Adam and w/Momentum.",
    ),
    click.option(
        "--weights",
        "weights_alone",
        is_flag=True,
        help="Write only the model's weights, without slots, counters or settings.",
    ),
    click.option("--averages", is_flag=True, help="Write moving averages under the names of their variables."),
    click.option(
        "--rename",
        multiple=True,
        metavar="OLD=NEW",
        help="Rename the tensor OLD, or replace matches of the regular expression OLD in names with NEW (\\1 is its "
        "first group); may be repeated, applied in order.",
    ),
    click.option(
        "--rename-file",
        metavar="FILE",
        help='Apply the renames in a JSON file, {"OLD": "NEW", ...} or, in order, [["OLD", "NEW"], ...], before any '
        "--rename.",
    ),
    click.option(
        "--cast",
        multiple=True,
        metavar="TYPE|FROM=TO",
        help="Convert all floating-point tensors to TYPE (all integer tensors if TYPE is an integer type), or only "
        "those whose type or name matches FROM; may be repeated.",
    ),
    click.option(
        "--transpose", multiple=True, metavar="GLOB=AXES", help="Reorder axes, as in '*/kernel=1,0'; may be repeated."
    ),
    click.option("--shards", type=click.IntRange(min=1), help="Divide the output into this many files."),
    click.option("--shard-size", type=Size(), help="Divide the output into files of at most this size, such as 2G."),
    click.option("--overwrite", is_flag=True, help="Replace existing files, even those of a checkpoint, graph or run."),
    click.option("--dry-run", is_flag=True, help="Check everything, print the plan, and write nothing."),
)


def conversion_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that both commands have; ``read_choices`` turns them into arguments."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_format(out: str, to: str | None) -> None:
    """Raise a usage error if neither the option nor the suffix of ``out`` determines the format."""
    from tfbundle.conversion.targets.choosing import target_of
    from tfbundle.storage.locations import locate

    try:
        target_of(locate(out), to)
    except ValueError:
        raise click.UsageError(
            f"the suffix of '{out}' does not name an output format; end it with {SUFFIXES}, or pass --to."
        ) from None


def read_choices(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options as arguments of ``convert``; ``names`` and ``exclude`` are still globs."""
    rules = read_renames(options.pop("rename_file"), options.pop("rename"))
    pairs = (_pair(text, "--transpose GLOB=AXES") for text in options.pop("transpose"))
    axes = {pattern: _parse_axes(text) for pattern, text in pairs}
    slots, weights = not options.pop("no_slots"), options.pop("weights_alone")
    return {**options, "slots": slots, "weights": weights, "rename": rules, "transpose": axes}


def choose_names(source: TensorMapping, choices: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``convert`` with each glob replaced by the tensors that it matches."""
    names, exclude = choices["names"], choices["exclude"]
    return {
        **choices,
        "names": choose_copies(source, match_names(source, names)) if names else None,
        "exclude": list(match_names(source, exclude)) if exclude else None,
    }


@contextmanager
def refusals() -> Iterator[None]:
    """Convert errors about arguments into errors of the command."""
    try:
        yield
    except (ValueError, KeyError) as error:
        if isinstance(error, TfBundleError):
            raise
        raise click.ClickException(for_command(str(error.args[0]))) from None


def left_out(done: Converted, *, no_slots: bool) -> dict[str, int]:
    """Return how many tensors were left out, by reason; with ``no_slots``, 0 shows that no slot was recognized."""
    return {**({_SLOT: 0} if no_slots else {}), **done.left_out}


def facts_of(done: Converted, *, no_slots: bool) -> dict[str, Any]:
    """Return the result as JSON fields."""
    facts: dict[str, Any] = {
        "path": done.path,
        "format": done.format,
        "tensors": done.tensors,
        "nbytes": done.nbytes,
        "files": list(done.files),
        "left_out": left_out(done, no_slots=no_slots),
    }
    if done.dry_run:
        facts["plan"] = [item._asdict() for item in done.items]
    return facts


def print_plan(done: Converted) -> None:
    """Print a line for each tensor."""
    rows = [
        [
            escape_name(item.name),
            "-" if item.new_name is None else escape_name(item.new_name),
            item.dtype,
            format_shape(item.shape),
            f"{item.nbytes:,}",
            item.action,
        ]
        for item in sorted(done.items, key=lambda item: natural_key(item.name))
    ]
    print_table(_HEADERS, rows, ["bytes"])


def print_result(done: Converted, say: Callable[[str], None] = print_line, *, no_slots: bool) -> None:
    """Print how many tensors were left out, and how many were written."""
    for reason, count in left_out(done, no_slots=no_slots).items():
        say(f"{count_of(count, 'tensor')} {reason}")
    verb = "would be written: " if done.dry_run else ""
    say(f"{one_line(done.path)}: {verb}{count_of(done.tensors, 'tensor')}, {format_size(done.nbytes)}")


def _pair(text: str, usage: str) -> tuple[str, str]:
    old, sign, new = text.rpartition("=") if usage.startswith("--transpose") else text.partition("=")
    if not sign or not old:
        raise click.UsageError(f"'{text}' is not of the form {usage}.")
    return old, new


def _parse_axes(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isascii() and part.strip().isdigit() and len(part) < 9 for part in parts):
        raise click.UsageError(f"'{text}' is not a list of axes, such as 1,0 or 3,2,0,1.")
    return tuple(int(part) for part in parts)


def read_renames(path: str | None, rules: Sequence[str]) -> list[Any]:
    """Return the rules of a JSON file, if there is one, followed by those of ``--rename``."""
    return [*_read_mapping(path), *(_pair(text, "--rename OLD=NEW") for text in rules)]


def _read_mapping(path: str | None) -> list[Any]:
    """Return the steps of a file: one object of names, or a list of pairs and objects in their order."""
    if path is None:
        return []
    import json
    from collections import Counter

    from tfbundle.storage.locations import locate

    def names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
            raise click.ClickException(f"{path} has the name {twice!r} twice in one object; remove one of them")
        return found

    try:
        rules = json.loads(locate(path).read(_LARGEST_MAPPING), object_pairs_hook=names)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise click.ClickException(f"{path} is not JSON: {error}") from None
    steps = rules if isinstance(rules, list) else [rules]
    if not all(map(_is_step, steps)):
        raise click.ClickException(
            f'{path} does not contain an object of names, {{"OLD": "NEW", ...}}, or a list of pairs, '
            '[["OLD", "NEW"], ...]'
        )
    return steps


def _is_step(step: Any) -> bool:
    if isinstance(step, dict):
        return all(isinstance(new, str) for new in step.values())
    return isinstance(step, list) and len(step) == 2 and all(isinstance(name, str) for name in step)
