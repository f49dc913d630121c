"""The shapes that charts have: plain values, drawn by the report and by each tracker in its way."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """How many numbers lie in each of some intervals.

    Args:
        counts: ``[bins]``.
        edges: The bins' ends, ``[bins + 1]``.
    """

    counts: Numbers
    edges: Numbers
