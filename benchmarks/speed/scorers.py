"""Those who score: transformers' pipeline, and Textmill's predictor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import pipeline

import textmill
from benchmarks.speed.job import ScoringJob
from benchmarks.speed.results import Scored
from textmill.environment import peak_memory
from textmill.forms.choosing import FormChoice

WARM_UP = 16
BATCH = 32

Label = Callable[[Sequence[str]], list[str]]


def float32_labels(bundle: Path, texts: Sequence[str]) -> list[str]:
    """The labels to agree with."""
    return _pipeline(bundle)(texts)


def score_with_pipeline(job: ScoringJob) -> Scored:
    """Transformers' pipeline in float32, many texts in batches of 32."""
    return _measure(_pipeline(job.bundle), job)


def score_with_form(job: ScoringJob, form: FormChoice) -> Scored:
    """Textmill's Python API.

    Args:
        job: What is scored.
        form: Of the classifier; ``auto`` is what the API takes without any settings.
    """
    predictor = textmill.load(job.bundle, form=form)

    def label(texts: Sequence[str]) -> list[str]:
        return [str(found.label) for found in predictor.predict(texts)]

    return _measure(label, job)


def _pipeline(bundle: Path) -> Label:
    device = 0 if torch.cuda.is_available() else -1
    classify = pipeline("text-classification", model=str(bundle), device=device, truncation=True)

    def label(texts: Sequence[str]) -> list[str]:
        return [found["label"] for found in classify(list(texts), batch_size=BATCH)]

    return label


def _measure(label: Label, job: ScoringJob) -> Scored:
    """Times texts one by one, then all at once."""
    label(job.texts[:WARM_UP])
    alone = [_timed(label, [text])[0] for text in job.texts[: WARM_UP + job.alone]]
    seconds, labels = _timed(label, job.texts)
    agreeing = sum(found == right for found, right in zip(labels, job.labels, strict=True))
    return Scored(
        one_text_seconds=statistics.median(alone[WARM_UP:]),
        texts_per_second=len(labels) / seconds,
        peak_bytes=peak_memory(),
        agreement=agreeing / len(labels),
    )


def _timed(label: Label, texts: Sequence[str]) -> tuple[float, list[str]]:
    start = time.perf_counter()
    labels = label(texts)
    return time.perf_counter() - start, labels
