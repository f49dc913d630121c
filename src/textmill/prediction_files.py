"""Predicting a file into a file: in windows, in bounded memory, and so that it can be continued."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyarrow.parquet

from textmill.data.columns import column_name
from textmill.data.rows import Row, UnreadableRow
from textmill.data.sources.files import FileFormat, FilesSource
from textmill.errors import InputError, did_you_mean
from textmill.part_file import PartFile, Progress, Settings, part_paths
from textmill.prediction_formats import (
    Record,
    Text,
    Wanted,
    output_ending,
    output_format,
    record,
)
from textmill.predictor import Prediction, Predictor
from textmill.safe_write import machine_faults
from textmill.version import __version__

if TYPE_CHECKING:
    from textmill.scoring import Texts

# Rows scored and written at a time; an output that broke off goes on behind a whole window, so
# that the same texts are scored together as without the break.
WINDOW = 2048

# A source has the splits of a data set; a file to predict is all of one.
SPLIT = "test"

_PROBLEMS = {
    "wrong_width": ("the row has the wrong width", "mend the row, or set --delimiter"),
    "undecodable": ("the row can't be decoded", "set --encoding"),
    "malformed": ("the row is malformed", "mend the row"),
}
_FLAGS = {
    "data.header=false": "--no-header",
    "data.quoting=false": "--no-quoting",
    "data.format=": "--format ",
    "data.encoding=": "--encoding ",
    "data.format": "--format",
    "data.encoding": "--encoding",
    "data.delimiter": "--delimiter",
}


@dataclass(frozen=True, slots=True)
class FileTask:
    """A file to predict.

    Args:
        input: The file to read.
        output: The file to write; its ending says its format.
        file_format: How the input is read.
        text_columns: Names or numbers of the columns with the text; empty for the bundle's.
        wanted: What is written of each prediction.
        batch_size: The most texts scored at a time; None leaves it to their tokens.
        resume: Whether to go on with an output that broke off.
        force: Whether to replace an output that is there, and to give up one that broke off.
    """

    input: Path
    output: Path
    file_format: FileFormat
    text_columns: tuple[str, ...]
    wanted: Wanted
    batch_size: int | None
    resume: bool
    force: bool


def open_files(task: FileTask) -> FilesSource:
    """Opens the input and checks the output's place, before the model is loaded.

    Raises:
        InputError: The input can't be read, or the output's place or name is not right. All
            problems at once.
        MachineError: The output's folder can't be written.
    """
    problems: list[InputError] = []
    try:
        source = _open_input(task)
    except InputError as error:
        problems.append(error)
    try:
        _check_output(task)
    except InputError as error:
        problems.append(error)
    if problems:
        raise InputError.all_of(problems)
    return source


def find_text_columns(
    task: FileTask, source: FilesSource, expected: tuple[str, ...]
) -> tuple[str, ...]:
    """The names of the columns with the text, as asked for or as the bundle expects them.

    The only column of a file is the text, whatever its name, unless another was asked for.

    Args:
        task: The task, with the names or numbers that were asked for.
        source: The input.
        expected: The bundle's columns.

    Raises:
        InputError: A column is missing, or it takes another number of columns.
    """
    present = source.columns(SPLIT)
    if not task.text_columns and len(expected) == len(present) == 1:
        return present
    asked = task.text_columns or expected
    if len(asked) != len(expected):
        raise InputError(
            f"the bundle classifies texts of {len(expected)} column(s), not {len(asked)}",
            where=", ".join(asked),
            hint=f"give --text-column {len(expected)} time(s)",
        )
    found = [column_name(name, present) for name in asked]
    missing = [name for name, column in zip(asked, found, strict=True) if column is None]
    if missing:
        raise InputError.all_of([_no_column(name, present, task) for name in missing])
    return tuple(column for column in found if column is not None)


def predict_file(
    task: FileTask,
    source: FilesSource,
    predictor: Predictor,
    columns: tuple[str, ...],
    advance: Callable[[int], None],
) -> Progress:
    """Predicts every row of the input; the output has a row for each, in the same order.

    Args:
        task: The task.
        source: Its input, from `open_files`.
        predictor: The classifier.
        columns: The columns with the text, from `find_text_columns`.
        advance: Is told how many more rows are done.

    Returns:
        How many rows there were, and how many of them had no text.

    Raises:
        InputError: A row can't be read, or an output that broke off was made otherwise. In the
            first case nothing is left of the output.
        MachineError: The disk is full, or the folder can't be written.
    """
    form = output_format(task.output, predictor.labels, len(columns), task.wanted)
    settings = _settings(task, source, predictor, columns)
    with machine_faults(task.output), PartFile(task.output, settings, form.head()) as part:
        progress = part.resume() if task.resume else part.start()
        advance(progress.rows)
        try:
            windows = _windows(source, columns, progress.rows)
            for texts, probabilities in predictor.stream(
                ((window, _present(window)) for window in windows), batch_size=task.batch_size
            ):
                records = _records(texts, predictor.decide(probabilities), task.wanted)
                missing = texts.count(None)
                progress = part.append(form.window(records), progress, len(texts), missing)
                advance(len(texts))
        except InputError:
            part.drop()
            raise
        form.finish(part.path, task.output)
        part.close_record()
    return progress


def count_rows(source_file: Path, file_format: FileFormat) -> int:
    """About how many rows a file has: its lines, or exactly in parquet; for a progress bar."""
    if file_format.of(source_file) == "parquet":
        return int(pyarrow.parquet.ParquetFile(source_file).metadata.num_rows)
    with gzip.open(source_file) if source_file.suffix == ".gz" else source_file.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(2**20), b""))


def _open_input(task: FileTask) -> FilesSource:
    if task.input.is_dir():
        raise InputError("this is a folder", where=str(task.input), hint="name one file in it")
    with _flags_in_messages():
        return FilesSource({SPLIT: task.input}, file_format=task.file_format)


@contextmanager
def _flags_in_messages() -> Iterator[None]:
    """Lets what sources say of the configuration's keys name the flags of the verb instead."""
    try:
        yield
    except InputError as error:
        pattern = "|".join(map(re.escape, _FLAGS))
        problems = [
            re.sub(pattern, lambda key: _FLAGS[key[0]], line).replace("set --no-", "give --no-")
            for line in error.problems
        ]
        raise InputError.all_of(map(InputError, problems)) from error


