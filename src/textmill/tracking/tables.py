"""Writes a finished run's tables of examples, from which one learns what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from textmill.data.examples import Examples
from textmill.encoding import LengthPolicy
from textmill.judge import write_table
from textmill.runs import Run
from textmill.tracking.replay import validations
from textmill.tracking.samples import followed_table, instructive_table, sample_table
from textmill.tracking.slices import slice_table
from textmill.tracking.suspects import FirstPassPredictions, suspect_table, write_suspects

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
    """Writes the samples, the instructive and the followed predictions, the slices, the suspects.

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
        write_table(run.table(f"samples-{split}"), sample)
    judged = {
        split: pq.read_table(run.predictions(split))
        for split in examples.splits
        if split != "train"
    }
    for split, predictions in judged.items():
        instructive = instructive_table(predictions, labels, size=size)
        write_table(run.table(f"instructive-{split}"), instructive)
        write_table(run.table(f"slices-{split}"), slice_table(predictions, labels))
    suspects = suspect_table({"train": _first_pass(run, examples), **judged}, labels)
    write_table(run.table("suspects"), suspects)
    write_suspects(run.suspects, suspects)
    write_table(run.table("followed"), followed_table(_Course(run), labels, size=size))


def _first_pass(run: Run, examples: Examples) -> FirstPassPredictions:
    """The predictions on the training split of a model that had not learned from it yet."""
    first_pass = np.load(run.first_pass, mmap_mode="r")
    return FirstPassPredictions(examples.splits["train"], first_pass, examples.labels)


class _Course(Mapping[int, pa.Table]):
    """From optimizer step to the predictions of that validation, read as they are asked for."""

    def __init__(self, run: Run) -> None:
        self._paths = dict(validations(run))

    def __getitem__(self, step: int) -> pa.Table:
        return pq.read_table(self._paths[step])

    def __iter__(self) -> Iterator[int]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)
