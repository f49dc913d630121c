"""``textmill runs diff``."""

from __future__ import annotations

from rich.console import Console

from textmill.browse.entries import Entry
from textmill.provenance import (
    Differences,
    data_facts,
    differing,
    environment_facts,
    print_differences,
)


def differences(first: Entry, second: Entry) -> dict[str, Differences]:
    """What two runs were made with that is not the same: by part, from key to both values."""
    parts = {
        "Configuration": (first.config, second.config),
        "Data": (data_facts(first.manifest), data_facts(second.manifest)),
        "Environment": (environment_facts(first.manifest), environment_facts(second.manifest)),
    }
    found = {part: differing(*values) for part, values in parts.items()}
    return {part: differences for part, differences in found.items() if differences}


def show_differences(first: Entry, second: Entry, console: Console) -> None:
    """Prints what differs, part by part."""
    found = differences(first, second)
    if found:
        print_differences(found, (first.place, second.place), console)
    else:
        console.print("nothing differs in configuration, data and environment")
