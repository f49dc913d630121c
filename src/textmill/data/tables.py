"""A data set's description as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from textmill.data.statistics import PERCENTILES

_LABELS_SHOWN = 30


def data_tables(description: Mapping[str, Any]) -> list[Table]:
    """Tables of the label counts, of the text lengths, and of the problems if there are any.

    Args:
        description: What `describe_examples` gives.
    """
    tables = [_label_table(description), _length_table(description)]
    if description["problems"]:
        tables.append(_problem_table(description))
    return tables


def _label_table(description: Mapping[str, Any]) -> Table:
    splits = description["splits"]
    table = Table(title="Examples", title_justify="left")
    table.add_column("label")
    for split in splits:
        made = " (made)" if split in description["made"] else ""
        table.add_column(f"{split}{made}", justify="right")
    for name in description["labels"][:_LABELS_SHOWN]:
        table.add_row(escape(name), *(_counted(split["labels"][name]) for split in splits.values()))
    hidden = description["labels"][_LABELS_SHOWN:]
    if hidden:
        counts = [
            sum(split["labels"][name]["count"] for name in hidden) for split in splits.values()
        ]
        table.add_row(f"{len(hidden):,} more labels", *(f"{count:,}" for count in counts))
    if description["multi_label"]:
        table.add_row("no label", *(f"{split['unlabelled']:,}" for split in splits.values()))
    table.add_section()
    for key in ("count", "duplicates", "leaks"):
        table.add_row(_TOTALS[key], *(f"{split[key]:,}" for split in splits.values()))
    return table


_TOTALS = {
    "count": "all rows",
    "duplicates": "repeat an earlier text",
    "leaks": "text also in another split",
}


def _counted(label: Mapping[str, Any]) -> str:
    return f"{label['count']:,} ({label['share']:.1%})"


def _length_table(description: Mapping[str, Any]) -> Table:
    table = Table(
        title="Lengths of the texts",
        title_justify="left",
        caption=_too_long(description),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for name in ("split", "in"):
        table.add_column(name, no_wrap=True)
    for name in PERCENTILES:
        table.add_column(f"{name[1:]}%" if name.startswith("p") else name, justify="right")
    for split, described in description["splits"].items():
        for unit in ("characters", "tokens"):
            if unit in described:
                lengths = [f"{length:,}" for length in described[unit].values()]
                table.add_row(split, unit, *lengths)
    return table


def _too_long(description: Mapping[str, Any]) -> str | None:
    """How many texts are longer than a model is given, where their tokens were counted."""
    counts = [
        f"{split} {_counted(described['too_long'])}"
        for split, described in description["splits"].items()
        if "too_long" in described
    ]
    return f"over {description['max_length']} tokens: {', '.join(counts)}" if counts else None


def _problem_table(description: Mapping[str, Any]) -> Table:
    table = Table(title="Problems", title_justify="left")
    for name in ("problem", "split", "rows", "done", "first at", "example", "detail"):
        table.add_column(name, justify="right" if name == "rows" else "left", overflow="fold")
    for problem in description["problems"]:
        table.add_row(
            problem["kind"],
            problem["split"],
            f"{problem['count']:,}",
            {"drop": "left out", "keep": "kept"}.get(problem["action"], problem["action"]),
            escape(problem["place"]),
            escape(problem["example"]),
            escape(problem["detail"]),
        )
    return table
