"""``textmill explain``: shows which words a label comes from.

Texts come as arguments or as lines of standard input. Only what parsing the arguments needs is
imported here.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from textmill.arguments import ArgumentParser
from textmill.errors import InputError, MachineError
from textmill.forms.choosing import FORM_CHOICES, FormChoice
from textmill.text_input import (
    add_text_arguments,
    check_text_arguments,
    check_texts_given,
    given_texts,
)

if TYPE_CHECKING:
    from textmill.explaining.record import Attribution
    from textmill.predictor import Predictor
    from textmill.scoring import Texts


def main(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit status.

    Raises:
        InputError: The arguments, the bundle or a text are not right, or the bundle's decisions
            can't be explained.
        MachineError: The page can't be written.
    """
    options = _parser().parse_intermixed_args(argv)
    check_texts_given(options, "give TEXT arguments, or pipe lines in")
    check_text_arguments(options)
    if options.html is not None:
        _check_page(options.html)
    _explain(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="textmill explain",
        description="Shows what each word of a text adds to the score of its label, or takes from "
        "it, for TEXT arguments or the lines of standard input.",
        epilog="Texts of a pair: TEXT --pair TEXT, or lines with a tab between the two. The score "
        "is the label's log-odds; by integrated gradients, in torch, the words' numbers add up to "
        "its difference from that of the same text with every word hidden. Other forms of the "
        "model have no gradients: there, each number is what the score loses when the word is "
        "hidden (occlusion).",
    )
    add_text_arguments(parser, "a text to explain")
    parser.add_argument("--label", help="the label to explain (the predicted one)")
    parser.add_argument(
        "--form",
        choices=FORM_CHOICES,
        default="auto",
        help="form of the model (torch where it is installed)",
    )
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a page, too")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each text")
    return parser


def _check_page(path: Path) -> None:
    """Refuses a place that no page can be written to, before the model is loaded."""
    folder = path.absolute().parent
    if path.is_dir():
        raise InputError("the page is a folder", where=str(path), hint="name a file in it")
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder), hint="make it, or name another page")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MachineError(
            "the folder can't be written", where=str(folder), hint="choose another folder"
        )


def _explain(options: argparse.Namespace) -> None:
    from textmill.attribution import check_label
    from textmill.predictor import Predictor

    predictor = Predictor.from_bundle(
        options.bundle, device=options.device, form=_form(options.form)
    )
    if options.label is not None:
        check_label(predictor, options.label)
    attributions = _attributions(options, predictor)
    shown = _shown(attributions, json=options.json)
    if options.html is None:
        for _ in shown:
            pass
    else:
        _write_page(options.html, list(shown), predictor)


def _form(choice: FormChoice) -> FormChoice:
    """The form as chosen; torch is the one with gradients."""
    return "torch" if choice == "auto" and find_spec("torch") is not None else choice


def _attributions(options: argparse.Namespace, predictor: Predictor) -> Iterator[Attribution]:
    """One after the other, as the texts come."""
    from textmill.attribution import attribute

    number = 0
    for texts in given_texts(options, predictor.text_columns):
        _check_texts(texts, number, lines=not options.texts)
        number += len(texts)
        for index in range(len(texts)):
            yield from attribute(predictor, texts[index : index + 1], options.label)


def _check_texts(texts: Texts, number: int, *, lines: bool) -> None:
    empty = [place for place, text in enumerate(texts, number + 1) if not "".join(text).strip()]
    if empty:
        raise InputError.all_of(
            InputError(
                "there is nothing to explain in an empty text",
                where=f"line {place} of standard input" if lines else f"text {place}",
                hint="leave it out",
            )
            for place in empty
        )


def _shown(attributions: Iterable[Attribution], *, json: bool) -> Iterator[Attribution]:
    """Prints attributions and passes them on."""
    if json:
        from textmill.prediction_formats import json_line

        for attribution in attributions:
            sys.stdout.buffer.write(json_line(attribution.as_record()).encode())
            sys.stdout.buffer.flush()
            yield attribution
    else:
        from textmill.report.attribution_text import print_attribution

        for attribution in attributions:
            print_attribution(attribution)
            yield attribution


def _write_page(path: Path, attributions: Sequence[Attribution], predictor: Predictor) -> None:
    from textmill.report.attributions import explanation_page
    from textmill.safe_write import write_text

    write_text(path, explanation_page(attributions, str(predictor.bundle.folder)))
    print(f"textmill: wrote {path}", file=sys.stderr)
