"""What is written along the axes of charts: names that fit, and round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textmill.tracking.shapes import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_ACROSS = 48
_MOST_NUMBERS = 6
_FEW_VALUES = 5


def crowded(names: Sequence[str], room: float = 1.0) -> bool:
    """Whether names have no room side by side.

    Args:
        names: What is written along an axis.
        room: The axis' length, as a share of that in most charts.
    """
    return sum(map(len, names)) > _MOST_ACROSS * room


def name_columns(
    axes: Axes, places: npt.NDArray[np.int64], names: Sequence[str], room: float = 1.0
) -> None:
    """Names places along the horizontal axis, aslant where there is not enough room."""
    if crowded(names, room):
        axes.set_xticks(
            places, names, parse_math=False, rotation=45, ha="right", rotation_mode="anchor"
        )
    else:
        axes.set_xticks(places, names, parse_math=False)


def tick_text(value: float) -> str:
    """A number beside an axis."""
    return f"{value:.4g}"


def round_numbers(low: float, high: float, *, logarithmic: bool) -> list[float]:
    """Round numbers from ``low`` to ``high``, few enough to be written side by side.

    Args:
        low: Where the axis begins; above 0 on a logarithmic one.
        high: Where it ends, beyond ``low``.
        logarithmic: Whether the numbers go by ratios: powers of ten, or 1, 2 and 5 times those.
    """
    if logarithmic:
        return _round_ratios(low, high)
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(_MOST_NUMBERS - 1).tick_values(low, high)
    return [float(one) for one in found if low <= one <= high]


def marked_numbers(values: Numbers, *, logarithmic: bool) -> list[float]:
    """The numbers to write beside an axis that reaches just as far as some values.

    Args:
        values: At least one, all finite.
        logarithmic: See `Scale`.

    Returns:
        The values themselves where they are few, or else the ends and round numbers between.
    """
    different = [float(one) for one in np.unique(values)]
    if len(different) <= _FEW_VALUES:
        return different
    low, high = different[0], different[-1]
    return [low, *round_numbers(low, high, logarithmic=logarithmic), high]


def _round_ratios(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    powers = [float(f"1e{one}") for one in exponents]
    tens = [one for one in powers if low <= one <= high]
    if len(tens) > 2:
        return tens[:: -(-len(tens) // _MOST_NUMBERS)]
    finer = [factor * one for one in powers for factor in (1, 2, 5)]
    found = [one for one in finer if low <= one <= high]
    return found if len(found) > 1 else [low, high]
