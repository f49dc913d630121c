from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import f1_score

from textmill.labels import Labels
from textmill.model import statistics
from textmill.model.statistics import (
    Difference,
    Interval,
    Verdict,
    bootstrap_intervals,
    paired_interval,
    paired_tests,
)

TWO = Labels(("no", "yes"))
THREE = Labels(("a", "b", "c"))
SEVERAL = Labels(("x", "y", "z"), multi_label=True)


def noisy(targets: np.ndarray, rate: float, count: int, seed: int) -> np.ndarray:
    """Predictions that keep the target with probability ``rate``, and guess otherwise."""
    generator = np.random.default_rng(seed)
    return np.where(
        generator.random(len(targets)) < rate, targets, generator.integers(0, count, len(targets))
    )


def flipped(targets: np.ndarray, rate: float, seed: int) -> np.ndarray:
    return targets ^ (np.random.default_rng(seed).random(targets.shape) < rate)


def plain_bootstrap(targets: np.ndarray, decisions: np.ndarray, resamples: int) -> np.ndarray:
    """Accuracy and macro-F1 ``[resamples, 2]``, by drawing examples one by one."""
    generator = np.random.default_rng(99)
    values = []
    for _ in range(resamples):
        chosen = generator.integers(0, len(targets), len(targets))
        t, d = targets[chosen], decisions[chosen]
        right = (t == d).all(axis=1) if t.ndim == 2 else t == d
        values.append((right.mean(), f1_score(t, d, average="macro", zero_division=0)))
    return np.array(values)


class TestIntervals:
    def test_they_are_those_of_drawing_examples_one_by_one(self) -> None:
        targets = np.random.default_rng(0).choice(3, 300, p=[0.7, 0.25, 0.05])
        decisions = noisy(targets, 0.7, 3, seed=1)
        found = bootstrap_intervals(targets, decisions, THREE, seed=0, resamples=4000)
        expected = np.percentile(plain_bootstrap(targets, decisions, 800), [2.5, 97.5], axis=0)
        for column, name in enumerate(("accuracy", "f1_macro")):
            assert found[name].low == pytest.approx(expected[0, column], abs=0.012)
            assert found[name].high == pytest.approx(expected[1, column], abs=0.012)

    def test_with_several_labels_too(self) -> None:
        targets = (np.random.default_rng(0).random((300, 3)) < [0.5, 0.3, 0.1]).astype(int)
        decisions = flipped(targets, 0.1, seed=1)
        found = bootstrap_intervals(targets, decisions, SEVERAL, seed=0, resamples=4000)
        expected = np.percentile(plain_bootstrap(targets, decisions, 800), [2.5, 97.5], axis=0)
        for column, name in enumerate(("subset_accuracy", "f1_macro")):
            assert found[name].low == pytest.approx(expected[0, column], abs=0.015)
            assert found[name].high == pytest.approx(expected[1, column], abs=0.015)

    def test_accuracy_has_the_width_of_the_binomial(self) -> None:
        targets = np.zeros(2000, dtype=int)
        decisions = (np.arange(2000) < 400).astype(int)
        found = bootstrap_intervals(targets, decisions, TWO, seed=3)["accuracy"]
        half = 1.96 * math.sqrt(0.8 * 0.2 / 2000)
        assert found.low == pytest.approx(0.8 - half, abs=0.002)
        assert found.high == pytest.approx(0.8 + half, abs=0.002)

    def test_they_hold_the_truth_as_often_as_they_say(self) -> None:
        held = 0
        for seed in range(300):
            targets = np.random.default_rng(seed).integers(0, 2, 200)
            decisions = noisy(targets, 0.6, 2, seed=1000 + seed)
            found = bootstrap_intervals(targets, decisions, TWO, seed=seed, resamples=300)
            held += found["accuracy"].low <= 0.8 <= found["accuracy"].high
        assert 0.91 <= held / 300 <= 0.985

    def test_the_seed_decides(self) -> None:
        targets = np.random.default_rng(0).integers(0, 3, 100)
        decisions = noisy(targets, 0.5, 3, seed=1)
        first, again, other = (
            bootstrap_intervals(targets, decisions, THREE, seed=seed) for seed in (1, 1, 2)
        )
        assert first == again
        assert first != other

    def test_drawing_in_parts_changes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        targets = np.random.default_rng(0).integers(0, 3, 100)
        decisions = noisy(targets, 0.5, 3, seed=1)
        whole = bootstrap_intervals(targets, decisions, THREE, seed=1, resamples=100)
        monkeypatch.setattr(statistics, "DRAWN_AT_ONCE", 70)
        assert bootstrap_intervals(targets, decisions, THREE, seed=1, resamples=100) == whole

    def test_a_faultless_classifier_has_no_spread(self) -> None:
        targets = np.array([0, 1, 1, 0])
        found = bootstrap_intervals(targets, targets, TWO, seed=0)
        assert found == {"accuracy": Interval(1.0, 1.0), "f1_macro": Interval(1.0, 1.0)}


