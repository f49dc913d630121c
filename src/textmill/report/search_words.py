"""What a search found, in sentences."""

from __future__ import annotations

from statistics import median

from textmill.legible import shorten
from textmill.report.page import number
from textmill.report.search_record import SearchRecord, TrialRecord, TrialState
from textmill.report.search_values import (
    best_trials,
    finished,
    importance_of,
    leader,
    measured,
    parameter_names,
    pruned,
    ranked,
    value_text,
)

# Parameters that a sentence tells.
_MOST_TOLD = 4
_MOST_SIGNS = 40
# A lead over the second that is a smaller share than this of the lead over the middle is slight.
_SLIGHT = 0.1
# From so many trials on, luck has its part in which one is the best.
_MANY = 5
# What is said of all trials together, in the order in which states are counted.
_STATES: dict[TrialState, str] = {
    "finished": "have finished",
    "pruned": "were pruned",
    "failed": "have failed",
    "running": "are running",
}


def verdict(search: SearchRecord) -> list[str]:
    """What came out, in plain sentences."""
    return [
        _counted(search),
        *_without_best(search),
        *_best(search),
        *_front(search),
        *_lead(search),
        *_spared(search),
    ]


def history_note(search: SearchRecord, index: int) -> str:
    """When an objective's best value came."""
    best = leader(search, index)
    if best is None:
        return "No trial has come to its end with a value."
    value = number((best.values or ())[index])
    later = [trial for trial in finished(search) if trial.number > best.number]
    if not later:
        return f"The best, {value}, came with the last finished trial, {best.number}."
    what = "trial" if len(later) == 1 else f"{len(later)} trials"
    return (
        f"The best, {value}, came with trial {best.number}; the {what} after it brought no better."
    )


def learning_note(search: SearchRecord) -> str:
    """How far the trials went."""
    spared = spared_share(search)
    if spared is None:
        return "Each line is a trial, by the values of its validations."
    return "Each line is a trial; a cross is where one was pruned."


def importance_note(search: SearchRecord) -> str:
    """Which parameter matters most."""
    first = parameter_names(search)[0]
    return (
        f"{first} makes {importance_of(search, first):.0%} of the differences between trials in "
        f"{search.objectives[0].name}, as estimated from them."
    )


def parallel_note(search: SearchRecord, most: int) -> str:
    """How to read the parallel coordinates.

    Args:
        search: The search.
        most: How many parameters have an axis at most.
    """
    count = len(parameter_names(search))
    shown = f" The first {most} of {count} parameters are shown." if count > most else ""
    return (
        f"Each line is a trial; the fuller its colour, the better its {search.objectives[0].name}. "
        f"Where good lines come together on an axis, the value matters.{shown}"
    )


def slice_note(search: SearchRecord, index: int, name: str) -> str:
    """What a parameter was where an objective was best."""
    best = leader(search, index)
    if best is None or name not in best.parameters:
        return "The best trial has no value for it."
    return f"Best at {_short(best.parameters[name])}."


def front_note(search: SearchRecord) -> str:
    """How to read a Pareto front."""
    if len(search.objectives) == 2:
        return "On the front, one objective gets better only where the other gets worse."
    return "On the front in all objectives together; here are two of them."


def spared_share(search: SearchRecord) -> float | None:
    """The share of all training that pruning spared; None where that can't be told.

    A pruned trial would have gone on for as many optimizer steps as the finished ones have, in
    the median.
    """
    whole = _whole_training(search)
    ends = [measured(trial)[-1][0] for trial in pruned(search) if measured(trial)]
    if whole is None or not ends:
        return None
    spared = sum(max(0, whole - end) for end in ends)
    trained = sum(measured(trial)[-1][0] for trial in search.trials if measured(trial))
    return float(spared / (spared + trained))


def parameters_text(search: SearchRecord, trial: TrialRecord, most: int | None = None) -> str:
    """A trial's parameters, the most important first.

    Args:
        search: The search.
        trial: The trial.
        most: How many to tell; all if None.
    """
    names = [name for name in parameter_names(search) if name in trial.parameters]
    told = [f"{name} {_short(trial.parameters[name])}" for name in names[:most]]
    rest = len(names) - len(told)
    return ", ".join(told) + (f" and {rest} more" if rest else "")


def _counted(search: SearchRecord) -> str:
    if not search.trials:
        return "No trial has begun."
    counts = {state: sum(one.state == state for one in search.trials) for state in _STATES}
    total = len(search.trials)
    if total > 1 and total in counts.values():
        return f"All {total} trials {_STATES[search.trials[0].state]}."
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"{total} trial{'s' if total > 1 else ''}: {told}."


def _without_best(search: SearchRecord) -> list[str]:
    """That there is nothing to choose yet."""
    if finished(search) or not search.trials:
        return []
    return ["None has come to its end with a value, so there is no best one."]


def _best(search: SearchRecord) -> list[str]:
    """Which trial is the best in the only objective."""
    best = leader(search, 0)
    if best is None or len(search.objectives) > 1:
        return []
    name, value = search.objectives[0].name, number((best.values or ())[0])
    told = parameters_text(search, best, _MOST_TOLD)
    return [
        f"The best is trial {best.number}, with {name} {value}" + (f": {told}." if told else ".")
    ]


def _front(search: SearchRecord) -> list[str]:
    """What the ends of the Pareto front are."""
    best = best_trials(search)
    if len(search.objectives) < 2 or not best:
        return []
    if len(best) == 1:
        values = " and ".join(_valued(search, best[0]))
        return [f"The best in every objective is trial {best[0].number}, with {values}."]
    told = [
        f"{len(best)} trials are on the Pareto front: what is better in one objective is worse in "
        "another."
    ]
    for index, objective in enumerate(search.objectives):
        [ahead, *_] = ranked(search, index, best)
        values = " and ".join(_valued(search, ahead))
        settings = parameters_text(search, ahead, _MOST_TOLD)
        told.append(
            f"Trial {ahead.number} has the best {objective.name}, with {values}"
            + (f": {settings}." if settings else ".")
        )
    return told


def _lead(search: SearchRecord) -> list[str]:
    """How far ahead the best is, and what that may owe to luck."""
    trials = ranked(search, 0, finished(search))
    if len(search.objectives) > 1 or not trials:
        return []
    if len(trials) == 1:
        return ["There is no other yet to compare it with."]
    values = [(trial.values or ())[0] for trial in trials]
    if values[0] == values[-1]:
        return [f"All {len(trials)} have this value: what was varied made no difference."]
    lead, spread = abs(values[0] - values[1]), abs(values[0] - median(values))
    told = f"The second, trial {trials[1].number}, is {number(lead)} behind."
    if lead <= _SLIGHT * spread:
        told += " That is slight against the differences between trials."
    if len(trials) >= _MANY:
        told += (
            " The best of many owes a part to luck on the validation split: see its test metrics."
        )
    return [told]


def _spared(search: SearchRecord) -> list[str]:
    """What pruning saved."""
    share = spared_share(search)
    return [] if share is None else [f"Pruning spared {share:.0%} of the training."]


def _whole_training(search: SearchRecord) -> float | None:
    """The optimizer steps of the finished trials, in the median; None where there are none."""
    ends = [measured(trial)[-1][0] for trial in finished(search) if measured(trial)]
    return float(median(ends)) if ends else None


def _valued(search: SearchRecord, trial: TrialRecord) -> list[str]:
    values = zip(search.objectives, trial.values or (), strict=False)
    return [f"{objective.name} {number(value)}" for objective, value in values]


def _short(value: object) -> str:
    return shorten(value_text(value), _MOST_SIGNS)
