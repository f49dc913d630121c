"""Labels that people have corrected, in a CSV file, and rows that they have thrown out.

The file has a line for each row of the data that someone has looked at. The columns that count are
``place`` and ``text`` (and ``text_pair``), which say what row it is, and ``corrected``, which is
empty, or the right label, or several separated by ``;``, or ``(none)`` for no label where a text
may have any number of them, or ``(drop)`` to leave the row out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textmill.data.label_rules import LabelReader, label_name
from textmill.data.staging import StagedSplit
from textmill.errors import InputError, did_you_mean
from textmill.legible import shorten

LEAVE_OUT = "(drop)"
NO_LABEL = "(none)"
SEPARATOR = ";"

_NEEDED = ("place", "text", "corrected")
_DELIMITERS = ",;\t"
# Spreadsheets cut longer cells; and who judges a label has seen enough of the text.
_LONGEST_TEXT = 2_000
# What spreadsheets take for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@")
_SHOWN = 5

# Instead of a label's code.
_THROWN_OUT = -1


@dataclass(frozen=True, slots=True)
class Correction:
    """What someone says of a row.

    Args:
        where: The line of the file: ``suspects.csv:12``.
        place: Where the row stands in the source.
        texts: Its text, or its two texts, as they stand in the file.
        corrected: What is to become of it.
    """

    where: str
    place: str
    texts: tuple[str, ...]
    corrected: str


@dataclass(frozen=True, slots=True)
class Corrections:
    """The lines of a file that correct something."""

    lines: tuple[Correction, ...]


@dataclass(frozen=True, slots=True)
class Corrected:
    """What corrections have done.

    Args:
        counts: How many rows have another label by them (``relabelled``), and how many are left
            out (``left_out``); empty without corrections.
        errors: The corrections that could not be made.
    """

    counts: dict[str, int] = field(default_factory=dict)
    errors: tuple[InputError, ...] = ()


def read_corrections(path: Path) -> Corrections:
    """Reads a file of corrections, with commas, semicolons or tabs between the cells.

    Raises:
        InputError: There is no such file, it is no CSV file in UTF-8, it lacks columns, or nothing
            in it is corrected.
    """
    header, rows = _read_table(path)
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise InputError(
            f"there is no column {' and no column '.join(missing)} "
            f"(the columns are {', '.join(header[:20])})",
            where=str(path),
            hint="give a file like the suspects.csv of a run",
        )
    uneven = [line for line, cells in rows if len(cells) != len(header)]
    if uneven:
        raise InputError(
            f"{_lines(len(uneven))} more or fewer cells than the first line",
            where=f"{path}:{uneven[0]}",
            hint="save the table as CSV again",
        )
    named = ((line, dict(zip(header, cells, strict=True))) for line, cells in rows)
    lines = [
        _correction(f"{path}:{line}", cells) for line, cells in named if cells["corrected"].strip()
    ]
    if not lines:
        raise InputError(
            "nothing is corrected",
            where=str(path),
            hint="write right labels into the column corrected, or leave out data.corrections",
        )
    _check_agreement(lines)
    return Corrections(tuple(lines))


def cell(text: str) -> str:
    """A text as it stands in a file for people: on one line, not too long, and no formula.

    Characters that would steer a terminal are replaced. What a spreadsheet would take for a formula
    gets an apostrophe in front.
    """
    return no_formula(shorten(text, _LONGEST_TEXT))


def no_formula(text: str) -> str:
    """A text with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def correct(
    staged: Mapping[str, StagedSplit],
    corrections: Corrections,
    reader: LabelReader,
    *,
    complete: bool,
) -> Corrected:
    """Gives rows their corrected labels, and leaves out those that are thrown out.

    A row is found by its place, and its text must be the one in the file.

    Args:
        staged: The source's splits; their codes, and which rows are kept, are changed.
        corrections: What is to be changed.
        reader: Knows the labels.
        complete: Whether all of the source is there, so that each place must be.
    """
    codes, errors = _codes(corrections, reader)
    by_place: dict[str, list[Correction]] = {}
    for line in corrections.lines:
        by_place.setdefault(line.place, []).append(line)
    right_text: dict[Correction, bool] = {}
    counts = {"relabelled": 0, "left_out": 0}
    for rows in staged.values():
        new = rows.codes.copy()
        for row, line, same in _rows_at(rows, by_place):
            right_text[line] = same or right_text.get(line, False)
            if same:
                new[row] = codes.get(line.corrected, new[row])
        thrown_out = new == _THROWN_OUT
        counts["relabelled"] += int((new != rows.codes).sum() - thrown_out.sum())
        counts["left_out"] += int(thrown_out.sum())
        rows.codes, rows.kept = np.where(thrown_out, rows.codes, new), rows.kept & ~thrown_out
    if complete:
        errors += _not_found([line for line in corrections.lines if line not in right_text])
    errors += _other_text([line for line, right in right_text.items() if not right])
    return Corrected(counts, tuple(errors))


