"""What a worker serves, the queue in front of it, and its replacement by another bundle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from textmill.attribution import attribute
from textmill.errors import InputError
from textmill.predictor import Prediction
from textmill.serving.batching import Batcher
from textmill.serving.limits import Limits
from textmill.serving.metrics import Metrics
from textmill.serving.prediction_log import Answered, PredictionLog
from textmill.serving.served import Computing, Served, Text, open_served

if TYPE_CHECKING:
    from textmill.explaining.record import Attribution
    from textmill.scoring import Texts

# Explaining a text costs as much as labelling dozens, so that only few may wait.
_EXPLANATIONS_WAITING = 4


@dataclass(frozen=True, slots=True)
class Queueing:
    """How requests wait for their turn.

    Args:
        batch: The most texts that are scored together.
        queue: The most texts that wait; more are turned away.
    """

    batch: int = 32
    queue: int = 1024


class Service:
    """What one worker serves.

    Args:
        computing: How bundles compute.
        limits: What requests may be.
        queueing: How they wait.
        metrics: Where it is counted.
        log: Where predictions are logged; None for nowhere.
    """

    def __init__(
        self,
        computing: Computing,
        limits: Limits,
        queueing: Queueing,
        metrics: Metrics,
        log: PredictionLog | None = None,
    ) -> None:
        self.limits, self.metrics = limits, metrics
        self._log = log
        self.served: Served | None = None
        self.stopping = False
        self._computing = computing
        self._loader = ThreadPoolExecutor(1)
        self._predictions: Batcher[Served, Text, Prediction] = Batcher(
            _predict,
            batch=queueing.batch,
            queue=queueing.queue,
            seconds=limits.seconds,
            watch_batches=metrics.batch,
            watch_queue=metrics.queue,
        )
        self._explanations: Batcher[Served, tuple[Text, str | None], Attribution] = Batcher(
            _explain, batch=1, queue=_EXPLANATIONS_WAITING, seconds=limits.seconds
        )

    async def load(self, path: str) -> Served:
        """Loads a bundle, proves it, and puts it in the place of the one before.

        Requests go on being answered meanwhile; those that wait already are answered by the one
        before. If anything is wrong with the new one, that stays.

        Raises:
            InputError: It is broken, or its scores are not the golden ones, or it takes another
                kind of text than the one before.
        """
        candidate = await asyncio.get_running_loop().run_in_executor(
            self._loader, open_served, path, self._computing, self.limits
        )
        if self.served is not None and self.served.pairs != candidate.pairs:
            raise InputError(
                "pairs of texts and single ones can't take each other's place",
                where=str(candidate.folder),
                hint="start a service of its own for it",
            )
        self.served = candidate
        return candidate

    async def predict(self, served: Served, texts: Sequence[Text]) -> list[Prediction]:
        """Labels texts.

        Raises:
            QueueFullError: Too many texts wait already.
            TooLateError: They were not labelled in time.
        """
        began = time.perf_counter()
        predictions = await self._predictions.submit(served, texts)
        self.metrics.predictions(predictions)
        if self._log is not None and predictions:
            seconds = time.perf_counter() - began
            self._log.add(Answered(datetime.now(UTC), seconds, served, texts, predictions))
        return predictions

    async def explain(self, served: Served, text: Text, label: str | None) -> Attribution:
        """Tells which words a label comes from.

        Raises:
            InputError: There is no such label, or the network can't be explained.
            QueueFullError: Too many explanations are waited for already.
            TooLateError: It was not ready in time.
        """
        (attribution,) = await self._explanations.submit(served, [(text, label)])
        return attribution


def _explain(served: Served, asked: Sequence[tuple[Text, str | None]]) -> list[Attribution]:
    ((text, label),) = asked
    return attribute(served.predictor, cast("Texts", [text]), label)[:1]


def _predict(served: Served, texts: Sequence[Text]) -> list[Prediction]:
    return served.predictor.predict(cast("Texts", texts))
