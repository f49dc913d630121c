"""Contestants take turns, each turn in a process of its own."""

from __future__ import annotations

import contextlib
import importlib
import io
import multiprocessing
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Turns:
    """Runs jobs in processes of their own.

    Args:
        start: How a process is made: ``spawn`` makes a fresh one, whose peak memory is its own;
            ``fork`` one that has everything imported, whose peak begins with its parent's.
    """

    start: Literal["spawn", "fork"] = "spawn"

    def alone(self, job: Callable[[], Found]) -> Found:
        """What a job finds in its process, which ends with it."""
        context = multiprocessing.get_context(self.start)
        with ProcessPoolExecutor(1, mp_context=context) as process:
            return process.submit(_silently, job).result()

    def in_rounds(
        self, title: str, jobs: Mapping[str, Callable[[], Found]], rounds: int
    ) -> dict[str, list[Found]]:
        """What each contestant finds in each round.

        Every second round goes backwards, so that nobody always follows the same one.

        Args:
            title: What is told of the rounds.
            jobs: From a contestant's name to its job, which can be sent to a process.
            rounds: How many.
        """
        found: dict[str, list[Found]] = {name: [] for name in jobs}
        for number in range(rounds):
            names = list(jobs) if number % 2 == 0 else list(reversed(jobs))
            for name in names:
                print(f"{title}, {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
                found[name].append(self.alone(jobs[name]))
        return found


FRESH = Turns()


def later(function: str, kind: type[Found], *arguments: object) -> Callable[[], Found]:
    """A job that only its process imports, so that the libraries it needs are in no other.

    Args:
        function: ``module:function`` in this package.
        kind: What it returns.
        arguments: What it is given.
    """
    return partial(_call, function, kind, *arguments)


def _call(function: str, kind: type[Found], *arguments: object) -> Found:
    module, _, name = function.partition(":")
    found = getattr(importlib.import_module(f"benchmarks.speed.{module}"), name)(*arguments)
    assert isinstance(found, kind)
    return found


def _silently(job: Callable[[], Found]) -> Found:
    """Keeps what a library or a run tells from whoever waits for the figures."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        return job()
