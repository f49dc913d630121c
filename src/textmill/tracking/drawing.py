"""Draws charts: as SVG for pages, in the page's own colours, and as PNG for trackers."""

from __future__ import annotations

import hashlib
import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from textmill.legible import one_line, shorten
from textmill.tracking.layers import SMALL_ROOM, axes_named, draw_layers, draw_strands, places_named
from textmill.tracking.margins import set_margins
from textmill.tracking.palette import FAINT, PALETTE
from textmill.tracking.shapes import (
    BarChart,
    Chart,
    Drawable,
    Heatmap,
    LayeredChart,
    LineChart,
    Numbers,
    ParallelChart,
)
from textmill.tracking.ticks import crowded, name_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("solid", (0, (4, 1.5)), (0, (1, 1)))
# Stand for the colours of text and axes, and of what is behind them, until they are replaced.
_INK, _GROUND = "#010203", "#fdfefc"
_MOST_SIGNS = 28
_MARKED_POINTS = 25
_MOST_NUMBERS = 14
_MOST_CELLS = 1_500
_MOST_TICKS = 16
_MOST_NAMES = 80
_NAME_SIGNS = 48
_TITLE_SIGNS = 60
_LEGEND_SIGNS = 74
_HANDLE_SIGNS = 8
_WIDTH, _HEIGHT, _MOST_INCHES = 5.2, 3.3, 12.0
_SMALL_INCHES = 3.5, 2.4
_AXIS_INCHES, _AXIS_HEIGHT = 0.95, 3.8
_LINE_INCHES = 12 / 72
_PIXELS_PER_POINT = 4 / 3
_DOTS_PER_INCH = 144
_STROKES = "stroke-linejoin: round; stroke-linecap: butt"


