"""Runs are compared on the same examples, as scikit-learn and a plain count see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.runs_on_disk import LABELS, TAGS, write_run
from textmill.browse.comparing import (
    RunComparison,
    changed_view,
    compare_runs,
    distinct_names,
    metrics_view,
    overlaid_curves,
)
from textmill.browse.comparison_page import comparison_page
from textmill.browse.comparison_text import sparkline
from textmill.errors import InputError
from textmill.labels import Labels
from textmill.report.tables import Estimate, Shortened
from textmill.runs import Run, write_json
from textmill.tracking.shapes import Series

ODD = ["<script>alert(1)</script> a [bold]film[/bold] \x1b[31mred", "a dull film"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    runs_dir = tmp_path_factory.mktemp("runs")
    first = write_run(runs_dir, name="weak", strength=0.4, texts=ODD)
    return first, write_run(runs_dir, name="strong", strength=1.5, seed=2, texts=ODD)


@pytest.fixture(scope="module")
def comparison(runs: tuple[Run, Run]) -> RunComparison:
    return compare_runs(runs)


def test_changes_are_those_that_a_count_finds(comparison: RunComparison) -> None:
    first, second = (comparison.predictions(index) for index in (0, 1))
    right = [np.array(table["correct"].to_pylist()) for table in (first, second)]
    (changes,) = comparison.changes
    assert set(changes.fixed) == set(np.flatnonzero(~right[0] & right[1]))
    assert set(changes.broken) == set(np.flatnonzero(right[0] & ~right[1]))
    assert len(changes.fixed) > len(changes.broken) > 0
    assert changes.otherwise_wrong == 0


def test_the_greatest_changes_come_first(comparison: RunComparison) -> None:
    losses = [np.array(comparison.predictions(index)["loss"].to_pylist()) for index in (0, 1)]
    (changes,) = comparison.changes
    gained = (losses[0] - losses[1])[changes.fixed]
    assert (np.diff(gained) <= 0).all()
    lost = (losses[1] - losses[0])[changes.broken]
    assert (np.diff(lost) <= 0).all()


def test_changed_examples_are_shown_with_both_predictions(comparison: RunComparison) -> None:
    (changes,) = comparison.changes
    view = changed_view(comparison, changes, changes.fixed[:1])
    headings = [column.heading for column in view.columns]
    assert headings == ["Text", "Label", "run weak", "run strong"]
    text, label, first, second = (
        cell.shown if isinstance(cell, Shortened) else cell for cell in view.rows[0]
    )
    assert text in comparison.predictions(0)["text"].to_pylist()
    assert first != label
    assert second == label


def test_the_verdict_is_about_the_second_run(comparison: RunComparison) -> None:
    (verdict,) = comparison.verdicts
    assert verdict.sentence.startswith("Run strong beats run weak by")
    metrics = [record.metrics["test/accuracy"] for record in comparison.records]
    assert verdict.differences["accuracy"].value == pytest.approx(metrics[1] - metrics[0])


def test_metrics_stand_side_by_side_with_the_best_marked(comparison: RunComparison) -> None:
    rows = {row[0].shown: row[1:] for row in metrics_view(comparison).rows}
    weak, strong = rows["Macro-F1"]
    assert isinstance(weak, Estimate)
    assert isinstance(strong, Estimate)
    assert [weak.value, strong.value] == [
        one.metrics["test/f1_macro"] for one in comparison.records
    ]
    assert (weak.best, strong.best) == (False, True)
    assert strong.interval is not None
    losses = rows["Cross-entropy (lower is better)"]
    assert [loss.best for loss in losses] == [False, True]
    assert rows["Training, seconds"] == [Estimate(12.5), Estimate(12.5)]


def test_learning_curves_of_all_runs_share_a_chart(comparison: RunComparison) -> None:
    charts = overlaid_curves(comparison)
    assert set(charts) == {"validation_f1", "validation_loss", "training_loss"}
    for chart in charts.values():
        assert [series.name for series in chart.series] == ["weak", "strong"]
    history = [record["f1_macro"] for record in comparison.records[1].history]
    assert charts["validation_f1"].series[1].y.tolist() == history


def test_several_runs_are_each_compared_with_the_first(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, name=f"run{seed}", seed=seed) for seed in range(3)]
    comparison = compare_runs(runs)
    assert [(one.first, one.second) for one in comparison.changes] == [
        ("run0", "run1"),
        ("run0", "run2"),
    ]
    assert len(comparison.verdicts) == 2


def test_runs_of_several_labels_a_text_are_compared(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, name=name, labels=TAGS, seed=seed) for seed, name in enumerate("ab")
    ]
    comparison = compare_runs(runs)
    (changes,) = comparison.changes
    assert changes.otherwise_wrong > 0
    names = changed_view(comparison, changes, changes.fixed).rows[0][1]
    assert isinstance(names, list)
    assert "subset_accuracy" in comparison.verdicts[0].differences


def test_a_run_is_as_good_as_its_equal(tmp_path: Path) -> None:
    comparison = compare_runs([write_run(tmp_path, name=name) for name in ("one", "two")])
    (changes,) = comparison.changes
    assert len(changes.fixed) == len(changes.broken) == 0
    assert "tie: a difference of +0.0 points" in comparison.verdicts[0].sentence
    assert "Changed examples" in comparison_page(comparison)


def told(*runs: Run) -> str:
    with pytest.raises(InputError) as caught:
        compare_runs(runs)
    return "\n".join(caught.value.problems)


def test_other_data_are_refused(tmp_path: Path) -> None:
    first = write_run(tmp_path, name="first")
    other = write_run(tmp_path, name="other", sizes={"train": 80, "validation": 60, "test": 50})
    untested = write_run(tmp_path, name="untested", sizes={"train": 80, "validation": 60})
    labels = write_run(tmp_path, name="labels", labels=Labels(("bad", "fine")))
    assert "their test splits differ" in told(first, other)
    assert "judged on test, the other on validation" in told(first, untested)
    assert "different labels" in told(first, labels)
    assert "all different" in told(first)
    assert "all different" in told(first, first)


def test_other_texts_under_the_same_fingerprint_are_refused(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path, name=name) for name in ("first", "second"))
    table = pq.read_table(second.predictions("test"))
    swapped = table.take(pa.array([1, 0, *range(2, len(table))]))
    pq.write_table(swapped, second.predictions("test"))
    assert "their test splits differ" in told(first, second)


def test_other_training_data_are_no_obstacle(tmp_path: Path) -> None:
    first = write_run(tmp_path, name="first")
    second = write_run(tmp_path, name="second", sizes={"train": 70, "validation": 60, "test": 60})
    assert compare_runs([first, second]).split == "test"


def test_all_unjudged_runs_are_told(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, name=name) for name in ("first", "second", "third")]
    runs[0].metrics.unlink()
    manifest = runs[1].read_manifest()
    del manifest["judged"]
    write_json(runs[1].manifest, manifest)
    lines = told(*runs).splitlines()
    assert len(lines) == 2
    assert all("has not been judged" in line for line in lines)


def test_names_are_as_short_as_tells_runs_apart(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, name=name, tables=False) for name in ("one", "two", "one")]
    assert distinct_names(runs[:2]) == ("one", "two")
    assert distinct_names(runs) == tuple(run.folder.name for run in runs)


def test_the_page_shows_text_as_text_and_needs_nothing_else(comparison: RunComparison) -> None:
    page = comparison_page(comparison)
    assert "Run strong beats run weak" in page
    assert page.count("<svg") == 3
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("values", "bars"), [([0.0, 0.5, 1.0], "▁▅█"), ([0.3], "▃"), ([1.0] * 99, "█" * 24)]
)
def test_sparklines_share_a_scale(values: list[float], bars: str) -> None:
    series = Series("run", np.arange(len(values), dtype=float), np.array(values))
    assert sparkline(series, 0.0, 1.0) == bars


def test_a_level_curve_is_drawn() -> None:
    series = Series("run", np.arange(3.0), np.full(3, 0.7))
    assert sparkline(series, 0.7, 0.7) == "▁▁▁"


def test_labels_are_those_of_the_data(comparison: RunComparison) -> None:
    assert comparison.labels == LABELS
