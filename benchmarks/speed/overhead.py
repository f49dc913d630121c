"""Measures what a training step of Textmill's takes outside forward, backward and optimizer."""

from __future__ import annotations

import time
from functools import wraps
from typing import Any

import lightning as L
from torch import Tensor
from torch.optim import Optimizer

from benchmarks.speed.clock import StepClock
from benchmarks.speed.job import Job
from benchmarks.speed.machine import wait_for_device
from benchmarks.speed.own import TimedError, watch_training
from benchmarks.speed.results import Parts


def measure_parts(job: Job) -> Parts:
    """Where the time of the default training's steps goes."""
    stopwatch = Stopwatch(StepClock(job.facts.warm_up, job.facts.steps))
    watch_training(job, (), stopwatch)
    return stopwatch.parts()


class Stopwatch(L.Callback):
    """Measures the parts of the steps that a clock times.

    Forward is the module's step, which ends with the loss; backward is autograd's; optimizer is
    clipping and the update. On a GPU each part is waited for, so that less overlaps than otherwise.

    Args:
        clock: The clock, which also says when the training ends.
    """

    def __init__(self, clock: StepClock) -> None:
        self._clock = clock
        self._seconds = {"forward": 0.0, "backward": 0.0, "optimizer": 0.0}
        self._begun = 0.0
        self._hooked = False

    def parts(self) -> Parts:
        """The parts, and the whole, of all timed steps."""
        return Parts(**self._seconds, whole=self._clock.seconds)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Puts a watch around the module's step."""
        step = pl_module.training_step

        @wraps(step)
        def watched(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - Lightning's own
            self._begin()
            output = step(*arguments, **named)
            self._end("forward")
            return output

        pl_module.training_step = watched  # type: ignore[method-assign]

    def on_before_backward(
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: L.LightningModule,  # noqa: ARG002
        loss: Tensor,  # noqa: ARG002
    ) -> None:
        """Begins backward."""
        self._begin()

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Ends backward."""
        self._end("backward")

    def on_before_optimizer_step(
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: L.LightningModule,  # noqa: ARG002
        optimizer: Optimizer,
    ) -> None:
        """Begins optimizer, which the optimizer itself ends."""
        if not self._hooked:
            self._hooked = True
            optimizer.register_step_post_hook(lambda *_: self._end("optimizer"))
        self._begin()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ANN401, ARG002
        batch: dict[str, Tensor],  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Forgets the warm-up, and ends the training behind the last step."""
        self._clock.step_ended()
        if self._clock.warmed_up:
            self._seconds = dict.fromkeys(self._seconds, 0.0)
        if self._clock.finished:
            raise TimedError

    def _begin(self) -> None:
        wait_for_device()
        self._begun = time.perf_counter()

    def _end(self, part: str) -> None:
        wait_for_device()
        self._seconds[part] += time.perf_counter() - self._begun
