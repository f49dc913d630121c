"""Tables in pages show the first rows, and say how much they leave out."""

from __future__ import annotations

import pyarrow as pa
import pytest

from textmill.labels import Labels
from textmill.report.results import gains_table, labels_table, metrics_table, tiles
from textmill.report.tables import Column, Estimate, Shortened, table_view, view_of

TABLE = pa.table(
    {
        "text": ["short", "x" * 1000, None],
        "text_pair": ["a", "b", "c"],
        "label": ["good", "bad", "good"],
        "tags": [["one", "two"], [], ["three"]],
        "tokens": [["[CLS]", "a"], ["b"] * 150, []],
        "cut": [True, False, False],
        "loss": [0.5, 0.25, None],
        "f1_macro": [0.5, 0.25, 0.75],
        "slice/my_source": ["press", None, "web"],
    }
)
METRICS = {
    "test/accuracy": 0.8,
    "test/accuracy_low": 0.75,
    "test/accuracy_high": 0.85,
    "test/loss": 0.5,
    "test/f1_macro": 0.7,
    "test/precision/good": 0.9,
    "test/f1/good": 0.6,
    "validation/accuracy": 0.82,
    "baseline/linear/accuracy": 0.81,
    "baseline/linear/loss": 0.6,
    "baseline/linear/f1/good": 0.5,
    "baseline/linear/accuracy_gain": -0.01,
    "baseline/linear/accuracy_gain_low": -0.03,
    "baseline/linear/accuracy_gain_high": 0.01,
    "baseline/linear/accuracy_gain_p_value": 0.4,
}
LABELS = Labels(("good", "bad"))


def test_columns_are_shown_by_what_they_hold() -> None:
    assert table_view("All", TABLE, 10).columns == (
        Column("Text", "text"),
        Column("Second text", "text"),
        Column("Label", "name"),
        Column("Tags", "names"),
        Column("Tokens", "pieces"),
        Column("Cut", "flag"),
        Column("Loss", "number"),
        Column("Macro-F1", "number"),
        Column("my_source", "name"),
    )


def test_long_texts_and_long_lists_of_tokens_are_shortened() -> None:
    rows = table_view("All", TABLE, 10).rows
    assert rows[0][0] == Shortened("short", 0)
    assert rows[1][0] == Shortened("x" * 400, 600)
    assert rows[1][4] == Shortened(["b"] * 100, 50)
    assert rows[1][3] == []


def test_missing_values_stay_missing() -> None:
    rows = table_view("All", TABLE, 10).rows
    assert (rows[2][0], rows[2][6], rows[1][8]) == (None, None, None)


def test_of_many_rows_the_first_are_shown_and_all_are_counted() -> None:
    view = table_view("All", TABLE, 2)
    assert (len(view.rows), view.total) == (2, 3)
    assert table_view("All", TABLE, 3, total=70).total == 70


def test_the_metrics_stand_beside_those_of_the_baselines() -> None:
    view = metrics_table(METRICS, "test", LABELS)
    assert [column.heading for column in view.columns] == [
        "Metric",
        "Model on test",
        "Linear model",
        "Model on validation",
    ]
    loss, accuracy, f1 = view.rows
    assert accuracy[1:] == [
        Estimate(0.8, (0.75, 0.85)),
        Estimate(0.81, best=True),
        Estimate(0.82),
    ]
    assert loss[0] == Shortened("Cross-entropy (lower is better)", 0)
    assert loss[1:] == [Estimate(0.5, best=True), Estimate(0.6), None]
    assert f1[1:] == [Estimate(0.7, best=True), None, None]


def test_without_a_test_split_validation_is_shown_once() -> None:
    metrics = {"validation/accuracy": 0.8}
    view = metrics_table(metrics, "validation", LABELS)
    assert [column.heading for column in view.columns] == ["Metric", "Model on validation"]
    assert view.rows[0][1] == Estimate(0.8)


def test_gains_have_their_intervals_and_p_values() -> None:
    (row,) = gains_table(METRICS).rows
    assert row[2:] == [Estimate(-0.01, (-0.03, 0.01)), 0.4]


@pytest.mark.parametrize(
    ("column", "multi_label"),
    [(["good", "good", "bad"], False), ([["good", "bad"], ["good"], []], True)],
)
def test_labels_are_counted_and_have_their_own_metrics(column: list, multi_label: bool) -> None:
    labels = Labels(("good", "bad"), multi_label)
    good, bad = labels_table(METRICS, "test", pa.table({"label": column}), labels).rows
    assert good == [Shortened("good", 0), 2, 0.9, None, 0.6, 0.5]
    assert bad == [Shortened("bad", 0), 1, None, None, None, None]


def test_the_tiles_are_the_metrics_that_matter_most() -> None:
    assert tiles(METRICS, "test") == {
        "Accuracy": Estimate(0.8, (0.75, 0.85)),
        "Macro-F1": Estimate(0.7),
    }


def test_values_can_be_shown_too() -> None:
    view = view_of("Two", {"Name": "name", "Number": "number"}, [["one", 1], ["two", None]])
    assert view.rows == [[Shortened("one", 0), 1], [Shortened("two", 0), None]]
