"""Made-up rows in any number: a training on them, and how fast they are tokenized."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset
from transformers import AutoTokenizer

from benchmarks.speed.job import SEED, Job
from benchmarks.speed.material import make_job
from benchmarks.speed.plan import Plan, Texts
from benchmarks.speed.results import Tokenized
from benchmarks.synthetic import write_rows
from textmill.configuration.overrides import override_of
from textmill.data.tokens import tokenize_split
from textmill.encoding import LengthPolicy

SAMPLE = 5_000
TOKENIZED_AT_ONCE = 10_000


def make_job_on_rows(plan: Plan, folder: Path) -> Job:
    """A training on a few rows, with an encoder for their labels.

    Args:
        plan: Says how long is trained, as on its first texts.
        folder: Where everything is written.
    """
    with tempfile.TemporaryDirectory() as name:
        # Of another seed than the rows of `write_file`, so that these don't hold the validation's.
        rows = write_file(Path(name) / "sample.parquet", SAMPLE, seed=SEED + 1)
        first = plan.texts[0]
        texts = Texts(
            "growth",
            ("data=files", override_of("data.train", str(rows)), "data.name=synthetic"),
            first.max_length,
            first.warm_up,
            first.steps,
        )
        return make_job(plan, texts, folder)


def write_file(path: Path, rows: int, seed: int = SEED) -> Path:
    """Writes rows as Parquet; returns the path."""
    write_rows(path, rows, seed=seed)
    return path


def compare_tokenizing(job: Job, rows: int) -> Tokenized:
    """Tokenizes the same rows in both ways, in texts a second.

    Args:
        job: Has the tokenizer.
        rows: How many.
    """
    with tempfile.TemporaryDirectory(dir=job.folder) as name:
        folder = Path(name)
        table = pq.read_table(write_file(folder / "rows.parquet", rows))
        examples = Dataset(table)
        labels = ClassLabel(names=sorted(set(examples["label"])))
        examples = examples.cast_column("label", labels)
        tokenizer = AutoTokenizer.from_pretrained(job.material.encoder)
        policy = LengthPolicy(job.facts.max_length)
        library = tokenizer.backend_tokenizer
        library.enable_truncation(policy.max_length)
        texts = table["text"].to_pylist()

        def by_textmill() -> None:
            tokenize_split(
                examples, tokenizer, policy, fingerprint=uuid4().hex, cache=folder / "cache"
            )

        def by_library() -> None:
            for start in range(0, rows, TOKENIZED_AT_ONCE):
                library.encode_batch(texts[start : start + TOKENIZED_AT_ONCE])

        library.encode_batch(texts[:TOKENIZED_AT_ONCE])
        return Tokenized(textmill=rows / _seconds(by_textmill), library=rows / _seconds(by_library))


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
