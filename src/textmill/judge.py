"""Judges classifiers on a split of a data set, and compares a model with its baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from scipy.sparse import csr_array

from textmill.data.columns import SLICE
from textmill.encoding import Lengths
from textmill.errors import InputError
from textmill.labels import Labels
from textmill.model.metric_names import METRIC_TITLES
from textmill.model.metrics import classification_metrics, decide, example_losses
from textmill.model.statistics import Interval, Verdict, bootstrap_intervals, paired_tests
from textmill.safe_write import replace_file

# Examples whose texts are held in memory at a time.
AT_ONCE = 16_384
# Narrow enough for a terminal.
_TITLES = {**METRIC_TITLES, "mcc": "MCC"}

Texts = Sequence[str] | Sequence[tuple[str, str]]
Scores = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class Classifier(Protocol):
    """What can be judged: a `Predictor`, a `Baseline`, or anything else with probabilities."""

    def probabilities(self, texts: Texts, /) -> Scores:
        """The labels' probabilities ``[texts, labels]``, in the order of the texts."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A classifier's results on a split.

    Args:
        predictions: One row an example; see `prediction_table`.
        metrics: See `classification_metrics`.
        targets: Label ids ``[examples]``, or 0 and 1 ``[examples, labels]`` for several labels.
        decisions: What was predicted, shaped like the targets.
        labels: The label set.
    """

    predictions: pa.Table
    metrics: dict[str, float]
    targets: Integers
    decisions: Integers
    labels: Labels


def judge(
    classifier: Classifier,
    examples: Dataset,
    labels: Labels,
    *,
    thresholds: Sequence[float] | None = None,
    lengths: Lengths | None = None,
) -> Judged:
    """Scores a split's examples and compares the predictions with the labels.

    Args:
        classifier: What is judged.
        examples: The split, with the columns of `textmill.data.examples.Examples`.
        labels: The label set of both.
        thresholds: One for each label; see `decide`.
        lengths: How much of each text the classifier sees, where it sees them as tokens.

    Raises:
        InputError: The split is empty.
        TextmillError: The classifier's scores are not numbers.
    """
    if len(examples) == 0:
        raise InputError("there are no examples to judge", hint="choose another split")
    probabilities = _score(classifier, texts_of(examples))
    targets = targets_of(examples, labels)
    return judged_from(
        examples, targets, probabilities, labels, thresholds=thresholds, lengths=lengths
    )


def judged_from(
    examples: Dataset,
    targets: Integers,
    probabilities: Scores,
    labels: Labels,
    *,
    thresholds: Sequence[float] | None = None,
    lengths: Lengths | None = None,
) -> Judged:
    """Compares probabilities that are there already with the labels.

    Args:
        examples: The split.
        targets: Its labels; see `targets_of`.
        probabilities: The labels' probabilities ``[examples, labels]``.
        labels: The label set.
        thresholds: One for each label; see `decide`.
        lengths: How much of each text the classifier sees.

    Raises:
        TextmillError: The probabilities are not numbers.
    """
    limits = None if thresholds is None else np.array(thresholds, dtype=np.float32)
    decisions = decide(probabilities, labels, limits)
    return Judged(
        prediction_table(examples, targets, probabilities, decisions, labels, lengths=lengths),
        classification_metrics(targets, probabilities, labels, decisions=decisions),
        targets,
        decisions,
        labels,
    )


def texts_of(examples: Dataset) -> Texts:
    """A split's texts, or pairs of texts, read from disk as they are asked for."""
    texts = cast("Sequence[str]", examples["text"])
    if "text_pair" not in examples.column_names:
        return texts
    return _Pairs(texts, cast("Sequence[str]", examples["text_pair"]))


def targets_of(examples: Dataset, labels: Labels) -> Integers:
    """A split's labels: ids ``[examples]``, or 0 and 1 ``[examples, labels]`` for several."""
    if labels.multi_label:
        return np.asarray(sparse_targets_of(examples, labels).toarray())
    return np.asarray(_arrow(examples)["label"].to_numpy(), dtype=np.int64)


def sparse_targets_of(examples: Dataset, labels: Labels) -> csr_array:
    """What `targets_of` gives for several labels, in memory for the labels that there are."""
    column = _arrow(examples)["label"]
    rows = pc.list_parent_indices(column).to_numpy()
    ones = np.ones(len(rows), dtype=np.int64)
    shape = len(examples), len(labels)
    return csr_array((ones, (rows, pc.list_flatten(column).to_numpy())), shape=shape)


