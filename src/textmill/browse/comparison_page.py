"""``textmill runs compare --html``."""

from __future__ import annotations

from textmill.browse.comparing import (
    Changes,
    RunComparison,
    changed_view,
    metrics_view,
    overlaid_curves,
)
from textmill.browse.comparison_text import change_sentence
from textmill.report.figures import figures_of
from textmill.report.page import render
from textmill.report.tables import TableView
from textmill.version import __version__

MOST_EXAMPLES = 100


def comparison_page(comparison: RunComparison) -> str:
    """The comparison as one page of HTML that needs nothing else."""
    return render(
        "comparison.html.j2",
        names=comparison.names,
        folders={
            name: str(record.run.folder)
            for name, record in zip(comparison.names, comparison.records, strict=True)
        },
        split=comparison.split,
        examples=comparison.predictions(0).num_rows,
        verdicts=[verdict.sentence for verdict in comparison.verdicts],
        metrics=metrics_view(comparison),
        curves=figures_of(overlaid_curves(comparison), "all runs"),
        changes=[
            (change_sentence(changes), _tables(comparison, changes))
            for changes in comparison.changes
        ],
        version=__version__,
    )


def _tables(comparison: RunComparison, changes: Changes) -> dict[str, TableView]:
    found = {"Fixed": changes.fixed, "Broken": changes.broken}
    return {
        title: changed_view(comparison, changes, rows[:MOST_EXAMPLES])
        for title, rows in found.items()
        if len(rows)
    }
