"""``textmill runs diff``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from textmill.browse.entries import Entry
from textmill.legible import one_line
from textmill.terminal import Align, table_of, text
from textmill.tracking.flat import flattened

# Told apart from what is empty or null.
_MISSING = "(not there)"

Differences = dict[str, tuple[object, object]]


def differences(first: Entry, second: Entry) -> dict[str, Differences]:
    """What two runs were made with that is not the same: by part, from key to both values."""
    parts = {
        "Configuration": (first.config, second.config),
        "Data": (_data(first), _data(second)),
        "Environment": (_environment(first), _environment(second)),
    }
    found = {part: _differing(*values) for part, values in parts.items()}
    return {part: differing for part, differing in found.items() if differing}


def show_differences(first: Entry, second: Entry, console: Console) -> None:
    """Prints what differs, part by part."""
    found = differences(first, second)
    if not found:
        console.print("nothing differs in configuration, data and environment")
        return
    columns: dict[str, Align] = {"": "left", first.place: "left", second.place: "left"}
    for number, (part, differing) in enumerate(found.items()):
        if number:
            console.print()
        rows = [
            (text(key), *(_shown(value) for value in values)) for key, values in differing.items()
        ]
        console.print(part, style="bold")
        console.print(table_of(columns, rows))


def _data(entry: Entry) -> Mapping[str, Any]:
    """The data's names, counts and fingerprints, without the long lists of problems."""
    data = entry.manifest.get("data", {})
    told = ("labels", "multi_label", "counts", "fingerprints", "made")
    return flattened({name: data[name] for name in told if name in data})


def _environment(entry: Entry) -> Mapping[str, Any]:
    told = ("git", "packages", "machine")
    return flattened({name: entry.manifest[name] for name in told if entry.manifest.get(name)})


def _differing(first: Mapping[str, object], second: Mapping[str, object]) -> Differences:
    return {
        key: (first.get(key, _MISSING), second.get(key, _MISSING))
        for key in dict.fromkeys([*first, *second])
        if first.get(key, _MISSING) != second.get(key, _MISSING)
    }


def _shown(value: object) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
