"""What is sent to the process of a training: files and numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.results import Facts

SEED = 0


@dataclass(frozen=True, slots=True)
class Material:
    """What a training starts from.

    Args:
        encoder: A folder in the Hugging Face layout, whose weights everybody starts from, those of
            the classification head included.
        train: The training examples, a file with ``text`` and ``label``.
        validation: Some others, on which nobody is timed.
    """

    encoder: Path
    train: Path
    validation: Path

    def read(self) -> tuple[list[str], list[str]]:
        """The training texts and their labels, from a file with a JSON object a line."""
        rows = [json.loads(line) for line in self.train.read_text(encoding="utf-8").splitlines()]
        return [row["text"] for row in rows], [row["label"] for row in rows]


@dataclass(frozen=True, slots=True)
class Job:
    """A training to be timed.

    Args:
        material: What it starts from.
        facts: The numbers that all contestants share.
        model: The encoder's name in Textmill's configuration.
        folder: For what is written on the way; the cache is there, too.
    """

    material: Material
    facts: Facts
    model: str
    folder: Path

    @property
    def total_steps(self) -> int:
        """Steps of the warm-up and timed ones."""
        return self.facts.warm_up + self.facts.steps


@dataclass(frozen=True, slots=True)
class ScoringJob:
    """Texts to be scored.

    Args:
        bundle: The trained classifier.
        forms: Of the classifier, as `textmill.load` takes them.
        texts: The texts.
        labels: Their labels, as transformers gives them in float32.
        alone: How many of them are also scored one by one.
    """

    bundle: Path
    forms: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    alone: int
