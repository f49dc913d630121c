"""``textmill runs compare`` on a terminal."""

from __future__ import annotations

import numpy as np
from rich.console import Console

from textmill.browse.comparing import (
    Changes,
    RunComparison,
    changed_view,
    metrics_view,
    overlaid_curves,
)
from textmill.browse.views import view_table
from textmill.legible import shorten
from textmill.report.page import number
from textmill.report.tables import Shortened, TableView
from textmill.terminal import Align, table_of, text
from textmill.tracking.shapes import LineChart, Series

# Examples shown of each kind of change.
MOST_EXAMPLES = 5
_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 24


def show_comparison(comparison: RunComparison, console: Console) -> None:
    """Prints metrics, verdicts, learning curves, and the examples that changed."""
    count = comparison.predictions(0).num_rows
    console.print(text(f"On the same {count:,} examples of the {comparison.split} split:"))
    console.print(view_table(metrics_view(comparison)))
    for verdict in comparison.verdicts:
        console.print()
        console.print(text(verdict.sentence))
    for chart in overlaid_curves(comparison).values():
        console.print()
        _show_curves(chart, console)
    for changes in comparison.changes:
        _show_changes(comparison, changes, console)


def _show_curves(chart: LineChart, console: Console) -> None:
    """Prints a line for each curve, all on the same scale."""
    values = np.concatenate([series.y for series in chart.series])
    low, high = float(values.min()), float(values.max())
    columns: dict[str, Align] = {"Run": "left", "Curve": "left"}
    columns |= dict.fromkeys(("First", "Last", "Least", "Most"), "right")
    rows = [
        [series.name, sparkline(series, low, high), *map(number, _corners(series))]
        for series in chart.series
    ]
    console.print(f"{chart.title}, from {number(low)} to {number(high)}", style="bold")
    console.print(table_of(columns, rows))


def sparkline(series: Series, low: float, high: float) -> str:
    """A curve as a row of bars, evenly spaced along it.

    Args:
        series: The curve.
        low: What the lowest bar stands for.
        high: What the highest bar stands for.
    """
    places = np.linspace(0, len(series.y) - 1, min(len(series.y), _MOST_BARS)).round().astype(int)
    heights = (series.y[places] - low) / ((high - low) or 1)
    return "".join(_BARS[round(height * (len(_BARS) - 1))] for height in heights.tolist())


def _corners(series: Series) -> tuple[float, float, float, float]:
    y = series.y
    return float(y[0]), float(y[-1]), float(y.min()), float(y.max())


def _show_changes(comparison: RunComparison, changes: Changes, console: Console) -> None:
    console.print()
    console.print(text(change_sentence(changes)))
    for title, rows in (("Fixed", changes.fixed), ("Broken", changes.broken)):
        if len(rows):
            view = changed_view(comparison, changes, rows[:MOST_EXAMPLES])
            console.print()
            console.print(f"{title}, {len(view.rows)} of {len(rows)}", style="bold")
            console.print(view_table(_shortened(view)))


def change_sentence(changes: Changes) -> str:
    """How many examples changed, in words."""
    rest = ""
    if changes.otherwise_wrong:
        rest = f"; {changes.otherwise_wrong:,} more are wrong in another way"
    return (
        f"Run {changes.second} has {len(changes.fixed):,} right that run {changes.first} has "
        f"wrong, and {len(changes.broken):,} wrong that it has right{rest}."
    )


def _shortened(view: TableView) -> TableView:
    """With texts as long as a line has room for."""
    rows = [
        [shorten(str(cell.shown)) if isinstance(cell, Shortened) else cell for cell in row]
        for row in view.rows
    ]
    return TableView(view.caption, view.columns, rows, view.total)
