"""Tables for pages: columns by what they hold, and no more rows and text than one reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.types as pt

from textmill.data.columns import SLICE
from textmill.model.metric_names import METRIC_TITLES

Kind = Literal["text", "name", "names", "pieces", "number", "estimate", "flag"]

_MOST_SIGNS = 400
_MOST_PIECES = 100
_TEXTS = ("text", "text_pair")
_HEADINGS = {**METRIC_TITLES, "loss": "Loss", "text_pair": "Second text"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table in a page.

    Args:
        heading: What it is called.
        kind: How its cells are shown: a long ``text``, a ``name``, several ``names``, the
            ``pieces`` that a text is cut into, a ``number``, an ``estimate``, or a yes-or-no
            ``flag``.
    """

    heading: str
    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class TableView:
    """A table in a page.

    Args:
        caption: What it shows.
        columns: Its columns.
        rows: The rows that are shown.
        total: How many there are.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[object]]
    total: int


@dataclass(frozen=True, slots=True)
class Shortened:
    """The beginning of a text, or of the pieces of one.

    Args:
        shown: What is shown.
        left_out: How many characters or pieces are not.
    """

    shown: str | list[str]
    left_out: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and how sure it is.

    Args:
        value: The number.
        interval: The ends of its 95% interval, where that is known.
        best: Whether it is the best of its row.
    """

    value: float
    interval: tuple[float, float] | None = None
    best: bool = False


def table_view(caption: str, table: pa.Table, most: int, *, total: int | None = None) -> TableView:
    """A table's first rows.

    Args:
        caption: What it shows.
        table: Columns of text, lists of text, numbers, and yes or no.
        most: How many rows to show.
        total: How many rows there are, if not those of the table alone.
    """
    columns = tuple(
        Column(_heading(name), _kind(name, table.schema.field(name).type))
        for name in table.column_names
    )
    shown = table.slice(0, most)
    cells = [
        [_cell(value, column.kind) for value in shown[index].to_pylist()]
        for index, column in enumerate(columns)
    ]
    return TableView(caption, columns, list(zip(*cells, strict=True)), total or len(table))


def view_of(
    caption: str, columns: Mapping[str, Kind], rows: Sequence[Sequence[object]]
) -> TableView:
    """A table of values.

    Args:
        caption: What it shows.
        columns: From heading to kind.
        rows: A value for each column; None is an empty cell.
    """
    kinds = tuple(Column(heading, kind) for heading, kind in columns.items())
    cells = [
        [_cell(value, kind) for value, kind in zip(row, columns.values(), strict=True)]
        for row in rows
    ]
    return TableView(caption, kinds, cells, len(rows))


def _heading(name: str) -> str:
    """What a column is called; the user's own as the user calls them."""
    if name.startswith(SLICE):
        return name.removeprefix(SLICE)
    return _HEADINGS.get(name) or name[0].upper() + name[1:]


def _kind(name: str, kind: pa.DataType) -> Kind:
    if pt.is_boolean(kind):
        return "flag"
    if pt.is_integer(kind) or pt.is_floating(kind):
        return "number"
    if pt.is_list(kind) or pt.is_large_list(kind):
        return "pieces" if name == "tokens" else "names"
    return "text" if name in _TEXTS else "name"


def _cell(value: object, kind: Kind) -> object:
    if value is None or kind in ("number", "estimate", "flag"):
        return value
    if isinstance(value, list):
        most = _MOST_PIECES
        pieces = [str(piece) for piece in value]
        return Shortened(pieces[:most], max(0, len(pieces) - most)) if kind == "pieces" else pieces
    text = str(value)
    return Shortened(text[:_MOST_SIGNS], max(0, len(text) - _MOST_SIGNS))
