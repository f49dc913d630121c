"""Shows a run in Weights & Biases, offline unless asked otherwise."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from textmill.errors import MachineError
from textmill.runs import State
from textmill.tracking.mirror import print_warning
from textmill.tracking.shapes import BarChart, Chart, Heatmap, Histogram, LineChart
from textmill.tracking.tracker import RunArtifact, RunFacts
from textmill.tracking.uploading import Upload, caches

if TYPE_CHECKING:
    import wandb
    from wandb.plot.custom_chart import CustomChart

Mode = Literal["online", "offline"]

# Of the seconds that training waits for the tracker, how many the upload may take at the end.
_UPLOAD_SHARE = 3 / 4
# What separates the elements of a list in a table's cell.
_SEPARATOR = " | "
_SERVICE = "WANDB_SERVICE"


@dataclass(frozen=True, slots=True)
class WandbSettings:
    """How a run is shown in Weights & Biases.

    Args:
        mode: ``online`` uploads as it goes; ``offline`` keeps everything for a later upload.
        entity: The user or team; None is the account's own.
        tags: Words to find the run by.
        notes: A few sentences on the run.
        timeout: Seconds that training waits for the tracker, all in all.
    """

    mode: Mode
    entity: str | None
    tags: tuple[str, ...]
    notes: str | None
    timeout: float


class WandbTracker:
    """One run of Weights & Biases, with its files in the run folder's ``wandb/``.

    It is always recorded there, without a network. Online, a process of its own uploads the record
    as it grows; a server that can't be reached, or that refuses the login, costs a warning. A run
    that is gone on with is told again from its beginning, so its earlier record is replaced.

    Args:
        facts: The run.
        settings: How it is shown.
    """

    def __init__(self, facts: RunFacts, settings: WandbSettings) -> None:
        import wandb

        self._folder = facts.folder / "wandb"
        self._timeout = settings.timeout
        self._final: dict[str, float] = {}
        self._upload: Upload | None = None
        self._owns_service = _SERVICE not in os.environ
        if facts.resumed:
            shutil.rmtree(self._folder, ignore_errors=True)
        with _environment(self._folder):
            wandb.setup(wandb.Settings(silent=True))
            self._run = _init(facts, settings)
        if settings.mode == "online":
            self._upload = Upload(self._folder, [Path(self._run.dir).parent], live=True)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Adds to the history's row of an optimizer step."""
        self._run.log(dict(metrics), step=step)
        if self._upload is not None and self._upload.ended:
            self._end(self._upload)

    def log_summary(self, metrics: Mapping[str, float]) -> None:
        """Keeps the final numbers for the end: rows of the history would write over them."""
        self._final = dict(metrics)

    def log_charts(self, charts: Mapping[str, Chart], step: int) -> None:
        """Adds charts, as W&B's own where it has such a chart, or else as a table."""
        with _environment(self._folder):
            self._run.log({name: _chart(chart) for name, chart in charts.items()}, step=step)

    def log_table(self, name: str, table: pa.Table, step: int) -> None:
        """Adds a table."""
        columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
        with _environment(self._folder):
            native = _table(table.column_names, zip(*columns, strict=True))
            self._run.log({name: native}, step=step)

    def log_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Adds histograms."""
        import wandb

        native = {
            name: wandb.Histogram(np_histogram=(one.counts.astype(np.int64), one.edges))
            for name, one in histograms.items()
        }
        self._run.log(native, step=step)

    def log_artifact(self, artifact: RunArtifact) -> None:
        """Adds an artifact, without copying its files, and whether the run used or made it."""
        import wandb

        # Of these characters, and no longer.
        name = re.sub(r"[^a-zA-Z0-9_.-]+", "-", f"{artifact.kind}-{artifact.name}")[:128]
        facts = {**artifact.facts, "fingerprint": artifact.fingerprint}
        native = wandb.Artifact(name, artifact.kind, metadata=facts)
        native.add_dir(str(artifact.folder), policy="immutable", skip_cache=True)
        with _environment(self._folder):
            if artifact.made:
                self._run.log_artifact(native, aliases=["latest", "best"])
            else:
                # What `use_artifact` does, which offline refuses to.
                self._run._log_artifact(native, is_user_created=True, use_after_commit=True)

    def finish(self, state: State) -> None:
        """Writes what is outstanding, stops W&B's service, and waits for the upload."""
        import wandb

        self._run.log({}, commit=True)
        self._run.summary.update(self._final)
        self._run.finish(exit_code=0 if state in ("finished", "pruned") else 1)
        if self._owns_service:
            wandb.teardown()
        if self._upload is not None:
            self._end(self._upload)
        shutil.rmtree(self._folder / "cache", ignore_errors=True)

    def _end(self, upload: Upload) -> None:
        """Waits for the upload to end, for a while."""
        self._upload = None
        try:
            upload.wait(self._timeout * _UPLOAD_SHARE)
        except MachineError as error:
            print_warning(
                f"W&B is not shown all of the run ({error}); it is recorded offline, "
                f"textmill runs sync {self._folder.parent} uploads it later"
            )


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """W&B's settings that it takes from the environment only, some at its start, some at calls."""
    changes = {
        **caches(folder),
        # The manifest has the machine and the packages.
        "WANDB__DISABLE_META": "true",
        "WANDB__SAVE_REQUIREMENTS": "false",
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _init(facts: RunFacts, settings: WandbSettings) -> wandb.Run:
    import wandb

    return wandb.init(
        mode="offline",
        dir=str(facts.folder),
        id=facts.identity,
        name=facts.name,
        project=facts.project,
        entity=settings.entity,
        group=facts.group,
        tags=settings.tags or None,
        notes=settings.notes,
        config=dict(facts.config),
        reinit="create_new",
        save_code=False,
        settings=wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, label_disable=True
        ),
    )


