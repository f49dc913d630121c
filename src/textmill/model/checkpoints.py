"""What a run can be resumed from: when checkpoints are written, and what is in them."""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import lightning as L
import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from textmill.errors import InputError, TextmillError
from textmill.safe_write import replace_file, write_text


class StoppedError(TextmillError):
    """The run was asked to stop, and can be resumed."""

    def __init__(self, signal_number: int, where: str, hint: str) -> None:
        super().__init__("interrupted", where=where, hint=hint)
        self.signal_number = signal_number
        self.exit_status = 128 + signal_number


class PrunedError(TextmillError):
    """A search has ended the run before its time, because others do better."""


class StopRequest:
    """Notes a Ctrl-C or SIGTERM, so that training stops behind a whole batch.

    A second Ctrl-C stops at once.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._previous = {number: signal.getsignal(number) for number in self._NUMBERS}
        self.listen()
        return self

    def listen(self) -> None:
        """Takes the signals from whom else has them.

        Lightning's own handler ends a training at places where the last checkpoint is an old one.
        """
        for number in self._NUMBERS:
            signal.signal(number, self._note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number


@dataclass(frozen=True, slots=True)
class Plan:
    """Where in the stream of batches what happens.

    Args:
        validate_at: Batches done at each validation; the last is the end of training.
        accumulate: Batches per optimizer step.
        every_steps: Optimizer steps between checkpoints; None goes by time.
        every_seconds: Time between checkpoints.
    """

    validate_at: tuple[int, ...]
    accumulate: int
    every_steps: int | None
    every_seconds: float

    @property
    def total_batches(self) -> int:
        """Batches of the whole training on each process."""
        return self.validate_at[-1]

    def next_validation(self, batches_done: int) -> int:
        """The first validation behind a position; behind the last one, the last."""
        return next((at for at in self.validate_at if at > batches_done), self.total_batches)


class Checkpoints(L.Callback):
    """Writes ``last.ckpt``, ``best.ckpt`` and the history of validations.

    ``last.ckpt`` is only ever written behind a whole optimizer step, or behind the validation that
    follows it, never between the two: a resumed run then neither skips nor repeats anything. A run
    killed at any other moment goes on from the checkpoint before, and computes the same again.

    Args:
        last: Path of what resuming needs.
        best: Path of the weights with the best value of the monitored metric.
        history: Path of the validations' metrics, one JSON object a line.
        monitor: The validation metric that decides, without its ``validation/``.
        maximize: Whether greater is better.
        plan: When to validate and to write.
        stop: Whether somebody asks to stop.
    """

    def __init__(
        self,
        last: Path,
        best: Path,
        history: Path,
        monitor: str,
        *,
        maximize: bool,
        plan: Plan,
        stop: StopRequest,
    ) -> None:
        self.last = last
        self.best = best
        self.history_path = history
        self.monitor = monitor
        self.maximize = maximize
        self.plan = plan
        self.stop = stop
        self.batches_done = 0
        self.finished = False
        self.validations: list[dict[str, float]] = []
        self.examples = 0
        self.training_seconds = 0.0
        self.validation_seconds = 0.0
        self._clock = time.monotonic()
        self._saved_at = self._clock

    def state_dict(self) -> dict[str, Any]:
        """The position in the stream of batches, the history, and the time it took."""
        return {
            "batches_done": self.batches_done,
            "finished": self.finished,
            "validations": self.validations,
            "examples": self.examples,
            "training_seconds": self.training_seconds,
            "validation_seconds": self.validation_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over from a checkpoint."""
        self.batches_done = state_dict["batches_done"]
        self.finished = state_dict["finished"]
        self.validations = list(state_dict["validations"])
        self.examples = state_dict["examples"]
        self.training_seconds = state_dict["training_seconds"]
        self.validation_seconds = state_dict["validation_seconds"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Tells the trainer where to validate next, and minds the signals."""
        self.stop.listen()
        trainer.val_check_batch = self.plan.next_validation(self.batches_done)
        self._lap()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ANN401, ARG002
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Writes a checkpoint when one is due or somebody asks to stop."""
        self.batches_done = batch_idx + 1
        self.examples += len(batch["labels"]) * trainer.world_size
        self.training_seconds += self._lap()
        if self.batches_done in self.plan.validate_at or self.batches_done % self.plan.accumulate:
            return
        stopping = self._is_stopping(trainer)
        if stopping or self._is_due(trainer):
            self._save_last(trainer)
        if stopping:
            self._raise_stopped()

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ANN401, ARG002
        batch: Any,  # noqa: ANN401, ARG002
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Stops at once when somebody asks to: the checkpoint before has all that is needed."""
        if trainer.world_size == 1 and self.stop.signal_number is not None:
            self._raise_stopped()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Records the metrics, keeps the weights if they are the best, writes the checkpoint."""
        self.validation_seconds += self._lap()
        metrics = {
            name.removeprefix("validation/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("validation/")
        }
        if self.monitor not in metrics:
            raise InputError(
                f"{self.monitor} is undefined on the validation split",
                where="trainer.monitor",
                hint="choose another metric, or a split with examples of every label",
            )
        self.validations.append({"step": trainer.global_step, **metrics})
        if self._is_best():
            trainer.save_checkpoint(self.best, weights_only=True)
        self.finished = trainer.should_stop or self.batches_done == self.plan.total_batches
        if trainer.is_global_zero:
            lines = (json.dumps(validation) + "\n" for validation in self.validations)
            write_text(self.history_path, "".join(lines))
        self._save_last(trainer)
        trainer.val_check_batch = self.plan.next_validation(self.batches_done)
        if self._is_stopping(trainer) and not self.finished:
            self._raise_stopped()

    @property
    def best_step(self) -> int:
        """The optimizer step of the best validation; the first of equals."""
        choose = max if self.maximize else min
        best = choose(self.validations, key=lambda validation: validation[self.monitor])
        return int(best["step"])

    def _lap(self) -> float:
        """Seconds since the last lap."""
        before, self._clock = self._clock, time.monotonic()
        return self._clock - before

    def _is_best(self) -> bool:
        return self.best_step == self.validations[-1]["step"]

    def _is_due(self, trainer: L.Trainer) -> bool:
        if self.plan.every_steps is not None:
            return trainer.global_step % self.plan.every_steps == 0
        due = time.monotonic() - self._saved_at >= self.plan.every_seconds
        return trainer.strategy.reduce_boolean_decision(due, all=False)

    def _is_stopping(self, trainer: L.Trainer) -> bool:
        asked = self.stop.signal_number is not None
        return trainer.strategy.reduce_boolean_decision(asked, all=False)

    def _save_last(self, trainer: L.Trainer) -> None:
        trainer.save_checkpoint(self.last)
        self._saved_at = time.monotonic()

    def _raise_stopped(self) -> None:
        folder = self.last.parent.parent
        raise StoppedError(
            self.stop.signal_number or signal.SIGTERM,
            where=f"{folder} after {self.batches_done} of {self.plan.total_batches} batches",
            hint=f"go on with textmill train resume={folder}",
        )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, and reads them without pickle."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,  # noqa: ANN401, ARG002
    ) -> None:
        """Writes a checkpoint."""
        # A file of Python's, for torch's own neither tells why it failed nor is closed then.
        with replace_file(Path(path)) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any | None = None,  # noqa: ANN401
        weights_only: bool | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Reads a checkpoint.

        Raises:
            InputError: As `read_checkpoint`.
        """
        return read_checkpoint(Path(path), map_location or "cpu")


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:  # noqa: ANN401
    """Reads a checkpoint; tensors and plain containers only.

    Raises:
        InputError: The file is missing, broken, or holds other objects.
    """
    try:
        return dict(torch.load(path, map_location=map_location, weights_only=True))
    except FileNotFoundError as error:
        raise InputError("there is no checkpoint", where=str(path)) from error
    except Exception as error:  # torch raises many kinds for a broken file
        raise _broken(path) from error


def _broken(path: Path) -> InputError:
    return InputError(
        "the checkpoint can't be read",
        where=str(path),
        hint="it is broken; delete it and resume again, which starts the training anew",
    )


def resume_state(last: Path) -> dict[str, Any]:
    """The state of `Checkpoints` in a checkpoint.

    Raises:
        InputError: As `read_checkpoint`.
    """
    try:
        state: dict[str, Any] = read_checkpoint(last)["callbacks"]["Checkpoints"]
    except (KeyError, TypeError) as error:
        raise _broken(last) from error
    return state


def validation_points(
    epoch_ends: Sequence[int], total_batches: int, *, accumulate: int, validations: int
) -> tuple[int, ...]:
    """Batches done at each validation: evenly spaced in each epoch, and at the end of training.

    Args:
        epoch_ends: Batches done at the end of each epoch, and of an optimizer step.
        total_batches: Batches of the whole training.
        accumulate: Batches per optimizer step; a validation is only ever behind a whole step.
        validations: In each epoch, the one at its end included; in an epoch of fewer steps, one
            behind each.
    """
    points = {total_batches}
    for start, end in itertools.pairwise([0, *epoch_ends]):
        steps = (end - start) // accumulate
        turns = range(1, validations + 1)
        points.update(start + accumulate * -(-steps * turn // validations) for turn in turns)
    return tuple(sorted(point for point in points if point <= total_batches))