def svg(chart: Drawable) -> str:
    """A chart as an ``<svg>`` element to stand in a page.

    Text and axes have the colour of the text around them, and its font. The chart's title is the
    accessible name, not drawn.
    """
    import matplotlib

    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with _tolerant(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": ""}):
        figure = _draw(chart, _INK, _GROUND)
        figure.patch.set_visible(False)
        figure.savefig(buffer, format="svg", metadata=no_metadata)
    return _inlined(buffer.getvalue(), chart.title)


def png(chart: Chart) -> bytes:
    """A chart as a picture, black on white, with its title."""
    buffer = io.BytesIO()
    with _tolerant():
        figure = _draw(chart, "black", "white", title=textwrap.fill(chart.title, _TITLE_SIGNS))
        figure.savefig(
            buffer, format="png", dpi=_DOTS_PER_INCH, facecolor="white", metadata={"Software": None}
        )
    return buffer.getvalue()


@contextmanager
def _tolerant() -> Iterator[None]:
    """Draws names in scripts that the measuring font lacks without a word."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def _draw(chart: Drawable, ink: str, ground: str, title: str = "") -> Figure:
    from matplotlib.figure import Figure

    legend, columns = _legend(chart), _legend_columns(chart)
    legend_rows = -(-len(legend) // columns)
    lines = title.count("\n") + bool(title)
    width, height = _size(chart)
    figure = Figure(figsize=(width, height + (legend_rows + lines) * _LINE_INCHES))
    axes = figure.add_subplot()
    handles = _draw_marks(axes, chart, ink, ground)
    _dress(axes, chart, ink)
    _add_legend(figure, handles, legend, columns, ink)
    if title:
        figure.suptitle(title, fontsize=9, parse_math=False)
    counted = isinstance(chart, BarChart) and chart.counts is not None
    set_margins(
        figure,
        axes,
        tick_size=_tick_size(chart),
        aslant=crowded(_across(chart), SMALL_ROOM if _is_small(chart) else 1.0),
        above=lines + 2 * counted,
        below=legend_rows,
    )
    return figure


def _draw_marks(axes: Axes, chart: Drawable, ink: str, ground: str) -> list[Any]:
    """Draws what a chart shows, and returns a handle for each name in its legend."""
    if isinstance(chart, LineChart):
        return _draw_lines(axes, chart, ink)
    if isinstance(chart, BarChart):
        return _draw_bars(axes, chart, ink)
    if isinstance(chart, LayeredChart):
        return draw_layers(axes, chart, ink)
    if isinstance(chart, ParallelChart):
        return draw_strands(axes, chart, ink, ground)
    return _draw_cells(axes, chart, ink)


def _dress(axes: Axes, chart: Drawable, ink: str) -> None:
    """Names the axes, and draws no more of them than is needed."""
    x_label, y_label = _axis_labels(chart)
    axes.set_xlabel(x_label, color=ink, fontsize=9, parse_math=False)
    axes.set_ylabel(y_label, color=ink, fontsize=9, parse_math=False)
    axes.tick_params(colors=ink, labelsize=_tick_size(chart), length=0)
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom") and not isinstance(chart, ParallelChart))
        spine.set_color(ink)
        spine.set_linewidth(0.8)


def _axis_labels(chart: Drawable) -> tuple[str, str]:
    if isinstance(chart, ParallelChart):
        return "", ""
    if isinstance(chart, LayeredChart):
        most = _MOST_SIGNS if chart.small else _NAME_SIGNS
        return shorten(chart.x.name, most), shorten(chart.y.name, most)
    return chart.x_label, chart.y_label


def _size(chart: Drawable) -> tuple[float, float]:
    """Width and height in inches, without the legend and the title."""
    if _is_small(chart):
        return _SMALL_INCHES
    if isinstance(chart, ParallelChart):
        return max(_WIDTH, min(_MOST_INCHES, _AXIS_INCHES * len(chart.scales))), _AXIS_HEIGHT
    if not isinstance(chart, Heatmap):
        return _WIDTH, _HEIGHT
    columns, rows = len(chart.columns), len(chart.rows)
    names = 0.075 * max(len(shorten(name, _MOST_SIGNS)) for name in (*chart.columns, *chart.rows))
    width = names + 1 + (0.45 if columns <= _MOST_NUMBERS else 0.2) * columns
    height = names + 0.8 + (0.3 if rows <= _MOST_NUMBERS else 0.18) * rows
    return max(_WIDTH, min(_MOST_INCHES, width)), max(_HEIGHT, min(_MOST_INCHES, height))


def _is_small(chart: Drawable) -> bool:
    return isinstance(chart, LayeredChart) and chart.small


def _across(chart: Drawable) -> list[str]:
    """The names along the horizontal axis that are shown; none where it has numbers."""
    if isinstance(chart, LineChart):
        return []
    if isinstance(chart, LayeredChart):
        return places_named(chart)
    if isinstance(chart, ParallelChart):
        return axes_named(chart)
    names = chart.columns if isinstance(chart, Heatmap) else chart.categories
    return [shorten(name, _MOST_SIGNS) for name in names[:: _step(chart)]]


def _step(chart: BarChart | Heatmap) -> int:
    """Every which place along an axis is named."""
    if isinstance(chart, BarChart):
        return -(-len(chart.categories) // _MOST_TICKS)
    return -(-max(len(chart.rows), len(chart.columns)) // _MOST_NAMES)


def _tick_size(chart: Drawable) -> float:
    crowded = isinstance(chart, Heatmap) and max(len(chart.rows), len(chart.columns)) > 60
    return 4.5 if crowded else 8


def _draw_lines(axes: Axes, chart: LineChart, ink: str) -> list[Any]:
    if chart.diagonal:
        axes.plot([0, 1], [0, 1], color=ink, alpha=0.5, linewidth=0.8, linestyle=(0, (2, 2)))
    styles = ((color, dashes) for dashes in cycle(_DASHES) for color in PALETTE)
    lines = [
        axes.plot(
            series.x,
            series.y,
            color=color,
            linestyle=dashes,
            linewidth=1.6,
            marker="o" if len(series.x) <= _MARKED_POINTS else None,
            markersize=3.5,
        )[0]
        for series, (color, dashes) in zip(chart.series, styles, strict=False)
    ]
    if chart.unit_square:
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.02)
    axes.grid(color=ink, alpha=FAINT, linewidth=0.6)
    return lines


def _draw_bars(axes: Axes, chart: BarChart, ink: str) -> list[Any]:
    places = np.arange(len(chart.categories))
    width = 0.8 / len(chart.heights)
    bars = [
        axes.bar(
            places + (index - (len(chart.heights) - 1) / 2) * width,
            np.nan_to_num(heights),
            width=0.92 * width,
            color=color,
        )
        for index, (heights, color) in enumerate(
            zip(chart.heights.values(), cycle(PALETTE), strict=False)
        )
    ]
    name_columns(axes, places[:: _step(chart)], _across(chart))
    axes.set_xmargin(0.01)
    if chart.counts is not None:
        axes.set_ylim(0, 1.02)
        _write_counts(axes, chart.counts, ink)
    axes.grid(axis="y", color=ink, alpha=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return list(bars)


def _write_counts(axes: Axes, counts: Numbers, ink: str) -> None:
    """Writes above the bars how many examples are behind each."""
    above = axes.get_xaxis_transform()
    for place, count in enumerate(counts):
        axes.text(place, 1.02, f"{count:,.0f}", transform=above, ha="center", color=ink, fontsize=7)
    axes.text(0, 1.09, "examples", transform=axes.transAxes, color=ink, fontsize=8)


def _draw_cells(axes: Axes, chart: Heatmap, ink: str) -> list[Any]:
    rows, columns = chart.values.shape
    shades = _shades(chart)
    _fill(axes, shades)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    name_columns(axes, np.arange(columns)[:: _step(chart)], _across(chart))
    names = [shorten(name, _MOST_SIGNS) for name in chart.rows[:: _step(chart)]]
    axes.set_yticks(range(0, rows, _step(chart)), names, parse_math=False)
    if max(rows, columns) <= _MOST_NUMBERS:
        for row, column in np.argwhere(np.isfinite(chart.values)):
            value = chart.values[row, column]
            text = f"{value:.2f}" if chart.shares else f"{value:,.0f}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
    return []


def _shades(chart: Heatmap) -> Numbers:
    """How dark each cell is, between 0 and 1; counts by their square root, lest few vanish."""
    values: Numbers = np.nan_to_num(chart.values)
    return values if chart.shares else np.sqrt(values / max(values.max(), 1))


def _fill(axes: Axes, shades: Numbers) -> None:
    """Shades cells by more or less of one colour over the ground, whatever that is."""
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba_array
    from matplotlib.patches import Rectangle

    colors = np.repeat(to_rgba_array(PALETTE[0]), shades.size, axis=0)
    colors[:, 3] = 0.75 * shades.ravel()
    if shades.size > _MOST_CELLS:
        axes.imshow(colors.reshape(*shades.shape, 4), interpolation="none", aspect="auto")
        return
    filled = np.argwhere(shades > 0)
    cells = [Rectangle((column - 0.48, row - 0.48), 0.96, 0.96) for row, column in filled]
    axes.add_collection(PatchCollection(cells, facecolors=colors[shades.ravel() > 0], linewidths=0))


def _legend(chart: Drawable) -> list[str]:
    """The names in the legend; none where there is but one thing without a name."""
    return [shorten(name, _NAME_SIGNS) for name in _names(chart)]


def _names(chart: Drawable) -> list[str]:
    if isinstance(chart, Heatmap):
        return []
    if isinstance(chart, LayeredChart):
        return [layer.name for layer in chart.layers if layer.name]
    if isinstance(chart, ParallelChart):
        return [strands.name for strands in chart.strands if strands.name]
    names = chart.heights if isinstance(chart, BarChart) else [one.name for one in chart.series]
    return list(names) if any(names) else []


def _legend_columns(chart: Drawable) -> int:
    names = _legend(chart)
    room = _LEGEND_SIGNS * _size(chart)[0] / _WIDTH
    longest = max(map(len, names), default=0)
    return max(1, min(len(names), int(room // (longest + _HANDLE_SIGNS))))


def _add_legend(
    figure: Figure, handles: list[Any], names: Sequence[str], columns: int, ink: str
) -> None:
    if not names:
        return
    legend = figure.legend(
        handles,
        [str(place) for place in range(len(names))],
        loc="lower left",
        ncols=columns,
        borderaxespad=0,
        frameon=False,
        fontsize=8,
        labelcolor=ink,
        handlelength=2.4,
    )
    # Given as labels, names that begin with an underscore would be left out.
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def _inlined(drawn: str, title: str) -> str:
    """A file's ``<svg>`` element, made fit to stand in a page among others."""
    root = ElementTree.fromstring(drawn)  # noqa: S314 - drawn just now
    _, _, width, height = root.attrib["viewBox"].split()
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            name.rpartition("}")[2]: _cleaned(value) for name, value in element.attrib.items()
        }
    root.remove(root[0])  # a style sheet, which would hold for the whole page
    _rename_ids(root, hashlib.sha256(f"{title}{drawn}".encode()).hexdigest()[:10])
    root.attrib = {
        "role": "img",
        "viewBox": f"0 0 {width} {height}",
        "style": f"width: {float(width) * _PIXELS_PER_POINT:.0f}px; {_STROKES}",
    }
    name = ElementTree.Element("title")
    name.text = one_line(title)
    root.insert(0, name)
    return ElementTree.tostring(root, encoding="unicode")


def _cleaned(value: str) -> str:
    """An attribute without a font of its own, in the page's colour, and with fewer digits."""
    value = re.sub(r"font-family: [^;]*; ?", "", value).replace(_INK, "currentColor")
    value = value.replace(_GROUND, "var(--ground, Canvas)")
    return re.sub(r"(\.\d\d)\d+", r"\1", " ".join(value.split()))


def _rename_ids(root: ElementTree.Element, prefix: str) -> None:
    """Keeps the ids that something refers to, under names that no other chart has."""
    values = [value for element in root.iter() for value in element.attrib.values()]
    used = {name for value in values for name in re.findall(r"^(?:url\()?#(\w+)", value)}
    for element in root.iter():
        identity = element.attrib.pop("id", None)
        if identity in used:
            element.attrib["id"] = f"{prefix}-{identity}"
        for name, value in element.attrib.items():
            element.attrib[name] = re.sub(r"^(url\()?#", rf"\g<1>#{prefix}-", value)
