"""The charts show just the numbers that the predictions have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    multilabel_confusion_matrix,
    roc_auc_score,
)

from textmill.labels import Labels
from textmill.tracking.charts import MACRO_AVERAGE, learning_charts, split_charts
from textmill.tracking.shapes import BarChart, Chart, Heatmap, LineChart

SINGLE_KEYS = {
    "confusion",
    "confusion_by_row",
    "roc",
    "precision_recall",
    "reliability",
    "scores",
    "quality_by_length",
    "coverage",
}


class Problem:
    """Random predictions, as a table and as arrays."""

    def __init__(
        self, size: int, labels: int, *, multi_label: bool = False, seed: int = 0, absent: int = -1
    ) -> None:
        generator = np.random.default_rng(seed)
        self.labels = Labels(tuple(f"label {i}" for i in range(labels)), multi_label)
        logits = generator.normal(size=(size, labels)) - np.arange(labels) / 4
        exponents = np.exp(logits)
        self.shares = (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)
        if multi_label:
            self.shares = (exponents / (1 + exponents)).astype(np.float32)
            self.targets: Any = generator.random((size, labels)) < self.shares
            self.decisions: Any = self.shares >= 0.5
            self.correct = (self.targets == self.decisions).all(axis=1)
            chosen = np.where(self.decisions, self.shares, 1 - self.shares)
            self.confidence = chosen.prod(axis=1)
        else:
            allowed = [label for label in range(labels) if label != absent]
            noise = generator.gumbel(size=(size, labels))[:, allowed]
            self.targets = np.array(allowed)[(logits[:, allowed] + noise).argmax(axis=1)]
            self.decisions = self.shares.argmax(axis=1)
            self.correct = self.targets == self.decisions
            self.confidence = self.shares.max(axis=1)
        self.tokens = generator.integers(3, 40, size)

    def table(self) -> pa.Table:
        names = np.array(self.labels.names)
        if self.labels.multi_label:
            label, prediction = (
                pa.array([names[row].tolist() for row in members], pa.list_(pa.string()))
                for members in (self.targets, self.decisions)
            )
        else:
            label, prediction = pa.array(names[self.targets]), pa.array(names[self.decisions])
        return pa.table(
            {
                "label": label,
                "prediction": prediction,
                "correct": self.correct,
                "confidence": self.confidence,
                "tokens": pa.array(self.tokens, pa.int32()),
                **{f"probability/{name}": self.shares[:, i] for i, name in enumerate(names)},
            }
        )

    def chart(self, key: str) -> Chart:
        return split_charts(self.table(), self.labels)[key]


def area(chart: LineChart, name: str) -> float:
    series = next(one for one in chart.series if one.name == name)
    return float(np.trapezoid(series.y, series.x))


def test_there_is_every_chart_for_one_and_for_several_labels() -> None:
    for multi_label in (False, True):
        problem = Problem(100, 3, multi_label=multi_label)
        assert set(split_charts(problem.table(), problem.labels)) == SINGLE_KEYS


def test_without_lengths_there_is_no_quality_by_length() -> None:
    problem = Problem(30, 2)
    charts = split_charts(problem.table().drop_columns("tokens"), problem.labels)
    assert set(charts) == SINGLE_KEYS - {"quality_by_length"}


def test_a_table_in_several_chunks_gives_the_same() -> None:
    problem = Problem(100, 3, multi_label=True)
    table = pa.concat_tables([problem.table().slice(0, 33), problem.table().slice(33)])
    whole, parts = (split_charts(one, problem.labels) for one in (problem.table(), table))
    for key in SINGLE_KEYS - {"roc", "precision_recall", "coverage"}:
        first, second = whole[key], parts[key]
        if isinstance(first, Heatmap) and isinstance(second, Heatmap):
            np.testing.assert_array_equal(first.values, second.values)
        elif isinstance(first, BarChart) and isinstance(second, BarChart):
            np.testing.assert_equal(first.heights, second.heights)


def test_the_confusion_matrix_is_that_of_scikit_learn() -> None:
    problem = Problem(200, 4)
    counts, shares = problem.chart("confusion"), problem.chart("confusion_by_row")
    np.testing.assert_array_equal(
        counts.values, confusion_matrix(problem.targets, problem.decisions, labels=range(4))
    )
    np.testing.assert_allclose(
        shares.values,
        confusion_matrix(problem.targets, problem.decisions, labels=range(4), normalize="true"),
    )
    assert counts.rows == counts.columns == problem.labels.names


def test_several_labels_are_counted_label_by_label() -> None:
    problem = Problem(200, 4, multi_label=True)
    chart = problem.chart("confusion")
    expected = multilabel_confusion_matrix(problem.targets, problem.decisions)
    assert chart.columns == ("hits", "misses", "false alarms")
    np.testing.assert_array_equal(
        chart.values, [[one[1, 1], one[1, 0], one[0, 1]] for one in expected]
    )
    np.testing.assert_allclose(problem.chart("confusion_by_row").values.sum(axis=1), 1)


def test_a_label_that_a_split_lacks_has_no_shares_and_no_curve() -> None:
    problem = Problem(200, 4, absent=2)
    assert np.isnan(problem.chart("confusion_by_row").values[2]).all()
    for key in ("roc", "precision_recall"):
        assert [one.name for one in problem.chart(key).series] == ["label 0", "label 1", "label 3"]


def test_with_one_label_only_there_are_no_curves() -> None:
    problem = Problem(50, 2, absent=1)
    charts = split_charts(problem.table(), problem.labels)
    assert set(charts) == SINGLE_KEYS - {"roc", "precision_recall"}


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_area_under_each_thinned_curve_is_that_of_scikit_learn(multi_label: bool) -> None:
    problem = Problem(5_000, 4, multi_label=multi_label)
    members = problem.targets if multi_label else np.eye(4)[problem.targets]
    chart = problem.chart("roc")
    for index, name in enumerate(problem.labels.names):
        expected = roc_auc_score(members[:, index], problem.shares[:, index])
        assert area(chart, name) == pytest.approx(expected, abs=1e-3)


def test_of_many_labels_the_most_frequent_are_shown_and_the_average_of_all() -> None:
    problem = Problem(4_000, 14)
    chart = problem.chart("roc")
    frequent = np.sort(np.argsort(-np.bincount(problem.targets), kind="stable")[:10])
    assert [one.name for one in chart.series[:-1]] == [f"label {i}" for i in frequent]
    expected = roc_auc_score(
        problem.targets, problem.shares / problem.shares.sum(1)[:, None], multi_class="ovr"
    )
    assert area(chart, MACRO_AVERAGE) == pytest.approx(expected, abs=3e-3)
    assert "10 most frequent of 14 labels" in chart.title


@pytest.mark.parametrize(("multi_label", "bins"), [(False, 7), (True, 10)])
def test_reliability_compares_confidence_with_the_share_right(multi_label: bool, bins: int) -> None:
    problem = Problem(500, 3, multi_label=multi_label)
    chart = problem.chart("reliability")
    scores, outcomes = problem.confidence, problem.correct
    if multi_label:
        scores, outcomes = problem.shares.ravel(), problem.targets.ravel()
    assert len(chart.categories) == bins
    assert chart.counts.sum() == len(scores)
    for category, count, observed, expected in zip(
        chart.categories, chart.counts, *chart.heights.values(), strict=True
    ):
        low, high = map(float, category.split("-"))
        inside = (scores > low) & (scores <= high)
        assert count == inside.sum()
        assert observed == pytest.approx(outcomes[inside].mean())
        assert expected == pytest.approx(scores[inside].mean(), abs=1e-6)


def test_an_interval_without_examples_has_no_bar() -> None:
    problem = Problem(40, 2)
    problem.confidence = np.full(40, 0.95)
    chart = problem.chart("reliability")
    assert chart.categories[0] == "0.5-0.6"
    assert np.isnan(chart.heights["share right"][:-1]).all()
    assert chart.counts.tolist() == [0, 0, 0, 0, 40]


def test_scores_of_exactly_0_and_1_lie_in_the_outer_intervals() -> None:
    problem = Problem(40, 2, multi_label=True)
    problem.shares = np.tile(np.array([0, 1], dtype=np.float32), (40, 1))
    assert problem.chart("reliability").counts.tolist() == [40, *[0] * 8, 40]


def test_the_histogram_of_confidence_counts_right_and_wrong() -> None:
    problem = Problem(300, 3)
    chart = problem.chart("scores")
    assert chart.heights["right"].sum() == problem.correct.sum()
    assert chart.heights["wrong"].sum() == (~problem.correct).sum()
    assert chart.categories[0] == "0.30-0.35"
    assert chart.categories[-1] == "0.95-1.00"
    assert chart.heights["right"][-1] == problem.correct[problem.confidence > 0.95].sum()


def test_for_several_labels_the_scores_of_having_and_lacking_are_shares() -> None:
    heights = Problem(300, 3, multi_label=True).chart("scores").heights
    for bars in heights.values():
        assert bars.sum() == pytest.approx(1)


@pytest.mark.parametrize("multi_label", [False, True])
def test_quality_by_length_is_the_metric_of_the_texts_of_that_length(multi_label: bool) -> None:
    problem = Problem(400, 3, multi_label=multi_label)
    chart = problem.chart("quality_by_length")
    assert 4 <= len(chart.categories) <= 8
    assert chart.counts.sum() == 400
    assert chart.counts.max() < 2 * chart.counts.min()
    (heights,) = chart.heights.values()
    for category, height in zip(chart.categories, heights, strict=True):
        low, high = map(int, category.split("-"))
        inside = (problem.tokens >= low) & (problem.tokens <= high)
        expected = (
            f1_score(problem.targets[inside], problem.decisions[inside], average="micro")
            if multi_label
            else accuracy_score(problem.targets[inside], problem.decisions[inside])
        )
        assert height == pytest.approx(expected)


def test_texts_of_one_length_are_one_bar() -> None:
    problem = Problem(20, 2)
    problem.tokens[:] = 7
    chart = problem.chart("quality_by_length")
    assert chart.categories == ("7",)
    assert chart.heights[""] == pytest.approx([problem.correct.mean()])


def test_coverage_is_the_accuracy_of_the_more_confident() -> None:
    problem = Problem(150, 3)
    accuracy, threshold = problem.chart("coverage").series
    assert accuracy.x[-1] == 1
    assert accuracy.y[-1] == pytest.approx(problem.correct.mean())
    for share, right, least in zip(accuracy.x, accuracy.y, threshold.y, strict=True):
        answered = problem.confidence >= least
        assert share == pytest.approx(answered.mean())
        assert right == pytest.approx(problem.correct[answered].mean())


def test_examples_of_the_same_confidence_are_answered_together() -> None:
    problem = Problem(60, 2)
    problem.confidence = np.repeat([0.9, 0.6], 30)
    assert problem.chart("coverage").series[0].x.tolist() == [0.5, 1.0]


def test_learning_curves_show_what_was_recorded() -> None:
    training = [
        {"step": 10, "loss": 0.7, "lr/encoder": 1e-4, "lr/head": 1e-3, "gradient_norm": 2.0},
        {"step": 20, "loss": 0.5, "lr/encoder": 5e-5, "lr/head": 5e-4, "gradient_norm": 1.0},
    ]
    history = [{"step": 20, "loss": 0.6, "accuracy": 0.8, "f1_macro": 0.7, "f1/good": 0.9}]
    charts = learning_charts(history, training)
    assert set(charts) == {"loss", "quality", "learning_rate", "gradient_norm"}
    shown = {
        key: {series.name: series.y.tolist() for series in chart.series}
        for key, chart in charts.items()
        if isinstance(chart, LineChart)
    }
    assert shown["loss"] == {"training": [0.7, 0.5], "validation": [0.6]}
    assert shown["quality"] == {"accuracy": [0.8], "f1_macro": [0.7]}
    assert shown["learning_rate"] == {"encoder": [1e-4, 5e-5], "head": [1e-3, 5e-4]}


def test_without_records_there_are_no_learning_curves() -> None:
    assert learning_charts([], []) == {}


def test_a_long_training_is_shown_by_means_of_stretches() -> None:
    training = [{"step": step, "loss": float(step % 2)} for step in range(3_000)]
    chart = learning_charts([], training)["loss"]
    assert isinstance(chart, LineChart)
    (series,) = chart.series
    assert len(series.x) == 300
    assert set(series.y.tolist()) == {0.5}


def test_a_loss_that_is_no_number_leaves_a_gap() -> None:
    training = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": float("inf")}]
    chart = learning_charts([], training)["loss"]
    assert isinstance(chart, LineChart)
    np.testing.assert_array_equal(chart.series[0].y, [0.5, np.nan])
