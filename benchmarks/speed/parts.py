"""The parts of the benchmark, each of which can be asked for by its name."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from benchmarks.speed.growth import make_growth_job, measure_growth, measure_tokenizing
from benchmarks.speed.job import Job, ScoringJob
from benchmarks.speed.plan import Plan
from benchmarks.speed.results import Results, write_results
from benchmarks.speed.rounds import FRESH, Turns, later
from benchmarks.speed.scoring import measure_scoring
from benchmarks.speed.training import measure_overhead, measure_training
from benchmarks.startup import measure_startup
from textmill.environment import machine, package_versions

PARTS = ("training", "overhead", "scoring", "tokenizing", "growth", "startup")


def measure(
    plan: Plan,
    parts: Sequence[str] = PARTS,
    *,
    output: Path | None = None,
    bundle: Path | None = None,
    turns: Turns = FRESH,
) -> Results:
    """Measures some parts.

    Args:
        plan: What is measured.
        parts: Some of `PARTS`.
        output: The file that is written anew behind each part; None writes none.
        bundle: The classifier that is scored; None trains one.
        turns: How processes are made.
    """
    results = Results(str(datetime.date.today()), turns.alone(machine), package_versions())
    with tempfile.TemporaryDirectory() as folder:
        measuring = Measuring(plan, Path(folder), turns, results, bundle)
        for name in parts:
            getattr(measuring, name)()
            if output is not None:
                write_results(output, results)
    return results


class Measuring:
    """Measures part by part; what several parts need is made once.

    Args:
        plan: What is measured.
        folder: For what is made on the way.
        turns: How processes are made.
        results: Where the findings go.
        bundle: The classifier that is scored; None trains one.
    """

    def __init__(
        self, plan: Plan, folder: Path, turns: Turns, results: Results, bundle: Path | None
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._turns = turns
        self._results = results
        self._bundle = bundle

    def training(self) -> None:
        """Textmill's training beside its peers'."""
        for name, job in self._jobs.items():
            self._results.facts[name] = job.facts
            found = measure_training(job, self._turns, self._plan.rounds)
            self._results.training[name] = found

    def overhead(self) -> None:
        """What a step takes outside forward, backward and optimizer."""
        for name, job in self._jobs.items():
            self._results.overhead[name] = measure_overhead(job, self._turns, self._plan.rounds)

    def scoring(self) -> None:
        """Textmill's predictor beside transformers' pipeline."""
        job = self._turns.alone(
            later(
                "material:make_scoring_job",
                ScoringJob,
                self._plan,
                self._folder / "scoring",
                self._bundle,
            )
        )
        self._results.scoring = measure_scoring(job, self._turns, self._plan.rounds)

    def tokenizing(self) -> None:
        """Tokenizing beside the tokenizers library alone."""
        self._results.tokenizing = measure_tokenizing(self._growth_job, self._plan, self._turns)

    def growth(self) -> None:
        """Training on more and more rows."""
        self._results.growth_facts = self._growth_job.facts
        self._results.growth = measure_growth(self._growth_job, self._plan, self._turns)

    def startup(self) -> None:
        """How long the command line takes where it trains nothing."""
        self._results.startup = measure_startup(self._plan.rounds)

    @cached_property
    def _jobs(self) -> dict[str, Job]:
        return {
            texts.name: self._turns.alone(
                later("material:make_job", Job, self._plan, texts, self._folder / texts.name)
            )
            for texts in self._plan.texts
        }

    @cached_property
    def _growth_job(self) -> Job:
        return make_growth_job(self._plan, self._folder / "growth", self._turns)
