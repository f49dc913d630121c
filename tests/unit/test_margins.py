"""All names around a chart fit, by matplotlib's own measure."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from textmill.tracking.margins import set_margins

LONG = [f"quite a long name {number}" for number in range(9)]


def axes_with(names: list[str], *, aslant: bool, scale: float) -> Axes:
    axes = Figure(figsize=(5, 4)).add_subplot()
    axes.plot(np.arange(len(names)), scale * np.arange(len(names)))
    axes.set_xlabel("across", fontsize=9)
    axes.set_ylabel("up", fontsize=9)
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if aslant else {}
    axes.set_xticks(range(len(names)), names, **turned)
    axes.tick_params(labelsize=8, length=0)
    return axes


@pytest.mark.parametrize(
    ("names", "aslant", "scale"),
    [
        (["a", "b", "c"], False, 1),
        (["a", "b", "c"], False, 1e-5),
        (["a", "b", "c"], False, 123_456),
        (LONG, True, 1),
        (["a very long name at the left end", *"bcdef"], True, 1),
        (["left", "in between", "a very long name at the right end"], True, 1),
    ],
)
def test_names_of_any_length_are_inside_and_fill_the_figure(
    names: list[str], aslant: bool, scale: float
) -> None:
    axes = axes_with(names, aslant=aslant, scale=scale)
    set_margins(axes.figure, axes, tick_size=8, aslant=aslant, above=0, below=0)
    taken, whole = axes.get_tightbbox(), axes.figure.bbox
    assert taken.x0 >= 0
    assert taken.y0 >= 0
    assert taken.x1 <= whole.x1
    assert taken.y1 <= whole.y1
    assert taken.width > 0.75 * whole.width
    assert taken.height > 0.75 * whole.height


def test_lines_of_text_above_and_below_have_room() -> None:
    axes = axes_with(["a", "b"], aslant=False, scale=1)
    set_margins(axes.figure, axes, tick_size=8, aslant=False, above=2, below=3)
    taken, dots = axes.get_tightbbox(), axes.figure.dpi / 72
    assert taken.y0 >= 3 * 12 * dots
    assert taken.y1 <= axes.figure.bbox.y1 - 2 * 12 * dots
