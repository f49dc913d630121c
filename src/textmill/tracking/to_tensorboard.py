"""Shows a run in TensorBoard."""

from __future__ import annotations

import html
import json
import re
import shutil
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from textmill.runs import State
from textmill.tracking.drawing import png
from textmill.tracking.flat import flattened
from textmill.tracking.shapes import Chart, Histogram
from textmill.tracking.tracker import RunArtifact, RunFacts

# Rows of a table that are shown; its page is no place for more.
MOST_ROWS = 200
_RGBA = 4


class TensorBoardTracker:
    """Writes ``tensorboard/`` in the run's folder, anew each time that the run is started.

    Metrics are scalars, the final ones under ``final/``; charts are images; tables and the
    configuration are Markdown. The final metrics stand beside the configuration under "HParams".

    Args:
        facts: What is told of the run.
    """

    def __init__(self, facts: RunFacts) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        folder = facts.folder / "tensorboard"
        if folder.exists():
            shutil.rmtree(folder)
        self._writer: Any = SummaryWriter(str(folder))
        self._config = facts.config
        self._step = 0
        for name, value in facts.config.items():
            self._writer.add_text(f"config/{name}", _code(value))

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Writes scalars."""
        self._step = step
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def log_summary(self, metrics: Mapping[str, float]) -> None:
        """Writes the final scalars, and what they were reached with."""
        from torch.utils.tensorboard.summary import hparams

        final = {f"final/{name}": value for name, value in metrics.items()}
        self.log_metrics(final, self._step)
        config = {name: value for name, value in self._config.items() if name != "manifest"}
        for part in hparams(dict(_settings(config)), final):  # type: ignore[no-untyped-call]
            self._writer.file_writer.add_summary(part)
        self._writer.flush()

    def log_charts(self, charts: Mapping[str, Chart], step: int) -> None:
        """Writes images."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._step = step
        for name, chart in charts.items():
            picture = png(chart)
            width, height = struct.unpack(">II", picture[16:24])  # of the header's fixed places
            image = Summary.Image(
                encoded_image_string=picture, width=width, height=height, colorspace=_RGBA
            )
            summary = Summary(value=[Summary.Value(tag=name, image=image)])
            self._writer.file_writer.add_summary(summary, step)

    def log_table(self, name: str, table: pa.Table, step: int) -> None:
        """Writes the first rows as a Markdown table."""
        self._writer.add_text(name, markdown_table(table), step)

    def log_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Writes histograms."""
        for name, one in histograms.items():
            middles = (one.edges[:-1] + one.edges[1:]) / 2
            self._writer.add_histogram_raw(
                name,
                min=one.edges[0],
                max=one.edges[-1],
                num=one.counts.sum(),
                sum=(one.counts * middles).sum(),
                sum_squares=(one.counts * middles**2).sum(),
                bucket_limits=one.edges[1:].tolist(),
                bucket_counts=one.counts.tolist(),
                global_step=step,
            )

    def log_artifact(self, artifact: RunArtifact) -> None:
        """Writes where it is, and what it is."""
        told = {
            "folder": str(artifact.folder),
            "fingerprint": artifact.fingerprint,
            **artifact.facts,
        }
        self._writer.add_text(f"artifacts/{artifact.kind}/{artifact.name}", _code(told), self._step)

    def finish(self, state: State) -> None:
        """Writes how the run ended, and closes the file."""
        self._writer.add_text("state", state, self._step)
        self._writer.close()


def markdown_table(table: pa.Table) -> str:
    """The first rows of a table as Markdown, in which all text is shown as it is."""
    shown = table.slice(0, MOST_ROWS)
    rows = zip(*(column.to_pylist() for column in shown.columns), strict=True)
    lines = [
        [_escaped(name) for name in table.column_names],
        ["---"] * table.num_columns,
        *([_cell(value) for value in row] for row in rows),
    ]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    left = table.num_rows - shown.num_rows
    return f"{text}\n\nand {left:,} more rows" if left else text


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return _escaped(" | ".join(map(str, value)) if isinstance(value, list) else str(value))


def _escaped(text: str) -> str:
    """Text in which nothing is HTML or Markdown, on one line."""
    quoted = html.escape(" ".join(text.split()))
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~:])", lambda found: f"&#{ord(found[0])};", quoted)


def _code(value: object) -> str:
    """A value as a block of code, in which nothing is marked up."""
    lines = json.dumps(value, indent=2, ensure_ascii=False, default=str).splitlines()
    return "\n".join(f"    {line}" for line in lines)


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The configuration in the types that hyperparameters may have."""
    for name, value in flattened(config).items():
        yield name, value if isinstance(value, bool | int | float | str) else json.dumps(value)
