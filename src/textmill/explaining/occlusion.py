"""Occlusion: by how much a score changes when a word is hidden.

Each word in turn is put behind the tokenizer's mask token, or behind its padding token where there
is no mask, and what the score loses is the word's contribution (Zeiler and Fergus, 2014,
"Visualizing and Understanding Convolutional Networks"; for words Li, Monroe and Jurafsky, 2016,
"Understanding Neural Networks through Representation Erasure"). It needs scores alone, and so any
form of a model will do. The numbers need not add up to the whole difference: of two words that say
the same, each can be missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from textmill.encoding import mask_id, pad_batch, token_places
from textmill.explaining.record import Attribution
from textmill.explaining.words import word_of, word_positions
from textmill.scoring import Scorer, Scores, Texts

# The most tokens that are scored for one text. Where the texts with a word hidden have more, as
# many neighbouring words as needed are hidden together.
MOST_TOKENS = 2**17


def by_occlusion(
    scorer: Scorer, text: str | tuple[str, str], label: tuple[int, str], *, multi_label: bool
) -> Attribution:
    """Explains the score of a label by hiding words.

    Args:
        scorer: The model, in any form, with its tokenizer.
        text: A text, or a pair of texts.
        label: The label's id and name.
        multi_label: Whether each label is scored by itself.
    """
    encoded = scorer.encode(cast("Texts", [text]))
    texts = text if isinstance(text, tuple) else (text,)
    places = token_places(scorer.tokenizer, text, scorer.policy)
    sides = [None if place is None else place.side for place in places]
    hidden = _stretches(word_positions(texts, places), sides)
    shown = [position for position, side in enumerate(sides) if side is not None]
    batch = pad_batch(encoded.input_ids, encoded.token_type_ids, scorer.padding)
    logits = _logits(scorer, batch, [[], shown, *hidden])
    whole, none, *without = _log_odds(logits, label[0], multi_label=multi_label).tolist()
    words = tuple(
        word_of(texts, places, positions, whole - left)
        for positions, left in zip(hidden, without, strict=True)
    )
    return Attribution(
        texts, label[1], whole, none, words, len(words), encoded.cut[0], method="occlusion"
    )


def stand_in(scorer: Scorer) -> int:
    """The token behind which words are hidden."""
    mask = mask_id(scorer.tokenizer)
    return scorer.padding.token_id if mask is None else mask


def _stretches(words: Sequence[list[int]], sides: Sequence[int | None]) -> list[list[int]]:
    """The words, or where they are too many, as many stretches of them as can be afforded."""
    together = -(-len(words) * len(sides) // MOST_TOKENS)
    if together <= 1:
        return list(words)
    of_sides = [[word for word in words if sides[word[0]] == side] for side in (0, 1)]
    return [
        [position for word in of_side[first : first + together] for position in word]
        for of_side in of_sides
        for first in range(0, len(of_side), together)
    ]


def _logits(
    scorer: Scorer, batch: dict[str, npt.NDArray[np.int64]], hidden: Sequence[list[int]]
) -> Scores:
    """The logits, ``[ways, labels]``, of a text with these positions hidden, each in its way."""
    mask, width = stand_in(scorer), batch["input_ids"].shape[1]
    at_once = max(1, scorer.model.tokens_at_once // max(1, width))
    logits = []
    for first in range(0, len(hidden), at_once):
        ways = hidden[first : first + at_once]
        repeated = {name: np.repeat(ids, len(ways), axis=0) for name, ids in batch.items()}
        for row, positions in enumerate(ways):
            repeated["input_ids"][row, positions] = mask
        logits.append(scorer.model.logits(repeated))
    return np.concatenate(logits)


def _log_odds(logits: Scores, label: int, *, multi_label: bool) -> npt.NDArray[np.float64]:
    """The log-odds of a label, ``[texts]``."""
    exact = logits.astype(np.float64)
    if multi_label:
        return np.asarray(exact[:, label])
    return np.asarray(exact[:, label] - np.logaddexp.reduce(np.delete(exact, label, 1), axis=1))
