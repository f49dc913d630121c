"""Records a training as it goes: in the run folder, which is the truth, and in the trackers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import lightning as L
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from textmill.environment import peak_memory
from textmill.judge import write_table
from textmill.labels import Labels
from textmill.model.sharding import whole
from textmill.runs import Run
from textmill.safe_write import machine_faults
from textmill.tracking.first_pass import FirstPass
from textmill.tracking.mirror import Mirrors
from textmill.tracking.replay import prefixed, tell_validation
from textmill.tracking.shapes import Histogram
from textmill.tracking.window import Phases, Window, means

HISTOGRAM_BINS = 64

Watch = Literal["none", "gradients", "parameters", "all"]
PredictionsOf = Callable[[npt.NDArray[np.int64], npt.NDArray[np.float32]], pa.Table]


@dataclass(frozen=True, slots=True)
class Recording:
    """What is recorded.

    Args:
        labels: The label set.
        train_examples: How many examples make an epoch.
        log_steps: Optimizer steps between records of the training.
        watch: Of what histograms are made at each validation; gradients are the last step's, after
            clipping.
    """

    labels: Labels
    train_examples: int
    log_steps: int
    watch: Watch


class Recorder(L.Callback):
    """Writes ``training.jsonl``, each validation's predictions, and the first pass.

    Args:
        run: Where to write.
        tracker: What is told as well.
        predictions_of: The table of predictions on the validation split, from its targets and its
            probabilities ``[examples, labels]``.
        recording: What is recorded.
    """

    def __init__(
        self, run: Run, tracker: Mirrors, predictions_of: PredictionsOf, recording: Recording
    ) -> None:
        self._run = run
        self._tracker = tracker
        self._predictions_of = predictions_of
        self._recording = recording
        self._first_pass = FirstPass(run.first_pass, recording.train_examples, recording.labels)
        self._window = Window()
        self._phases = Phases()
        self._examples_met = 0
        self._saved = False

    def state_dict(self) -> dict[str, Any]:
        """The position among the examples, and the window that a checkpoint falls into."""
        return {"examples_met": self._examples_met, "window": self._window.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over from a checkpoint."""
        self._examples_met = state_dict["examples_met"]
        self._window.load_state_dict(state_dict["window"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Makes the file that the processes share."""
        if trainer.is_global_zero:
            self._first_pass.make()
        trainer.strategy.barrier()
        self._phases.start()

    def on_train_batch_start(
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: L.LightningModule,  # noqa: ARG002
        batch: Any,  # noqa: ANN401, ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Counts the time that the batch was waited for."""
        self._phases.lap("saving" if self._saved else "data")
        self._saved = False

    def on_before_backward(
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: L.LightningModule,  # noqa: ARG002
        loss: Tensor,  # noqa: ARG002
    ) -> None:
        """Counts the time of the forward pass."""
        self._phases.lap("forward")

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Counts the time of the backward pass."""
        self._phases.lap("backward")

    def on_save_checkpoint(
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: L.LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],  # noqa: ARG002
    ) -> None:
        """Writes what the checkpoint counts as done; the time until the next batch is saving's."""
        self._first_pass.flush()
        self._saved = True

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Counts the batch, and makes a record every few steps."""
        self._phases.lap("optimizer")
        accumulate = trainer.accumulate_grad_batches
        # Lightning has divided the loss for accumulation.
        self._window.add_batch(outputs["loss"] * accumulate, batch["attention_mask"])
        if self._examples_met < self._recording.train_examples:
            self._first_pass.add(batch["index"], outputs["logits"])
        self._examples_met += len(batch["index"]) * trainer.world_size
        if (batch_idx + 1) % accumulate:
            return
        self._window.add_step(pl_module.gradient_norm)  # type: ignore[arg-type]
        # So that training and validation meet at the same step.
        before_validation = batch_idx + 1 == trainer.val_check_batch
        if before_validation or trainer.global_step % self._recording.log_steps == 0:
            self._record(trainer)
        if before_validation and self._recording.watch != "none":
            # Lightning takes the gradients away when validation begins. Each process asks for them,
            # for they may be shared out.
            histograms = dict(_histograms(pl_module, self._recording.watch))
            self._tracker.log_histograms(histograms, trainer.global_step)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Starts the stopwatch of the validation."""
        self._phases.start()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the predictions, and tells the trackers of metrics and charts."""
        self._phases.lap("validation")
        if not trainer.is_global_zero:
            return
        predictions = self._predictions_of(*pl_module.judged)  # type: ignore[misc]
        write_table(self._run.validation_predictions(trainer.global_step), predictions)
        metrics = {
            name.removeprefix("validation/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("validation/")
        }
        tell_validation(
            self._tracker, metrics, predictions, self._recording.labels, trainer.global_step
        )

    def _record(self, trainer: L.Trainer) -> None:
        totals = _over_processes(trainer, self._window.totals())
        self._first_pass.flush()
        self._window.restart()
        if not trainer.is_global_zero:
            return
        record = {
            "epoch": self._examples_met / self._recording.train_examples,
            **means(totals),
            **_learning_rates(trainer),
            **self._speed(totals),
            "peak_memory_bytes": peak_memory(),
        }
        with (
            machine_faults(self._run.training),
            self._run.training.open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps({"step": trainer.global_step, **record}) + "\n")
        self._tracker.log_metrics(prefixed("train", record), trainer.global_step)

    def _append(self, record: Mapping[str, float]) -> None:
        path = self._run.training
        with machine_faults(path):
            path.parent.mkdir(exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def _speed(self, totals: Mapping[str, float]) -> dict[str, float]:
        seconds = self._phases.take()
        training = sum(seconds.values()) - seconds["validation"] - seconds["saving"]
        return {
            "examples_per_second": totals["examples"] / training,
            "tokens_per_second": totals["tokens"] / training,
            **prefixed("seconds", seconds),
        }


def _over_processes(trainer: L.Trainer, totals: Mapping[str, float]) -> dict[str, float]:
    """The totals added up over the processes that train together."""
    mine = torch.tensor(list(totals.values()), device=trainer.strategy.root_device)
    summed = torch.as_tensor(trainer.strategy.reduce(mine, reduce_op="sum"))
    return dict(zip(totals, summed.tolist(), strict=True))


def _learning_rates(trainer: L.Trainer) -> dict[str, float]:
    """The rate of each part of the network, from which the next step goes."""
    (optimizer,) = trainer.optimizers
    return {
        f"lr/{part}": float(group["lr"])
        for group in optimizer.param_groups
        for part in group["parts"]
    }


def _histograms(module: L.LightningModule, watch: Watch) -> Iterator[tuple[str, Histogram]]:
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if watch in ("parameters", "all"):
            yield f"parameters/{name}", _histogram(whole(parameter.detach()))
        if watch in ("gradients", "all") and parameter.grad is not None:
            yield f"gradients/{name}", _histogram(whole(parameter.grad))


def _histogram(values: Tensor) -> Histogram:
    counts, edges = np.histogram(values.float().cpu().numpy(), bins=HISTOGRAM_BINS)
    return Histogram(counts.astype(np.float64), edges.astype(np.float64))
