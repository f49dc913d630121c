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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Protocol

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
_MARGIN = float(np.finfo(np.float32).eps)
# Probabilities in memory at a time, each about 50 bytes with what is made of it.
_AT_ONCE = 1_000_000

_BEST_FIRST = [
    ("sure", "descending"),
    ("score", "descending"),
    ("split", "ascending"),
    ("place", "ascending"),
]

Doubles = npt.NDArray[np.float64]


class Predictions(Protocol):
    """A table of predictions, or what makes parts of one as they are asked for."""

    def __len__(self) -> int: ...
    def slice(self, offset: int, length: int, /) -> pa.Table:
        """The rows from the offset on."""
        ...


class FirstPassPredictions:
    """What the model said of the training examples when it first met them, before learning from it.

    Args:
        examples: The training split.
        first_pass: The labels' probabilities ``[examples, labels]``; NaN for an example that the
            model has not met, which is left out.
        labels: The label set.
    """

    def __init__(
        self, examples: Dataset, first_pass: npt.NDArray[np.float32], labels: Labels
    ) -> None:
        self._examples = examples
        self._first_pass = first_pass
        self._labels = labels
        self._met = np.flatnonzero(~np.isnan(first_pass[:, 0]))

    def __len__(self) -> int:
        return len(self._met)

    def slice(self, offset: int, length: int, /) -> pa.Table:
        """The predictions from the offset on, as `textmill.judge.prediction_table` gives them."""
        met = self._met[offset : offset + length]
        # A range is read where it lies; single rows are copied.
        whole = len(met) > 0 and met[-1] - met[0] + 1 == len(met)
        examples = self._examples.select(range(met[0], met[-1] + 1) if whole else met)
        probabilities = np.asarray(self._first_pass[met])
        targets, decisions = targets_of(examples, self._labels), decide(probabilities, self._labels)
        return prediction_table(examples, targets, probabilities, decisions, self._labels)


def suspect_table(
    predictions: Mapping[str, Predictions], labels: Labels, *, size: int = MOST_SUSPECTS
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
            `textmill.judge.prediction_table` and `FirstPassPredictions`.
        labels: The label set.
        size: The most rows.
    """
    parts = (
        part for split, rows in predictions.items() for part in _suspects(split, rows, labels, size)
    )
    found = reduce(lambda best, part: _best(pa.concat_tables([best, part]), size), parts)
    chosen = _best(found, size).drop_columns(["sure"])
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


def _best(suspects: pa.Table, size: int) -> pa.Table:
    return suspects.sort_by(_BEST_FIRST).slice(0, size)


def _suspects(split: str, rows: Predictions, labels: Labels, size: int) -> Iterator[pa.Table]:
    """The most suspect examples of each part of a split."""
    temperature = _temperature(rows, labels)
    averages = _averages(rows, labels, temperature)
    find = _in_doubt if labels.multi_label else _confidently_other
    for table in _parts(rows, labels):
        given = label_members(table["label"], labels)
        doubt = find(_calibrated(table, labels, temperature), given, averages)
        yield _doubted(split, table, doubt, labels, size)


def _parts(rows: Predictions, labels: Labels) -> Iterator[pa.Table]:
    """All rows, one part after the other; one part at least."""
    length = max(1, _AT_ONCE // len(labels))
    for start in range(0, max(1, len(rows)), length):
        yield rows.slice(start, length)


def _doubted(
    split: str, predictions: pa.Table, doubt: _Doubt, labels: Labels, size: int
) -> pa.Table:
    """The most doubtful examples, as rows of the table of suspects."""
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


@dataclass(frozen=True, slots=True, eq=False)
class _Averages:
    """How sure the model is of each label on average; out of reach where there is no example.

    Args:
        of_having: The probability of having the label, where it is given ``[labels]``.
        of_lacking: That of not having it, where it isn't ``[labels]``.
    """

    of_having: Doubles
    of_lacking: Doubles


def _confidently_other(probabilities: Doubles, given: Members, averages: _Averages) -> _Doubt:
    """The off-diagonal of the confident joint, and the other examples of which the model errs."""
    confident = probabilities >= averages.of_having
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


def _in_doubt(probabilities: Doubles, given: Members, averages: _Averages) -> _Doubt:
    """Confident learning for each label by itself: a text has it, or has it not."""
    against = np.where(given, 1 - probabilities, probabilities)
    average = np.where(given, averages.of_lacking, averages.of_having)
    confident = against >= average
    sure = np.asarray(confident.any(axis=1))
    flipped = np.where(sure[:, None], confident, against > 0.5)
    rows = np.flatnonzero(flipped.any(axis=1))
    scores = np.where(flipped, against, 0).max(axis=1)
    return _Doubt(rows, given[rows] ^ flipped[rows], scores[rows], sure[rows])


def _averages(rows: Predictions, labels: Labels, temperature: float) -> _Averages:
    count, having = 0, np.zeros(len(labels), np.int64)
    of_having, of_lacking = np.zeros(len(labels)), np.zeros(len(labels))
    for table in _parts(rows, labels):
        probabilities = _calibrated(table, labels, temperature)
        given = label_members(table["label"], labels)
        count, having = count + len(given), having + given.sum(axis=0)
        of_having += np.where(given, probabilities, 0).sum(axis=0)
        of_lacking += np.where(given, 0, 1 - probabilities).sum(axis=0)
    return _Averages(_divided(of_having, having), _divided(of_lacking, count - having))


def _divided(sums: Doubles, counts: npt.NDArray[np.int64]) -> Doubles:
    out_of_reach = np.full(len(counts), np.inf)
    return np.asarray(np.divide(sums, counts, out=out_of_reach, where=counts > 0))


def _temperature(rows: Predictions, labels: Labels) -> float:
    """The temperature at which the probabilities fit the given labels best."""
    if not len(rows):
        return 1.0
    every = -(-len(rows) // _CALIBRATED_ON)
    some, start = [], 0
    for table in _parts(rows, labels):
        some.append(table.take(pa.array(np.arange(-start % every, len(table), every))))
        start += len(table)
    sample = pa.concat_tables(some)
    logits, truths = _logits(sample, labels), label_members(sample["label"], labels)
    at = _at(labels)

    def loss(log_temperature: float) -> float:
        fitted = at(logits / np.exp(log_temperature)).clip(_MARGIN, 1 - _MARGIN)
        misses = -np.log(np.where(truths, fitted, 1 - fitted))
        return float(misses.mean() if labels.multi_label else misses[truths].mean())

    bounds = (np.log(_COOLEST), np.log(_HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _calibrated(predictions: pa.Table, labels: Labels, temperature: float) -> Doubles:
    return np.asarray(_at(labels)(_logits(predictions, labels) / temperature))


def _logits(predictions: pa.Table, labels: Labels) -> Doubles:
    """What the probabilities are made from, up to a number added to all of a text's."""
    probabilities = label_probabilities(predictions, labels).astype(np.float64)
    clipped = probabilities.clip(_MARGIN, 1 - _MARGIN)
    against = np.log1p(-clipped) if labels.multi_label else 0.0
    return np.asarray(np.log(clipped) - against)


def _at(labels: Labels) -> Callable[[Doubles], Doubles]:
    return expit if labels.multi_label else partial(softmax, axis=1)
