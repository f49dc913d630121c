"""A JSON Schema in words: ``whole number greater than 0, or null``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TYPES = {"integer": "whole number", "number": "number", "string": "text", "null": "null"}


def in_words(node: Mapping[str, Any]) -> str:
    """What a value may be, in words."""
    kinds = list(dict.fromkeys(_kinds(node)))
    if "null" in kinds and len(kinds) > 1:
        kinds.remove("null")
        return f"{_joined(kinds)}, or null"
    return _joined(kinds)


def choices_of(node: Mapping[str, Any]) -> list[str]:
    """The words that a value may be, where it is one of a few."""
    inner = (choice for one in node.get("anyOf", []) for choice in choices_of(one))
    return [*map(str, node.get("enum", [])), *inner]


def _joined(kinds: list[str]) -> str:
    return kinds[0] if len(kinds) == 1 else f"{', '.join(kinds[:-1])} or {kinds[-1]}"


def _kinds(node: Mapping[str, Any]) -> Iterator[str]:
    if "anyOf" in node:
        for one in node["anyOf"]:
            yield from _kinds(one)
    elif "enum" in node or "const" in node:
        yield from map(str, node.get("enum", [node.get("const")]))
    elif isinstance(node.get("type"), list):
        yield "text"  # which may be written as a number
    elif node.get("type") == "boolean":
        yield from ("true", "false")
    elif node.get("type") == "array":
        yield _list(node)
    elif node.get("type") == "object":
        yield _map(node)
    else:
        yield _TYPES.get(node.get("type", ""), "anything") + _bounds(node)


def _list(node: Mapping[str, Any]) -> str:
    items = in_words(node.get("items") or (node.get("prefixItems") or [{}])[0])
    least, most = node.get("minItems"), node.get("maxItems")
    if least and least == most:
        return f"list of {least} ({items})"
    return f"list ({items})" if " or " in items else f"list of {items}"


def _map(node: Mapping[str, Any]) -> str:
    if "properties" in node:
        return "section"
    inner = node.get("additionalProperties")
    return f"map to {in_words(inner)}" if isinstance(inner, Mapping) else "map"


def _bounds(node: Mapping[str, Any]) -> str:
    least, above = node.get("minimum"), node.get("exclusiveMinimum")
    most, below = node.get("maximum"), node.get("exclusiveMaximum")
    if least is not None and most is not None:
        return f" from {_number(least)} to {_number(most)}"
    if least is not None and below is not None:
        return f" from {_number(least)} to below {_number(below)}"
    limits = {"of at least": least, "greater than": above, "of at most": most, "less than": below}
    told = [f"{words} {_number(limit)}" for words, limit in limits.items() if limit is not None]
    return f" {' and '.join(told)}" if told else ""


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"
