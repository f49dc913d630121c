"""From the configuration and the manifest to what a tracker is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from textmill.configuration import run_with_hydra
from textmill.runs import Run
from textmill.schema import TrackingSection
from textmill.tracking import to_wandb
from textmill.trackers import trackers_of


def section(*overrides: str) -> TrackingSection:
    found: list[Any] = []
    run_with_hydra(overrides, "train", found.append)
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
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    of_manifest: dict[str, str],
    overrides: list[str],
    told: str | None,
) -> None:
    run = Run(tmp_path)
    run.config.write_text(yaml.safe_dump({"seed": 1}))
    run.manifest.write_text(json.dumps({"identity": "0a", "name": "demo", **of_manifest}))
    groups: list[str | None] = []

    class Told(to_wandb.WandbTracker):
        def __init__(self, facts: Any, settings: Any) -> None:  # noqa: ANN401
            groups.append(facts.group)
            super().__init__(facts, settings)

    monkeypatch.setattr(to_wandb, "WandbTracker", Told)
    trackers_of(section(*overrides), run, resumed=False).finish("finished")
    assert groups == [told]
