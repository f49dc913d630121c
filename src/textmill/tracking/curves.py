"""Curves over a falling threshold, exact, averaged, and thinned to the points that shape them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textmill.tracking.shapes import Numbers

MOST_POINTS = 200
_AVERAGED_POINTS = 101

Curve = tuple[Numbers, Numbers]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """One label's examples, counted from the highest score down.

    Args:
        hits: Examples with the label that score at least so much, for each of the distinct scores,
            the highest first ``[scores]``.
        false_alarms: Examples without it that do ``[scores]``.
    """

    hits: Numbers
    false_alarms: Numbers

    @classmethod
    def of(cls, scores: npt.NDArray[np.floating[Any]], members: npt.NDArray[np.bool_]) -> Ranking:
        """Ranks examples by score.

        Args:
            scores: The label's probabilities ``[examples]``.
            members: Whether each example has the label ``[examples]``; some do and some don't.
        """
        order = np.argsort(-scores)
        ranked = scores[order]
        # Examples of the same score can't be told apart, so a curve has one point for all of them.
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        hits = np.cumsum(members[order], dtype=np.float64)[ends]
        return cls(hits, ends + 1 - hits)

    def roc(self) -> Curve:
        """The false-positive and the true-positive rates, from (0, 0) to (1, 1)."""
        return (
            np.append(0.0, self.false_alarms / self.false_alarms[-1]),
            np.append(0.0, self.hits / self.hits[-1]),
        )

    def precision_recall(self) -> Curve:
        """Recall and precision, from recall 0 with precision 1."""
        return (
            np.append(0.0, self.hits / self.hits[-1]),
            np.append(1.0, self.hits / (self.hits + self.false_alarms)),
        )


def averaged_roc(rankings: Sequence[Ranking]) -> Curve:
    """The mean true-positive rate of several labels at each false-positive rate."""
    grid = np.linspace(0, 1, _AVERAGED_POINTS)
    rates = np.mean([np.interp(grid, *ranking.roc()) for ranking in rankings], axis=0)
    return np.append(0.0, grid), np.append(0.0, rates)


def averaged_precision_recall(rankings: Sequence[Ranking]) -> Curve:
    """The mean precision of several labels at each recall, each by the least that reaches it."""
    grid = np.linspace(0, 1, _AVERAGED_POINTS)
    curves = [ranking.precision_recall() for ranking in rankings]
    return grid, np.mean(
        [precision[np.searchsorted(recall, grid)] for recall, precision in curves], axis=0
    )


def thinned(x: Numbers, y: Numbers, most: int = MOST_POINTS) -> Curve:
    """Some of a line's points, those that shape it most (Douglas and Peucker 1973).

    The two ends are kept; then, again and again, the point that lies farthest from the line
    through the points kept so far.

    Args:
        x: Where the points are, ``[points]``, on a scale like that of ``y``.
        y: Of the same length.
        most: How many points to keep.
    """
    if len(x) <= most:
        return x, y
    kept = [0, len(x) - 1]
    stretches = [_farthest(x, y, 0, len(x) - 1)]
    while len(kept) < most and stretches[0][0] < 0:
        _, index, start, end = heapq.heappop(stretches)
        kept.append(index)
        for stretch in ((start, index), (index, end)):
            heapq.heappush(stretches, _farthest(x, y, *stretch))
    places = np.sort(kept)
    return x[places], y[places]


def _farthest(x: Numbers, y: Numbers, start: int, end: int) -> tuple[float, int, int, int]:
    """The negative distance of the point farthest from a stretch's chord, which point, and where.

    The distance is 0 where there is no point between the ends.
    """
    if end - start < 2:
        return 0.0, start, start, end
    across, up = x[end] - x[start], y[end] - y[start]
    right, above = x[start + 1 : end] - x[start], y[start + 1 : end] - y[start]
    length = float(np.hypot(across, up))
    distances = np.abs(across * above - up * right) / length if length else np.hypot(right, above)
    index = int(distances.argmax())
    return -float(distances[index]), start + 1 + index, start, end
