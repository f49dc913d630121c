"""How good predictions are on parts of a split: by length, by label, by the user's own columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from scipy.sparse import csr_array

from textmill.data.columns import SLICE
from textmill.labels import Labels
from textmill.legible import shorten
from textmill.tracking.prediction_columns import Members, label_members, length_bins

LENGTH_BINS = 4
MOST_VALUES = 50
# Rows in the terminal.
SHOWN = 20
OTHERS = "(others)"
MISSING = "(none)"

# The 97.5% quantile of the normal distribution, for intervals of 95%.
_Z = 1.959963984540054

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer]


def slice_table(predictions: pa.Table, labels: Labels) -> pa.Table:
    """The metrics of each slice of a split, the worst slice first.

    Slices are made by ``length`` (quarters of the texts, by tokens), by ``cut``, by ``label``, and
    by each of the user's columns, of which the most frequent values are taken one by one and the
    rest together. The columns are ``slice``, ``value``, ``examples``, ``accuracy``
    (``subset_accuracy`` for several labels a text), the ends ``low`` and ``high`` of its 95%
    interval (Wilson 1927, "Probable Inference"), its ``difference`` to the whole split's,
    ``f1_macro`` (null where all examples have the one same label, so that it says nothing of the
    others), and ``loss``.

    The order is by the interval's upper end: a slice stands first because it is surely bad, and
    not because two of its three examples are wrong.

    Args:
        predictions: See `textmill.judge.prediction_table`; at least one row.
        labels: The label set.
    """
    split = _Split.of(predictions, labels)
    parts = [split.measured(one) for one in _slicings(predictions, split.targets, labels)]
    order = [("high", "ascending"), ("examples", "descending")]
    return pa.concat_tables(parts).sort_by([*order, ("slice", "ascending"), ("value", "ascending")])


def shown_slices(slices: pa.Table) -> Table:
    """The worst slices for the terminal, 80 signs wide.

    Args:
        slices: See `slice_table`.
    """
    worst = slices.slice(0, SHOWN)
    hidden = len(slices) - len(worst)
    accuracy = "subset_accuracy" if "subset_accuracy" in slices.column_names else "accuracy"
    table = Table(
        title="Slices, the surely worst first",
        title_justify="left",
        caption=f"and {hidden:,} more" if hidden else None,
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("slice", overflow="fold")
    table.add_column("value", overflow="fold")
    for name in ("examples", accuracy.replace("_", " "), "macro-F1"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in worst.to_pylist():
        interval = f"{row[accuracy]:.3f} ({row['low']:.3f}-{row['high']:.3f})"
        f1 = "" if row["f1_macro"] is None else f"{row['f1_macro']:.3f}"
        names = (escape(shorten(row[name])) for name in ("slice", "value"))
        table.add_row(*names, f"{row['examples']:,}", interval, f1)
    return table


@dataclass(frozen=True, slots=True, eq=False)
class _Slicing:
    """A way to slice a split; an example may be in several slices.

    Args:
        name: What the slices are made by.
        values: What each slice has in common.
        slices: For each membership the position of the slice ``[memberships]``.
        examples: The position of its example ``[memberships]``.
    """

    name: str
    values: Sequence[str]
    slices: Integers
    examples: Integers


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """A table of predictions as arrays; see `textmill.judge.prediction_table`."""

    labels: Labels
    targets: Members
    decisions: Members
    correct: Members
    losses: Doubles

    @classmethod
    def of(cls, predictions: pa.Table, labels: Labels) -> _Split:
        return cls(
            labels,
            label_members(predictions["label"], labels),
            label_members(predictions["prediction"], labels),
            predictions["correct"].to_numpy(),
            predictions["loss"].to_numpy(),
        )

    def measured(self, slicing: _Slicing) -> pa.Table:
        """The metrics of the slices, in their order."""
        count = len(slicing.values)
        ones = np.ones(len(slicing.slices), dtype=np.int64)
        inside = csr_array((ones, (slicing.slices, slicing.examples)), (count, len(self.correct)))
        examples = inside.sum(axis=1)
        accuracy = inside @ self.correct.astype(np.int64) / examples
        low, high = _wilson(accuracy, examples)
        f1 = self._f1_macro(inside)
        return pa.table(
            {
                "slice": pa.array([slicing.name] * count, pa.string()),
                "value": pa.array(slicing.values, pa.string()),
                "examples": examples,
                "subset_accuracy" if self.labels.multi_label else "accuracy": accuracy,
                "low": low,
                "high": high,
                "difference": accuracy - self.correct.mean(),
                "f1_macro": pa.array(f1, from_pandas=True),
                "loss": inside @ self.losses / examples,
            }
        )

    def _f1_macro(self, inside: csr_array) -> Doubles:
        """Macro-F1 of each slice, over the labels that occur in it; NaN where it says nothing."""
        targets, decisions = self.targets.astype(np.int64), self.decisions.astype(np.int64)
        truths = inside @ targets
        hits, guesses = inside @ (targets * decisions), inside @ decisions
        f1: Doubles = 2 * hits / np.maximum(truths + guesses, 1)
        if self.labels.multi_label:
            return np.asarray(f1.mean(axis=1))
        means = f1.sum(axis=1) / (truths + guesses > 0).sum(axis=1)
        return np.where((truths > 0).sum(axis=1) > 1, means, np.nan)


def _slicings(predictions: pa.Table, targets: Members, labels: Labels) -> Iterator[_Slicing]:
    names = predictions.column_names
    everyone = np.arange(len(predictions))
    if "tokens" in names:
        values, bins = length_bins(predictions["tokens"].to_numpy(), LENGTH_BINS)
        yield _Slicing("length", values, bins, everyone)
        cut = predictions["cut"].to_numpy()
        if cut.any():
            yield _by_value("cut", np.where(cut, "yes", "no").tolist())
    yield _by_label(targets, labels)
    for name in names:
        if name.startswith(SLICE):
            yield _by_value(name.removeprefix(SLICE), predictions[name].to_pylist())


def _by_label(targets: Members, labels: Labels) -> _Slicing:
    """A slice for each label that occurs, and one for the texts without any."""
    members = np.column_stack([targets, ~targets.any(axis=1)])
    occurring = np.flatnonzero(members.any(axis=0))
    examples, slices = np.nonzero(members[:, occurring])
    values = [(*labels.names, MISSING)[index] for index in occurring]
    return _Slicing("label", values, slices, examples)


def _by_value(name: str, column: Sequence[str | None]) -> _Slicing:
    """A slice for each frequent value, and one for the others together."""
    found = [value or MISSING for value in column]
    counts = Counter(found)
    frequent = sorted(counts, key=lambda value: (-counts[value], value))
    position = {value: min(place, MOST_VALUES) for place, value in enumerate(frequent)}
    values = frequent[:MOST_VALUES] + [OTHERS] * (len(frequent) > MOST_VALUES)
    slices = np.array([position[value] for value in found], dtype=np.int64)
    return _Slicing(name, values, slices, np.arange(len(found)))


def _wilson(shares: Doubles, counts: Integers) -> tuple[Doubles, Doubles]:
    """The ends of the 95% intervals of shares that were seen among so many."""
    middle = (shares + _Z**2 / (2 * counts)) / (1 + _Z**2 / counts)
    spread = shares * (1 - shares) / counts + _Z**2 / (4 * counts**2)
    half = _Z * np.sqrt(spread) / (1 + _Z**2 / counts)
    return (middle - half).clip(0, 1), (middle + half).clip(0, 1)
