"""The runs of a folder, each with what lists, filters and sorting need of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from textmill.errors import InputError
from textmill.runs import Run, run_folders
from textmill.tracking.flat import flattened

# Entries of the manifest that lists, filters and sorting know beside the configuration.
FACTS = ("state", "group", "trial")
# The parser in C is ten times as fast, where PyYAML has it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Entry:
    """A run in a list.

    Args:
        run: The run.
        manifest: What was run on what, and how it went.
        config: The configuration, flat: ``optimizer.lr``.
        metrics: Flat names and numbers; empty where the run was not judged.
    """

    run: Run
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]
    metrics: Mapping[str, float]

    @property
    def place(self) -> str:
        """The run's folder below the folder of runs, by which it is found."""
        return f"{self.run.folder.parent.name}/{self.run.folder.name}"

    @property
    def judged(self) -> str | None:
        """The split that the run was judged on in the end."""
        return self.manifest.get("judged")

    def value(self, key: str) -> Any:  # noqa: ANN401
        """What stands under a key; None where there is no such key.

        Args:
            key: Of the configuration; the name of one of its groups stands for the choice made in
                it; or one of `FACTS`.
        """
        if key in FACTS:
            return self.manifest.get(key)
        return self.config.get(key, self.config.get(f"{key}.name"))

    def judged_metric(self, metric: str) -> float | None:
        """A metric on the split that the run was judged on."""
        return self.metrics.get(f"{self.judged}/{metric}")


def read_entries(runs_dir: Path, tell: Callable[[str], None]) -> list[Entry]:
    """The runs below a folder, the oldest first.

    Args:
        runs_dir: The folder.
        tell: Told of each folder in which no run can be read, and why; it is left out.

    Raises:
        InputError: There is no such folder.
    """
    if not runs_dir.is_dir():
        raise InputError(
            "there is no folder of runs", where=str(runs_dir), hint="give it with --runs-dir FOLDER"
        )
    entries = []
    for folder in run_folders(runs_dir):
        try:
            entries.append(read_entry(Run(folder)))
        except InputError as error:
            tell(f"left out: {error}")
    return entries


def read_entry(run: Run) -> Entry:
    """Reads what is known of a run.

    Raises:
        InputError: A file is missing or broken.
    """
    manifest = run.read_manifest()
    config = _read(run.config, lambda content: yaml.load(content, _LOADER))  # noqa: S506 - safe
    metrics = _read(run.metrics, json.loads) if run.metrics.exists() else {}
    return Entry(run, manifest, flattened(config), metrics)


def _read(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        return dict(parse(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise InputError(
            "the file of a run can't be read", where=str(path), hint="is the run whole?"
        ) from error
