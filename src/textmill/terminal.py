"""How results are shown on a terminal, and plainly where they are piped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from textmill.legible import one_line

# Piped lines are as long as they are.
_NO_WIDTH = 1_000_000

Align = Literal["left", "right"]


def console() -> Console:
    """Standard output; piped, without colours and with nothing wrapped or cut."""
    found = Console(highlight=False, emoji=False)
    return found if found.is_terminal else Console(highlight=False, emoji=False, width=_NO_WIDTH)


def text(value: object) -> Text:
    """Text from the data as it is, with nothing in it taken for markup."""
    return Text(one_line(str(value)))


def table_of(columns: Mapping[str, Align], rows: Sequence[Sequence[object]]) -> Table:
    """A table of values, whose text is shown as it is; None is an empty cell.

    Args:
        columns: From heading to alignment.
        rows: A value for each column; a `Text` keeps its style.
    """
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading, align in columns.items():
        table.add_column(text(heading), justify=align, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def facts_of(facts: Mapping[str, object]) -> Table:
    """Names and what they stand for, below each other."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(text(name), _cell(value))
    return table


def _cell(value: object) -> Text:
    if isinstance(value, Text):
        return value
    return Text() if value is None else text(value)
