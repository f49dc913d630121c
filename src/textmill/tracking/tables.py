"""Writes a finished run's tables of examples, from which one learns what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from textmill.data.examples import Examples
from textmill.encoding import LengthPolicy
from textmill.judge import write_predictions
from textmill.runs import Run
from textmill.tracking.replay import validations
from textmill.tracking.samples import followed_table, instructive_table, sample_table
from textmill.tracking.slices import slice_table

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def write_tables(
    run: Run,
    examples: Examples,
    tokenizer: PreTrainedTokenizerFast,
    policy: LengthPolicy,
    *,
    size: int,
    seed: int,
) -> None:
    """Writes the samples, the instructive predictions, the followed ones, and the slices.

    Args:
        run: The run, with its predictions.
        examples: The data it was made from.
        tokenizer: The model's.
        policy: What happens to long texts.
        size: Rows of a table of examples.
        seed: Of the samples.

    Raises:
        MachineError: The disk is full, or the folder can't be written.
    """
    labels = examples.labels
    for split, rows in examples.splits.items():
        sample = sample_table(rows, tokenizer, policy, labels, size=size, seed=seed)
        _write(run, f"samples-{split}", sample)
    for split in examples.splits:
        if split != "train":
            predictions = pq.read_table(run.predictions(split))
            _write(run, f"instructive-{split}", instructive_table(predictions, labels, size=size))
            _write(run, f"slices-{split}", slice_table(predictions, labels))
    course = {step: pq.read_table(path) for step, path in validations(run)}
    _write(run, "followed", followed_table(course, labels, size=size))


def _write(run: Run, name: str, table: pa.Table) -> None:
    write_predictions(run.table(name), table)
