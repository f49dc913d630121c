"""Axes have few and round numbers, whatever lies along them."""

from __future__ import annotations

import numpy as np
import pytest

from textmill.tracking.ticks import crowded, marked_numbers, round_numbers


@pytest.mark.parametrize(
    ("low", "high", "numbers"),
    [
        (1e-6, 1e-3, [1e-6, 1e-5, 1e-4, 1e-3]),
        (8e-6, 9e-4, [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4]),
        (1.5e-5, 3e-5, [1.5e-5, 3e-5]),
        (1e-30, 1.0, [10.0**place for place in range(-30, 1, 6)]),
    ],
)
def test_ratios_are_told_by_powers_of_ten_or_finer(
    low: float, high: float, numbers: list[float]
) -> None:
    assert round_numbers(low, high, logarithmic=True) == pytest.approx(numbers)


def test_differences_are_told_by_numbers_within_the_ends() -> None:
    numbers = round_numbers(0.13, 0.87, logarithmic=False)
    assert 3 <= len(numbers) <= 6
    assert 0.13 <= min(numbers) < max(numbers) <= 0.87


def test_few_values_are_marked_themselves_and_of_many_the_ends() -> None:
    few = marked_numbers(np.array([32.0, 8.0, 16.0, 8.0]), logarithmic=False)
    assert few == [8, 16, 32]
    many = marked_numbers(np.linspace(0.111, 0.999, 50), logarithmic=False)
    assert (many[0], many[-1]) == (0.111, 0.999)


def test_names_are_crowded_where_the_axis_is_short() -> None:
    names = ["constant", "cosine", "linear", "polynomial"]
    assert not crowded(names)
    assert crowded(names, 0.5)
