"""The tables of examples in a report."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from textmill.report.record import RunRecord
from textmill.report.tables import TableView, table_view

_MOST_MISTAKES = 200
_MOST_ROWS = {"slices": 200, "instructive": 100, "samples": 50, "followed": 60, "suspects": 100}
_PROBABILITY = "probability/"
_FOLLOWED = ("text", "text_pair", "label", "step", "prediction", "correct", "confidence", "loss")


def mistakes_table(split: str, predictions: pa.Table) -> TableView:
    """The wrong predictions on a split, those with the highest loss first."""
    losses = predictions["loss"].to_numpy()
    wrong = np.flatnonzero(~predictions["correct"].to_numpy())
    worst = wrong[np.argsort(-losses[wrong], kind="stable")]
    shown = _without_probabilities(predictions.drop_columns("correct"))
    return table_view(
        f"Mistakes on {split}",
        shown.take(pa.array(worst[:_MOST_MISTAKES])),
        _MOST_MISTAKES,
        total=len(wrong),
    )


def tables_of(record: RunRecord, name: str) -> dict[str, TableView]:
    """A kind of table for each split that has it, the split judged in the end first."""
    found = {
        split: table_of(record, f"{name}-{split}", name, f"{name.capitalize()} of {split}")
        for split in ("test", "validation", "train")
    }
    return {split: view for split, view in found.items() if view is not None}


def followed_table(record: RunRecord) -> TableView | None:
    """The predictions for a few examples at each validation, if there are some."""
    table = record.table("followed")
    if table is None or not len(table):
        return None
    names = [name for name in _FOLLOWED if name in table.column_names]
    return table_view("Examples followed", table.select(names), _MOST_ROWS["followed"])


def table_of(record: RunRecord, name: str, kind: str, caption: str) -> TableView | None:
    """A table of the run, if there is such a one and it isn't empty.

    Args:
        record: The run.
        name: The table's name.
        kind: What kind of table it is.
        caption: What it is called in the page.
    """
    table = record.table(name)
    if table is None or not len(table):
        return None
    return table_view(caption, _without_probabilities(table), _MOST_ROWS[kind])


def _without_probabilities(table: pa.Table) -> pa.Table:
    """Leaves one column of confidence instead of one for each label."""
    names = [name for name in table.column_names if not name.startswith(_PROBABILITY)]
    return table.select(names)
