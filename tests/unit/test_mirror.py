"""Trackers show what they are told, and whatever happens to them costs the run a warning."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pytest

from textmill.runs import State
from textmill.tracking import mirror
from textmill.tracking.mirror import Mirrors, NamedTracker
from textmill.tracking.shapes import Chart, Histogram
from textmill.tracking.tracker import RunArtifact, Tracker


class ListTracker:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.told.append(("metrics", dict(metrics), step))

    def log_summary(self, metrics: Mapping[str, float]) -> None:
        self.told.append(("summary", dict(metrics)))

    def log_charts(self, charts: Mapping[str, Chart], step: int) -> None:
        self.told.append(("charts", dict(charts), step))

    def log_table(self, name: str, table: pa.Table, step: int) -> None:
        self.told.append(("table", name, table.num_rows, step))

    def log_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        self.told.append(("histograms", dict(histograms), step))

    def log_artifact(self, artifact: RunArtifact) -> None:
        self.told.append(("artifact", artifact))

    def finish(self, state: State) -> None:
        self.told.append(("finish", state))


class FailingTracker(ListTracker):
    """Fails at its second record."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        if self.told:
            raise OSError("no space left\non the device")
        super().log_metrics(metrics, step)


def named(start: Callable[[], Tracker], name: str = "tracker") -> NamedTracker:
    return NamedTracker(name, start, "and keeps its own files")


@pytest.fixture
def warnings() -> list[str]:
    return []


def test_a_tracker_is_told_everything_in_order(warnings: list[str]) -> None:
    tracker = ListTracker()
    mirrors = Mirrors([named(lambda: tracker)], timeout=10, warn=warnings.append)
    mirrors.log_metrics({"loss": 0.5}, 1)
    mirrors.log_charts({}, 1)
    mirrors.log_histograms({}, 1)
    mirrors.log_table("samples", pa.table({"text": ["a", "b"]}), 2)
    mirrors.log_summary({"test/accuracy": 0.9})
    mirrors.finish("finished")
    assert tracker.told == [
        ("metrics", {"loss": 0.5}, 1),
        ("charts", {}, 1),
        ("histograms", {}, 1),
        ("table", "samples", 2, 2),
        ("summary", {"test/accuracy": 0.9}),
        ("finish", "finished"),
    ]
    assert warnings == []


def test_a_failing_tracker_costs_one_warning_of_one_line_and_the_others_go_on(
    warnings: list[str],
) -> None:
    failing, sound = FailingTracker(), ListTracker()
    trackers = [named(lambda: failing, "failing"), named(lambda: sound, "sound")]
    mirrors = Mirrors(trackers, timeout=10, warn=warnings.append)
    for step in range(5):
        mirrors.log_metrics({"loss": 1.0}, step)
    mirrors.finish("finished")
    assert warnings == [
        "failing is given up (no space left); the run goes on without it, and keeps its own files"
    ]
    assert len(sound.told) == 6


def test_a_tracker_that_cannot_start_costs_a_warning(warnings: list[str]) -> None:
    def refuse() -> Tracker:
        raise ConnectionRefusedError

    mirrors = Mirrors([named(refuse)], timeout=10, warn=warnings.append)
    mirrors.log_metrics({"loss": 1.0}, 1)
    mirrors.finish("finished")
    assert [line.partition(";")[0] for line in warnings] == [
        "tracker is given up (ConnectionRefusedError)"
    ]


def test_hung_trackers_are_left_behind_together_after_the_timeout(warnings: list[str]) -> None:
    released = threading.Event()

    def hang() -> Tracker:
        released.wait()
        return ListTracker()

    mirrors = Mirrors([named(hang), named(hang)], timeout=0.05, warn=warnings.append)
    mirrors.log_metrics({"loss": 1.0}, 1)
    mirrors.finish("finished")
    released.set()
    assert len(warnings) == 2
    assert all("does not answer" in line for line in warnings)


def test_a_tracker_that_falls_behind_is_given_up_and_fills_no_memory(
    warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "MOST_WAITING", 3)
    released = threading.Event()

    def hang() -> Tracker:
        released.wait()
        return ListTracker()

    mirrors = Mirrors([named(hang)], timeout=1, warn=warnings.append)
    for step in range(10):
        mirrors.log_metrics({"loss": 1.0}, step)
    released.set()
    mirrors.finish("finished")
    assert [line.partition(";")[0] for line in warnings] == [
        "tracker is given up (it has fallen behind)"
    ]


def test_without_trackers_there_is_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    mirrors = Mirrors([], timeout=10)
    mirrors.log_metrics({"loss": 1.0}, 1)
    mirrors.finish("finished")
    assert not mirrors
    assert capsys.readouterr().err == ""


def test_warnings_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> Tracker:
        raise ValueError("no login")

    Mirrors([named(refuse, "W&B")], timeout=10).finish("finished")
    assert capsys.readouterr().err.startswith("textmill: warning: W&B is given up (no login);")
