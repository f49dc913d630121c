"""What is measured: the texts, and how much of everything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from textmill.configuration.overrides import override_of


@dataclass(frozen=True, slots=True)
class Texts:
    """A data set to train on.

    Args:
        name: ``short`` or ``long``.
        overrides: Choose the data set in Textmill's configuration.
        max_length: Tokens per text at most, special ones included.
        warm_up: Optimizer steps before the clock starts.
        steps: Optimizer steps that are timed.
    """

    name: str
    overrides: tuple[str, ...]
    max_length: int
    warm_up: int
    steps: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and how often.

    Args:
        texts: The data sets to train on; the first one's texts are scored as well.
        model: The encoder, as Textmill's configuration names it.
        model_path: Its folder, where it isn't one that the configuration knows how to get.
        batch_size: Examples of a training step.
        rounds: How often each contestant has its turn.
        scored: Texts that are scored together.
        scored_alone: Texts that are scored one by one.
        scored_training: Overrides that say how long the scored classifier is trained.
        growth: Rows of the data sets by which growth is shown.
        tokenized: Texts with which the tokenizers are compared.
    """

    texts: tuple[Texts, ...]
    model: str = "minilm"
    model_path: Path | None = None
    batch_size: int = 32
    rounds: int = 3
    scored: int = 2000
    scored_alone: int = 200
    scored_training: tuple[str, ...] = ("trainer.max_epochs=1",)
    growth: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    tokenized: int = 100_000

    def overrides(self, texts: Texts) -> list[str]:
        """What chooses a data set and the encoder in Textmill's configuration."""
        own = [override_of("model.path", str(self.model_path))] if self.model_path else []
        return [
            *texts.overrides,
            f"data.max_length={texts.max_length}",
            f"model={self.model}",
            *own,
        ]


def default_plan(cola: Path | None) -> Plan:
    """CoLA from its published files, or film reviews in its place; and postings to newsgroups.

    Args:
        cola: The folder with CoLA's files; None if there is none.
    """
    short = ("data=movie_reviews",) if cola is None else ("data=cola", _path(cola))
    return Plan(
        (
            Texts("short", short, max_length=128, warm_up=4, steps=48),
            Texts("long", ("data=newsgroups",), max_length=256, warm_up=2, steps=16),
        )
    )


def with_steps(plan: Plan, steps: int) -> Plan:
    """The plan with another number of timed steps; long texts have a third of them."""
    shares = {"short": steps, "long": max(1, steps // 3)}
    return replace(
        plan, texts=tuple(replace(texts, steps=shares[texts.name]) for texts in plan.texts)
    )


def miniature(plan: Plan) -> Plan:
    """The plan at its smallest: to see that everything runs, not to learn anything from it."""
    return replace(
        plan,
        texts=tuple(replace(texts, warm_up=1, steps=2) for texts in plan.texts),
        batch_size=4,
        rounds=1,
        scored=24,
        scored_alone=4,
        scored_training=("trainer.max_steps=2",),
        growth=tuple(rows // 10 for rows in plan.growth[:2]),
        tokenized=200,
    )


def _path(folder: Path) -> str:
    return override_of("data.path", str(folder.absolute()))
