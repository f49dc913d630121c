"""From a bundle to predictions; needs the bundle alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textmill.bundle import Bundle, read_bundle
from textmill.encoding import LengthPolicy, Lengths
from textmill.labels import Labels
from textmill.scoring import Scorer, Scores, Texts


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a classifier says of one text.

    Args:
        label: The label; a list of any number of labels where a text may have several.
        score: The probability of the label; of the most probable one where there may be several.
        scores: From each label to its probability.
    """

    label: str | list[str]
    score: float
    scores: dict[str, float]


class Predictor:
    """A classifier in use; nothing in it changes, so threads may share it.

    Args:
        bundle: The bundle that it serves.
        scorer: The bundle's model.
    """

    def __init__(self, bundle: Bundle, scorer: Scorer) -> None:
        self.bundle = bundle
        self.scorer = scorer
        self._thresholds = _thresholds(bundle)

    @classmethod
    def from_bundle(cls, path: str | Path, *, device: str = "cpu") -> Predictor:
        """Loads a bundle.

        Args:
            path: The bundle's folder, the folder of a run, or ``latest``.
            device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto`` for the fastest there is.

        Raises:
            InputError: There is no such bundle or device, or the bundle is broken.
        """
        bundle = read_bundle(path)
        return cls(bundle, bundle.scorer(device))

    @property
    def labels(self) -> Labels:
        """The labels, in the order of the columns of the scores."""
        return self.bundle.labels

    @property
    def policy(self) -> LengthPolicy:
        """What happens to long texts."""
        return self.bundle.policy

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that held the text in training: one, or two for pairs."""
        return self.bundle.info.text_columns

    @property
    def device(self) -> str:
        """Where the model computes."""
        return str(self.scorer.device)

    def logits(self, texts: Texts, *, batch_size: int = 64) -> Scores:
        """The model's raw outputs; see `Scorer.logits`."""
        return self.scorer.logits(texts, batch_size=batch_size)

    def probabilities(self, texts: Texts, *, batch_size: int = 64) -> Scores:
        """The labels' probabilities; see `Scorer.probabilities`."""
        return self.scorer.probabilities(texts, batch_size=batch_size)

    def lengths(self, texts: Texts) -> Lengths:
        """How much of each text the model sees; see `Scorer.lengths`."""
        return self.scorer.lengths(texts)

    def predict(self, texts: Texts, *, batch_size: int = 64) -> list[Prediction]:
        """Labels texts, in their order.

        An empty text is scored like any other.

        Args:
            texts: A list of texts, or of pairs of texts.
            batch_size: Texts scored at a time.

        Raises:
            InputError: Something among the texts is not text.
        """
        return self.decide(self.probabilities(texts, batch_size=batch_size))

    def decide(self, probabilities: Scores) -> list[Prediction]:
        """Turns probabilities, ``[texts, labels]``, into predictions.

        One label: the one that exceeds its threshold by the most, which without thresholds is the
        most probable one. Several labels: each that reaches its threshold.
        """
        names, rows = self.labels.names, probabilities.tolist()
        if self.labels.multi_label:
            chosen = probabilities >= self._thresholds
            return [
                Prediction(
                    [name for name, holds in zip(names, mask, strict=True) if holds],
                    max(row),
                    dict(zip(names, row, strict=True)),
                )
                for row, mask in zip(rows, chosen.tolist(), strict=True)
            ]
        best = (probabilities - self._thresholds).argmax(axis=1)
        return [
            Prediction(names[index], row[index], dict(zip(names, row, strict=True)))
            for row, index in zip(rows, best.tolist(), strict=True)
        ]


def load(path: str | Path = "latest", *, device: str = "auto") -> Predictor:
    """Loads a classifier from a bundle.

    Args:
        path: The bundle's folder, the folder of a run, or ``latest`` for the newest run.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto`` for the fastest there is.

    Raises:
        InputError: There is no such bundle or device, or the bundle is broken.
    """
    return Predictor.from_bundle(path, device=device)


def _thresholds(bundle: Bundle) -> Scores:
    values: Sequence[float] | None = bundle.info.thresholds
    if values is None:
        values = [0.5 if bundle.labels.multi_label else 0.0] * len(bundle.labels)
    return np.array(values, dtype=np.float32)
