"""Shows a run in MLflow, in a local database or on a server."""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from textmill.runs import State
from textmill.tracking.drawing import png
from textmill.tracking.flat import flattened
from textmill.tracking.shapes import Chart, Histogram
from textmill.tracking.to_csv import chart_rows, csv_text, table_csv
from textmill.tracking.tracker import RunArtifact, RunFacts

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SQLITE = "sqlite:///"
IDENTITY = "textmill.identity"
# What MLflow takes in one call.
_MOST_PARAMS = 100
_MOST_METRICS = 1000
_DIGEST_LENGTH = 36
_STATUS = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "pruned": "KILLED",
}


class MLflowTracker:
    """One run of MLflow, in the experiment named after the project.

    A run that is gone on with continues its run of MLflow; what that has already is not added
    again. In a local database, files are kept beside it, and a bundle is recorded by its path; to a
    server it is uploaded.

    Args:
        facts: What is told of the run.
        uri: The database or the server.
        tags: Words to find the run by.
        notes: A few sentences on the run.
    """

    def __init__(
        self, facts: RunFacts, uri: str, tags: Sequence[str] = (), notes: str | None = None
    ) -> None:
        self._client = _client(uri)
        self._local = uri.startswith(SQLITE)
        experiment = _experiment(self._client, facts.project, uri)
        known = _find_run(self._client, experiment, facts.identity)
        self._continued = known is not None
        self._run = known or _create_run(self._client, experiment, facts)
        self._client.update_run(self._run, status="RUNNING")
        self._last_steps: dict[str, int] = {}
        self._step = 0
        for name, value in _tags(facts, tags, notes).items():
            self._client.set_tag(self._run, name, value)
        self._log_config(facts.config)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Records those that have no value at this step or a later one."""
        self._step = step
        if self._continued:
            metrics = {name: one for name, one in metrics.items() if step > self._last_step(name)}
        self._log(metrics, step)

    def log_summary(self, metrics: Mapping[str, float]) -> None:
        """Records the final numbers at the last step, as the metrics' latest values."""
        self._log(metrics, self._step)

    def log_charts(self, charts: Mapping[str, Chart], step: int) -> None:
        """Records pictures and their numbers, as ``charts/NAME/STEP.png`` and ``.csv``."""
        self._step = step
        for name, chart in charts.items():
            header, rows = chart_rows(chart)
            place = f"charts/{name}/{step:08d}"
            self._write(f"{place}.png", png(chart))
            self._write(f"{place}.csv", csv_text([header, *rows]).encode())

    def log_table(self, name: str, table: pa.Table, step: int) -> None:  # noqa: ARG002
        """Records a table as CSV."""
        self._write(f"{name}.csv", table_csv(table).encode())

    def log_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Records all histograms of a moment in one file, as ``histograms/STEP.json``."""
        if histograms:
            told = {
                name: {"counts": one.counts.tolist(), "edges": one.edges.tolist()}
                for name, one in histograms.items()
            }
            self._write(f"histograms/{step:08d}.json", json.dumps(told).encode())

    def log_artifact(self, artifact: RunArtifact) -> None:
        """Records a data set as the run's input, and a bundle by its path or its files."""
        if not artifact.made:
            self._client.log_inputs(self._run, [_dataset_input(artifact)])
            return
        told = {"path": str(artifact.folder), "fingerprint": artifact.fingerprint}
        for name, value in told.items():
            self._client.set_tag(self._run, f"textmill.{artifact.kind}.{name}", value)
        if not self._local:
            self._client.log_artifacts(self._run, str(artifact.folder), artifact.kind)

    def finish(self, state: State) -> None:
        """Records how the run ended."""
        self._client.set_terminated(self._run, _STATUS[state])

    def _log_config(self, config: Mapping[str, Any]) -> None:
        """Records the configuration key by key, and with the manifest as a file."""
        from mlflow.entities import Param

        self._client.log_dict(self._run, dict(config), "config.json")
        settings = flattened({name: value for name, value in config.items() if name != "manifest"})
        params = [Param(legal_name(name), _as_text(value)) for name, value in settings.items()]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._run, params=params[start : start + _MOST_PARAMS])

    def _log(self, metrics: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        points = [
            Metric(legal_name(name), float(value), now, step) for name, value in metrics.items()
        ]
        for start in range(0, len(points), _MOST_METRICS):
            self._client.log_batch(self._run, metrics=points[start : start + _MOST_METRICS])

    def _last_step(self, name: str) -> int:
        """The last step at which a metric was recorded before the run was stopped."""
        if name not in self._last_steps:
            history = self._client.get_metric_history(self._run, legal_name(name))
            self._last_steps[name] = max((point.step for point in history), default=-1)
        return self._last_steps[name]

    def _write(self, place: str, content: bytes) -> None:
        *folders, name = place.split("/")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            self._client.log_artifact(self._run, str(path), "/".join(folders))


def legal_name(name: str) -> str:
    """A name as MLflow allows it: other characters become their hexadecimal number."""
    quoted = re.sub(r"[^\w./ :-]", lambda found: f"_{ord(found[0]):x}_", name)
    # Neither empty nor made of dots, which mean something in a path.
    parts = [
        part if part.strip(".") else f"_{part.replace('.', '2e_')}" for part in quoted.split("/")
    ]
    return "/".join(parts)


def _client(uri: str) -> MlflowClient:
    # Nobody is told of the use of MLflow unless its user wants so.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)


def _experiment(client: MlflowClient, name: str, uri: str) -> str:
    """The experiment's id; of a new one, the files are beside a local database."""
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    place = None
    if uri.startswith(SQLITE):
        database = Path(uri.removeprefix(SQLITE)).absolute()
        place = database.with_name(f"{database.stem}-files").as_uri()
    return str(client.create_experiment(name, artifact_location=place))


def _find_run(client: MlflowClient, experiment: str, identity: str) -> str | None:
    found = client.search_runs([experiment], f"tags.`{IDENTITY}` = '{identity}'", max_results=1)
    return found[0].info.run_id if found else None


def _create_run(client: MlflowClient, experiment: str, facts: RunFacts) -> str:
    made = client.create_run(experiment, run_name=facts.name, tags={IDENTITY: facts.identity})
    return str(made.info.run_id)


def _tags(facts: RunFacts, words: Sequence[str], notes: str | None) -> dict[str, str]:
    manifest = facts.config.get("manifest", {})
    git = manifest.get("git") or {}
    tags = {
        "textmill.folder": str(facts.folder),
        "textmill.group": facts.group,
        "mlflow.note.content": notes,
        "mlflow.source.name": manifest.get("command"),
        "mlflow.source.git.commit": git.get("commit"),
        **{legal_name(word): "true" for word in words},
    }
    return {name: value for name, value in tags.items() if value}


def _dataset_input(artifact: RunArtifact) -> Any:  # noqa: ANN401
    """A data set as MLflow has it, told apart by the beginning of its fingerprint."""
    from mlflow.entities import Dataset, DatasetInput

    facts = {**artifact.facts, "fingerprint": artifact.fingerprint}
    return DatasetInput(
        Dataset(
            name=artifact.name,
            digest=artifact.fingerprint[:_DIGEST_LENGTH],
            source_type="local",
            source=json.dumps({"uri": str(artifact.folder)}),
            profile=json.dumps(facts),
        ),
        tags=[],
    )


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
