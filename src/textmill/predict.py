"""``textmill predict``: labels texts with a bundle.

Texts come as arguments, as lines of standard input, or from a file. Every text gets exactly one
answer, in the order of the texts. Only what parsing the arguments needs is imported here.
"""

from __future__ import annotations

import argparse
import codecs
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from textmill.arguments import ArgumentParser, positive
from textmill.errors import InputError

if TYPE_CHECKING:
    from textmill.prediction_files import FileTask
    from textmill.predictor import Predictor
    from textmill.scoring import Texts

# Bytes of standard input that are answered together, if so many are there.
CHUNK = 2**16

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
    try:
        if options.input is not None:
            _predict_file(options)
        else:
            _predict_texts(options)
    except BrokenPipeError:
        # Whoever read the answers has had enough; Python's own flush at the end must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle or a run, or 'latest'")
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="a text to label")
    parser.add_argument("--pair", metavar="TEXT", help="the second text of the one TEXT's pair")
    parser.add_argument("--scores", action="store_true", help="tell the scores of all labels")
    parser.add_argument("--text", action="store_true", help="repeat the text")
    parser.add_argument(
        "--batch-size", metavar="N", type=positive, default=64, help="texts at a time (64)"
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:NUMBER or mps (auto)"
    )
    parser.add_argument(
        "--encoding", default="utf-8", help="encoding of the file or of standard input (utf-8)"
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
            raise InputError(f"--{given[0].replace('_', '-')} needs --input", hint=_see_help())
    elif options.output is None:
        raise InputError("--input needs --output", hint="name the file to write")
    elif options.texts:
        raise InputError("texts are given, and --input too", hint="give one of them")
    if options.pair is not None and len(options.texts) != 1:
        raise InputError("--pair needs exactly one TEXT", hint=_see_help())
    if options.input is None and not options.texts and _stdin_is_terminal():
        raise InputError(
            "there are no texts", hint="give TEXT arguments, --input FILE, or pipe lines in"
        )
    _check_encoding(options.encoding)


def _see_help() -> str:
    return "see textmill predict --help"


def _stdin_is_terminal() -> bool:
    return sys.stdin is None or sys.stdin.isatty()


def _check_encoding(name: str) -> None:
    try:
        "text".encode(name)  # of an empty text the name is never looked up
    except (LookupError, ValueError) as error:
        raise InputError(f"unknown encoding {name!r}", hint="try utf-8 or latin-1") from error


def _predict_texts(options: argparse.Namespace) -> None:
    """Answers arguments or lines, as they come, with JSON lines on standard output."""
    from textmill.prediction_formats import Wanted, json_line, record
    from textmill.predictor import Predictor

    predictor = Predictor.from_bundle(options.bundle, device=options.device)
    wanted = Wanted(scores=options.scores, text=options.text)
    for texts in _texts(options, predictor):
        predictions = predictor.predict(texts, batch_size=options.batch_size)
        answers = [
            json_line(record(prediction, text, wanted))
            for prediction, text in zip(predictions, texts, strict=True)
        ]
        sys.stdout.buffer.write("".join(answers).encode())
        sys.stdout.buffer.flush()


def _texts(options: argparse.Namespace, predictor: Predictor) -> Iterator[Texts]:
    pairs = len(predictor.text_columns) == 2
    if not options.texts:
        yield from _lines(sys.stdin.buffer, options.encoding, pairs=pairs)
    elif pairs == (options.pair is not None):
        yield [(options.texts[0], options.pair)] if pairs else options.texts
    elif pairs:
        raise InputError(
            f"the bundle classifies pairs of texts ({', '.join(predictor.text_columns)})",
            hint="give the second text with --pair, or use --input or standard input",
        )
    else:
        raise InputError("the bundle classifies single texts", hint="leave --pair out")


def _lines(stream: BinaryIO, encoding: str, *, pairs: bool) -> Iterator[Texts]:
    """The lines that are there by now, and again; so that a slow writer gets answers at once."""
    number = 0
    for lines in _decoded_lines(stream, encoding):
        if pairs:
            yield [_pair(line, number + index) for index, line in enumerate(lines, start=1)]
        else:
            yield lines
        number += len(lines)


def _decoded_lines(stream: BinaryIO, encoding: str) -> Iterator[list[str]]:
    with_mark = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    decoder = codecs.getincrementaldecoder(with_mark)()
    number, rest, more = 0, "", True
    while more:
        chunk = cast("bytes", stream.read1(CHUNK))  # type: ignore[attr-defined]
        more = bool(chunk)
        try:
            *lines, rest = (rest + decoder.decode(chunk, final=not more)).split("\n")
        except UnicodeDecodeError as error:
            line = number + error.object[: error.start].count(b"\n") + 1
            raise InputError(
                f"the text can't be decoded as {encoding}",
                where=f"line {line} of standard input",
                hint="set --encoding",
            ) from error
        if rest and not more:
            lines.append(rest)
        if lines:
            yield [line.removesuffix("\r") for line in lines]
        number += len(lines)


def _pair(line: str, number: int) -> tuple[str, str]:
    first, tab, second = line.partition("\t")
    if not tab or "\t" in second:
        raise InputError(
            "the bundle classifies pairs of texts, and this is not one",
            where=f"line {number} of standard input",
            hint="put exactly one tab between the two texts",
        )
    return first, second


def _predict_file(options: argparse.Namespace) -> None:
    from textmill.bundle import read_bundle
    from textmill.prediction_files import find_text_columns, open_files, predict_file
    from textmill.predictor import Predictor

    task = _file_task(options)
    source = open_files(task)
    bundle = read_bundle(options.bundle)
    columns = find_text_columns(task, source, bundle.info.text_columns)
    predictor = Predictor(bundle, bundle.scorer(options.device))
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