def _chart(chart: Chart) -> CustomChart | wandb.Table:
    if isinstance(chart, LineChart):
        return _lines(chart)
    if isinstance(chart, BarChart):
        return _bars(chart)
    return _cells(chart)


def _lines(chart: LineChart) -> CustomChart:
    import wandb

    names = [series.name or chart.y_label for series in chart.series]
    rows = (
        (name, _number(x), _number(y))
        for name, series in zip(names, chart.series, strict=True)
        for x, y in zip(series.x, series.y, strict=True)
    )
    table = _table(["series", "x", "y"], rows)
    if chart.unit_square:
        titles = {"x-axis-title": chart.x_label, "y-axis-title": chart.y_label}
        spec, fields = "wandb/area-under-curve/v0", {"x": "x", "y": "y", "class": "series"}
    else:
        titles = {"xname": chart.x_label}
        spec, fields = "wandb/lineseries/v0", {"step": "x", "lineVal": "y", "lineKey": "series"}
    return wandb.plot_table(spec, table, fields, {"title": chart.title, **titles})


def _bars(chart: BarChart) -> CustomChart:
    """A bar for each place and series: W&B's chart has no series, so that the bars' names tell."""
    import wandb

    counts = [None] * len(chart.categories) if chart.counts is None else chart.counts.tolist()
    rows = (
        (f"{place} {series}".rstrip(), place, series, float(height), examples)
        for series, heights in chart.heights.items()
        for place, height, examples in zip(chart.categories, heights, counts, strict=True)
        if math.isfinite(height)
    )
    table = _table(["bar", "place", "series", "height", "examples"], rows)
    fields = {"label": "bar", "value": "height"}
    return wandb.plot_table("wandb/bar/v0", table, fields, {"title": chart.title})


def _cells(chart: Heatmap) -> CustomChart | wandb.Table:
    import wandb

    rows = (
        (row, column, _number(value))
        for row, values in zip(chart.rows, chart.values, strict=True)
        for column, value in zip(chart.columns, values, strict=True)
    )
    if chart.shares or chart.rows != chart.columns:
        return _table([chart.y_label, chart.x_label, "share" if chart.shares else "count"], rows)
    names = ["Actual", "Predicted", "nPredictions"]
    fields = {name: name for name in names}
    table = _table(names, rows)
    return wandb.plot_table("wandb/confusion_matrix/v1", table, fields, {"title": chart.title})


def _table(names: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> wandb.Table:
    import wandb

    return wandb.Table(columns=list(names), data=[list(row) for row in rows])


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _cell(value: Any) -> Any:  # noqa: ANN401 - whatever a column may hold
    if isinstance(value, list):
        return _SEPARATOR.join(str(element) for element in value)
    return _number(value) if isinstance(value, float) else value
