"""Training curves as characters, drawn by plotext: one plot a tag, with a curve for each run.

Values are drawn between 0 and 1 and labelled by ourselves, so that no magnitude overflows and every step is a whole
number. Several curves are drawn with letters, which a legend explains; letters need no colours.
"""

from __future__ import annotations

import string
import sys
from collections import Counter
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfbundle.cli.output import print_coloured, print_line, print_lines, use_colour
from tfbundle.printable import count_of, escape_name
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import cast

if TYPE_CHECKING:
    from tfbundle.events.run import Run
    from tfbundle.events.series import ScalarSeries

# More curves in one plot, and more plots in a row, cannot be taken in.
_MOST_CURVES = 8
_MOST_PLOTS = 4
_WIDEST = 120
_HEIGHT = 20
_TICKS = 6
# plotext runs Python code for each point; a column shows only the lowest and the highest of its points.
_POINTS_A_COLUMN = 2


class _Curve(NamedTuple):
    """Points of one run: ``steps`` and ``values`` float64, all finite."""

    run: str
    steps: Array
    values: Array


def print_plots(found: Sequence[tuple[Run, ScalarSeries]]) -> None:
    """Print a plot for each tag, if plotext is installed."""
    try:
        import plotext  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        return
    if not hasattr(plotext, "clear_figure"):  # Since its version 6, it is another library.
        return
    tags = dict.fromkeys(series.tag for _, series in found)
    for tag in list(tags)[:_MOST_PLOTS]:
        _print_plot(plotext, tag, [(run.name, series) for run, series in found if series.tag == tag])
    if len(tags) > _MOST_PLOTS:
        print_line(f"{count_of(len(tags) - _MOST_PLOTS, 'more tag')} not drawn; pass a narrower TAG to draw others")


def _print_plot(plotext: ModuleType, tag: str, found: list[tuple[str, ScalarSeries]]) -> None:
    left_out: Counter[str] = Counter()
    curves = [curve for run, series in found if (curve := _curve(run, series, left_out)) is not None]
    drawn = curves[:_MOST_CURVES]
    width = min(plotext.terminal_width() or 80, _WIDEST)
    print_line(escape_name(tag))
    if drawn:
        drawing = _draw(plotext, drawn, width)
        if use_colour():
            print_coloured(drawing)
        else:
            print_lines("\n".join(line.rstrip() for line in plotext.uncolorize(drawing).split("\n")))
    if len(drawn) > 1:
        for letter, curve in zip(string.ascii_lowercase, drawn, strict=False):
            print_line(f"{letter}  {escape_name(curve.run)}")
    if len(curves) > len(drawn):
        print_line(f"{count_of(len(curves) - len(drawn), 'more run')} not drawn; --run chooses which runs are")
    if left_out:
        parts = ", ".join(f"{number:,} {what}" for what, number in left_out.items())
        print_line(f"{count_of(left_out.total(), 'value')} not drawn: {parts}")
    print_line()


def _curve(run: str, series: ScalarSeries, left_out: Counter[str]) -> _Curve | None:
    """Return the points that can be drawn, if there are any, and count the others by kind."""
    values = series.values
    if values.dtype.kind not in "fiub" and values.dtype.isbuiltin == 1:  # Of mixed dtypes, or complex.
        left_out["complex or of mixed types"] += len(values)
        return None
    values = cast(values, np.float64)
    finite = np.isfinite(values)
    not_numbers = int(np.count_nonzero(np.isnan(values)))
    infinite = len(values) - int(np.count_nonzero(finite)) - not_numbers
    left_out.update({what: number for what, number in (("NaN", not_numbers), ("infinite", infinite)) if number})
    return _Curve(run, series.steps[finite].astype(np.float64), values[finite]) if finite.any() else None


def _draw(plotext: ModuleType, curves: list[_Curve], width: int) -> str:
    lowest = min(float(curve.values.min()) for curve in curves)
    highest = max(float(curve.values.max()) for curve in curves)
    half = highest / 2 - lowest / 2  # The difference itself may be more than a float64 can be.
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.frame(False)
    plotext.plotsize(width, _HEIGHT)
    for number, curve in enumerate(curves):
        steps, values = _thinned(curve, width)
        heights = (values / 2 - lowest / 2) / half if half else np.full(len(values), 0.5)
        settings: dict[str, Any] = {"marker": string.ascii_lowercase[number] if len(curves) > 1 else _marker()}
        if use_colour():
            settings["color"] = 9 + number % 6  # The bright ones of a terminal's sixteen, which any background shows.
        plotext.plot(steps.tolist(), heights.tolist(), **settings)
    places = np.linspace(0, 1, 5) if half else np.array([0.5])
    plotext.ylim(0, 1)
    plotext.yticks(places.tolist(), [f"{lowest * (1 - place) + highest * place:.4g} " for place in places.tolist()])
    plotext.xticks(*_step_ticks(curves, width))
    drawing: str = plotext.build()
    return drawing.rstrip("\n")


def _marker() -> str:
    """Return how plotext calls what draws a single curve: quarters of a character, where stdout has them."""
    try:
        "\N{QUADRANT UPPER LEFT}".encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return "*"  # As where Windows writes to a pipe or a file.
    return "hd"


def _thinned(curve: _Curve, width: int) -> tuple[Array, Array]:
    """Return at most ``_POINTS_A_COLUMN`` extreme points for each column and dot of the drawing, in their order."""
    buckets = 2 * width
    size = -(-len(curve.values) // buckets)
    if size <= _POINTS_A_COLUMN:
        return curve.steps, curve.values
    whole = len(curve.values) // size * size
    table = curve.values[:whole].reshape(-1, size)
    firsts = np.arange(0, whole, size)
    tail = np.arange(whole, len(curve.values))
    kept = np.unique(np.concatenate([firsts + table.argmin(axis=1), firsts + table.argmax(axis=1), tail]))
    return curve.steps[kept], curve.values[kept]


def _step_ticks(curves: list[_Curve], width: int) -> tuple[list[float], list[str]]:
    """Return the places and labels of whole steps, as many as fit beside each other."""
    lowest = int(min(curve.steps.min() for curve in curves))
    highest = int(max(curve.steps.max() for curve in curves))
    widest = max(len(str(lowest)), len(str(highest))) + 2
    count = max(2, min(_TICKS, width // widest, highest - lowest + 1))
    steps = dict.fromkeys(lowest + (highest - lowest) * place // (count - 1) for place in range(count))
    return [float(step) for step in steps], [str(step) for step in steps]
