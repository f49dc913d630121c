"""The space of a search: ranges, choices, conditions, and all combinations of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
import pytest

from textmill.search.samplers import shuffled_grid
from textmill.search.space import Parameter, combinations, in_order, space_problems

SPACE = (
    Parameter("layers", low=1, high=5, step=2, whole=True, when={"kind": ("deep", "wide")}),
    Parameter("kind", choices=("deep", "wide", "linear")),
    Parameter("width", low=0.5, high=1.0, step=0.25, when={"kind": ("wide",), "layers": (5,)}),
)


def lines(space: Sequence[Parameter]) -> list[str]:
    return [line for problem in space_problems(space) for line in problem.problems]


def test_a_parameter_comes_behind_those_it_depends_on() -> None:
    assert [one.key for one in in_order(SPACE)] == ["kind", "layers", "width"]


def test_every_combination_is_there_once_and_without_what_a_condition_leaves_out() -> None:
    found = combinations(in_order(SPACE))
    assert found == [
        {"kind": "deep", "layers": 1},
        {"kind": "deep", "layers": 3},
        {"kind": "deep", "layers": 5},
        {"kind": "wide", "layers": 1},
        {"kind": "wide", "layers": 3},
        {"kind": "wide", "layers": 5, "width": 0.5},
        {"kind": "wide", "layers": 5, "width": 0.75},
        {"kind": "wide", "layers": 5, "width": 1.0},
        {"kind": "linear"},
    ]


def test_a_grid_is_tried_in_an_order_of_its_seed() -> None:
    grids = [shuffled_grid(in_order(SPACE), seed) for seed in (1, 1, 2)]
    assert grids[0] == grids[1] != grids[2]
    assert sorted(map(str, grids[0])) == sorted(map(str, combinations(in_order(SPACE))))


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        (Parameter("a", choices=(None, True, "x")), (None, True, "x")),
        (Parameter("a", low=2, high=4, whole=True), (2, 3, 4)),
        (Parameter("a", low=0.1, high=0.3, step=0.1), (0.1, 0.2, pytest.approx(0.3))),
        (Parameter("a", low=0.1, high=0.3), None),
        (Parameter("a", low=1, high=64, whole=True, log=True), None),
    ],
)
def test_the_values_of_a_parameter_are_listed_where_they_end(
    parameter: Parameter, expected: tuple[Any, ...] | None
) -> None:
    assert parameter.listed == expected


def test_values_are_proposed_within_their_ranges() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    ranges = (
        Parameter("whole", low=8, high=64, step=8, whole=True),
        Parameter("logarithmic", low=1e-5, high=1e-1, log=True),
        Parameter("any", choices=(None, False, 3)),
    )
    proposed = []
    for _ in range(40):
        trial = study.ask()
        proposed.append([one.suggested(trial) for one in ranges])
    wholes, logarithmic, chosen = zip(*proposed, strict=True)
    assert set(wholes) <= set(range(8, 65, 8))
    assert all(isinstance(value, int) for value in wholes)
    assert sum(value < 1e-3 for value in logarithmic) > 10
    assert set(chosen) == {None, False, 3}


@pytest.mark.parametrize(
    ("parameter", "hint"),
    [
        (Parameter("a"), "give either choices or low and high"),
        (Parameter("a", choices=(1,), low=1, high=2), "give either choices or low and high"),
        (Parameter("a", choices=(1,), step=1), "choices have no low, high, step or log"),
        (Parameter("a", choices=()), "give at least one choice"),
        (Parameter("a", choices=(1, 2, 1)), "a choice is given twice"),
        (Parameter("a", low=1), "give both low and high"),
        (Parameter("a", low=2, high=1), "low (2) must not exceed high (1)"),
        (Parameter("a", low=0, high=1, log=True), "with log, low (0) must be greater than 0"),
        (Parameter("a", low=1, high=2, step=0), "step (0) must be greater than 0"),
        (Parameter("a", low=1, high=2, step=1, log=True), "give step or log, not both"),
    ],
)
def test_a_wrong_range_is_refused(parameter: Parameter, hint: str) -> None:
    assert lines([parameter]) == [f"the range is wrong, in sweep.space.a: {hint}"]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"kin": ("deep",)}, "'kin' is not searched, in sweep.space.a.when: did you mean kind?"),
        (
            {"kind": ("deep", "flat")},
            "kind is never flat, in sweep.space.a.when: choose among deep, wide",
        ),
        (
            {"a": (1,)},
            "a depends on itself, in sweep.space.a.when: take one of the conditions away",
        ),
    ],
)
def test_a_wrong_condition_is_refused(when: dict[str, tuple[Any, ...]], expected: str) -> None:
    kind = Parameter("kind", choices=("deep", "wide"))
    assert lines([kind, Parameter("a", low=0, high=1, when=when)]) == [expected]


def test_conditions_in_a_circle_are_refused() -> None:
    names = ("a", "b", "c")
    circle = [
        Parameter(name, choices=(1,), when={other: (1,)})
        for name, other in zip(names, ("b", "c", "a"), strict=True)
    ]
    assert [line.partition(" depends")[0] for line in lines(circle)] == ["a", "b", "c"]
