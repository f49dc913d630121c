"""The Lightning module: one training step, and validation over the whole split."""

from __future__ import annotations

import copy
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from textmill.labels import Labels
from textmill.model.losses import ClassificationLoss
from textmill.model.metrics import Predicted, SplitMetrics
from textmill.model.optimizers import Optimization, make_optimizer, make_schedule
from textmill.model.sharding import shard, whole

Batch = dict[str, Tensor]


class Classifier(L.LightningModule):
    """Trains a sequence classification network.

    Each batch draws its dropout from a generator seeded by the batch's number, so that a run that
    was stopped and resumed computes what an uninterrupted one does, bit for bit.

    Args:
        network: The network; its call takes a batch's inputs and has ``logits`` [batch, labels].
        loss: The loss.
        labels: The label set.
        optimization: Optimizer and schedule.
        total_steps: Optimizer steps of the whole training.
        seed: The run's seed.

    Attributes:
        gradient_norm: The 2-norm of the last step's whole gradient, before clipping, on the device.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: ClassificationLoss,
        labels: Labels,
        optimization: Optimization,
        total_steps: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.labels = labels
        self.optimization = optimization
        self.total_steps = total_steps
        self.seed = seed
        self.gradient_norm: Tensor | None = None
        self._validation = SplitMetrics(labels)

    @property
    def judged(self) -> Predicted | None:
        """Targets and probabilities of the last whole validation, the same on each process."""
        return self._validation.judged

    def configure_model(self) -> None:
        """Shares out a copy of the network, where the strategy brings the processes in a row."""
        if self._device_mesh is not None:
            self.network = shard(copy.deepcopy(self.network), self._device_mesh["data_parallel"])

    def forward(self, batch: Batch) -> Tensor:
        """The logits ``[batch, labels]`` of a padded batch."""
        inputs = {name: value for name, value in batch.items() if name not in ("labels", "index")}
        logits: Tensor = self.network(**inputs).logits
        return logits

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Seeds what is random in this batch: dropout."""
        torch.manual_seed(batch_seed(self.seed, self.global_rank, batch_idx))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:  # noqa: ARG002
        """The ``loss`` of a batch, and for callbacks its ``logits`` [batch, labels]."""
        logits = self(batch)
        return {"loss": self.loss(logits, batch["labels"]), "logits": logits.detach()}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002 - always by the norm
    ) -> None:
        """Clips the gradient by its norm, and keeps the norm.

        Lightning's own clipping refuses fused optimizers under mixed precision.
        """
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None:
            # A fused optimizer would take the scale of the loss out of the gradient in its step.
            scaler.unscale_(optimizer)
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        gradients = [each.grad for each in parameters if each.grad is not None]
        norm = get_total_norm(gradients)
        self.gradient_norm = whole(norm)
        if gradient_clip_val is not None:
            clip_grads_with_norm_(parameters, gradient_clip_val, norm)

    def on_validation_epoch_start(self) -> None:
        """Forgets what an interrupted validation may have left."""
        self._validation.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Keeps the logits of a batch, without waiting for them."""
        self._validation.update(batch["index"], self(batch), batch["labels"])

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics of the whole split, ``validation/...``, the same on each process."""
        metrics = self._validation.compute()
        self._validation.reset()
        self.log_dict({f"validation/{name}": value for name, value in metrics.items()})

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning takes many forms
        """The optimizer and its schedule, stepped with each optimizer step."""
        optimizer = make_optimizer(self.network, self.optimization)
        schedule = make_schedule(optimizer, self.optimization, self.total_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def batch_seed(seed: int, rank: int, batch: int) -> int:
    """A seed of its own for each run, process and batch."""
    return int(np.random.SeedSequence([seed, rank, batch]).generate_state(1, np.uint64)[0] >> 1)
