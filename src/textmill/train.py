"""``textmill train``: trains a classifier, judges it, and writes the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textmill.configuration.composing import Composed
from textmill.configuration.schema import TrainConfig
from textmill.errors import InputError
from textmill.multirun import go_on, is_multirun
from textmill.runs import Run, find_run
from textmill.training import resume, train


def run(composed: Composed[TrainConfig]) -> None:
    """Trains as configured, or goes on with the run or the multirun that ``resume`` names.

    Raises:
        InputError: The configuration, the data or the model can't be used.
        MachineError: Something can't be fetched or written, or some runs of a multirun failed.
        StoppedError: The run was asked to stop; it can be resumed.
    """
    resumed = composed.config.resume
    if resumed is None:
        train(composed)
        return
    _check_alone(resumed, composed.overrides)
    if is_multirun(Path(resumed)):
        go_on(Path(resumed), composed.of_hydra)
    else:
        resume(_find_stopped(resumed, Path(composed.config.runs_dir)))


def _check_alone(resumed: str, overrides: Sequence[str]) -> None:
    """Refuses other keys beside ``resume``.

    Raises:
        InputError: There are some.
    """
    others = [given for given in overrides if not given.startswith(("resume=", "runs_dir="))]
    if others:
        raise InputError(
            f"a resumed run keeps its configuration, so {' '.join(others)} can't be given",
            where=f"resume={resumed}",
            hint="leave it out, or start a new run",
        )


def _find_stopped(resumed: str, runs_dir: Path) -> Run:
    """The stopped run to go on with.

    Raises:
        InputError: There is no such run, or it is finished.
    """
    run = find_run(resumed, runs_dir)
    if run.read_manifest().get("state") == "finished":
        raise InputError(
            "the run is finished", where=str(run.folder), hint="start a new one with textmill train"
        )
    return run
