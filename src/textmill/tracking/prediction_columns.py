"""The columns of a table of predictions as arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textmill.labels import Labels
from textmill.scoring import Texts

Members = npt.NDArray[np.bool_]


def label_members(column: pa.ChunkedArray, labels: Labels) -> Members:
    """Which labels a column of names, or of lists of names, has in each row ``[rows, labels]``."""
    names = pc.list_flatten(column) if labels.multi_label else column
    ids = pc.index_in(names, value_set=pa.array(labels.names)).to_numpy()
    rows = pc.list_parent_indices(column).to_numpy() if labels.multi_label else np.arange(len(ids))
    members = np.zeros((len(column), len(labels)), dtype=bool)
    members[rows, ids] = True
    return members


def texts_of(predictions: pa.Table) -> Texts:
    """The texts, or pairs of texts, of the rows."""
    columns = [name for name in ("text", "text_pair") if name in predictions.column_names]
    sides = [predictions[name].to_pylist() for name in columns]
    return sides[0] if len(sides) == 1 else list(zip(*sides, strict=True))


def label_ids(column: pa.ChunkedArray, labels: Labels) -> npt.NDArray[np.int64]:
    """Label ids ``[rows]``, or 0 and 1 ``[rows, labels]`` where a text may have several labels."""
    members = label_members(column, labels)
    return members.astype(np.int64) if labels.multi_label else members.argmax(axis=1)


def label_probabilities(predictions: pa.Table, labels: Labels) -> npt.NDArray[np.float32]:
    """The labels' probabilities ``[examples, labels]``."""
    columns = [predictions[f"probability/{name}"].to_numpy() for name in labels.names]
    return np.column_stack(columns).astype(np.float32)


def length_bins(
    tokens: npt.NDArray[np.integer], count: int
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Intervals of lengths with about equally many texts, and the one that each text is in.

    Args:
        tokens: How long each text is, ``[texts]``, at least one.
        count: The most intervals.
    """
    quantiles = np.linspace(0, 1, count + 1)[1:]
    ends = np.unique(np.quantile(tokens, quantiles, method="inverted_cdf"))
    starts = [int(tokens.min()), *(int(end) + 1 for end in ends[:-1])]
    names = tuple(
        f"{start}-{end}" if start < end else f"{end}"
        for start, end in zip(starts, ends, strict=True)
    )
    return names, np.searchsorted(ends, tokens)
