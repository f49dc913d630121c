"""What searches found, made up."""

from __future__ import annotations

import math
from collections.abc import Sequence

from textmill.report.search_record import Objective, SearchRecord, TrialRecord, TrialState

MCC = Objective("validation/mcc", maximize=True)
LATENCY = Objective("latency_ms", maximize=False)
STEPS = (10, 20, 30, 40)


def make_trial(
    number: int,
    value: float = 0.5,
    *further: float,
    state: TrialState = "finished",
    run: str | None = None,
    **parameters: object,
) -> TrialRecord:
    """A trial whose value rises to its last; a pruned one ends half way."""
    ends = state == "finished"
    steps = STEPS if ends else STEPS[:2]
    return TrialRecord(
        number,
        state,
        {"optimizer.lr": 10 ** -(2 + number % 4), "scheduler": "linear", **parameters},
        (value, *further) if ends else None,
        {} if state in ("failed", "running") else {step: value * step / 40 for step in steps},
        run,
        60.0 + number,
    )


def make_search(
    trials: Sequence[TrialRecord], *objectives: Objective, name: str = "rates"
) -> SearchRecord:
    """A search of these trials."""
    sought = objectives or (MCC,)
    return SearchRecord(
        name=name,
        objectives=sought,
        trials=tuple(trials),
        importance={"optimizer.lr": 0.75, "scheduler": 0.25} if len(trials) > 2 else {},
        logarithmic=frozenset({"optimizer.lr"}),
        best=_best(trials, sought),
    )


def _best(trials: Sequence[TrialRecord], objectives: Sequence[Objective]) -> tuple[int, ...]:
    points = {
        trial.number: tuple(
            value if one.maximize else -value
            for value, one in zip(trial.values, objectives, strict=True)
        )
        for trial in trials
        if trial.values is not None and all(map(math.isfinite, trial.values))
    }
    if len(objectives) == 1:
        return (max(points, key=lambda number: points[number]),) if points else ()
    return tuple(
        number
        for number, point in points.items()
        if not any(
            other != point and all(theirs >= own for theirs, own in zip(other, point, strict=True))
            for other in points.values()
        )
    )
