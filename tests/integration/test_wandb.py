"""A run is in W&B whatever its server does: at once, or once it is synced; and training goes on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests import told
from tests.forks import in_fork, kill_self, on_call
from tests.integration.test_train import write_reviews
from tests.waiting import wait_until
from tests.wandb_reader import WandbRecord, read_record
from tests.wandb_server import KEY, UploadedRun, WandbServer, isolate
from textmill.cli import main
from textmill.errors import InputError, MachineError
from textmill.labels import Labels
from textmill.model.checkpoints import AtomicCheckpointIO
from textmill.runs import Run
from textmill.tracking.charts import split_charts
from textmill.tracking.replay import read_records
from textmill.tracking.shapes import LineChart
from textmill.tracking.syncing import sync_run
from textmill.tracking.to_wandb import WandbSettings, WandbTracker

IDENTITY = "0a1b2c3d"
BROKEN = ("error", "hang", "refused")
LABELS = Labels(("bad", "good"))
# Seconds that a sound server may take on a loaded machine.
PATIENCE = 60


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A sound server, to which this process is logged in."""
    with WandbServer() as server:
        isolate(monkeypatch, home, server.url, KEY)
        yield server


@pytest.fixture
def broken(
    request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The address of a server that is out of order, or hangs, or isn't there."""
    if request.param == "refused":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        isolate(monkeypatch, home, url, KEY)
        yield url
        return
    with WandbServer(request.param) as server:
        isolate(monkeypatch, home, server.url, KEY)
        yield server.url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run."""
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def online(folder: Path, timeout: float = PATIENCE) -> WandbTracker:
    settings = WandbSettings("online", None, (), None, timeout)
    return WandbTracker(told.facts(folder), settings)


def tell(tracker: WandbTracker, folder: Path) -> None:
    """Tells a tracker of the run that `tests.told` makes up."""
    for step in sorted({*told.TRAINING, *told.VALIDATION}):
        tracker.log_metrics({**told.TRAINING.get(step, {}), **told.VALIDATION.get(step, {})}, step)
        if step in told.VALIDATION:
            tracker.log_charts(told.charts(step), step)
    tracker.log_summary(told.SUMMARY)
    tracker.log_table("tables/samples", told.TABLE, 40)
    for artifact in told.artifacts(folder):
        tracker.log_artifact(artifact)


def assert_whole(server: WandbServer) -> None:
    """All of the run that `tests.told` makes up is on the server."""
    run = server.runs[IDENTITY]
    assert {name: run.config[name] for name in told.CONFIG} == told.CONFIG
    assert [row["_step"] for row in run.history] == [10, 20, 40]
    assert run.history[0]["train/loss"] == 0.7
    assert run.history[2]["validation/f1_macro"] == 0.8
    assert {name: run.summary[name] for name in told.SUMMARY} == told.SUMMARY
    assert run.exit_code == 0
    assert sum(file.startswith("media/table/") for file in run.files) == 7
    (data,), (model,) = server.made("dataset"), server.made("model")
    assert (data.used, data.made) == (True, False)
    assert (model.used, model.made) == (False, True)
    assert set(model.aliases) == {"latest", "best"}
    assert "file.txt" in model.files


def test_an_online_run_is_shown_whole_without_a_word(
    server: WandbServer, folder: Path, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = online(folder)
    tell(tracker, folder)
    tracker.finish("finished")
    assert_whole(server)
    assert capfd.readouterr() == ("", "")
    assert "already" in sync_run(Run(folder))[0]
    assert list(home.rglob("*")) == []


def test_an_online_run_is_shown_while_it_runs_and_a_server_that_then_dies_costs_a_warning(
    server: WandbServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WANDB__TRANSACTION_LOG_FLUSH_INTERVAL", "0.2")
    tracker = online(folder, timeout=4)
    tracker.log_metrics({"train/loss": 0.9}, 1)
    tracker.log_metrics({"train/loss": 0.8}, 2)
    wait_until(lambda: IDENTITY in server.runs and server.runs[IDENTITY].history)
    assert server.runs[IDENTITY].history[0]["train/loss"] == 0.9
    assert server.runs[IDENTITY].exit_code is None
    server.mode = "hang"
    tell(tracker, folder)
    finish_quickly(tracker, 4)
    (warning,) = capfd.readouterr().err.splitlines()
    assert f"had not ended after 3 seconds, in {server.url}" in warning
    server.mode = "healthy"
    sync_run(Run(folder))
    steps = [row["_step"] for row in server.runs[IDENTITY].history]
    assert steps == [1, 2, 10, 20, 40]
    assert server.runs[IDENTITY].exit_code == 0


def finish_quickly(tracker: WandbTracker, timeout: float) -> None:
    started = time.monotonic()
    tracker.finish("finished")
    assert time.monotonic() - started < timeout + 1


def test_a_missing_login_is_told_at_once_and_the_run_is_recorded(
    server: WandbServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    tracker = online(folder)
    told_at: list[int] = []
    steps = iter(range(1, 10**6))

    def warned() -> bool:
        tracker.log_metrics({"train/loss": 0.5}, next(steps))
        told_at.extend(1 for _ in capfd.readouterr().err.splitlines())
        return bool(told_at)

    wait_until(warned)
    tracker.finish("finished")
    assert capfd.readouterr() == ("", "")
    assert read_record(folder).exit_code == 0
    assert server.runs == {}


ABANDONED = """
import os, signal, sys
from pathlib import Path
from tests import told
from textmill.tracking.to_wandb import WandbSettings, WandbTracker
facts = told.facts(Path(sys.argv[1]))
tracker = WandbTracker(facts, WandbSettings("online", None, (), None, 60))
tracker.log_metrics({"train/loss": 0.5}, 1)
print(tracker._upload._process.pid, flush=True)
if sys.argv[2] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("broken", ["hang"], indirect=True)
@pytest.mark.parametrize("end", ["return", "kill"])
@pytest.mark.usefixtures("broken")
def test_a_process_that_leaves_a_hung_upload_behind_ends_and_so_does_the_upload(
    folder: Path, end: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABANDONED, str(folder), end],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == (0 if end == "return" else -signal.SIGKILL)
    assert done.stderr == ""
    wait_until(lambda: has_ended(int(done.stdout)))


def has_ended(process: int) -> bool:
    """Whether a process has; one that nobody has asked for its exit status has, too."""
    status = Path(f"/proc/{process}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


@pytest.mark.parametrize("broken", BROKEN, indirect=True)
def test_sync_tells_in_a_line_which_server_has_not_taken_the_run_and_never_the_key(
    broken: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB__GRAPHQL_RETRY_MAX", "1")
    monkeypatch.setenv("WANDB__GRAPHQL_TIMEOUT_SECONDS", "1")
    record(folder)
    with pytest.raises(MachineError) as raised:
        sync_run(Run(folder))
    (line,) = raised.value.problems
    assert broken in line
    assert str(folder) in line
    assert KEY not in line
    with pytest.raises(MachineError):
        sync_run(Run(folder))


def record(folder: Path) -> None:
    """Records a short run offline."""
    settings = WandbSettings("offline", None, (), None, PATIENCE)
    tracker = WandbTracker(told.facts(folder), settings)
    tracker.log_metrics({"train/loss": 0.5}, 1)
    tracker.finish("finished")


def test_sync_uploads_a_record_that_has_grown_since_it_was_uploaded(
    server: WandbServer, folder: Path
) -> None:
    record(folder)
    sync_run(Run(folder))
    assert "already" in sync_run(Run(folder))[0]
    (marker,) = folder.glob("wandb/*run-*/*.wandb.synced")
    os.utime(marker, (0, 0))
    assert server.url in sync_run(Run(folder))[0]
    assert len(server.runs[IDENTITY].history) == 1


def test_sync_of_a_run_without_a_record_is_bad_input(folder: Path) -> None:
    with pytest.raises(InputError, match="has recorded nothing of the run, in "):
        sync_run(Run(folder))


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> list[str]:
    """A training of a few seconds, all that W&B shows included."""
    reviews = write_reviews(tmp_path_factory.mktemp("data") / "reviews.jsonl")
    return [
        "train",
        "data=files",
        f"data.train={reviews}",
        "data.max_length=32",
        "model=folder",
        f"model.path={tiny_encoder}",
        "trainer.batch_size=16",
        "trainer.checkpoint_steps=2",
        "trainer.max_epochs=2",
        "optimizer.lr=0.01",
        "tracking.log_steps=2",
        "tracking.watch=parameters",
        "tracking.report=false",
        "tracking.explained=0",
    ]


def train(command: list[str], runs: Path, *overrides: str) -> Run:
    assert main([*command, f"runs_dir={runs}", *overrides]) == 0
    return Run((runs / "latest").resolve())


@pytest.fixture(scope="module")
def run(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A default run: W&B offline."""
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, tmp_path_factory.mktemp("home"), "http://127.0.0.1:9")
        yield train(command, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def recorded(run: Run) -> WandbRecord:
    return read_record(run.folder)


def test_a_default_run_is_recorded_with_its_configuration_and_manifest(
    run: Run, recorded: WandbRecord
) -> None:
    manifest = run.read_manifest()
    assert recorded.run["run_id"] == manifest["identity"]
    assert recorded.exit_code == 0
    shown = dict(recorded.config)
    fingerprints = shown.pop("manifest")["data"]["fingerprints"]
    assert fingerprints == manifest["data"]["fingerprints"]
    assert shown == yaml.safe_load(run.config.read_text())


def test_every_metric_is_recorded_at_every_epoch_as_in_the_run_folder(
    run: Run, recorded: WandbRecord
) -> None:
    for prefix, path in (("train/", run.training), ("validation/", run.history)):
        expected = {
            int(line["step"]): {f"{prefix}{k}": v for k, v in line.items() if k != "step"}
            for line in read_records(path)
        }
        assert recorded.metrics(prefix) == expected
    assert len(recorded.metrics("validation/")) == 2
    metrics = json.loads(run.metrics.read_text())
    assert {name: recorded.summary[name] for name in metrics} == metrics


def test_confusion_matrices_count_the_predictions_in_the_parquet(
    run: Run, recorded: WandbRecord
) -> None:
    steps = list(recorded.metrics("validation/"))
    tables = [(run.validation_predictions(step), "validation/confusion", step) for step in steps]
    for path, name, step in [*tables, (run.predictions("test"), "test/confusion", steps[-1])]:
        predictions = pq.read_table(path).to_pydict()
        pairs = Counter(zip(predictions["label"], predictions["prediction"], strict=True))
        chart = recorded.chart(name, step)
        shown = {(row["Actual"], row["Predicted"]): row["nPredictions"] for row in chart.rows}
        assert {pair: count for pair, count in shown.items() if count} == dict(pairs)


def test_every_chart_has_the_points_of_the_predictions_in_the_parquet(
    run: Run, recorded: WandbRecord
) -> None:
    step = max(recorded.metrics("validation/"))
    for split, path in (
        ("validation", run.validation_predictions(step)),
        ("test", run.predictions("test")),
    ):
        charts = split_charts(pq.read_table(path), LABELS)
        names = {f"{split}/{name}" for name in charts}
        assert names <= recorded.charts() | recorded.tables()
        for name, chart in charts.items():
            if isinstance(chart, LineChart):
                rows = recorded.chart(f"{split}/{name}", step).rows
                points = [
                    (one.name, x, y)
                    for one in chart.series
                    for x, y in zip(one.x, one.y, strict=True)
                ]
                assert [(row["series"], row["x"], row["y"]) for row in rows] == points


def test_every_table_of_the_run_folder_is_recorded_row_by_row(
    run: Run, recorded: WandbRecord
) -> None:
    paths = sorted(run.table("any").parent.glob("*.parquet"))
    assert {f"tables/{path.stem}" for path in paths} <= recorded.tables()
    for path in paths:
        rows = recorded.table(f"tables/{path.stem}")
        expected = pq.read_table(path).to_pylist()
        assert len(rows) == len(expected)
        for row, original in zip(rows, expected, strict=True):
            assert row == {name: as_shown(value) for name, value in original.items()}


def as_shown(value: object) -> object:
    return " | ".join(map(str, value)) if isinstance(value, list) else value


def test_histograms_are_recorded_at_every_epoch_where_asked_for(recorded: WandbRecord) -> None:
    names = recorded.histograms()
    assert names
    for step in recorded.metrics("validation/"):
        for name in names:
            counts, edges = recorded.histogram(name, step)
            assert len(edges) == len(counts) + 1


def test_the_bundle_is_recorded_by_its_files_in_the_run_folder(
    run: Run, recorded: WandbRecord
) -> None:
    model = recorded.artifact("model")
    assert model.files["model.safetensors"] == run.bundle / "model.safetensors"
    assert set(model.aliases) == {"latest", "best"}
    assert recorded.artifact("dataset").used


@pytest.mark.parametrize("broken", BROKEN, indirect=True)
def test_an_online_run_without_a_server_trains_to_the_same_weights_with_one_warning(
    broken: str,
    command: list[str],
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    other = train(command, tmp_path, "tracking.mode=online", "tracking.timeout=4")
    warnings = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("textmill: warning: W&B is not shown all of the run (")
    assert broken in warnings[0]
    assert f"textmill runs sync {other.folder} uploads it later" in warnings[0]
    weights = [(one.bundle / "model.safetensors").read_bytes() for one in (run, other)]
    assert weights[0] == weights[1]
    with WandbServer() as recovered:
        monkeypatch.setenv("WANDB_BASE_URL", recovered.url)
        (sentence,) = sync_run(other)
        assert recovered.url in sentence
        (shown,) = recovered.runs.values()
        assert_shown(shown, other)
        assert recovered.made("dataset")[0].used
        assert "model.safetensors" in recovered.made("model")[0].files


def assert_shown(shown: UploadedRun, run: Run) -> None:
    """The server has the final metrics of a run, and its validations."""
    metrics = json.loads(run.metrics.read_text())
    assert {name: shown.summary[name] for name in metrics} == metrics
    steps = [row["_step"] for row in shown.history if "validation/loss" in row]
    assert steps == [record["step"] for record in read_records(run.history)]
    assert shown.exit_code == 0


def test_a_resumed_run_is_one_run_in_wandb_without_the_steps_that_were_made_twice(
    server: WandbServer, command: list[str], tmp_path: Path
) -> None:
    runs = f"runs_dir={tmp_path}"
    kill = on_call(AtomicCheckpointIO, "save_checkpoint", 4, kill_self)
    assert in_fork([*command, runs], kill) == -signal.SIGKILL
    (stopped,) = (path.parent for path in tmp_path.glob("*/*/manifest.json"))
    assert in_fork(["train", f"resume={stopped}", runs]) == 0
    run = Run(stopped)
    recorded = read_record(stopped)
    assert recorded.run["run_id"] == run.read_manifest()["identity"]
    steps = [int(record["step"]) for record in read_records(run.training)]
    assert list(recorded.metrics("train/")) == steps
    assert list(recorded.metrics("validation/")) == [6, 12]
    sync_run(run)
    (shown,) = server.runs.values()
    assert_shown(shown, run)
