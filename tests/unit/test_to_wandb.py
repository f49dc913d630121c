"""A run is in W&B as it is in its folder: offline, whole, and without a trace anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pytest_socket import disable_socket, enable_socket

from tests import told
from tests.wandb_reader import WandbRecord, read_record
from tests.wandb_server import isolate
from textmill.runs import State
from textmill.tracking.shapes import BarChart, Heatmap, LineChart, Series
from textmill.tracking.to_wandb import WandbSettings, WandbTracker

FINAL = {**told.SUMMARY, "validation/f1_macro": 0.7}
OFFLINE = WandbSettings("offline", None, ("one", "two"), "A note.", 30)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty home folder, and a server that nobody could reach."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, home, "http://127.0.0.1:9")
        yield home


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    """W&B talks to its own process by a socket that is a file."""
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Path:  # noqa: ARG001
    """The folder of a run that W&B was told of."""
    folder = tmp_path_factory.mktemp("runs") / "2026-01-01" / "00-00-00-demo"
    folder.mkdir(parents=True)
    tell(folder)
    return folder


@pytest.fixture(scope="module")
def record(run: Path) -> WandbRecord:
    return read_record(run)


def tell(folder: Path, *, resumed: bool = False, state: State = "finished") -> None:
    """Has W&B told of the whole run that `tests.told` makes up."""
    tracker = WandbTracker(told.facts(folder, resumed=resumed), OFFLINE)
    for step in sorted({*told.TRAINING, *told.VALIDATION}):
        if step in told.TRAINING:
            tracker.log_metrics(told.TRAINING[step], step)
        if step in told.VALIDATION:
            tracker.log_histograms({"parameters/head": told.HISTOGRAM}, step)
            tracker.log_metrics(told.VALIDATION[step], step)
            tracker.log_charts(told.charts(step), step)
    tracker.log_summary(FINAL)
    tracker.log_table("tables/samples", told.TABLE, 40)
    for artifact in told.artifacts(folder):
        tracker.log_artifact(artifact)
    tracker.finish(state)


def test_a_run_has_its_name_its_place_and_its_whole_configuration(record: WandbRecord) -> None:
    assert record.config == told.CONFIG
    assert record.run["run_id"] == "0a1b2c3d"
    assert record.run["project"] == "textmill"
    assert record.run["display_name"] == "demo"
    assert record.run["run_group"] == "group"
    assert record.run["tags"] == ["one", "two"]
    assert record.run["notes"] == "A note."
    assert record.exit_code == 0
    assert record.folder.name.startswith("offline-run-")


def test_metrics_stand_at_their_optimizer_steps_with_all_of_a_step_in_one_row(
    record: WandbRecord,
) -> None:
    assert [row["_step"] for row in record.history] == [10, 20, 40]
    assert record.metrics("train/") == told.TRAINING
    assert record.metrics("validation/") == told.VALIDATION


def test_the_summary_has_the_final_numbers_although_the_history_ends_with_others(
    record: WandbRecord,
) -> None:
    assert record.history[-1]["validation/f1_macro"] != FINAL["validation/f1_macro"]
    assert {name: record.summary[name] for name in FINAL} == FINAL


def test_a_confusion_matrix_is_a_native_chart_of_its_counts(record: WandbRecord) -> None:
    chart = record.chart("validation/confusion", 20)
    assert chart.kind == "wandb/confusion_matrix/v1"
    assert chart.strings["title"] == "Confusion"
    counts = {(row["Actual"], row["Predicted"]): row["nPredictions"] for row in chart.rows}
    assert counts == {
        ("bad", "bad"): 3, ("bad", "good"): 1, ("good", "bad"): 20, ("good", "good"): 5,
    }  # fmt: skip


def test_lines_are_native_charts_of_their_points_at_each_step(record: WandbRecord) -> None:
    for step in (20, 40):
        chart = record.chart("validation/roc", step)
        assert chart.kind == "wandb/lineseries/v0"
        assert [(row["series"], row["x"], row["y"]) for row in chart.rows] == [
            ("good", x, step * x) for x in (0.0, 0.5, 1.0)
        ]
        assert set(chart.fields.values()) == {"series", "x", "y"}
    assert record.chart("validation/roc").rows == record.chart("validation/roc", 40).rows


def test_bars_are_a_native_chart_of_their_heights_and_an_empty_place_has_none(
    record: WandbRecord,
) -> None:
    chart = record.chart("validation/reliability")
    assert chart.kind == "wandb/bar/v0"
    assert chart.rows == [
        {
            "bar": "0.5-1.0 share right",
            "place": "0.5-1.0",
            "series": "share right",
            "height": 40.0,
            "examples": 7.0,
        }
    ]


def test_a_table_keeps_its_text_its_numbers_and_what_is_true(record: WandbRecord) -> None:
    rows = record.table("tables/samples")
    assert [row["text"] for row in rows] == told.TABLE["text"].to_pylist()
    assert [row["label"] for row in rows] == ["bad", "bad | good", ""]
    assert [row["loss"] for row in rows] == [0.5, None, 0.25]
    assert [row["cut"] for row in rows] == [True, False, False]
    assert record.tables() == {"tables/samples"}


def test_histograms_have_their_counts_and_edges(record: WandbRecord) -> None:
    for step in (20, 40):
        counts, edges = record.histogram("parameters/head", step)
        assert counts == told.HISTOGRAM.counts.tolist()
        assert edges == told.HISTOGRAM.edges.tolist()


def test_the_data_are_an_input_and_the_model_an_output_and_their_files_are_not_copied(
    run: Path, record: WandbRecord
) -> None:
    data, model = record.artifact("dataset"), record.artifact("model")
    assert data.used
    assert data.metadata == {"labels": ["x"], "fingerprint": "a" * 64}
    assert data.files == {"file.txt": run / "data" / "file.txt"}
    assert not model.used
    assert model.metadata == {"max_length": 64, "fingerprint": "b" * 64}
    assert model.files == {"file.txt": run / "model" / "file.txt"}
    assert set(model.aliases) == {"latest", "best"}


def test_nothing_is_left_outside_the_run_folder(run: Path, record: WandbRecord, home: Path) -> None:
    assert {path.name for path in run.iterdir()} == {"wandb", "data", "model"}
    assert record.folder.parent == run / "wandb"
    assert not (run / "wandb" / "cache").exists()
    assert list(home.rglob("*")) == []
    assert [name for name in os.environ if name.startswith("WANDB_")] == ["WANDB_BASE_URL"]


def test_a_resumed_run_is_recorded_once_and_anew(tmp_path: Path) -> None:
    tracker = WandbTracker(told.facts(tmp_path), OFFLINE)
    tracker.log_metrics({"train/loss": 9.0}, 30)
    tracker.log_table("stale", told.TABLE, 30)
    tracker.finish("interrupted")
    assert read_record(tmp_path).exit_code == 1
    tell(tmp_path, resumed=True)
    record = read_record(tmp_path)
    assert record.run["run_id"] == "0a1b2c3d"
    assert record.metrics("train/") == told.TRAINING
    assert record.tables() == {"tables/samples"}
    assert record.exit_code == 0


def test_it_says_nothing_and_asks_nothing_at_a_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    tell(tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory, home: Path) -> WandbRecord:  # noqa: ARG001
    """What becomes of the shapes that `tests.told` has none of."""
    folder = tmp_path_factory.mktemp("shapes")
    ends = np.array([0.0, 1.0])
    curve = Series("good", ends, ends)
    shares = np.array([[0.25, 0.75], [np.nan, np.nan]])
    outcomes = np.array([[1.0, 2.0, 3.0]])
    names = ("bad", "good")
    tracker = WandbTracker(told.facts(folder), OFFLINE)
    tracker.log_charts(
        {
            "roc": LineChart("ROC", "false", "true", (curve,), diagonal=True, unit_square=True),
            "coverage": LineChart("Coverage", "share", "accuracy", (Series("", ends, ends),)),
            "by_row": Heatmap("By row", "predicted", "label", names, names, shares, shares=True),
            "outcomes": Heatmap(
                "All", "outcome", "label", ("hits", "misses", "alarms"), ("plot",), outcomes
            ),
            "length": BarChart("Length", "tokens", "accuracy", ("1-8",), {"": np.array([0.5])}),
        },
        1,
    )
    data, _ = told.artifacts(folder)
    tracker.log_artifact(replace(data, name="Kritiken für Filme/" + "9" * 200))
    tracker.log_table("empty", pa.table({"text": pa.array([], pa.string())}), 1)
    tracker.finish("failed")
    return read_record(folder)


def test_curves_over_rates_are_areas_under_a_curve(shapes: WandbRecord) -> None:
    chart = shapes.chart("roc")
    assert chart.kind == "wandb/area-under-curve/v0"
    assert chart.fields == {"x": "x", "y": "y", "class": "series"}
    assert chart.strings == {"title": "ROC", "x-axis-title": "false", "y-axis-title": "true"}


def test_a_line_or_bar_without_a_name_is_called_what_it_measures(shapes: WandbRecord) -> None:
    assert {row["series"] for row in shapes.chart("coverage").rows} == {"accuracy"}
    assert [row["bar"] for row in shapes.chart("length").rows] == ["1-8"]


def test_heatmaps_of_anything_but_counts_of_labels_are_tables(shapes: WandbRecord) -> None:
    assert shapes.tables() == {"by_row", "outcomes", "empty"}
    assert [row["share"] for row in shapes.table("by_row")] == [0.25, 0.75, None, None]
    assert shapes.table("outcomes")[-1] == {"label": "plot", "outcome": "alarms", "count": 3.0}
    assert shapes.table("empty") == []


def test_an_artifact_may_have_any_name(shapes: WandbRecord) -> None:
    name = shapes.artifact("dataset").name
    assert name.startswith("dataset-Kritiken-f-r-Filme-999")
    assert len(name) <= 128


def test_a_failed_run_has_failed(shapes: WandbRecord) -> None:
    assert shapes.exit_code == 1
