"""The charts of a search: how it went, what made the difference, and what was traded for what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from textmill.model.ranking import Curve
from textmill.report.search_record import Objective, SearchRecord, TrialRecord
from textmill.report.search_values import (
    Setting,
    best_trials,
    finished,
    importance_of,
    leader,
    measured,
    objective_values,
    parameter_names,
    pruned,
    setting_of,
)
from textmill.tracking.curves import thinned
from textmill.tracking.shapes import (
    BarChart,
    Layer,
    LayeredChart,
    Look,
    Numbers,
    ParallelChart,
    Scale,
    Strands,
)

# Parameters that have an axis or a bar, where there are more.
MOST_AXES, MOST_BARS = 12, 16
# Trials on a Pareto front that are told by their numbers.
_MOST_NOTES = 12
_MOST_POINTS, _LEAST_POINTS = 8000, 4
_CLASSES = 5
# How far points move aside so as not to hide each other, as a share of a name's room, and what
# moves one after another evenly.
_SPREAD, _GOLDEN_RATIO = 0.4, 0.618034

_BLUE, _VERMILION, _GREEN, _PURPLE, _GREY = 0, 1, 2, 3, 5
_POINTS = Look("dots", _BLUE, 4.5)
_CUT = Look("crosses", _GREY, 4)
_RINGS = Look("rings", _VERMILION, 9)
_BEST_LINES = Look("lines", _VERMILION, 2.2)
_CURVES = {
    "failed": Look("lines", _PURPLE, 1, 0.75),
    "pruned": Look("lines", _GREY, 1, 0.75),
    "running": Look("lines", _GREEN, 1.2),
    "finished": Look("lines", _BLUE, 1, 0.75),
}


def history_chart(search: SearchRecord, index: int) -> LayeredChart | None:
    """An objective's value by trial, with the best so far; None where no trial has a value.

    Args:
        search: The search.
        index: Which of its objectives.
    """
    objective, trials = search.objectives[index], finished(search)
    ends = _ends(pruned(search)) if index == 0 else {}
    numbers, values = _numbers(trials), objective_values(trials, index)
    layers = (
        Layer("best so far", *_best_so_far(numbers, values, objective), Look("lines", _GREEN, 1.6)),
        Layer("pruned, at its last validation", *_points(ends.items()), _CUT),
        Layer("finished", numbers, values, _POINTS),
        _ring(search, index, numbers, values),
    )
    title = f"{objective.name} by trial"
    return _layered(title, Scale("trial"), _scale(objective), layers)


def learning_chart(search: SearchRecord) -> LayeredChart | None:
    """The first objective at each validation of each trial; None where none was measured."""
    best = {trial.number for trial in best_trials(search)}
    learned = [trial for trial in search.trials if measured(trial)]
    most = max(_LEAST_POINTS, _MOST_POINTS // max(1, len(learned)))
    others = [trial for trial in learned if trial.number not in best]
    layers = [
        Layer(state, *_curves([one for one in others if one.state == state], most), look)
        for state, look in _CURVES.items()
    ]
    cut = [measured(trial)[-1] for trial in others if trial.state == "pruned"]
    layers.append(Layer("", *_points(cut), _CUT))
    chosen = [trial for trial in learned if trial.number in best]
    layers.append(Layer("best", *_curves(chosen, most), _BEST_LINES))
    title = f"{search.objectives[0].name} as the trials learn"
    return _layered(title, Scale("optimizer step"), _scale(search.objectives[0]), layers)


def importance_chart(search: SearchRecord) -> BarChart | None:
    """How much each parameter matters, the most first; None where that isn't known."""
    shares = {name: importance_of(search, name) for name in search.importance}
    if not any(shares.values()):
        return None
    names = sorted(shares, key=lambda name: -shares[name])[:MOST_BARS]
    return BarChart(
        "Importance of the parameters",
        "parameter",
        "share of the differences",
        tuple(names),
        {"": np.array([shares[name] for name in names])},
    )


def parallel_chart(search: SearchRecord) -> ParallelChart | None:
    """Each trial as a line across its parameters and objectives; None where there are none.

    Lines are the fuller in colour, the better the first objective is. The best are drawn last.
    """
    cut, ended = pruned(search), finished(search)
    together = [*cut, *ended]
    names = parameter_names(search)[:MOST_AXES]
    if not together or not names:
        return None
    settings = [setting_of(search, name, together) for name in names]
    settings += [
        Setting(Scale(one.name), objective_values(together, index))
        for index, one in enumerate(search.objectives)
    ]
    lines = np.column_stack([setting.places for setting in settings])
    best = np.array([trial.number in search.best for trial in together], dtype=bool)
    ranked = np.arange(len(together)) >= len(cut)
    strands = (
        Strands("pruned", lines[~ranked], Look("lines", _GREY, 0.8, 0.4)),
        *_classes(lines[ranked & ~best], len(names), search.objectives[0]),
        Strands("best", lines[ranked & best], _BEST_LINES),
    )
    return ParallelChart(
        "Parallel coordinates",
        tuple(setting.scale for setting in settings),
        tuple(one for one in strands if len(one.values)),
        "no value",
    )


def slice_charts(search: SearchRecord, index: int) -> dict[str, LayeredChart]:
    """An objective against each parameter, from its name; the most important parameters first.

    Args:
        search: The search.
        index: Which of its objectives.
    """
    trials, objective = finished(search), search.objectives[index]
    values = objective_values(trials, index)
    charts = {}
    for name in parameter_names(search)[:MOST_AXES] if trials else []:
        setting = setting_of(search, name, trials)
        x = _spread(setting, trials)
        layers = (Layer("", x, values, _POINTS), _ring(search, index, x, values))
        chart = _layered(name, setting.scale, Scale(objective.name), layers, small=True)
        if chart is not None:
            charts[name] = chart
    return charts


