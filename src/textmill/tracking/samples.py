"""Examples to look at: what the model is given, and what can be learned from its answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Dataset

from textmill.encoding import LengthPolicy, encode
from textmill.judge import names_of, targets_of
from textmill.labels import Labels
from textmill.tracking.prediction_columns import label_members

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Rows = npt.NDArray[np.integer]


def sample_table(
    examples: Dataset,
    tokenizer: PreTrainedTokenizerFast,
    policy: LengthPolicy,
    labels: Labels,
    *,
    size: int,
    seed: int,
) -> pa.Table:
    """A sample of a split as the model sees it, in the split's order; the same for the same seed.

    The columns are ``text``, ``text_pair`` (for pairs), ``label`` (a name, or a list of names),
    ``tokens`` (the pieces that the model is given, special tokens included), and ``cut`` (whether
    the text has more of them).

    Args:
        examples: The split.
        tokenizer: The model's tokenizer; only read.
        policy: What happens to long texts.
        labels: The label set.
        size: The most rows.
        seed: Of the choice.
    """
    generator = np.random.default_rng(seed)
    rows = generator.choice(len(examples), min(size, len(examples)), replace=False)
    chosen = examples.select(np.sort(rows))
    sides = [name for name in ("text", "text_pair") if name in examples.column_names]
    texts = {name: chosen[name][:] for name in sides}
    encoded = encode(tokenizer, texts["text"], texts.get("text_pair"), policy)
    pieces = [tokenizer.convert_ids_to_tokens(ids) for ids in encoded.input_ids]
    return pa.table(
        {
            **texts,
            "label": names_of(targets_of(chosen, labels), labels),
            "tokens": pa.array(pieces, pa.list_(pa.string())),
            "cut": encoded.cut,
        }
    )


def instructive_table(predictions: pa.Table, labels: Labels, *, size: int) -> pa.Table:
    """The predictions that most can be learned from, each once.

    The column ``why`` comes first: ``highest loss``, ``confident mistake`` (wrong, and the most
    confident), ``least certain``, or ``right`` (the most confident of every label in turn). Each
    kind has a quarter of the rows, and what one leaves of it goes to the next.

    Args:
        predictions: See `textmill.judge.prediction_table`.
        labels: The label set.
        size: The most rows.
    """
    reasons = _instructive(predictions, labels, size)
    chosen = predictions.take(pa.array(list(reasons), pa.int64()))
    return chosen.add_column(0, "why", pa.array(list(reasons.values()), pa.string()))


def followed_table(validations: Mapping[int, pa.Table], labels: Labels, *, size: int) -> pa.Table:
    """What the model said of the same examples at each validation, example by example.

    They are the most instructive ones at the last validation; see `instructive_table`. The column
    ``step`` comes first.

    Args:
        validations: From the number of optimizer steps to the predictions on the one split.
        labels: The label set.
        size: The most examples.
    """
    steps = sorted(validations)
    rows = list(_instructive(validations[steps[-1]], labels, size))
    parts = [
        validations[step]
        .take(pa.array(rows, pa.int64()))
        .add_column(0, "step", pa.array([step] * len(rows), pa.int64()))
        for step in steps
    ]
    by_example = np.arange(len(steps) * len(rows)).reshape(len(steps), len(rows)).T.ravel()
    return pa.concat_tables(parts).take(pa.array(by_example))


def _instructive(predictions: pa.Table, labels: Labels, size: int) -> dict[int, str]:
    """Which rows are instructive, and why, one kind after the other."""
    reasons: dict[int, str] = {}
    for kind, (why, rows) in enumerate(_ranked(predictions, labels), start=1):
        for row in rows.tolist():
            if len(reasons) >= -(-size * kind // 4):
                break
            reasons.setdefault(row, why)
    return reasons


def _ranked(predictions: pa.Table, labels: Labels) -> Iterator[tuple[str, Rows]]:
    """The reasons to look at a row, and the rows for which they hold, the best first."""
    correct = predictions["correct"].to_numpy()
    confidence = predictions["confidence"].to_numpy()
    yield "highest loss", np.argsort(-predictions["loss"].to_numpy(), kind="stable")
    most_confident = np.argsort(-confidence, kind="stable")
    yield "confident mistake", most_confident[~correct[most_confident]]
    yield "least certain", most_confident[::-1]
    members = label_members(predictions["label"], labels)
    yield "right", _in_turn(most_confident[correct[most_confident]], members)


def _in_turn(rows: Rows, members: npt.NDArray[np.bool_]) -> Rows:
    """The first row of each label, then the second ones, and so on; a row may come again."""
    label, place = np.nonzero(members[rows].T)
    starts = np.searchsorted(label, label)
    return rows[place[np.lexsort((label, np.arange(len(label)) - starts))]]
