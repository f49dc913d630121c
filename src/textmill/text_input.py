"""Texts from a command line: as arguments, or as lines of standard input.

Only the standard library is imported here, so that help is instant.
"""

from __future__ import annotations

import argparse
import codecs
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, cast

from textmill.errors import InputError

if TYPE_CHECKING:
    from textmill.scoring import Texts

# Bytes of standard input that are answered together, if so many are there.
CHUNK = 2**16


def add_text_arguments(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Adds the arguments BUNDLE and TEXT, and the flags that go with them.

    Args:
        parser: The verb's parser.
        purpose: What a TEXT is for, as its help tells it.
    """
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle or a run, or 'latest'")
    parser.add_argument("texts", metavar="TEXT", nargs="*", help=purpose)
    parser.add_argument("--pair", metavar="TEXT", help="the second text of the one TEXT's pair")
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:NUMBER or mps (auto)"
    )
    parser.add_argument(
        "--encoding", default="utf-8", help="encoding of the file or of standard input (utf-8)"
    )


def check_text_arguments(options: argparse.Namespace) -> None:
    """Refuses what doesn't go together, or isn't known, before anything is loaded.

    Raises:
        InputError: Something was refused.
    """
    if options.pair is not None and len(options.texts) != 1:
        raise InputError("--pair needs exactly one TEXT", hint="give the first text of the pair")
    try:
        "text".encode(options.encoding)  # of an empty text the name is never looked up
    except (LookupError, ValueError) as error:
        raise InputError(
            f"unknown encoding {options.encoding!r}", hint="try utf-8 or latin-1"
        ) from error


def check_texts_given(options: argparse.Namespace, hint: str) -> None:
    """Makes sure that there are arguments, or that something is piped in.

    Raises:
        InputError: There is nothing.
    """
    if not options.texts and (sys.stdin is None or sys.stdin.isatty()):
        raise InputError("there are no texts", hint=hint)


def given_texts(options: argparse.Namespace, text_columns: Sequence[str]) -> Iterator[Texts]:
    """The texts of the arguments; without any, those of standard input as they come.

    Args:
        options: With what `add_text_arguments` adds.
        text_columns: The columns that held the bundle's texts in training: two for pairs.

    Raises:
        InputError: The bundle takes pairs and these are none, or the other way round; or a line
            can't be decoded.
    """
    pairs = len(text_columns) == 2
    if not options.texts:
        yield from _lines(sys.stdin.buffer, options.encoding, pairs=pairs)
    elif pairs == (options.pair is not None):
        yield [(options.texts[0], options.pair)] if pairs else options.texts
    elif pairs:
        raise InputError(
            f"the bundle classifies pairs of texts ({', '.join(text_columns)})",
            hint="give the second text with --pair, or use a file or standard input",
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
