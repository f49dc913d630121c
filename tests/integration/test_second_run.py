"""A second run on the same data and model finds all that the first one has made."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import textmill.train  # noqa: F401 - imported once, for all forks
from tests.forks import in_fork, write_short_reviews
from textmill.data import loading, tokens
from textmill.data.sources.files import FilesSource

NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.sendto")


def refuse(*_: object) -> None:
    os._exit(70)


def refuse_all_that_is_made_once() -> None:
    """Ends the process where it would go to the network, read rows, check or tokenize them."""
    sys.addaudithook(lambda event, _: refuse() if event in NETWORK else None)
    loading._write_examples = refuse  # type: ignore[assignment]
    FilesSource.rows = refuse  # type: ignore[assignment,method-assign]
    tokens.encode = refuse  # type: ignore[assignment]


def entries(folder: Path) -> Sequence[tuple[str, int, int]]:
    found = sorted(folder.rglob("*"))
    return [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in found]


def test_a_second_run_fetches_reads_and_tokenizes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("TEXTMILL_CACHE", str(cache))
    command = [
        "train",
        "data=files",
        f"data.train={write_short_reviews(tmp_path / 'reviews.csv')}",
        "data.max_length=32",
        "model=scratch",
        "model.scratch.layers=1",
        "model.scratch.width=16",
        "model.scratch.heads=2",
        "model.scratch.vocabulary=200",
        "trainer=debug",
        "baselines.enabled=false",
        "tracking=none",
        "tracking.report=false",
        "tracking.explained=0",
        f"runs_dir={tmp_path / 'runs'}",
    ]
    assert in_fork(command) == 0
    made = entries(cache)
    assert {path.name for path in cache.iterdir()} == {"examples", "scratch", "tokens"}

    assert in_fork(command, refuse_all_that_is_made_once) == 0
    assert entries(cache) == made
