"""What a search has found so far, for its report, its table, and the terminal."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textmill.report.search_record import Objective, SearchRecord, TrialRecord, TrialState
from textmill.runs import Run
from textmill.safe_write import write_text
from textmill.search.objectives import monitored
from textmill.search.space import Parameter
from textmill.search.study import ERROR, RUN, SharedStudy, trial_seconds
from textmill.tracking.replay import read_records

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

# Finished trials from which it can be told which parameters mattered.
ENOUGH_TRIALS = 4


def search_record(
    shared: SharedStudy,
    objectives: Sequence[Objective],
    space: Sequence[Parameter],
    folder: Path,
    runs_dir: Path,
) -> SearchRecord:
    """What a search has found so far.

    Args:
        shared: The study.
        objectives: What is sought.
        space: What is varied.
        folder: The search's folder, which the runs' paths start from.
        runs_dir: The folder of all runs.
    """
    study = shared.study
    return SearchRecord(
        name=study.study_name,
        objectives=tuple(objectives),
        trials=tuple(
            _trial_record(trial, objectives, folder, runs_dir) for trial in shared.trials()
        ),
        importance=_importance(study, len(objectives)),
        logarithmic=frozenset(parameter.key for parameter in space if parameter.log),
        best=best_numbers(study),
    )


def best_numbers(study: Study) -> tuple[int, ...]:
    """The numbers of the trials that no other is better than in every respect."""
    if not any(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False)):
        return ()
    if len(study.directions) == 1:
        return (study.best_trial.number,)
    return tuple(trial.number for trial in study.best_trials)


def state_of(trial: FrozenTrial) -> TrialState:
    """How far a trial came."""
    states: Mapping[str, TrialState] = {
        "COMPLETE": "finished",
        "PRUNED": "pruned",
        "FAIL": "failed",
    }
    return states.get(trial.state.name, "running")


def write_table(path: Path, record: SearchRecord, errors: Mapping[int, str]) -> None:
    """Writes the trials as CSV, one a row.

    Args:
        path: The file.
        record: What was found.
        errors: Why trials failed, by number.
    """
    keys = sorted({key for trial in record.trials for key in trial.parameters})
    names = [one.name for one in record.objectives]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", *names, *keys, "validations", "seconds", "run", "error"])
    for trial in record.trials:
        values = trial.values or ("",) * len(names)
        parameters = (trial.parameters.get(key, "") for key in keys)
        seconds = "" if trial.seconds is None else round(trial.seconds, 1)
        ending = (len(trial.intermediate), seconds, trial.run or "", errors.get(trial.number, ""))
        writer.writerow([trial.number, trial.state, *values, *parameters, *ending])
    write_text(path, text.getvalue())


def errors_of(study: Study) -> dict[int, str]:
    """Why trials failed, by number."""
    trials = study.get_trials(deepcopy=False)
    return {trial.number: trial.user_attrs[ERROR] for trial in trials if ERROR in trial.user_attrs}


def _trial_record(
    trial: FrozenTrial, objectives: Sequence[Objective], folder: Path, runs_dir: Path
) -> TrialRecord:
    state = state_of(trial)
    noted = trial.user_attrs.get(RUN)
    run = None if noted is None else runs_dir / noted
    return TrialRecord(
        number=trial.number,
        state=state,
        parameters=dict(trial.params),
        values=tuple(trial.values) if state == "finished" else None,
        intermediate=_intermediate(run, objectives),
        run=None if run is None else Path(os.path.relpath(run, folder)).as_posix(),
        seconds=trial_seconds(trial) if trial.state.is_finished() else None,
    )


def _intermediate(run: Path | None, objectives: Sequence[Objective]) -> dict[int, float]:
    metric = monitored([one.name for one in objectives])
    if run is None or metric is None:
        return {}
    validations = read_records(Run(run).history)
    return {int(one["step"]): one[metric] for one in validations if metric in one}


def _importance(study: Study, objectives: int) -> dict[str, float]:
    """Each parameter's share in what made the difference; empty where that can't be told."""
    import optuna

    finished = [one for one in study.get_trials(deepcopy=False) if one.state.name == "COMPLETE"]
    if len(finished) < ENOUGH_TRIALS:
        return {}
    target = None if objectives == 1 else (lambda trial: float(trial.values[0]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(study, target=target)
    except (ValueError, RuntimeError, ZeroDivisionError):
        return {}
    return {name: float(share) for name, share in found.items()}
