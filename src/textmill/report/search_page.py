"""Writes the report of a search: what was tried, what it brought, and what made the difference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from markupsafe import Markup

from textmill.report.figures import Figure
from textmill.report.page import render
from textmill.report.search_charts import (
    MOST_AXES,
    front_charts,
    history_chart,
    importance_chart,
    learning_chart,
    parallel_chart,
    slice_charts,
)
from textmill.report.search_record import SearchRecord, TrialRecord
from textmill.report.search_values import best_trials, parameter_names, value_text
from textmill.report.search_words import (
    front_note,
    history_note,
    importance_note,
    learning_note,
    parallel_note,
    slice_note,
    verdict,
)
from textmill.safe_write import write_text
from textmill.tracking.drawing import svg
from textmill.tracking.shapes import Drawable, ParallelChart
from textmill.version import __version__


class TrialRow(NamedTuple):
    """A trial in the page's table.

    Attributes:
        trial: The trial.
        is_best: Whether it is the best, or on the Pareto front.
        parameters: Its values as text, one for each parameter; None where it has none.
        report: The address of its run's report; None where there is none.
        folder: The name of its run's folder; None where it has none.
    """

    trial: TrialRecord
    is_best: bool
    parameters: list[str | None]
    report: str | None
    folder: str | None


def write_search_report(path: Path, search: SearchRecord) -> None:
    """Writes a search's report, one page that needs nothing else.

    Args:
        path: The file to write; links to the trials' runs are relative to its folder.
        search: What was found, at least one objective, with any number of trials.

    Raises:
        MachineError: The disk is full, or the folder can't be written.
    """
    write_text(path, search_page(path.parent, search))


def search_page(folder: Path, search: SearchRecord) -> str:
    """The report, as HTML.

    Args:
        folder: Where the page will lie.
        search: What was found.
    """
    names = parameter_names(search)
    best = {trial.number for trial in best_trials(search)}
    return render(
        "search.html.j2",
        name=search.name,
        sentences=verdict(search),
        course=list(_course(search)),
        fronts=[_figure(search, chart, front_note(search)) for chart in front_charts(search)],
        importance=[
            _figure(search, chart, importance_note(search))
            for chart in [importance_chart(search)]
            if chart is not None
        ],
        parallel=[
            _figure(search, chart, parallel_note(search, MOST_AXES))
            for chart in [parallel_chart(search)]
            if chart is not None
        ],
        slices={
            objective.name: [
                _figure(search, chart, slice_note(search, index, name))
                for name, chart in slice_charts(search, index).items()
            ]
            for index, objective in enumerate(search.objectives)
        },
        parameters=names,
        objectives=[objective.name for objective in search.objectives],
        rows=[_row(folder, trial, names, trial.number in best) for trial in search.trials],
        version=__version__,
    )


def _course(search: SearchRecord) -> Iterable[Figure]:
    """How the search went, trial by trial, and validation by validation."""
    for index in range(len(search.objectives)):
        chart = history_chart(search, index)
        if chart is not None:
            yield _figure(search, chart, history_note(search, index))
    learned = learning_chart(search)
    if learned is not None:
        yield _figure(search, learned, learning_note(search))


def _figure(search: SearchRecord, chart: Drawable, note: str) -> Figure:
    drawn = Markup(svg(replace(chart, title=f"{chart.title} ({search.name})")))  # noqa: S704 - escaped
    return Figure(chart.title, note, drawn, wide=isinstance(chart, ParallelChart))


def _row(folder: Path, trial: TrialRecord, names: Iterable[str], is_best: bool) -> TrialRow:
    values = [
        value_text(trial.parameters[name]) if name in trial.parameters else None for name in names
    ]
    has_report = trial.run is not None and (folder / trial.run / "report.html").is_file()
    report = quote(f"{trial.run}/report.html") if has_report else None
    return TrialRow(trial, is_best, values, report, trial.run and Path(trial.run).name)
