"""What a run's folder holds, read for the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from textmill.errors import InputError
from textmill.labels import Labels
from textmill.runs import Run
from textmill.tracking.replay import read_records


@dataclass(frozen=True, slots=True, eq=False)
class RunRecord:
    """The files of a run's folder; what isn't there is empty.

    Args:
        run: The run.
        config: The configuration, as it is written.
        manifest: What was run on what.
        labels: The label set.
        metrics: Flat names and numbers.
        history: What was measured at each validation.
        training: What was recorded every few optimizer steps.
        predictions: From split to the final predictions on it, the one judged in the end first.
    """

    run: Run
    config: str
    manifest: Mapping[str, Any]
    labels: Labels
    metrics: Mapping[str, float]
    history: list[dict[str, float]]
    training: list[dict[str, float]]
    predictions: Mapping[str, pa.Table]

    @classmethod
    def of(cls, run: Run) -> RunRecord:
        """Reads a run's folder.

        Raises:
            InputError: A file is broken, or the run ended before it had read its data.
        """
        manifest = run.read_manifest()
        data = manifest.get("data")
        if data is None:
            raise InputError(
                "the run ended before it had read its data, so there is nothing to report",
                where=str(run.folder),
                hint="choose another run",
            )
        splits = ("test", "validation")
        return cls(
            run,
            _read(run.config),
            manifest,
            Labels(tuple(data["labels"]), data["multi_label"]),
            _json(run.metrics) if run.metrics.exists() else {},
            read_records(run.history),
            read_records(run.training),
            {
                split: _parquet(run.predictions(split))
                for split in splits
                if run.predictions(split).exists()
            },
        )

    @property
    def judged(self) -> str:
        """The split that the run was judged on in the end."""
        return next(iter(self.predictions), "validation")

    def table(self, name: str) -> pa.Table | None:
        """A table of examples or of slices, if there is such a one.

        Raises:
            InputError: The file is broken.
        """
        path = self.run.table(name)
        return _parquet(path) if path.exists() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _broken(path) from error


def _json(path: Path) -> dict[str, float]:
    try:
        return dict(json.loads(_read(path)))
    except (ValueError, TypeError) as error:
        raise _broken(path) from error


def _parquet(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise _broken(path) from error


def _broken(path: Path) -> InputError:
    return InputError("the file can't be read", where=str(path), hint="is the run whole?")
