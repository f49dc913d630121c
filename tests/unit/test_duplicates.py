from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from textmill.data.duplicates import conflicting, digest_array, repeated, text_digest

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=30)


def columns(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    texts = np.array([text for text, _ in rows], dtype=np.uint64)
    return texts, np.array([label for _, label in rows], dtype=np.int64)


@given(ROWS)
def test_a_repeat_is_every_row_but_the_first_of_its_text_and_label(
    rows: list[tuple[int, int]],
) -> None:
    expected = [row in rows[:index] for index, row in enumerate(rows)]
    assert repeated(*columns(rows)).tolist() == expected


@given(ROWS)
def test_a_conflict_is_every_row_of_a_text_with_two_labels(rows: list[tuple[int, int]]) -> None:
    labels = Counter(text for text, _ in set(rows))
    assert conflicting(*columns(rows)).tolist() == [labels[text] > 1 for text, _ in rows]


@given(st.lists(st.tuples(st.text(), st.none() | st.text()), max_size=20))
def test_digests_are_equal_exactly_for_equal_texts(rows: list[tuple[str, str | None]]) -> None:
    texts = set(rows)
    assert len(np.unique(digest_array(text_digest(*row) for row in texts))) == len(texts)


def test_a_pair_is_not_its_texts_joined_elsewhere() -> None:
    assert text_digest("ab", "c") != text_digest("a", "bc")
    assert text_digest("a", "b") != text_digest("b", "a")


def test_digests_are_the_same_on_every_machine() -> None:
    assert digest_array([text_digest("a lovely film")]).tolist() == [2972082899939798304]
