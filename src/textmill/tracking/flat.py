"""Nested values under one name each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flattened(nested: Mapping[str, Any]) -> dict[str, Any]:
    """The values of nested mappings, under their keys joined by dots; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= {f"{key}.{name}": inner for name, inner in flattened(value).items()}
        else:
            flat[str(key)] = value
    return flat
