"""A search's trials are proposed once and done once, whoever is killed meanwhile.

Workers are forks that kill themselves with a real SIGKILL; what they do in a trial is a formula.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from textmill.errors import InputError
from textmill.report.search_record import Objective
from textmill.search import study as study_module
from textmill.search.samplers import Ending, Proposing, Pruning, Sampling, shuffled_grid
from textmill.search.space import Parameter, Values, in_order
from textmill.search.study import SPANS, Allowance, SharedStudy, busy_seconds

SPACE = in_order(
    [
        Parameter("lr", low=1e-5, high=1e-1, log=True),
        Parameter("size", low=1, high=8, whole=True),
        Parameter("kind", choices=("plain", "deep")),
        Parameter("depth", low=0.0, high=1.0, when={"kind": ("deep",)}),
    ]
)
GRID = in_order(
    [
        Parameter("size", low=1, high=4, whole=True),
        Parameter("kind", choices=("plain", "deep")),
        Parameter("depth", choices=(0.0, 0.5), when={"kind": ("deep",)}),
    ]
)
TRIALS = 12
Act = Callable[[], None]


def shared(
    folder: Path,
    sampler: Sampling = "tpe",
    *,
    trials: int | None = TRIALS,
    seconds: float | None = None,
    database: str | None = None,
    seed: int = 0,
    pruner: Pruning = "median",
    first: Sequence[Values] = (),
) -> SharedStudy:
    space = GRID if sampler == "grid" else SPACE
    several = sampler == "nsga2"
    grid = shuffled_grid(space, seed) if sampler == "grid" else None
    return SharedStudy(
        folder,
        "search",
        database,
        [Objective("a", True), *([Objective("b", False)] if several else [])],
        space,
        Proposing(sampler, 4, 4, seed, grid, first),
        Ending("none" if several else pruner, 2, 1, 3, 4),
        Allowance(trials, seconds),
    )


def value(parameters: dict[str, Any], step: int = 4) -> float:
    return step * (float(parameters["size"]) - float(parameters.get("depth", 0.5)))


def work(study: SharedStudy, did: Path, seconds: float = 0.0) -> None:
    """Does trials until there are no more, and notes each in a file when it is done."""
    several = len(study.study.directions) > 1
    while (claim := study.claim()) is not None:
        with claim:
            pruned = False
            for step in range(1, 4 if not several else 0):
                claim.trial.report(value(claim.parameters, step), step)
                pruned = claim.trial.should_prune()
                if pruned:
                    break
            time.sleep(seconds)
            if pruned:
                claim.prune()
            else:
                final = value(claim.parameters)
                claim.finish([final, float(claim.parameters["lr"])] if several else [final])
            with did.open("a") as file:
                file.write(f"{claim.number} {os.getpid()}\n")


def in_fork(act: Act) -> multiprocessing.process.BaseProcess:
    def child() -> None:
        os.setsid()
        act()
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    return process


def told(study: SharedStudy) -> list[tuple[Any, ...]]:
    return [
        (trial.number, trial.state.name, trial.params, trial.values, trial.intermediate_values)
        for trial in study.trials()
    ]


def die_at(owner: type, method: str, call: int, *, half: bool = False) -> None:
    """Has a process kill itself at a call of a method, in the middle of its last line if asked."""
    original = getattr(owner, method)
    calls = 0

    def counted(self: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        nonlocal calls
        calls += 1
        result = original(self, *arguments, **named)
        if calls == call:
            if half:
                path = Path(self._file_path)
                path.write_bytes(path.read_bytes()[:-5])
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, method, counted)


@pytest.mark.parametrize(
    ("sampler", "half"),
    [
        ("tpe", False),
        ("random", True),
        ("cmaes", False),
        ("grid", False),
        ("nsga2", False),
    ],
)
def test_killed_at_any_write_a_search_goes_on_as_if_it_had_not_been(
    tmp_path: Path, sampler: Sampling, half: bool
) -> None:
    whole = shared(tmp_path / "whole", sampler)
    work(whole, tmp_path / "did")
    for number in range(1000):

        def act(number: int = number) -> None:
            die_at(JournalFileBackend, "append_logs", 4 + number * 5 % 13, half=half)
            work(shared(tmp_path / "killed", sampler), tmp_path / "killed.did")

        process = in_fork(act)
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert number > 8
    assert told(shared(tmp_path / "killed", sampler)) == told(whole)
    assert len(whole.trials()) == TRIALS


def test_killed_with_a_database_a_search_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/search.db"
    whole = shared(tmp_path / "whole", trials=8)
    work(whole, tmp_path / "did")
    for method, call in (
        ("_set_trial_param", 6),
        ("set_trial_user_attr", 9),
        ("set_trial_state_values", 2),
        ("set_trial_intermediate_value", 3),
    ):

        def act(method: str = method, call: int = call) -> None:
            die_at(RDBStorage, method, call)
            work(shared(tmp_path, database=url, trials=8), tmp_path / "killed.did")

        process = in_fork(act)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    study = shared(tmp_path, database=url, trials=8)
    work(study, tmp_path / "killed.did")
    assert told(study) == told(whole)


def test_the_seed_decides_what_is_proposed(tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        study = shared(tmp_path / name, seed=seed, trials=8)
        work(study, tmp_path / "did")
        found.append([trial.params for trial in study.trials()])
    assert found[0] == found[1]
    assert all(one != other for one, other in zip(found[0], found[2], strict=True))


def test_a_worker_killed_before_it_said_who_it_is_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = shared(tmp_path, database=f"sqlite:///{tmp_path}/search.db", trials=1)
    study.study.ask()
    assert study.claim() is None
    monkeypatch.setattr(study_module, "SILENCE", 0.0)
    assert study.claim() is not None


@pytest.mark.parametrize(("database", "count"), [(None, 20), ("sqlite", 8)])
def test_workers_side_by_side_do_each_trial_once(
    tmp_path: Path, database: str | None, count: int
) -> None:
    url = None if database is None else f"sqlite:///{tmp_path}/search.db"
    shared(tmp_path, database=url)

    def act() -> None:
        study = shared(tmp_path, database=url, trials=count)
        work(study, tmp_path / "did", seconds=0.05)

    workers = [in_fork(act) for _ in range(2)]
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    done = [line.split() for line in (tmp_path / "did").read_text().splitlines()]
    assert sorted(int(number) for number, _ in done) == list(range(count))
    assert len({worker for _, worker in done}) > 1
    trials = shared(tmp_path, database=url).trials()
    assert [trial.number for trial in trials] == list(range(count))
    assert all(trial.state.is_finished() for trial in trials)


def test_a_search_begins_with_what_it_is_given(tmp_path: Path) -> None:
    first: list[Values] = [{"lr": 0.01, "size": 7, "kind": "plain"}, {"kind": "deep", "depth": 0.5}]
    study = shared(tmp_path, trials=4, first=first)
    work(study, tmp_path / "did")
    found = [trial.params for trial in study.trials()]
    assert found[0] == first[0]
    assert (found[1]["kind"], found[1]["depth"]) == ("deep", 0.5)
    assert found[1].keys() == {"lr", "size", "kind", "depth"}


def test_a_grid_ends_when_each_combination_is_tried(tmp_path: Path) -> None:
    study = shared(tmp_path, "grid", trials=TRIALS)
    work(study, tmp_path / "did")
    tried = [tuple(sorted(trial.params.items())) for trial in study.trials()]
    assert len(set(tried)) == TRIALS


def test_conditions_hold_in_every_trial(tmp_path: Path) -> None:
    study = shared(tmp_path, trials=20)
    work(study, tmp_path / "did")
    for trial in study.trials():
        assert ("depth" in trial.params) == (trial.params["kind"] == "deep")


def test_a_trial_of_another_machine_is_taken_over_when_it_gives_no_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/search.db"
    study = shared(tmp_path / "here", database=url, trials=1)
    with monkeypatch.context() as patch:
        patch.setattr(study_module, "machine", lambda: "elsewhere")
        left = study.claim()
        assert left is not None
        with left:
            pass
    assert study.claim() is None
    trial = left.trial
    trial.set_user_attr(SPANS, [[0.0, time.time() - 2 * study_module.SILENCE]])
    taken = study.claim()
    assert taken is not None
    assert (taken.number, taken.parameters) == (left.number, left.parameters)


def test_a_trial_that_was_done_by_another_meanwhile_stays_as_it_is(tmp_path: Path) -> None:
    study = shared(tmp_path)
    claim = study.claim()
    assert claim is not None
    with claim:
        study.study.tell(claim.number, 7.0)
        claim.finish([1.0])
    assert study.trials()[0].values == [7.0]


def test_workers_that_share_no_lock_keep_to_the_number_of_trials(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/search.db"
    one = shared(tmp_path / "one", database=url, trials=1)
    other = shared(tmp_path / "other", database=url, trials=1)
    assert one.claim() is not None
    # The other has looked before the first asked.
    assert other._ask() is None
    assert [trial.number for trial in other.trials()] == [0]


def frozen(spans: list[list[float]]) -> FrozenTrial:
    trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
    trial.set_user_attr(SPANS, spans)
    return trial


def test_time_counts_once_however_many_workers_there_are_and_not_while_there_is_none() -> None:
    trials = [frozen([[0, 10], [100, 110]]), frozen([[5, 15]]), frozen([])]
    assert busy_seconds(trials) == 25


def test_no_trial_begins_when_the_time_is_over(tmp_path: Path) -> None:
    study = shared(tmp_path, trials=None, seconds=0.2)
    work(study, tmp_path / "did", seconds=0.05)
    assert 2 <= len(study.trials()) <= 4


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_what_promises_little_is_ended(tmp_path: Path, pruner: Pruning) -> None:
    study = shared(tmp_path, trials=20, pruner=pruner)
    work(study, tmp_path / "did")
    pruned = [trial for trial in study.trials() if trial.state.name == "PRUNED"]
    finished = [trial for trial in study.trials() if trial.state.name == "COMPLETE"]
    assert len(pruned) >= 5
    best = max(trial.values[0] for trial in finished)
    assert best > max(value(trial.params) for trial in pruned)


def test_the_journal_is_optunas_own(tmp_path: Path) -> None:
    work(shared(tmp_path, trials=3), tmp_path / "did")
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
    assert len(optuna.load_study(study_name="search", storage=storage).trials) == 3


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nothing", "Could not parse SQLAlchemy URL"),
        ("sqlite:////nowhere/at/all/search.db", "unable to open database file"),
        ("fancydb://me:secret@host/name", "Can't load plugin"),
    ],
)
def test_a_database_that_cannot_be_opened_is_told_without_its_password(
    tmp_path: Path, url: str, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        shared(tmp_path, database=url)
    [line] = caught.value.problems
    assert reason in line
    assert "in sweep.storage=" in line
    assert "secret" not in line
