"""One training: the network, the batches and Lightning's Trainer put together."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import nn
from torch.utils.data import DataLoader

from textmill.data.batches import Collator, LengthGroupedBatchSampler, make_loader
from textmill.data.stream import BatchStream, epoch_ends
from textmill.data.tokens import TokenizedSplit
from textmill.encoding import Padding
from textmill.environment import has_bfloat16, usable_cores
from textmill.errors import InputError
from textmill.labels import Labels
from textmill.model.checkpoints import (
    AtomicCheckpointIO,
    Checkpoints,
    Plan,
    StopRequest,
    read_checkpoint,
    resume_state,
    validation_points,
)
from textmill.model.losses import ClassificationLoss
from textmill.model.metric_names import monitor_mode
from textmill.model.module import Batch, Classifier
from textmill.model.on_processor import tuned_for_processor
from textmill.model.optimizers import Optimization
from textmill.model.progress import ShowProgress


@dataclass(frozen=True, slots=True)
class Budget:
    """How long and in what portions is trained.

    Args:
        max_epochs: Passes over the training examples.
        max_steps: Optimizer steps; where given, instead of ``max_epochs``.
        batch_size: Examples per batch and process.
        max_tokens: Tokens per batch and process, padding included; instead of ``batch_size``.
        window: Batches whose examples are sorted by length together.
        accumulate: Batches per optimizer step.
        validations: Validations in each epoch, evenly spaced, the last at its end.
        patience: Validations without a better value before training stops; None never stops.
    """

    max_epochs: int
    max_steps: int | None
    batch_size: int
    max_tokens: int | None
    window: int
    accumulate: int
    validations: int
    patience: int | None


@dataclass(frozen=True, slots=True)
class Hardware:
    """What is trained on.

    Args:
        accelerator: ``auto``, ``cpu``, ``gpu`` or ``mps``.
        devices: Processes, one on each device; on a CPU they share the cores.
        strategy: ``ddp`` has a copy of the network on each device, ``fsdp`` shares one out over
            them; ``auto`` is ``ddp`` for several.
        precision: One of Lightning's, or ``auto``.
        workers: Processes that read and pad batches, for each training process.
        threads: Processor threads of each training process; None takes the cores that it may use,
            which several processes share.
    """

    accelerator: str
    devices: int
    strategy: Literal["auto", "ddp", "fsdp"]
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    workers: int
    threads: int | None = None

    @property
    def resolved_precision(self) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
        """The precision; ``auto`` is bfloat16 where the hardware computes it, else float32."""
        if self.precision != "auto":
            return self.precision
        return "bf16-mixed" if has_bfloat16() else "32-true"

    @property
    def resolved_threads(self) -> int:
        """The threads of each process.

        A container may be allowed fewer cores than the machine has, which torch doesn't ask about.
        """
        if self.threads is not None:
            return self.threads
        return max(1, min(torch.get_num_threads(), usable_cores() // self.devices))

    @property
    def on_processor(self) -> bool:
        """Whether nothing but the CPU computes."""
        return self._available == 0

    @property
    def _available(self) -> int:
        """How many accelerators there are of the kind that is asked for."""
        cuda = torch.cuda.device_count()
        mps = int(torch.backends.mps.is_available())
        present = {"gpu": cuda, "mps": mps, "auto": cuda or mps}
        return present.get(self.accelerator, 0)

    def check(self) -> None:
        """Makes sure that the machine has the devices asked for.

        Raises:
            InputError: It hasn't.
        """
        available = self._available
        if self.accelerator in ("gpu", "mps") and available == 0:
            raise InputError(
                f"this machine has no {self.accelerator}",
                where=f"trainer.accelerator={self.accelerator}",
                hint="set trainer.accelerator=auto",
            )
        if available and self.devices > available:
            raise InputError(
                f"{self.devices} devices are asked for, and there are {available}",
                where=f"trainer.devices={self.devices}",
                hint=f"set trainer.devices={available}",
            )
        if self.precision == "16-mixed" and self.accelerator == "auto" and not available:
            raise InputError(
                "half precision needs a GPU, and this machine has none",
                where=f"trainer.precision={self.precision}",
                hint="set trainer.precision=auto",
            )


@dataclass(frozen=True, slots=True)
class Saving:
    """Where and how often the state of training is written.

    Args:
        last: Path of what resuming needs.
        best: Path of the weights with the best value of the monitored metric.
        history: Path of the validations' metrics.
        monitor: The metric that decides which weights are the best.
        every_steps: Optimizer steps between checkpoints; None goes by time.
        every_seconds: Time between checkpoints.
    """

    last: Path
    best: Path
    history: Path
    monitor: str
    every_steps: int | None
    every_seconds: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a training went.

    Args:
        steps: Optimizer steps made.
        best_step: The step with the best validation, whose weights the network has now.
        seconds: How long that took, in all the processes that the run was stopped and resumed in.
        examples_per_second: Training examples, without the time of validation.
    """

    steps: int
    best_step: int
    seconds: float
    examples_per_second: float


