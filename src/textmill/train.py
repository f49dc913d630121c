"""``textmill train``: trains a classifier, judges it, and writes the run."""

from __future__ import annotations

from pathlib import Path

from textmill.configuration import Composed
from textmill.errors import InputError
from textmill.runs import Run, find_run
from textmill.schema import TrainConfig
from textmill.training import resume, train


def run(composed: Composed[TrainConfig]) -> None:
    """Trains as configured, or goes on with the run that ``resume`` names.

    Raises:
        InputError: The configuration, the data or the model can't be used.
        MachineError: Something can't be fetched or written.
        StoppedError: The run was asked to stop; it can be resumed.
    """
    stopped = _find_resumed(composed)
    if stopped is None:
        train(composed)
    else:
        resume(stopped)


def _find_resumed(composed: Composed[TrainConfig]) -> Run | None:
    """The stopped run to go on with, if one is asked for.

    Raises:
        InputError: There is no such run, it is finished, or other keys are overridden with it.
    """
    config = composed.config
    if config.resume is None:
        return None
    kept = ("resume", "runs_dir", "hydra")
    others = [given for given in composed.overrides if not given.startswith(kept)]
    if others:
        raise InputError(
            f"a resumed run keeps its configuration, so {' '.join(others)} can't be given",
            where=f"resume={config.resume}",
            hint="leave it out, or start a new run",
        )
    run = find_run(config.resume, Path(config.runs_dir))
    if run.read_manifest().get("state") == "finished":
        raise InputError(
            "the run is finished", where=str(run.folder), hint="start a new one with textmill train"
        )
    return run
