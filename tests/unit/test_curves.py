"""Curves are scikit-learn's, and thinning them leaves their shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from sklearn.metrics import precision_recall_curve, roc_curve

from textmill.model.ranking import Ranking
from textmill.tracking.curves import (
    MOST_POINTS,
    averaged_precision_recall,
    averaged_roc,
    thinned,
)

# Few different scores, so that there are ties.
EXAMPLES = st.lists(
    st.tuples(st.integers(0, 8).map(lambda score: score / 8), st.booleans()), min_size=2
).filter(lambda examples: len({member for _, member in examples}) == 2)


def ranked(examples: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray, Ranking]:
    scores = np.array([score for score, _ in examples], dtype=np.float32)
    members = np.array([member for _, member in examples])
    return scores, members, Ranking.of(scores, members)


def noisy(size: int, strength: float, seed: int = 0) -> Ranking:
    generator = np.random.default_rng(seed)
    members = generator.random(size) < 0.3
    scores = generator.normal(size=size) + strength * members
    return Ranking.of(scores.astype(np.float32), members)


@settings(deadline=None)
@given(EXAMPLES)
def test_the_roc_curve_is_that_of_scikit_learn(examples: list[tuple[float, bool]]) -> None:
    scores, members, ranking = ranked(examples)
    false_rates, true_rates, _ = roc_curve(members, scores, drop_intermediate=False)
    np.testing.assert_allclose(ranking.roc(), (false_rates, true_rates))


@settings(deadline=None)
@given(EXAMPLES)
def test_precision_and_recall_are_those_of_scikit_learn(
    examples: list[tuple[float, bool]],
) -> None:
    scores, members, ranking = ranked(examples)
    precision, recall, _ = precision_recall_curve(members, scores)
    np.testing.assert_allclose(ranking.precision_recall(), (recall[::-1], precision[::-1]))


@pytest.mark.parametrize("strength", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("curve", [Ranking.roc, Ranking.precision_recall])
def test_a_thinned_curve_has_few_of_the_points_and_the_same_shape(
    strength: float, curve: object
) -> None:
    x, y = curve(noisy(20_000, strength))  # type: ignore[operator]
    few_x, few_y = thinned(x, y)
    assert len(few_x) == MOST_POINTS
    assert set(zip(few_x, few_y, strict=True)) <= set(zip(x, y, strict=True))
    assert (few_x[0], few_y[0], few_x[-1], few_y[-1]) == (x[0], y[0], x[-1], y[-1])
    along = np.linspace(0, MOST_POINTS - 1, 200 * MOST_POINTS)
    places = np.arange(MOST_POINTS)
    line = np.column_stack([np.interp(along, places, few_x), np.interp(along, places, few_y)])
    distances, _ = cKDTree(line).query(np.column_stack([x, y]))
    assert distances.max() < 0.005


def test_a_short_line_keeps_all_its_points() -> None:
    x, y = thinned(np.arange(5.0), np.arange(5.0) ** 2)
    assert (x.tolist(), y.tolist()) == ([0, 1, 2, 3, 4], [0, 1, 4, 9, 16])


def test_a_straight_line_keeps_its_ends() -> None:
    x, y = thinned(np.arange(500.0), np.arange(500.0))
    assert (x.tolist(), y.tolist()) == ([0, 499], [0, 499])


def test_a_line_that_returns_to_its_start_keeps_its_farthest_point() -> None:
    angles = np.linspace(0, 2 * np.pi, 1000)
    x, y = thinned(np.cos(angles), np.sin(angles), most=3)
    assert x[1] == pytest.approx(-1, abs=0.01)
    assert y[1] == pytest.approx(0, abs=0.01)


def test_the_average_of_equal_curves_is_that_curve() -> None:
    ranking = noisy(5_000, 1.0)
    grid, rates = averaged_roc([ranking, ranking])
    np.testing.assert_allclose(rates[1:], np.interp(grid[1:], *ranking.roc()))
    recall, precision = averaged_precision_recall([ranking, ranking])
    full_recall, full_precision = ranking.precision_recall()
    assert precision[-1] == full_precision[np.searchsorted(full_recall, 1.0)]
    assert (recall[0], precision[0]) == (0, 1)


def test_the_average_lies_between_the_curves() -> None:
    good, bad = noisy(5_000, 3.0), noisy(5_000, 0.5)
    (_, average), (_, upper), (_, lower) = (
        averaged_roc(one) for one in ([good, bad], [good, good], [bad, bad])
    )
    np.testing.assert_allclose(average, (upper + lower) / 2)
