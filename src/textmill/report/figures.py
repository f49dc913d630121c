"""The charts of a report, drawn, each with a sentence on how to read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from markupsafe import Markup

from textmill.tracking.drawing import svg
from textmill.tracking.shapes import Chart, Heatmap

_WIDE_COLUMNS = 10
_NOTES = {
    "confusion": "Each row is a label in the data; a darker cell has more examples.",
    "confusion_by_row": "The same, with each row adding up to 1.",
    "roc": "The higher and the farther to the left, the better; the diagonal is guessing.",
    "precision_recall": "What a lower threshold gains in recall and costs in precision.",
    "reliability": "Where both bars are level, the probabilities can be taken at their word.",
    "scores": "Mistakes far to the right are confident ones.",
    "quality_by_length": "Each bar has about as many texts, so some lengths are wide intervals.",
    "coverage": "What answering less often buys, and the threshold that does it.",
    "loss": "Where training goes on falling and validation rises, the model learns by heart.",
    "quality": "Measured on the whole validation split.",
    "learning_rate": "Of each group of parameters.",
    "gradient_norm": "Peaks are batches that would have pulled the model far.",
    "speed": "Examples learned from in a second of training.",
    "phases": "Seconds spent since the record before.",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn chart in a page.

    Args:
        title: What it shows.
        note: How to read it.
        svg: The drawing.
        wide: Whether it takes the page's whole width.
    """

    title: str
    note: str
    svg: Markup
    wide: bool


def figures_of(charts: Mapping[str, Chart], of: str) -> list[Figure]:
    """Draws charts.

    Args:
        charts: See `textmill.tracking.charts`.
        of: What they are of, for those who hear their names out of context.
    """
    return [
        Figure(
            chart.title,
            _NOTES.get(key, ""),
            Markup(svg(replace(chart, title=f"{chart.title} ({of})"))),  # noqa: S704 - escaped
            isinstance(chart, Heatmap) and len(chart.columns) > _WIDE_COLUMNS,
        )
        for key, chart in charts.items()
    ]
