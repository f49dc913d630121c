"""The shapes that charts have: plain values, drawn by the report and by each tracker in its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Points with a name.

    Args:
        name: What the legend calls them; empty if there is but one series.
        x: Where the points are, ``[points]``.
        y: Of the same length.
    """

    name: str
    x: Numbers
    y: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class LineChart:
    """Lines over a number.

    Args:
        title: What is shown.
        x_label: What lies along the horizontal axis, with its unit.
        y_label: What lies along the vertical axis, with its unit.
        series: The lines.
        diagonal: Whether the line from (0, 0) to (1, 1) is drawn to compare with.
        unit_square: Whether both axes go from 0 to 1.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    diagonal: bool = False
    unit_square: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class BarChart:
    """Bars over intervals or names.

    Args:
        title: What is shown.
        x_label: What lies along the horizontal axis, with its unit.
        y_label: What the bars' height says, with its unit.
        categories: What each place along the axis is called.
        heights: From the name of a series to its bars, each ``[categories]``; NaN is no bar.
        counts: Examples behind each place, ``[categories]``; None where the heights are counts.
    """

    title: str
    x_label: str
    y_label: str
    categories: tuple[str, ...]
    heights: dict[str, Numbers]
    counts: Numbers | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Heatmap:
    """Numbers in rows and columns, shaded.

    Args:
        title: What is shown.
        x_label: What the columns are.
        y_label: What the rows are.
        columns: The columns' names.
        rows: The rows' names.
        values: ``[rows, columns]``.
        shares: Whether the values are shares between 0 and 1; otherwise they are counts.
    """

    title: str
    x_label: str
    y_label: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    values: Numbers
    shares: bool = False


Chart = LineChart | BarChart | Heatmap


@dataclass(frozen=True, slots=True)
class Look:
    """What marks look like.

    Args:
        mark: Points as dots, rings or crosses, or lines through them.
        color: Which of the palette's colours, from 0.
        size: How wide a point or a line is, in points (1/72 inch).
        opacity: From 0, not seen, to 1.
    """

    mark: Literal["dots", "rings", "crosses", "lines"]
    color: int
    size: float
    opacity: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Points, or lines through them, that look alike.

    Args:
        name: What the legend calls them; empty to leave them out of it.
        x: Where the points are, ``[points]``; NaN ends a line.
        y: Of the same length.
        look: What they look like.
        notes: What is written beside each point; empty for nothing.
    """

    name: str
    x: Numbers
    y: Numbers
    look: Look
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """What lies along an axis.

    Args:
        name: What it is called, with its unit.
        categories: What the places 0, 1, ... are called; empty where there are numbers.
        logarithmic: Whether the same ratio has the same length everywhere; for positive numbers.
    """

    name: str
    categories: tuple[str, ...] = ()
    logarithmic: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class LayeredChart:
    """Points and lines over numbers or names, layer upon layer.

    Args:
        title: What is shown.
        x: The horizontal axis.
        y: The vertical axis.
        layers: From the lowest to the topmost.
        small: Whether it is one of many to be seen side by side.
    """

    title: str
    x: Scale
    y: Scale
    layers: tuple[Layer, ...]
    small: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Strands:
    """Lines across the axes of a `ParallelChart` that look alike.

    Args:
        name: What the legend calls them.
        values: Where each line meets each axis, ``[lines, axes]``; NaN where it has no value.
        look: What the lines look like.
    """

    name: str
    values: Numbers
    look: Look


@dataclass(frozen=True, slots=True, eq=False)
class ParallelChart:
    """Parallel coordinates (Inselberg 1985): an axis for each quantity, a line for each thing.

    Args:
        title: What is shown.
        scales: The axes, from left to right.
        strands: The lines, from the lowest layer to the topmost.
        absent: What the place below the axes is called, of lines without a value there.
    """

    title: str
    scales: tuple[Scale, ...]
    strands: tuple[Strands, ...]
    absent: str


Drawable = Chart | LayeredChart | ParallelChart


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """How many numbers lie in each of some intervals.

    Args:
        counts: ``[bins]``.
        edges: The bins' ends, ``[bins + 1]``.
    """

    counts: Numbers
    edges: Numbers
