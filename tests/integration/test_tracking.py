"""A run records its training in its own folder, as its configuration asks, tracker or none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.integration.test_train import write_reviews
from tests.wandb_reader import read_record
from textmill.cli import main
from textmill.labels import Labels
from textmill.model.metrics import classification_metrics

LABELS = Labels(("bad", "good"))
STEPS_PER_EPOCH = 6


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> list[str]:
    folder = tmp_path_factory.mktemp("tracking")
    return [
        "train",
        "data=files",
        f"data.train={write_reviews(folder / 'reviews.jsonl')}",
        "data.max_length=32",
        "model=folder",
        f"model.path={tiny_encoder}",
        f"runs_dir={folder / 'runs'}",
        "trainer.batch_size=16",
        "optimizer.lr=0.01",
        "tracking.report=false",
        "tracking.explained=0",
    ]


def train(arguments: list[str], *overrides: str) -> Path:
    assert main([*arguments, *overrides]) == 0
    (runs,) = (argument for argument in arguments if argument.startswith("runs_dir="))
    return (Path(runs.removeprefix("runs_dir=")) / "latest").resolve()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def untracked(arguments: list[str]) -> Path:
    two = "trainer.max_epochs=2"
    return train(arguments, two, "tracking=none", "tracking.log_steps=4", "tracking.samples=5")


def test_there_is_a_record_every_few_steps_and_at_each_validation(untracked: Path) -> None:
    steps = [record["step"] for record in lines(untracked / "tracking" / "training.jsonl")]
    assert steps == [4, STEPS_PER_EPOCH, 8, 2 * STEPS_PER_EPOCH]


def test_a_record_tells_of_learning_and_of_speed(untracked: Path) -> None:
    first, *_, last = lines(untracked / "tracking" / "training.jsonl")
    assert last["loss"] < first["loss"]
    assert last["epoch"] == 2.0
    assert last["lr/encoder"] == last["lr/head"] < first["lr/head"]
    assert 0 < first["gradient_norm"] < 100
    assert 0 < first["padding_share"] < 0.5
    assert first["tokens_per_second"] > first["examples_per_second"] > 0
    seconds = {name: value for name, value in first.items() if name.startswith("seconds/")}
    trained = sum(seconds.values()) - seconds["seconds/validation"] - seconds["seconds/saving"]
    assert first["examples_per_second"] == pytest.approx(4 * 16 / trained)
    assert last["peak_memory_bytes"] > 2**25


def test_each_validations_predictions_give_its_metrics(untracked: Path) -> None:
    for record in lines(untracked / "history.jsonl"):
        path = untracked / "tracking" / "validation" / f"{record['step']:08d}.parquet"
        table = pq.read_table(path)
        probabilities = np.stack([table[f"probability/{name}"] for name in LABELS.names], axis=1)
        targets = np.array([LABELS.names.index(name) for name in table["label"].to_pylist()])
        metrics = classification_metrics(targets, probabilities, LABELS)
        assert metrics == pytest.approx({k: v for k, v in record.items() if k != "step"}, abs=1e-6)


def test_every_training_example_was_met_once_before_it_was_learned_from(untracked: Path) -> None:
    first_pass = np.load(untracked / "tracking" / "first_pass.npy")
    assert first_pass.shape == (96, 2)
    np.testing.assert_allclose(first_pass.sum(axis=1), 1, atol=1e-6)


def test_tables_have_as_many_rows_as_asked_for(untracked: Path) -> None:
    for name in ("samples-train", "samples-test", "instructive-test"):
        assert pq.read_table(untracked / "tables" / f"{name}.parquet").num_rows == 5


def test_reports_can_be_left_out(untracked: Path) -> None:
    assert not (untracked / "report.html").exists()
    assert not (untracked / "wandb").exists()


def test_trackers_are_told_what_the_configuration_says_of_the_run(arguments: list[str]) -> None:
    run = train(
        arguments,
        "trainer.max_epochs=1",
        "tracking.project=films",
        "tracking.entity=us",
        "tracking.group=trials",
        "tracking.tags=[a,b]",
        "tracking.notes=a note",
        "tracking.run_name=first",
        "tracking.watch=all",
    )
    record = read_record(run)
    assert record.run["project"] == "films"
    assert record.run["entity"] == "us"
    assert record.run["run_group"] == "trials"
    assert record.run["tags"] == ["a", "b"]
    assert record.run["notes"] == "a note"
    assert record.run["display_name"] == "first"
    manifest = json.loads((run / "manifest.json").read_text())
    assert record.run["run_id"] == manifest["identity"]
    assert record.config["manifest"]["data"]["fingerprints"] == manifest["data"]["fingerprints"]
    counts, edges = record.histogram("gradients/network.classifier.weight", STEPS_PER_EPOCH)
    assert sum(counts) == 2 * 32
    assert len(edges) == len(counts) + 1


@pytest.mark.parametrize(("watch", "kinds"), [("gradients", {"gradients"}), ("none", set())])
def test_histograms_are_of_what_is_watched(
    arguments: list[str], watch: str, kinds: set[str]
) -> None:
    run = train(arguments, "trainer.max_epochs=1", f"tracking.watch={watch}")
    names = {key.partition("/")[0] for row in read_record(run).history for key in row}
    assert names & {"gradients", "parameters"} == kinds


@pytest.mark.parametrize("override", ["tracking=none", "tracking.mode=disabled"])
def test_weights_and_biases_can_be_left_out(arguments: list[str], override: str) -> None:
    run = train(arguments, "trainer.max_epochs=1", override)
    assert not (run / "wandb").exists()


def test_several_trackers_mirror_a_run_at_once(arguments: list[str], tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run = train(
        arguments,
        "trainer.max_epochs=1",
        "tracking=[csv,tensorboard,mlflow]",
        f"tracking.mlflow_uri={uri}",
    )
    assert (run / "csv" / "metrics.csv").is_file()
    assert list((run / "tensorboard").glob("events*"))
    assert (tmp_path / "mlflow.db").is_file()
    assert not (run / "wandb").exists()
