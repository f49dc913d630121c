"""Shows a run as CSV files, for spreadsheets and notebooks."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from textmill.data.corrections import no_formula
from textmill.runs import State
from textmill.safe_write import machine_faults, write_text
from textmill.tracking.shapes import BarChart, Chart, Histogram, LineChart
from textmill.tracking.tracker import RunArtifact, RunFacts

Row = Sequence[object]


class CsvTracker:
    """Writes ``csv/`` in the run's folder, anew each time that the run is started.

    - ``metrics.csv``: a row for each moment at which something was measured, and a column for each
      metric, empty where it was not;
    - ``summary.csv``: the final numbers, as ``name,value``;
    - ``charts/NAME.csv``: the numbers of a chart, one each row, with the step at which it was made;
    - ``tables/NAME.csv``: a table; the elements of its lists are separated by bars;
    - ``histograms.csv``: for each bin its ends and how many numbers are in it.

    Args:
        facts: What is told of the run.
    """

    def __init__(self, facts: RunFacts) -> None:
        self._folder = facts.folder / "csv"
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._columns: dict[str, None] = {"step": None}
        self._moments: dict[int, dict[str, float]] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Adds to the moment's row in ``metrics.csv``."""
        moment = {"step": step, **metrics}
        fits = step not in self._moments and moment.keys() <= self._columns.keys()
        self._columns |= dict.fromkeys(moment)
        self._moments.setdefault(step, {}).update(moment)
        path = self._folder / "metrics.csv"
        if fits:
            _append(path, [self._row(moment)])
        else:
            rows = [self._row(one) for one in self._moments.values()]
            write_text(path, csv_text([tuple(self._columns), *rows]))

    def log_summary(self, metrics: Mapping[str, float]) -> None:
        """Writes ``summary.csv``."""
        write_text(self._folder / "summary.csv", csv_text([("name", "value"), *metrics.items()]))

    def log_charts(self, charts: Mapping[str, Chart], step: int) -> None:
        """Adds the numbers of charts to the files of their names."""
        for name, chart in charts.items():
            header, rows = chart_rows(chart)
            _append_under(
                self._folder / "charts" / f"{name}.csv",
                ("step", *header),
                ((step, *row) for row in rows),
            )

    def log_table(self, name: str, table: pa.Table, step: int) -> None:  # noqa: ARG002
        """Writes the table's file."""
        path = self._folder / "tables" / f"{name.removeprefix('tables/')}.csv"
        write_text(path, table_csv(table))

    def log_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Adds bins to ``histograms.csv``."""
        _append_under(
            self._folder / "histograms.csv",
            ("step", "name", "low", "high", "count"),
            (
                (step, name, low, high, count)
                for name, one in histograms.items()
                for low, high, count in zip(one.edges[:-1], one.edges[1:], one.counts, strict=True)
            ),
        )

    def log_artifact(self, artifact: RunArtifact) -> None:
        """Nothing: the run's folder and its manifest have what is known of it."""

    def finish(self, state: State) -> None:
        """Nothing: all is written."""

    def _row(self, moment: Mapping[str, float]) -> Row:
        return [moment.get(column) for column in self._columns]


def chart_rows(chart: Chart) -> tuple[tuple[str, ...], Iterator[Row]]:
    """A chart's numbers as a table: the header, and the rows."""
    if isinstance(chart, LineChart):
        points = (
            (series.name, x, y)
            for series in chart.series
            for x, y in zip(series.x, series.y, strict=True)
        )
        return ("series", "x", "y"), points
    if isinstance(chart, BarChart):
        return ("series", "category", "value", "examples"), _bars(chart)
    cells = (
        (chart.rows[row], chart.columns[column], chart.values[row, column])
        for row, column in np.ndindex(*chart.values.shape)
    )
    return ("row", "column", "value"), cells


def table_csv(table: pa.Table) -> str:
    """A table as CSV, with its header; the elements of lists are separated by bars."""
    columns = [
        [_listed(value) for value in column.to_pylist()]
        if pt.is_list(column.type)
        else column.to_pylist()
        for column in table.columns
    ]
    return csv_text([table.column_names, *zip(*columns, strict=True)])


def csv_text(rows: Iterable[Row]) -> str:
    """Rows as the text of a CSV file; None and NaN are empty cells.

    Text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _bars(chart: BarChart) -> Iterator[Row]:
    counts = [None] * len(chart.categories) if chart.counts is None else chart.counts
    for name, heights in chart.heights.items():
        for category, height, count in zip(chart.categories, heights, counts, strict=True):
            yield name, category, height, count


def _listed(elements: list[object] | None) -> str | None:
    return None if elements is None else " | ".join(map(str, elements))


def _cell(value: object) -> object:
    if isinstance(value, str):
        return no_formula(value)
    return None if isinstance(value, float) and np.isnan(value) else value


def _append_under(path: Path, header: Row, rows: Iterable[Row]) -> None:
    """Adds rows to a file that begins with the header."""
    _append(path, rows if path.exists() else [header, *rows])


def _append(path: Path, rows: Iterable[Row]) -> None:
    with machine_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(csv_text(rows))
