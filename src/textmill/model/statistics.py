"""How sure a comparison on a test split is: intervals, paired tests, and a verdict in words.

Resampling examples with replacement draws how often each pattern of target and predictions occurs
from a multinomial distribution. So it is the counts of the distinct patterns that are drawn, a few
numbers instead of one for each example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.stats import binomtest

from textmill.labels import Labels

RESAMPLES = 2000
SIGNIFICANCE = 0.05
# Drawn counts held at a time, 8 bytes each.
DRAWN_AT_ONCE = 10_000_000

TITLES = {"accuracy": "accuracy", "subset_accuracy": "subset accuracy", "f1_macro": "macro-F1"}

Integers = npt.NDArray[np.integer[Any]]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95% interval of a metric."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much one classifier's metric exceeds another's, on the same examples.

    Args:
        value: The first's metric less the second's.
        interval: The difference's 95% bootstrap interval.
        p_value: The two-sided p-value of there being no difference.
        test: The name of the test.
    """

    value: float
    interval: Interval
    p_value: float
    test: Literal["McNemar", "paired bootstrap"]

    @property
    def outcome(self) -> Literal["first", "second", "tie"]:
        """Which classifier is better, if it can be told at the 5% level."""
        if self.p_value >= SIGNIFICANCE or self.value == 0:
            return "tie"
        return "first" if self.value > 0 else "second"


