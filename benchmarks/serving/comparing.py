"""The contestants' turns."""

from __future__ import annotations

import datetime
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from benchmarks.serving.client import Load, ask
from benchmarks.serving.contestants import Contestant, all_of, running
from benchmarks.serving.questions import Questions, make_questions, read_questions, texts_of
from benchmarks.serving.results import SERVING_PACKAGES, Latencies, Results, Served
from benchmarks.speed.rounds import FRESH
from textmill.bundle import read_bundle
from textmill.environment import machine, package_versions
from textmill.predictor import Predictor

_WARM_UP = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and how often.

    Args:
        bundle: The classifier.
        forms: The forms of it that take part; none stands for all that ONNX Runtime computes.
        texts: A file of texts, one a line; None takes film reviews.
        most_texts: How many of them.
        connections: How many there are at a time.
        warm_up: Seconds before anything counts.
        seconds: Seconds that count.
        rounds: How often each contestant has its turn.
        alone: Texts that are labelled in-process, one by one.
    """

    bundle: Path
    forms: tuple[str, ...] = ()
    texts: Path | None = None
    most_texts: int = 2000
    connections: tuple[int, ...] = (1, 8, 64)
    warm_up: float = 1.0
    seconds: float = 3.0
    rounds: int = 3
    alone: int = 500


def miniature(plan: Plan) -> Plan:
    """The plan at its smallest: to see that everything runs, not to learn anything from it."""
    return replace(plan, most_texts=64, warm_up=0.2, seconds=0.5, rounds=1, alone=32)


def measure(plan: Plan) -> Results:
    """Has all contestants take their turns."""
    with tempfile.TemporaryDirectory() as folder:
        return _Comparison(plan, Path(folder)).results()


class _Comparison:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self._forms = plan.forms or tuple(read_bundle(plan.bundle).info.forms)
        if not self._forms:
            raise SystemExit(f"{plan.bundle} has no ONNX form: textmill export {plan.bundle}")

    def results(self) -> Results:
        results = Results(str(datetime.date.today()), FRESH.alone(machine), _versions())
        # All of this in other processes: what they import and keep would weigh on this one.
        texts = FRESH.alone(partial(texts_of, self._plan.texts, self._plan.most_texts))
        contestants = all_of(self._plan.bundle, self._forms, self._questions(self._forms[0]))
        for form in sorted({contestant.form for contestant in contestants}):
            made = FRESH.alone(partial(make_questions, self._plan.bundle, form, texts))
            made.write(self._questions(form))
            _note(results, made)
        for number in range(self._plan.rounds):
            self._round(number, contestants, results)
        return results

    def _round(self, number: int, contestants: list[Contestant], results: Results) -> None:
        """Everybody's turn; every second round goes backwards."""
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            _tell(f"round {number + 1} of {self._plan.rounds}: {contestant.name}")
            self._turn(contestant, results)
        for form in self._forms:
            job = partial(_alone, self._plan, form, self._questions(form))
            results.alone.setdefault(form, []).append(FRESH.alone(job))

    def _turn(self, contestant: Contestant, results: Results) -> None:
        plan, questions = self._plan, self._questions(contestant.form)
        found = results.served.setdefault(contestant.name, {})
        with running(contestant, questions, self._folder / "log") as service:
            for count in plan.connections:
                load = Load(count, plan.warm_up, plan.seconds)
                asked = FRESH.alone(partial(ask, service.address, questions, load))
                found.setdefault(count, []).append(Served.of(asked))

    def _questions(self, form: str) -> Path:
        return self._folder / f"{form}.json"


def _alone(plan: Plan, form: str, questions: Path) -> Latencies:
    """What one text by itself takes in-process."""
    predictor = Predictor.from_bundle(plan.bundle, form=form)  # type: ignore[arg-type]
    asked = read_questions(questions).asked
    seconds = []
    for number in range(_WARM_UP + plan.alone):
        text = asked[number % len(asked)].text
        begun = time.perf_counter()
        predictor.predict([text])
        seconds.append(time.perf_counter() - begun)
    return Latencies.of(seconds[_WARM_UP:])


def _note(results: Results, made: Questions) -> None:
    results.texts[made.form] = len(made.asked)
    results.mean_tokens[made.form] = made.mean_tokens


def _versions() -> dict[str, str]:
    return {**package_versions(), **{name: version(name) for name in SERVING_PACKAGES}}


def _tell(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)
