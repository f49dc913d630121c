"""What a search found, as its report needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

TrialState = Literal["finished", "pruned", "failed", "running"]


@dataclass(frozen=True, slots=True)
class Objective:
    """What a search makes as high, or as low, as it can.

    Args:
        name: The metric's name.
        maximize: Whether more of it is better.
    """

    name: str
    maximize: bool


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One combination that was tried.

    Args:
        number: From 0, in the order in which trials began.
        state: How far it came.
        parameters: What was chosen, from name to value; those that a condition left out are
            missing.
        values: One for each objective; None unless the trial is finished.
        intermediate: From optimizer step to the first objective's value at that validation.
        run: The folder of the trial's run, absolute or relative to the report's folder.
        seconds: How long it took, where that is known.
    """

    number: int
    state: TrialState
    parameters: Mapping[str, object]
    values: tuple[float, ...] | None
    intermediate: Mapping[int, float]
    run: str | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """A search, ended or still going on.

    Args:
        name: What it is called.
        objectives: What was sought; at least one.
        trials: In the order of their numbers.
        importance: From parameter to its share in the differences of the first objective; empty
            where there are too few trials to tell.
        logarithmic: The parameters whose values were drawn on a logarithmic scale.
        best: The number of the best trial; with several objectives those of the Pareto front.
    """

    name: str
    objectives: tuple[Objective, ...]
    trials: tuple[TrialRecord, ...]
    importance: Mapping[str, float]
    logarithmic: frozenset[str]
    best: tuple[int, ...]
