"""What trackers are told in tests: a short run with everything in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from textmill.tracking.shapes import BarChart, Chart, Heatmap, Histogram, LineChart, Series
from textmill.tracking.tracker import RunArtifact, RunFacts, Tracker

CONFIG: dict[str, Any] = {
    "data": {"name": "reviews", "labels": ["bad", "good"], "label_values": {"no!": "bad"}},
    "optimizer": {"lr": 1e-4, "layer_decay": None},
    "tracking": {"report": True},
    "manifest": {
        "identity": "0a1b2c3d",
        "command": "textmill train",
        "git": {"commit": "abc123", "dirty": False},
        "data": {"fingerprints": {"train": "f" * 64}},
    },
}
# A name as labels may have it, with what some trackers refuse.
ODD = "validation/f1/c++ (1.0)/.."
TRAINING = {10: {"train/loss": 0.7, "train/lr/head": 1e-4}, 20: {"train/loss": 0.5}}
VALIDATION = {
    20: {"validation/f1_macro": 0.6, ODD: 0.4},
    40: {"validation/f1_macro": 0.8, ODD: 0.5},
}
SUMMARY = {"test/f1_macro": 0.75, "validation/f1_macro": 0.8}
TABLE = pa.table(
    {
        "text": ["plain", '=1+1, "quoted"\nand | <script>alert(1)</script> *bold*', None],
        "label": [["bad"], ["bad", "good"], []],
        "loss": [0.5, float("nan"), 0.25],
        "cut": [True, False, False],
    }
)
HISTOGRAM = Histogram(counts=np.array([1.0, 4.0, 3.0]), edges=np.array([0.0, 1.0, 2.0, 3.0]))


def charts(scale: float = 1.0) -> dict[str, Chart]:
    """A chart of each shape."""
    x = np.array([0.0, 0.5, 1.0])
    return {
        "validation/roc": LineChart("ROC", "rate", "rate", (Series("good", x, scale * x),)),
        "validation/reliability": BarChart(
            "Reliability",
            "confidence",
            "share",
            ("0.0-0.5", "0.5-1.0"),
            {"share right": np.array([np.nan, scale])},
            np.array([0.0, 7.0]),
        ),
        "validation/confusion": Heatmap(
            "Confusion",
            "predicted",
            "label",
            ("bad", "good"),
            ("bad", "good"),
            np.array([[3.0, 1.0], [scale, 5.0]]),
        ),
    }


def facts(folder: Path, *, resumed: bool = False) -> RunFacts:
    """A run in a folder ``<runs_dir>/<date>/<run>``."""
    return RunFacts("0a1b2c3d", folder, "demo", "textmill", "group", CONFIG, resumed)


def artifacts(folder: Path) -> list[RunArtifact]:
    """A data set and a bundle."""
    for name in ("data", "model"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "file.txt").write_text("content")
    return [
        RunArtifact("reviews", "dataset", folder / "data", "a" * 64, {"labels": ["x"]}, made=False),
        RunArtifact("demo", "model", folder / "model", "b" * 64, {"max_length": 64}, made=True),
    ]


def tell_training(tracker: Tracker, last: int = 40) -> None:
    """All that happens until a step, in order."""
    for step in (10, 20, 40):
        if step > last:
            return
        if step in TRAINING:
            tracker.log_metrics(TRAINING[step], step)
        if step in VALIDATION:
            tracker.log_metrics(VALIDATION[step], step)
            tracker.log_charts(charts(step), step)
            tracker.log_histograms({"parameters/head.weight": HISTOGRAM}, step)


def tell_end(tracker: Tracker, folder: Path) -> None:
    """How it came out."""
    tracker.log_summary(SUMMARY)
    tracker.log_table("tables/samples-test", TABLE, 40)
    for artifact in artifacts(folder):
        tracker.log_artifact(artifact)
    tracker.finish("finished")
