"""The elements of event series that are not scalars, as tables for people and as JSON for programs.

One table a series, with a row for each of its last points: a text, the moments and the shape of a histogram, the size
of images and clips, the values of a tensor. A PR curve is a table of its last point, and hyperparameters one of names
and values, because the hparams plugin keeps them in the metadata of a tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbundle.cli.bars import draw_bars
from tfbundle.cli.output import print_line, print_table
from tfbundle.cli.values import json_values
from tfbundle.printable import count_of, escape_name, format_shape, format_size
from tfbundle.tensors.dtypes import cast

if TYPE_CHECKING:
    from tfbundle.events.plugins import Audio, Histogram, Images, PrCurve
    from tfbundle.events.run import Run
    from tfbundle.events.series import ElementSeries
    from tfbundle.tensors.arrays import Array

HPARAMS = "hparams"
# A table has the last points, and a curve so many of its thresholds.
_MOST_POINTS = 20
_MOST_THRESHOLDS = 21
_LONGEST_TEXT = 200
_FEW_ELEMENTS = 8


def print_elements(run: Run, kind: str, series: ElementSeries[Any]) -> None:
    """Print one series; raises the errors of its elements."""
    print_line(f"{escape_name(series.tag)} ({kind}) in {escape_name(run.name)}, {count_of(len(series), 'point')}")
    if kind == HPARAMS:
        print_table(("hyperparameter", "value"), list(_hparams(run)))
    elif kind == "pr_curves":
        _print_curve(series)
    else:
        headers, describe = _TABLES[kind]
        first = max(0, len(series) - _MOST_POINTS)
        rows = [(f"{series.steps[place]}", *describe(series[place])) for place in range(first, len(series))]
        print_table(("step", *headers), rows, numbers=("step", *(name for name in headers if name in _NUMBERS)))
        if first:
            print_line(f"{count_of(first, 'earlier point')} not shown; --json prints all")


def json_elements(run: Run, kind: str, series: ElementSeries[Any]) -> dict[str, Any]:
    """Return one series with all of its elements; of images and audio, which are files, their sizes."""
    hparams = run.hparams if kind == HPARAMS else None
    return {
        "run": run.name,
        "tag": series.tag,
        "kind": kind,
        "steps": series.steps.tolist(),
        "wall_times": series.wall_times.tolist(),
        "values": [hparams.values] if hparams else [_JSON[kind](element) for element in series],
    }


def kind_of_series(run: Run, kind: str, tag: str) -> str:
    """Return the kind under which a series is shown: that of its list, or hparams by the plugin of its tag."""
    metadata = run.metadata.get(tag)
    is_hparams = kind == "tensors" and metadata is not None and metadata.plugin_data.plugin_name == HPARAMS
    return HPARAMS if is_hparams else kind


def _hparams(run: Run) -> Iterator[tuple[str, str]]:
    found = run.hparams
    for name, value in ({} if found is None else found.values).items():
        yield escape_name(name), escape_name(value) if isinstance(value, str) else _number(value)


def _print_curve(series: ElementSeries[PrCurve]) -> None:
    if not len(series):
        return
    curve = series[-1]
    count = len(curve.thresholds)
    places = np.unique(np.linspace(0, max(0, count - 1), min(count, _MOST_THRESHOLDS)).round().astype(int))
    headers = ("threshold", "precision", "recall", "true +", "false +", "true -", "false -")
    columns = (
        curve.thresholds, curve.precision, curve.recall,
        curve.true_positives, curve.false_positives, curve.true_negatives, curve.false_negatives,
    )  # fmt: skip
    print_table(headers, [tuple(_number(column[place]) for column in columns) for place in places], numbers=headers)
    left = count - len(places)
    print_line(f"step {series.steps[-1]}" + (f"; {count_of(left, 'more threshold')} not shown" if left else ""))


def _text(element: Array) -> tuple[str, ...]:
    texts = [text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..." for text in element.ravel()[:4]]
    more = f" and {element.size - len(texts)} more" if element.size > len(texts) else ""
    return (" | ".join(map(escape_name, texts)) + more,)


def _histogram(element: Histogram) -> tuple[str, ...]:
    counts, edges = element.counts, element.edges
    total = float(counts.sum()) if element.num is None else element.num
    if not len(counts):
        return (_number(total), "-", "-", "-", "")
    return (_number(total), _number(edges[0]), _number(edges[-1]), _number(_mean(element)), draw_bars(edges, counts))


def _mean(element: Histogram) -> float:
    """Return the mean: exactly where the histogram has the sum, else of the middles of the buckets."""
    if element.sum is not None and element.num:
        return element.sum / element.num
    middles = (element.edges[:-1] / 2) + (element.edges[1:] / 2)
    total = float(element.counts.sum())
    return float((middles * element.counts).sum() / total) if total else float("nan")


def _images(element: Images) -> tuple[str, ...]:
    size = sum(map(len, element.encoded))
    return (f"{element.width}x{element.height}", f"{len(element.encoded)}", format_size(size))


def _audio(element: Audio) -> tuple[str, ...]:
    rate = "-" if element.sample_rate is None else f"{element.sample_rate:g} Hz"
    return (f"{len(element.encoded)}", rate, format_size(sum(map(len, element.encoded))))


def _tensor(element: Array) -> tuple[str, ...]:
    shown = "..."
    if element.size <= _FEW_ELEMENTS:
        parts = [value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value) for value in
                 element.ravel()]  # fmt: skip
        shown = " ".join(
            escape_name(part if len(part) <= _LONGEST_TEXT else f"{part[:_LONGEST_TEXT]}...") for part in parts
        )
    return ("string" if element.dtype.hasobject else element.dtype.name, format_shape(element.shape), shown)


def _number(value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _numbers(values: Array) -> Any:
    return cast(values, np.float64).tolist()


_NUMBERS = ("count", "min", "max", "mean", "images", "clips", "size")
_TABLES: dict[str, tuple[tuple[str, ...], Callable[[Any], tuple[str, ...]]]] = {
    "text": (("text",), _text),
    "histograms": (("count", "min", "max", "mean", "histogram"), _histogram),
    "images": (("pixels", "images", "size"), _images),
    "audio": (("clips", "rate", "size"), _audio),
    "tensors": (("dtype", "shape", "values"), _tensor),
}
_JSON: dict[str, Callable[[Any], Any]] = {
    "text": lambda element: element.tolist(),
    "histograms": lambda element: {"edges": element.edges.tolist(), "counts": element.counts.tolist()},
    "pr_curves": lambda element: {name: _numbers(values) for name, values in element._asdict().items()},
    "images": lambda element: {
        "width": element.width,
        "height": element.height,
        "sizes": [len(data) for data in element.encoded],
    },
    "audio": lambda element: {
        "labels": list(element.labels),
        "sample_rate": element.sample_rate,
        "sizes": [len(data) for data in element.encoded],
    },
    "tensors": json_values,
    HPARAMS: lambda element: None,
}
