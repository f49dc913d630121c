"""From the configuration and the manifest to what a tracker is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.tracking import MlflowClient

from textmill.configuration.composing import run_with_hydra
from textmill.configuration.schema import TrackingSection
from textmill.runs import Run
from textmill.trackers import trackers_of


def section(*overrides: str) -> TrackingSection:
    found: list[Any] = []
    run_with_hydra(["tracking=mlflow", *overrides], "train", found.append)
    tracking: TrackingSection = found[0].config.tracking
    return tracking


@pytest.mark.parametrize(
    ("of_manifest", "overrides", "told"),
    [
        ({"group": "2026-11-24_10-00-00"}, [], "2026-11-24_10-00-00"),
        ({"group": "2026-11-24_10-00-00"}, ["tracking.group=mine"], "mine"),
        ({}, [], None),
    ],
)
def test_a_run_is_shown_with_those_of_its_multirun_unless_a_group_is_given(
    tmp_path: Path, of_manifest: dict[str, str], overrides: list[str], told: str | None
) -> None:
    run = Run(tmp_path / "runs" / "2026-11-24" / "demo")
    run.folder.mkdir(parents=True)
    run.config.write_text(yaml.safe_dump({"seed": 1}))
    run.manifest.write_text(json.dumps({"identity": "0a", "name": "demo", **of_manifest}))
    trackers_of(section(*overrides), run, resumed=False).finish("finished")
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    [shown] = client.search_runs([one.experiment_id for one in client.search_experiments()])
    assert shown.data.tags.get("textmill.group") == told
