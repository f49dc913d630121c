"""A search trains each of its trials once, ends the bad ones early, and survives being killed."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

import textmill.sweep  # noqa: F401 - imported once, for all forks
from tests.forks import Patch, in_fork, kill_self, on_call, start_fork, write_short_reviews
from textmill.cli import main
from textmill.model.checkpoints import AtomicCheckpointIO, PrunedError
from textmill.model.module import Classifier
from textmill.runs import Run
from textmill.search.study import Claim, SharedStudy

TRIALS = 30
EPOCHS = 4  # of one step each
SEARCH = """\
# @package _global_
defaults:
  - override /data: files
  - override /model: folder

data:
  train: reviews.csv
  max_length: 32
trainer:
  max_epochs: 4
  batch_size: 96
  checkpoint_steps: 1
tracking:
  log_steps: 1
sweep:
  name: tiny
  objectives: [validation/loss]
  space:
    optimizer.lr: {low: 1.0e-4, high: 1.0e-1, log: true}
    scheduler.shape: {choices: [linear, constant]}
    scheduler.warmup: {low: 0.0, high: 0.5, when: {scheduler.shape: linear}}
  startup_trials: 4
  pruning: {startup_trials: 2}
  trials: 30
"""


@pytest.fixture
def command(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A search over trainings of half a second, in the working folder."""
    monkeypatch.chdir(tmp_path)
    write_short_reviews(Path("reviews.csv"))
    Path("tiny.yaml").write_text(SEARCH)
    return ["sweep", "sweep=tiny.yaml", f"model.path={tiny_encoder}"]


def trials_in(runs: Path) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.JournalStorage(
        JournalFileBackend(str(runs / "sweeps" / "tiny" / "journal.log"))
    )
    return optuna.load_study(study_name="tiny", storage=storage).trials


def told(runs: Path) -> list[tuple[object, ...]]:
    return [
        (trial.number, trial.state.name, trial.params, trial.values, trial.intermediate_values)
        for trial in trials_in(runs)
    ]


def runs_by_trial(runs: Path) -> dict[int, Path]:
    """The run of each trial; there is no other folder."""
    folders = list(runs.glob("[0-9]*-[0-9]*-[0-9]*/*"))
    found = {Run(folder).read_manifest()["trial"]: folder for folder in folders}
    assert len(found) == len(folders)
    return found


def steps(run: Path) -> int:
    """How many optimizer steps a run made, by its own record of them."""
    lines = (run / "tracking" / "training.jsonl").read_text().splitlines()
    made = [json.loads(line)["step"] for line in lines]
    assert made == list(range(1, len(made) + 1))
    return len(made)


def table() -> list[dict[str, str]]:
    with Path("runs/sweeps/tiny/trials.csv").open() as file:
        return list(csv.DictReader(file))


KILLS: list[Patch] = [
    on_call(Classifier, "training_step", 2, kill_self),
    on_call(Claim, "note_run", 2, kill_self),
    on_call(Claim, "note_run", 1, kill_self, after=True),
    on_call(SharedStudy, "tell", 2, kill_self),
    on_call(SharedStudy, "tell", 2, kill_self, after=True),
    on_call(PrunedError, "__init__", 1, kill_self),
    on_call(Run, "close", 3, kill_self, after=True),
    on_call(AtomicCheckpointIO, "save_checkpoint", 4, kill_self, after=True),
    on_call(JournalFileBackend, "append_logs", 30, kill_self, after=True),
]


def test_a_search_killed_again_and_again_ends_as_one_that_was_not(command: list[str]) -> None:
    whole, killed = Path("whole"), Path("killed")
    few = 12
    assert in_fork([*command, f"runs_dir={whole}", f"sweep.trials={few}"]) == 0
    for kill in KILLS:
        assert in_fork([*command, f"runs_dir={killed}"], kill) == -signal.SIGKILL
    assert in_fork([*command, f"runs_dir={killed}"]) == 0

    trials = trials_in(killed)
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert all(trial.state.is_finished() for trial in trials)
    made = {number: steps(run) for number, run in runs_by_trial(killed).items()}
    assert sorted(made) == list(range(TRIALS))
    ended_early = [number for number, count in made.items() if count < EPOCHS]
    assert len(ended_early) >= TRIALS / 3
    states = {trial.number: trial.state.name for trial in trials}
    assert [states[number] for number in ended_early] == ["PRUNED"] * len(ended_early)

    assert told(killed)[:few] == told(whole)
    made_whole = {number: steps(run) for number, run in runs_by_trial(whole).items()}
    assert made_whole == {number: made[number] for number in range(few)}


@pytest.mark.parametrize("storage", ["null", "sqlite:///search.db"])
def test_two_workers_finish_a_search_although_one_is_killed(
    command: list[str], storage: str
) -> None:
    count = 4
    search = [*command, f"sweep.storage={storage}", f"sweep.trials={count}", "sweep.pruner=none"]
    # In its first trial: how many more a worker has is not sure.
    kill = on_call(Classifier, "training_step", 2, kill_self)
    workers = [start_fork(search, kill), start_fork(search)]
    for worker in workers:
        worker.join(180)
    assert [worker.exitcode for worker in workers] == [-signal.SIGKILL, 0]
    runs = runs_by_trial(Path("runs"))
    assert {number: steps(run) for number, run in runs.items()} == dict.fromkeys(
        range(count), EPOCHS
    )
    rows = table()
    assert [(int(row["trial"]), row["state"]) for row in rows] == [
        (number, "finished") for number in range(count)
    ]