def bootstrap_intervals(
    targets: Integers,
    decisions: Integers,
    labels: Labels,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """95% percentile bootstrap intervals (Efron and Tibshirani 1993, chapter 13).

    Each resample's macro-F1 is taken over the labels that occur in it, as the metric itself is.

    Args:
        targets: Label ids ``[examples]``, or 0 and 1 ``[examples, labels]`` for several labels.
        decisions: What was predicted, shaped like the targets.
        labels: The label set.
        seed: Of the resampling.
        resamples: How many.

    Returns:
        The intervals of ``accuracy`` (of ``subset_accuracy`` where a text may have several labels)
        and of ``f1_macro``.
    """
    patterns = _Patterns.of([targets, decisions], labels)
    (drawn,) = patterns.resample(seed, resamples)
    return {name: _interval(values) for name, values in drawn.items()}


def paired_tests(
    targets: Integers,
    first: Integers,
    second: Integers,
    labels: Labels,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Difference]:
    """Tests of the difference between two classifiers on the same examples.

    Accuracy is tested by McNemar's test (1947), in its exact form: among the examples that only one
    of the two gets right, the first's share is binomial with one half. Macro-F1 is no mean over
    examples; it is tested by the paired bootstrap (Koehn 2004; Berg-Kirkpatrick et al. 2012): how
    often a resample's difference is as far from the observed one as that is from 0. Dror et al.
    (2018) discuss the choice. The intervals are of the paired bootstrap for both.

    Args:
        targets: Label ids ``[examples]``, or 0 and 1 ``[examples, labels]`` for several labels.
        first: What one classifier predicted, shaped like the targets.
        second: What the other one predicted.
        labels: The label set.
        seed: Of the resampling.
        resamples: How many.

    Returns:
        The differences in ``accuracy`` (in ``subset_accuracy`` where a text may have several
        labels) and in ``f1_macro``, first less second.
    """
    patterns = _Patterns.of([targets, first, second], labels)
    of_first, of_second = patterns.observed()
    drawn_first, drawn_second = patterns.resample(seed, resamples)
    accuracy = _accuracy_name(labels)
    value = {name: of_first[name] - of_second[name] for name in of_first}
    drawn = {name: drawn_first[name] - drawn_second[name] for name in of_first}
    return {
        accuracy: Difference(
            value[accuracy], _interval(drawn[accuracy]), patterns.mcnemar(), "McNemar"
        ),
        "f1_macro": Difference(
            value["f1_macro"],
            _interval(drawn["f1_macro"]),
            _bootstrap_p_value(value["f1_macro"], drawn["f1_macro"]),
            "paired bootstrap",
        ),
    }


def paired_interval(
    first: Callable[[Integers], float],
    second: Callable[[Integers], float],
    examples: int,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval:
    """The 95% paired bootstrap interval of the difference in any metric.

    It takes longer than `paired_tests`, which draws patterns and not examples.

    Args:
        first: Gives one classifier's metric on some of the examples, which are named by their rows;
            NaN where it is undefined on them, as the area under a curve without one of the labels.
        second: The same for the other one.
        examples: How many there are.
        seed: Of the resampling.
        resamples: How many.

    Returns:
        The interval of the first less the second, over the resamples on which both are defined.
    """
    generator = np.random.default_rng(seed)
    draws = (generator.integers(examples, size=examples) for _ in range(resamples))
    drawn = np.array([first(rows) - second(rows) for rows in draws])
    return _interval(drawn[~np.isnan(drawn)])


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which of two classifiers is better, in words.

    Args:
        first: What the first is called within a sentence, like ``the model``.
        second: What the second is called.
        differences: From metric to difference; see `paired_tests`.
    """

    first: str
    second: str
    differences: Mapping[str, Difference]

    @property
    def winner(self) -> Literal["first", "second", "tie"]:
        """The one that is better on some metric and worse on none, if there is such a one."""
        outcomes = {difference.outcome for difference in self.differences.values()} - {"tie"}
        return outcomes.pop() if len(outcomes) == 1 else "tie"

    @property
    def sentence(self) -> str:
        """The verdict with its evidence."""
        outcomes = [difference.outcome for difference in self.differences.values()]
        if len(set(outcomes)) == 1:
            clause = self._clause(outcomes[0], tuple(self.differences))
        else:
            clause = "; ".join(
                self._clause(difference.outcome, (name,))
                for name, difference in self.differences.items()
            )
        return f"{clause[0].upper()}{clause[1:]}."

    def _clause(self, outcome: Literal["first", "second", "tie"], names: tuple[str, ...]) -> str:
        evidence = " and ".join(self._evidence(name, signed=outcome == "tie") for name in names)
        if outcome == "tie":
            return f"{self.first} and {self.second} tie: a difference of {evidence}"
        better, worse = self.first, self.second
        if outcome == "second":
            better, worse = worse, better
        return f"{better} beats {worse} by {evidence}"

    def _evidence(self, name: str, *, signed: bool) -> str:
        difference = self.differences[name]
        # Where the second one wins, everything is told from its side.
        side = -1 if difference.outcome == "second" else 1
        interval = difference.interval
        low, high = sorted(_points(side * end) for end in (interval.low, interval.high))
        points = f"{_points(side * difference.value):{'+' if signed else ''}.1f}"
        return (
            f"{points} points of {TITLES[name]} (95% interval {low:.1f} to {high:.1f}; "
            f"{difference.test} {_p_in_words(difference.p_value)})"
        )


@dataclass(frozen=True, slots=True)
class _Patterns:
    """The distinct combinations of target and predictions.

    Args:
        counts: Examples of each pattern.
        targets: 1 where a pattern's target has a label ``[patterns, labels]``.
        decisions: The same for each classifier's prediction.
        labels: The label set.
    """

    counts: Integers
    targets: csr_array
    decisions: tuple[csr_array, ...]
    labels: Labels

    @classmethod
    def of(cls, columns: list[Integers], labels: Labels) -> _Patterns:
        rows, counts = np.unique(np.column_stack(columns), axis=0, return_counts=True)
        targets, *decisions = (
            _members(part, labels) for part in np.split(rows, len(columns), axis=1)
        )
        return cls(counts, targets, tuple(decisions), labels)

    def correct(self, decisions: csr_array) -> npt.NDArray[np.bool_]:
        """Whether a pattern's prediction is wholly right ``[patterns]``."""
        right: npt.NDArray[np.bool_] = abs(self.targets - decisions).sum(axis=1) == 0
        return right

    def observed(self) -> list[dict[str, float]]:
        """Each classifier's metrics on the examples as they are."""
        return [
            {name: float(values[0]) for name, values in self._metrics(one, self.counts[None])}
            for one in self.decisions
        ]

    def resample(self, seed: int, resamples: int) -> list[dict[str, Doubles]]:
        """Each classifier's metrics ``[resamples]``, on resamples that all of them share."""
        parts = [
            [dict(self._metrics(one, drawn)) for one in self.decisions]
            for drawn in self._draws(seed, resamples)
        ]
        return [
            {name: np.concatenate([part[name] for part in one]) for name in one[0]}
            for one in zip(*parts, strict=True)
        ]

    def mcnemar(self) -> float:
        """The exact two-sided p-value for the first two classifiers."""
        first, second = (self.correct(one) for one in self.decisions)
        only_first = int(self.counts[first & ~second].sum())
        only_second = int(self.counts[second & ~first].sum())
        if only_first + only_second == 0:
            return 1.0
        return float(binomtest(only_first, only_first + only_second).pvalue)

    def _draws(self, seed: int, resamples: int) -> Iterator[Integers]:
        generator = np.random.default_rng(seed)
        examples = self.counts.sum()
        at_once = max(1, DRAWN_AT_ONCE // len(self.counts))
        for start in range(0, resamples, at_once):
            size = min(at_once, resamples - start)
            yield generator.multinomial(examples, self.counts / examples, size=size)

    def _metrics(self, decisions: csr_array, drawn: Integers) -> Iterator[tuple[str, Doubles]]:
        """Accuracy and macro-F1 ``[resamples]`` for drawn counts ``[resamples, patterns]``."""
        yield _accuracy_name(self.labels), drawn @ self.correct(decisions) / self.counts.sum()
        hits = drawn @ self.targets.multiply(decisions)
        occurrences = drawn @ (self.targets + decisions)
        f1 = 2 * hits / np.maximum(occurrences, 1)
        averaged = len(self.labels) if self.labels.multi_label else (occurrences > 0).sum(axis=1)
        yield "f1_macro", f1.sum(axis=1) / averaged


def _members(part: Integers, labels: Labels) -> csr_array:
    if labels.multi_label:
        return csr_array(part)
    rows = np.arange(len(part))
    ones = np.ones(len(part), dtype=np.int64)
    return csr_array((ones, (rows, part[:, 0])), shape=(len(part), len(labels)))


def _accuracy_name(labels: Labels) -> str:
    return "subset_accuracy" if labels.multi_label else "accuracy"


def _interval(values: Doubles) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))


def _bootstrap_p_value(observed: float, drawn: Doubles) -> float:
    # Tolerant of rounding, so that two equal classifiers get exactly 1.
    as_far = np.abs(drawn - observed) >= abs(observed) - 1e-12
    return float((1 + as_far.sum()) / (1 + len(drawn)))


def _points(share: float) -> float:
    # Adding 0 turns a negative zero, left by rounding, into an ordinary one.
    return round(100 * share, 1) + 0.0


def _p_in_words(p_value: float) -> str:
    if p_value < 0.0001:
        return "p < 0.0001"
    return f"p = {p_value:.4f}" if p_value < 0.01 else f"p = {p_value:.3f}"
