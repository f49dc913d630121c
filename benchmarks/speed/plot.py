"""Charts of what was measured, for the docs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.speed.results import Results
from benchmarks.speed.scoring import PIPELINE
from benchmarks.speed.training import TRAINER_BEST
from benchmarks.spread import ratios
from textmill.safe_write import write_text
from textmill.tracking.drawing import svg
from textmill.tracking.shapes import BarChart

# What a drawing that stands in no page has to say itself.
_OWN = (
    'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" '
    'style="background: white; color: black; '
)


def write_charts(folder: Path, results: Results) -> None:
    """Writes a chart of each of training and scoring, if they were measured.

    Args:
        folder: Gets ``speed-training.svg`` and ``speed-scoring.svg``.
        results: What was measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if results.training:
        write_text(folder / "speed-training.svg", _alone(svg(training_chart(results))))
    if results.scoring:
        write_text(folder / "speed-scoring.svg", _alone(svg(scoring_chart(results))))


def training_chart(results: Results) -> BarChart:
    """Each contestant's examples per second, as a ratio to Trainer at its best."""
    names = tuple(results.training)
    heights = {
        contestant: np.array([_training_ratio(results, name, contestant) for name in names])
        for contestant in results.training[names[0]]
    }
    return BarChart(
        title="Training speed",
        x_label="texts",
        y_label="examples per second, to Trainer at its best",
        categories=tuple(f"{name} ({results.facts[name].data})" for name in names),
        heights=heights,
    )


def scoring_chart(results: Results) -> BarChart:
    """How many times as fast as transformers' pipeline each contestant is."""
    base = results.scoring[PIPELINE]
    heights = {}
    for name, turns in results.scoring.items():
        alone = ratios(
            [turn.one_text_seconds for turn in base], [turn.one_text_seconds for turn in turns]
        )
        many = ratios(
            [turn.texts_per_second for turn in turns], [turn.texts_per_second for turn in base]
        )
        heights[name] = np.array([alone.median, many.median])
    return BarChart(
        title="Scoring speed",
        x_label="",
        y_label="times as fast as transformers' pipeline",
        categories=("one text", "many texts"),
        heights=heights,
    )


def _training_ratio(results: Results, name: str, contestant: str) -> float:
    facts, found = results.facts[name], results.training[name]
    rates, base = (
        [turn.examples_per_second(facts) for turn in found[one]]
        for one in (contestant, TRAINER_BEST)
    )
    return ratios(rates, base).median


def _alone(drawn: str) -> str:
    """A chart that was drawn to stand in a page, as a file of its own."""
    return drawn.replace('style="', _OWN, 1) + "\n"
