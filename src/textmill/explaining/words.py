"""Words, put together from the tokens that a model sees."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from textmill.encoding import TokenPlace

# As in "isn't", which many tokenizers take for three words.
_APOSTROPHE = re.compile(r"\w['\N{RIGHT SINGLE QUOTATION MARK}]\w")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text, with what it adds to the score.

    Args:
        text: The word as it is written.
        start: The position of its first character in its text.
        end: The position behind its last character.
        contribution: What it adds to the log-odds of the label.
        side: 0, or 1 in the second text of a pair.
    """

    text: str
    start: int
    end: int
    contribution: float
    side: int = 0


def word_positions(texts: Sequence[str], places: Sequence[TokenPlace | None]) -> list[list[int]]:
    """The positions of each word's tokens, in the order of the texts; each token is in one word.

    Args:
        texts: The text, or the two of a pair.
        places: Where their tokens come from; None for special tokens, which are in no word.
    """
    words: list[list[int]] = []
    for position, place in enumerate(places):
        if place is None:
            continue
        ends = [places[index] for index in (words[-1][0], words[-1][-1])] if words else []
        before = [end for end in ends if end is not None]
        if not before or not _goes_on(before, place, texts[place.side]):
            words.append([])
        words[-1].append(position)
    return words


def word_of(
    texts: Sequence[str],
    places: Sequence[TokenPlace | None],
    positions: Sequence[int],
    contribution: float,
) -> Word:
    """The word, or the stretch of words, that tokens belong to.

    Args:
        texts: The text, or the two of a pair.
        places: Where their tokens come from.
        positions: Of the word's tokens.
        contribution: What they add, all together.
    """
    tokens = [place for index in positions if (place := places[index]) is not None]
    side, start = tokens[0].side, tokens[0].start
    written = texts[side][start : tokens[-1].end]
    start += len(written) - len(written.lstrip())
    text = written.strip()
    return Word(text, start, start + len(text), contribution, side)


def _goes_on(word: Sequence[TokenPlace], place: TokenPlace, text: str) -> bool:
    """Whether a token belongs to the word before it: as a part of it, or because one is blank."""
    last, start = word[-1], place.start
    if place.side != last.side:
        return False
    if start < last.end or (place.word is not None and place.word == last.word):
        return True
    blank = not text[start : place.end].strip() or not text[word[0].start : last.end].strip()
    around = (text[max(0, start - 1) : start + 2], text[max(0, start - 2) : start + 1])
    return blank or (start == last.end and any(map(_APOSTROPHE.fullmatch, around)))
