from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.data.duplicates import NO_GROUP, digest_array, text_digest
from textmill.data.splits import LabelledUnits, MadeSplits, assign_splits
from textmill.errors import InputError

SHARES = {"test": 0.1, "validation": 0.1}


def units_of(
    texts: list[str], labels: list[tuple[int, ...]], groups: list[int] | None = None
) -> LabelledUnits:
    sets = sorted(set(labels))
    return LabelledUnits.of(
        digest_array(text_digest(text) for text in texts),
        None if groups is None else np.array(groups, dtype=np.uint64),
        np.array([sets.index(label) for label in labels], dtype=np.int64),
        sets,
        1 + max((label for labels_ in labels for label in labels_), default=0),
    )


def split(
    texts: list[str],
    labels: list[tuple[int, ...]],
    groups: list[int] | None = None,
    seed: int = 0,
    shares: dict[str, float] = SHARES,
) -> tuple[list[int], list[int]]:
    rows, rare = assign_splits(units_of(texts, labels, groups), shares, seed)
    return rows.tolist(), rare


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[list[str], list[tuple[int, ...]], list[int]]:
    count = draw(st.integers(1, 60))
    rows = st.lists(st.integers(0, 25), min_size=count, max_size=count)
    label = st.lists(st.integers(0, 3), max_size=2, unique=True).map(lambda x: tuple(sorted(x)))
    return (
        [f"text {number}" for number in draw(rows)],
        draw(st.lists(label, min_size=count, max_size=count)),
        draw(rows),
    )


def test_sizes_are_exact_and_labels_have_the_same_mix() -> None:
    labels = [(0,)] * 600 + [(1,)] * 300 + [(2,)] * 100
    assigned, rare = split([f"text {number}" for number in range(1000)], labels)
    assert Counter(assigned) == {0: 800, 1: 100, 2: 100}
    counts = Counter(zip(assigned, labels, strict=True))
    assert [counts[1, (label,)] for label in range(3)] == [60, 30, 10]
    assert [counts[2, (label,)] for label in range(3)] == [60, 30, 10]
    assert rare == []


def test_sizes_add_up_over_many_small_classes() -> None:
    labels = [(number % 40,) for number in range(600)]  # a tenth of 15 is 1.5
    assigned, _ = split([str(number) for number in range(600)], labels)
    assert Counter(assigned) == {0: 480, 1: 60, 2: 60}


@given(data_sets(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_equal_texts_and_groups_stay_together(
    data: tuple[list[str], list[tuple[int, ...]], list[int]], seed: int
) -> None:
    texts, labels, groups = data
    assigned, _ = split(texts, labels, groups, seed)
    where = defaultdict(set)
    for text, group, split_ in zip(texts, groups, assigned, strict=True):
        where["text", text].add(split_)
        if group != NO_GROUP:
            where["group", str(group)].add(split_)
    assert all(len(splits) == 1 for splits in where.values())


@given(data_sets(), st.integers(0, 2**32), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_rows_does_not_matter(
    data: tuple[list[str], list[tuple[int, ...]], list[int]], seed: int, random: np.random.Generator
) -> None:
    texts, labels, groups = data
    assigned, rare = split(texts, labels, groups, seed)
    order = list(range(len(texts)))
    random.shuffle(order)
    again, rare_again = split(
        [texts[i] for i in order], [labels[i] for i in order], [groups[i] for i in order], seed
    )
    assert again == [assigned[i] for i in order]
    assert rare == rare_again


@given(st.lists(st.integers(0, 6), min_size=1, max_size=80), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_a_class_with_three_texts_is_in_each_split_and_others_are_rare(
    labels: list[int], seed: int
) -> None:
    texts = [f"text {number}" for number in range(len(labels))]
    assigned, rare = split(texts, [(label,) for label in labels], None, seed)
    counts = Counter(labels)
    for label in counts:
        present = {split_ for split_, own in zip(assigned, labels, strict=True) if own == label}
        assert (label in rare) == (counts[label] < 3) == (len(present) < 3)
        assert 0 in present


@given(data_sets(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_labels_are_rare_exactly_when_a_split_lacks_them(
    data: tuple[list[str], list[tuple[int, ...]], list[int]], seed: int
) -> None:
    texts, labels, groups = data
    assigned, rare = split(texts, labels, groups, seed)
    present = {
        (split_, label) for split_, own in zip(assigned, labels, strict=True) for label in own
    }
    met = {label for own in labels for label in own}
    assert set(rare) == {
        label for label in met if any((split_, label) not in present for split_ in range(3))
    }


def test_a_label_that_only_goes_along_with_rarer_ones_still_reaches_each_split() -> None:
    # Labels 1 to 6 have five rows each, and label 0 is on one row of each of them: where it goes is
    # decided by six rarer labels that know nothing of each other.
    labels = [
        (0, rarer) if number == 0 else (rarer,) for rarer in range(1, 7) for number in range(5)
    ]
    for seed in range(20):
        _, rare = split([str(number) for number in range(30)], labels, seed=seed)
        assert rare == []


def test_rows_with_several_labels_are_mixed_by_their_rarest() -> None:
    labels = [(0, 1) if number % 10 == 0 else (0,) for number in range(1000)]
    assigned, _ = split([str(number) for number in range(1000)], labels)
    counts = Counter(split_ for split_, own in zip(assigned, labels, strict=True) if 1 in own)
    assert counts == {0: 80, 1: 10, 2: 10}


def test_the_seed_changes_the_choice_and_nothing_else() -> None:
    texts, labels = [str(number) for number in range(200)], [(number % 2,) for number in range(200)]
    first, second = split(texts, labels, seed=1)[0], split(texts, labels, seed=2)[0]
    assert first != second
    assert Counter(first) == Counter(second)


def test_the_choice_is_the_same_on_every_machine() -> None:
    texts, labels = [str(number) for number in range(20)], [(number % 2,) for number in range(20)]
    assert "".join(map(str, split(texts, labels, seed=42)[0])) == "00000000000010010022"


def test_one_split_can_be_made_alone() -> None:
    texts, labels = [str(number) for number in range(100)], [(0,)] * 100
    assert Counter(split(texts, labels, shares={"validation": 0.2})[0]) == {0: 80, 1: 20}


@pytest.mark.parametrize(
    ("validation", "test", "key"),
    [(-0.1, 0.1, "data.split.validation"), (0.1, 1.0, "data.split.test"), (0.5, 0.5, "data.split")],
)
def test_shares_leave_something_to_train_on(validation: float, test: float, key: str) -> None:
    with pytest.raises(InputError, match=f"in {key}:"):
        MadeSplits(validation, test)
