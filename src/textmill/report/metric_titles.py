"""What metrics are called in pages."""

from __future__ import annotations

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
