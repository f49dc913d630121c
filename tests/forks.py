"""Commands in forks of the tests' process, which need not import torch again, and may be killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textmill.cli import main

Patch = Callable[[], None]


def in_fork(arguments: list[str], patch: Patch | None = None) -> int:
    """Runs the command line in a forked child; returns its exit status, or minus its signal."""
    process = start_fork(arguments, patch)
    process.join(timeout=180)
    assert process.exitcode is not None
    return process.exitcode


def start_fork(
    arguments: list[str], patch: Patch | None = None
) -> multiprocessing.process.BaseProcess:
    """Starts the command line in a forked child."""

    def child() -> None:
        os.setsid()
        if patch is not None:
            patch()
        os._exit(main(arguments))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    return process


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def on_call(owner: type, method: str, number: int, act: Patch, *, after: bool = False) -> Patch:
    """A patch that acts at the start (or the end) of the given call of a method, from 1."""

    def patch() -> None:
        original = getattr(owner, method)
        calls = 0

        def counted(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            nonlocal calls
            calls += 1
            if calls == number and not after:
                act()
            result = original(*arguments, **named)
            if calls == number and after:
                act()
            return result

        counted.__name__ = method
        setattr(owner, method, counted)

    return patch


def write_short_reviews(path: Path) -> Path:
    """Writes 120 short labelled texts, 96 of which a run trains on."""
    generator = random.Random(7)
    good, bad = ("great", "lovely", "clever", "perfect"), ("awful", "dull", "silly", "loud")
    lines = ["text,label"]
    for number in range(120):
        words = good if number % 2 else bad
        text = " ".join(
            generator.choices((*words, "film", "story", "the", "cast"), k=3 + number % 9)
        )
        lines.append(f"{text} {number},{'good' if number % 2 else 'bad'}")
    path.write_text("\n".join(lines) + "\n")
    return path
