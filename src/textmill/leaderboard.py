"""The table of a multirun: its combinations, the best first."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from textmill.combinations import Combination, assignments, combinations_in, varying_keys
from textmill.errors import MachineError
from textmill.runs import Run, short_path
from textmill.safe_write import write_text
from textmill.terminal import Align, console, table_of

RESULTS = "results.csv"


@dataclass(frozen=True, slots=True)
class Objective:
    """What combinations are compared by.

    Args:
        metric: A metric of the validation split.
        maximize: Whether greater is better.
    """

    metric: str
    maximize: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table.

    Args:
        combination: The combination.
        state: How far it got.
        run: Its run, if it has one.
        validation: The objective's value on the validation split; None if it has none.
        test: The same on the test split.
        minutes: How long it was trained.
    """

    combination: Combination
    state: str
    run: Run | None
    validation: float | None
    test: float | None
    minutes: float | None


def finish(folder: Path, objective: Objective) -> None:
    """Writes ``results.csv``, prints it, and tells how to use the best.

    Args:
        folder: The multirun's folder.
        objective: What the combinations are compared by.

    Raises:
        MachineError: Some combinations aren't finished.
    """
    entries = ranked([_entry(one, objective) for one in combinations_in(folder)], objective)
    keys = varying_keys([entry.combination.overrides for entry in entries])
    write_text(folder / RESULTS, _as_csv(entries, keys, objective))
    _show(entries, keys, objective)
    best = entries[0].run
    if best is not None and entries[0].validation is not None:
        print(f"\nmultirun {short_path(folder)}")
        print(f"best     {short_path(best.folder)}")
        print(f'predict  textmill predict {short_path(best.bundle)} "a text"')
    _complain(folder, entries)


def ranked(entries: Sequence[Entry], objective: Objective) -> list[Entry]:
    """The entries with the best first, then those without a value, then those that failed."""
    sign = -1 if objective.maximize else 1

    def place(entry: Entry) -> tuple[bool, bool, float]:
        unjudged = entry.validation is None
        return entry.state == "failed", unjudged, sign * (entry.validation or 0.0)

    return sorted(entries, key=place)


def _entry(combination: Combination, objective: Objective) -> Entry:
    run, state = combination.run, combination.state
    metrics = _metrics(run) if run is not None and state == "finished" else {}
    seconds = metrics.get("train/seconds")
    return Entry(
        combination,
        state,
        run,
        metrics.get(f"validation/{objective.metric}"),
        metrics.get(f"test/{objective.metric}"),
        None if seconds is None else seconds / 60,
    )


def _metrics(run: Run) -> Mapping[str, float]:
    found: dict[str, float] = json.loads(run.metrics.read_text(encoding="utf-8"))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _show(entries: Sequence[Entry], keys: Sequence[str], objective: Objective) -> None:
    numbers = (f"validation/{objective.metric}", f"test/{objective.metric}", "minutes")
    columns: dict[str, Align] = {
        **dict.fromkeys(keys, "left"),
        **dict.fromkeys(numbers, "right"),
        "state": "left",
        "run": "left",
    }
    rows = [
        [
            *_values(entry, keys),
            *(_rounded(value) for value in (entry.validation, entry.test)),
            _rounded(entry.minutes, digits=1),
            entry.state,
            entry.combination.error or _place(entry),
        ]
        for entry in entries
    ]
    console().print(table_of(columns, rows))


def _as_csv(entries: Sequence[Entry], keys: Sequence[str], objective: Objective) -> str:
    numbers = (f"validation/{objective.metric}", f"test/{objective.metric}", "minutes")
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow([*keys, *numbers, "state", "run", "error"])
    for entry in entries:
        numbers_of = (entry.validation, entry.test, entry.minutes)
        rest = (entry.state, _place(entry), entry.combination.error)
        writer.writerow([*_values(entry, keys), *numbers_of, *rest])
    return written.getvalue()


def _values(entry: Entry, keys: Sequence[str]) -> list[str | None]:
    given = assignments(entry.combination.overrides)
    return [given.get(key) for key in keys]


def _place(entry: Entry) -> str | None:
    return None if entry.run is None else short_path(entry.run.folder)


def _rounded(value: float | None, digits: int = 4) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _complain(folder: Path, entries: Sequence[Entry]) -> None:
    """Says so if some combinations aren't finished.

    Raises:
        MachineError: Some aren't.
    """
    states = [entry.state for entry in entries]
    failed, finished = states.count("failed"), states.count("finished")
    if finished == len(entries):
        return
    place = short_path(folder)
    raise MachineError(
        f"of {len(entries)} combinations, {finished} are finished and {failed} failed",
        where=place,
        hint=f"textmill train resume={place} tries again",
    )