def scored_table(
    examples: Dataset,
    targets: Integers,
    probabilities: Scores,
    labels: Labels,
    *,
    lengths: Lengths | None = None,
) -> pa.Table:
    """As `prediction_table`, of what the probabilities decide without thresholds."""
    decisions = decide(probabilities, labels)
    return prediction_table(examples, targets, probabilities, decisions, labels, lengths=lengths)


def prediction_table(
    examples: Dataset,
    targets: Integers,
    probabilities: Scores,
    decisions: Integers,
    labels: Labels,
    *,
    lengths: Lengths | None = None,
) -> pa.Table:
    """What was predicted for each example of a split.

    The columns are ``text``, ``text_pair`` (for pairs), ``label`` and ``prediction`` (a name, or a
    list of names), ``correct``, ``confidence`` (the probability that the prediction is right,
    several labels taken as independent), ``loss`` (in nats), for each label
    ``probability/LABEL``, ``place``, where the lengths are known ``tokens`` and ``cut``, and the
    examples' ``slice/COLUMN``.

    Args:
        examples: The split.
        targets: Its labels; see `targets_of`.
        probabilities: The labels' probabilities ``[examples, labels]``.
        decisions: What is predicted, shaped like the targets.
        labels: The label set.
        lengths: How much of each text the classifier sees.
    """
    table = _arrow(examples)
    right = targets == decisions
    sides = [name for name in ("text", "text_pair") if name in table.column_names]
    known = {} if lengths is None else {"tokens": lengths.tokens, "cut": lengths.cut}
    slices = [name for name in table.column_names if name.startswith(SLICE)]
    return pa.table(
        {name: table[name] for name in sides}
        | {
            "label": names_of(targets, labels),
            "prediction": names_of(decisions, labels),
            "correct": right.all(axis=1) if labels.multi_label else right,
            "confidence": _confidences(probabilities, decisions, labels),
            "loss": example_losses(targets, probabilities, labels),
        }
        | {f"probability/{name}": probabilities[:, i] for i, name in enumerate(labels.names)}
        | {"place": table["place"]}
        | known
        | {name: table[name] for name in slices}
    )


def names_of(ids: Integers, labels: Labels) -> pa.Array:
    """The names of what `targets_of` gives: ``[examples]``, or lists of them for several labels."""
    names = pa.array(labels.names)
    if not labels.multi_label:
        return names.take(pa.array(ids))
    offsets = np.append(0, np.cumsum(ids.sum(axis=1))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), names.take(pa.array(np.nonzero(ids)[1])))


def write_table(path: Path, table: pa.Table) -> None:
    """Writes a table, of predictions above all, as Parquet, whole or not at all.

    Raises:
        MachineError: The disk is full, or the folder can't be written.
    """
    with replace_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


