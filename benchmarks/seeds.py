"""Measures over several seeds whether a training loses quality, or a recipe gains any.

    python -m benchmarks.seeds --cola FOLDER --output seeds.json
    python -m benchmarks.seeds --plain "trainer.max_epochs=2 optimizer.lr=1e-4"
    python -m benchmarks.seeds --data movie_reviews --recipe optimizer=layerwise

trains Textmill's default on three data sets, and beside it, with the same seeds, the loop that one
would write by hand, or what recipes make of the default. A seed decides the splits, the initial
head, dropout and the order of batches. The plain loop has the default's numbers, with one rate for
all layers, but for those of ``--plain``. Prints the mean test accuracy with its standard error, and
that of the differences seed by seed. It takes hours: what is in the output file already is not
trained again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from benchmarks.plain_training import Quality, train_plainly
from benchmarks.speed.own import BARE, composed_training
from benchmarks.speed.rounds import FRESH
from textmill.configuration.overrides import override_of
from textmill.safe_write import write_text
from textmill.training import Settings, train

DATA = ("movie_reviews", "cola", "reuters_r8")
DEFAULT, PLAIN = "Textmill", "plain loop"

Qualities = dict[str, list[Quality]]
Rival = tuple[Callable[[Sequence[str]], Quality], Sequence[str]]
_FOUND = TypeAdapter(dict[str, Quality])


def main() -> int:
    """Trains everything, and shows it data set by data set."""
    options = _options()
    kept, rivals = Kept(options.output), _rivals(options.recipe, options.plain)
    for data in options.data:
        overrides = _overrides(data, options.cola)
        found = measure(overrides, rivals, options.seeds, kept)
        Console().print(table(data, found))
    return 0


class Kept:
    """The trainings that have ended, in a file that is written anew behind each.

    Args:
        path: The file; None keeps them for this process alone.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._found: dict[str, Quality] = {}
        if path is not None and path.exists():
            self._found = _FOUND.validate_json(path.read_bytes())

    def once(self, title: str, job: Callable[[], Quality]) -> Quality:
        """What a training found, which happens now unless it is known by its title."""
        if title not in self._found:
            print(title, file=sys.stderr, flush=True)
            self._found[title] = FRESH.alone(job)
            if self._path is not None:
                write_text(self._path, _FOUND.dump_json(self._found, indent=2).decode() + "\n")
        return self._found[title]


def measure(data: Sequence[str], rivals: Mapping[str, Rival], seeds: int, kept: Kept) -> Qualities:
    """The default's quality and that of its rivals, seed by seed, in turns.

    Args:
        data: Overrides that choose the data.
        rivals: By name, what trains with overrides that are to be added to.
        seeds: How many.
        kept: What was found before.
    """
    contestants: dict[str, Rival] = {DEFAULT: (train_with_textmill, []), **rivals}
    found: Qualities = {name: [] for name in contestants}
    for seed in range(1, seeds + 1):
        overrides = [*data, f"seed={seed}"]
        for name, (trainer, more) in contestants.items():
            job = partial(trainer, [*overrides, *more])
            found[name].append(kept.once(f"{' '.join(overrides)}: {name}", job))
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


def _rivals(recipes: Sequence[str], plain: str) -> dict[str, Rival]:
    """What recipes make of the default, or else the plain loop, with what is added to overrides."""
    if recipes:
        return {recipe: (train_with_textmill, recipe.split()) for recipe in recipes}
    return {f"{PLAIN} {plain}".strip(): (train_plainly, plain.split())}


def _overrides(data: str, cola: Path | None) -> list[str]:
    copy = [override_of("data.path", str(cola))] if cola and data == "cola" else []
    return [f"data={data}", *copy]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures quality over several seeds.")
    parser.add_argument("--cola", type=Path, help="folder with CoLA's published files")
    parser.add_argument("--data", nargs="+", default=DATA, choices=DATA, help="data sets (all)")
    parser.add_argument("--seeds", type=int, default=5, help="how many (5)")
    parser.add_argument(
        "--plain", default="", metavar="OVERRIDES", help="other numbers for the plain loop"
    )
    parser.add_argument(
        "--recipe",
        action="append",
        default=[],
        metavar="OVERRIDES",
        help="compare with this in place of the plain loop; may be given again",
    )
    parser.add_argument("--output", type=Path, help="file for the numbers, as JSON; goes on there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
