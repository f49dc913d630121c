"""What every kind of source gives: rows as they stand, and rows that could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Unreadable = Literal["wrong_width", "undecodable", "malformed"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a source; nothing about it has been decided yet.

    Args:
        place: Where it stands, for messages: ``reviews.csv:17`` (the line of a text file, from 1)
            or ``train.parquet row 17`` (the row of a table, from 1).
        values: From column name to raw value: text in csv and tsv files; text, numbers, booleans,
            lists or None elsewhere. The columns of a file without a header are ``0``, ``1``, ...
    """

    place: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A record that could not be read as a row of its file.

    Args:
        place: Where it stands, as in `Row`.
        problem: ``wrong_width`` (more or fewer cells than the file has columns), ``undecodable``
            (bytes that are not text in the file's encoding), or ``malformed`` (not JSON).
        detail: The beginning of what stands there, or what is wrong with it.
    """

    place: str
    problem: Unreadable
    detail: str


class Source(Protocol):
    """Labelled text somewhere, in up to three splits; reading it streams."""

    def splits(self) -> tuple[str, ...]:
        """Those of ``train``, ``validation`` and ``test`` that the source has, in this order."""
        ...

    def columns(self, split: str) -> tuple[str, ...]:
        """The names of a split's columns, in order."""
        ...

    def rows(self, split: str) -> Iterator[Row | UnreadableRow]:
        """A split's records, one after the other, in bounded memory."""
        ...

    def fingerprint(self) -> str:
        """A SHA-256 in hexadecimal that changes when the content or the way to read it does."""
        ...

    def describe(self) -> str:
        """What the source is, for messages: its path, package or hub name."""
        ...
