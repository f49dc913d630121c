"""Likely label errors, by confident learning.

Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels": an example
that is given one label is suspect if the model says, without having learned from it, that it has
another one, and is as sure of that as it is on average where that label is given. So a model that
takes everything for the most frequent label makes no suspects of all others. Examples of which it
says another label and is less sure come after all these.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Dataset
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax

from textmill.data.corrections import NO_LABEL, SEPARATOR, cell
from textmill.judge import names_of, prediction_table, targets_of
from textmill.labels import Labels
from textmill.model.metrics import decide
from textmill.safe_write import write_text
from textmill.tracking.prediction_columns import Members, label_members, label_probabilities

MOST_SUSPECTS = 1_000

# Enough examples to find one number from.
_CALIBRATED_ON = 20_000
_COOLEST, _HOTTEST = 1.0, 20.0

Doubles = npt.NDArray[np.float64]


def first_pass_predictions(
    examples: Dataset, first_pass: npt.NDArray[np.float32], labels: Labels
) -> pa.Table:
    """What the model said of the training examples when it first met them, before learning from it.

    Args:
        examples: The training split.
        first_pass: The labels' probabilities ``[examples, labels]``; NaN for an example that the
            model has not met, which is left out.
        labels: The label set.
    """
    met = np.flatnonzero(~np.isnan(first_pass).any(axis=1))
    if len(met) < len(examples):
        examples = examples.select(met)
    probabilities = np.asarray(first_pass[met])
    targets, decisions = targets_of(examples, labels), decide(probabilities, labels)
    return prediction_table(examples, targets, probabilities, decisions, labels)


def suspect_table(
    predictions: Mapping[str, pa.Table], labels: Labels, *, size: int = MOST_SUSPECTS
) -> pa.Table:
    """The examples whose labels are likely to be wrong, the most likely ones first.

    The columns are ``split``, ``place``, ``text``, ``text_pair`` (for pairs), ``label``,
    ``suggested`` (a name, or a list of names), ``score``, and ``rank`` from 1. The score is
    between 0 and 1: how much more probable the suggestion is than the label, ``(1 + difference)
    / 2``; for several labels a text, that of the label in most doubt. The order is by the score,
    among those of which the model is as sure as on average, and then among the others.

    The splits' probabilities come from models that are sure of themselves in different degrees: on
    the training split from one that had just begun, on the others from one that is done. So that
    one list can rank them all, each split's are made as sure as they are right, by a temperature
    (Guo et al. 2017, "On Calibration of Modern Neural Networks"), which makes none surer.

    Args:
        predictions: From a split's name to out-of-sample predictions on it; see
            `textmill.judge.prediction_table` and `first_pass_predictions`.
        labels: The label set.
        size: The most rows.
    """
    parts = [_suspects(split, table, labels, size) for split, table in predictions.items()]
    best = [("sure", "descending"), ("score", "descending")]
    order = [*best, ("split", "ascending"), ("place", "ascending")]
    ranked = pa.concat_tables(parts).sort_by(order)
    chosen = ranked.slice(0, size).drop_columns(["sure"])
    return chosen.append_column("rank", pa.array(np.arange(1, len(chosen) + 1)))


def write_suspects(path: Path, suspects: pa.Table) -> None:
    """Writes suspects as a CSV file, with a column ``corrected`` for people to fill in.

    Filled in, it is what `textmill.data.corrections.read_corrections` reads.

    Raises:
        MachineError: The disk is full, or the folder can't be written.
    """
    kept = [name for name in suspects.column_names if name != "rank"]
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([*kept, "corrected"])
    for row in suspects.select(kept).to_pylist():
        writer.writerow([*(_cell(value) for value in row.values()), ""])
    # Without the mark at the beginning, spreadsheets take UTF-8 for something else.
    write_text(path, "\N{BYTE ORDER MARK}" + lines.getvalue())


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list):
        return cell(f"{SEPARATOR} ".join(value) or NO_LABEL)
    return cell(str(value))


def _suspects(split: str, predictions: pa.Table, labels: Labels, size: int) -> pa.Table:
    """A split's most suspect examples."""
    given = label_members(predictions["label"], labels)
    probabilities = _calibrated(label_probabilities(predictions, labels), given, labels)
    find = _in_doubt if labels.multi_label else _confidently_other
    doubt = find(probabilities, given)
    order = np.lexsort((-doubt.scores, ~doubt.sure))[:size]
    chosen = predictions.take(pa.array(doubt.rows[order]))
    ids = doubt.suggested[order].astype(np.int64)
    names = names_of(ids if labels.multi_label else ids.argmax(axis=1), labels)
    sides = [name for name in ("text", "text_pair") if name in predictions.column_names]
    return pa.table(
        {
            "split": pa.array([split] * len(chosen), pa.string()),
            **{name: chosen[name] for name in ("place", *sides, "label")},
            "suggested": names,
            "score": doubt.scores[order],
            "sure": doubt.sure[order].astype(np.int8),
        }
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Doubt:
    """Examples whose labels are in doubt.

    Args:
        rows: Which examples ``[suspects]``.
        suggested: The labels that the model says instead ``[suspects, labels]``.
        scores: How much in doubt the given labels are ``[suspects]``.
        sure: Whether the model is as sure of that as on average ``[suspects]``.
    """

    rows: npt.NDArray[np.intp]
    suggested: Members
    scores: Doubles
    sure: npt.NDArray[np.bool_]


def _confidently_other(probabilities: Doubles, given: Members) -> _Doubt:
    """The off-diagonal of the confident joint, and the other examples of which the model errs."""
    confident = probabilities >= _average(probabilities, given)
    # The most probable of the labels that it is sure of, if there is one.
    best = (probabilities + confident).argmax(axis=1)
    unsure = ~confident.any(axis=1) | given[np.arange(len(given)), best]
    best = np.where(unsure, probabilities.argmax(axis=1), best)
    rows = np.flatnonzero(~given[np.arange(len(given)), best])
    suggested = np.zeros_like(given[rows])
    suggested[np.arange(len(rows)), best[rows]] = True
    of_given = np.where(given[rows], probabilities[rows], 0).sum(axis=1)
    scores = (1 + probabilities[rows, best[rows]] - of_given) / 2
    return _Doubt(rows, suggested, scores, ~unsure[rows])


def _in_doubt(probabilities: Doubles, given: Members) -> _Doubt:
    """Confident learning for each label by itself: a text has it, or has it not."""
    against = np.where(given, 1 - probabilities, probabilities)
    average = np.where(given, _average(1 - probabilities, ~given), _average(probabilities, given))
    confident = against >= average
    sure = np.asarray(confident.any(axis=1))
    flipped = np.where(sure[:, None], confident, against > 0.5)
    rows = np.flatnonzero(flipped.any(axis=1))
    scores = np.where(flipped, against, 0).max(axis=1)
    return _Doubt(rows, given[rows] ^ flipped[rows], scores[rows], sure[rows])


def _average(probabilities: Doubles, given: Members) -> Doubles:
    """Each label's mean probability where it is given; out of reach where it never is."""
    counts = given.sum(axis=0)
    sums = np.where(given, probabilities, 0).sum(axis=0)
    out_of_reach = np.full(len(counts), np.inf)
    return np.asarray(np.divide(sums, counts, out=out_of_reach, where=counts > 0))


def _calibrated(probabilities: npt.NDArray[np.float32], given: Members, labels: Labels) -> Doubles:
    """The probabilities at the temperature at which they fit the given labels best."""
    if not len(given):
        return probabilities.astype(np.float64)
    margin = np.finfo(np.float32).eps
    clipped = probabilities.astype(np.float64).clip(margin, 1 - margin)
    logits = np.log(clipped) - np.log1p(-clipped) if labels.multi_label else np.log(clipped)
    at = expit if labels.multi_label else partial(softmax, axis=1)
    every = -(-len(given) // _CALIBRATED_ON)
    some, truths = logits[::every], given[::every]

    def loss(log_temperature: float) -> float:
        fitted = at(some / np.exp(log_temperature)).clip(margin, 1 - margin)
        misses = -np.log(np.where(truths, fitted, 1 - fitted))
        return float(misses.mean() if labels.multi_label else misses[truths].mean())

    bounds = (np.log(_COOLEST), np.log(_HOTTEST))
    temperature = np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)
    return np.asarray(at(logits / temperature))
