"""Measures over several seeds whether a training loses quality, or a recipe gains any.

    python -m benchmarks.seeds --cola FOLDER --output seeds.json
    python -m benchmarks.seeds --data movie_reviews --recipe optimizer=layerwise

trains Textmill's default on three data sets, and beside it, with the same seeds, the loop that one
would write by hand, or what recipes make of the default. A seed decides the splits, the initial
head, dropout and the order of batches. Prints the mean test accuracy with its standard error, and
that of the differences seed by seed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.plain_training import Quality, train_plainly
from benchmarks.speed.own import BARE, composed_training
from benchmarks.speed.rounds import FRESH
from textmill.configuration.overrides import override_of
from textmill.training import Settings, train

DATA = ("movie_reviews", "cola", "reuters_r8")
DEFAULT, PLAIN = "Textmill", "plain loop"

Qualities = dict[str, list[Quality]]


def main() -> int:
    """Trains everything, and shows it data set by data set."""
    options = _options()
    found: dict[str, Qualities] = {}
    for data in options.data:
        found[data] = measure(_overrides(data, options.cola), options.recipe, options.seeds)
        Console().print(table(data, found[data]))
        if options.output:
            values = {
                name: {title: list(map(asdict, each)) for title, each in qualities.items()}
                for name, qualities in found.items()
            }
            options.output.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(data: Sequence[str], recipes: Sequence[str], seeds: int) -> Qualities:
    """The default's quality and that of its rivals, seed by seed, in turns.

    Args:
        data: Overrides that choose the data.
        recipes: Each a further override, or several with spaces between; without any, the rival is
            the plain loop.
        seeds: How many.
    """
    rivals = {recipe: recipe.split() for recipe in recipes}
    found: Qualities = {name: [] for name in (DEFAULT, *(rivals or [PLAIN]))}
    for seed in range(1, seeds + 1):
        overrides = [*data, f"seed={seed}"]
        jobs = {DEFAULT: partial(train_with_textmill, overrides)}
        jobs |= {
            name: partial(train_with_textmill, [*overrides, *more]) for name, more in rivals.items()
        }
        jobs |= {} if rivals else {PLAIN: partial(train_plainly, overrides)}
        for name, job in jobs.items():
            print(f"{' '.join(overrides)}: {name}", file=sys.stderr, flush=True)
            found[name].append(FRESH.alone(job))
    return found


def train_with_textmill(overrides: Sequence[str]) -> Quality:
    """Trains a run and takes its test accuracy."""
    with tempfile.TemporaryDirectory() as runs:
        run = train(
            composed_training([*overrides, *BARE, override_of("runs_dir", runs)]),
            Settings(told=False),
        )
        metrics = json.loads(run.metrics.read_text(encoding="utf-8"))
    return Quality(metrics["test/accuracy"], metrics["train/seconds"])


def table(data: str, qualities: Mapping[str, Sequence[Quality]]) -> Table:
    """Means over the seeds, with standard errors, and differences from the first row's."""
    shown = Table(title=data)
    for column in ("trained by", "test accuracy", "difference", "seconds"):
        shown.add_column(column, justify="left" if column == "trained by" else "right")
    first = [one.accuracy for one in qualities[DEFAULT]]
    for name, each in qualities.items():
        accuracies = [one.accuracy for one in each]
        differences = [own - other for own, other in zip(accuracies, first, strict=True)]
        shown.add_row(
            name,
            _mean(accuracies),
            "" if name == DEFAULT else _mean(differences, sign="+"),
            f"{statistics.mean(one.seconds for one in each):.0f}",
        )
    return shown


def _mean(values: Sequence[float], sign: str = "") -> str:
    """A mean with its standard error."""
    if len(values) < 2:
        return f"{values[0]:{sign}.4f}"
    error = statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.mean(values):{sign}.4f} ± {error:.4f}"


def _overrides(data: str, cola: Path | None) -> list[str]:
    copy = [override_of("data.path", str(cola))] if cola and data == "cola" else []
    return [f"data={data}", *copy]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures quality over several seeds.")
    parser.add_argument("--cola", type=Path, help="folder with CoLA's published files")
    parser.add_argument("--data", nargs="+", default=DATA, choices=DATA, help="data sets (all)")
    parser.add_argument("--seeds", type=int, default=5, help="how many (5)")
    parser.add_argument(
        "--recipe",
        action="append",
        default=[],
        metavar="OVERRIDES",
        help="compare with this in place of the plain loop; may be given again",
    )
    parser.add_argument("--output", type=Path, help="file for the numbers, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
