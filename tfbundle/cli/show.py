"""``tfbundle show``: one tensor, from its location in the files to its values."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import find_name, find_part, format_option, json_option, open_tensors, path_argument
from tfbundle.cli.completion import complete_tensors
from tfbundle.cli.output import print_fact, print_json, print_line, print_lines, progress_bar
from tfbundle.printable import count_of, escape_name, format_shape, format_size

if TYPE_CHECKING:
    from tfbundle.checkpoint.find.names import Format
    from tfbundle.tensors.arrays import Array
    from tfbundle.tensors.store import Range
    from tfbundle.tensors.tensor import Tensor

# If a tensor consists of more ranges than this, only the first are printed.
_MOST_RANGES = 20


# Unknown options are arguments, so that an index may start with a minus.
@click.command(context_settings={"ignore_unknown_options": True})
@path_argument
@click.argument("name", shell_complete=complete_tensors)
@click.argument("index", required=False)
@json_option
@format_option
def command(path: str, name: str, index: str | None, as_json: bool, format: Format | None) -> None:
    """Show one tensor: metadata, statistics and values.

    NAME is a tensor name as printed by ls, or the name of a TensorFlow 2 variable, such as dense/kernel. INDEX selects
    a part of the values, such as 0:10,: or ...,-1. It may be enclosed in brackets, and may directly follow the name, as
    in dense/kernel[0:10,:]. With INDEX, only that part is read; it is not verified, because a checksum covers the whole
    tensor.
    """
    with open_tensors(path, format) as checkpoint:
        key, behind = (find_name(checkpoint, name), None) if index is not None else find_part(checkpoint, name)
        chosen = _parse_index(index if behind is None else behind)
        tensor = checkpoint[key]
        if chosen is not None:
            _check_index(tensor, chosen)
        if as_json:
            verified = chosen is None and checkpoint.format != "graph"
            print_json({**_json_facts(tensor), "verified": verified, **_json_values(tensor, chosen)})
        else:
            # The metadata is useful even if the values turn out to be damaged.
            _print_facts(tensor)
            _print_values(tensor, chosen)


def _parse_index(text: str | None) -> Any:
    from tfbundle.cli.index import parse_index

    try:
        return None if text is None else parse_index(text)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def _json_facts(tensor: Tensor) -> dict[str, Any]:
    from tfbundle.tensors.dtypes import python_name

    return {
        "name": tensor.name,
        "shape": tensor.shape,
        "dtype": python_name(tensor.data_type),
        "data_type": tensor.data_type,
        "nbytes": tensor.nbytes,
        "slices": [[[part.start, part.stop] for part in box.index] for box in tensor.slices],
        "region": None if tensor.region is None else str(tensor.region),
        "whole_shape": tensor.whole_shape,
        "ranges": [part._asdict() for part in tensor.ranges],
    }


def _json_values(tensor: Tensor, chosen: Any) -> dict[str, Any]:
    from tfbundle.cli.values import FEW, json_values, read_part

    if chosen is not None:
        return {"statistics": None, "values": json_values(read_part(tensor, chosen))}
    statistics = _gather(tensor)
    return {"statistics": statistics, "values": json_values(tensor.read()) if tensor.size <= FEW else None}


def _print_facts(tensor: Tensor) -> None:
    from tfbundle.tensors.dtypes import python_name

    ranges = tensor.ranges
    print_fact("name", escape_name(tensor.name))
    print_fact("shape", format_shape(tensor.shape))
    if tensor.region is not None:
        print_fact("part", f"{tensor.region} of {format_shape(tensor.whole_shape)}")
    print_fact("dtype", f"{python_name(tensor.data_type)} ({tensor.data_type})")
    print_fact("size", f"{count_of(tensor.size, 'element')}, {format_size(tensor.nbytes)}")
    places = [_describe(part) for part in ranges]
    if len(tensor.slices) == len(ranges):
        places = [f"{box} in {place}" for box, place in zip(tensor.slices, places, strict=True)]
    elif tensor.slices:
        print_fact("slices", ", ".join(map(str, tensor.slices[:_MOST_RANGES])))
    for place in places[:_MOST_RANGES]:
        print_fact("stored", place)
    if len(places) > _MOST_RANGES:
        print_fact("", f"and {count_of(len(places) - _MOST_RANGES, 'more range')}")


def _describe(part: Range) -> str:
    from tfbundle.storage.locations import locate

    crc = "" if part.crc is None else f", CRC-32C {part.crc:#010x}"
    return f"{escape_name(locate(part.path).name)}, {part.size:,} bytes at offset {part.offset}{crc}"


def _print_values(tensor: Tensor, chosen: Any) -> None:
    from tfbundle.cli.statistics import draw_histogram
    from tfbundle.cli.values import FEW, format_values, read_part, read_sample

    width = shutil.get_terminal_size((100, 0)).columns
    if chosen is not None:
        part = read_part(tensor, chosen)
        print_line(f"values (part of shape {format_shape(part.shape)}, not verified)")
        print_lines(format_values(part, threshold=FEW, width=width))
        return
    statistics = _gather(tensor)
    for label, value in statistics.items():
        if label == "histogram":
            bars = draw_histogram(statistics)
            if bars:
                print_fact(label, bars)
        elif value is not None:
            print_fact(label.replace("_", " "), f"{value:.6g}" if isinstance(value, float) else f"{value:,}")
    values, lead = read_sample(tensor)
    print_line(f"values of [{','.join(map(str, lead))},...]" if lead else "values")
    is_sample = tensor.size > FEW and not tensor.dtype.hasobject
    print_lines(format_values(values, threshold=0 if is_sample else FEW, width=width))


def _gather(tensor: Tensor) -> dict[str, Any]:
    """Return the statistics of a tensor; reading all of its values verifies them, too."""
    from tfbundle.cli.statistics import gather

    with progress_bar("reading") as progress:
        done = 0

        def chunks() -> Iterator[Array]:
            nonlocal done
            for chunk in tensor.chunks():
                yield chunk
                done += chunk.nbytes
                if progress is not None and not chunk.dtype.hasobject:
                    progress(done, tensor.nbytes)

        return gather(tensor, chunks())


def _check_index(tensor: Tensor, chosen: Any) -> None:
    from tfbundle.tensors.selection import parse_index

    try:
        parse_index(chosen, tensor.shape)
    except IndexError as error:
        raise click.ClickException(f"{error}; the shape is {format_shape(tensor.shape)}") from None
