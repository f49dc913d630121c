"""Room for the names around a chart, in a tenth of the time of matplotlib's own layouts."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Points that a line of text takes in height, and room beside and between lines.
_LINE, _GAP = 12.0, 5.0
_LONGEST = 3


def set_margins(
    figure: Figure, axes: Axes, *, tick_size: float, aslant: bool, above: int, below: int
) -> None:
    """Places axes so that the names of their ticks and all lines of text have room.

    Args:
        figure: What the axes are alone in.
        axes: The axes, drawn, with both of their labels.
        tick_size: Of the ticks' names, in points.
        aslant: Whether the names along the horizontal axis lean to the right by 45 degrees.
        above: Lines of text above the axes.
        below: Lines of text below the horizontal axis and its label.
    """
    across, up = _tick_names(axes.xaxis), _tick_names(axes.yaxis)
    reach = _width(across, tick_size) / sqrt(2) if aslant else 0.0
    left = _LINE + _width(up, tick_size) + 3 * _GAP
    if aslant:
        left = max(left, _width(across[:_LONGEST], tick_size) / sqrt(2))
    bottom = max(reach + tick_size, _LINE) + _LINE * (1 + below) + 3 * _GAP
    width, height = 72 * figure.get_size_inches()
    axes.set_position(
        (
            left / width,
            bottom / height,
            (width - left - 2 * _GAP) / width,
            (height - bottom - 3 * _GAP - _LINE * above) / height,
        )
    )


def _tick_names(axis: Axis) -> list[str]:
    return axis.get_major_formatter().format_ticks(list(axis.get_majorticklocs()))


def _width(names: Sequence[str], size: float) -> float:
    """The width of the widest of the names, in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size)
    longest = sorted(names, key=len)[-_LONGEST:]
    return max(
        (
            text_to_path.get_text_width_height_descent(name, font, ismath=False)[0]
            for name in longest
        ),
        default=0.0,
    )
