"""What each word adds to a score, as coloured text and as a fragment of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textmill.attribution import Mistake
from textmill.explaining.record import Attribution
from textmill.explaining.words import Word
from textmill.report.page import render
from textmill.report.tables import TableView, view_of

# Characters that the model doesn't see which are shown in a row.
MOST_UNSEEN = 200

_MOST_WORDS = 100


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a text: a word, or what stands between words.

    Args:
        text: Its characters.
        word: The word; None for what isn't one.
        strength: The word's contribution as a share of the strongest one, from -1 to 1.
        left_out: How many further characters there are that are not shown.
    """

    text: str
    word: Word | None = None
    strength: float = 0.0
    left_out: int = 0

    @property
    def unseen(self) -> bool:
        """Whether it is text that the model doesn't see."""
        return self.word is None and bool(self.text.strip())


@dataclass(frozen=True, slots=True)
class AttributionView:
    """An attribution as it is shown.

    Args:
        attribution: The attribution.
        texts: The stretches of each text.
    """

    attribution: Attribution
    texts: tuple[list[Stretch], ...]

    @classmethod
    def of(cls, attribution: Attribution) -> AttributionView:
        """Parts the texts into stretches."""
        return cls(
            attribution,
            tuple(
                _stretches(text, side, attribution.words)
                for side, text in enumerate(attribution.texts)
            ),
        )

    @property
    def score(self) -> str:
        """The score that is explained."""
        one = self.attribution
        return (
            f"probability {one.score:.3f}, log-odds {one.log_odds:+.2f}; "
            f"with every word hidden {one.baseline_score:.3f}, {one.baseline_log_odds:+.2f}"
        )

    @property
    def check(self) -> str:
        """What the contributions add up to, and whether they should."""
        one = self.attribution
        if one.method == "occlusion":
            return (
                "Each number is what the score loses when that word alone is hidden (occlusion). "
                f"They add up to {one.total:+.2f}, and need not make up the whole difference of "
                f"{one.difference:+.2f}."
            )
        sentence = (
            f"The words add {one.total:+.2f} in all, for a difference of {one.difference:+.2f} "
            f"({one.steps} steps)."
        )
        if one.complete:
            return sentence
        return f"{sentence} The gap of {one.gap:+.2f} is large: take the numbers with caution."

    @property
    def unseen(self) -> bool:
        """Whether there is text that the model doesn't see."""
        return any(stretch.unseen for stretches in self.texts for stretch in stretches)

    @property
    def words(self) -> TableView:
        """The words with their numbers, the strongest first."""
        words = strongest(self.attribution.words)
        rows = [[word.text, word.contribution] for word in words[:_MOST_WORDS]]
        columns = view_of("Words", {"Word": "name", "Contribution": "number"}, rows)
        return TableView(columns.caption, columns.columns, columns.rows, len(words))


@dataclass(frozen=True, slots=True)
class MistakeView:
    """A wrong prediction with its reasons, as it is shown.

    Args:
        truth: The label in the data, or the labels.
        prediction: What was predicted.
        loss: The prediction's loss, in nats.
        view: Why.
    """

    truth: str
    prediction: str
    loss: float
    view: AttributionView

    @classmethod
    def of(cls, mistake: Mistake) -> MistakeView:
        """Puts names of labels together."""
        return cls(
            _names(mistake.truth),
            _names(mistake.prediction),
            mistake.loss,
            AttributionView.of(mistake.attribution),
        )


def strongest(words: Sequence[Word]) -> list[Word]:
    """Words in the order of what they add or take away, the most first."""
    return sorted(words, key=lambda word: -abs(word.contribution))


def explanation_page(attributions: Sequence[Attribution], bundle: str) -> str:
    """A page of attributions.

    Args:
        attributions: Any number of them.
        bundle: Where the classifier is.
    """
    occluded = any(attribution.method == "occlusion" for attribution in attributions)
    return render(
        "explanation.html.j2",
        method="occlusion" if occluded else "integrated gradients",
        views=[AttributionView.of(attribution) for attribution in attributions],
        bundle=bundle,
    )


def _names(labels: str | list[str]) -> str:
    return labels if isinstance(labels, str) else ", ".join(labels) or "none"


def _stretches(text: str, side: int, words: Sequence[Word]) -> list[Stretch]:
    most = max((abs(word.contribution) for word in words), default=0.0)
    stretches, end = [], 0
    for word in words:
        if word.side == side:
            stretches += _between(text[end : word.start])
            strength = word.contribution / most if most else 0.0
            stretches.append(Stretch(word.text, word, strength))
            end = word.end
    return stretches + _between(text[end:])


def _between(text: str) -> list[Stretch]:
    """What stands between words: nothing, spaces, or text that the model doesn't see."""
    if not text:
        return []
    shown = text[:MOST_UNSEEN]
    return [Stretch(shown, left_out=len(text) - len(shown))]
