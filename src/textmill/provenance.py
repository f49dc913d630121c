"""What a run was made from, flat, and in what two of these differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from textmill.legible import one_line
from textmill.terminal import Align, table_of, text
from textmill.tracking.flat import flattened

# Told apart from what is empty or null.
MISSING = "(not there)"

# From key to both values.
Differences = dict[str, tuple[object, object]]

_DATA = ("labels", "multi_label", "counts", "fingerprints", "made")
_ENVIRONMENT = ("git", "source", "packages", "encoder", "machine", "precision")


def data_facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The data's names, counts and fingerprints, without the long lists of problems."""
    data = manifest.get("data", {})
    return flattened({name: data[name] for name in _DATA if name in data})


def environment_facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Code, packages, the encoder that was started from, and machine."""
    return flattened({name: manifest[name] for name in _ENVIRONMENT if manifest.get(name)})


def differing(first: Mapping[str, object], second: Mapping[str, object]) -> Differences:
    """The keys whose values are not the same."""
    return {
        key: (first.get(key, MISSING), second.get(key, MISSING))
        for key in dict.fromkeys([*first, *second])
        if first.get(key, MISSING) != second.get(key, MISSING)
    }


def print_differences(
    found: Mapping[str, Differences], names: tuple[str, str], console: Console
) -> None:
    """Prints what differs, part by part.

    Args:
        found: From the name of a part to what differs in it.
        names: What the two are called.
        console: Where to.
    """
    columns: dict[str, Align] = {"": "left", names[0]: "left", names[1]: "left"}
    for number, (part, differences) in enumerate(found.items()):
        if number:
            console.print()
        rows = [
            (text(key), *(_shown(value) for value in values)) for key, values in differences.items()
        ]
        console.print(part, style="bold")
        console.print(table_of(columns, rows))


def _shown(value: object) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
