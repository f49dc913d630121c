"""Tells a search how a trial goes, and really ends it when it isn't worth going on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import lightning as L

from textmill.model.checkpoints import Checkpoints, PrunedError

if TYPE_CHECKING:
    from optuna.trial import Trial


class Pruning(L.Callback):
    """Reports each validation, and ends training before the batch that follows it.

    What is reported is what the checkpoint counts as done. A trial that was killed then reports
    and decides when it is resumed as it would have without that.

    Args:
        trial: The trial.
        metric: The validation metric that is reported.
    """

    def __init__(self, trial: Trial, metric: str) -> None:
        self._trial = trial
        self._metric = metric
        self._reported = -1

    def on_train_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        batch: Any,  # noqa: ANN401, ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Reports the validations since the last batch.

        Raises:
            PrunedError: The trial isn't worth going on with.
        """
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        [checkpoints] = (one for one in callbacks if isinstance(one, Checkpoints))
        validations = checkpoints.validations
        if len(validations) == self._reported:
            return
        self._reported = len(validations)
        report(self._trial, self._metric, validations)
        if validations and self._trial.should_prune():
            raise PrunedError(f"pruned after {len(validations)} validations")


def report(trial: Trial, metric: str, validations: Sequence[Mapping[str, float]]) -> None:
    """Reports the validations that a trial hasn't reported yet, numbered from 1."""
    with warnings.catch_warnings():
        # Optuna ignores, with a warning, what is reported already.
        warnings.simplefilter("ignore")
        for number, validation in enumerate(validations, start=1):
            trial.report(validation[metric], number)