def test_what_a_search_leaves_behind(command: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert in_fork([*command, "sweep.trials=6"]) == 0
    out = capfd.readouterr().out
    runs = runs_by_trial(Path("runs"))
    trials = trials_in(Path("runs"))
    [best] = [one for one in trials if one.values == [min(t.value for t in trials if t.value)]]
    assert sum(line.startswith("trial ") for line in out.splitlines()) == 6
    assert f"best     trial {best.number} | validation/loss" in out
    assert f"textmill predict {runs[best.number]}/model" in out
    assert Path("runs/latest").resolve() == runs[best.number].resolve()
    # The best trial's run is an ordinary run; of the others, what is large is gone.
    assert [number for number, run in runs.items() if (run / "model").exists()] == [best.number]
    assert not any((run / "checkpoints").exists() for run in runs.values())
    assert (runs[best.number] / "report.html").exists()
    states = Counter(Run(run).read_manifest()["state"] for run in runs.values())
    assert states["finished"] + states["pruned"] == 6
    folder = Path("runs/sweeps/tiny")
    rows = table()
    assert [float(row["optimizer.lr"]) for row in rows] == [
        one.params["optimizer.lr"] for one in trials
    ]
    assert [(folder / row["run"]).resolve() for row in rows] == [
        runs[number].resolve() for number in range(6)
    ]
    page = (folder / "report.html").read_text()
    assert f'{runs[best.number].name}/report.html">' in page
    # Other settings are refused; with a greater budget it goes on.
    before = told(Path("runs"))
    assert main([*command, "optimizer.eps=0.1", "sweep.seed=7", "sweep.trials=9"]) == 2
    error = capfd.readouterr().err
    assert "optimizer.eps was 1e-08 and is 0.1; sweep.seed was 0 and is 7, in" in error
    assert told(Path("runs")) == before
    assert in_fork(["sweep", "--join", str(folder), "sweep.trials=7"]) == 0
    assert len(runs_by_trial(Path("runs"))) == 7


def test_a_trial_that_fails_is_noted_and_the_others_go_on(
    command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    search = Path("tiny.yaml").read_text()
    Path("tiny.yaml").write_text(
        search.replace("  space:\n", "  space:\n    data.max_length: {choices: [32, 4096]}\n")
    )
    assert in_fork([*command, "sweep.trials=5", "sweep.sampler=random"]) == 0
    rows = table()
    failed = [row for row in rows if row["data.max_length"] == "4096"]
    assert 0 < len(failed) < 5
    assert all("64" in row["error"] and row["state"] == "failed" for row in failed)
    assert all(row["error"] == "" for row in rows if row not in failed)
    assert capfd.readouterr().out.count("| failed: ") == len(failed)


def test_a_search_of_which_nothing_works_is_stopped(
    command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert in_fork([*command, "data.max_length=4096"]) == 2
    assert "the first 3 trials have failed, the last because" in capfd.readouterr().err


def test_a_search_asked_to_stop_says_how_to_go_on_and_does(
    command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    def ask() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    stop = on_call(Classifier, "training_step", 6, ask)
    assert in_fork([*command, "sweep.trials=3"], stop) == 128 + signal.SIGTERM
    assert "go on with textmill sweep --join runs/sweeps/tiny" in capfd.readouterr().err
    states = [Run(run).read_manifest()["state"] for run in runs_by_trial(Path("runs")).values()]
    assert "interrupted" in states
    assert in_fork(["sweep", "--join", "runs/sweeps/tiny"]) == 0
    assert len(runs_by_trial(Path("runs"))) == 3
    assert all(trial.state.is_finished() for trial in trials_in(Path("runs")))


def test_quality_and_speed_together_have_several_bests(
    command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    both = "sweep.objectives=[validation/loss,latency_ms]"
    several = [both, "sweep.sampler=nsga2", "sweep.population=4", "sweep.pruner=none"]
    assert in_fork([*command, *several, "sweep.trials=6"]) == 0
    values = [trial.values for trial in trials_in(Path("runs"))]
    front = {
        number
        for number, (loss, latency) in enumerate(values)
        if not any(
            other[0] <= loss and other[1] <= latency and other != [loss, latency]
            for other in values
        )
    }
    out = capfd.readouterr().out
    told_best = {int(line.split()[2]) for line in out.splitlines() if line.startswith("best ")}
    assert told_best == front
    for number, run in runs_by_trial(Path("runs")).items():
        metrics = json.loads((run / "metrics.json").read_text())
        assert values[number] == [metrics["validation/loss"], metrics["latency_ms"]]
        assert (run / "model").exists() == (number in front)
