"""``textmill sweep``: searches for the best settings, over as many runs as it is allowed."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textmill.configuration.composing import Composed
from textmill.configuration.schema import SweepConfig
from textmill.errors import InputError, MachineError, reason_of
from textmill.installed import require_installed
from textmill.model.checkpoints import PrunedError, StoppedError
from textmill.report.search_page import write_search_report
from textmill.report.search_record import Objective, SearchRecord
from textmill.report.writing import write_report
from textmill.runs import Run, check_writable, point_latest, short_path
from textmill.search.composing import TrialConfigs, longest_trial, searched
from textmill.search.keeping import thin_out
from textmill.search.objectives import monitored, objectives_of
from textmill.search.records import errors_of, search_record, write_table
from textmill.search.remembering import remember
from textmill.search.samplers import Ending, Proposing, shuffled_grid
from textmill.search.space import Parameter
from textmill.search.study import RUN, Allowance, Claim, SharedStudy, running, without_password
from textmill.search.telling import best_lines, summary_line, trial_line
from textmill.search.trials import Conduct, train_trial

# Seconds between looks at the trials of other workers.
PATIENCE = 2.0
# So many trials that fail from the start are enough to see that something is wrong.
MOST_FAILURES = 3


def run(composed: Composed[SweepConfig]) -> None:
    """Searches as configured, from where the search was.

    Raises:
        InputError: The configuration can't be used, or all trials fail from the start.
        MachineError: Something can't be written.
        StoppedError: The search was asked to stop; the same command goes on with it.
    """
    require_installed(["optuna", "cmaes", "sqlalchemy"], "textmill[sweep]")
    from optuna.exceptions import StorageInternalError

    space = searched(composed)
    check_writable(Path(composed.config.runs_dir))
    search = _open(composed, space)
    # What is there before the first trial stays; looking through it after each takes long.
    gc.freeze()
    try:
        while _next_trial(search):
            gc.collect()
    except (StoppedError, KeyboardInterrupt) as error:
        raise _stopped(error, search) from error
    except StorageInternalError as error:
        raise MachineError(
            "the search's database can't be used any more",
            where=short_path(search.folder),
            hint=f"go on with textmill sweep --join {short_path(search.folder)}",
        ) from error
    _conclude(search)


@dataclass(frozen=True, slots=True)
class _Search:
    """A search that this worker takes part in."""

    composed: Composed[SweepConfig]
    folder: Path
    space: tuple[Parameter, ...]
    objectives: tuple[Objective, ...]
    study: SharedStudy
    configs: TrialConfigs

    @property
    def runs_dir(self) -> Path:
        return Path(self.composed.config.runs_dir).absolute()

    def record(self) -> SearchRecord:
        return search_record(self.study, self.objectives, self.space, self.folder, self.runs_dir)


def _open(composed: Composed[SweepConfig], space: tuple[Parameter, ...]) -> _Search:
    config, sweep = composed.config, composed.config.sweep
    folder = Path(config.runs_dir).absolute() / "sweeps" / sweep.name
    objectives = objectives_of(sweep.objectives, multi_label=config.data.multi_label)
    grid = shuffled_grid(space, sweep.seed) if sweep.sampler == "grid" else None
    pruning = sweep.pruning
    study = SharedStudy(
        folder,
        sweep.name,
        sweep.storage,
        objectives,
        space,
        Proposing(
            sweep.sampler, sweep.startup_trials, sweep.population, sweep.seed, grid, sweep.first
        ),
        Ending(
            sweep.pruner,
            pruning.startup_trials,
            pruning.warmup,
            pruning.reduction_factor,
            longest_trial(config, space) or 1,
        ),
        Allowance(
            min((limit for limit in (sweep.trials, grid and len(grid)) if limit), default=None),
            None if sweep.minutes is None else 60 * sweep.minutes,
        ),
    )
    with study.alone():
        begun_with = _shown(composed.resolved)
        remember(study.study, folder, begun_with, composed.overrides, composed.config_dir)
    return _Search(composed, folder, space, objectives, study, TrialConfigs(composed))


def _shown(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without a password."""
    sweep = resolved["sweep"]
    if sweep["storage"] is None:
        return dict(resolved)
    return {**resolved, "sweep": {**sweep, "storage": without_password(sweep["storage"])}}


