"""How training goes: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Display(Protocol):
    """Shows how far training is."""

    def update(self, done: int, loss: float, speed: float) -> None:
        """Shows batches done, the loss, and examples per second."""

    def say(self, line: str) -> None:
        """Shows a line that stays."""

    def close(self) -> None:
        """Leaves the terminal as it was."""


class Bar:
    """A progress bar.

    Args:
        total: Batches of the whole training.
        done: Batches already done.
        console: The terminal.
    """

    interval = 0.25

    def __init__(self, total: int, done: int, console: Console) -> None:
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} batches"),
            TextColumn("loss {task.fields[loss]:.3f}  {task.fields[speed]:.0f} examples/s"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=total, completed=done, loss=0.0, speed=0.0)
        self._progress.start()

    def update(self, done: int, loss: float, speed: float) -> None:
        """Moves the bar."""
        self._progress.update(self._task, completed=done, loss=loss, speed=speed)

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        self._progress.console.print(line, highlight=False, markup=False)

    def close(self) -> None:
        """Removes the bar."""
        self._progress.stop()


class Lines:
    """A line now and then, for a log.

    Args:
        total: Batches of the whole training.
        done: Batches already done.
    """

    interval = 15.0

    def __init__(self, total: int, done: int) -> None:
        self._total = total
        self._first = done
        self._started = time.monotonic()

    def update(self, done: int, loss: float, speed: float) -> None:
        """Prints how far training is and how long it will take."""
        rate = (done - self._first) / max(1e-9, time.monotonic() - self._started)
        left = (self._total - done) / rate
        self.say(
            f"batch {done}/{self._total}  loss {loss:.3f}  "
            f"{speed:.0f} examples/s  {left:.0f} s left"
        )

    def say(self, line: str) -> None:
        """Prints a line."""
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is left open."""


class ShowProgress(L.Callback):
    """Shows loss, speed and time left while training, and each validation's result.

    Args:
        total: Batches of the whole training.
        done: Batches already done.
        monitor: The validation metric to show, without its ``validation/``.
    """

    def __init__(self, total: int, done: int, monitor: str) -> None:
        self._total = total
        self._done = done
        self._monitor = monitor
        self._display: Display | None = None
        self._interval = 0.0
        self._shown_at = 0.0
        self._examples = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Opens the display on the first process."""
        if not trainer.is_global_zero:
            return
        console = Console(stderr=True)
        display = Bar(self._total, self._done, console) if console.is_terminal else None
        self._display = display or Lines(self._total, self._done)
        self._interval = Bar.interval if display else Lines.interval
        self._shown_at = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Shows the state of training, if it is time to."""
        self._examples += len(batch["labels"]) * trainer.world_size
        now = time.monotonic()
        if self._display is None or now - self._shown_at < self._interval:
            return
        # Reading the loss waits for the device, which is why it is read only when shown.
        loss = float(outputs["loss"]) * trainer.accumulate_grad_batches
        self._display.update(batch_idx + 1, loss, self._examples / (now - self._shown_at))
        self._examples = 0
        self._shown_at = now

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Shows the result of a validation."""
        if self._display is None:
            return
        metrics = trainer.callback_metrics
        value, loss = (float(metrics[f"validation/{name}"]) for name in (self._monitor, "loss"))
        self._display.say(
            f"validation after {trainer.global_step} steps: "
            f"{self._monitor} {value:.4f}, loss {loss:.4f}"
        )
        self._shown_at = time.monotonic()
        self._examples = 0

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Closes the display, whatever ended the training."""
        if self._display is not None:
            self._display.close()
            self._display = None
