"""MLflow's own client finds what the tracker was told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests import told
from textmill.tracking.to_mlflow import MLflowTracker, legal_name


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with a database in it, which takes seconds to make."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def uri(runs_dir: Path) -> str:
    return f"sqlite:///{runs_dir}/mlflow.db"


@pytest.fixture(scope="module")
def client(uri: str) -> MlflowClient:
    return MlflowClient(uri)


@pytest.fixture(scope="module")
def folder(runs_dir: Path, uri: str) -> Path:
    folder = runs_dir / "2026-11-24" / "10-00-00-demo"
    folder.mkdir(parents=True)
    tracker = MLflowTracker(told.facts(folder), uri, ["baseline!"], "Some notes.")
    told.tell_training(tracker)
    told.tell_end(tracker, folder)
    return folder


def run_of(client: MlflowClient, folder: Path) -> Run:
    experiment = client.get_experiment_by_name("textmill")
    found = client.search_runs([experiment.experiment_id])
    (run,) = [one for one in found if one.data.tags["textmill.folder"] == str(folder)]
    return run


def test_metrics_have_their_steps_and_the_final_ones_are_the_latest(
    client: MlflowClient, folder: Path
) -> None:
    run = run_of(client, folder)
    assert points(client, run, "train/loss") == {10: 0.7, 20: 0.5}
    assert points(client, run, legal_name(told.ODD)) == {20: 0.4, 40: 0.5}
    assert {name: run.data.metrics[name] for name in told.SUMMARY} == told.SUMMARY
    assert run.info.status == "FINISHED"


def points(client: MlflowClient, run: Run, name: str) -> Mapping[int, float]:
    history = client.get_metric_history(run.info.run_id, name)
    steps = [point.step for point in history]
    assert len(steps) == len(set(steps))
    return {point.step: point.value for point in history}


def test_the_configuration_is_parameters_and_the_manifest_tags(
    client: MlflowClient, folder: Path
) -> None:
    data = run_of(client, folder).data
    assert data.params["optimizer.lr"] == "0.0001"
    assert data.params["data.labels"] == '["bad", "good"]'
    assert data.params["data.label_values.no_21_"] == "bad"
    assert data.tags["textmill.identity"] == "0a1b2c3d"
    assert data.tags["textmill.group"] == "group"
    assert data.tags["mlflow.source.git.commit"] == "abc123"
    assert data.tags["mlflow.note.content"] == "Some notes."
    assert data.tags["baseline_21_"] == "true"
    assert data.tags["mlflow.runName"] == "demo"


def test_charts_tables_and_the_configuration_are_files_beside_the_database(
    client: MlflowClient, folder: Path, runs_dir: Path
) -> None:
    run = run_of(client, folder)
    place = Path(run.info.artifact_uri.removeprefix("file://"))
    assert place.is_relative_to(runs_dir / "mlflow-files")
    for name in told.charts():
        pictures = sorted((place / "charts" / name).glob("*.png"))
        assert [picture.stem for picture in pictures] == ["00000020", "00000040"]
        assert pictures[0].read_bytes().startswith(b"\x89PNG")
        assert len(list((place / "charts" / name).glob("*.csv"))) == 2
    assert json.loads((place / "config.json").read_text()) == told.CONFIG
    assert "bad | good" in (place / "tables" / "samples-test.csv").read_text()
    assert json.loads((place / "histograms" / "00000040.json").read_text()) == {
        "parameters/head.weight": {"counts": [1.0, 4.0, 3.0], "edges": [0.0, 1.0, 2.0, 3.0]}
    }


def test_the_data_are_the_input_and_a_local_bundle_stays_where_it_is(
    client: MlflowClient, folder: Path
) -> None:
    run = run_of(client, folder)
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.name == "reviews"
    assert json.loads(data.dataset.profile) == {"labels": ["x"], "fingerprint": "a" * 64}
    assert run.data.tags["textmill.model.path"] == str(folder / "model")
    assert run.data.tags["textmill.model.fingerprint"] == "b" * 64
    assert [one.path for one in client.list_artifacts(run.info.run_id)] == [
        "charts",
        "config.json",
        "histograms",
        "tables",
    ]


def test_a_run_gone_on_with_continues_its_run_without_doubled_points(
    client: MlflowClient, runs_dir: Path, uri: str
) -> None:
    stopped = runs_dir / "2026-11-24" / "stopped"
    stopped.mkdir(parents=True)
    first = MLflowTracker(facts_of(stopped), uri)
    told.tell_training(first, last=20)
    first.finish("interrupted")
    before = run_of(client, stopped)
    assert before.info.status == "KILLED"
    second = MLflowTracker(facts_of(stopped, resumed=True), uri)
    assert run_of(client, stopped).info.status == "RUNNING"
    told.tell_training(second)
    told.tell_end(second, stopped)
    after = run_of(client, stopped)
    assert after.info.run_id == before.info.run_id
    assert after.info.status == "FINISHED"
    assert points(client, after, "train/loss") == {10: 0.7, 20: 0.5}
    assert set(points(client, after, legal_name(told.ODD))) == {20, 40}


def facts_of(folder: Path, *, resumed: bool = False) -> told.RunFacts:
    return told.RunFacts("f00dfeed", folder, "stopped", "textmill", None, told.CONFIG, resumed)


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("validation/f1/good", "validation/f1/good"),
        ("f1/sci.space: a-b", "f1/sci.space: a-b"),
        ("f1/c++", "f1/c_2b__2b_"),
        ("f1/日本", "f1/日本"),
        ("f1/..", "f1/_2e_2e_"),
        ("f1//x/", "f1/_/x/_"),
    ],
)
def test_names_are_made_legal_and_stay_apart(name: str, legal: str) -> None:
    assert legal_name(name) == legal
