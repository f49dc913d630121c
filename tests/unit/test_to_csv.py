"""The CSV files hold what the tracker was told, and read back as it was."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from tests import told
from textmill.tracking.to_csv import CsvTracker

Rows = list[dict[str, Any]]


def read(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tracker = CsvTracker(told.facts(tmp_path))
    told.tell_training(tracker)
    told.tell_end(tracker, tmp_path)
    return tmp_path / "csv"


def test_metrics_have_a_row_a_moment_and_a_column_each(folder: Path) -> None:
    rows = read(folder / "metrics.csv")
    assert rows == [
        row("10", "0.7", "0.0001", "", ""),
        row("20", "0.5", "", "0.6", "0.4"),
        row("40", "", "", "0.8", "0.5"),
    ]


def row(step: str, loss: str, rate: str, f1: str, odd: str) -> dict[str, str]:
    names = ("step", "train/loss", "train/lr/head", "validation/f1_macro", told.ODD)
    return dict(zip(names, (step, loss, rate, f1, odd), strict=True))


def test_metrics_are_on_disk_at_once(tmp_path: Path) -> None:
    tracker = CsvTracker(told.facts(tmp_path))
    for step in (1, 2, 3):
        tracker.log_metrics({"train/loss": 1 / step}, step)
        assert len(read(tmp_path / "csv" / "metrics.csv")) == step


def test_the_final_numbers_are_a_row_each(folder: Path) -> None:
    rows = read(folder / "summary.csv")
    assert {row["name"]: float(row["value"]) for row in rows} == told.SUMMARY


def test_charts_are_their_numbers_at_each_step(folder: Path) -> None:
    charts = folder / "charts" / "validation"
    assert read(charts / "roc.csv") == [
        {"step": str(step), "series": "good", "x": str(x), "y": str(step * x)}
        for step in (20, 40)
        for x in (0.0, 0.5, 1.0)
    ]
    bars = read(charts / "reliability.csv")
    assert [(one["category"], one["value"], one["examples"]) for one in bars[:2]] == [
        ("0.0-0.5", "", "0.0"),
        ("0.5-1.0", "20.0", "7.0"),
    ]
    cells = {(one["row"], one["column"]): one["value"] for one in read(charts / "confusion.csv")}
    assert cells["bad", "good"] == "1.0"
    assert cells["good", "bad"] == "40.0"


def test_tables_keep_their_text_but_for_what_a_spreadsheet_would_run(folder: Path) -> None:
    rows = read(folder / "tables" / "samples-test.csv")
    plain, formula, missing = told.TABLE["text"].to_pylist()
    assert missing is None
    assert [one["text"] for one in rows] == [plain, f"'{formula}", ""]
    assert [one["label"] for one in rows] == ["bad", "bad | good", ""]
    assert [one["loss"] for one in rows] == ["0.5", "", "0.25"]


def test_histograms_are_their_bins(folder: Path) -> None:
    rows = read(folder / "histograms.csv")
    assert rows[1] == {
        "step": "20",
        "name": "parameters/head.weight",
        "low": "1.0",
        "high": "2.0",
        "count": "4.0",
    }
    assert len(rows) == 6


def test_a_run_gone_on_with_starts_the_files_anew(folder: Path) -> None:
    tracker = CsvTracker(told.facts(folder.parent, resumed=True))
    told.tell_training(tracker, last=20)
    assert [row["step"] for row in read(folder / "metrics.csv")] == ["10", "20"]
    assert {row["step"] for row in read(folder / "charts" / "validation" / "roc.csv")} == {"20"}
    assert not (folder / "summary.csv").exists()
