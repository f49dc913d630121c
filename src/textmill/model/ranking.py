"""One label's examples ranked by their scores, which all curves and areas are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
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
