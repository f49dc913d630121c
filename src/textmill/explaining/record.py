"""What explaining a decision finds: the words of a text, with what each adds to a score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from textmill.explaining.words import Word

Method = Literal["integrated_gradients", "occlusion"]

# The gap that is let pass: a share of the difference, and in log-odds.
RELATIVE_GAP = 0.01
ABSOLUTE_GAP = 0.01


@dataclass(frozen=True, slots=True)
class Attribution:
    """Why a text has the score that it has for a label.

    Args:
        texts: The text, or the two of a pair.
        label: The label.
        log_odds: The text's score.
        baseline_log_odds: The baseline's score.
        words: What the model sees of the text, in its order.
        steps: How many points the integral was taken over, or how many words were hidden.
        cut: Whether the text is longer than what the model sees.
        method: By which method.
    """

    texts: tuple[str, ...]
    label: str
    log_odds: float
    baseline_log_odds: float
    words: tuple[Word, ...]
    steps: int
    cut: bool
    method: Method = "integrated_gradients"

    @property
    def score(self) -> float:
        """The label's probability."""
        return probability_of(self.log_odds)

    @property
    def baseline_score(self) -> float:
        """The label's probability for the baseline."""
        return probability_of(self.baseline_log_odds)

    @property
    def difference(self) -> float:
        """By how much the text's log-odds exceed the baseline's."""
        return self.log_odds - self.baseline_log_odds

    @property
    def total(self) -> float:
        """What the words add, all together."""
        return math.fsum(word.contribution for word in self.words)

    @property
    def gap(self) -> float:
        """What is missing from the words' total to the difference."""
        return self.difference - self.total

    @property
    def complete(self) -> bool:
        """Whether the gap is as small as the method promises; occlusion promises nothing."""
        return self.method == "occlusion" or passes(self.gap, self.difference)

    def as_record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **dict(zip(("text", "text_pair"), self.texts, strict=False)),
            "label": self.label,
            "method": self.method,
            "score": self.score,
            "baseline_score": self.baseline_score,
            "log_odds": self.log_odds,
            "baseline_log_odds": self.baseline_log_odds,
            "total": self.total,
            "gap": self.gap,
            "steps": self.steps,
            "cut": self.cut,
            "words": [
                {
                    "text": word.text,
                    "start": word.start,
                    "end": word.end,
                    "contribution": word.contribution,
                    **({"side": word.side} if len(self.texts) == 2 else {}),
                }
                for word in self.words
            ],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Attribution:
        """What `as_record` gave."""
        return cls(
            texts=tuple(record[name] for name in ("text", "text_pair") if name in record),
            label=record["label"],
            log_odds=record["log_odds"],
            baseline_log_odds=record["baseline_log_odds"],
            words=tuple(Word(**word) for word in record["words"]),
            steps=record["steps"],
            cut=record["cut"],
            method=record.get("method", "integrated_gradients"),
        )


def passes(gap: float, difference: float) -> bool:
    """Whether what is missing from the words' total is little beside the whole difference."""
    return abs(gap) <= max(RELATIVE_GAP * abs(difference), ABSOLUTE_GAP)


def probability_of(log_odds: float) -> float:
    """The logistic function, without overflow."""
    return 0.5 * (1 + math.tanh(log_odds / 2))
