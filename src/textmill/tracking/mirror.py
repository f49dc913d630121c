"""Keeps trackers from harming a run: each works in a thread of its own, behind a queue.

The run folder is the truth, and a tracker a mirror of it. One that raises, hangs or falls behind is
given up with a warning, and the training neither waits nor fails.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from textmill.runs import State
from textmill.tracking.shapes import Chart, Histogram
from textmill.tracking.tracker import RunArtifact, Tracker

# Tasks that may wait for a tracker before it counts as hung; a long run has some thousands in all.
MOST_WAITING = 10_000

Task = Callable[[Tracker], None]


@dataclass(frozen=True, slots=True)
class NamedTracker:
    """A tracker that is yet to be started.

    Args:
        name: What it is called in warnings.
        start: Starts it.
        hint: What to do about what it misses, for the warning.
    """

    name: str
    start: Callable[[], Tracker]
    hint: str


class Mirror:
    """One tracker and the thread that feeds it.

    Args:
        tracker: The tracker.
        warn: Told, once, why the tracker was given up.
    """

    def __init__(self, tracker: NamedTracker, warn: Callable[[str], None]) -> None:
        self._tracker = tracker
        self._warn = warn
        self._given_up = threading.Event()
        self._tasks: queue.Queue[Task | None] = queue.Queue(MOST_WAITING)
        # A daemon, so that a hung tracker doesn't keep the process from ending.
        self._thread = threading.Thread(target=self._work, daemon=True, name=tracker.name)
        self._thread.start()

    def put(self, task: Task | None) -> None:
        """Has the tracker do something later; None is the last task."""
        if self._given_up.is_set():
            return
        try:
            self._tasks.put_nowait(task)
        except queue.Full:
            self._give_up("it has fallen behind")

    def wait(self, seconds: float) -> None:
        """Waits for the last task, but no longer than that."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._give_up("it does not answer")

    def _work(self) -> None:
        try:
            tracker = self._tracker.start()
            while (task := self._tasks.get()) is not None and not self._given_up.is_set():
                task(tracker)
        except Exception as error:  # noqa: BLE001 - whatever a tracker raises must not end the run
            self._give_up(_first_line(error))

    def _give_up(self, reason: str) -> None:
        if not self._given_up.is_set():
            self._given_up.set()
            self._warn(
                f"{self._tracker.name} is given up ({reason}); the run goes on without it, "
                f"{self._tracker.hint}"
            )


class Mirrors:
    """All trackers of a run, as one `Tracker` whose methods neither raise nor wait.

    Args:
        trackers: The trackers; none at all will do.
        timeout: Seconds that `finish` waits.
        warn: Told, once for each, why a tracker was given up.
    """

    def __init__(
        self,
        trackers: Sequence[NamedTracker],
        *,
        timeout: float,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._mirrors = [Mirror(tracker, warn or print_warning) for tracker in trackers]
        self._timeout = timeout

    def __bool__(self) -> bool:
        return bool(self._mirrors)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Has all trackers record numbers of a moment of training."""
        self._put(lambda tracker: tracker.log_metrics(metrics, step))

    def log_summary(self, metrics: Mapping[str, float]) -> None:
        """Has all trackers record the final numbers."""
        self._put(lambda tracker: tracker.log_summary(metrics))

    def log_charts(self, charts: Mapping[str, Chart], step: int) -> None:
        """Has all trackers record charts."""
        self._put(lambda tracker: tracker.log_charts(charts, step))

    def log_table(self, name: str, table: pa.Table, step: int) -> None:
        """Has all trackers record a table."""
        self._put(lambda tracker: tracker.log_table(name, table, step))

    def log_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Has all trackers record distributions."""
        self._put(lambda tracker: tracker.log_histograms(histograms, step))

    def log_artifact(self, artifact: RunArtifact) -> None:
        """Has all trackers record what the run used or made."""
        self._put(lambda tracker: tracker.log_artifact(artifact))

    def finish(self, state: State) -> None:
        """Has all trackers write what is outstanding, and waits for them, together, for a while."""
        self._put(lambda tracker: tracker.finish(state))
        end = time.monotonic() + self._timeout
        for mirror in self._mirrors:
            mirror.put(None)
        for mirror in self._mirrors:
            mirror.wait(max(0.0, end - time.monotonic()))

    def _put(self, task: Task) -> None:
        for mirror in self._mirrors:
            mirror.put(task)


def print_warning(line: str) -> None:
    """Tells the user of something that the run goes on without."""
    print(f"textmill: warning: {line}", file=sys.stderr, flush=True)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
