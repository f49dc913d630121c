"""Textmill as a contestant: its training as ``textmill train`` does it, watched from inside."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from torch import Tensor

from benchmarks.speed.clock import StepClock
from benchmarks.speed.job import SEED, Job
from benchmarks.speed.results import Trained
from textmill.configuration.composing import Composed, check, compose
from textmill.configuration.overrides import override_of
from textmill.configuration.schema import TrainConfig
from textmill.training import Settings, train

PRECISIONS = {"32-true": "float32", "bf16-mixed": "bfloat16", "16-mixed": "float16"}
# Nothing but the training: the others have nothing beside it either.
BARE = (
    "tracking=none",
    "tracking.report=false",
    "tracking.explained=0",
    "baselines.enabled=false",
    "trainer.checkpoint_minutes=1440",
)


class TimedError(Exception):
    """What was to be timed is done, and the training may end."""


def composed_training(overrides: Sequence[str]) -> Composed[TrainConfig]:
    """The configuration of ``textmill train`` with some overrides."""
    return check(compose(overrides, "train").cfg, TrainConfig, overrides)


def train_by_default(job: Job) -> Trained:
    """Textmill with its defaults for the model."""
    return _train(job, ())


def train_all_weights(job: Job) -> Trained:
    """Textmill training what Trainer trains, with as much dropout."""
    return _train(job, ("model.freeze=none", "model.attention_dropout=null"))


def watch_training(job: Job, overrides: Sequence[str], observer: L.Callback) -> None:
    """Trains until the observer ends it with a `TimedError`."""
    # In the job's own folder, so that what is made for it does not stay in the user's cache.
    os.environ["TEXTMILL_CACHE"] = str(job.folder.parent / "cache")
    with tempfile.TemporaryDirectory(dir=job.folder) as runs:
        composed = composed_training([*_overrides(job), *overrides, override_of("runs_dir", runs)])
        with contextlib.suppress(TimedError):
            train(composed, Settings(observers=[observer], told=False))


def train_bundle(overrides: Sequence[str], folder: Path) -> Path:
    """Trains a whole run in a folder; returns its bundle."""
    composed = composed_training([*overrides, *BARE, override_of("runs_dir", str(folder))])
    return train(composed, Settings(told=False)).bundle


class Timing(L.Callback):
    """Tells a clock of each step, counts tokens, and ends the training when the clock is done.

    Args:
        clock: The clock.

    Attributes:
        batch_tokens: Tokens of each batch, without padding.
        precision: What was computed in.
    """

    def __init__(self, clock: StepClock) -> None:
        self.batch_tokens: list[Tensor] = []
        self.precision = ""
        self._clock = clock

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ANN401, ARG002
        batch: dict[str, Tensor],
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Counts a batch, which is a step."""
        self.precision = PRECISIONS[str(trainer.precision)]
        self.batch_tokens.append(batch["attention_mask"].sum())
        self._clock.step_ended()
        if self._clock.finished:
            raise TimedError


def _train(job: Job, overrides: Sequence[str]) -> Trained:
    clock = StepClock(job.facts.warm_up, job.facts.steps)
    timing = Timing(clock)
    watch_training(job, overrides, timing)
    return clock.read(timing.batch_tokens, timing.precision)


def _overrides(job: Job) -> list[str]:
    material, facts = job.material, job.facts
    return [
        "data=files",
        override_of("data.train", str(material.train)),
        override_of("data.validation", str(material.validation)),
        "data.split.test=0",
        f"data.max_length={facts.max_length}",
        f"model={job.model}",
        override_of("model.path", str(material.encoder)),
        f"trainer.batch_size={facts.batch_size}",
        f"trainer.max_steps={job.total_steps}",
        f"seed={SEED}",
        *BARE,
    ]
