"""Tables for the terminal and for the docs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.spread import Spread

if TYPE_CHECKING:
    from rich.table import Table as RichTable


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a title.

    Args:
        title: What is shown.
        header: What the columns are; the first names the rows.
        rows: Each as long as the header.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def as_markdown(tables: Sequence[Table]) -> str:
    """The tables one below the other, each under its title."""
    return "\n\n".join("\n".join(_markdown_lines(table)) for table in tables)


def as_rich(table: Table) -> RichTable:
    """A table for the terminal."""
    from rich.table import Table as RichTable

    shown = RichTable(title=table.title)
    for number, name in enumerate(table.header):
        shown.add_column(name, justify="left" if number == 0 else "right")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def told(spread: Spread, form: str) -> str:
    """The median of numbers, and where it says more, the least and the greatest value."""
    median, low, high = (format(value, form) for value in (spread.median, spread.low, spread.high))
    return median if low == high else f"{median} ({low} to {high})"


def _markdown_lines(table: Table) -> Iterator[str]:
    yield f"### {table.title}\n"
    yield f"| {' | '.join(table.header)} |"
    yield f"|---|{'---:|' * (len(table.header) - 1)}"
    for row in table.rows:
        yield f"| {' | '.join(row)} |"