def front_charts(search: SearchRecord) -> list[LayeredChart]:
    """The Pareto front of each pair of objectives; none where there is but one objective."""
    trials = finished(search)
    pairs = combinations(range(len(search.objectives)), 2) if trials else ()
    return [_front_chart(search, trials, first, second) for first, second in pairs]


def _front_chart(
    search: SearchRecord, trials: Sequence[TrialRecord], first: int, second: int
) -> LayeredChart:
    x, y = objective_values(trials, first), objective_values(trials, second)
    best = np.array([trial.number in search.best for trial in trials], dtype=bool)
    along = np.argsort(x[best])
    line = Look("lines", _VERMILION, 1.2, 0.7)
    names = [str(trial.number) for trial in trials if trial.number in search.best]
    layers = (
        # Of more than two objectives a front is no line.
        Layer("", x[best][along], y[best][along], line) if len(search.objectives) == 2 else None,
        Layer("other trials", x[~best], y[~best], _POINTS),
        Layer(
            "on the front",
            x[best],
            y[best],
            _RINGS,
            tuple(names) if len(names) <= _MOST_NOTES else (),
        ),
    )
    scales = (_scale(search.objectives[first]), _scale(search.objectives[second]))
    title = f"{search.objectives[second].name} against {search.objectives[first].name}"
    return LayeredChart(title, *scales, tuple(one for one in layers if one and len(one.x)))


def _layered(
    title: str, x: Scale, y: Scale, layers: Iterable[Layer], *, small: bool = False
) -> LayeredChart | None:
    """A chart of the layers that have a point; None where none has."""
    shown = tuple(one for one in layers if (np.isfinite(one.x) & np.isfinite(one.y)).any())
    return LayeredChart(title, x, y, shown, small) if shown else None


def _scale(objective: Objective) -> Scale:
    return Scale(f"{objective.name} ({'higher' if objective.maximize else 'lower'} is better)")


def _numbers(trials: Iterable[TrialRecord]) -> Numbers:
    return np.array([trial.number for trial in trials], dtype=np.float64)


def _ends(trials: Iterable[TrialRecord]) -> dict[int, float]:
    """The last value that was measured, by trial."""
    return {trial.number: measured(trial)[-1][1] for trial in trials if measured(trial)}


def _points(pairs: Iterable[tuple[float, float]]) -> Curve:
    points = np.array(list(pairs), dtype=np.float64).reshape(-1, 2)
    return points[:, 0], points[:, 1]


def _best_so_far(numbers: Numbers, values: Numbers, objective: Objective) -> Curve:
    """The corners of the stairs that lead to the best value."""
    best = (np.maximum if objective.maximize else np.minimum).accumulate(values)
    return np.repeat(numbers, 2)[1:], np.repeat(best, 2)[:-1]


def _ring(search: SearchRecord, index: int, x: Numbers, values: Numbers) -> Layer:
    """The best trial of an objective, among the finished ones."""
    best = leader(search, index)
    found = np.array([trial is best for trial in finished(search)], dtype=bool)
    notes = (f"trial {best.number}",) if best is not None else ()
    return Layer("", x[found], values[found], _RINGS, notes)


def _curves(trials: Iterable[TrialRecord], most: int) -> Curve:
    """The values of several trials over the steps, as one line with gaps."""
    gap = np.array([np.nan])
    curves = [_thinned(measured(trial), most) for trial in trials]
    parts = [(np.append(x, gap), np.append(y, gap)) for x, y in curves]
    if not parts:
        return np.empty(0), np.empty(0)
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def _thinned(points: Sequence[tuple[int, float]], most: int) -> Curve:
    """A curve with fewer points, on axes of like length so that its shape is kept."""
    x, y = _points(points)
    across, up = np.ptp(x) or 1.0, np.ptp(y) or 1.0
    x, y = thinned(x / across, y / up, most)
    return x * across, y * up


def _classes(lines: Numbers, column: int, objective: Objective) -> list[Strands]:
    """Lines in classes of about the same size, from the worst to the best.

    Args:
        lines: ``[lines, axes]``.
        column: Which axis the classes go by.
        objective: What lies along it.
    """
    values = lines[:, column]
    if not len(values):
        return []
    count = min(_CLASSES, len(np.unique(values)))
    inner = np.quantile(values, np.linspace(0, 1, count + 1))[1:-1]
    places = np.searchsorted(inner, values, side="right")
    rising = range(count) if objective.maximize else range(count - 1, -1, -1)
    opacities = np.linspace(1, 0.2, count)[::-1]
    return [
        _class(lines[places == place], values[places == place], float(opacity))
        for place, opacity in zip(rising, opacities, strict=True)
        if (places == place).any()
    ]


def _class(lines: Numbers, values: Numbers, opacity: float) -> Strands:
    low, high = f"{values.min():.4g}", f"{values.max():.4g}"
    name = low if low == high else f"{low} to {high}"
    return Strands(name, lines, Look("lines", _BLUE, 1.2, opacity))


def _spread(setting: Setting, trials: Sequence[TrialRecord]) -> Numbers:
    """Where points lie, side by side where they would hide each other."""
    if not setting.scale.categories:
        return setting.places
    return setting.places + _SPREAD * (_numbers(trials) * _GOLDEN_RATIO % 1 - 0.5)
