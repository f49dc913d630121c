"""Tables of predictions read back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from textmill.labels import Labels
from textmill.tracking.prediction_columns import label_members, label_probabilities, length_bins

LABELS = Labels(("zebra", "ant", "mole"))
TAGS = Labels(LABELS.names, multi_label=True)


def test_names_become_members_in_the_order_of_the_labels() -> None:
    column = pa.chunked_array([["ant", "zebra"], ["mole"]])
    assert label_members(column, LABELS).tolist() == [
        [False, True, False],
        [True, False, False],
        [False, False, True],
    ]


def test_lists_of_names_become_members_whatever_the_chunks() -> None:
    lists = pa.list_(pa.string())
    column = pa.chunked_array(
        [pa.array([["mole", "zebra"], []], lists), pa.array([["ant"]], lists)]
    )
    assert label_members(column, TAGS).tolist() == [
        [True, False, True],
        [False, False, False],
        [False, True, False],
    ]


def test_probabilities_are_in_the_order_of_the_labels() -> None:
    table = pa.table({f"probability/{name}": [i / 4] for i, name in enumerate(LABELS.names)})
    found = label_probabilities(table.select(table.column_names[::-1]), LABELS)
    assert found.tolist() == [[0, 0.25, 0.5]]
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("tokens", "names", "bins"),
    [
        ([5, 3, 4, 9, 8, 7], ("3-5", "6-9"), [0, 0, 0, 1, 1, 1]),
        ([4, 4, 4, 4, 4, 9], ("4", "5-9"), [0, 0, 0, 0, 0, 1]),
        ([4], ("4",), [0]),
    ],
)
def test_lengths_fall_into_intervals_of_about_equal_size(
    tokens: list[int], names: tuple[str, ...], bins: list[int]
) -> None:
    found, places = length_bins(np.array(tokens), 2)
    assert found == names
    assert places.tolist() == bins
