"""How far a run that was made again is the same as the first: weights, metrics and predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from textmill.bundle import INFO_FILE, WEIGHTS_FILE
from textmill.errors import InputError
from textmill.runs import Run

# Differences up to this are those of the order in which numbers are added up.
CLOSE = 1e-6
SPLITS = ("validation", "test")
# Metrics that no two runs have the same, and those that only a search adds.
_MEASURED = ("seconds", "examples_per_second", "peak_memory_bytes", "latency_ms", "parameters")
_PROBABILITY = "probability/"
_EXAMPLE = ("text", "text_pair", "label")


@dataclass(frozen=True, slots=True)
class SplitChanges:
    """How the predictions on a split differ.

    Args:
        rows: How many examples there are.
        same_examples: Whether texts and labels are the same, in the same order; only then are the
            others known.
        predictions: How many predictions differ.
        probability: The largest difference of a probability.
    """

    rows: int
    same_examples: bool
    predictions: int
    probability: float


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A run beside the one that was made again from it.

    Args:
        weights: The SHA-256 of both files of weights.
        weight: The largest difference of a weight; None where it isn't known.
        metrics: How many metrics were compared.
        changed_metrics: From the name of each that differs to both values; None for one that isn't
            there.
        splits: How the predictions on each split differ.
    """

    weights: tuple[str | None, str | None]
    weight: float | None
    metrics: int
    changed_metrics: Mapping[str, tuple[float | None, float | None]]
    splits: Mapping[str, SplitChanges]

    @property
    def exact(self) -> bool:
        """Whether everything is the same, bit for bit."""
        return (
            self.weights[0] is not None
            and self.weights[0] == self.weights[1]
            and not self.changed_metrics
            and all(
                one.same_examples and not one.predictions and one.probability == 0
                for one in self.splits.values()
            )
        )

    @property
    def close(self) -> bool:
        """Whether no prediction differs, and nothing else by more than `CLOSE`."""
        metrics = (
            None not in values and abs(values[0] - values[1]) <= CLOSE  # type: ignore[operator]
            for values in self.changed_metrics.values()
        )
        splits = (
            one.same_examples and not one.predictions and one.probability <= CLOSE
            for one in self.splits.values()
        )
        return self.weight is not None and self.weight <= CLOSE and all(metrics) and all(splits)


def check_comparable(run: Run) -> None:
    """Makes sure that a run has something to compare another with.

    Raises:
        InputError: It hasn't.
    """
    if not run.metrics.exists() or not any(run.predictions(split).exists() for split in SPLITS):
        raise InputError(
            "the run was not judged, so there is nothing to compare a second one with",
            where=str(run.folder),
            hint="choose a finished run; --check compares what it is made from",
        )


def compare_reproduction(first: Run, second: Run) -> Reproduction:
    """Compares a run with the one that was made again from it.

    Raises:
        InputError: A file of a run can't be read.
    """
    hashes = (_weights_hash(first), _weights_hash(second))
    before, after = _metrics(first), _metrics(second)
    names = dict.fromkeys([*before, *after])
    return Reproduction(
        weights=hashes,
        weight=0.0 if hashes[0] == hashes[1] else _weight_difference(first, second),
        metrics=len(names),
        changed_metrics={
            name: (before.get(name), after.get(name))
            for name in names
            if before.get(name) != after.get(name)
        },
        splits={
            split: _split_changes(*(_predictions(run, split) for run in (first, second)))
            for split in SPLITS
            if first.predictions(split).exists()
        },
    )


def _weights_hash(run: Run) -> str | None:
    """What the manifest has; older ones don't, so then the bundle's."""
    recorded = run.read_manifest().get("weights")
    if recorded is None and (run.bundle / INFO_FILE).exists():
        recorded = _read_json(run.bundle / INFO_FILE).get("fingerprints", {}).get("weights")
    return recorded


def _weight_difference(first: Run, second: Run) -> float | None:
    """The largest difference of a weight; None where the weights don't belong together."""
    paths = [run.bundle / WEIGHTS_FILE for run in (first, second)]
    try:
        with safe_open(paths[0], "numpy") as one, safe_open(paths[1], "numpy") as other:
            names = set(one.keys())
            if names != set(other.keys()):
                return None
            pairs = ((one.get_tensor(name), other.get_tensor(name)) for name in names)
            return max((_largest(*pair) for pair in pairs), default=0.0)
    except (OSError, SafetensorError, ValueError):
        return None


def _metrics(run: Run) -> dict[str, float]:
    return {
        name: value
        for name, value in _read_json(run.metrics).items()
        if name.rpartition("/")[2] not in _MEASURED
    }


def _predictions(run: Run, split: str) -> pa.Table:
    try:
        return pq.read_table(run.predictions(split))
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(run.predictions(split)) from error


def _split_changes(first: pa.Table, second: pa.Table) -> SplitChanges:
    columns = [name for name in _EXAMPLE if name in first.column_names]
    scores = [name for name in first.column_names if name.startswith(_PROBABILITY)]
    needed = {*columns, *scores, "prediction"}
    if not needed <= set(second.column_names) or not (
        first.select(columns).equals(second.select(columns))
    ):
        return SplitChanges(len(first), same_examples=False, predictions=0, probability=0.0)
    pairs = zip(first["prediction"].to_pylist(), second["prediction"].to_pylist(), strict=True)
    return SplitChanges(
        len(first),
        same_examples=True,
        predictions=sum(one != other for one, other in pairs),
        probability=max(
            (_largest(first[name].to_numpy(), second[name].to_numpy()) for name in scores),
            default=0.0,
        ),
    )


def _largest(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    """The largest difference of two arrays' numbers.

    Raises:
        ValueError: They have different shapes.
    """
    differences = np.abs(first.astype(np.float64) - second.astype(np.float64))
    return float(differences.max(initial=0.0))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> InputError:
    return InputError("the file of a run can't be read", where=str(path), hint="is the run whole?")
