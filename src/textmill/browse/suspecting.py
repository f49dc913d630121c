"""``textmill runs suspects``."""

from __future__ import annotations

from rich.console import Console

from textmill.errors import InputError
from textmill.legible import shorten
from textmill.report.record import RunRecord
from textmill.runs import Run, short_path
from textmill.terminal import Align, table_of, text

_COLUMNS: dict[str, Align] = {
    "Split": "left",
    "Place": "left",
    "Text": "left",
    "Label": "left",
    "Suggested": "left",
    "Score": "right",
}


def show_suspects(run: Run, most: int, console: Console) -> None:
    """Prints the likeliest label errors, and how to correct them.

    Args:
        run: The run.
        most: How many to print.
        console: Where to.

    Raises:
        InputError: The run has no list of them, or it is broken.
    """
    suspects = RunRecord.of(run).table("suspects")
    if suspects is None:
        raise InputError(
            "the run has no list of suspected labels",
            where=str(run.folder),
            hint="only a finished run has one; textmill runs list shows them",
        )
    if not suspects.num_rows:
        console.print("no label is suspected to be wrong")
        return
    shown = suspects.slice(0, most)
    console.print(table_of(_COLUMNS, [_row(row) for row in shown.to_pylist()]))
    console.print()
    console.print(text(f"{shown.num_rows:,} of {suspects.num_rows:,} suspected labels."))
    path = short_path(run.suspects)
    console.print(
        text(f"Correct them in a copy of {path}, in the column corrected, and train with")
    )
    console.print(text("data.corrections=COPY"))


def _row(row: dict[str, object]) -> list[object]:
    sides = [str(row[name]) for name in ("text", "text_pair") if row.get(name) is not None]
    return [
        row["split"],
        row["place"],
        " / ".join(map(shorten, sides)),
        _names(row["label"]),
        _names(row["suggested"]),
        f"{row['score']:.2f}",
    ]


def _names(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
