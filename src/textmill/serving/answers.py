"""Predictions as they are answered."""

from __future__ import annotations

from dataclasses import replace

from textmill.prediction_formats import Wanted, record
from textmill.predictor import Prediction

_LABEL_ALONE, _WITH_SCORES = Wanted(scores=False, text=False), Wanted(scores=True, text=False)


def told(prediction: Prediction, top_k: int = 1) -> dict[str, object]:
    """One prediction as `PredictionAnswer` describes it.

    Args:
        prediction: The prediction.
        top_k: How many labels to tell with their scores, the most probable first; none if 1.
    """
    if top_k == 1:
        return dict(record(prediction, None, _LABEL_ALONE))
    best = sorted(prediction.scores, key=prediction.scores.__getitem__, reverse=True)[:top_k]
    shortened = replace(prediction, scores={name: prediction.scores[name] for name in best})
    return dict(record(shortened, None, _WITH_SCORES))
