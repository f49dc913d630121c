"""From the configuration to the trackers that a run is shown in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import yaml

from textmill.configuration.schema import TrackingSection
from textmill.runs import Run
from textmill.tracking.installed import check_installed
from textmill.tracking.mirror import Mirrors, NamedTracker
from textmill.tracking.tracker import RunFacts


def check_trackers(tracking: TrackingSection) -> None:
    """Makes sure that the trackers asked for are installed.

    Raises:
        InputError: One is not.
    """
    check_installed(
        [name for name in ("wandb", "tensorboard", "mlflow") if getattr(tracking, name)]
    )


def trackers_of(tracking: TrackingSection, run: Run, *, resumed: bool) -> Mirrors:
    """Starts the trackers asked for.

    Args:
        tracking: Its section.
        run: The run, with its manifest.
        resumed: Whether the run has been started before.
    """
    facts = _facts(tracking, run, resumed=resumed)
    return Mirrors(list(_named(tracking, facts, run)), timeout=tracking.timeout)


def _facts(tracking: TrackingSection, run: Run, *, resumed: bool) -> RunFacts:
    manifest = run.read_manifest()
    config = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    return RunFacts(
        identity=manifest["identity"],
        folder=run.folder,
        name=tracking.run_name or manifest["name"],
        project=tracking.project,
        group=tracking.group or manifest.get("group"),
        config={**config, "manifest": manifest},
        resumed=resumed,
    )


def _named(tracking: TrackingSection, facts: RunFacts, run: Run) -> Iterator[NamedTracker]:
    files = "and its folder has everything"
    if tracking.wandb and tracking.mode != "disabled":
        from textmill.tracking.to_wandb import WandbSettings, WandbTracker

        settings = WandbSettings(
            mode=tracking.mode,
            entity=tracking.entity,
            tags=tuple(tracking.tags),
            notes=tracking.notes,
            timeout=tracking.timeout,
        )
        later = f"textmill runs sync {run.folder} uploads it later"
        yield NamedTracker("W&B", partial(WandbTracker, facts, settings), later)
    if tracking.tensorboard:
        from textmill.tracking.to_tensorboard import TensorBoardTracker

        yield NamedTracker("TensorBoard", partial(TensorBoardTracker, facts), files)
    if tracking.mlflow:
        from textmill.tracking.to_mlflow import MLflowTracker

        uri = tracking.mlflow_uri or f"sqlite:///{_runs_dir(run) / 'mlflow.db'}"
        yield NamedTracker(
            "MLflow",
            partial(MLflowTracker, facts, uri, tracking.tags, tracking.notes),
            files,
        )
    if tracking.csv:
        from textmill.tracking.to_csv import CsvTracker

        yield NamedTracker("CSV", partial(CsvTracker, facts), files)


def _runs_dir(run: Run) -> Path:
    return run.folder.parent.parent
