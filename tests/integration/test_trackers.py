"""A training shows in CSV files, TensorBoard and MLflow what its folder has."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.integration.test_train import write_reviews
from textmill import installed
from textmill.cli import main
from textmill.runs import Run, find_run
from textmill.tracking.replay import read_records
from textmill.tracking.to_mlflow import legal_name


def arguments(folder: Path, encoder: Path, *overrides: str) -> list[str]:
    given = {
        "data": "files",
        "data.train": str(folder / "reviews.jsonl"),
        "data.max_length": "32",
        "model": "folder",
        "model.path": str(encoder),
        "runs_dir": str(folder / "runs"),
        "trainer.batch_size": "16",
        "trainer.max_epochs": "2",
        "tracking.report": "false",
        "tracking.log_steps": "2",
        "tracking.watch": "parameters",
    }
    return ["train", *(f"{key}={value}" for key, value in given.items()), *overrides]


@pytest.fixture(scope="module")
def run(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was told to all three trackers."""
    folder = tmp_path_factory.mktemp("tracked")
    write_reviews(folder / "reviews.jsonl")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("TEXTMILL_CACHE", str(folder / "cache"))
        monkeypatch.chdir(folder)
        assert main(arguments(folder, tiny_encoder, "tracking=[csv,tensorboard,mlflow]")) == 0
    return find_run("latest", folder / "runs")


def recorded(run: Run) -> dict[str, dict[int, float]]:
    """What the run's folder has of each moment: from name to the values at the steps."""
    found: dict[str, dict[int, float]] = {}
    for prefix, path in (("train", run.training), ("validation", run.history)):
        for record in read_records(path):
            for name, value in record.items():
                if name != "step":
                    found.setdefault(f"{prefix}/{name}", {})[int(record["step"])] = value
    assert {"train/loss", "train/lr/head", "validation/f1_macro", "validation/f1/good"} <= set(
        found
    )
    return found


def final(run: Run) -> Mapping[str, float]:
    return dict(json.loads(run.metrics.read_text("utf-8")))


def test_the_csv_files_hold_what_the_folder_has(run: Run) -> None:
    folder = run.folder / "csv"
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name, values in recorded(run).items():
        assert {int(row["step"]): float(row[name]) for row in rows if row[name]} == values
    with (folder / "summary.csv").open(encoding="utf-8") as file:
        assert {row["name"]: float(row["value"]) for row in csv.DictReader(file)} == final(run)
    tables = {path.stem for path in run.table("any").parent.glob("*.parquet")}
    assert {path.stem for path in (folder / "tables").glob("*.csv")} == tables
    with (folder / "charts" / "test" / "confusion.csv").open(encoding="utf-8") as file:
        counts = [float(row["value"]) for row in csv.DictReader(file)]
    assert sum(counts) == pq.read_table(run.predictions("test")).num_rows


def test_tensorboard_holds_what_the_folder_has(run: Run) -> None:
    events = EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    for name, values in recorded(run).items():
        shown = {event.step: event.value for event in events.Scalars(name)}
        assert shown == pytest.approx(values)
    for name, value in final(run).items():
        (event,) = events.Scalars(f"final/{name}")
        assert event.value == pytest.approx(value)
    pictures = set(events.Tags()["images"])
    assert {"validation/confusion", "test/roc", "test/reliability"} <= pictures
    assert any(name.startswith("parameters/") for name in events.Tags()["histograms"])


def test_mlflow_holds_what_the_folder_has(run: Run) -> None:
    client = MlflowClient(f"sqlite:///{run.folder.parent.parent}/mlflow.db")
    experiment = client.get_experiment_by_name("textmill")
    (shown,) = client.search_runs([experiment.experiment_id])
    for name, values in recorded(run).items():
        history = client.get_metric_history(shown.info.run_id, legal_name(name))
        points = {(point.step, point.value) for point in history}
        assert set(values.items()) <= points
        # The final number of a metric may differ a little from the last one of training.
        assert len(history) - len(values) <= (name in final(run))
    metrics = {legal_name(name): value for name, value in final(run).items()}
    assert {name: shown.data.metrics[name] for name in metrics} == metrics
    assert shown.data.params["trainer.batch_size"] == "16"
    assert shown.data.tags["textmill.identity"] == run.read_manifest()["identity"]
    assert shown.data.tags["textmill.model.path"] == str(run.bundle)
    (data,) = shown.inputs.dataset_inputs
    prints = json.loads(data.dataset.profile)
    assert prints["train"] == run.read_manifest()["data"]["fingerprints"]["train"]


def test_a_missing_library_is_told_before_any_work(
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_reviews(tmp_path / "reviews.jsonl")
    monkeypatch.setenv("TEXTMILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(installed, "find_spec", lambda _: None)
    assert main(arguments(tmp_path, tiny_encoder, "tracking=[tensorboard,mlflow]")) == 2
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == 2
    assert "pip install 'textmill[tensorboard]'" in complaints[0]
    assert "pip install 'textmill[mlflow]'" in complaints[1]
    assert not (tmp_path / "runs").exists()
