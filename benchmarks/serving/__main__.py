"""The command: measures, shows, and keeps what it found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.serving.comparing import Plan, measure, miniature
from benchmarks.serving.graph import FILES
from benchmarks.serving.results import read_results, write_results
from benchmarks.serving.tables import tables_of
from benchmarks.tables import as_markdown, as_rich


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, or shows what was measured before; returns 1 if any answer was not right.

    Args:
        arguments: Of the command line; None takes the process's own.
    """
    options = _parser().parse_args(arguments)
    if options.table:
        results = read_results(options.table)
        print(as_markdown(tables_of(results)))
    else:
        results = measure(miniature(_plan(options)) if options.quick else _plan(options))
        if options.output:
            write_results(options.output, results)
        Console(width=160).print(*map(as_rich, tables_of(results)), sep="\n")
    problems = results.problems()
    for name, count in problems.items():
        print(f"{name}: {count:,} answers were not right", file=sys.stderr)
    return 1 if problems else 0


def _plan(options: argparse.Namespace) -> Plan:
    return Plan(
        options.bundle.resolve(),
        tuple(options.forms),
        options.texts,
        connections=tuple(options.connections),
        seconds=options.seconds,
        rounds=options.rounds,
    )


def _parser() -> argparse.ArgumentParser:
    plan = Plan(Path())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description="Measures how fast textmill serve answers, beside what users would pick.",
    )
    parser.add_argument(
        "bundle", type=Path, nargs="?", default=Path("runs/latest/model"), help="with its ONNX form"
    )
    parser.add_argument(
        "--texts", type=Path, metavar="FILE", help="texts, one a line; else film reviews"
    )
    parser.add_argument(
        "--forms", nargs="+", choices=tuple(FILES), default=(), help="all that the bundle has"
    )
    parser.add_argument(
        "--connections", type=int, nargs="+", default=plan.connections, help="(1 8 64)"
    )
    parser.add_argument(
        "--seconds", type=float, default=plan.seconds, help=f"of each turn ({plan.seconds:g})"
    )
    parser.add_argument(
        "--rounds", type=int, default=plan.rounds, help=f"turns of each ({plan.rounds})"
    )
    parser.add_argument(
        "--quick", action="store_true", help="everything in miniature, to see that it runs"
    )
    parser.add_argument("--output", type=Path, help="file for all that was measured, as JSON")
    parser.add_argument(
        "--table", type=Path, metavar="JSON", help="measure nothing; show this as Markdown"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
