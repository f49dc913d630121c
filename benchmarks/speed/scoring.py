"""Textmill's scoring beside transformers' pipeline, with the same trained weights."""

from __future__ import annotations

from benchmarks.speed.job import ScoringJob
from benchmarks.speed.results import Scored
from benchmarks.speed.rounds import Turns, later

PIPELINE = "transformers pipeline"
TEXTMILL = "Textmill"

CONTESTANTS = {
    PIPELINE: "scorers:score_with_pipeline",
    TEXTMILL: "scorers:score_by_default",
}


def measure_scoring(job: ScoringJob, turns: Turns, rounds: int) -> dict[str, list[Scored]]:
    """What each contestant needs for the same texts, a turn each round."""
    jobs = {name: later(function, Scored, job) for name, function in CONTESTANTS.items()}
    return turns.in_rounds("scoring", jobs, rounds)
