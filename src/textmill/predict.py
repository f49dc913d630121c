"""``textmill predict``: labels texts with a bundle.

Texts come as arguments, as lines of standard input, or from a file. Every text gets exactly one
answer, in the order of the texts. Only what parsing the arguments needs is imported here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from textmill.arguments import ArgumentParser, positive
from textmill.errors import InputError
from textmill.forms.choosing import FORM_CHOICES
from textmill.text_input import (
    add_text_arguments,
    check_text_arguments,
    check_texts_given,
    given_texts,
)

if TYPE_CHECKING:
    from textmill.prediction_files import FileTask
    from textmill.predictor import Predictor

_FILE_FLAGS = (
    "output",
    "text_column",
    "format",
    "delimiter",
    "no_header",
    "no_quoting",
    "resume",
    "force",
)


def main(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit status.

    Raises:
        InputError: The arguments, the bundle or a text are not right.
        MachineError: The disk is full, or the output's folder can't be written.
    """
    options = _parser().parse_intermixed_args(argv)
    _check(options)
    if options.input is not None:
        _predict_file(options)
    else:
        _predict_texts(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="textmill predict",
        description="Labels texts with a bundle: TEXT arguments, the lines of standard input, or "
        "the rows of a file. Prints a JSON object for each text, in their order.",
        epilog="Texts of a pair: TEXT --pair TEXT, lines with a tab between the two, or two "
        "columns of a file. In files, rows without text (empty, or only spaces) get no label; "
        "elsewhere an empty text is scored like any other. Blank lines of a file are no rows.",
    )
    add_text_arguments(parser, "a text to label")
    parser.add_argument("--scores", action="store_true", help="tell the scores of all labels")
    parser.add_argument("--text", action="store_true", help="repeat the text")
    parser.add_argument(
        "--form", choices=FORM_CHOICES, default="auto", help="form of the model (the fastest there)"
    )
    parser.add_argument(
        "--batch-size",
        metavar="N",
        type=positive,
        help="most texts at a time (as many as have some thousand tokens)",
    )
    _add_file_flags(parser.add_argument_group("files"))
    return parser


def _add_file_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--input", metavar="FILE", type=Path, help="csv, tsv, jsonl or parquet, by its ending"
    )
    group.add_argument(
        "--output", metavar="FILE", type=Path, help="file to write, in the format of its ending"
    )
    group.add_argument(
        "--text-column",
        metavar="NAME",
        action="append",
        help="column of the text, by name or number from 0; twice for pairs (the bundle's)",
    )
    group.add_argument(
        "--format", choices=("csv", "tsv", "jsonl", "parquet"), help="the input's format"
    )
    group.add_argument("--delimiter", metavar="CHARACTER", help="what separates the input's cells")
    group.add_argument(
        "--no-header", action="store_true", help="the input's first line is a row like the others"
    )
    group.add_argument(
        "--no-quoting", action="store_true", help="quotes in the input are plain characters"
    )
    group.add_argument("--resume", action="store_true", help="go on with an output that broke off")
    group.add_argument("--force", action="store_true", help="replace an output that exists")


def _check(options: argparse.Namespace) -> None:
    """Refuses arguments that don't go together, before anything is loaded."""
    if options.input is None:
        given = [flag for flag in _FILE_FLAGS if getattr(options, flag)]
        if given:
            raise InputError(
                f"--{given[0].replace('_', '-')} needs --input", hint="see textmill predict --help"
            )
    elif options.output is None:
        raise InputError("--input needs --output", hint="name the file to write")
    elif options.texts:
        raise InputError("texts are given, and --input too", hint="give one of them")
    if options.input is None:
        check_texts_given(options, "give TEXT arguments, --input FILE, or pipe lines in")
    check_text_arguments(options)


def _predict_texts(options: argparse.Namespace) -> None:
    """Answers arguments or lines, as they come, with JSON lines on standard output."""
    from textmill.prediction_formats import Wanted, json_line, record
    from textmill.predictor import Predictor

    predictor = Predictor.from_bundle(options.bundle, device=options.device, form=options.form)
    _say_form(predictor)
    wanted = Wanted(scores=options.scores, text=options.text)
    for texts in given_texts(options, predictor.text_columns):
        predictions = predictor.predict(texts, batch_size=options.batch_size)
        answers = [
            json_line(record(prediction, text, wanted))
            for prediction, text in zip(predictions, texts, strict=True)
        ]
        sys.stdout.buffer.write("".join(answers).encode())
        sys.stdout.buffer.flush()


def _predict_file(options: argparse.Namespace) -> None:
    from textmill.bundle import read_bundle
    from textmill.prediction_files import find_text_columns, open_files, predict_file
    from textmill.predictor import Predictor

    task = _file_task(options)
    source = open_files(task)
    bundle = read_bundle(options.bundle)
    columns = find_text_columns(task, source, bundle.info.text_columns)
    predictor = Predictor.of(bundle, device=options.device, form=options.form)
    _say_form(predictor)
    with _progress_bar(task) as advance:
        done = predict_file(task, source, predictor, columns, advance)
    _say(f"wrote {done.rows:,} predictions to {task.output}")
    if done.missing:
        _say(f"warning: {done.missing:,} of the rows had no text and got no label")


def _file_task(options: argparse.Namespace) -> FileTask:
    from textmill.data.sources.files import FileFormat
    from textmill.prediction_files import FileTask
    from textmill.prediction_formats import Wanted

    return FileTask(
        input=options.input,
        output=options.output,
        file_format=FileFormat(
            format=options.format,
            encoding=options.encoding,
            delimiter=options.delimiter,
            quoting=not options.no_quoting,
            header=not options.no_header,
        ),
        text_columns=tuple(options.text_column or ()),
        wanted=Wanted(scores=options.scores, text=options.text),
        batch_size=options.batch_size,
        resume=options.resume,
        force=options.force,
    )


@contextmanager
def _progress_bar(task: FileTask) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; otherwise nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from textmill.prediction_files import count_rows

    total = count_rows(task.input, task.file_format)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        rows = bar.add_task("rows", total=total)
        yield lambda count: bar.advance(rows, count)


def _say(message: str) -> None:
    print(f"textmill: {message}", file=sys.stderr)


def _say_form(predictor: Predictor) -> None:
    """Tells of a form that isn't the usual one."""
    if predictor.form != "torch":
        _say(f"scoring with the form {predictor.form} (--form torch for the original)")
