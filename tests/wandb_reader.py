"""Reads back what W&B has recorded of a run, by W&B's own reader ``wandb leet inspect``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]

_TABLE = "_table"
_CHARTS = "_wandb.visualize."


@dataclass
class RecordedChart:
    """One of W&B's native charts.

    Args:
        kind: W&B's name for it, like ``wandb/bar/v0``.
        fields: From what the chart knows to the table's columns.
        strings: Its titles.
        rows: The table's.
    """

    kind: str
    fields: dict[str, str]
    strings: dict[str, str]
    rows: list[Row]


@dataclass
class RecordedArtifact:
    """An artifact, its files by name."""

    name: str
    kind: str
    aliases: list[str]
    metadata: Row
    used: bool
    files: dict[str, Path]


@dataclass
class WandbRecord:
    """A run as W&B has recorded it.

    Args:
        folder: The folder ``wandb/[offline-]run-<time>-<identity>``.
        run: Its ``run_id``, ``project``, ``display_name``, ``run_group``, ``tags``, ``notes``.
        config: The configuration, as it was given.
        history: A row for each step at which something was logged, in order; step in ``_step``.
            What is nested in W&B's own values has keys joined by dots, like ``NAME.path``.
        summary: The last values, likewise.
        artifacts: Those of users; W&B also makes one of each table.
        exit_code: How it ended; None if it has not.
    """

    folder: Path
    run: Row = field(default_factory=dict)
    config: Row = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    summary: Row = field(default_factory=dict)
    artifacts: list[RecordedArtifact] = field(default_factory=list)
    exit_code: int | None = None
    _charts: dict[str, Row] = field(default_factory=dict)

    def metrics(self, prefix: str) -> dict[int, Row]:
        """The numbers logged under names that begin so, by step; nothing of charts and tables."""
        rows = {row["_step"]: dict(_numbers(row, prefix)) for row in self.history}
        return {step: numbers for step, numbers in rows.items() if numbers}

    def charts(self) -> set[str]:
        """The names of the native charts."""
        return set(self._charts)

    def chart(self, name: str, step: int | None = None) -> RecordedChart:
        """A native chart, at a step, or else the last one."""
        panel = self._charts[name]
        return RecordedChart(
            panel["panelDefId"],
            panel["fieldSettings"],
            panel["stringSettings"],
            self.table(name + _TABLE, step),
        )

    def tables(self) -> set[str]:
        """The names of the tables, those of the charts left out."""
        names = {key.removesuffix(".path") for row in self.history for key in row if _is_path(key)}
        return names - {name + _TABLE for name in self._charts}

    def table(self, name: str, step: int | None = None) -> list[Row]:
        """The rows of a table, at a step, or else of the last one."""
        paths = {row["_step"]: row[f"{name}.path"] for row in self.history if f"{name}.path" in row}
        path = paths[max(paths) if step is None else step]
        table = json.loads((self.folder / "files" / path).read_text(encoding="utf-8"))
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]

    def histograms(self) -> set[str]:
        """The names of the histograms."""
        return {
            key.removesuffix("._type")
            for row in self.history
            for key, value in row.items()
            if key.endswith("._type") and value == "histogram"
        }

    def histogram(self, name: str, step: int) -> tuple[list[float], list[float]]:
        """The counts and the edges of a histogram."""
        (row,) = (row for row in self.history if row["_step"] == step)
        return row[f"{name}.values"], row[f"{name}.bins"]

    def artifact(self, kind: str) -> RecordedArtifact:
        """The only artifact of a kind."""
        (found,) = (artifact for artifact in self.artifacts if artifact.kind == kind)
        return found


def read_record(run: Path) -> WandbRecord:
    """Reads the only record of a run.

    Args:
        run: The folder of the run.
    """
    (folder,) = (file.parent for file in (run / "wandb").glob("*run-*/*.wandb"))
    record = WandbRecord(folder)
    for line in _inspect(folder):
        _take(record, line)
    return record


def _inspect(folder: Path) -> Iterator[Row]:
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)],
        env={**os.environ, "WANDB_ERROR_REPORTING": "false"},
        capture_output=True,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines():
        yield json.loads(line)


def _take(record: WandbRecord, line: Row) -> None:
    content = line[line["type"]]
    match line["type"]:
        case "run":
            record.run = content
            record.config = {k: v for k, v in content["config"]["update"].items() if k != "_wandb"}
        case "config":
            for key, value in content["update"].items():
                if key.startswith(_CHARTS):
                    record._charts[key.removeprefix(_CHARTS)] = value["panel_config"]
        case "history":
            record.history.append(content["item"])
        case "summary":
            record.summary |= content.get("update", {})
        case "artifact" if content["type"] != "run_table":
            record.artifacts.append(_artifact(content))
        case "exit":
            record.exit_code = content["exit_code"]


def _artifact(content: Row) -> RecordedArtifact:
    return RecordedArtifact(
        name=content["name"],
        kind=content["type"],
        aliases=content["aliases"],
        metadata=json.loads(content["metadata"]),
        used=content.get("use_after_commit", False),
        files={one["path"]: Path(one["local_path"]) for one in content["manifest"]["contents"]},
    )


def _numbers(row: Row, prefix: str) -> Iterator[tuple[str, float]]:
    # What a table or a histogram consists of lies beside its type.
    nested = tuple(key.removesuffix("_type") for key in row if key.endswith("._type"))
    for key, value in row.items():
        if key.startswith(prefix) and not key.startswith(nested):
            yield key, float(value)


def _is_path(key: str) -> bool:
    return key.endswith(".path") and not key.endswith("artifact_path")
