"""All combinations of values are trained once each, whatever happens to the process meanwhile."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import textmill.train  # noqa: F401 - imported once, for all forks
from tests.forks import Patch, in_fork, kill_self, on_call, write_short_reviews
from tests.integration.test_resume import assert_same_run
from textmill.cli import main
from textmill.combinations import Combination
from textmill.model.module import Classifier

STEPS = 6  # one epoch
SIX = ("optimizer.lr=0.03,0.01,0.003", "seed=1,2")
TWO = ("seed=1,2",)


@pytest.fixture
def command(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Trainings of a second each, with a checkpoint at every second step, in the working folder."""
    monkeypatch.chdir(tmp_path)
    write_short_reviews(Path("reviews.csv"))
    given = {
        "data": "files",
        "data.train": "reviews.csv",
        "data.max_length": 32,
        "model": "folder",
        "model.path": tiny_encoder,
        "trainer.max_epochs": 1,
        "trainer.batch_size": 16,
        "trainer.checkpoint_steps": 2,
        "baselines.enabled": "false",
        "tracking": "none",
        "tracking.report": "false",
        "tracking.explained": 0,
    }
    return ["train", "-m", *(f"{key}={value}" for key, value in given.items())]


def counting_steps(log: Path, patch: Patch | None = None) -> Patch:
    """A patch that writes a line for each step that is made, and patches more."""

    def both() -> None:
        original = Classifier.training_step

        def training_step(self: Classifier, *arguments: object) -> object:
            made = original(self, *arguments)  # type: ignore[arg-type]
            with log.open("a") as file:
                file.write("step\n")
            return made

        Classifier.training_step = training_step  # type: ignore[assignment, method-assign]
        if patch is not None:
            patch()

    return both


def runs_in(folder: Path) -> dict[str, Path]:
    """The run folders, finished or not, by the values that were tried in them."""
    runs = {}
    for run in folder.glob("[0-9]*-[0-9]*-[0-9]*/*"):
        overrides = yaml.safe_load((run / ".hydra" / "overrides.yaml").read_text())
        tried = [one for one in overrides if one.startswith(("optimizer.lr=", "seed="))]
        assert " ".join(tried) not in runs
        runs[" ".join(tried)] = run
    return runs


def manifest(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "manifest.json").read_text())
    return found


