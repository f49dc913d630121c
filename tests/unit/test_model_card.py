"""A model card tells what the model is, and its front matter is what the hub reads."""

from __future__ import annotations

import yaml

from textmill.labels import Labels
from textmill.model_card import CardFacts, model_card

FACTS = CardFacts(
    name="reviews-tiny",
    encoder="tiny",
    data="reviews",
    labels=Labels(("bad", "good")),
    counts={"train": 1200, "validation": 150, "test": 150},
    max_length=64,
    overflow="keep_head",
    share_cut=0.031,
    seed=7,
)


def test_front_matter_is_that_of_a_text_classifier() -> None:
    _, header, _ = model_card(FACTS, []).split("---\n", 2)
    front = yaml.safe_load(header)
    assert front["pipeline_tag"] == "text-classification"
    assert front["library_name"] == "transformers"


def test_labels_data_length_policy_and_results_are_told() -> None:
    card = model_card(FACTS, ["Accuracy 0.9.", "The model beats the baseline."])
    for fact in (
        "`bad`, `good`",
        "1,200 train, 150 validation, 150 test",
        "64 tokens",
        "3.1%",
        "- Accuracy 0.9.\n- The model beats the baseline.",
        "seed 7",
        "exactly one label",
    ):
        assert fact in card


def test_a_model_without_results_says_so() -> None:
    assert "not judged yet" in model_card(FACTS, [])
