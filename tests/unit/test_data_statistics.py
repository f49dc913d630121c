from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.sources import RowsSource, labelled
from textmill.data import statistics
from textmill.data.checks import Policies
from textmill.data.loading import Columns, Examples, LabelRule, load_examples
from textmill.data.statistics import describe_examples, label_counts


def examples_of(source: RowsSource, rule: LabelRule = LabelRule()) -> Examples:  # noqa: B008
    return load_examples(
        source,
        Columns(("text",), "label"),
        rule,
        Policies(leak="keep"),
        None,
        needed=source.splits(),
    )


@pytest.fixture
def described() -> dict[str, Any]:
    train = labelled(*(("x" * length, "no") for length in range(1, 101)), ("x", "no"), ("é", "yes"))
    examples = examples_of(RowsSource(train=train, test=labelled(("x", "no"), ("zz", "yes"))))
    lengths = {"train": np.arange(1, 103), "test": np.array([5, 200])}
    return describe_examples(examples, lengths, 92)


def test_labels_are_counted_in_each_split(described: dict[str, Any]) -> None:
    train, test = described["splits"]["train"], described["splits"]["test"]
    assert train["count"] == 102
    assert train["labels"]["no"] == {"count": 101, "share": 101 / 102}
    assert test["labels"]["yes"] == {"count": 1, "share": 0.5}


@pytest.mark.parametrize(
    ("raw", "expected"), [("aabaaba", [5, 2]), ([[], ["a"], ["a", "b"], [], ["a"]], [3, 1])]
)
def test_labels_are_counted_over_many_batches(
    raw: str | list[list[str]], expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_ROWS_IN_BATCH", 2)
    rows = labelled(*((f"text {number}", label) for number, label in enumerate(raw)))
    rule = LabelRule(multi_label=isinstance(raw, list))
    examples = examples_of(RowsSource(train=rows), rule)
    assert label_counts(examples.splits["train"], examples.labels).tolist() == expected


def test_lengths_are_described_by_percentiles(described: dict[str, Any]) -> None:
    characters = described["splits"]["train"]["characters"]
    assert (characters["min"], characters["p50"], characters["max"]) == (1, 49, 100)
    assert described["splits"]["train"]["tokens"]["p95"] == 97
    assert described["splits"]["test"]["tokens"]["max"] == 200


def test_texts_over_the_limit_are_counted(described: dict[str, Any]) -> None:
    assert described["splits"]["train"]["too_long"] == {"count": 10, "share": 10 / 102}
    assert described["splits"]["test"]["too_long"] == {"count": 1, "share": 0.5}


def test_repeats_and_leaks_are_counted(described: dict[str, Any]) -> None:
    train, test = described["splits"]["train"], described["splits"]["test"]
    assert (train["duplicates"], test["duplicates"]) == (1, 0)
    assert (train["leaks"], test["leaks"]) == (2, 1)


def test_a_description_is_json_with_the_record_in_it(described: dict[str, Any]) -> None:
    assert json.loads(json.dumps(described)) == described
    assert {problem["kind"] for problem in described["problems"]} == {"duplicate", "leak"}
    assert described["labels"] == ["no", "yes"]
    assert described["max_length"] == 92


def test_without_token_lengths_only_characters_are_described() -> None:
    examples = examples_of(RowsSource(train=labelled(("a", "x"), ("b", "y"))))
    train: Any = describe_examples(examples, None, 128)["splits"]
    assert "characters" in train["train"]
    assert "tokens" not in train["train"]
    assert "too_long" not in train["train"]


def test_each_of_several_labels_is_counted_and_rows_without_any() -> None:
    rows = labelled(("a", ["x", "y"]), ("b", ["y"]), ("c", []))
    examples = examples_of(RowsSource(train=rows), LabelRule(multi_label=True))
    train: Any = describe_examples(examples, None, None)["splits"]
    assert train["train"]["labels"]["y"] == {"count": 2, "share": 2 / 3}
    assert train["train"]["unlabelled"] == 1
