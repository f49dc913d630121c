"""A run that is killed or stopped, wherever, resumes to the weights of one that was not.

The children are forks of this process, so that they need not import torch again, and kill
themselves with a real SIGKILL at an exact place.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

import textmill.train  # noqa: F401 - imported once, for all forks
from tests.forks import Patch, in_fork, kill_self, on_call, write_short_reviews
from textmill.model.checkpoints import AtomicCheckpointIO
from textmill.model.module import Classifier

STEPS = 18  # three epochs of six batches


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety-six short labelled texts."""
    return write_short_reviews(tmp_path_factory.mktemp("data") / "reviews.csv")


@pytest.fixture
def command(data: Path, tiny_encoder: Path, tmp_path: Path) -> list[str]:
    """A training of a few seconds with a checkpoint at every second step."""
    return [
        "train",
        "data=files",
        f"data.train={data}",
        "data.max_length=32",
        "model=folder",
        f"model.path={tiny_encoder}",
        f"runs_dir={tmp_path / 'runs'}",
        "trainer.max_epochs=3",
        "trainer.batch_size=16",
        "trainer.checkpoint_steps=2",
        "optimizer.lr=0.01",
        "baselines.enabled=false",
        "tracking=none",
        "tracking.report=false",
        "tracking.explained=0",
        "tracking.log_steps=4",
    ]


def in_folder(command: list[str], runs: Path) -> list[str]:
    """The command with another folder for its runs."""
    others = [argument for argument in command if not argument.startswith("runs_dir=")]
    return [*others, f"runs_dir={runs}"]


def the_run(runs: Path) -> Path:
    (manifest,) = runs.glob("*/*/manifest.json")
    return manifest.parent


def weights(run: Path) -> tuple[bytes, dict[str, torch.Tensor]]:
    """The shipped weights, and the last ones."""
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return (run / "model" / "model.safetensors").read_bytes(), last["state_dict"]


def assert_same_run(run: Path, reference: Path) -> None:
    shipped, last = weights(run)
    expected_shipped, expected_last = weights(reference)
    assert shipped == expected_shipped
    assert last.keys() == expected_last.keys()
    assert all(torch.equal(last[name], expected_last[name]) for name in last)
    assert (run / "history.jsonl").read_text() == (reference / "history.jsonl").read_text()
    assert record(run) == record(reference)
    assert files(run / "tracking") == files(reference / "tracking")
    first_passes = [np.load(folder / "tracking" / "first_pass.npy") for folder in (run, reference)]
    np.testing.assert_array_equal(*first_passes)


def record(run: Path) -> list[dict[str, float]]:
    """What was recorded of the training, but for what hangs on the clock and on the machine."""
    lines = (run / "tracking" / "training.jsonl").read_text().splitlines()
    return [
        {
            name: value
            for name, value in json.loads(line).items()
            if not name.startswith("seconds/") and not name.endswith(("_per_second", "_bytes"))
        }
        for line in lines
    ]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def resumed(command: list[str], run: Path) -> int:
    (runs,) = (argument for argument in command if argument.startswith("runs_dir="))
    return in_fork(["train", f"resume={run}", runs])


@pytest.fixture
def reference(command: list[str], tmp_path: Path) -> Callable[..., Path]:
    """Trains without an interruption."""

    def train(*overrides: str) -> Path:
        runs = tmp_path / "reference"
        assert in_fork([*in_folder(command, runs), *overrides]) == 0
        return the_run(runs)

    return train


def kill_and_resume(command: list[str], tmp_path: Path, patch: Patch) -> Path:
    assert in_fork(command, patch) == -signal.SIGKILL
    run = the_run(tmp_path / "runs")
    assert json.loads((run / "manifest.json").read_text())["state"] == "running"
    assert resumed(command, run) == 0
    assert json.loads((run / "manifest.json").read_text())["state"] == "finished"
    return run


def test_sigkill_at_a_dozen_random_steps_changes_nothing(
    command: list[str], tmp_path: Path, reference: Callable[..., Path]
) -> None:
    expected = reference()
    for step in sorted(random.Random(11).sample(range(1, STEPS + 1), 12)):
        runs = tmp_path / f"killed-at-{step}"
        killed = in_folder(command, runs)
        patch = on_call(Classifier, "training_step", step, kill_self, after=step % 2 == 0)
        assert in_fork(killed, patch) == -signal.SIGKILL
        assert resumed(killed, the_run(runs)) == 0
        assert_same_run(the_run(runs), expected)


