"""Measures how good the classifiers are that the README and the docs speak of.

    python -m benchmarks.quality --cola FOLDER --output quality.json

trains the default twice, which must agree to the last digit, the eight Reuters topics for two
epochs, and CoLA for three (from its published files; without ``--cola`` from the hub), each through
the real command line, and prints them beside their linear baselines.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

METRICS = ("accuracy", "f1_macro", "mcc")


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished run.

    Args:
        name: What was trained.
        metrics: The run's ``metrics.json``.
        command_seconds: How long the whole command took.
    """

    name: str
    metrics: dict[str, float]
    command_seconds: float


def main() -> int:
    """Runs all trainings; returns 1 if the two equal ones differ."""
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = options.runs or Path(name)
        measured = [
            train(folder, title, overrides) for title, overrides in _trainings(options.cola).items()
        ]
    Console().print(table(measured))
    first, second = (_results(one) for one in measured[:2])
    print("the two default runs are equal" if first == second else "THE DEFAULT RUNS DIFFER")
    if options.output:
        text = json.dumps([asdict(one) for one in measured], indent=2)
        options.output.write_text(text + "\n", encoding="utf-8")
    return int(first != second)


def train(folder: Path, name: str, overrides: list[str]) -> Measured:
    """Trains through the command line, in a runs folder of its own."""
    runs = folder / name.replace(" ", "-")
    started = time.monotonic()
    command = [sys.executable, "-m", "textmill", "train", *overrides, f"runs_dir={runs}"]
    subprocess.run(command, check=True)
    seconds = time.monotonic() - started
    metrics = json.loads((runs / "latest" / "metrics.json").read_text(encoding="utf-8"))
    return Measured(name, metrics, seconds)


def table(measured: list[Measured]) -> Table:
    """The model's metrics on both splits, and the linear baseline's on the test split.

    CoLA's validation split is its published development sets, on which others report.
    """
    shown = Table(title="Quality")
    for column in ("run", "classifier", "split"):
        shown.add_column(column)
    for column in (*METRICS, "training", "command"):
        shown.add_column(column, justify="right")
    for one in measured:
        seconds = one.metrics["train/seconds"], one.metrics["baseline/linear/seconds"]
        command = f"{one.command_seconds:.0f} s"
        shown.add_row(one.name, "model", "validation", *_cells(one, "validation"))
        shown.add_row("", "", "test", *_cells(one, "test"), f"{seconds[0]:.0f} s", command)
        linear = _cells(one, "baseline/linear")
        shown.add_row("", "TF-IDF + linear", "test", *linear, f"{seconds[1]:.1f} s")
    return shown


def _cells(measured: Measured, prefix: str) -> list[str]:
    return [f"{measured.metrics[f'{prefix}/{name}']:.4f}" for name in METRICS]


def _trainings(cola: Path | None) -> dict[str, list[str]]:
    copy = [] if cola is None else [f"data.path={cola}"]
    return {
        "movie_reviews": [],
        "movie_reviews again": [],
        "reuters_r8": ["data=reuters_r8", "trainer.max_epochs=2"],
        "cola": ["data=cola", *copy, "trainer.max_epochs=3", "trainer.monitor=mcc"],
    }


def _results(measured: Measured) -> dict[str, float]:
    """All metrics that don't tell of time."""
    return {
        name: value
        for name, value in measured.metrics.items()
        if not name.endswith(("seconds", "per_second", "bytes"))
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Trains and judges what the docs speak of.")
    parser.add_argument("--cola", type=Path, help="folder with CoLA's published files")
    parser.add_argument("--runs", type=Path, help="folder to keep the runs in")
    parser.add_argument("--output", type=Path, help="file for the numbers, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
