"""The values of a search's trials as numbers on scales, to be drawn."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from textmill.report.search_record import SearchRecord, TrialRecord
from textmill.tracking.shapes import Numbers, Scale


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """A parameter's values in some trials.

    Args:
        scale: What lies along its axis; its name is the parameter's.
        places: Where each trial lies, ``[trials]``; NaN for those without the parameter.
    """

    scale: Scale
    places: Numbers


def parameter_names(search: SearchRecord) -> list[str]:
    """The parameters of a search, the most important first, then as the trials have them."""
    found = dict.fromkeys(name for trial in search.trials for name in trial.parameters)
    return sorted(found, key=lambda name: -importance_of(search, name))


def importance_of(search: SearchRecord, name: str) -> float:
    """A parameter's share in the differences between trials; 0 where that isn't known."""
    share = search.importance.get(name, 0.0)
    return share if math.isfinite(share) else 0.0


def setting_of(search: SearchRecord, name: str, trials: Sequence[TrialRecord]) -> Setting:
    """A parameter's values on a scale: of numbers where all are, or else of names.

    Args:
        search: The search.
        name: The parameter.
        trials: The trials to place.
    """
    values = [trial.parameters[name] for trial in search.trials if name in trial.parameters]
    if all(map(is_number, values)):
        places = [_float(trial.parameters.get(name, math.nan)) for trial in trials]
        positive = all(_float(value) > 0 for value in values)
        logarithmic = name in search.logarithmic and positive
        return Setting(Scale(name, logarithmic=logarithmic), np.array(places, dtype=np.float64))
    categories = _categories(values)
    return Setting(Scale(name, categories), np.array(_named(categories, name, trials)))


def objective_values(trials: Iterable[TrialRecord], index: int) -> Numbers:
    """The values of an objective; NaN for trials that have none, and for infinite ones."""
    found = [math.nan if trial.values is None else trial.values[index] for trial in trials]
    values = np.array(found, dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def finished(search: SearchRecord) -> list[TrialRecord]:
    """The trials that came to their end with a finite value for each objective."""
    return [
        trial
        for trial in search.trials
        if trial.state == "finished"
        and trial.values is not None
        and all(math.isfinite(value) for value in trial.values)
    ]


def pruned(search: SearchRecord) -> list[TrialRecord]:
    """The trials that were stopped early for their low prospects."""
    return [trial for trial in search.trials if trial.state == "pruned"]


def measured(trial: TrialRecord) -> list[tuple[int, float]]:
    """A trial's finite values at its validations, with their steps, in order."""
    return [
        (step, value) for step, value in sorted(trial.intermediate.items()) if math.isfinite(value)
    ]


def best_trials(search: SearchRecord) -> list[TrialRecord]:
    """The best trial, or those of the Pareto front, the best in the first objective first."""
    return ranked(search, 0, [one for one in finished(search) if one.number in search.best])


def leader(search: SearchRecord, index: int) -> TrialRecord | None:
    """Which of the best trials is ahead in an objective; None where there is none."""
    return next(iter(ranked(search, index, best_trials(search))), None)


def ranked(search: SearchRecord, index: int, trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Finished trials by an objective, the best first."""
    sign = -1 if search.objectives[index].maximize else 1
    return sorted(trials, key=lambda trial: sign * (trial.values or ())[index])


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a parameter's value is a finite number, and not a yes or no."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def value_text(value: object) -> str:
    """A parameter's value as one would write it in the configuration, floats with four digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, ensure_ascii=False, default=str)


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _categories(values: Iterable[object]) -> tuple[str, ...]:
    """The different values as texts: no value first, then no and yes, numbers, and names."""
    texts = {value_text(value): value for value in values}
    return tuple(sorted(texts, key=lambda text: _order(text, texts[text])))


def _order(text: str, value: object) -> tuple[int, float, str]:
    kinds = (value is None, isinstance(value, bool), is_number(value))
    kind = kinds.index(True) if any(kinds) else len(kinds)
    return kind, _float(value) if is_number(value) or isinstance(value, bool) else 0.0, text


def _named(categories: tuple[str, ...], name: str, trials: Sequence[TrialRecord]) -> list[float]:
    places = {text: float(place) for place, text in enumerate(categories)}
    return [
        places[value_text(trial.parameters[name])] if name in trial.parameters else math.nan
        for trial in trials
    ]