class TestPairedTests:
    def test_mcnemar_is_the_binomial_test_of_the_examples_they_disagree_on(self) -> None:
        targets = np.zeros(100, dtype=int)
        first, second = targets.copy(), targets.copy()
        first[:4] = 1
        second[2:17] = 1
        found = paired_tests(targets, first, second, TWO, seed=0)["accuracy"]
        assert found.value == pytest.approx(0.11)
        assert found.p_value == pytest.approx(2 * binom.cdf(2, 15, 0.5))
        assert found.test == "McNemar"

    def test_mistakes_of_another_kind_are_mistakes_alike(self) -> None:
        targets, first, second = np.zeros(30, int), np.ones(30, int), np.full(30, 2)
        found = paired_tests(targets, first, second, THREE, seed=0)["accuracy"]
        assert (found.value, found.p_value, found.outcome) == (0.0, 1.0, "tie")

    def test_a_classifier_ties_with_itself(self) -> None:
        targets = np.random.default_rng(0).integers(0, 3, 100)
        same = noisy(targets, 0.5, 3, seed=1)
        for found in paired_tests(targets, same, same, THREE, seed=0).values():
            assert (found.value, found.p_value, found.outcome) == (0.0, 1.0, "tie")
            assert found.interval == Interval(0.0, 0.0)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2**31), st.booleans())
    def test_the_order_only_turns_the_sign(self, seed: int, multi_label: bool) -> None:
        generator = np.random.default_rng(seed)
        if multi_label:
            labels, targets = SEVERAL, generator.integers(0, 2, (40, 3))
            one, two = flipped(targets, 0.2, seed + 1), flipped(targets, 0.4, seed + 2)
        else:
            labels, targets = THREE, generator.integers(0, 3, 40)
            one, two = noisy(targets, 0.8, 3, seed + 1), noisy(targets, 0.4, 3, seed + 2)
        there = paired_tests(targets, one, two, labels, seed=0, resamples=200)
        back = paired_tests(targets, two, one, labels, seed=0, resamples=200)
        for name, difference in there.items():
            assert back[name].value == pytest.approx(-difference.value)
            assert 0 < difference.p_value <= 1
        accuracy = "subset_accuracy" if multi_label else "accuracy"
        assert there[accuracy].p_value == pytest.approx(back[accuracy].p_value)

    def test_the_differences_are_those_of_the_metrics(self) -> None:
        targets = np.random.default_rng(0).integers(0, 3, 200)
        first, second = noisy(targets, 0.8, 3, seed=1), noisy(targets, 0.4, 3, seed=2)
        found = paired_tests(targets, first, second, THREE, seed=0)
        expected = f1_score(targets, first, average="macro") - f1_score(
            targets, second, average="macro"
        )
        assert found["f1_macro"].value == pytest.approx(expected)
        assert found["f1_macro"].outcome == "first"
        assert found["f1_macro"].interval.low < expected < found["f1_macro"].interval.high

    def test_a_label_nobody_has_or_predicts_counts_for_nothing(self) -> None:
        targets, first = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0])
        second = np.array([1, 1, 0, 0])
        with warnings.catch_warnings(action="error"):
            found = paired_tests(targets, first, second, THREE, seed=0)
        expected = f1_score(targets, first, average="macro") - f1_score(
            targets, second, average="macro"
        )
        assert found["f1_macro"].value == pytest.approx(expected)

    def test_subset_accuracy_takes_the_whole_set_of_labels(self) -> None:
        targets = np.array([[1, 0, 1]] * 20)
        first, second = targets.copy(), targets.copy()
        second[:10, 0] = 0
        found = paired_tests(targets, first, second, SEVERAL, seed=0)
        assert found["subset_accuracy"].value == pytest.approx(0.5)
        assert found["subset_accuracy"].p_value == pytest.approx(2 * 0.5**10)

    def test_without_a_difference_macro_f1_is_rarely_called_different(self) -> None:
        called = 0
        for seed in range(200):
            targets = np.random.default_rng(seed).integers(0, 2, 150)
            first = noisy(targets, 0.6, 2, seed=1000 + seed)
            second = noisy(targets, 0.6, 2, seed=2000 + seed)
            found = paired_tests(targets, first, second, TWO, seed=seed, resamples=300)
            called += found["f1_macro"].outcome != "tie"
        assert called / 200 < 0.1


