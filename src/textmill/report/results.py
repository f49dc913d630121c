"""The metrics of a run as tables: the model beside the baselines, and label by label."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textmill.labels import Labels
from textmill.model.metric_names import LOWER_IS_BETTER, METRIC_TITLES, metric_names
from textmill.report.tables import Estimate, Kind, TableView, view_of

_TILES = ("accuracy", "subset_accuracy", "f1_macro", "mcc", "f1_micro")
_BASELINES = {"majority": "Majority class", "linear": "Linear model"}
_BASELINE = re.compile("baseline/([^/]+)/")


def baselines_of(metrics: Mapping[str, float]) -> dict[str, str]:
    """The baselines that a run was compared with: from name to title."""
    found = filter(None, (_BASELINE.match(name) for name in metrics))
    return {match[1]: _BASELINES.get(match[1], match[1]) for match in found}


def tiles(metrics: Mapping[str, float], judged: str) -> dict[str, Estimate]:
    """The few numbers that matter most: from title to value."""
    return {
        METRIC_TITLES[name]: _estimate(metrics, f"{judged}/{name}")
        for name in _TILES
        if f"{judged}/{name}" in metrics
    }


def metrics_table(metrics: Mapping[str, float], judged: str, labels: Labels) -> TableView:
    """Each metric of the model and of the baselines on the split judged in the end.

    Args:
        metrics: Those of ``metrics.json``.
        judged: The name of that split.
        labels: The label set.
    """
    sources = {f"Model on {judged}": judged} | {
        title: f"baseline/{name}" for name, title in baselines_of(metrics).items()
    }
    rows = [
        [
            titled(name),
            *compared_estimates(metrics, name, list(sources.values())),
            _other(metrics, name),
        ]
        for name in metric_names(multi_label=labels.multi_label)
        if f"{judged}/{name}" in metrics
    ]
    columns: dict[str, Kind] = {"Metric": "name"}
    columns |= dict.fromkeys(sources, "estimate")
    if judged == "validation":
        return view_of("Metrics", columns, [row[:-1] for row in rows])
    return view_of("Metrics", {**columns, "Model on validation": "estimate"}, rows)


def gains_table(metrics: Mapping[str, float]) -> TableView:
    """By how much the model exceeds each baseline."""
    rows = [
        [
            title,
            METRIC_TITLES[metric],
            _estimate(metrics, f"baseline/{name}/{metric}_gain"),
            metrics.get(f"baseline/{name}/{metric}_gain_p_value"),
        ]
        for name, title in baselines_of(metrics).items()
        for metric in METRIC_TITLES
        if f"baseline/{name}/{metric}_gain" in metrics
    ]
    return view_of(
        "The model against the baselines",
        {"Baseline": "name", "Metric": "name", "Gain": "estimate", "p-value": "number"},
        rows,
    )


def labels_table(
    metrics: Mapping[str, float], judged: str, predictions: pa.Table, labels: Labels
) -> TableView:
    """Each label's own metrics, with how often it occurs.

    Args:
        metrics: Those of ``metrics.json``.
        judged: The split judged in the end.
        predictions: Those on that split.
        labels: The label set.
    """
    counts = _counts(predictions["label"], labels)
    baselines = baselines_of(metrics)
    keys = [f"{judged}/{metric}" for metric in ("precision", "recall", "f1")]
    keys += [f"baseline/{name}/f1" for name in baselines]
    headings = [
        "Precision",
        "Recall",
        "F1",
        *(f"F1 of {_lower(one)}" for one in baselines.values()),
    ]
    rows = [
        [label, count, *(metrics.get(f"{key}/{label}") for key in keys)]
        for label, count in zip(labels.names, counts, strict=True)
    ]
    return view_of(
        "Labels", {"Label": "name", "Examples": "number", **dict.fromkeys(headings, "number")}, rows
    )


def compared_estimates(
    metrics: Mapping[str, float], name: str, sources: list[str]
) -> list[Estimate | None]:
    """A metric of several classifiers, the best of them marked.

    Args:
        metrics: Flat names and numbers.
        name: The metric.
        sources: What each classifier's names begin with.
    """
    values = [metrics.get(f"{source}/{name}", np.nan) for source in sources]
    best = (np.nanmin if name in LOWER_IS_BETTER else np.nanmax)(values)
    return [
        _estimate(metrics, f"{source}/{name}", best=len(sources) > 1 and value == best)
        if f"{source}/{name}" in metrics
        else None
        for source, value in zip(sources, values, strict=True)
    ]


def titled(name: str) -> str:
    """What a metric is called, and whether less of it is better."""
    better = " (lower is better)" if name in LOWER_IS_BETTER else ""
    return f"{METRIC_TITLES[name]}{better}"


def _other(metrics: Mapping[str, float], name: str) -> Estimate | None:
    key = f"validation/{name}"
    return Estimate(metrics[key]) if key in metrics else None


def _estimate(metrics: Mapping[str, float], key: str, *, best: bool = False) -> Estimate:
    ends = (metrics.get(f"{key}_low"), metrics.get(f"{key}_high"))
    interval = None if ends[0] is None or ends[1] is None else (ends[0], ends[1])
    return Estimate(metrics[key], interval, best)


def _counts(column: pa.ChunkedArray, labels: Labels) -> list[int]:
    names = pc.list_flatten(column) if labels.multi_label else column
    counted = {str(one["values"]): int(one["counts"]) for one in pc.value_counts(names).to_pylist()}
    return [counted.get(name, 0) for name in labels.names]


def _lower(title: str) -> str:
    return title[0].lower() + title[1:]
