"""What was measured, as it is kept in the JSON file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from textmill.safe_write import write_text

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Facts:
    """What all contestants of a training have in common.

    Args:
        data: The data set's name.
        examples: Training examples; an epoch is warm-up and timed steps together.
        mean_tokens: Tokens of an example, special ones included, behind the cut to ``max_length``.
        parameters: Weights through which every token goes: those of the layers, without embeddings.
        max_length: Tokens per text at most.
        batch_size: Examples of a step.
        warm_up: Steps before the clock starts.
        steps: Timed steps.
    """

    data: str
    examples: int
    mean_tokens: float
    parameters: int
    max_length: int
    batch_size: int
    warm_up: int
    steps: int


@dataclass(frozen=True, slots=True)
class Trained:
    """One turn of a training.

    Args:
        seconds: From the end of the last step of the warm-up to the end of the last step.
        tokens: Tokens in the batches of these steps, without padding.
        ready_seconds: From the data on disk to the end of the warm-up.
        peak_bytes: The most memory until then: of the GPU where there is one, else of the process.
        own_bytes: What the process holds at the end that is not mapped from files; None where the
            system doesn't tell.
        precision: What is computed in, as ``float32``.
        threads: torch's threads at the end.
        product_flops: Floating-point operations a second of a matrix product in the same process
            right afterwards, by precision.
    """

    seconds: float
    tokens: int
    ready_seconds: float
    peak_bytes: int
    own_bytes: int | None
    precision: str
    threads: int
    product_flops: dict[str, float]

    def examples_per_second(self, facts: Facts) -> float:
        """Texts of mean length a second.

        Which batches are timed differs, and those that group by length may begin with the longest:
        tokens are therefore counted, and told in texts of the mean length of all.
        """
        return self.tokens / self.seconds / facts.mean_tokens

    def utilisation(self, facts: Facts) -> float:
        """Model FLOPs utilisation, against the machine's fastest matrix product.

        A token takes six operations for each weight that it goes through: two on the way forward,
        four on the way back (Kaplan et al., 2020, "Scaling Laws for Neural Language Models").
        """
        flops = 6 * facts.parameters * self.tokens / self.seconds
        return flops / max(self.product_flops.values())


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the time of training steps went, in seconds."""

    forward: float
    backward: float
    optimizer: float
    whole: float

    @property
    def overhead(self) -> float:
        """The share of the time outside forward, backward and optimizer."""
        return 1 - (self.forward + self.backward + self.optimizer) / self.whole


@dataclass(frozen=True, slots=True)
class Scored:
    """One turn of scoring.

    Args:
        one_text_seconds: For one text by itself, the median.
        texts_per_second: For many at once.
        peak_bytes: As of `Trained`.
        agreement: The share of the texts with the label that transformers gives in float32.
    """

    one_text_seconds: float
    texts_per_second: float
    peak_bytes: int
    agreement: float


@dataclass(frozen=True, slots=True)
class Tokenized:
    """One turn of tokenizing, in texts a second.

    Args:
        textmill: Into Textmill's cache on disk.
        library: By the tokenizers library alone, with its own threads, kept nowhere.
    """

    textmill: float
    library: float


@dataclass(slots=True)
class Results:
    """All that was measured; a part that was left out is empty.

    Args:
        date: The day, as 2026-11-24.
        machine: As of `textmill.environment.machine`.
        packages: Versions.
        facts: By the name of the texts.
        training: By the name of the texts, then by contestant, a turn each round.
        overhead: By the name of the texts, a turn each round.
        scoring: By contestant, a turn each round.
        tokenizing: A turn each round.
        growth: By the number of rows, a turn each round; the first finds nothing in the cache.
        growth_facts: What the trainings of growth have in common.
        startup: Seconds by command, one each round.
    """

    date: str
    machine: dict[str, Any]
    packages: dict[str, str]
    facts: dict[str, Facts] = field(default_factory=dict)
    training: dict[str, dict[str, list[Trained]]] = field(default_factory=dict)
    overhead: dict[str, list[Parts]] = field(default_factory=dict)
    scoring: dict[str, list[Scored]] = field(default_factory=dict)
    tokenizing: list[Tokenized] = field(default_factory=list)
    growth: dict[int, list[Trained]] = field(default_factory=dict)
    growth_facts: Facts | None = None
    startup: dict[str, list[float]] = field(default_factory=dict)


_RESULTS = TypeAdapter(Results)


def write_results(path: Path, results: Results) -> None:
    """Writes the JSON file, whole or not at all."""
    write_text(path, _RESULTS.dump_json(results, indent=1).decode() + "\n")


def read_results(path: Path) -> Results:
    """Reads what `write_results` wrote."""
    return _RESULTS.validate_json(path.read_bytes())
