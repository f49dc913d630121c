from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from textmill.errors import InputError, TextmillError
from textmill.labels import Labels
from textmill.model.metric_names import LOWER_IS_BETTER, metric_names, monitor_mode
from textmill.model.metrics import (
    SplitMetrics,
    classification_metrics,
    decide,
    example_losses,
)


@dataclass(frozen=True)
class Problem:
    targets: np.ndarray
    probabilities: np.ndarray
    labels: Labels


def make_labels(count: int, *, multi_label: bool = False) -> Labels:
    return Labels(tuple(f"label {index}" for index in range(count)), multi_label=multi_label)


@st.composite
def single_label_problems(draw: st.DrawFn) -> Problem:
    """Any number of labels, some of which may be absent; scores that may be tied."""
    examples, count = draw(st.integers(1, 60)), draw(st.integers(2, 8))
    present = draw(st.integers(1, count))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    targets = generator.choice(generator.permutation(count)[:present], examples)
    logits = generator.normal(size=(examples, count)) * draw(st.sampled_from([0.0, 1.0, 30.0]))
    if draw(st.booleans()):
        logits = logits.round()
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return Problem(targets, softmax(logits).astype(dtype), make_labels(count))


@st.composite
def multi_label_problems(draw: st.DrawFn) -> Problem:
    """Labels that all, some or no examples have; scores that may be tied."""
    examples, count = draw(st.integers(1, 60)), draw(st.integers(2, 8))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    rates = generator.choice([0.0, 0.2, 0.6, 1.0], count)
    targets = (generator.random((examples, count)) < rates).astype(np.int64)
    probabilities = generator.random((examples, count)).astype(np.float32)
    if draw(st.booleans()):
        probabilities = probabilities.round(1)
    return Problem(targets, probabilities, make_labels(count, multi_label=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def averages(problem: Problem, decisions: np.ndarray, average: str | None) -> dict[str, Any]:
    functions = {
        "precision": sklearn_metrics.precision_score,
        "recall": sklearn_metrics.recall_score,
        "f1": sklearn_metrics.f1_score,
    }
    return {
        name: function(problem.targets, decisions, average=average, zero_division=0)
        for name, function in functions.items()
    }


def per_label(problem: Problem, decisions: np.ndarray) -> dict[str, float]:
    occurring = np.arange(len(problem.labels))
    if not problem.labels.multi_label:
        occurring = np.union1d(problem.targets, decisions)
    return {
        f"{name}/{problem.labels.names[index]}": value
        for name, values in averages(problem, decisions, None).items()
        for index, value in zip(occurring, values, strict=True)
    }


def ranking(problem: Problem, members: np.ndarray) -> dict[str, float]:
    mixed = [index for index in range(len(problem.labels)) if 0 < members[:, index].mean() < 1]
    if not mixed:
        return {}
    functions = {
        "auroc_macro": sklearn_metrics.roc_auc_score,
        "average_precision_macro": sklearn_metrics.average_precision_score,
    }
    return {
        name: np.mean([function(members[:, i], problem.probabilities[:, i]) for i in mixed])
        for name, function in functions.items()
    }


def calibration_error(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Guo et al. 2017, equations 2 and 3, spelled out."""
    confidences = confidences.astype(np.float64)
    error = 0.0
    for number in range(15):
        inside = (confidences > number / 15) & (confidences <= (number + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidences[inside].mean())
    return error


def scikit_single_label(problem: Problem) -> dict[str, float]:
    ids = list(range(len(problem.labels)))
    decisions = problem.probabilities.argmax(axis=1)
    members = np.eye(len(ids))[problem.targets]
    macro, weighted = (averages(problem, decisions, average) for average in ("macro", "weighted"))
    return {
        "loss": sklearn_metrics.log_loss(problem.targets, problem.probabilities, labels=ids),
        "accuracy": sklearn_metrics.accuracy_score(problem.targets, decisions),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(problem.targets, decisions),
        **{f"{name}_macro": value for name, value in macro.items()},
        **{f"{name}_weighted": value for name, value in weighted.items()},
        "mcc": sklearn_metrics.matthews_corrcoef(problem.targets, decisions),
        **ranking(problem, members),
        "ece": calibration_error(problem.probabilities.max(axis=1), decisions == problem.targets),
        "brier": sklearn_metrics.brier_score_loss(
            problem.targets, problem.probabilities, labels=ids
        ),
        **per_label(problem, decisions),
    }


def scikit_multi_label(problem: Problem) -> dict[str, float]:
    targets, decisions = problem.targets, (problem.probabilities >= 0.5).astype(int)
    columns = range(len(problem.labels))
    macro, micro, weighted = (
        averages(problem, decisions, average) for average in ("macro", "micro", "weighted")
    )
    return {
        "loss": np.mean(
            [
                sklearn_metrics.log_loss(
                    targets[:, i], problem.probabilities[:, i].astype(np.float64), labels=[0, 1]
                )
                for i in columns
            ]
        ),
        "subset_accuracy": sklearn_metrics.accuracy_score(targets, decisions),
        **{f"{name}_macro": value for name, value in macro.items()},
        **{f"{name}_micro": value for name, value in micro.items()},
        **{f"{name}_weighted": value for name, value in weighted.items()},
        "f1_samples": averages(problem, decisions, "samples")["f1"],
        "hamming_loss": sklearn_metrics.hamming_loss(targets, decisions),
        "mcc": sklearn_metrics.matthews_corrcoef(targets.ravel(), decisions.ravel()),
        "ece": calibration_error(problem.probabilities.ravel(), targets.ravel() == 1),
        **ranking(problem, targets),
        "brier": np.mean(
            [
                sklearn_metrics.brier_score_loss(
                    targets[:, i], problem.probabilities[:, i], labels=[0, 1]
                )
                for i in columns
            ]
        ),
        **per_label(problem, decisions),
    }


COUNTED = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "mcc",
    "hamming_loss",
    "subset_accuracy",
)


def assert_equal(ours: dict[str, float], theirs: dict[str, float]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        tolerance = 1e-12 if name.startswith(COUNTED) else 1e-6
        assert value == pytest.approx(theirs[name], abs=tolerance, rel=1e-6), name


@pytest.mark.filterwarnings("ignore::UserWarning")
class TestAgainstScikitLearn:
    @settings(max_examples=50, deadline=None)
    @given(single_label_problems())
    def test_single_label_metrics_equal(self, problem: Problem) -> None:
        ours = classification_metrics(problem.targets, problem.probabilities, problem.labels)
        assert_equal(ours, scikit_single_label(problem))

    @settings(max_examples=25, deadline=None)
    @given(multi_label_problems())
    def test_multi_label_metrics_equal(self, problem: Problem) -> None:
        probabilities = problem.probabilities.clip(1e-6, 1 - 1e-6)
        problem = Problem(problem.targets, probabilities, problem.labels)
        ours = classification_metrics(problem.targets, problem.probabilities, problem.labels)
        assert_equal(ours, scikit_multi_label(problem))

    def test_equal_on_a_large_split(self) -> None:
        generator = np.random.default_rng(0)
        targets = generator.integers(0, 5, 20_000)
        logits = generator.normal(size=(20_000, 5)) + np.eye(5)[targets]
        problem = Problem(targets, softmax(logits).astype(np.float32), make_labels(5))
        ours = classification_metrics(problem.targets, problem.probabilities, problem.labels)
        assert_equal(ours, scikit_single_label(problem))


class TestEdges:
    """What the random problems seldom meet, against scikit-learn all the same."""

    @pytest.mark.filterwarnings("ignore::UserWarning")
    @pytest.mark.parametrize("target", [0, 1])
    def test_one_class_only(self, target: int) -> None:
        probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
        problem = Problem(np.full(3, target), probabilities, make_labels(2))
        ours = classification_metrics(problem.targets, problem.probabilities, problem.labels)
        assert_equal(ours, scikit_single_label(problem))
        assert ours["mcc"] == 0.0
        assert not {"auroc_macro", "average_precision_macro"} & ours.keys()

    def test_a_confidence_of_exactly_one_shares_the_last_bin(self) -> None:
        probabilities = np.array([[1.0, 0.0], [0.95, 0.05], [0.0, 1.0]], dtype=np.float32)
        problem = Problem(np.array([1, 0, 1]), probabilities, make_labels(2))
        ours = classification_metrics(problem.targets, problem.probabilities, problem.labels)
        assert_equal(ours, scikit_single_label(problem))
        assert ours["ece"] == pytest.approx(abs(2 - 2.95) / 3)

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_several_labels_that_no_example_has(self) -> None:
        probabilities = np.array([[0.9, 0.1], [0.4, 0.2]], dtype=np.float32)
        problem = Problem(np.zeros((2, 2), int), probabilities, make_labels(2, multi_label=True))
        ours = classification_metrics(problem.targets, problem.probabilities, problem.labels)
        assert_equal(ours, scikit_multi_label(problem))
        assert ours["f1_weighted"] == 0.0


class TestSplitMetrics:
    @given(st.one_of(single_label_problems(), multi_label_problems()), st.integers(1, 9))
    @settings(max_examples=25, deadline=None)
    def test_batches_in_any_order_give_the_metrics_of_the_whole_split(
        self, problem: Problem, batch: int
    ) -> None:
        metric = SplitMetrics(problem.labels)
        logits = np.random.default_rng(batch).normal(size=problem.probabilities.shape)
        logits = torch.from_numpy(logits.astype(np.float32))
        places = np.random.default_rng(batch).permutation(len(logits))
        for start in range(0, len(places), batch):
            index = torch.from_numpy(places[start : start + batch])
            metric.update(index, logits[index], torch.from_numpy(problem.targets)[index])
        found = metric.compute()
        targets, probabilities = metric.judged
        several = problem.labels.multi_label
        expected = torch.sigmoid(logits) if several else torch.softmax(logits, dim=1)
        assert np.array_equal(targets, problem.targets)
        assert np.allclose(probabilities, expected.numpy(), atol=1e-6)
        assert found == classification_metrics(targets, probabilities, problem.labels)

    def test_an_example_that_was_judged_twice_counts_once(self) -> None:
        metric = SplitMetrics(make_labels(2))
        for row, logits in ((2, [3.0, 0.0]), (0, [0.0, 1.0]), (2, [3.0, 0.0]), (1, [0.0, 2.0])):
            metric.update(torch.tensor([row]), torch.tensor([logits]), torch.tensor([1]))
        assert metric.compute()["accuracy"] == pytest.approx(2 / 3)
        targets, probabilities = metric.judged
        assert targets.tolist() == [1, 1, 1]
        assert probabilities[:, 1].argsort().tolist() == [2, 0, 1]

    def test_a_reset_forgets_the_split_before(self) -> None:
        metric = SplitMetrics(make_labels(2))
        wrong, right = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        metric.update(torch.tensor([0]), wrong, torch.tensor([1]))
        assert metric.compute()["accuracy"] == 0.0
        metric.reset()
        metric.update(torch.tensor([0]), right, torch.tensor([1]))
        assert metric.compute()["accuracy"] == 1.0

    def test_nothing_of_it_goes_into_checkpoints(self) -> None:
        metric = SplitMetrics(make_labels(2))
        metric.update(torch.tensor([0]), torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
        assert metric.state_dict() == {}


@given(st.one_of(single_label_problems(), multi_label_problems()))
@settings(max_examples=50, deadline=None)
def test_every_value_is_a_number_and_every_name_is_known(problem: Problem) -> None:
    found = classification_metrics(problem.targets, problem.probabilities, problem.labels)
    assert all(type(value) is float and math.isfinite(value) for value in found.values())
    names = {name for name in found if "/" not in name}
    assert names <= set(metric_names(multi_label=problem.labels.multi_label))
    for name in found:
        monitor_mode(name, multi_label=problem.labels.multi_label)


def test_macro_is_the_mean_of_the_labels_own_values() -> None:
    targets, labels = np.array([0, 0, 1, 1]), make_labels(4)
    found = classification_metrics(targets, np.eye(4)[[0, 1, 1, 2]], labels)
    own = [found[f"f1/label {index}"] for index in range(3)]
    assert found["f1_macro"] == pytest.approx(np.mean(own))
    assert "f1/label 3" not in found


def test_the_given_decisions_are_the_ones_judged() -> None:
    targets, labels = np.array([0, 1]), make_labels(2)
    probabilities = np.array([[0.4, 0.6], [0.4, 0.6]])
    found = classification_metrics(targets, probabilities, labels, decisions=np.array([0, 0]))
    assert found["recall/label 0"] == 1.0
    assert found["recall/label 1"] == 0.0


def test_a_certain_mistake_has_a_finite_loss() -> None:
    found = classification_metrics(np.array([0]), np.array([[0.0, 1.0]]), make_labels(2))
    assert found["loss"] == pytest.approx(-math.log(np.finfo(np.float64).eps))


def test_multi_label_targets_may_be_floats_as_torch_holds_them() -> None:
    labels = make_labels(2, multi_label=True)
    found = classification_metrics(
        np.array([[1.0, 0.0]], dtype=np.float32), np.array([[0.9, 0.2]]), labels
    )
    assert found["subset_accuracy"] == 1.0


def test_the_mean_of_the_examples_losses_is_the_loss() -> None:
    targets, probabilities = np.array([0, 1]), np.array([[0.8, 0.2], [0.6, 0.4]], dtype=np.float32)
    losses = example_losses(targets, probabilities, make_labels(2))
    assert losses == pytest.approx([-math.log(0.8), -math.log(0.4)], rel=1e-6)
    found = classification_metrics(targets, probabilities, make_labels(2))
    assert found["loss"] == pytest.approx(losses.mean())


class TestDecisions:
    def test_one_label_is_the_one_that_exceeds_its_threshold_most(self) -> None:
        probabilities = np.array([[0.7, 0.3]], dtype=np.float32)
        assert decide(probabilities, make_labels(2)).tolist() == [0]
        thresholds = np.array([0.6, 0.1], dtype=np.float32)
        assert decide(probabilities, make_labels(2), thresholds).tolist() == [1]

    def test_several_labels_are_those_that_reach_their_thresholds(self) -> None:
        labels = make_labels(3, multi_label=True)
        probabilities = np.array([[0.5, 0.49, 0.51]], dtype=np.float32)
        assert decide(probabilities, labels).tolist() == [[1, 0, 1]]
        thresholds = np.array([0.6, 0.4, 0.9], dtype=np.float32)
        assert decide(probabilities, labels, thresholds).tolist() == [[0, 1, 0]]


def test_no_examples_have_no_metrics() -> None:
    empty = classification_metrics(np.empty(0, dtype=int), np.empty((0, 2)), make_labels(2))
    assert empty == {}


def test_a_diverged_model_is_told_of_in_plain_words() -> None:
    with pytest.raises(TextmillError, match=r"not numbers.*lower optimizer\.lr"):
        classification_metrics(np.array([0]), np.array([[np.nan, 1.0]]), make_labels(2))


class TestMonitorMode:
    @pytest.mark.parametrize("name", sorted(LOWER_IS_BETTER))
    def test_losses_are_better_when_low(self, name: str) -> None:
        assert monitor_mode(name, multi_label=name == "hamming_loss") == "min"

    @pytest.mark.parametrize("name", ["accuracy", "mcc", "f1_macro", "f1/any label/at all"])
    def test_scores_are_better_when_high(self, name: str) -> None:
        assert monitor_mode(name, multi_label=False) == "max"

    def test_a_misspelt_metric_gets_a_suggestion(self) -> None:
        with pytest.raises(InputError, match=r"'f1_makro' is not a metric.*f1_macro"):
            monitor_mode("f1_makro", multi_label=False)

    @pytest.mark.parametrize("name", ["f1/", "/positive", "loss/positive"])
    def test_not_every_name_with_a_slash_is_a_labels_metric(self, name: str) -> None:
        with pytest.raises(InputError):
            monitor_mode(name, multi_label=False)

    def test_a_metric_of_the_other_kind_is_refused(self) -> None:
        with pytest.raises(InputError, match="multi-label"):
            monitor_mode("balanced_accuracy", multi_label=True)
