"""The labels, whose order is written once."""

from __future__ import annotations

from textmill.labels import Labels


def test_ids_are_the_positions_and_both_maps_agree() -> None:
    labels = Labels(("negative", "positive", "mixed"))
    assert len(labels) == 3
    assert labels.id2label == {0: "negative", 1: "positive", 2: "mixed"}
    assert labels.label2id == {name: index for index, name in labels.id2label.items()}


def test_the_order_is_kept_and_not_sorted() -> None:
    assert list(Labels(("b", "a")).label2id) == ["b", "a"]


def test_the_kind_of_classification_is_named_as_transformers_does() -> None:
    assert Labels(("a", "b")).problem_type == "single_label_classification"
    assert Labels(("a", "b"), multi_label=True).problem_type == "multi_label_classification"