def fit(
    network: nn.Module,
    loss: ClassificationLoss,
    labels: Labels,
    train: TokenizedSplit,
    validation: TokenizedSplit,
    padding: Padding,
    *,
    optimization: Optimization,
    budget: Budget,
    hardware: Hardware,
    saving: Saving,
    seed: int,
    observers: Sequence[L.Callback] = (),
) -> Fitted:
    """Trains the network, from the last checkpoint if there is one, and gives it its best weights.

    Args:
        network: The network.
        loss: The loss.
        labels: The label set.
        train: The training split.
        validation: The validation split.
        padding: How batches are padded.
        optimization: Optimizer and schedule.
        budget: How long is trained.
        hardware: What is trained on.
        saving: What is written, and where.
        seed: Of batch order and dropout.
        observers: Callbacks that watch and change nothing; each checkpoint has their state.

    Raises:
        InputError: The last checkpoint is broken.
        StoppedError: Somebody asked to stop; the last checkpoint is written.
    """
    state = resume_state(saving.last) if saving.last.exists() else None
    done = state["batches_done"] if state else 0
    sampler = _train_sampler(train, budget, hardware, seed)
    plan = _plan(sampler, budget, saving)
    # Pretrained networks come without dropout, set to evaluate.
    network.train()
    total_steps = plan.total_batches // budget.accumulate
    module = Classifier(network, loss, labels, optimization, total_steps, seed)
    collator = Collator(padding, labels)
    with (
        StopRequest() as stop,
        _quiet_lightning(),
        _same_threads(),
        _tuned(network, hardware, train),
    ):
        checkpoints = _checkpoints(labels, plan, saving, stop)
        if state is not None and state["finished"]:
            checkpoints.load_state_dict(state)
        else:
            stream = BatchStream(sampler, plan.total_batches, done)
            _trainer(checkpoints, observers, done, labels, optimization, budget, hardware).fit(
                module,
                make_loader(train, stream, collator, workers=hardware.workers),
                _validation_loader(validation, collator, budget, hardware),
                ckpt_path=None if state is None else saving.last,
                weights_only=True,
            )
    network.load_state_dict(_best_weights(saving))
    return _fitted(checkpoints)


def _fitted(checkpoints: Checkpoints) -> Fitted:
    return Fitted(
        steps=int(checkpoints.validations[-1]["step"]),
        best_step=checkpoints.best_step,
        seconds=checkpoints.training_seconds + checkpoints.validation_seconds,
        examples_per_second=checkpoints.examples / checkpoints.training_seconds,
    )


