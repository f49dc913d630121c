"""A search that several workers share: each trial is done once, whoever is killed meanwhile."""

from __future__ import annotations

import platform
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock, Timeout

from textmill.errors import InputError, MachineError
from textmill.report.search_record import Objective
from textmill.search.samplers import Ending, Proposing
from textmill.search.space import Parameter, Values

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial, TrialState

# Seconds between the signs of life of a trial, and after which a trial without them is given up.
BEAT = 15.0
SILENCE = 120.0

# What is noted of a trial: its run, why it failed, who does it, and when it was worked at.
RUN, ERROR, MACHINE, SPANS = "run", "error", "machine", "spans"
# Whether all parameters are proposed; whether it came when there were enough.
COMPLETE, SUPERFLUOUS = "complete", "superfluous"


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much a search may do, over all workers and sittings.

    Args:
        trials: The most trials, however they end; None sets no limit.
        seconds: Time in which at least one trial is trained, after which none is begun; None sets
            no limit.
    """

    trials: int | None
    seconds: float | None

    def is_spent(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether no trial may be begun any more."""
        if self.trials is not None and len(trials) >= self.trials:
            return True
        return self.seconds is not None and busy_seconds(trials) >= self.seconds


class SharedStudy:
    """Optuna's study, in which this worker claims trials.

    Args:
        folder: The search's folder, with its locks, and its journal unless there is a database.
        name: The search's name.
        database: URL of a database, or None.
        objectives: What is sought.
        space: The parameters, in order.
        proposing: How trials are proposed.
        ending: When they are ended early.
        allowance: How much may be done.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        database: str | None,
        objectives: Sequence[Objective],
        space: Sequence[Parameter],
        proposing: Proposing,
        ending: Ending,
        allowance: Allowance,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._locks = folder / "locks"
        self._locks.mkdir(parents=True, exist_ok=True)
        self._space = space
        self._proposing = proposing
        self._allowance = allowance
        # Who has the journal has the locks beside it; a database may be used from anywhere.
        self._all_share_locks = database is None
        with self.alone():
            self.study: Study = optuna.create_study(
                study_name=name,
                storage=_storage(folder, database),
                directions=["maximize" if one.maximize else "minimize" for one in objectives],
                pruner=ending.make(),
                sampler=proposing.sampler_for(0),
                load_if_exists=True,
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds other workers back."""
        with FileLock(self._locks / "study.lock"):
            yield

    def trials(self) -> list[FrozenTrial]:
        """All trials as they are now."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if SUPERFLUOUS not in trial.user_attrs]

    def claim(self) -> Claim | None:
        """A trial that its worker left behind, or else a new one; None where there is neither."""
        with self.alone():
            trials = self.trials()
            for trial in running(trials):
                lock = self._take_over(trial)
                if lock is not None:
                    return self._open(trial.number, trial._trial_id, lock)
            if self._allowance.is_spent(trials):
                return None
            return self._ask()

    def _ask(self) -> Claim | None:
        """A new trial; None if workers that share no lock have begun enough at the same time."""
        from optuna.trial import TrialState

        self.study.sampler = self._proposing.sampler_for(0)
        asked = self.study.ask()
        before = [trial for trial in self.trials() if trial.number < asked.number]
        if self._allowance.trials is not None and len(before) >= self._allowance.trials:
            asked.set_user_attr(SUPERFLUOUS, True)
            self.study.tell(asked, state=TrialState.FAIL)
            return None
        lock = self._try_lock(asked.number)
        if lock is None:
            raise MachineError("a new trial is locked", where=str(self._locks))
        return self._open(asked.number, asked._trial_id, lock)

    def tell(self, trial: Trial, state: TrialState, values: Sequence[float] | None) -> None:
        """Ends a trial, unless another worker has given this one up and done it meanwhile."""
        self.study.sampler = self._proposing.sampler_for(trial.number)
        with self.alone():
            known = {one.number: one for one in self.trials()}
            if not known[trial.number].state.is_finished():
                self.study.tell(trial, values, state=state)

    def _open(self, number: int, trial_id: int, lock: FileLock) -> Claim:
        """Takes a trial whose lock is held, and has its parameters proposed if they aren't yet."""
        trial = self._proposed(number, trial_id)
        trial.set_user_attr(MACHINE, machine())
        chosen: Values = {}
        for parameter in self._space:
            if parameter.is_needed(chosen):
                self.study.sampler = self._proposing.sampler_for(number, parameter.key)
                chosen[parameter.key] = parameter.suggested(trial)
        trial.set_user_attr(COMPLETE, True)
        return Claim(self, trial, chosen, lock)

    def _proposed(self, number: int, trial_id: int) -> Trial:
        """The trial, and for it the parameters worked out that are proposed together."""
        from optuna.trial import Trial

        # The first look at a generation of nsga2 notes its parents, and uses up random numbers for
        # that; a trial that was left behind may be looked at again: so that it's always the second.
        for _ in range(self._proposing.looks):
            self.study.sampler = self._proposing.sampler_for(number)
            trial = Trial(self.study, trial_id)
            if not trial.user_attrs.get(COMPLETE, False):
                _ = trial.relative_params
        return trial

    def _take_over(self, trial: FrozenTrial) -> FileLock | None:
        """The lock of a running trial whose worker is gone."""
        lock = self._try_lock(trial.number)
        if lock is not None and self._may_live_elsewhere(trial):
            lock.release()
            return None
        return lock

    def _may_live_elsewhere(self, trial: FrozenTrial) -> bool:
        """Whether a trial may be trained on another machine, where the lock isn't seen."""
        owner = trial.user_attrs.get(MACHINE)
        if owner == machine() or (owner is None and self._all_share_locks):
            return False
        began = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        spans = trial.user_attrs.get(SPANS)
        return time.time() - (spans[-1][1] if spans else began) < SILENCE

    def _try_lock(self, number: int) -> FileLock | None:
        lock = FileLock(self._locks / f"trial-{number:05d}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return None
        return lock


class Claim:
    """A trial that this worker does; as a context, it lets go of it at the end.

    Args:
        study: The study.
        trial: The trial.
        parameters: What was chosen.
        lock: The trial's lock, held.
    """

    def __init__(
        self, study: SharedStudy, trial: Trial, parameters: Values, lock: FileLock
    ) -> None:
        self._study = study
        self.trial = trial
        self.parameters = parameters
        self._lock = lock
        self._pulse = _Pulse(trial)

    def __enter__(self) -> Self:
        self._pulse.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pulse.stop()
        self._lock.release()

    @property
    def number(self) -> int:
        """The trial's number, from 0."""
        return self.trial.number

    @property
    def run(self) -> str | None:
        """The folder of the trial's run within the folder of all runs, if it has begun."""
        return self.trial.user_attrs.get(RUN)

    def note_run(self, folder: str) -> None:
        """Notes the folder of the trial's run within the folder of all runs."""
        self.trial.set_user_attr(RUN, folder)

    def finish(self, values: Sequence[float]) -> None:
        """Ends the trial with the objectives' values."""
        from optuna.trial import TrialState

        self._end(TrialState.COMPLETE, values)

    def prune(self) -> None:
        """Ends the trial that was not worth going on with."""
        from optuna.trial import TrialState

        self._end(TrialState.PRUNED)

    def fail(self, reason: str) -> None:
        """Ends the trial that could not be done."""
        from optuna.trial import TrialState

        self.trial.set_user_attr(ERROR, reason)
        self._end(TrialState.FAIL)

    def _end(self, state: TrialState, values: Sequence[float] | None = None) -> None:
        self._pulse.stop()
        self._study.tell(self.trial, state, values)


class _Pulse:
    """Notes from time to time that a trial is worked at."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._spans = [list(span) for span in trial.user_attrs.get(SPANS, [])]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def start(self) -> None:
        """Begins a span of work."""
        now = time.time()
        self._spans.append([now, now])
        self._note()
        self._thread.start()

    def stop(self) -> None:
        """Ends the span, once."""
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
            self._note()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            self._note()

    def _note(self) -> None:
        self._spans[-1][1] = time.time()
        # The training goes on while a database is away; and another worker may have taken over.
        with suppress(Exception):
            self._trial.set_user_attr(SPANS, self._spans)


def running(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those of the trials that have begun and not ended."""
    return [trial for trial in trials if not trial.state.is_finished()]


def trial_seconds(trial: FrozenTrial) -> float:
    """How long a trial was worked at."""
    return float(sum(end - start for start, end in trial.user_attrs.get(SPANS, ())))


def busy_seconds(trials: Sequence[FrozenTrial]) -> float:
    """How long at least one of the trials was worked at."""
    spans = sorted(span for trial in trials for span in trial.user_attrs.get(SPANS, ()))
    total, until = 0.0, 0.0
    for start, end in spans:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def machine() -> str:
    """A name that no other machine is likely to have."""
    return f"{platform.node()}-{uuid.getnode():012x}"


def _storage(folder: Path, database: str | None) -> BaseStorage:
    if database is None:
        from textmill.search.journal import journal

        return journal(folder / "journal.log")
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    # Further workers wait for the one that writes, as SQLite otherwise soon gives up.
    waiting: dict[str, Any] = {"timeout": 60} if database.startswith("sqlite") else {}
    try:
        return RDBStorage(database, engine_kwargs={"connect_args": waiting})
    except (SQLAlchemyError, StorageInternalError, ImportError) as error:
        reason = next(iter(str(error.__cause__ or error).splitlines()), type(error).__name__)
        raise InputError(
            f"the database can't be opened ({reason})",
            where=f"sweep.storage={without_password(database)}",
            hint="give a URL such as sqlite:////home/me/search.db or postgresql://USER@HOST/NAME",
        ) from error


def without_password(database: str) -> str:
    """The URL of a database as it may be shown."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(database).render_as_string(hide_password=True)
    except ArgumentError:
        return database