@pytest.mark.parametrize(
    ("overrides", "owner", "method", "number"),
    [
        pytest.param(["trainer.workers=2"], Classifier, "training_step", 9, id="two-workers"),
        pytest.param(["trainer.accumulate=4"], Classifier, "training_step", 11, id="accumulation"),
        pytest.param([], Classifier, "validation_step", 2, id="validation"),
        pytest.param(["trainer.max_tokens=200"], Classifier, "training_step", 8, id="token-budget"),
        pytest.param(["trainer.max_steps=11"], Classifier, "training_step", 10, id="step-budget"),
        pytest.param(
            ["optimizer=adafactor"], Classifier, "training_step", 8, id="another-optimizer"
        ),
        pytest.param(["trainer.patience=1"], Classifier, "training_step", 9, id="early-stopping"),
        pytest.param(
            [], AtomicCheckpointIO, "save_checkpoint", 4, id="between-checkpoint-and-next-step"
        ),
    ],
)
def test_sigkill_anywhere_changes_nothing(
    command: list[str],
    tmp_path: Path,
    reference: Callable[..., Path],
    overrides: list[str],
    owner: type,
    method: str,
    number: int,
) -> None:
    patch = on_call(owner, method, number, kill_self)
    run = kill_and_resume([*command, *overrides], tmp_path, patch)
    assert_same_run(run, reference(*overrides))


def test_several_validations_in_an_epoch_are_resumed_and_patience_counts_them(
    command: list[str], tmp_path: Path, reference: Callable[..., Path]
) -> None:
    overrides = ["trainer.validations=3", "trainer.patience=2"]
    patch = on_call(Classifier, "training_step", 5, kill_self)
    run = kill_and_resume([*command, *overrides], tmp_path, patch)
    assert_same_run(run, reference(*overrides))
    lines = (run / "history.jsonl").read_text().splitlines()
    history = [json.loads(line) for line in lines]
    scores = [validation["f1_macro"] for validation in history]
    assert [validation["step"] for validation in history] == [2 * n + 2 for n in range(len(scores))]
    assert 2 < len(scores) < STEPS // 2, "the run is meant to stop before its end"
    assert max(scores[:-2]) >= max(scores[-2:])


def test_sigkill_in_the_middle_of_writing_a_checkpoint_leaves_the_one_before(
    command: list[str], tmp_path: Path, reference: Callable[..., Path]
) -> None:
    def patch() -> None:
        save = torch.save
        calls = 0

        def half(checkpoint: object, file: BinaryIO) -> None:
            nonlocal calls
            calls += 1
            save(checkpoint, file)
            if calls == 3:
                file.truncate(1000)
                kill_self()

        torch.save = half  # type: ignore[assignment]

    assert_same_run(kill_and_resume(command, tmp_path, patch), reference())


def test_a_run_killed_again_and_again_still_ends_the_same(
    command: list[str], tmp_path: Path, reference: Callable[..., Path]
) -> None:
    assert in_fork(command, on_call(Classifier, "training_step", 5, kill_self)) == -signal.SIGKILL
    run = the_run(tmp_path / "runs")
    for step in (4, 3, 6):
        patch = on_call(Classifier, "training_step", step, kill_self)
        assert in_fork(["train", f"resume={run}"], patch) == -signal.SIGKILL
    assert resumed(command, run) == 0
    assert_same_run(run, reference())


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
@pytest.mark.parametrize(
    ("method", "call"),
    [("training_step", 5), ("training_step", 6), ("validation_step", 1), ("training_step", STEPS)],
    ids=["middle-of-epoch", "last-batch-of-epoch", "validation", "last-batch-of-all"],
)
def test_a_run_asked_to_stop_says_how_to_go_on_and_does(
    command: list[str],
    tmp_path: Path,
    reference: Callable[..., Path],
    number: signal.Signals,
    status: int,
    method: str,
    call: int,
) -> None:
    def ask() -> None:
        os.kill(os.getpid(), number)

    stopped = in_fork(command, on_call(Classifier, method, call, ask))
    run = the_run(tmp_path / "runs")
    state = json.loads((run / "manifest.json").read_text())["state"]
    assert (stopped, state) == (status, "interrupted")
    assert resumed(command, run) == 0
    assert_same_run(run, reference())


@pytest.mark.parametrize("batch", [5, 6, STEPS - 1])
def test_a_sigterm_between_two_batches_stops_it_as_well(
    command: list[str], tmp_path: Path, reference: Callable[..., Path], batch: int
) -> None:
    ask = on_call(
        _TrainingEpochLoop, "on_advance_end", batch, lambda: os.kill(os.getpid(), signal.SIGTERM)
    )
    assert in_fork(command, ask) == 143
    run = the_run(tmp_path / "runs")
    assert json.loads((run / "manifest.json").read_text())["state"] == "interrupted"
    assert resumed(command, run) == 0
    assert_same_run(run, reference())
