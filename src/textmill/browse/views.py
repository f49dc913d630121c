"""The tables of pages, on a terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from textmill.report.page import number
from textmill.report.tables import Estimate, Shortened, TableView
from textmill.terminal import Align, table_of

_NUMBERS = ("number", "estimate")


def view_table(view: TableView) -> Table:
    """A table of a page: the best of a row bold, intervals in brackets."""
    columns: dict[str, Align] = {
        column.heading: "right" if column.kind in _NUMBERS else "left" for column in view.columns
    }
    return table_of(columns, [[_cell(value) for value in row] for row in view.rows])


def _cell(value: object) -> object:
    if isinstance(value, Estimate):
        return _estimate(value)
    if isinstance(value, Shortened):
        return value.shown if isinstance(value.shown, str) else " ".join(value.shown)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value)
    return number(value) if isinstance(value, int | float) else value


def _estimate(estimate: Estimate) -> Text:
    shown = Text(number(estimate.value), style="bold" if estimate.best else "")
    if estimate.interval is not None:
        low, high = map(number, estimate.interval)
        shown.append(f" ({low} to {high})", style="dim")
    return shown