def _check_output(task: FileTask) -> None:
    output_ending(task.output)
    part, _ = part_paths(task.output)
    where = str(task.output)
    if not task.output.parent.is_dir():
        raise InputError(
            "no such folder", where=str(task.output.parent), hint="make it, or name another output"
        )
    if task.output.is_dir():
        raise InputError("the output is a folder", where=where, hint="name a file in it")
    if task.input.exists() and any(
        path.exists() and path.samefile(task.input) for path in (task.output, part)
    ):
        raise InputError("output and input are the same file", where=where, hint="name another")
    if task.output.exists() and not task.force:
        raise InputError("the output exists", where=where, hint="replace it with --force")
    if part.exists() and not (task.resume or task.force):
        raise InputError(
            "an output that broke off is there",
            where=str(part),
            hint="go on with --resume, or start anew with --force",
        )


def _no_column(name: str, present: Sequence[str], task: FileTask) -> InputError:
    shown = list(present[:20])
    return InputError(
        f"there is no column {name!r} (the columns are {', '.join(shown)})",
        where=str(task.input),
        hint=f"name the text's with --text-column ({did_you_mean(name, shown)})",
    )


def _settings(
    task: FileTask, source: FilesSource, predictor: Predictor, columns: tuple[str, ...]
) -> Settings:
    """What decides the output's bytes; the names stand in messages after "another"."""
    return {
        "Textmill version": __version__,
        "bundle": predictor.bundle.fingerprint(),
        "input": source.fingerprint(),
        "--text-column": list(columns),
        "choice of --scores and --text": asdict(task.wanted),
        "--batch-size": task.batch_size,
        "--device": predictor.device,
        "--form": predictor.form,
    }


def _windows(
    source: FilesSource, columns: tuple[str, ...], done: int
) -> Iterator[list[Text | None]]:
    """The texts behind those that are done, a window at a time; None where there is none."""
    with _flags_in_messages():
        rows = islice(source.rows(SPLIT), done, None)
        while window := [_text(row, columns) for row in islice(rows, WINDOW)]:
            yield window


def _text(row: Row | UnreadableRow, columns: tuple[str, ...]) -> Text | None:
    if isinstance(row, UnreadableRow):
        what, hint = _PROBLEMS[row.problem]
        raise InputError(f"{what} ({row.detail})", where=row.place, hint=hint)
    sides = [_side(row, column) for column in columns]
    if any(side is None or not side.strip() for side in sides):
        return None
    first, *second = (side or "" for side in sides)
    return (first, second[0]) if second else first


def _side(row: Row, column: str) -> str | None:
    value = row.values.get(column)
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, int | float):
        return None if value != value else str(value)
    raise InputError(
        f"{column!r} holds no text but {value!r:.40}",
        where=row.place,
        hint="name the column with the text with --text-column",
    )


def _present(window: Sequence[Text | None]) -> Texts:
    return cast("Texts", [text for text in window if text is not None])


def _records(
    texts: Sequence[Text | None], predictions: Sequence[Prediction], wanted: Wanted
) -> list[Record]:
    answers = iter(predictions)
    return [record(None if text is None else next(answers), text, wanted) for text in texts]
