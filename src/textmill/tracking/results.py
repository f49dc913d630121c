"""Tells trackers how a run came out, from the files of its folder."""

from __future__ import annotations

import hashlib
import json

import pyarrow.parquet as pq
import yaml

from textmill.bundle import read_bundle
from textmill.labels import Labels
from textmill.runs import Run, write_json
from textmill.tracking.charts import split_charts
from textmill.tracking.mirror import Mirrors
from textmill.tracking.replay import prefixed, read_records
from textmill.tracking.tracker import RunArtifact


def tell_results(run: Run, tracker: Mirrors, labels: Labels) -> None:
    """Tells trackers the final metrics, charts and tables, and what the run used and made."""
    if not tracker:
        return
    step = int(read_records(run.history)[-1]["step"])
    manifest = run.read_manifest()
    tracker.log_summary(json.loads(run.metrics.read_text(encoding="utf-8")))
    if manifest["judged"] == "test":
        predictions = pq.read_table(run.predictions("test"))
        tracker.log_charts(prefixed("test", split_charts(predictions, labels)), step)
    for path in sorted(run.table("any").parent.glob("*.parquet")):
        tracker.log_table(f"tables/{path.stem}", pq.read_table(path), step)
    tracker.log_artifact(_data_artifact(run))
    tracker.log_artifact(_bundle_artifact(run))


def _data_artifact(run: Run) -> RunArtifact:
    """What the data were: their description and fingerprints, not the texts."""
    config = yaml.safe_load(run.config.read_text(encoding="utf-8"))["data"]
    record = run.read_manifest()["data"]
    folder = run.training.parent / "data"
    write_json(folder / "data.json", {"config": config, **record})
    fingerprints = record["fingerprints"]
    return RunArtifact(
        name=config["name"],
        kind="dataset",
        folder=folder,
        fingerprint=hashlib.sha256(json.dumps(fingerprints, sort_keys=True).encode()).hexdigest(),
        facts={"counts": record["counts"], "labels": record["labels"], **fingerprints},
        made=False,
    )


def _bundle_artifact(run: Run) -> RunArtifact:
    bundle = read_bundle(run.bundle)
    return RunArtifact(
        name=run.read_manifest()["name"],
        kind="model",
        folder=run.bundle,
        fingerprint=bundle.fingerprint(),
        facts={"labels": list(bundle.labels.names), "max_length": bundle.info.max_length},
        made=True,
    )