def results(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_multirun_killed_twice_trains_each_combination_once_and_to_the_same_weights(
    command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert in_fork([*command, *SIX, "runs_dir=reference"]) == 0
    log, folder = Path("steps"), Path("swept")
    sweep = [*command, *SIX, f"hydra.sweep.dir={folder}"]
    # In the second run, behind its first checkpoint; then in the fourth, a step after one.
    first = on_call(Classifier, "training_step", STEPS + 4, kill_self)
    assert in_fork(sweep, counting_steps(log, first)) == -signal.SIGKILL
    second = on_call(Classifier, "training_step", 4 + STEPS + 5, kill_self, after=True)
    assert in_fork(sweep, counting_steps(log, second)) == -signal.SIGKILL
    states = [manifest(run)["state"] for run in runs_in(Path("runs")).values()]
    assert sorted(states) == ["finished"] * 3 + ["running"]
    capfd.readouterr()
    assert in_fork(["train", f"resume={folder}"], counting_steps(log)) == 0

    runs, reference = runs_in(Path("runs")), runs_in(Path("reference"))
    assert len(runs) == 6
    assert runs.keys() == reference.keys()
    for values, run in runs.items():
        assert manifest(run)["state"] == "finished"
        assert manifest(run)["group"] == folder.name
        assert_same_run(run, reference[values])
    # At most the steps since the last checkpoint are made again.
    assert 6 * STEPS <= len(log.read_text().splitlines()) <= 6 * STEPS + 2
    captured = capfd.readouterr()
    assert "6 combinations, 3 of them finished" in captured.err
    assert captured.err.count(" goes on\n") == 1
    assert captured.err.count(" begins\n") == 2
    rows = results(folder)
    values = [float(row["validation/f1_macro"]) for row in rows]
    assert len(rows) == 6
    assert values == sorted(values, reverse=True)
    assert f"textmill predict {rows[0]['run']}/model" in captured.out


@pytest.mark.parametrize(
    ("method", "after"),
    [("begin", False), ("begin", True), ("end", False), ("announce", True)],
    ids=["run-without-record", "record-without-run", "run-finished", "nothing-begun"],
)
def test_a_kill_between_record_and_run_neither_loses_nor_doubles_a_run(
    command: list[str], method: str, after: bool
) -> None:
    log = Path("steps")
    sweep = [*command, *TWO, "hydra.sweep.dir=swept"]
    patch = on_call(Combination, method, 2, kill_self, after=after)
    assert in_fork(sweep, counting_steps(log, patch)) == -signal.SIGKILL
    for empty in Path("runs").glob("[0-9]*/*"):
        if not (empty / "config.yaml").exists() and method == "begin" and not after:
            empty.rmdir()  # no record can name it yet
    assert in_fork(sweep, counting_steps(log)) == 0
    assert sorted(runs_in(Path("runs"))) == ["seed=1", "seed=2"]
    assert len(log.read_text().splitlines()) == 2 * STEPS


def test_a_combination_that_fails_is_told_and_tried_again_while_the_others_go_on(
    command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RuntimeError("the device\nfell off")

    sweep = [*command, *TWO, "hydra.sweep.dir=swept"]
    assert in_fork(sweep, on_call(Classifier, "training_step", 4, fail)) == 1
    captured = capfd.readouterr()
    assert "seed=1 failed: RuntimeError: the device fell off" in captured.err
    assert captured.err.splitlines()[-1] == (
        "textmill: error: of 2 combinations, 1 are finished and 1 failed, in swept: "
        "textmill train resume=swept tries again"
    )
    finished, failed = results(Path("swept"))
    assert (finished["seed"], finished["state"], finished["error"]) == ("2", "finished", "")
    assert (failed["seed"], failed["state"]) == ("1", "failed")
    assert failed["error"] == "RuntimeError: the device fell off"
    [traceback] = Path("swept/combinations").glob("*.traceback.txt")
    assert 'raise RuntimeError("the device' in traceback.read_text()

    assert in_fork(sweep) == 0
    assert [row["state"] for row in results(Path("swept"))] == ["finished", "finished"]
    assert len(runs_in(Path("runs"))) == 2
    assert not list(Path("swept/combinations").glob("*.traceback.txt"))


def test_one_that_fails_before_it_has_a_run_is_begun_when_it_can_be(command: list[str]) -> None:
    Path("other.csv").write_text("text\n")
    sweep = [one for one in command if not one.startswith("data.train=")]
    sweep += ["data.train=other.csv,reviews.csv", "hydra.sweep.dir=swept"]
    assert in_fork(sweep) == 1
    assert [row["state"] for row in results(Path("swept"))] == ["finished", "failed"]
    Path("other.csv").write_text(Path("reviews.csv").read_text())
    assert in_fork(["train", "resume=swept"]) == 0
    assert [row["state"] for row in results(Path("swept"))] == ["finished", "finished"]


def test_all_that_is_wrong_in_any_combination_is_told_before_the_first_begins(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path.cwd().iterdir())
    wrong = ("optimizer.lr=0.1,-1", "seed=1,x", "resume=null,latest")
    assert main([*command, *wrong]) == 2
    lines = capsys.readouterr().err.splitlines()
    for words in ("optimizer.lr can't be -1", 'seed can\'t be "x"'):
        assert sum(words in line for line in lines) == 1, lines
    assert sum("resume=FOLDER" in line for line in lines) == 1, lines
    assert sorted(Path.cwd().iterdir()) == before


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_asked_to_stop_the_whole_multirun_stops_and_says_how_to_go_on(
    command: list[str], capfd: pytest.CaptureFixture[str], number: signal.Signals, status: int
) -> None:
    ask = on_call(Classifier, "training_step", 3, lambda: os.kill(os.getpid(), number))
    assert in_fork([*command, *TWO, "hydra.sweep.dir=swept"], ask) == status
    assert capfd.readouterr().err.splitlines()[-1] == (
        "textmill: error: interrupted, in swept: textmill train resume=swept goes on"
    )
    assert [manifest(run)["state"] for run in runs_in(Path("runs")).values()] == ["interrupted"]
    assert in_fork(["train", "resume=swept"]) == 0
    assert len(runs_in(Path("runs"))) == 2


def test_it_goes_on_from_any_working_folder_and_after_it_was_moved_with_its_project(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = on_call(Classifier, "training_step", 3, kill_self)
    assert in_fork([*command, *TWO], kill) == -signal.SIGKILL
    moved, elsewhere = tmp_path / "moved to", tmp_path / "elsewhere"
    moved.mkdir()
    elsewhere.mkdir()
    for path in list(tmp_path.iterdir()):
        if path not in (moved, elsewhere):
            path.rename(moved / path.name)
    monkeypatch.chdir(elsewhere)
    [folder] = (moved / "runs" / "multirun").iterdir()
    assert in_fork(["train", f'resume="{folder}"']) == 0
    states = [manifest(run)["state"] for run in runs_in(moved / "runs").values()]
    assert states == ["finished", "finished"]
    assert not list(elsewhere.iterdir())


def test_two_processes_on_one_folder_share_the_combinations(command: list[str]) -> None:
    log = Path("steps").absolute()
    sweep = [*command, *TWO, "optimizer.lr=0.01,0.02", "hydra.sweep.dir=swept"]

    def child() -> None:
        counting_steps(log)()
        os._exit(main(sweep))

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=child) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=240)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(runs_in(Path("runs"))) == 4
    assert len(log.read_text().splitlines()) == 4 * STEPS
    assert [row["state"] for row in results(Path("swept"))] == ["finished"] * 4


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "ray"])
def test_a_launcher_trains_four_runs_in_processes_of_their_own(
    command: list[str], launcher: str, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    grid = (*TWO, "optimizer.lr=0.01,0.02", f"hydra/launcher={launcher}", "hydra.sweep.dir=swept")
    assert in_fork([*command, *grid]) == 0
    captured = capfd.readouterr()
    assert captured.out.count("validation/f1_macro") == 1
    runs = runs_in(Path("runs"))
    assert sorted(manifest(run)["state"] for run in runs.values()) == ["finished"] * 4
    for run in runs.values():
        told = str(manifest(run)["command"]).split()
        assert told[0] == sys.argv[0]
        assert told[1] == "train"
    assert in_fork([*command, *grid]) == 0
    assert "4 combinations, 4 of them finished" in capfd.readouterr().err
    assert runs_in(Path("runs")) == runs


@pytest.mark.slow
def test_joblibs_processes_stop_when_their_parent_is_asked_to(
    command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    patch = stopped_when(lambda: len(list(Path("runs").glob("*/*/checkpoints/last.ckpt"))) == 2)
    given = [one for one in command if not one.startswith("trainer.max_epochs=")]
    longer = ("trainer.max_epochs=200", "seed=1,2,3,4")
    sweep = [*given, *longer, "hydra/launcher=joblib", "hydra.sweep.dir=swept"]
    assert in_fork(sweep, patch) == 143
    assert "textmill train resume=swept goes on" in capfd.readouterr().err
    states = [manifest(run)["state"] for run in runs_in(Path("runs")).values()]
    assert states == ["interrupted", "interrupted"]
    assert not list(Path("swept").glob(".stopping*"))


def stopped_when(happened: Callable[[], bool]) -> Patch:
    """A patch that has a process sent SIGTERM by a child of its own when something has happened."""

    def patch() -> None:
        parent = os.getpid()
        if os.fork() == 0:
            while not happened():
                signal.sigtimedwait([], 0.05)
            os.kill(parent, signal.SIGTERM)
            os._exit(0)

    return patch


@pytest.mark.slow
def test_each_run_may_take_two_devices(command: list[str]) -> None:
    # Lightning starts the second process as this one was started, so that a fork won't do.
    ddp = ("trainer.devices=2", "trainer.accelerator=cpu", "hydra.sweep.dir=swept")
    sweep = [sys.executable, "-m", "textmill", *command, *TWO, *ddp]
    result = subprocess.run(sweep, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    assert sorted(runs_in(Path("runs"))) == ["seed=1", "seed=2"]
    assert [row["state"] for row in results(Path("swept"))] == ["finished", "finished"]


def test_a_launcher_of_processes_refuses_runs_of_several(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    assert main([*command, *TWO, "trainer.devices=2", "hydra/launcher=joblib"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "trainer.devices=2" in line
    assert "hydra/launcher=joblib" in line
    assert not Path("runs").exists()


def test_other_verbs_do_not_go_to_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "-m", "bundle=a,b", "hydra/launcher=joblib"]) == 2
    assert "textmill: error: only textmill train" in capfd.readouterr().err
