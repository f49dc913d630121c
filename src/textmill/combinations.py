"""The combinations of a multirun: what is known of each, in the folder that they share.

A combination is known by its overrides, whatever their order. Its record names its run as soon as
that has a folder, and the run's own manifest says how far it got. So a process that is killed at
any moment leaves behind what another one needs to go on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from textmill.errors import reason_of
from textmill.runs import Run, State, write_json
from textmill.safe_write import write_text

CombinationState = State | Literal["waiting"]

_FOLDER = "combinations"
_POLL_SECONDS = 0.5
# What may be in a run's folder when it has no manifest yet, or a part of one.
_BEFORE_MANIFEST = ("config.yaml", "hydra", "manifest.json.")


@dataclass(frozen=True, slots=True)
class Combination:
    """One combination of values.

    Args:
        folder: The multirun's folder.
        overrides: The overrides that make it.
    """

    folder: Path
    overrides: tuple[str, ...]

    @property
    def run(self) -> Run | None:
        """Its run, if that has begun: one without a manifest has not."""
        named = self._read()["run"]
        run = Run((self.folder / named).resolve()) if named else None
        return run if run is not None and run.manifest.is_file() else None

    @property
    def reached(self) -> CombinationState:
        """How far it got, by its run's manifest if it has a run."""
        run = self.run
        found: CombinationState = (
            self._read()["state"] if run is None else run.read_manifest()["state"]
        )
        return "waiting" if run is None and found not in ("waiting", "failed") else found

    @property
    def state(self) -> CombinationState:
        """How far it got; interrupted, if it runs by its manifest, but no process holds it."""
        reached = self.reached
        if reached != "running":
            return reached
        with self.locked() as ours:
            return "interrupted" if ours else "running"

    @property
    def error(self) -> str | None:
        """Why it failed, in one line, if it did when it was tried last."""
        found: str | None = self._read()["error"]
        return found

    @property
    def traceback(self) -> Path:
        """Where it says in full why it failed."""
        return self._file(".traceback.txt")

    @contextmanager
    def locked(self, *, waiting: bool = False) -> Iterator[bool]:
        """Holds the combination, so that no other process trains it; says whether it could.

        Whatever ends a process ends its hold too.

        Args:
            waiting: Whether to wait for another process that holds it.
        """
        path = self._file(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, poll_interval=_POLL_SECONDS)
        try:
            lock.acquire(timeout=-1 if waiting else 0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def announce(self) -> None:
        """Records the combination, if it is a new one."""
        with self.locked() as ours:
            if ours and not self._record.exists():
                self._write()

    def begin(self, run: Run) -> None:
        """Records that the run has its folder, in place of one that had no more than that."""
        _remove_unbegun(self.folder, self._read()["run"])
        place = os.path.relpath(run.folder.resolve(), self.folder.resolve())
        self._write(run=place, state="running", error=None)

    def end(self, state: State) -> None:
        """Records how it ended, other than by an error."""
        self.traceback.unlink(missing_ok=True)
        self._write(state=state, error=None)

    def fail(self, error: Exception) -> None:
        """Records the error that ended it."""
        write_text(self.traceback, "".join(traceback.format_exception(error)))
        self._write(state="failed", error=reason_of(error))

    @property
    def _record(self) -> Path:
        return self._file(".json")

    def _file(self, suffix: str) -> Path:
        digest = hashlib.sha256("\n".join(sorted(self.overrides)).encode()).hexdigest()[:16]
        return self.folder / _FOLDER / f"{digest}{suffix}"

    def _read(self) -> dict[str, Any]:
        return {**self._unbegun(), **(_read_json(self._record) or {})}

    def _write(self, **changes: object) -> None:
        write_json(self._record, {**self._read(), **changes})

    def _unbegun(self) -> dict[str, Any]:
        return {"overrides": list(self.overrides), "run": None, "state": "waiting", "error": None}


def combinations_in(folder: Path) -> list[Combination]:
    """The combinations recorded in a multirun's folder, in the order of their overrides."""
    records = map(_read_json, (folder / _FOLDER).glob("*.json"))
    return [
        Combination(folder, overrides)
        for overrides in sorted(tuple(record["overrides"]) for record in records if record)
    ]


def assignments(overrides: Sequence[str]) -> dict[str, str]:
    """From the keys of overrides to their values as they were written."""
    pairs = (override.partition("=") for override in overrides)
    return {key: value for key, _, value in pairs}


def varying_keys(combinations: Sequence[Sequence[str]]) -> list[str]:
    """The keys that don't have the same value in all combinations, in the order they come."""
    all_values = [assignments(overrides) for overrides in combinations]
    keys = dict.fromkeys(key for values in all_values for key in values)
    return [key for key in keys if len({values.get(key) for values in all_values}) > 1]


def _remove_unbegun(folder: Path, named: str | None) -> None:
    """Removes the folder of a run that was killed before it had a manifest."""
    run = folder / named if named else None
    if run is not None and run.is_dir():
        names = [path.name for path in run.iterdir()]
        if all(name.lstrip(".").startswith(_BEFORE_MANIFEST) for name in names):
            shutil.rmtree(run, ignore_errors=True)


def _read_json(path: Path) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found
