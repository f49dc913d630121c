"""The charts of a run: how good the predictions on a split are, and how training went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textmill.labels import Labels
from textmill.model.ranking import Curve, Ranking
from textmill.tracking.curves import averaged_precision_recall, averaged_roc, thinned
from textmill.tracking.prediction_columns import (
    Members,
    label_members,
    label_probabilities,
    length_bins,
)
from textmill.tracking.shapes import BarChart, Chart, Heatmap, LineChart, Numbers, Series

# Labels with a curve of their own, where there are more.
MOST_LABELS = 10
MACRO_AVERAGE = "macro-average"
_RELIABILITY_BINS = 10
_HISTOGRAM_BINS = 20
_LENGTH_BINS = 8
_MOST_MOMENTS = 300
# Share of the examples that must be answered for an accuracy to be shown.
_LEAST_COVERAGE = 0.01
_QUALITY = ("accuracy", "subset_accuracy", "f1_macro", "f1_micro", "mcc")
_PHASES = "seconds/"
_RATES = "lr/"


def split_charts(predictions: pa.Table, labels: Labels) -> dict[str, Chart]:
    """The charts of the predictions on a split.

    They are ``confusion`` and ``confusion_by_row`` (for several labels a text: each label's hits,
    misses and false alarms), ``roc`` and ``precision_recall`` (each label against the rest, where
    some examples have it and some don't), ``reliability`` and ``scores`` (of the predicted label;
    for several labels, of each label by itself), ``quality_by_length`` (where the table has the
    column ``tokens``), and ``coverage``.

    Args:
        predictions: See `textmill.judge.judge`; at least one row.
        labels: The label set.
    """
    split = _Split.of(predictions, labels)
    rankings = _rankings(split)
    charts: dict[str, Chart | None] = {
        "confusion": _confusion(split, shares=False),
        "confusion_by_row": _confusion(split, shares=True),
        "roc": _roc(split, rankings),
        "precision_recall": _precision_recall(split, rankings),
        "reliability": _reliability(split),
        "scores": _scores(split),
        "quality_by_length": _quality_by_length(split),
        "coverage": _coverage(split),
    }
    return {name: chart for name, chart in charts.items() if chart is not None}


def learning_charts(
    history: Sequence[Mapping[str, float]], training: Sequence[Mapping[str, float]]
) -> dict[str, Chart]:
    """The charts of how training went.

    They are ``loss``, ``quality``, ``learning_rate``, ``gradient_norm``, ``speed`` and ``phases``,
    those for which something was recorded. A long training is shown by the means of stretches.

    Args:
        history: What was measured at each validation, with its ``step``.
        training: What was recorded every few optimizer steps; see `textmill.runs.Run.training`.
    """
    rates = _named(training, _RATES)
    phases = _named(training, _PHASES)
    lines: dict[str, tuple[str, str, list[Series]]] = {
        "loss": (
            "Loss",
            "cross-entropy (nats)",
            [*_moments(training, {"loss": "training"}), *_moments(history, {"loss": "validation"})],
        ),
        "quality": (
            "Quality on the validation split",
            "metric",
            _moments(history, {name: name for name in _QUALITY}),
        ),
        "learning_rate": ("Learning rate", "learning rate", _moments(training, rates)),
        "gradient_norm": (
            "Norm of the gradient before clipping",
            "gradient norm",
            _moments(training, {"gradient_norm": ""}),
        ),
        "speed": (
            "Speed of training",
            "examples per second",
            _moments(training, {"examples_per_second": ""}),
        ),
        "phases": ("Where the time goes", "seconds", _moments(training, phases)),
    }
    return {
        name: LineChart(title, "optimizer step", y_label, tuple(series))
        for name, (title, y_label, series) in lines.items()
        if series
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """A table of predictions as arrays.

    Args:
        labels: The label set.
        targets: Whether each example has each label ``[examples, labels]``.
        decisions: Whether it was predicted to.
        probabilities: The labels' probabilities ``[examples, labels]``.
        correct: Whether each prediction is right, all labels taken together ``[examples]``.
        confidence: The probability that it is ``[examples]``.
        tokens: How long each text is, where that is known ``[examples]``.
    """

    labels: Labels
    targets: Members
    decisions: Members
    probabilities: npt.NDArray[np.float32]
    correct: Members
    confidence: Numbers
    tokens: npt.NDArray[np.int64] | None

    @classmethod
    def of(cls, predictions: pa.Table, labels: Labels) -> _Split:
        names = predictions.column_names
        return cls(
            labels,
            label_members(predictions["label"], labels),
            label_members(predictions["prediction"], labels),
            label_probabilities(predictions, labels),
            predictions["correct"].to_numpy().astype(bool),
            predictions["confidence"].to_numpy().astype(np.float64),
            predictions["tokens"].to_numpy().astype(np.int64) if "tokens" in names else None,
        )


def _confusion(split: _Split, *, shares: bool) -> Heatmap:
    columns = names = split.labels.names
    if split.labels.multi_label:
        values = _outcomes(split)
        columns, x_label = ("hits", "misses", "false alarms"), "outcome"
        title = "Hits, misses and false alarms of each label"
    else:
        targets, decisions = split.targets.argmax(axis=1), split.decisions.argmax(axis=1)
        places = np.bincount(targets * len(names) + decisions, minlength=len(names) ** 2)
        values = places.reshape(len(names), len(names)).astype(np.float64)
        title, x_label = "Confusion matrix", "predicted label"
    if shares:
        totals = values.sum(axis=1, keepdims=True)
        values = np.divide(values, totals, out=np.full_like(values, np.nan), where=totals > 0)
        title = f"{title}, as shares of the row"
    return Heatmap(title, x_label, "label", columns, names, values, shares)


def _outcomes(split: _Split) -> Numbers:
    """Each label's hits, misses and false alarms ``[labels, 3]``."""
    outcomes = (
        split.targets & split.decisions,
        split.targets & ~split.decisions,
        ~split.targets & split.decisions,
    )
    return np.column_stack([one.sum(axis=0) for one in outcomes]).astype(np.float64)