def _next_trial(search: _Search) -> bool:
    """Does a trial, or waits for those of other workers; False when there is nothing to do."""
    claim = search.study.claim()
    if claim is None:
        if not running(search.study.trials()):
            return False
        time.sleep(PATIENCE)
        return True
    with claim:
        _conduct(search, claim)
    _tell(search, claim.number)
    _check_failures(search)
    return True


def _conduct(search: _Search, claim: Claim) -> None:
    """Trains a trial and notes how it ends; when the worker must stop, it stays as it is."""
    config = search.composed.config
    name = f"{config.name}-{claim.number:03d}"
    sweep = config.sweep
    pruned_by = None if sweep.pruner == "none" else monitored(sweep.objectives)
    conduct = Conduct(sweep.name, search.objectives, pruned_by)
    from optuna.exceptions import OptunaError

    try:
        trial = search.configs.of(claim.parameters, name)
        claim.finish(train_trial(claim, trial, conduct))
    except PrunedError:
        claim.prune()
    except (StoppedError, MachineError, OptunaError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever ends one trial, the others go on
        claim.fail(reason_of(error))


def _tell(search: _Search, number: int) -> None:
    """Prints a trial's line, and brings the search's folder up to date."""
    record, errors = search.record(), errors_of(search.study.study)
    write_table(search.folder / "trials.csv", record, errors)
    write_search_report(search.folder / "report.html", record)
    ended = _ended_runs(search)
    if search.composed.config.sweep.keep == "best":
        thin_out(ended, record.best)
    if record.best:
        point_latest(dict(ended)[record.best[0]].folder)
    print(trial_line(record, number, errors.get(number)), flush=True)


def _ended_runs(search: _Search) -> list[tuple[int, Run]]:
    return [
        (trial.number, Run(search.runs_dir / trial.user_attrs[RUN]))
        for trial in search.study.trials()
        if trial.state.is_finished() and RUN in trial.user_attrs
    ]


def _check_failures(search: _Search) -> None:
    """Stops when nothing works.

    Raises:
        InputError: The first trials have all failed.
    """
    trials = search.study.trials()
    failed = [trial for trial in trials if trial.state.name == "FAIL"]
    if len(failed) == len(trials) == MOST_FAILURES:
        reason = errors_of(search.study.study)[failed[-1].number]
        raise InputError(
            f"the first {MOST_FAILURES} trials have failed, the last because {reason}",
            where=str(search.folder),
            hint="put that right, and begin another search with sweep.name=NAME",
        )


def _stopped(error: BaseException, search: _Search) -> StoppedError:
    number = error.signal_number if isinstance(error, StoppedError) else signal.SIGINT
    return StoppedError(
        number,
        where=short_path(search.folder),
        hint=f"go on with textmill sweep --join {short_path(search.folder)}",
    )


def _conclude(search: _Search) -> None:
    """Prints what was found, and how to use it."""
    record = search.record()
    best = [run for number, run in _ended_runs(search) if number in record.best]
    for run in best:
        if not run.report.exists():
            write_report(run)
    write_table(search.folder / "trials.csv", record, errors_of(search.study.study))
    # Behind the reports of the best runs, which it leads to.
    write_search_report(search.folder / "report.html", record)
    print(f"\n{summary_line(record)}")
    for line in best_lines(record):
        print(line)
    for run in best:
        print(f"run      {short_path(run.folder)}")
        print(f'predict  textmill predict {short_path(run.bundle)} "a text"')
        print(f"again    textmill train --config {short_path(run.folder)}")
    print(f"report   {short_path(search.folder / 'report.html')}")
