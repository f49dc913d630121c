"""The slices' metrics are those of the rows in them, and the order is an honest one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import binomtest

from textmill.encoding import Lengths
from textmill.judge import judged_from, targets_of
from textmill.labels import Labels
from textmill.model.metrics import classification_metrics
from textmill.tracking.slices import (
    MISSING,
    MOST_VALUES,
    OTHERS,
    SHOWN,
    shown_slices,
    slice_table,
)

LABELS = Labels(("zebra", "ant", "mole"))
TAGS = Labels(LABELS.names, multi_label=True)


def predictions(labels: Labels, size: int, seed: int, **columns: list[Any]) -> pa.Table:
    generator = np.random.default_rng(seed)
    ids: list[Any] = generator.integers(3, size=size).tolist()
    if labels.multi_label:
        ids = [np.flatnonzero(row).tolist() for row in generator.random((size, 3)) < 0.4]
    label = pa.list_(pa.int64()) if labels.multi_label else pa.int64()
    table = pa.table(
        {
            "text": [f"text {row}" for row in range(size)],
            "label": pa.array(ids, label),
            "place": [f"f.csv:{row + 2}" for row in range(size)],
            **{f"slice/{name}": pa.array(values, pa.string()) for name, values in columns.items()},
        }
    )
    examples = Dataset(table)
    probabilities = generator.dirichlet([1, 1, 1], size).astype(np.float32)
    tokens = generator.integers(3, 12, size=size).astype(np.int32)
    lengths = Lengths(tokens, tokens == 11)
    targets = targets_of(examples, labels)
    return judged_from(examples, targets, probabilities, labels, lengths=lengths).predictions


def rows_of(table: pa.Table, name: str, value: str) -> pa.Table:
    """The rows in a slice, found in another way than the one under test."""
    if name == "length":
        low, _, high = value.partition("-")
        inside = [int(low) <= tokens <= int(high or low) for tokens in table["tokens"].to_pylist()]
    elif name == "cut":
        inside = [cut == (value == "yes") for cut in table["cut"].to_pylist()]
    elif name == "label":
        inside = [
            (value in given if given else value == MISSING)
            if isinstance(given, list)
            else value == given
            for given in table["label"].to_pylist()
        ]
    else:
        inside = [(given or MISSING) == value for given in table[f"slice/{name}"].to_pylist()]
    return table.filter(pa.array(inside))


def members(column: pa.ChunkedArray, labels: Labels) -> np.ndarray:
    if not labels.multi_label:
        return np.array([labels.label2id[name] for name in column.to_pylist()])
    return np.array([[int(name in row) for name in labels.names] for row in column.to_pylist()])


@pytest.mark.parametrize("labels", [LABELS, TAGS], ids=["one label", "several labels"])
@settings(deadline=None, max_examples=25)
@given(size=st.integers(1, 80), seed=st.integers(0, 1000))
def test_each_slice_has_the_metrics_of_its_rows(labels: Labels, size: int, seed: int) -> None:
    sources = np.random.default_rng(seed).choice(["press", "public", None], size).tolist()
    table = predictions(labels, size, seed, source=sources)
    accuracy = "subset_accuracy" if labels.multi_label else "accuracy"
    overall = pc.mean(table["correct"].cast("float64")).as_py()
    found = slice_table(table, labels).to_pylist()
    assert {row["slice"] for row in found} >= {"length", "label", "source"}
    for row in found:
        inside = rows_of(table, row["slice"], row["value"])
        targets = members(inside["label"], labels)
        probabilities = np.column_stack(
            [inside[f"probability/{name}"].to_numpy() for name in labels.names]
        )
        expected = classification_metrics(targets, probabilities, labels)
        assert row["examples"] == len(inside)
        assert row[accuracy] == pytest.approx(expected[accuracy])
        assert row["difference"] == pytest.approx(expected[accuracy] - overall)
        assert row["loss"] == pytest.approx(expected["loss"])
        if labels.multi_label or len(set(targets.tolist())) > 1:
            assert row["f1_macro"] == pytest.approx(expected["f1_macro"])
        else:
            assert row["f1_macro"] is None
        right = round(row[accuracy] * len(inside))
        interval = binomtest(right, len(inside)).proportion_ci(method="wilson")
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), abs=1e-9)


@pytest.mark.parametrize("labels", [LABELS, TAGS], ids=["one label", "several labels"])
def test_each_way_to_slice_takes_in_every_row(labels: Labels) -> None:
    table = predictions(labels, 200, 0, number=[str(row % 70) for row in range(200)])
    found = slice_table(table, labels).to_pylist()
    counts = dict.fromkeys(("length", "cut", "label", "number"), 0)
    for row in found:
        counts[row["slice"]] += row["examples"]
    labelled = sum(max(len(given), 1) for given in table["label"].to_pylist())
    assert counts["label"] == (labelled if labels.multi_label else 200)
    assert [counts[name] for name in ("length", "cut", "number")] == [200] * 3


def test_rare_values_are_taken_together() -> None:
    values = [str(row % 70) for row in range(200)]
    found = slice_table(predictions(LABELS, 200, 0, number=values), LABELS).to_pylist()
    named = {row["value"]: row["examples"] for row in found if row["slice"] == "number"}
    assert len(named) == MOST_VALUES + 1
    assert named.pop(OTHERS) == 10 * 3 + 10 * 2
    assert set(named.values()) == {3}


def test_a_slice_that_is_surely_bad_stands_before_a_small_one_that_may_be() -> None:
    table = predictions(LABELS, 102, 0, kind=["many"] * 100 + ["few"] * 2)
    right = [row % 2 == 0 for row in range(100)] + [False, False]
    place = table.column_names.index("correct")
    table = table.set_column(place, "correct", pa.array(right))
    kinds = [row for row in slice_table(table, LABELS).to_pylist() if row["slice"] == "kind"]
    assert [(row["value"], row["accuracy"]) for row in kinds] == [("many", 0.5), ("few", 0.0)]


def test_values_do_not_steer_the_terminal() -> None:
    table = predictions(LABELS, 3, 0, kind=["[red]x[/]", "\x1b[31m", "long " * 100])
    output = io.StringIO()
    Console(file=output, width=80).print(shown_slices(slice_table(table, LABELS)))
    shown = output.getvalue()
    assert "[red]x[/]" in shown
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_terminal_has_the_worst_slices_alone() -> None:
    table = predictions(LABELS, 100, 0, kind=[str(row % 40) for row in range(100)])
    slices = slice_table(table, LABELS)
    shown = shown_slices(slices)
    assert shown.row_count == SHOWN
    assert shown.caption == f"and {len(slices) - SHOWN} more"


def test_what_is_not_known_makes_no_slices() -> None:
    table = predictions(LABELS, 50, 0)
    whole = table.filter(pc.invert(table["cut"]))
    assert "cut" not in slice_table(whole, LABELS)["slice"].to_pylist()
    bare = table.drop_columns(["tokens", "cut"])
    assert set(slice_table(bare, LABELS)["slice"].to_pylist()) == {"label"}