@dataclass(frozen=True, slots=True)
class Contender:
    """A judged classifier, and what the final table tells of it.

    Args:
        name: A short name: ``model``, ``majority`` or ``linear``.
        title: What it is called in tables and sentences, like ``the model``.
        judged: Its results.
        seconds: How long its training took, where that is known.
        note: How it was trained, for baselines.
    """

    name: str
    title: str
    judged: Judged
    seconds: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model and its baselines on the same split.

    Args:
        contenders: The model, then the baselines.
        intervals: For each of them, from metric to 95% interval.
        verdicts: The model against each baseline.
    """

    contenders: tuple[Contender, ...]
    intervals: tuple[dict[str, Interval], ...]
    verdicts: tuple[Verdict, ...]


def compare(model: Contender, baselines: Sequence[Contender], *, seed: int) -> Comparison:
    """Compares a model with baselines that were judged on the same split.

    Args:
        model: The model.
        baselines: Any number of baselines.
        seed: Of the bootstrap.
    """
    contenders = (model, *baselines)
    intervals = tuple(
        bootstrap_intervals(one.judged.targets, one.judged.decisions, one.judged.labels, seed=seed)
        for one in contenders
    )
    verdicts = tuple(
        Verdict(
            model.title,
            baseline.title,
            paired_tests(
                model.judged.targets,
                model.judged.decisions,
                baseline.judged.decisions,
                model.judged.labels,
                seed=seed,
            ),
        )
        for baseline in baselines
    )
    return Comparison(contenders, intervals, verdicts)


def compare_table(comparison: Comparison) -> Table:
    """The final table, 80 signs wide: metrics with their 95% intervals, and training seconds."""
    multi_label = comparison.contenders[0].judged.labels.multi_label
    shown = (
        ("subset_accuracy", "f1_macro", "f1_micro")
        if multi_label
        else ("accuracy", "f1_macro", "mcc")
    )
    notes = [f"{_heading(one.title)}: {one.note}" for one in comparison.contenders if one.note]
    caption = escape("\n".join(notes)) or None
    table = Table(
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, caption=caption, caption_justify="left"
    )
    table.add_column("Classifier")
    for metric in shown:
        table.add_column(_TITLES[metric], justify="right")
    table.add_column("Training", justify="right")
    for one, intervals in zip(comparison.contenders, comparison.intervals, strict=True):
        cells = [_cell(one.judged.metrics[metric], intervals.get(metric)) for metric in shown]
        table.add_row(escape(_heading(one.title)), *cells, _duration(one.seconds))
    return table


def flat_metrics(split: str, comparison: Comparison) -> dict[str, float]:
    """All numbers of a comparison under flat names.

    The model's are ``SPLIT/METRIC``, the baselines' on that split ``baseline/NAME/METRIC``, with
    ``_low`` and ``_high`` for the ends of the 95% intervals. Beside each baseline's are its
    ``seconds``, and by how much the model exceeds it: ``METRIC_gain``, with ``_low``, ``_high`` and
    ``_p_value``.

    Args:
        split: The name of the split.
        comparison: The numbers.
    """
    model, *baselines = (
        {**one.judged.metrics, **_ends(intervals)}
        for one, intervals in zip(comparison.contenders, comparison.intervals, strict=True)
    )
    flat = {f"{split}/{name}": value for name, value in model.items()}
    for contender, metrics, verdict in zip(
        comparison.contenders[1:], baselines, comparison.verdicts, strict=True
    ):
        numbers = {**metrics, **_gains(verdict)}
        if contender.seconds is not None:
            numbers["seconds"] = contender.seconds
        flat |= {f"baseline/{contender.name}/{name}": value for name, value in numbers.items()}
    return flat


class _Pairs(Sequence[tuple[str, str]]):
    """Two columns read side by side."""

    def __init__(self, first: Sequence[str], second: Sequence[str]) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first)

    @overload
    def __getitem__(self, index: int) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[str, str]]: ...
    def __getitem__(self, index: int | slice) -> tuple[str, str] | list[tuple[str, str]]:
        if isinstance(index, slice):
            return list(zip(self._first[index], self._second[index], strict=True))
        return self._first[index], self._second[index]


def _score(classifier: Classifier, texts: Texts) -> Scores:
    parts = [
        classifier.probabilities(texts[start : start + AT_ONCE])
        for start in range(0, len(texts), AT_ONCE)
    ]
    return np.concatenate(parts)


def _confidences(probabilities: Scores, decisions: Integers, labels: Labels) -> Scores:
    if not labels.multi_label:
        return probabilities[np.arange(len(probabilities)), decisions]
    given = np.where(decisions == 1, probabilities, 1 - probabilities)
    return np.asarray(given.prod(axis=1))


def _arrow(examples: Dataset) -> pa.Table:
    return cast("Any", examples.with_format("arrow"))[:]


def _ends(intervals: dict[str, Interval]) -> dict[str, float]:
    lows = {f"{name}_low": interval.low for name, interval in intervals.items()}
    return lows | {f"{name}_high": interval.high for name, interval in intervals.items()}


def _gains(verdict: Verdict) -> dict[str, float]:
    gains: dict[str, float] = {}
    for name, difference in verdict.differences.items():
        gains |= {
            f"{name}_gain": difference.value,
            f"{name}_gain_low": difference.interval.low,
            f"{name}_gain_high": difference.interval.high,
            f"{name}_gain_p_value": difference.p_value,
        }
    return gains


def _cell(value: float, interval: Interval | None) -> str:
    if interval is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({interval.low:.3f}-{interval.high:.3f})"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"


def _heading(title: str) -> str:
    bare = title.removeprefix("the ")
    return bare[0].upper() + bare[1:]
