"""Conditions choose the runs that are meant, and metrics put the best first."""

from __future__ import annotations

from pathlib import Path

import pytest

from textmill.browse.entries import Entry
from textmill.browse.filters import (
    best_first,
    check_metrics,
    filtered,
    lower_is_better,
    parse_filter,
)
from textmill.errors import InputError
from textmill.runs import Run


def entry(name: str, metrics: dict[str, float] | None = None, **config: object) -> Entry:
    flat = {"name": name, "data.name": "reviews", **config}
    state = "failed" if metrics is None else "finished"
    manifest = {"state": state, **({"group": "rates", "trial": 3} if name == "high" else {})}
    return Entry(Run(Path(f"/runs/2026-11-24/{name}")), manifest, flat, metrics or {})


RUNS = [
    entry("low", {"test/f1_macro": 0.7, "test/loss": 0.9}, seed=1, lr=1e-4, tags=["a", "b"]),
    entry("high", {"test/f1_macro": 0.9, "test/loss": 0.2}, seed=2, lr=1e-3, tags=[], note=None),
    entry("broken", seed=3, lr=1e-4, lora=True),
]


def chosen(*conditions: str) -> list[str]:
    found = filtered(RUNS, [parse_filter(one) for one in conditions])
    return [one.config["name"] for one in found]


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("state=finished", ["low", "high"]),
        ("state!=finished", ["broken"]),
        ("name=high", ["high"]),
        ("group=rates", ["high"]),
        ("group!=rates", ["low", "broken"]),
        ("trial>2", ["high"]),
        ("data=reviews", ["low", "high", "broken"]),
        ("data.name = reviews", ["low", "high", "broken"]),
        ("seed=2", ["high"]),
        ("seed>1", ["high", "broken"]),
        ("lr=0.0001", ["low", "broken"]),
        ("lr=1e-4", ["low", "broken"]),
        ("tags=a", ["low"]),
        ("lora=true", ["broken"]),
        ("test/f1_macro>0.7", ["high"]),
        ("test/f1_macro>=0.7", ["low", "high"]),
        ("test/loss < .5", ["high"]),
        ("test/loss<=0.9", ["low", "high"]),
        ("test/f1_macro=0.9", ["high"]),
    ],
)
def test_a_condition_chooses_its_runs(condition: str, names: list[str]) -> None:
    assert chosen(condition) == names


def test_all_conditions_must_be_met() -> None:
    assert chosen("state=finished", "test/loss<0.5") == ["high"]
    assert chosen("state=failed", "test/loss<0.5") == []


@pytest.mark.parametrize("given", ["", "state", "=finished", ">1", "=", "  = x", "!=x"])
def test_what_is_no_condition_is_told(given: str) -> None:
    with pytest.raises(InputError, match="no filter, in --filter: give KEY=VALUE"):
        parse_filter(given)


def test_order_needs_a_number() -> None:
    with pytest.raises(InputError, match=r"'high' is not a number.*or use name=VALUE"):
        parse_filter("name>high")


def test_unknown_keys_are_told_at_once_with_a_suggestion() -> None:
    with pytest.raises(InputError) as caught:
        chosen("sed=1", "test/f1_makro>0.5")
    assert caught.value.problems == (
        "no run has a key or metric 'sed', in --filter: did you mean seed?",
        "no run has a key or metric 'test/f1_makro', in --filter: did you mean test/f1_macro?",
    )


def test_among_no_runs_nothing_is_unknown() -> None:
    assert filtered([], [parse_filter("anything=1")]) == []


@pytest.mark.parametrize(
    ("metric", "names"),
    [("test/f1_macro", ["high", "low", "broken"]), ("test/loss", ["high", "low", "broken"])],
)
def test_the_best_come_first_and_those_without_the_metric_last(
    metric: str, names: list[str]
) -> None:
    found = best_first([RUNS[2], *RUNS[:2]], metric)
    assert [one.config["name"] for one in found] == names


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("test/f1_macro", False),
        ("test/loss", True),
        ("validation/ece", True),
        ("test/f1/loss", False),
        ("baseline/linear/loss", True),
        ("baseline/linear/f1_macro_gain", False),
        ("baseline/linear/f1_macro_gain_p_value", True),
        ("baseline/linear/seconds", True),
        ("train/seconds", True),
        ("train/examples_per_second", False),
        ("train/peak_memory_bytes", True),
    ],
)
def test_the_direction_of_each_metric_is_known(metric: str, lower: bool) -> None:
    assert lower_is_better(metric) is lower


def test_an_unknown_metric_is_told_with_a_suggestion() -> None:
    check_metrics(RUNS, ["test/loss"], "--sort")
    with pytest.raises(InputError, match="no run has a metric 'f1_macro', in --sort: did you mean"):
        check_metrics(RUNS, ["f1_macro"], "--sort")
