"""``textmill runs list``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from textmill.browse.entries import Entry
from textmill.terminal import Align, table_of

# Of the split that each run was judged on, the first of each line that some run has.
_SHOWN = {"Macro-F1": ("f1_macro",), "Accuracy": ("accuracy", "subset_accuracy")}


def runs_table(entries: Sequence[Entry], metrics: Sequence[str]) -> Table:
    """The runs, a line each.

    Args:
        entries: The runs in their order.
        metrics: Names of further metrics to show, as in ``metrics.json``.
    """
    grouped = any(entry.value("group") for entry in entries)
    names = ("Run", "State", *(("Group",) if grouped else ()), "Data", "Model", "Split")
    columns: dict[str, Align] = dict.fromkeys(names, "left")
    numbers: dict[str, Align] = dict.fromkeys((*_SHOWN, *metrics), "right")
    rows = [
        [
            entry.place,
            entry.value("state"),
            *([entry.value("group")] if grouped else ()),
            entry.value("data"),
            entry.value("model"),
            entry.judged,
            *(_number(_first(entry, names)) for names in _SHOWN.values()),
            *(_number(entry.metrics.get(name)) for name in metrics),
        ]
        for entry in entries
    ]
    return table_of(columns | numbers, rows)


def runs_json(entries: Sequence[Entry]) -> str:
    """The runs as JSON, with their whole configurations and all metrics."""
    return json.dumps([_record(entry) for entry in entries], indent=2, ensure_ascii=False)


def _record(entry: Entry) -> dict[str, Any]:
    told = ("name", "state", "group", "trial", "started", "ended", "judged")
    return {
        "run": entry.place,
        "folder": str(entry.run.folder.absolute()),
        **{name: entry.manifest.get(name) for name in told},
        "metrics": entry.metrics,
        "config": entry.config,
    }


def _first(entry: Entry, names: Sequence[str]) -> float | None:
    values = (entry.judged_metric(name) for name in names)
    return next((value for value in values if value is not None), None)


def _number(value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"
