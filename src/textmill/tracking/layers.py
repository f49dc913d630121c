"""Draws points and lines in layers, over two axes or across parallel ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from textmill.legible import shorten
from textmill.tracking.palette import FAINT, PALETTE
from textmill.tracking.shapes import (
    Layer,
    LayeredChart,
    Look,
    Numbers,
    ParallelChart,
    Scale,
    Strands,
)
from textmill.tracking.ticks import marked_numbers, name_columns, round_numbers, tick_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.lines import Line2D

# How long a small chart's axis is, as a share of that in most charts.
SMALL_ROOM = 0.6
_MOST_SIGNS, _FEWER_SIGNS = 24, 14
_MOST_NAMED = {False: 16, True: 10}
_MARKERS = {"dots": "o", "rings": "o", "crosses": "x"}
_NAMED_ALONG = 12
# Parts of a parallel axis' length.
_BELOW, _LEAST_APART = -0.14, 0.06


def draw_layers(axes: Axes, chart: LayeredChart, ink: str) -> list[Any]:
    """Draws a chart's layers, and returns a handle for each that has a name."""
    if chart.x.logarithmic:
        axes.set_xscale("log")
    if chart.y.logarithmic:
        axes.set_yscale("log")
    for layer in chart.layers:
        _draw_layer(axes, layer)
    axes.autoscale_view()
    for layer in chart.layers:
        _write_notes(axes, layer, ink)
    if chart.x.categories:
        _name_places(axes, chart)
    else:
        _number(axes.xaxis, chart.x, np.concatenate([layer.x for layer in chart.layers]))
    _number(axes.yaxis, chart.y, np.concatenate([layer.y for layer in chart.layers]))
    axes.grid(color=ink, alpha=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return [_handle(layer.look) for layer in chart.layers if layer.name]


def draw_strands(axes: Axes, chart: ParallelChart, ink: str, ground: str) -> list[Any]:
    """Draws lines across parallel axes, and returns a handle for each that has a name."""
    together = np.concatenate([strands.values for strands in chart.strands])
    for place, scale in enumerate(chart.scales):
        axes.plot([place, place], [0, 1], color=ink, alpha=0.5, linewidth=0.8)
        _write_beside(axes, place, scale, together[:, place], ink, ground)
    lines = _on_axes(chart.scales, together)
    ends = np.cumsum([len(strands.values) for strands in chart.strands])
    for strands, heights in zip(chart.strands, np.split(lines, ends[:-1]), strict=True):
        _draw_strands(axes, strands, heights)
    name_columns(axes, np.arange(len(chart.scales)), axes_named(chart))
    absent = bool(np.isnan(lines).any())
    axes.set_yticks([_BELOW] if absent else [], [chart.absent] if absent else [])
    axes.set_xlim(-0.08, len(chart.scales) - 0.4)
    axes.set_ylim(_BELOW - 0.05 if absent else -0.05, 1.05)
    return [_handle(strands.look) for strands in chart.strands if strands.name]


def places_named(chart: LayeredChart) -> list[str]:
    """The names along the horizontal axis that are shown; none where it has numbers."""
    most = _FEWER_SIGNS if chart.small else _MOST_SIGNS
    return [shorten(name, most) for name in chart.x.categories[:: _step(chart)]]


def axes_named(chart: ParallelChart) -> list[str]:
    """The names of parallel axes, as they are shown."""
    return [shorten(scale.name, _MOST_SIGNS) for scale in chart.scales]


def _step(chart: LayeredChart) -> int:
    return max(1, -(-len(chart.x.categories) // _MOST_NAMED[chart.small]))


def _draw_layer(axes: Axes, layer: Layer) -> None:
    if layer.look.mark == "dots":
        _draw_dots(axes, layer)
    else:
        axes.add_line(_line(layer.look, layer.x, layer.y))


def _draw_dots(axes: Axes, layer: Layer) -> None:
    """Draws points as lines without a length, all in one path, which keeps pages small."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    points = np.column_stack([layer.x, layer.y])
    points = points[np.isfinite(points).all(axis=1)]
    codes = np.tile([Path.MOVETO, Path.LINETO], len(points))
    path = Path(np.repeat(points, 2, axis=0), codes)
    path.should_simplify = False
    look = layer.look
    axes.add_patch(
        PathPatch(
            path,
            fill=False,
            edgecolor=PALETTE[look.color],
            linewidth=look.size,
            alpha=look.opacity,
            capstyle="round",
        )
    )


def _handle(look: Look) -> Line2D:
    return _line(look, np.empty(0), np.empty(0))


def _line(look: Look, x: Numbers, y: Numbers) -> Line2D:
    from matplotlib.lines import Line2D

    color = PALETTE[look.color]
    if look.mark == "lines":
        return Line2D(x, y, color=color, linewidth=look.size, alpha=look.opacity)
    return Line2D(
        x,
        y,
        color=color,
        alpha=look.opacity,
        linestyle="none",
        marker=_MARKERS[look.mark],
        markersize=look.size,
        markeredgewidth=0 if look.mark == "dots" else 1.5,
        markerfacecolor=color if look.mark == "dots" else "none",
    )


def _write_notes(axes: Axes, layer: Layer, ink: str) -> None:
    """Writes beside points, on the side where there is more room."""
    for x, y, note in zip(layer.x, layer.y, layer.notes, strict=False):
        share, _ = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))
        axes.annotate(
            note,
            (x, y),
            xytext=(6 if share < 0.5 else -6, 5),
            textcoords="offset points",
            ha="left" if share < 0.5 else "right",
            color=ink,
            fontsize=8,
            parse_math=False,
        )


def _name_places(axes: Axes, chart: LayeredChart) -> None:
    places = np.arange(len(chart.x.categories))
    room = SMALL_ROOM if chart.small else 1.0
    name_columns(axes, places[:: _step(chart)], places_named(chart), room)
    axes.set_xlim(-0.5, len(places) - 0.5)


def _number(axis: Axis, scale: Scale, values: Numbers) -> None:
    """Writes numbers along an axis, whole ones where all that lies there is whole."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    if scale.logarithmic:
        low, high = sorted(axis.get_view_interval())
        axis.set_major_locator(FixedLocator(round_numbers(low, high, logarithmic=True)))
        axis.set_minor_locator(NullLocator())
    else:
        whole = bool((values[np.isfinite(values)] % 1 == 0).all())
        axis.set_major_locator(MaxNLocator(5, integer=whole))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))


def _on_axes(scales: tuple[Scale, ...], values: Numbers) -> Numbers:
    """How high lines meet the axes, from 0 to 1; NaN where they don't."""
    columns = [_heights(scale, column) for scale, column in zip(scales, values.T, strict=True)]
    return np.column_stack(columns)


def _heights(scale: Scale, values: Numbers) -> Numbers:
    if scale.categories:
        return _between(values, 0, len(scale.categories) - 1)
    if not np.isfinite(values).any():
        return np.full_like(values, np.nan)
    laid = np.log10(values) if scale.logarithmic else values
    return _between(laid, np.nanmin(laid), np.nanmax(laid))


def _between(values: Numbers, low: float, high: float) -> Numbers:
    return (values - low) / (high - low) if high > low else values - low + 0.5


def _draw_strands(axes: Axes, strands: Strands, heights: Numbers) -> None:
    """Draws lines as one, with gaps; through the place below the axes that have no value."""
    met = np.where(np.isnan(heights), _BELOW, heights)
    count, across = met.shape
    gap = np.full((count, 1), np.nan)
    x = np.tile(np.append(np.arange(across, dtype=np.float64), np.nan), count)
    axes.add_line(_line(strands.look, x, np.hstack([met, gap]).ravel()))


def _write_beside(
    axes: Axes, place: int, scale: Scale, values: Numbers, ink: str, ground: str
) -> None:
    """Writes what lies along a parallel axis, on the page's ground so that lines don't cross it."""
    box = {"facecolor": ground, "edgecolor": "none", "alpha": 0.9, "pad": 0.6}
    for height, text in _labels(scale, values):
        axes.annotate(
            text,
            (place, height),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color=ink,
            fontsize=7,
            bbox=box,
            zorder=5,
            parse_math=False,
        )


def _labels(scale: Scale, values: Numbers) -> list[tuple[float, str]]:
    """Texts along an axis with their heights, those left out that would be too near another."""
    if scale.categories:
        marks = np.arange(len(scale.categories), dtype=np.float64)
        marks = marks[:: -(-len(marks) // _NAMED_ALONG)]
        texts = [shorten(scale.categories[int(mark)], _FEWER_SIGNS) for mark in marks]
        return list(zip(_heights(scale, marks), texts, strict=True))
    finite = values[np.isfinite(values)]
    if not len(finite):
        return []
    numbers = marked_numbers(finite, logarithmic=scale.logarithmic)
    heights = _heights(scale, np.array(numbers))
    return [(heights[place], tick_text(numbers[place])) for place in _legible_together(heights)]


def _legible_together(heights: Numbers) -> list[int]:
    """Which texts are far enough from each other, the two at the ends before all others."""
    kept: list[int] = []
    for place in dict.fromkeys([0, len(heights) - 1, *range(len(heights))]):
        if all(abs(heights[place] - heights[other]) > _LEAST_APART for other in kept):
            kept.append(place)
    return kept
