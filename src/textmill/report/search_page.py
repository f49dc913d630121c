"""Writes the report of a search: what was tried, what it brought, and what made the difference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from markupsafe import Markup

from textmill.legible import shorten
from textmill.report.figures import Figure
from textmill.report.page import number, render
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
from textmill.report.search_values import best_trials, is_number, parameter_names, value_text
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

# Of a setting in the table of all trials.
_MOST_SIGNS = 80


class SettingCell(NamedTuple):
    """A parameter's value in the page's table.

    Attributes:
        text: The value as text; empty where the trial has none.
        number: What rows are sorted by; None where the value is no number.
    """

    text: str
    number: float | None


class TrialRow(NamedTuple):
    """A trial in the page's table.

    Attributes:
        trial: The trial.
        is_best: Whether it is the best, or on the Pareto front.
        settings: Its values, one for each parameter of the search.
        facts: From its objectives and parameters to their values, as text.
        report: The address of its run's report; None where there is none.
        folder: The name of its run's folder; None where it has none.
    """

    trial: TrialRecord
    is_best: bool
    settings: list[SettingCell]
    facts: dict[str, str]
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
    best = [trial.number for trial in best_trials(search)]
    rows = {trial.number: _row(folder, search, trial, names) for trial in search.trials}
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
        best=[rows[one] for one in best],
        rows=list(rows.values()),
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


def _row(folder: Path, search: SearchRecord, trial: TrialRecord, names: Iterable[str]) -> TrialRow:
    has_report = trial.run is not None and (folder / trial.run / "report.html").is_file()
    return TrialRow(
        trial,
        trial.number in search.best,
        [_setting_cell(trial, name) for name in names],
        _facts(search, trial, names),
        quote(f"{trial.run}/report.html") if has_report else None,
        trial.run and Path(trial.run).name,
    )


def _setting_cell(trial: TrialRecord, name: str) -> SettingCell:
    if name not in trial.parameters:
        return SettingCell("", None)
    value = trial.parameters[name]
    return SettingCell(
        shorten(value_text(value), _MOST_SIGNS), float(value) if is_number(value) else None
    )


def _facts(search: SearchRecord, trial: TrialRecord, names: Iterable[str]) -> dict[str, str]:
    values = zip(search.objectives, trial.values or (), strict=False)
    reached = {objective.name: number(value) for objective, value in values}
    return reached | {
        name: value_text(trial.parameters[name]) for name in names if name in trial.parameters
    }
