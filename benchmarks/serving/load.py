"""Puts ``textmill serve`` under load, checks each answer against its text, and watches its memory.

python -m benchmarks.serving.load BUNDLE --requests 200000 --connections 64
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.serving.client import Asked, Load, ask
from benchmarks.serving.contestants import Running, running, textmill
from benchmarks.serving.memory import memory_of
from benchmarks.serving.questions import Questions, make_questions, texts_of
from benchmarks.serving.results import Latencies
from benchmarks.speed.rounds import FRESH
from benchmarks.tables import Table, as_rich
from textmill.forms.choosing import FORM_CHOICES

MIB = 1024 * 1024
_SAMPLE_SECONDS = 0.5
_MOST_TEXTS = 2000
# Behind this share of the time, everything that is made once has been made.
SETTLED = 0.1


@dataclass(frozen=True, slots=True)
class Endured:
    """What a service did under load.

    Args:
        asked: What the client found.
        memory: Of the service's processes, in bytes, at even distances from the first request to
            the last.
    """

    asked: Asked
    memory: list[int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the load and shows what came of it; returns 1 if any answer was not right.

    Args:
        arguments: Of the command line; None takes the process's own.
    """
    options = _parser().parse_args(arguments)
    bundle = options.bundle.resolve()
    texts = FRESH.alone(partial(texts_of, options.texts, _MOST_TEXTS))
    questions = FRESH.alone(partial(make_questions, bundle, options.form, texts))
    load = Load(options.connections, requests=options.requests)
    endured = endure(bundle, questions, load)
    Console(width=100).print(as_rich(table_of(endured, questions, load)))
    return 1 if endured.asked.problems else 0


def endure(bundle: Path, questions: Questions, load: Load) -> Endured:
    """Puts a service under load."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "questions.json"
        questions.write(path)
        contestant = textmill(bundle, questions.form, logged=True)
        with (
            running(contestant, path, Path(folder) / "log") as service,
            ThreadPoolExecutor(1) as thread,
        ):
            asking = thread.submit(FRESH.alone, partial(ask, service.address, path, load))
            memory = _watch(service, asking)
            return Endured(asking.result(), memory)


def table_of(endured: Endured, questions: Questions, load: Load) -> Table:
    """What is to be seen of it."""
    asked, memory = endured.asked, endured.memory
    settled = memory[int(SETTLED * len(memory))]
    latencies = Latencies.of(asked.latencies)
    answers = len(asked.latencies)
    wrong = ", ".join(f"{count:,} {problem}" for problem, count in asked.problems.items())
    rows = (
        ("requests, connections", f"{answers:,}, {load.connections}"),
        ("seconds, requests/s", f"{asked.seconds:,.0f}, {answers / asked.seconds:,.0f}"),
        ("p50, p95, p99, ms", ", ".join(_milliseconds(latencies))),
        ("answers that were not right", wrong or "0"),
        ("texts", f"{len(questions.asked):,}, {questions.form}"),
        ("pairs of texts told apart", f"{questions.told_apart():.1%}"),
        *((f"MiB {when}", f"{size / MIB:,.1f}") for when, size in moments(memory).items()),
        (f"growth behind the first {SETTLED:.0%}, MiB", f"{(memory[-1] - settled) / MIB:+,.1f}"),
    )
    return Table("Under load", ("", "found"), rows)


def moments(memory: Sequence[int]) -> dict[str, int]:
    """Memory at the start, once it has settled, in the middle, at the end, and the most of it."""
    last = len(memory) - 1
    return {
        "at the start": memory[0],
        f"behind {SETTLED:.0%}": memory[int(SETTLED * len(memory))],
        "in the middle": memory[last // 2],
        "at the end": memory[last],
        "at most": max(memory),
    }


def _watch(service: Running, asking: Future[Asked]) -> list[int]:
    """The service's memory until all is asked."""
    memory = [memory_of(service.process)]
    while not asking.done():
        time.sleep(_SAMPLE_SECONDS)
        if not asking.done():
            memory.append(memory_of(service.process))
    return memory


def _milliseconds(latencies: Latencies) -> list[str]:
    return [f"{1000 * one:.1f}" for one in (latencies.p50, latencies.p95, latencies.p99)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.load",
        description="Puts textmill serve under load, checks each answer, watches its memory.",
    )
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--requests", type=int, default=200_000, help="in all (200000)")
    parser.add_argument("--connections", type=int, default=64, help="at a time (64)")
    parser.add_argument("--form", choices=FORM_CHOICES, default="auto")
    parser.add_argument(
        "--texts", type=Path, metavar="FILE", help="texts, one a line; else film reviews"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
