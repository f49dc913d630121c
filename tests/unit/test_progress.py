"""Progress is a bar on a terminal and plain lines in a log."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from textmill.model import progress
from textmill.model.progress import Bar, Lines, ShowProgress


def trainer(**changes: Any) -> Any:  # noqa: ANN401
    state: dict[str, Any] = {
        "is_global_zero": True,
        "world_size": 2,
        "accumulate_grad_batches": 4,
        "global_step": 3,
        "callback_metrics": {
            "validation/f1_macro": torch.tensor(0.5),
            "validation/loss": torch.tensor(0.25),
        },
    }
    return SimpleNamespace(**{**state, **changes})


def shown_after(batches: int, monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Runs the callback through some batches, a second apart."""
    seconds = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr(Lines, "interval", 0.0)
    callback = ShowProgress(total=10, done=0, monitor="f1_macro")
    module: Any = None
    callback.on_train_start(trainer(**changes), module)
    outputs = {"loss": torch.tensor(0.125)}
    for number in range(batches):
        callback.on_train_batch_end(
            trainer(**changes), module, outputs, {"labels": torch.zeros(8)}, number
        )
    callback.on_validation_end(trainer(**changes), module)
    callback.teardown(trainer(**changes), module, "fit")


def test_a_log_gets_lines_with_loss_speed_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown_after(2, monkeypatch)
    first, second, validation = capsys.readouterr().err.splitlines()
    # The loss of a batch is divided by the batches that are accumulated; it is shown whole.
    assert first.startswith("batch 1/10  loss 0.500  ")
    assert "examples/s" in first
    assert "s left" in first
    assert second.startswith("batch 2/10")
    assert validation == "validation after 3 steps: f1_macro 0.5000, loss 0.2500"


def test_only_the_first_process_shows_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown_after(2, monkeypatch, is_global_zero=False)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_that_leaves_no_trace_but_its_lines() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    bar = Bar(total=10, done=4, console=console)
    bar.update(6, loss=0.25, speed=120.0)
    bar.say("validation [bold]not markup[/bold]")
    bar.close()
    shown = screen.getvalue()
    assert "6/10 batches" in shown
    assert "loss 0.250" in shown
    assert "120 examples/s" in shown
    assert "[bold]not markup[/bold]" in shown
