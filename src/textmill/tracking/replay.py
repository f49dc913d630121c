"""Reads back what a run has recorded of its training, and tells trackers of it again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from textmill.labels import Labels
from textmill.runs import Run
from textmill.safe_write import write_text
from textmill.tracking.charts import split_charts
from textmill.tracking.mirror import Mirrors

Value = TypeVar("Value")


def read_records(path: Path) -> list[dict[str, float]]:
    """The records of a file with one JSON object a line; none where there is no file.

    A last line that was not written whole, as when a run is killed, doesn't count.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def rewind(run: Run, step: int) -> None:
    """Removes what was recorded after the optimizer step that the run goes on from."""
    for path in (run.training, run.history):
        kept = [record for record in read_records(path) if record["step"] <= step]
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
    for at, path in validations(run):
        if at > step:
            path.unlink()


def replay(run: Run, tracker: Mirrors, labels: Labels) -> None:
    """Tells trackers all that was recorded, in the order in which it happened."""
    training = {int(record["step"]): record for record in read_records(run.training)}
    history = {int(record["step"]): record for record in read_records(run.history)}
    predictions = dict(validations(run))
    for step in sorted({*training, *history}):
        if step in training:
            tracker.log_metrics(prefixed("train", _without_step(training[step])), step)
        if step in history:
            table = pq.read_table(predictions[step])
            tell_validation(tracker, _without_step(history[step]), table, labels, step)


def tell_validation(
    tracker: Mirrors, metrics: Mapping[str, float], predictions: pa.Table, labels: Labels, step: int
) -> None:
    """Tells trackers of a validation: its metrics and its charts."""
    tracker.log_metrics(prefixed("validation", metrics), step)
    if tracker:
        tracker.log_charts(prefixed("validation", split_charts(predictions, labels)), step)


def validations(run: Run) -> Iterator[tuple[int, Path]]:
    """The optimizer steps after which the run was validated, each with the predictions' file."""
    for path in sorted(run.validation_predictions(0).parent.glob("*.parquet")):
        yield int(path.stem), path


def prefixed(prefix: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values under names that begin with the prefix and a slash."""
    return {f"{prefix}/{name}": value for name, value in values.items()}


def _without_step(record: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in record.items() if name != "step"}