def _read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The first line's cells, and those of the others, each with the number of its line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"the corrections can't be read ({error.strerror})",
            where=f"data.corrections={path}",
            hint="give a CSV file",
        ) from error
    except UnicodeDecodeError as error:
        raise _no_csv(path) from error
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=lambda one: first.count(one))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise _no_csv(path) from error
    if not rows or "\0" in text:
        raise _no_csv(path)
    return [name.strip() for name in rows[0][1]], rows[1:]


def _no_csv(path: Path) -> InputError:
    return InputError(
        "the corrections are no table as CSV in UTF-8",
        where=str(path),
        hint="save them as CSV in UTF-8",
    )


def _correction(where: str, cells: Mapping[str, str]) -> Correction:
    texts = [cells[name] for name in ("text", "text_pair") if name in cells]
    return Correction(
        where, cells["place"].strip(), tuple(map(_comparable, texts)), cells["corrected"].strip()
    )


def _check_agreement(lines: Sequence[Correction]) -> None:
    said: dict[tuple[str, tuple[str, ...]], Correction] = {}
    pairs = [(said.setdefault((line.place, line.texts), line), line) for line in lines]
    errors = [
        InputError(
            f"the row at {line.place} is corrected to {other.corrected} and to {line.corrected}",
            where=line.where,
            hint="remove one of the lines",
        )
        for other, line in pairs
        if other.corrected != line.corrected
    ]
    if errors:
        raise InputError.all_of(errors[:_SHOWN])


def _codes(
    corrections: Corrections, reader: LabelReader
) -> tuple[dict[str, int], list[InputError]]:
    """The code that each corrected cell stands for, and complaints about those that have none."""
    met = {name for names in reader.sets for name in names}
    known = met if reader.declared is None else set(reader.declared)
    codes: dict[str, int] = {}
    unknown: dict[str, Correction] = {}
    for line in corrections.lines:
        names = _names(line.corrected, known, multi_label=reader.rule.multi_label)
        strange = next((name for name in names if name not in known), None)
        if line.corrected == LEAVE_OUT and LEAVE_OUT not in known:
            codes[line.corrected] = _THROWN_OUT
        elif strange is None:
            codes[line.corrected] = reader.code_of(names)
        else:
            unknown.setdefault(strange, line)
    return codes, [_unknown(name, line, known) for name, line in unknown.items()][:_SHOWN]


def _names(corrected: str, known: Collection[str], *, multi_label: bool) -> tuple[str, ...]:
    """The labels that a cell names, in the order of a set of labels (`LabelReader.sets`)."""
    if not multi_label:
        return (_name(corrected, known),)
    if corrected == NO_LABEL and NO_LABEL not in known:
        return ()
    parts = [part for part in corrected.split(SEPARATOR) if part.strip()]
    return tuple(sorted({_name(part, known) for part in parts}))


def _name(raw: str, known: Collection[str]) -> str:
    name = label_name(raw) or ""
    bare = name.removeprefix("'")
    return bare if name not in known and bare in known else name


def _unknown(name: str, line: Correction, known: Collection[str]) -> InputError:
    return InputError(
        f"there is no label {name}",
        where=line.where,
        hint=f"{did_you_mean(name, known)}, or write {LEAVE_OUT} to leave the row out",
    )


def _rows_at(
    rows: StagedSplit, by_place: Mapping[str, Sequence[Correction]]
) -> Iterator[tuple[int, Correction, bool]]:
    """The rows that corrections are about, and whether the text is the right one."""
    places = pa.array(by_place, pa.string())
    start = 0
    with pa.memory_map(str(rows.file)) as source, pa.ipc.open_stream(source) as reader:
        sides = [name for name in ("text", "text_pair") if name in reader.schema.names]
        for batch in reader:
            for row in np.flatnonzero(pc.is_in(batch["place"], value_set=places)).tolist():
                texts = [_comparable(batch[side][row].as_py()) for side in sides]
                for line in by_place[batch["place"][row].as_py()]:
                    yield start + row, line, list(line.texts) == texts[: len(line.texts)]
            start += len(batch)


def _not_found(lines: Sequence[Correction]) -> list[InputError]:
    if not lines:
        return []
    what = f"{_lines(len(lines))} a place that is not in the data, first {lines[0].place}"
    hint = "if the data have changed, write the suspects again; else remove such lines"
    return [InputError(what, where=lines[0].where, hint=hint)]


def _other_text(lines: Sequence[Correction]) -> list[InputError]:
    if not lines:
        return []
    what = f"{_lines(len(lines))} another text than the data, first at {lines[0].place}"
    hint = "if columns were sorted apart or the data have changed, write the suspects again"
    return [InputError(what, where=lines[0].where, hint=hint)]


def _lines(count: int) -> str:
    return "1 line has" if count == 1 else f"{count:,} lines have"


def _comparable(text: str) -> str:
    """What stays of a text when it has been through a spreadsheet."""
    return shorten(text, _LONGEST_TEXT).lstrip("'")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