def _rankings(split: _Split) -> dict[int, Ranking]:
    """Of the labels that some examples have and some don't, the most frequent ones first."""
    counts = split.targets.sum(axis=0)
    ids = [int(index) for index in np.argsort(-counts, kind="stable")]
    return {
        index: Ranking.of(split.probabilities[:, index].copy(), split.targets[:, index])
        for index in ids
        if 0 < counts[index] < len(split.targets)
    }


def _roc(split: _Split, rankings: Mapping[int, Ranking]) -> LineChart | None:
    return _curves(
        split,
        rankings,
        ("ROC curve", "false-positive rate", "true-positive rate"),
        Ranking.roc,
        averaged_roc,
        diagonal=True,
    )


def _precision_recall(split: _Split, rankings: Mapping[int, Ranking]) -> LineChart | None:
    return _curves(
        split,
        rankings,
        ("Precision and recall", "recall", "precision"),
        Ranking.precision_recall,
        averaged_precision_recall,
        diagonal=False,
    )


def _curves(
    split: _Split,
    rankings: Mapping[int, Ranking],
    wording: tuple[str, str, str],
    curve: Callable[[Ranking], Curve],
    average: Callable[[Sequence[Ranking]], Curve],
    *,
    diagonal: bool,
) -> LineChart | None:
    """A curve for each label; for many labels, those of the most frequent ones and the average."""
    if not rankings:
        return None
    title, x_label, y_label = wording
    names = split.labels.names
    shown = sorted(list(rankings)[:MOST_LABELS])
    series = [Series(names[index], *thinned(*curve(rankings[index]))) for index in shown]
    if len(rankings) > MOST_LABELS:
        series.append(Series(MACRO_AVERAGE, *average(list(rankings.values()))))
        title += f": the {MOST_LABELS} most frequent of {len(names)} labels, and the average of all"
    else:
        title += ", each label against the rest"
    return LineChart(title, x_label, y_label, tuple(series), diagonal, unit_square=True)


def _reliability(split: _Split) -> BarChart:
    scores: npt.NDArray[np.floating[Any]]
    if split.labels.multi_label:
        scores, outcomes = split.probabilities.ravel(), split.targets.ravel()
        x_label, observed, expected = "probability of a label", "share with it", "mean probability"
    else:
        scores, outcomes = split.confidence, split.correct
        x_label, observed, expected = "confidence", "share right", "mean confidence"
    bins = _bins(scores, _RELIABILITY_BINS)
    first = _first_bin(split, bins, _RELIABILITY_BINS)
    counts = np.bincount(bins, minlength=_RELIABILITY_BINS)[first:].astype(np.float64)
    heights = {
        name: _bin_means(values, bins, _RELIABILITY_BINS)[first:]
        for name, values in ((observed, outcomes), (expected, scores))
    }
    return BarChart(
        "Reliability", x_label, "share", _intervals(_RELIABILITY_BINS)[first:], heights, counts
    )


def _scores(split: _Split) -> BarChart:
    if split.labels.multi_label:
        return _label_scores(split)
    bins = _bins(split.confidence, _HISTOGRAM_BINS)
    first = _first_bin(split, bins, _HISTOGRAM_BINS)
    heights = {
        name: np.bincount(bins[which], minlength=_HISTOGRAM_BINS)[first:].astype(np.float64)
        for name, which in (("right", split.correct), ("wrong", ~split.correct))
    }
    return BarChart(
        "Confidence of right and wrong predictions",
        "confidence",
        "examples",
        _intervals(_HISTOGRAM_BINS)[first:],
        heights,
    )


