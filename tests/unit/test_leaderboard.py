"""A multirun's table has the best first, and is the same on the terminal and in its file."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from textmill.combinations import Combination
from textmill.errors import MachineError
from textmill.leaderboard import Objective, finish
from textmill.runs import Run, write_json


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "multirun" / "now"
    folder.mkdir(parents=True)
    return folder


def add(folder: Path, seed: int, value: float | None, state: str = "finished") -> Combination:
    combination = Combination(folder, ("data=tweets", f"seed={seed}", "name=[red]"))
    combination.announce()
    run = Run(folder.parents[1] / "2026-11-24" / str(seed))
    run.folder.mkdir(parents=True)
    combination.begin(run)
    run.update_manifest(state=state)
    metrics = {"validation/f1_macro": value, "test/f1_macro": 0.5, "train/seconds": 90}
    write_json(run.metrics, {name: one for name, one in metrics.items() if one is not None})
    return combination


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("maximize", "order"), [(True, "2134"), (False, "3124")])
def test_the_best_is_first_and_the_failed_are_last(
    folder: Path, capsys: pytest.CaptureFixture[str], *, maximize: bool, order: str
) -> None:
    for seed, value in ((1, 0.7), (2, 0.9), (3, 0.2)):
        add(folder, seed, value)
    add(folder, 4, None, "failed").fail(ValueError("no\x1b[31m luck"))
    with pytest.raises(MachineError, match=r"of 4 combinations, 3 are finished and 1 failed"):
        finish(folder, Objective("f1_macro", maximize=maximize))
    rows = rows_of(folder)
    if not maximize:
        order = "3124"
    assert "".join(row["seed"] for row in rows) == order
    assert list(rows[0]) == [
        "seed",
        "validation/f1_macro",
        "test/f1_macro",
        "minutes",
        "state",
        "run",
        "error",
    ]
    assert (rows[0]["minutes"], rows[-1]["state"], rows[-1]["test/f1_macro"]) == (
        "1.5",
        "failed",
        "",
    )
    printed = capsys.readouterr().out
    lines = [line.split()[0] for line in printed.splitlines()[2:6]]
    assert "".join(lines) == order
    assert "luck" in printed
    assert "\x1b" not in printed
    assert f'textmill predict runs/2026-11-24/{order[0]}/model "a text"' in printed


def test_one_without_a_value_comes_behind_those_that_have_one(folder: Path) -> None:
    add(folder, 1, None)
    add(folder, 2, -0.3)
    add(folder, 3, None, "running")
    with pytest.raises(MachineError, match="2 are finished and 0 failed"):
        finish(folder, Objective("f1_macro", maximize=True))
    rows = rows_of(folder)
    assert [row["seed"] for row in rows] == ["2", "1", "3"]
    assert rows[2]["state"] == "interrupted"


def test_nothing_is_best_where_nothing_has_a_value(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(folder, 1, None)
    finish(folder, Objective("f1_macro", maximize=True))
    assert "predict" not in capsys.readouterr().out