def verdict(*differences: tuple[float, float, float, float]) -> Verdict:
    names = ("accuracy", "f1_macro")[: len(differences)]
    tests = ("McNemar", "paired bootstrap")
    return Verdict(
        "the model",
        "TF-IDF + linear",
        {
            name: Difference(value, Interval(low, high), p_value, test)  # type: ignore[arg-type]
            for name, test, (value, low, high, p_value) in zip(
                names, tests, differences, strict=False
            )
        },
    )


class TestVerdict:
    def test_a_win_is_told_with_its_evidence(self) -> None:
        found = verdict((0.059, 0.034, 0.084, 0.0001))
        assert found.winner == "first"
        assert found.sentence == (
            "The model beats TF-IDF + linear by 5.9 points of accuracy "
            "(95% interval 3.4 to 8.4; McNemar p = 0.0001)."
        )

    def test_two_wins_make_one_clause(self) -> None:
        found = verdict((0.059, 0.034, 0.084, 0.00001), (0.06, 0.03, 0.09, 0.0005))
        assert found.sentence == (
            "The model beats TF-IDF + linear by 5.9 points of accuracy "
            "(95% interval 3.4 to 8.4; McNemar p < 0.0001) and 6.0 points of macro-F1 "
            "(95% interval 3.0 to 9.0; paired bootstrap p = 0.0005)."
        )

    def test_a_lost_comparison_is_told_from_the_winners_side(self) -> None:
        found = verdict((-0.02, -0.03, -0.01, 0.004))
        assert found.winner == "second"
        assert found.sentence == (
            "TF-IDF + linear beats the model by 2.0 points of accuracy "
            "(95% interval 1.0 to 3.0; McNemar p = 0.0040)."
        )

    def test_a_tie_is_called_one_however_the_numbers_lean(self) -> None:
        found = verdict((0.007, -0.001, 0.015, 0.11), (-0.0001, -0.01, 0.01, 0.9))
        assert found.winner == "tie"
        assert found.sentence == (
            "The model and TF-IDF + linear tie: a difference of +0.7 points of accuracy "
            "(95% interval -0.1 to 1.5; McNemar p = 0.110) and +0.0 points of macro-F1 "
            "(95% interval -1.0 to 1.0; paired bootstrap p = 0.900)."
        )

    def test_a_win_on_one_metric_alone_is_a_win(self) -> None:
        found = verdict((0.001, -0.02, 0.02, 0.8), (0.12, 0.1, 0.14, 0.0005))
        assert found.winner == "first"
        assert found.sentence.startswith("The model and TF-IDF + linear tie: a difference of +0.1")
        assert "; the model beats TF-IDF + linear by 12.0 points of macro-F1" in found.sentence

    def test_metrics_that_contradict_each_other_leave_no_winner(self) -> None:
        found = verdict((-0.05, -0.08, -0.02, 0.001), (0.12, 0.1, 0.14, 0.0005))
        assert found.winner == "tie"
        assert found.sentence.startswith("TF-IDF + linear beats the model by 5.0 points")
        assert "; the model beats TF-IDF + linear by 12.0 points of macro-F1" in found.sentence


class TestAnyMetric:
    def test_the_interval_is_that_of_the_metrics_that_have_a_test(self) -> None:
        targets = np.random.default_rng(0).choice(2, 400)
        first, second = noisy(targets, 0.8, 2, seed=1), noisy(targets, 0.7, 2, seed=2)
        tests = paired_tests(targets, first, second, TWO, seed=0, resamples=4000)
        found = paired_interval(
            lambda rows: float((targets[rows] == first[rows]).mean()),
            lambda rows: float((targets[rows] == second[rows]).mean()),
            len(targets),
            seed=0,
            resamples=4000,
        )
        assert found.low == pytest.approx(tests["accuracy"].interval.low, abs=0.006)
        assert found.high == pytest.approx(tests["accuracy"].interval.high, abs=0.006)

    def test_resamples_that_leave_the_metric_undefined_are_left_out(self) -> None:
        def measure(rows: np.ndarray) -> float:
            return math.nan if 0 in rows else 0.25

        found = paired_interval(measure, lambda _: 0.125, 5, seed=0, resamples=200)
        assert found == Interval(0.125, 0.125)
