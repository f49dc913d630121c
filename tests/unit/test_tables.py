from __future__ import annotations

import io
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.sources import RowsSource, labelled, many
from textmill.data.checks import Policies
from textmill.data.loading import Columns, LabelRule, MadeSplits, load_examples
from textmill.data.statistics import describe_examples
from textmill.data.tables import data_tables


def describe(source: RowsSource, **rule: Any) -> dict[str, Any]:  # noqa: ANN401
    examples = load_examples(
        source, Columns(("text",), "label"), LabelRule(**rule), Policies(), MadeSplits()
    )
    lengths = {split: np.arange(len(rows)) for split, rows in examples.splits.items()}
    return describe_examples(examples, lengths, 20)


def rendered(tables: list[Table]) -> str:
    console = Console(file=io.StringIO(), width=200)
    for table in tables:
        console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_splits_labels_and_lengths_are_shown() -> None:
    text = rendered(data_tables(describe(RowsSource(train=many(100)))))
    assert "test (made)" in text
    assert "40 (50.0%)" in text
    assert "over 20 tokens" in text
    assert "95%" in text
    assert "Problems" not in text


def test_no_token_column_is_shown_where_tokens_were_not_counted() -> None:
    examples = load_examples(
        RowsSource(train=many(60)),
        Columns(("text",), "label"),
        LabelRule(),
        Policies(),
        MadeSplits(),
    )
    text = rendered(data_tables(describe_examples(examples, None, 128)))
    assert "characters" in text
    assert "tokens" not in text


def test_problems_are_shown_with_count_example_place_and_what_was_done() -> None:
    source = RowsSource(train=[*many(100), *labelled(("text 3", "yes"), (" ", "no"))])
    text = rendered(data_tables(describe(source)))
    row = next(line for line in text.splitlines() if "duplicate" in line)
    assert [cell.strip() for cell in row.strip("│ ").split("│")][:6] == [
        "duplicate",
        "train",
        "1",
        "kept",
        "train.csv:101",
        "text 3",
    ]
    assert "left out" in next(line for line in text.splitlines() if "empty_text" in line)


def test_text_from_the_data_is_not_taken_for_markup() -> None:
    red = "[red]alarm[/red]"
    rows = [*many(60, labels=("[bold]a", "b")), *labelled((red, "b"), (red, "b"))]
    text = rendered(data_tables(describe(RowsSource(train=rows))))
    assert red in text
    assert "[bold]a" in text


def test_many_labels_are_summed_up() -> None:
    text = rendered(data_tables(describe(RowsSource(train=many(400, labels=range(40))))))
    row = next(line for line in text.splitlines() if "more labels" in line)
    assert "10 more labels" in row
    assert "80" in row


def test_rows_without_any_label_are_shown_where_that_is_legal() -> None:
    rows = labelled(*((f"text {number}", [["a"], ["b"], []][number % 3]) for number in range(90)))
    text = rendered(data_tables(describe(RowsSource(train=rows), multi_label=True)))
    assert "no label" in text
