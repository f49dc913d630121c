"""One trial of a search: an ordinary run, begun or gone on with, and what it brought."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from textmill.bundle import load_network
from textmill.configuration.composing import Composed
from textmill.configuration.schema import TrainConfig
from textmill.model.checkpoints import PrunedError
from textmill.predictor import Predictor
from textmill.report.search_record import Objective
from textmill.runs import Run, write_json
from textmill.search.objectives import LATENCY, PARAMETERS, values_of
from textmill.search.pruning import Pruning, report
from textmill.search.study import Claim
from textmill.tracking.replay import read_records
from textmill.training import Settings, resume, train

# Texts that are timed, and those before them that warm the machine up.
TIMED_TEXTS = 50
WARM_UP_TEXTS = 5


@dataclass(frozen=True, slots=True)
class Conduct:
    """What all trials of a search have in common.

    Args:
        search: The search's name.
        objectives: What is sought.
        pruned_by: The validation metric by which trials are ended early; None ends none.
    """

    search: str
    objectives: Sequence[Objective]
    pruned_by: str | None


def train_trial(claim: Claim, composed: Composed[TrainConfig], conduct: Conduct) -> list[float]:
    """Trains a trial's run to its end, from where a worker before may have left it.

    Args:
        claim: The trial.
        composed: Its configuration.
        conduct: What it has in common with the others.

    Returns:
        The objectives' values.

    Raises:
        PrunedError: It was not worth going on with.
        StoppedError: The worker was asked to stop.
        TextmillError: It can't be trained.
    """
    runs_dir = Path(composed.config.runs_dir)
    pruned_by = conduct.pruned_by
    settings = Settings(
        facts={"group": conduct.search, "trial": claim.number, "parameters": claim.parameters},
        begun=lambda run: claim.note_run(_relative(run.folder, runs_dir)),
        observers=[] if pruned_by is None else [Pruning(claim.trial, pruned_by)],
        told=False,
    )
    run = _begun_run(claim, composed.config)
    run = train(composed, settings) if run is None else _go_on(run, settings)
    if pruned_by is not None:
        report(claim.trial, pruned_by, read_records(run.history))
    return values_of(_metrics(run, conduct.objectives), conduct.objectives)


def _go_on(run: Run, settings: Settings) -> Run:
    state = run.read_manifest().get("state")
    if state == "pruned":
        raise PrunedError("the run was ended before")
    return run if state == "finished" else resume(run, settings)


def _begun_run(claim: Claim, config: TrainConfig) -> Run | None:
    """The run that a worker before has begun, if it came as far as to write what it is."""
    runs_dir = Path(config.runs_dir)
    if claim.run is not None:
        run = Run((runs_dir / claim.run).absolute())
        if run.config.is_file() and run.manifest.is_file():
            return run
        shutil.rmtree(run.folder, ignore_errors=True)
    # A worker that was killed between making a folder and noting it has left that one, empty.
    for folder in runs_dir.glob(f"[0-9]*-[0-9]*-[0-9]*/*-{config.name}"):
        if not any(folder.iterdir()):
            folder.rmdir()
    return None


def _relative(folder: Path, runs_dir: Path) -> str:
    return folder.relative_to(runs_dir.absolute()).as_posix()


def _metrics(run: Run, objectives: Sequence[Objective]) -> Mapping[str, float]:
    """The run's metrics, with those that only a search asks for."""
    metrics: dict[str, float] = json.loads(run.metrics.read_text(encoding="utf-8"))
    missing = {one.name for one in objectives} - metrics.keys()
    if missing & {LATENCY, PARAMETERS}:
        predictor = Predictor.from_bundle(run.bundle, device="auto")
        if LATENCY in missing:
            metrics[LATENCY] = _latency(predictor, run)
        if PARAMETERS in missing:
            network, _ = load_network(predictor.bundle)
            metrics[PARAMETERS] = sum(weight.numel() for weight in network.parameters())
        write_json(run.metrics, metrics)
    return metrics


def _latency(predictor: Predictor, run: Run) -> float:
    """The median time for one text alone, in milliseconds."""
    table = pq.read_table(run.predictions("validation"))
    columns = [table[name].to_pylist() for name in predictor.text_columns]
    texts = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    for text in texts[:WARM_UP_TEXTS]:
        predictor.predict([text])
    seconds = []
    for text in texts[:TIMED_TEXTS]:
        start = time.perf_counter()
        predictor.predict([text])
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)
