"""``textmill export``: adds to a bundle the forms of its model that are fast on processors.

Only what parsing the arguments needs is imported here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from textmill.arguments import ArgumentParser
from textmill.errors import MachineError
from textmill.forms.choosing import PRECISIONS


def main(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit status.

    Raises:
        InputError: The arguments or the bundle are not right, or an extra is missing.
        MachineError: A form can't be made or written, or hasn't passed its proof.
    """
    options = _parser().parse_args(argv)
    from textmill.forms.exporting import check_installed

    coarse = [precision for precision in options.precision if precision != "float32"]
    check_installed(coarse)
    from textmill.packaging import examples_of, package

    made = package(options.bundle, examples_of(options.bundle, options.texts), coarse)
    for line in made.told:
        print(line)
    if made.refusals:
        raise MachineError.all_of(made.refusals)
    print(f"textmill: {made.bundle.folder} is complete", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="textmill export",
        description="Adds onnx/model.onnx to a bundle, and with --precision int8 "
        "onnx/model.int8.onnx, for ONNX Runtime; with --precision bf16 the first may be computed "
        "by OpenVINO in bfloat16, too. Each form is only added if it proves as good as the "
        "original: the first by equal scores, the others by their labels.",
        epilog="What the labels are compared on: the validation examples of the bundle's run; "
        "where these aren't at hand, the lines of --texts, or else the bundle's golden texts.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle or a run, or 'latest'")
    parser.add_argument(
        "--precision",
        choices=tuple(PRECISIONS.values()),
        action="append",
        default=[],
        help="what there is to be beside float32: int8, bf16; may be given again",
    )
    parser.add_argument(
        "--texts",
        metavar="FILE",
        type=Path,
        help="texts, one a line, that int8 and bf16 are judged by; pairs with a tab between",
    )
    return parser
