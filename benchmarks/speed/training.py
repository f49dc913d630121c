"""Textmill's training beside its peers', with the same weights, texts, batch size and steps."""

from __future__ import annotations

from benchmarks.speed.job import Job
from benchmarks.speed.results import Parts, Trained
from benchmarks.speed.rounds import Turns, later

TEXTMILL = "Textmill"
TEXTMILL_ALL = "Textmill, all weights trained"
TRAINER = "Trainer as in the examples"
TRAINER_BEST = "Trainer at its best"
TRAINER_FROZEN = "Trainer at its best, embeddings frozen"
LOOP = "plain loop"

CONTESTANTS = {
    TRAINER: "peers:train_with_trainer_as_in_examples",
    TRAINER_BEST: "peers:train_with_trainer_at_its_best",
    LOOP: "peers:train_with_loop",
    TEXTMILL_ALL: "own:train_all_weights",
    TRAINER_FROZEN: "peers:train_with_trainer_frozen",
    TEXTMILL: "own:train_by_default",
}


def measure_training(job: Job, turns: Turns, rounds: int) -> dict[str, list[Trained]]:
    """What each contestant needs for the same training, a turn each round."""
    jobs = {name: later(function, Trained, job) for name, function in CONTESTANTS.items()}
    return turns.in_rounds(f"training, {job.facts.data}", jobs, rounds)


def measure_overhead(job: Job, turns: Turns, rounds: int) -> list[Parts]:
    """Where the time of the steps of Textmill's default goes, a turn each round."""
    jobs = {TEXTMILL: later("overhead:measure_parts", Parts, job)}
    return turns.in_rounds(f"own overhead, {job.facts.data}", jobs, rounds)[TEXTMILL]
