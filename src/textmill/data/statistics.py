"""What a data set is like: sizes, label counts, lengths, repeats, problems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from textmill.data.duplicates import Digests, digest_array, text_digest
from textmill.data.examples import Examples
from textmill.labels import Labels

_ROWS_IN_BATCH = 10_000

PERCENTILES = {
    "min": 0,
    "p5": 5,
    "p25": 25,
    "p50": 50,
    "p75": 75,
    "p95": 95,
    "p99": 99,
    "max": 100,
}


def describe_examples(
    examples: Examples,
    token_lengths: Mapping[str, npt.NDArray[np.integer]] | None,
    max_length: int | None,
) -> dict[str, object]:
    """Describes examples as plain values.

    Args:
        examples: Checked examples.
        token_lengths: For each split ``[rows]``, the tokens of each text before any is cut.
        max_length: The most tokens that a model is given of a text.

    Returns:
        The record of the examples, where ``splits`` has for each split its ``count``, ``labels``
        (count and share of each), ``unlabelled`` (rows without a label, for multi-label),
        ``characters`` and ``tokens`` (`PERCENTILES` of the lengths), ``too_long`` (count and share
        of the texts above ``max_length``), ``duplicates`` (rows that repeat an earlier text) and
        ``leaks`` (rows whose text is in another split too).
    """
    digests = {split: _digests(dataset) for split, dataset in examples.splits.items()}
    splits = {}
    for split, dataset in examples.splits.items():
        lengths = None if token_lengths is None else token_lengths.get(split)
        others = [digests[other] for other in digests if other != split]
        splits[split] = {
            "count": len(dataset),
            **_described_labels(dataset, examples.labels),
            "characters": _percentiles(_characters(dataset)),
            **_token_lengths(lengths, max_length),
            "duplicates": len(dataset) - len(np.unique(digests[split])),
            "leaks": int(
                np.isin(digests[split], np.concatenate([digests[split][:0], *others])).sum()
            ),
        }
    return {**examples.as_record(), "max_length": max_length, "splits": splits}


def label_counts(dataset: Dataset, labels: Labels) -> npt.NDArray[np.int64]:
    """How many rows of a split have each label, ``[labels]``."""
    counts = np.zeros(len(labels), dtype=np.int64)
    for batch in _batches(dataset):
        column = batch["label"]
        ids = pc.list_flatten(column) if labels.multi_label else column
        counts += np.bincount(ids.to_numpy(), minlength=len(labels))
    return counts


def _described_labels(dataset: Dataset, labels: Labels) -> dict[str, object]:
    counts = label_counts(dataset, labels).tolist()
    shares = {
        name: {"count": count, "share": count / max(len(dataset), 1)}
        for name, count in zip(labels.names, counts, strict=True)
    }
    return {"labels": shares, "unlabelled": _unlabelled(dataset) if labels.multi_label else 0}


def _unlabelled(dataset: Dataset) -> int:
    """The rows without a label."""
    lengths = (pc.list_value_length(batch["label"]).to_numpy() for batch in _batches(dataset))
    return sum(int((length == 0).sum()) for length in lengths)


def _characters(dataset: Dataset) -> npt.NDArray[np.integer]:
    """``[rows]``, the characters of each text, its pair included."""
    return np.concatenate(
        [np.empty(0, np.int64)]
        + [
            sum(pc.utf8_length(batch[name]).to_numpy() for name in _text_columns(dataset))
            for batch in _batches(dataset)
        ]
    )


def _token_lengths(
    lengths: npt.NDArray[np.integer] | None, max_length: int | None
) -> dict[str, object]:
    if lengths is None:
        return {}
    described: dict[str, object] = {"tokens": _percentiles(lengths)}
    if max_length is not None:
        count = int((lengths > max_length).sum())
        described["too_long"] = {"count": count, "share": count / max(len(lengths), 1)}
    return described


def _percentiles(lengths: npt.NDArray[np.integer]) -> dict[str, int]:
    """Lengths that occur, at or above which the next higher percentile begins."""
    if not len(lengths):
        return {}
    values = np.percentile(lengths, list(PERCENTILES.values()), method="nearest")
    return {name: int(value) for name, value in zip(PERCENTILES, values, strict=True)}


def _digests(dataset: Dataset) -> Digests:
    names = _text_columns(dataset)
    return digest_array(
        text_digest(*texts)
        for batch in _batches(dataset)
        for texts in zip(*(batch[name].to_pylist() for name in names), strict=True)
    )


def _text_columns(dataset: Dataset) -> list[str]:
    return [name for name in ("text", "text_pair") if name in dataset.column_names]


def _batches(dataset: Dataset) -> Iterator[pa.Table]:
    """The rows as Arrow tables, without copies."""
    for start in range(0, len(dataset), _ROWS_IN_BATCH):
        yield dataset.with_format("arrow")[start : start + _ROWS_IN_BATCH]
