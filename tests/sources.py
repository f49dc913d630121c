"""A source of rows that stand in the test itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from textmill.data.rows import Row, UnreadableRow


class RowsSource:
    """Rows in memory, as a `textmill.data.rows.Source`; counts how often they are read.

    Args:
        splits: For each split its rows: values by column, or an unreadable row.
    """

    def __init__(self, **splits: Sequence[Mapping[str, object] | UnreadableRow]) -> None:
        self._splits = splits
        self.reads = 0

    def splits(self) -> tuple[str, ...]:
        return tuple(self._splits)

    def columns(self, split: str) -> tuple[str, ...]:
        rows = [row for row in self._splits[split] if not isinstance(row, UnreadableRow)]
        return tuple(rows[0]) if rows else ("text", "label")

    def rows(self, split: str) -> Iterator[Row | UnreadableRow]:
        self.reads += 1
        for number, row in enumerate(self._splits[split], start=1):
            yield row if isinstance(row, UnreadableRow) else Row(f"{split}.csv:{number}", row)

    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self._splits).encode(errors="replace")).hexdigest()

    def describe(self) -> str:
        return "rows.csv"


def labelled(*pairs: tuple[object, object]) -> list[dict[str, object]]:
    """Rows with the columns ``text`` and ``label``."""
    return [{"text": text, "label": label} for text, label in pairs]


def many(
    count: int, labels: Sequence[object] = ("no", "yes"), prefix: str = "text"
) -> list[dict[str, object]]:
    """Rows with texts of their own and labels in turn."""
    return labelled(
        *((f"{prefix} {number}", labels[number % len(labels)]) for number in range(count))
    )
