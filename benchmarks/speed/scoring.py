"""Textmill's scoring beside transformers' pipeline, with the same trained weights."""

from __future__ import annotations

from benchmarks.speed.job import ScoringJob
from benchmarks.speed.results import Scored
from benchmarks.speed.rounds import Turns, later

PIPELINE = "transformers pipeline"
TEXTMILL = "Textmill"


def measure_scoring(job: ScoringJob, turns: Turns, rounds: int) -> dict[str, list[Scored]]:
    """What each contestant needs for the same texts, a turn each round.

    Textmill takes part as it is loaded without any settings, and with each form of the classifier.
    """
    jobs = {
        PIPELINE: later("scorers:score_with_pipeline", Scored, job),
        TEXTMILL: later("scorers:score_with_form", Scored, job, "auto"),
    }
    for form in job.forms:
        name = f"{TEXTMILL}, form {form}"
        jobs[name] = later("scorers:score_with_form", Scored, job, form)
    return turns.in_rounds("scoring", jobs, rounds)
