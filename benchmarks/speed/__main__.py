"""The command: measures, shows, and keeps what it found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.speed.parts import PARTS, measure
from benchmarks.speed.plan import Plan, default_plan, miniature, with_steps
from benchmarks.speed.plot import write_charts
from benchmarks.speed.results import read_results
from benchmarks.speed.tables import tables_of
from benchmarks.tables import as_markdown, as_rich


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is asked for, or shows what was measured before.

    Args:
        arguments: Of the command line; None takes the process's own.
    """
    options = _parser().parse_args(arguments)
    if options.table:
        results = read_results(options.table)
        print(as_markdown(tables_of(results)))
    else:
        results = measure(
            _plan(options), options.only, output=options.output, bundle=options.bundle
        )
        Console().print(*map(as_rich, tables_of(results)), sep="\n")
    if options.plot:
        write_charts(options.plot, results)
    return 0


def _plan(options: argparse.Namespace) -> Plan:
    plan = default_plan(options.cola)
    plan = replace(plan, rounds=options.rounds, growth=tuple(options.rows))
    plan = plan if options.steps is None else with_steps(plan, options.steps)
    return miniature(plan) if options.quick else plan


def _parser() -> argparse.ArgumentParser:
    plan = default_plan(None)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description="Measures how fast Textmill trains and scores, beside its peers.",
    )
    parser.add_argument(
        "--cola", type=Path, metavar="FOLDER", help="CoLA's published files; else film reviews"
    )
    parser.add_argument(
        "--bundle", type=Path, help="a trained classifier to score with; else one is trained"
    )
    parser.add_argument(
        "--only", type=_parts, default=PARTS, metavar="PART,...", help=f"of {','.join(PARTS)}"
    )
    parser.add_argument(
        "--rounds", type=int, default=plan.rounds, help=f"turns of each ({plan.rounds})"
    )
    parser.add_argument(
        "--steps", type=int, help="timed steps on short texts; long ones have a third of them"
    )
    rows = " ".join(map(str, plan.growth))
    parser.add_argument(
        "--rows", type=int, nargs="+", default=plan.growth, help=f"data sets of growth ({rows})"
    )
    parser.add_argument(
        "--quick", action="store_true", help="everything in miniature, to see that it runs"
    )
    parser.add_argument("--output", type=Path, help="file for all that was measured, as JSON")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="folder for the charts, as SVG")
    parser.add_argument(
        "--table", type=Path, metavar="JSON", help="measure nothing; show this as Markdown"
    )
    return parser


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return parts


if __name__ == "__main__":
    sys.exit(main())
