"""Curves over a falling threshold, exact, averaged, and thinned to the points that shape them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from textmill.model.ranking import Curve, Ranking
from textmill.tracking.shapes import Numbers

MOST_POINTS = 200
_AVERAGED_POINTS = 101


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