def _label_scores(split: _Split) -> BarChart:
    """As shares: most texts lack most labels, whose bars would hide all others."""
    bins, targets = _bins(split.probabilities.ravel(), _HISTOGRAM_BINS), split.targets.ravel()
    heights = {
        name: np.bincount(bins[which], minlength=_HISTOGRAM_BINS) / max(which.sum(), 1)
        for name, which in (("texts with the label", targets), ("texts without it", ~targets))
    }
    return BarChart(
        "Probabilities of the labels that texts have and lack",
        "probability of a label",
        "share",
        _intervals(_HISTOGRAM_BINS),
        heights,
    )


def _bins(scores: npt.NDArray[np.floating[Any]], bins: int) -> npt.NDArray[np.int64]:
    """The interval ``(low, high]`` that each share lies in, 0 in the first one."""
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
    return np.digitize(scores.astype(np.float64), inner_edges, right=True)


def _first_bin(split: _Split, bins: npt.NDArray[np.int64], count: int) -> int:
    """The first interval to show: the most probable of few labels is never improbable."""
    return 0 if split.labels.multi_label else min(count // len(split.labels), int(bins.min()))


def _bin_means(values: npt.NDArray[np.generic], bins: npt.NDArray[np.int64], count: int) -> Numbers:
    """The mean in each interval; NaN in an empty one."""
    counts = np.bincount(bins, minlength=count)
    sums = np.bincount(bins, weights=values.astype(np.float64), minlength=count)
    means: Numbers = np.divide(sums, counts, out=np.full(count, np.nan), where=counts > 0)
    return means


def _intervals(bins: int) -> tuple[str, ...]:
    edges = np.linspace(0, 1, bins + 1)
    digits = 1 if bins == _RELIABILITY_BINS else 2
    return tuple(f"{low:.{digits}f}-{high:.{digits}f}" for low, high in pairwise(edges))


def _quality_by_length(split: _Split) -> BarChart | None:
    if split.tokens is None:
        return None
    categories, bins = length_bins(split.tokens, _LENGTH_BINS)
    metric, heights = _quality(split, bins, len(categories))
    return BarChart(
        "Quality by length of the text",
        "tokens of the text",
        metric,
        categories,
        {"": heights},
        np.bincount(bins, minlength=len(categories)).astype(np.float64),
    )


def _quality(split: _Split, bins: npt.NDArray[np.int64], count: int) -> tuple[str, Numbers]:
    """The name of a metric that few examples allow, and its values in each bin."""
    if not split.labels.multi_label:
        return "accuracy", _bin_means(split.correct, bins, count)
    hits = (split.targets & split.decisions).sum(axis=1)
    occurrences = split.targets.sum(axis=1) + split.decisions.sum(axis=1)
    found = 2 * np.bincount(bins, weights=hits, minlength=count)
    total = np.bincount(bins, weights=occurrences, minlength=count)
    return "micro-F1", np.divide(found, total, out=np.zeros(count), where=total > 0)


def _coverage(split: _Split) -> LineChart:
    order = np.argsort(-split.confidence, kind="stable")
    confidence = split.confidence[order]
    answered = np.arange(1, len(order) + 1)
    accuracy = np.cumsum(split.correct[order]) / answered
    # One threshold keeps or leaves out all examples of the same confidence.
    shown = np.append(confidence[1:] != confidence[:-1], True)
    shown &= answered >= _LEAST_COVERAGE * len(order)
    share = answered / len(order)
    right = "wholly right" if split.labels.multi_label else "right"
    return LineChart(
        "Accuracy when the least confident predictions are left out",
        "share answered",
        "share",
        (
            Series(f"{right} among the answered", *thinned(share[shown], accuracy[shown])),
            Series("least confidence answered", *thinned(share[shown], confidence[shown])),
        ),
    )


def _named(records: Sequence[Mapping[str, float]], prefix: str) -> dict[str, str]:
    """The keys with a prefix, and their names without it."""
    keys = dict.fromkeys(key for record in records for key in record if key.startswith(prefix))
    return {key: key.removeprefix(prefix) for key in keys}


def _moments(records: Sequence[Mapping[str, float]], names: Mapping[str, str]) -> list[Series]:
    """What was recorded under some keys, over the steps."""
    series = []
    for key, name in names.items():
        points = [(record["step"], record[key]) for record in records if key in record]
        if points:
            steps, values = np.array(points, dtype=np.float64).T
            series.append(Series(name, *_stretch_means(steps, values)))
    return series


def _stretch_means(steps: Numbers, values: Numbers) -> Curve:
    """The points as they are, or where they are many, the means of stretches of equal length."""
    values = np.where(np.isfinite(values), values, np.nan)
    width = -(-len(steps) // _MOST_MOMENTS)
    if width <= 1:
        return steps, values
    starts = np.arange(0, len(steps), width)
    counts = np.diff(np.append(starts, len(steps)))
    return steps[starts], np.add.reduceat(values, starts) / counts
