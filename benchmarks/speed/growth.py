"""What grows with the data: time to the first step, speed and memory of training, tokenizing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.speed.job import Job
from benchmarks.speed.plan import Plan
from benchmarks.speed.results import Tokenized, Trained
from benchmarks.speed.rounds import Turns, later


def make_growth_job(plan: Plan, folder: Path, turns: Turns) -> Job:
    """A training on a few made-up rows, whose encoder serves for more of them."""
    return turns.alone(later("synthetic_rows:make_job_on_rows", Job, plan, folder))


def measure_growth(job: Job, plan: Plan, turns: Turns) -> dict[int, list[Trained]]:
    """Trains Textmill's default on more and more rows, each number of them a turn each round.

    Args:
        job: From `make_growth_job`.
        plan: Says how many rows.
        turns: Runs the trainings.
    """
    jobs = {}
    for rows in plan.growth:
        train = job.folder / f"{rows}.parquet"
        turns.alone(later("synthetic_rows:write_file", Path, train, rows))
        grown = replace(job, material=replace(job.material, train=train))
        jobs[f"{rows:,} rows"] = later("own:train_by_default", Trained, grown)
    found = turns.in_rounds("growth", jobs, plan.rounds)
    return dict(zip(plan.growth, found.values(), strict=True))


def measure_tokenizing(job: Job, plan: Plan, turns: Turns) -> list[Tokenized]:
    """Tokenizes rows into Textmill's cache, and by the tokenizers library alone.

    Args:
        job: From `make_growth_job`.
        plan: Says how many rows.
        turns: Runs both, in the same process.
    """
    jobs = {
        "both": later("synthetic_rows:compare_tokenizing", Tokenized, job, plan.tokenized),
    }
    return turns.in_rounds("tokenizing", jobs, plan.rounds)["both"]
