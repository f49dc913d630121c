"""The names of the metrics, for those who need no more than that: the configuration, above all."""

from __future__ import annotations

from typing import Literal

from textmill.errors import InputError, did_you_mean

SINGLE_LABEL_METRICS = (
    "loss",
    "accuracy",
    "balanced_accuracy",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "precision_weighted",
    "recall_weighted",
    "f1_weighted",
    "mcc",
    "auroc_macro",
    "average_precision_macro",
    "ece",
    "brier",
)
MULTI_LABEL_METRICS = (
    "loss",
    "subset_accuracy",
    "precision_micro",
    "recall_micro",
    "f1_micro",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "precision_weighted",
    "recall_weighted",
    "f1_weighted",
    "f1_samples",
    "hamming_loss",
    "mcc",
    "auroc_macro",
    "average_precision_macro",
    "ece",
    "brier",
)
METRIC_TITLES = {
    "loss": "Cross-entropy",
    "accuracy": "Accuracy",
    "subset_accuracy": "Subset accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "precision_macro": "Macro-precision",
    "precision_micro": "Micro-precision",
    "precision_weighted": "Weighted precision",
    "recall_macro": "Macro-recall",
    "recall_micro": "Micro-recall",
    "recall_weighted": "Weighted recall",
    "f1_macro": "Macro-F1",
    "f1_micro": "Micro-F1",
    "f1_samples": "Samples-F1",
    "f1_weighted": "Weighted F1",
    "mcc": "Matthews correlation",
    "hamming_loss": "Hamming loss",
    "auroc_macro": "AUROC, macro",
    "average_precision_macro": "Average precision, macro",
    "ece": "Calibration error",
    "brier": "Brier score",
}
PER_LABEL_METRICS = ("precision", "recall", "f1")
LOWER_IS_BETTER = frozenset({"loss", "ece", "brier", "hamming_loss"})


def metric_names(*, multi_label: bool) -> tuple[str, ...]:
    """The metrics of one kind of classification, without the ones of single labels."""
    return MULTI_LABEL_METRICS if multi_label else SINGLE_LABEL_METRICS


def is_metric(name: str, *, multi_label: bool) -> bool:
    """Whether one kind of classification has a metric, or a label's own, as ``f1/positive``."""
    metric, slash, label = name.partition("/")
    of_label = bool(slash and label and metric in PER_LABEL_METRICS)
    return of_label or name in metric_names(multi_label=multi_label)


def monitor_mode(name: str, *, multi_label: bool) -> Literal["min", "max"]:
    """Whether a metric is better when it is lower or when it is higher.

    Args:
        name: A metric, without the name of a split; a label's own is like ``f1/positive``.
        multi_label: Whether a text may have several labels.

    Raises:
        InputError: This kind of classification has no such metric.
    """
    if not is_metric(name, multi_label=multi_label):
        kind = "multi-label" if multi_label else "single-label"
        raise InputError(
            f"{name!r} is not a metric of {kind} classification",
            where="trainer.monitor",
            hint=did_you_mean(name, metric_names(multi_label=multi_label)),
        )
    return "min" if name in LOWER_IS_BETTER else "max"
