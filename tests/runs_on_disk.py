"""Folders of runs as training leaves them, written in a moment and without training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from tests.tiny import SENTENCES
from textmill.data.checks import Problem
from textmill.data.examples import Examples
from textmill.environment import describe_environment
from textmill.judge import (
    Comparison,
    Contender,
    Judged,
    compare,
    flat_metrics,
    judge,
    write_table,
)
from textmill.labels import Labels
from textmill.runs import Run, create_run, write_json
from textmill.safe_write import write_text
from textmill.tracking.samples import followed_table, instructive_table
from textmill.tracking.slices import slice_table
from textmill.tracking.suspects import suspect_table, write_suspects

LABELS = Labels(("bad", "good"))
TAGS = Labels(("plot", "music", "cast"), multi_label=True)
STEPS = (20, 40, 60)
SIZES = {"train": 80, "validation": 60, "test": 60}
PLACE = "a_file_with_a_long_name_and_nothing_to_break_the_line_at.csv:7"
PROBLEM = Problem("duplicate", "train", 2, "a film", PLACE, "keep")


def write_run(
    runs_dir: Path,
    *,
    name: str = "demo",
    labels: Labels = LABELS,
    texts: Sequence[str] = SENTENCES,
    sizes: Mapping[str, int] = SIZES,
    strength: float = 0.8,
    lr: float = 1e-4,
    seed: int = 0,
    tables: bool = True,
) -> Run:
    """Writes a finished run; runs of the same labels, texts and sizes were on the same data.

    Args:
        runs_dir: Where runs are.
        name: The run's name.
        labels: The label set.
        texts: What the splits' texts begin with, in turn.
        sizes: Examples in each split; without ``test``, the run is judged on validation.
        strength: How good the model is: 0 is guessing.
        lr: Something for configurations to differ in.
        seed: Of the model's scores.
        tables: Whether there are tables of examples, and what was recorded during training.
    """
    config = {
        "data": {"name": "reviews", "text": "text", "label": "label", "max_length": 64},
        "model": {"name": "tiny"},
        "optimizer": {"lr": lr},
        "trainer": {"max_epochs": 3, "batch_size": 4, "monitor": "f1_macro"},
        "seed": seed,
        "name": name,
        "runs_dir": str(runs_dir),
    }
    run = create_run(runs_dir, name, config, [f"optimizer.lr={lr}"])
    splits = {split: make_split(split, size, labels, texts) for split, size in sizes.items()}
    judged = {
        split: judge(Guesser(splits[split], labels, strength, seed), splits[split], labels)
        for split in splits
        if split != "train"
    }
    final = "test" if "test" in judged else "validation"
    comparison = _compare(judged[final], splits[final], labels, seed)
    _write_record(run, splits, labels, comparison, final, lr, seed)
    _write_results(run, judged, comparison, final)
    write_history(run, judged["validation"])
    if tables:
        _write_training(run, lr, seed)
        _write_tables(run, splits, judged, labels)
    run.close("finished")
    return run


class Guesser:
    """A classifier that knows the labels of its split, and lets them show more or less clearly."""

    def __init__(self, split: Dataset, labels: Labels, strength: float, seed: int) -> None:
        members = np.zeros((len(split), len(labels)))
        for row, ids in enumerate(split["label"]):
            members[row, ids] = 1
        noise = np.random.default_rng(seed).normal(size=members.shape)
        logits = noise + strength * (2 * members - 1)
        exponents = np.exp(logits)
        shares = exponents / (1 + exponents)
        if not labels.multi_label:
            shares = exponents / exponents.sum(axis=1, keepdims=True)
        self._shares = shares.astype(np.float32)

    def probabilities(self, texts: Sequence[Any], /) -> np.ndarray:
        return self._shares[: len(texts)]


def make_split(split: str, size: int, labels: Labels, texts: Sequence[str]) -> Dataset:
    """Labelled texts, all different."""
    generator = np.random.default_rng(len(split))
    ids: list[Any] = generator.integers(len(labels), size=size).tolist()
    if labels.multi_label:
        members = generator.random((size, len(labels))) < 0.4
        ids = [np.flatnonzero(row).tolist() for row in members]
    return Dataset.from_dict(
        {
            "text": [
                " ".join([texts[row % len(texts)], split, *(["again"] * (row % 7)), str(row)])
                for row in range(size)
            ],
            "label": ids,
            "place": [f"{split}.csv:{row + 2}" for row in range(size)],
        }
    )


def write_history(run: Run, judged: Judged) -> None:
    """One line a validation, the metrics rising to the judged ones."""
    lines = [
        {"step": step, **{name: value * share for name, value in judged.metrics.items()}}
        for step, share in zip(STEPS, (0.8, 0.9, 1.0), strict=True)
    ]
    write_text(run.history, "".join(json.dumps(line) + "\n" for line in lines))


def _compare(judged: Judged, split: Dataset, labels: Labels, seed: int) -> Comparison:
    model = Contender("model", "the model", judged, 12.5)
    baselines = [
        Contender(name, title, judge(Guesser(split, labels, strength, 99), split, labels), 0.5)
        for name, title, strength in (
            ("majority", "the majority class", 0.0),
            ("linear", "the linear baseline", 0.3),
        )
    ]
    return compare(model, baselines, seed=seed)


def _write_record(
    run: Run,
    splits: Mapping[str, Dataset],
    labels: Labels,
    comparison: Comparison,
    final: str,
    lr: float,
    seed: int,
) -> None:
    f1 = comparison.contenders[0].judged.metrics["f1_macro"]
    made: dict[str, dict[str, object]] = {
        "validation": {
            "method": "stratified",
            "source": "train",
            "share": 0.1,
            "seed": seed,
            "count": len(splits["validation"]),
        }
    }
    fingerprints = {split: f"{len(rows):064x}" for split, rows in splits.items()}
    run.update_manifest(
        identity=hashlib.sha256(str(run.folder).encode()).hexdigest()[:8],
        command=f"textmill train data=reviews optimizer.lr={lr} seed={seed}",
        seed=seed,
        data=Examples(dict(splits), labels, [PROBLEM], made, fingerprints).as_record(),
        share_cut=0.05,
        judged=final,
        results=[
            f"On the {final} split: f1_macro {f1:.4f}.",
            *(verdict.sentence for verdict in comparison.verdicts),
        ],
        **describe_environment(),
    )


def _write_results(
    run: Run, judged: Mapping[str, Judged], comparison: Comparison, final: str
) -> None:
    for split, one in judged.items():
        write_table(run.predictions(split), with_lengths(one.predictions))
    write_json(
        run.metrics,
        {
            **{f"validation/{name}": value for name, value in judged["validation"].metrics.items()},
            **flat_metrics(final, comparison),
            "train/steps": STEPS[-1],
            "train/best_step": STEPS[-1],
            "train/seconds": 12.5,
            "train/examples_per_second": 80.0,
            "train/peak_memory_bytes": 512 * 2**20,
        },
    )


def with_lengths(predictions: pa.Table) -> pa.Table:
    """The table with how many tokens each text has, whether it was cut, and a slice."""
    if "tokens" in predictions.column_names:
        return predictions
    lengths = [2 + len(text.split()) for text in predictions["text"].to_pylist()]
    columns = {
        "tokens": pa.array(lengths, pa.int32()),
        "cut": pa.array([length > 14 for length in lengths]),
        "slice/source": pa.array([("press", "public")[row % 2] for row in range(len(lengths))]),
    }
    for name, column in columns.items():
        predictions = predictions.append_column(name, column)
    return predictions


def _write_training(run: Run, lr: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    lines = [
        {
            "step": step,
            "epoch": step / 20,
            "loss": 0.7 * 0.97**step + 0.05 * generator.random(),
            "gradient_norm": 1 + generator.random(),
            "lr/encoder": lr * (1 - step / 62),
            "lr/head": 2 * lr * (1 - step / 62),
            "examples_per_second": 80.0,
            "tokens_per_second": 1200.0,
            "padding_share": 0.1,
            "seconds/data": 0.001,
            "seconds/forward": 0.02,
            "seconds/backward": 0.03,
            "seconds/optimizer": 0.005,
            "peak_memory_bytes": 512 * 2**20,
        }
        for step in range(2, 61, 2)
    ]
    write_text(run.training, "".join(json.dumps(line) + "\n" for line in lines))


def _write_tables(
    run: Run, splits: Mapping[str, Dataset], judged: Mapping[str, Judged], labels: Labels
) -> None:
    for split, rows in splits.items():
        _write_table(run, f"samples-{split}", _samples(rows, labels))
    for split, one in judged.items():
        predictions = with_lengths(one.predictions)
        _write_table(run, f"instructive-{split}", instructive_table(predictions, labels, size=12))
        _write_table(run, f"slices-{split}", slice_table(predictions, labels))
    validation = with_lengths(judged["validation"].predictions)
    for step in STEPS:
        write_table(run.validation_predictions(step), validation)
    followed = followed_table(dict.fromkeys(STEPS, validation), labels, size=4)
    _write_table(run, "followed", followed)
    suspects = suspect_table({"validation": validation}, labels)
    _write_table(run, "suspects", suspects)
    write_suspects(run.suspects, suspects)


def _write_table(run: Run, name: str, table: pa.Table) -> None:
    run.table(name).parent.mkdir(exist_ok=True)
    pq.write_table(table, run.table(name))


def _samples(rows: Dataset, labels: Labels) -> pa.Table:
    shown = rows.select(range(10)).to_dict()
    names = [
        [labels.names[one] for one in ids] if labels.multi_label else labels.names[ids]
        for ids in shown["label"]
    ]
    pieces = [["[CLS]", *text.split(), "[SEP]"] for text in shown["text"]]
    return pa.table(
        {
            "text": shown["text"],
            "label": names,
            "tokens": pieces,
            "cut": [len(piece) > 14 for piece in pieces],
        }
    )
