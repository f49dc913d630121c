"""What is known of a combination follows from its record and its run, whatever was cut short."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from textmill.combinations import Combination, combinations_in, varying_keys
from textmill.errors import InputError
from textmill.runs import Run

Begin = Callable[[str], Run]


@pytest.fixture
def combination(tmp_path: Path) -> Combination:
    folder = tmp_path / "runs" / "multirun" / "now"
    folder.mkdir(parents=True)
    found = Combination(folder, ("seed=1", "optimizer.lr=0.1"))
    found.announce()
    return found


@pytest.fixture
def begin(combination: Combination, tmp_path: Path) -> Begin:
    """Begins a run as `create_run` does."""

    def begin(name: str) -> Run:
        run = Run(tmp_path / "runs" / "2026-11-24" / name)
        run.folder.mkdir(parents=True)
        combination.begin(run)
        run.config.write_text("seed: 1\n")
        return run

    return begin


def test_the_order_of_the_overrides_does_not_matter(combination: Combination, begin: Begin) -> None:
    run = begin("one")
    run.update_manifest(state="finished")
    same = Combination(combination.folder, tuple(reversed(combination.overrides)))
    assert same.run == run
    assert same.state == "finished"
    assert Combination(combination.folder, ("seed=2", "optimizer.lr=0.1")).run is None


def test_announcing_it_again_forgets_nothing(combination: Combination, begin: Begin) -> None:
    run = begin("one")
    run.update_manifest(state="finished")
    combination.announce()
    assert combination.run == run


def test_a_run_has_begun_when_it_has_a_manifest(combination: Combination, begin: Begin) -> None:
    assert (combination.run, combination.state) == (None, "waiting")
    run = begin("one")
    assert (combination.run, combination.state) == (None, "waiting")
    run.update_manifest(state="running")
    assert (combination.run, combination.state) == (run, "interrupted")


def test_what_is_left_of_a_run_that_never_began_is_removed_with_the_next(
    combination: Combination, begin: Begin
) -> None:
    first = begin("one")
    (first.folder / ".hydra").mkdir()
    second = begin("two")
    second.update_manifest(state="running")
    assert not first.folder.exists()
    assert combination.run == second


@pytest.mark.parametrize("name", ["manifest.json", "notes.txt"])
def test_nothing_else_is_ever_removed(begin: Begin, name: str) -> None:
    first = begin("one")
    (first.folder / name).write_text("{}")
    begin("two")
    assert (first.folder / name).exists()


def test_one_whose_run_was_deleted_waits_again(combination: Combination, begin: Begin) -> None:
    run = begin("one")
    run.update_manifest(state="finished")
    combination.end("finished")
    shutil.rmtree(run.folder)
    assert (combination.run, combination.state) == (None, "waiting")


def test_it_is_found_where_its_folder_was_moved_with_the_runs(
    combination: Combination, begin: Begin, tmp_path: Path
) -> None:
    begin("one").update_manifest(state="finished")
    (tmp_path / "runs").rename(tmp_path / "moved")
    [moved] = combinations_in(tmp_path / "moved" / "multirun" / "now")
    assert moved.overrides == combination.overrides
    assert moved.run == Run(tmp_path / "moved" / "2026-11-24" / "one")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("first\n  second"), "ValueError: first second"),
        (InputError.all_of([InputError("one"), InputError("two", hint="do")]), "one; two: do"),
    ],
)
def test_an_error_is_kept_in_a_line_and_in_full_until_it_ends_well(
    combination: Combination, error: Exception, told: str
) -> None:
    combination.fail(error)
    assert (combination.state, combination.error) == ("failed", told)
    assert type(error).__name__ in combination.traceback.read_text()
    combination.end("finished")
    assert combination.error is None
    assert not combination.traceback.exists()


def hold(combination: Combination, told: Connection) -> None:
    with combination.locked() as ours:
        told.send(ours)
        signal.pause()


def test_a_process_holds_it_as_long_as_it_lives(combination: Combination, begin: Begin) -> None:
    begin("one").update_manifest(state="running")
    heard, told = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    process = context.Process(target=hold, args=(combination, told))
    process.start()
    assert heard.recv() is True
    assert combination.state == "running"
    with combination.locked() as ours:
        assert not ours
    process.kill()
    with combination.locked(waiting=True) as ours:
        assert ours
    process.join()
    assert combination.state == "interrupted"


def test_the_record_says_what_people_want_to_know(combination: Combination, begin: Begin) -> None:
    begin("one")
    [path] = (combination.folder / "combinations").glob("*.json")
    assert json.loads(path.read_text()) == {
        "overrides": ["seed=1", "optimizer.lr=0.1"],
        "run": "../../2026-11-24/one",
        "state": "running",
        "error": None,
    }


def test_keys_vary_that_differ_or_are_not_in_all() -> None:
    combinations = [
        ("a=1", "b=1", "c=x=y"),
        ("a=1", "b=2", "c=x=y"),
        ("a=1", "b=2", "c=x=y", "d=1"),
    ]
    assert varying_keys(combinations) == ["b", "d"]
