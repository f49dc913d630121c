"""Measures how well likely label errors are found, and what correcting them gains.

    python -m benchmarks.label_errors --output label_errors.json trainer.max_epochs=2

changes the labels of 5% of a data set (seeded), trains on it through the real command line, and
counts how many of the first suspects have a changed label. Then it does what a person does who
looks at the first 500: writes the right labels of those that are wrong into ``suspects.csv``. With
that as ``data.corrections`` it trains again. Both trainings have the same test examples, so that
accuracy can be told on the right labels as well as on the given ones, of which some are wrong.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import hydra
import numpy as np
import pyarrow.parquet as pq

from textmill.configuration.composing import check
from textmill.configuration.files import CONFIG_PACKAGE
from textmill.configuration.schema import TrainConfig
from textmill.recipe import examples_of

PLANTED = 0.05
COUNTS = (20, 50, 100)


def main() -> None:
    """Plants errors, trains, corrects, and trains again."""
    options, overrides = _options().parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.runs or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        data, answers = folder / "planted.jsonl", folder / "answers.csv"
        right = plant(options.data, data, options.seed)
        arguments = ["data=files", f"data.train={data}", "name=label-errors", *overrides]
        before = train(folder / "before", arguments)
        corrected = answer(before / "suspects.csv", answers, right, options.looked_at)
        after = train(folder / "after", [*arguments, f"data.corrections={answers}"])
        numbers = {**found(before, right), "corrected": corrected, **gained(before, after, right)}
    print("\n".join(f"{name:<24}{value:g}" for name, value in numbers.items()))
    if options.output:
        options.output.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


def plant(data_set: str, path: Path, seed: int) -> dict[str, str]:
    """Writes a data set with some labels changed; returns the right labels of these, by place."""
    with hydra.initialize_config_module(CONFIG_PACKAGE, version_base="1.3"):
        composed = hydra.compose("train", overrides=[f"data={data_set}"])
    config = check(composed, TrainConfig, ()).config
    examples = examples_of(config.data, config.seed)
    generator = np.random.default_rng(seed)
    names, right = examples.labels.names, {}
    rows = [row for split in examples.splits.values() for row in split]
    with path.open("w", encoding="utf-8") as file:
        for line, row in enumerate(rows, start=1):
            label = row["label"]
            if generator.random() < PLANTED:
                right[f"{path.name}:{line}"] = names[label]
                label = (label + int(generator.integers(1, len(names)))) % len(names)
            file.write(json.dumps({"text": row["text"], "label": names[label]}) + "\n")
    return right


def train(runs: Path, arguments: list[str]) -> Path:
    """Trains through the command line; returns the run's folder."""
    command = [sys.executable, "-m", "textmill", "train", *arguments, f"runs_dir={runs}"]
    subprocess.run(command, check=True)
    return runs / "latest"


def found(run: Path, right: Mapping[str, str]) -> dict[str, float]:
    """How many of the first suspects, and of all, have a changed label."""
    suspects = pq.read_table(run / "tables" / "suspects.parquet").to_pylist()
    hits = [row["place"] in right for row in suspects]
    return {
        "planted": len(right),
        **{f"precision_at_{count}": sum(hits[:count]) / count for count in COUNTS},
        f"planted_in_{len(hits)}": sum(hits),
    }


def answer(suspects: Path, answers: Path, right: Mapping[str, str], looked_at: int) -> int:
    """Corrects the first suspects that are wrong, as a person would; returns how many."""
    with suspects.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:looked_at]:
        row["corrected"] = right.get(row["place"], "")
    with answers.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return sum(row["corrected"] != "" for row in rows)


def gained(before: Path, after: Path, right: Mapping[str, str]) -> dict[str, float]:
    """Both runs' accuracy on the test split by its right labels, and by the given ones."""
    rows = {"before": _test(before), "after": _test(after)}
    given = {place: row["label"] for place, row in rows["before"].items()}
    if rows["after"].keys() != given.keys():
        raise RuntimeError("the corrections have changed which examples the test split has")
    truths = {"right": {**given, **right}, "given": given}
    return {
        f"{when}/accuracy_{kind}": float(
            np.mean([row["prediction"] == labels[place] for place, row in predicted.items()])
        )
        for when, predicted in rows.items()
        for kind, labels in truths.items()
    }


def _test(run: Path) -> dict[str, dict[str, str]]:
    table = pq.read_table(run / "predictions" / "test.parquet")
    rows = table.select(["place", "label", "prediction"]).to_pylist()
    return {row["place"]: row for row in rows}


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Plants label errors, finds and corrects them.",
        epilog="Further arguments go to both trainings.",
    )
    parser.add_argument("--data", default="movie_reviews", help="data set, one label a text")
    parser.add_argument("--seed", type=int, default=0, help="of the changed labels")
    parser.add_argument("--looked-at", type=int, default=500, help="suspects that are corrected")
    parser.add_argument("--runs", type=Path, help="folder to keep the runs in")
    parser.add_argument("--output", type=Path, help="file for the numbers, as JSON")
    return parser


if __name__ == "__main__":
    main()
