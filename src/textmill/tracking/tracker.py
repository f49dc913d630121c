"""What a tracker is: somewhere outside the run folder's own files where a run is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from textmill.runs import State
from textmill.tracking.shapes import Chart, Histogram


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a tracker is told of a run when it starts.

    Args:
        identity: Names the run among all runs, for good: letters and digits.
        folder: The run's folder, in which a tracker keeps its files.
        name: What the run is called.
        project: What the run belongs to.
        group: What it is shown together with, such as the multirun or the search that it is of.
        config: The resolved configuration, and under ``manifest`` what it was run on, the data's
            fingerprints among it; plain values.
        resumed: Whether the run has been started before.
    """

    identity: str
    folder: Path
    name: str
    project: str
    group: str | None
    config: Mapping[str, Any]
    resumed: bool


@dataclass(frozen=True, slots=True)
class RunArtifact:
    """Something with a version that a run was made from, or that it made.

    Args:
        name: What all its versions are called.
        kind: ``dataset`` or ``model``.
        folder: The folder with its files.
        fingerprint: What tells its versions apart, a SHA-256 in hexadecimal.
        facts: What is told about it; plain values.
        made: Whether the run made it; otherwise the run was made from it.
    """

    name: str
    kind: str
    folder: Path
    fingerprint: str
    facts: Mapping[str, Any]
    made: bool


class Tracker(Protocol):
    """Shows a run; constructing one starts it.

    Any method may raise and may block: `Mirror` calls them in a thread of their own, in order, and
    gives a tracker up that fails. Steps are optimizer steps and never go back. Names are paths with
    slashes, like ``validation/accuracy``.
    """

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Records numbers of a moment of training."""

    def log_summary(self, metrics: Mapping[str, float]) -> None:
        """Records the final numbers, those of ``metrics.json``."""

    def log_charts(self, charts: Mapping[str, Chart], step: int) -> None:
        """Records charts."""

    def log_table(self, name: str, table: pa.Table, step: int) -> None:
        """Records a table; lists in it are shown as text."""

    def log_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Records the distributions of weights or gradients."""

    def log_artifact(self, artifact: RunArtifact) -> None:
        """Records what the run used or made."""

    def finish(self, state: State) -> None:
        """Writes what is outstanding and lets go."""
