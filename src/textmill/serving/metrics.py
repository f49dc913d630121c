"""What Prometheus reads: counted in each worker, in files that all workers share.

A worker counts under its number rather than its process, so that one which takes another's place
goes on where that one was, and counters never fall.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

from textmill.predictor import Prediction

CONTENT_TYPE = CONTENT_TYPE_LATEST
NO_LABEL = "(none)"

_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one worker, and the sums over all.

    Args:
        folder: Where the workers of a service count.
        worker: This worker's number; of the workers that live, no two have the same.
    """

    def __init__(self, folder: Path, worker: int) -> None:
        os.environ[_FOLDER_VARIABLE] = str(folder)
        values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
        self._folder = folder
        own = CollectorRegistry()
        self._requests = Counter(
            "textmill_requests", "Requests answered", ["route", "status"], registry=own
        )
        self._seconds = Histogram(
            "textmill_request_seconds",
            "Time from a request's head to its answer",
            ["route"],
            buckets=_SECONDS,
            registry=own,
        )
        self._batch_texts = Histogram(
            "textmill_batch_texts", "Texts scored together", buckets=_TEXTS, registry=own
        )
        self._batch_seconds = Histogram(
            "textmill_batch_seconds", "Time a batch took to score", buckets=_SECONDS, registry=own
        )
        self._queue = Gauge(
            "textmill_queue_texts",
            "Texts that wait",
            registry=own,
            multiprocess_mode="livesum",
        )
        self._predictions = Counter("textmill_predictions", "Predictions", ["label"], registry=own)
        self._bundles = Counter(
            "textmill_bundles", "Bundles taken or refused by a worker", ["outcome"], registry=own
        )
        self._lost = Counter(
            "textmill_predictions_lost", "Predictions that could not be logged", registry=own
        )
        self._queue.set(0)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts an answered request."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, texts: int, seconds: float) -> None:
        """Counts a batch."""
        self._batch_texts.observe(texts)
        self._batch_seconds.observe(seconds)

    def queue(self, texts: int) -> None:
        """Sets how many texts wait."""
        self._queue.set(texts)

    def predictions(self, predictions: Iterable[Prediction]) -> None:
        """Counts each label that was predicted."""
        for prediction in predictions:
            label = prediction.label
            for name in [label] if isinstance(label, str) else label or [NO_LABEL]:
                self._predictions.labels(name).inc()

    def lost(self, predictions: int) -> None:
        """Counts predictions that are not in the log of predictions."""
        self._lost.inc(predictions)

    def bundle(self, outcome: str) -> None:
        """Counts a bundle that was ``taken`` or ``refused``."""
        self._bundles.labels(outcome).inc()

    def page(self) -> bytes:
        """The metrics of all workers, as Prometheus reads them."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)
