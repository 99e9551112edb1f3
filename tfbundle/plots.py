"""Axes of matplotlib for the methods that plot, which is imported when one is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfbundle.errors import UnsupportedError

if TYPE_CHECKING:
    import matplotlib.axes


def axes_or_new(axes: matplotlib.axes.Axes | None, method: str) -> matplotlib.axes.Axes:
    """Return the axes, or new ones of the current figure; raise ``UnsupportedError`` if matplotlib is not installed."""
    if axes is not None:
        return axes
    try:
        import matplotlib.pyplot
    except ImportError:
        raise UnsupportedError(f"{method}() needs matplotlib: pip install matplotlib") from None
    created: matplotlib.axes.Axes = matplotlib.pyplot.gca()
    return created
