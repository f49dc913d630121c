"""Which of a source's columns hold what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from textmill.data.rows import Source
from textmill.errors import InputError, did_you_mean

# What the names of the columns begin with that examples are sliced by.
SLICE = "slice/"

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that are read, each by its name or, where no column has it, by its number.

    Args:
        text: One column, or two for a pair of texts.
        label: The column with the label, or with several labels.
        group: A column whose equal values stay in one split when splits are made.
        slices: Further columns, whose values the metrics are told for one by one.
    """

    text: tuple[str, ...]
    label: str | None
    group: str | None = None
    slices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks that there are one or two texts and a label."""
        if not 1 <= len(self.text) <= 2:
            raise InputError(
                f"{len(self.text)} text columns are given, where one is needed, or two for pairs",
                hint="set data.text=COLUMN or data.text=[COLUMN,COLUMN]",
            )
        if self.label is None:
            raise InputError("no label column is given", hint="set data.label=COLUMN")


@dataclass(frozen=True, slots=True)
class FoundColumns:
    """The names under which a split's rows hold the columns asked for.

    Args:
        text: Of the text, or of the two of a pair.
        label: Of the label.
        group: Of the group, if there is one.
        slices: Of the slices, by what they are called in the examples.
    """

    text: tuple[str, ...]
    label: str
    group: str | None
    slices: Mapping[str, str]


def find_columns(
    source: Source, splits: tuple[str, ...], columns: Columns
) -> dict[str, FoundColumns]:
    """The columns' names in each of ``splits``, numbers resolved.

    Raises:
        InputError: A split lacks one of the columns, or is to be sliced by its texts; all such
            columns are told.
    """
    missing = {
        error.problems[0]: error
        for split in splits
        for error in _missing_columns(source, source.columns(split), columns)
    }
    if missing:
        raise InputError.all_of(missing.values())
    return {split: _found(source.columns(split), columns) for split in splits}


def _missing_columns(
    source: Source, present: tuple[str, ...], columns: Columns
) -> Iterator[InputError]:
    shown = ", ".join(present[:_SHOWN]) + (", ..." if len(present) > _SHOWN else "")
    for wanted, step in _asked_for(columns):
        if column_name(wanted, present) is None:
            yield InputError(
                f"there is no column {wanted} (the columns are {shown})",
                where=source.describe(),
                hint=f"{step} ({did_you_mean(wanted, present[:_SHOWN])})",
            )
    texts = {column_name(text, present) for text in columns.text} - {None}
    for wanted in columns.slices:
        if column_name(wanted, present) in texts:
            yield InputError(
                f"the column {wanted} has the texts, and hardly two examples have the same one",
                where=source.describe(),
                hint="leave it out of data.slices",
            )


def _asked_for(columns: Columns) -> Iterator[tuple[str, str]]:
    """The columns, each with what to do if it is missing."""
    for text in columns.text:
        yield text, "set data.text=COLUMN"
    if columns.label is not None:
        yield columns.label, "set data.label=COLUMN"
    if columns.group is not None:
        yield columns.group, "set data.group=COLUMN"
    for column in columns.slices:
        yield column, "set data.slices=[COLUMN]"


def _found(present: tuple[str, ...], columns: Columns) -> FoundColumns:
    def name(wanted: str | None) -> str | None:
        return None if wanted is None else column_name(wanted, present)

    return FoundColumns(
        text=tuple(str(name(text)) for text in columns.text),
        label=str(name(columns.label)),
        group=name(columns.group),
        slices={f"{SLICE}{column}": str(name(column)) for column in columns.slices},
    )


def column_name(wanted: str, present: Sequence[str]) -> str | None:
    """The column of that name, else the one of that number, counted from 0."""
    if wanted in present:
        return wanted
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 6 and int(wanted) < len(present):
        return present[int(wanted)]
    return None
