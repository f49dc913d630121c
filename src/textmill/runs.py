"""The run folder: where a run's files are, how it is made, found and finished."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from textmill.errors import InputError, MachineError
from textmill.safe_write import write_text

State = Literal["running", "finished", "failed", "interrupted", "pruned"]

_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder, and the places of the files in it."""

    folder: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.folder / "config.yaml"

    @property
    def manifest(self) -> Path:
        """What was run on what, and how it went."""
        return self.folder / "manifest.json"

    @property
    def last_checkpoint(self) -> Path:
        """What resuming needs."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """The weights with the best value of the monitored metric."""
        return self.folder / "checkpoints" / "best.ckpt"

    @property
    def history(self) -> Path:
        """One JSON object a validation: where in training, and the metrics."""
        return self.folder / "history.jsonl"

    @property
    def training(self) -> Path:
        """One JSON object every few optimizer steps: the loss, the learning rates, the speed."""
        return self.folder / "tracking" / "training.jsonl"

    @property
    def first_pass(self) -> Path:
        """The training examples' probabilities when the model first met them, as NumPy array."""
        return self.folder / "tracking" / "first_pass.npy"

    def validation_predictions(self, step: int) -> Path:
        """The predictions on the validation split after a number of optimizer steps."""
        return self.folder / "tracking" / "validation" / f"{step:08d}.parquet"

    @property
    def metrics(self) -> Path:
        """Flat names and numbers."""
        return self.folder / "metrics.json"

    @property
    def suspects(self) -> Path:
        """The likely label errors, for people to correct."""
        return self.folder / "suspects.csv"

    @property
    def attributions(self) -> Path:
        """Why the worst mistakes were made, token by token; one JSON object an example."""
        return self.folder / "tables" / "attributions.jsonl"

    @property
    def report(self) -> Path:
        """The page that shows the run."""
        return self.folder / "report.html"

    @property
    def bundle(self) -> Path:
        """The model to ship."""
        return self.folder / "model"

    def predictions(self, split: str) -> Path:
        """The predictions on a split."""
        return self.folder / "predictions" / f"{split}.parquet"

    def table(self, name: str) -> Path:
        """A table of examples or of slices."""
        return self.folder / "tables" / f"{name}.parquet"

    def read_manifest(self) -> dict[str, Any]:
        """Reads the manifest.

        Raises:
            InputError: It is missing or broken.
        """
        try:
            return dict(json.loads(self.manifest.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                "the run's manifest can't be read", where=str(self.manifest), hint="is it a run?"
            ) from error

    def read_monitor(self) -> str | None:
        """The metric that chose the checkpoint; None where that can't be told."""
        try:
            config: Any = yaml.safe_load(self.config.read_bytes())
            return str(config["trainer"]["monitor"])
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            return None

    def update_manifest(self, **changes: object) -> None:
        """Replaces some of the manifest's entries."""
        manifest = self.read_manifest() if self.manifest.exists() else {}
        write_json(self.manifest, {**manifest, **changes})

    def close(self, state: State) -> None:
        """Records how the run ended; a finished one becomes ``latest``."""
        self.update_manifest(state=state, ended=_now())
        if state == "finished":
            point_latest(self.folder)


def create_run(
    runs_dir: Path,
    name: str,
    resolved_config: Mapping[str, Any],
    overrides: Sequence[str],
    *,
    facts: Mapping[str, object] | None = None,
    made: Callable[[Run], None] | None = None,
) -> Run:
    """Makes the folder ``<runs_dir>/<date>/<time>-<name>`` with its configuration and manifest.

    Args:
        runs_dir: The folder of all runs.
        name: The run's name.
        resolved_config: Its configuration, resolved.
        overrides: The overrides as they were given.
        facts: Further entries of the manifest.
        made: Called with the run when it has its folder, before that has a file in it.

    Raises:
        MachineError: The folder can't be written.
    """
    run = Run(_new_folder(runs_dir, name))
    try:
        if made is not None:
            made(run)
        write_text(
            run.config,
            yaml.safe_dump(dict(resolved_config), sort_keys=False, allow_unicode=True),
        )
        write_text(run.folder / ".hydra" / "overrides.yaml", yaml.safe_dump(list(overrides)))
        started = {"name": name, "identity": secrets.token_hex(4), "state": "running"}
        write_json(run.manifest, {**started, "started": _now(), **(facts or {})})
    except BaseException:
        shutil.rmtree(run.folder, ignore_errors=True)
        raise
    return run


def check_writable(folder: Path, name: str = "runs folder", key: str = "runs_dir") -> None:
    """Makes sure, before any work, that a folder is there or can be made, and can be written.

    Args:
        folder: The folder.
        name: What it is to the user.
        key: The configuration's key for it.

    Raises:
        MachineError: It can't.
    """
    absolute = folder.absolute()
    existing = next(path for path in (absolute, *absolute.parents) if os.path.lexists(path))
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise MachineError(
            f"the {name} can't be written", where=str(folder), hint=f"set {key}=FOLDER"
        )


def find_run(path: str, runs_dir: Path = Path("runs")) -> Run:
    """The run named by its folder, or the newest one, of whatever state, for ``latest``.

    A run below ``runs_dir`` is also found by the end of its folder's path, as
    ``10-30-00-demo``, by its name alone, and by the beginning of any of these, if no other run has
    the same.

    Raises:
        InputError: There is no such run, or there are several.
    """
    folder = _newest(runs_dir) if path == "latest" else _named(path, runs_dir)
    if folder is None or not folder.is_dir():
        where = str(runs_dir) if path == "latest" else path
        raise InputError("there is no run", where=where, hint="give the folder of a run")
    run = Run(folder.resolve())
    if not run.config.is_file() or not run.manifest.is_file():
        raise InputError(
            "the folder is not a run",
            where=path,
            hint="a run has config.yaml and manifest.json; give such a folder",
        )
    return run


def run_folders(runs_dir: Path) -> list[Path]:
    """The folders in which there should be a run, the oldest first."""
    dated = (path for path in runs_dir.glob("[0-9]*-[0-9]*-[0-9]*/*") if path.is_dir())
    return sorted(path for path in dated if not path.name.startswith("."))


def short_path(path: Path) -> str:
    """The path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def write_json(path: Path, value: object) -> None:
    """Writes ``value`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _new_folder(runs_dir: Path, name: str) -> Path:
    stem = runs_dir.absolute() / time.strftime("%Y-%m-%d") / f"{time.strftime('%H-%M-%S')}-{name}"
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
            folder = stem.with_name(stem.name + suffix)
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise MachineError(
            f"the runs folder can't be written ({error.strerror})",
            where=str(runs_dir),
            hint="set runs_dir=FOLDER",
        ) from error
    raise MachineError("too many runs of one name in one second", where=str(runs_dir))


def _named(path: str, runs_dir: Path) -> Path | None:
    """The folder at a path, or the one of the runs that has such a name, or begins with it."""
    if Path(path).is_dir():
        return Path(path)
    names = {folder: _names(folder, runs_dir) for folder in run_folders(runs_dir)}
    found = [folder for folder, known in names.items() if path in known]
    if not found:
        begun = path.rstrip("/")
        found = [
            folder
            for folder, known in names.items()
            if begun and any(name.startswith(begun) for name in known)
        ]
    if len(found) > 1:
        shown = ", ".join(f"{folder.parent.name}/{folder.name}" for folder in found[-_MOST_SHOWN:])
        raise InputError(
            f"{len(found)} runs are called {path!r}, or begin like that",
            where=str(runs_dir),
            hint=f"choose one of them, as {shown}",
        )
    return found[0] if found else None


def _names(folder: Path, runs_dir: Path) -> tuple[str, ...]:
    """What a run's folder ``<runs_dir>/<date>/<time>-<name>`` may be called."""
    dated = f"{folder.parent.name}/{folder.name}"
    return str(runs_dir / dated), dated, folder.name, re.sub(r"^(\d\d-){3}", "", folder.name)


def _newest(runs_dir: Path) -> Path | None:
    # The run that is linked to may lie in another folder.
    manifests = [*runs_dir.glob("*/*/manifest.json"), *runs_dir.glob("latest/manifest.json")]
    newest = max(manifests, key=lambda path: path.stat().st_mtime, default=None)
    return newest.parent if newest else None


def point_latest(folder: Path) -> None:
    """Points ``<runs_dir>/latest`` at the folder, by a rename, so that it is never missing.

    Raises:
        MachineError: Something else is in its place, or there are no symbolic links.
    """
    runs_dir = folder.parent.parent
    latest = runs_dir / "latest"
    temporary = runs_dir / f".latest-{os.getpid()}"
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(folder.relative_to(runs_dir), target_is_directory=True)
        temporary.replace(latest)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise MachineError(
            f"the run is finished, but can't be made the latest ({error.strerror})",
            where=str(latest),
            hint="remove what is there",
        ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