def process_rank() -> int:
    """The number of this process among those that train together; 0 starts the others."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0)


def _best_weights(saving: Saving) -> dict[str, torch.Tensor]:
    prefix = "network."
    state = read_checkpoint(saving.best)["state_dict"]
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def _world_size(devices: int) -> int:
    return int(os.environ.get("WORLD_SIZE") or devices)


def _plan(sampler: LengthGroupedBatchSampler, budget: Budget, saving: Saving) -> Plan:
    epochs = budget.max_epochs
    if budget.max_steps is not None:
        batches = budget.max_steps * budget.accumulate
        epochs = -(-batches // sampler.batches_in(0)) + 1
    ends = epoch_ends(sampler, epochs, budget.accumulate)
    total = ends[-1] if budget.max_steps is None else budget.max_steps * budget.accumulate
    points = validation_points(
        ends, total, accumulate=budget.accumulate, validations=budget.validations
    )
    return Plan(points, budget.accumulate, saving.every_steps, saving.every_seconds)


def _train_sampler(
    train: TokenizedSplit, budget: Budget, hardware: Hardware, seed: int
) -> LengthGroupedBatchSampler:
    return LengthGroupedBatchSampler(
        train.lengths,
        batch_size=None if budget.max_tokens else budget.batch_size,
        max_tokens=budget.max_tokens,
        seed=seed,
        shuffle=True,
        window=budget.window,
        rank=process_rank(),
        world_size=_world_size(hardware.devices),
    )


def _validation_loader(
    validation: TokenizedSplit, collator: Collator, budget: Budget, hardware: Hardware
) -> DataLoader[Batch]:
    world_size = _world_size(hardware.devices)
    sampler = LengthGroupedBatchSampler(
        validation.lengths,
        # Small enough for each process to have a batch: one without would not take part.
        batch_size=max(1, min(2 * budget.batch_size, len(validation) // world_size)),
        seed=0,
        shuffle=False,
        # A network that is shared out is gathered for each batch, by all processes.
        even=hardware.strategy == "fsdp",
        rank=process_rank(),
        world_size=world_size,
    )
    return make_loader(validation, sampler, collator, workers=hardware.workers)


def _checkpoints(labels: Labels, plan: Plan, saving: Saving, stop: StopRequest) -> Checkpoints:
    return Checkpoints(
        saving.last,
        saving.best,
        saving.history,
        saving.monitor,
        maximize=monitor_mode(saving.monitor, multi_label=labels.multi_label) == "max",
        plan=plan,
        stop=stop,
    )


def _trainer(
    checkpoints: Checkpoints,
    observers: Sequence[L.Callback],
    done: int,
    labels: Labels,
    optimization: Optimization,
    budget: Budget,
    hardware: Hardware,
) -> L.Trainer:
    monitor, plan = checkpoints.monitor, checkpoints.plan
    # Observers come first, so that a checkpoint has seen what they have.
    callbacks: list[L.Callback] = [
        _Threads(hardware.resolved_threads),
        *observers,
        checkpoints,
        ShowProgress(plan.total_batches, done, monitor),
    ]
    if budget.patience is not None:
        # First, so that the checkpoint knows that training has ended.
        mode = monitor_mode(monitor, multi_label=labels.multi_label)
        callbacks.insert(0, _early_stopping(monitor, budget.patience, mode))
    return L.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        strategy=_strategy(hardware),
        precision=hardware.resolved_precision,
        # The stream of batches holds all epochs, as one.
        max_epochs=1,
        val_check_interval=plan.validate_at[0],
        accumulate_grad_batches=budget.accumulate,
        gradient_clip_val=optimization.gradient_clip,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        deterministic=True,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )


def _strategy(hardware: Hardware) -> Strategy | str:
    if hardware.strategy == "fsdp":
        return ModelParallelStrategy(
            data_parallel_size=_world_size(hardware.devices),
            tensor_parallel_size=1,
            # One file, as of any other training.
            save_distributed_checkpoint=False,
        )
    return "ddp" if hardware.devices > 1 or hardware.strategy == "ddp" else "auto"


def _tuned(
    network: nn.Module, hardware: Hardware, train: TokenizedSplit
) -> AbstractContextManager[None]:
    if not hardware.on_processor:
        return nullcontext()
    bfloat16 = hardware.resolved_precision == "bf16-mixed"
    return tuned_for_processor(network, bfloat16=bfloat16, longest=int(max(train.lengths)))


def _early_stopping(monitor: str, patience: int, mode: str) -> EarlyStopping:
    return EarlyStopping(
        f"validation/{monitor}", patience=patience, mode=mode, check_on_train_epoch_end=False
    )


class _Threads(L.Callback):
    """Has each process compute with so many threads, whatever Lightning has given it."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def on_fit_start(self, *_: object) -> None:
        torch.set_num_threads(self._threads)


@contextmanager
def _same_threads() -> Iterator[None]:
    """Gives torch back the threads that it had before the training."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keeps Lightning's tips and device lines off the terminal."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
