"""Likely label errors, by confident learning.

Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels": an example
that is given one label is suspect if the model says, without having learned from it, that it has
another one, and is as sure of that as it is on average where that label is given. A model that
takes everything for the most frequent label so makes no suspects.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Dataset
from scipy.optimize import minimize_scalar

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
    / 2``; for several labels a text, that of the label in most doubt.

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
    ranked = pa.concat_tables(parts).sort_by(
        [("score", "descending"), ("split", "ascending"), ("place", "ascending")]
    )
    chosen = ranked.slice(0, size)
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
    rows, suggested, scores = find(probabilities, given)
    order = np.argsort(-scores, kind="stable")[:size]
    chosen = predictions.take(pa.array(rows[order]))
    ids = suggested[order].astype(np.int64)
    names = names_of(ids if labels.multi_label else ids.argmax(axis=1), labels)
    sides = [name for name in ("text", "text_pair") if name in predictions.column_names]
    return pa.table(
        {
            "split": pa.array([split] * len(chosen), pa.string()),
            **{name: chosen[name] for name in ("place", *sides, "label")},
            "suggested": names,
            "score": scores[order],
        }
    )


Doubt = tuple[npt.NDArray[np.intp], Members, Doubles]
"""The suspect rows, the labels suggested for each ``[suspects, labels]``, and their scores."""


def _confidently_other(probabilities: Doubles, given: Members) -> Doubt:
    """The off-diagonal of the confident joint."""
    confident = probabilities >= _average(probabilities, given)
    best = np.where(confident, probabilities, -1).argmax(axis=1)
    everyone = np.arange(len(given))
    rows = np.flatnonzero(confident.any(axis=1) & ~given[everyone, best])
    suggested = np.zeros_like(given[rows])
    suggested[np.arange(len(rows)), best[rows]] = True
    of_given = np.where(given[rows], probabilities[rows], 0).sum(axis=1)
    return rows, suggested, (1 + probabilities[rows, best[rows]] - of_given) / 2


def _in_doubt(probabilities: Doubles, given: Members) -> Doubt:
    """Confident learning for each label by itself: a text has it, or has it not."""
    unlikely = given & (1 - probabilities >= _average(1 - probabilities, ~given))
    likely = ~given & (probabilities >= _average(probabilities, given))
    in_doubt = unlikely | likely
    rows = np.flatnonzero(in_doubt.any(axis=1))
    against = np.where(given, 1 - probabilities, probabilities)
    scores = np.where(in_doubt, against, 0).max(axis=1)
    return rows, given[rows] ^ in_doubt[rows], scores[rows]


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
    at = _sigmoid if labels.multi_label else _softmax
    every = -(-len(given) // _CALIBRATED_ON)
    some, truths = logits[::every], given[::every]

    def loss(log_temperature: float) -> float:
        fitted = at(some / np.exp(log_temperature)).clip(margin, 1 - margin)
        misses = -np.log(np.where(truths, fitted, 1 - fitted))
        return float(misses.mean() if labels.multi_label else misses[truths].mean())

    bounds = (np.log(_COOLEST), np.log(_HOTTEST))
    return at(logits / np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _softmax(logits: Doubles) -> Doubles:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def _sigmoid(logits: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-logits)))
