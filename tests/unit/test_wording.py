"""What a value may be is told in words that are the same everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from textmill.configuration.wording import choices_of, in_words


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"type": "integer", "exclusiveMinimum": 0}, "whole number greater than 0"),
        ({"type": "integer", "minimum": 2}, "whole number of at least 2"),
        ({"type": "number", "minimum": 0.0, "maximum": 1.0}, "number from 0 to 1"),
        ({"type": "number", "minimum": 0.5, "exclusiveMaximum": 1.0}, "number from 0.5 to below 1"),
        (
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "number greater than 0 and of at most 1",
        ),
        ({"type": "integer", "exclusiveMaximum": 2**32}, "whole number less than 4294967296"),
        ({"type": "boolean"}, "true or false"),
        ({"type": ["string", "integer"], "pattern": "x"}, "text"),
        ({"enum": ["a", "b", "c"]}, "a, b or c"),
        ({"const": "a"}, "a"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text, or null"),
        ({"type": "null"}, "null"),
        (
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            "text or list of text",
        ),
        (
            {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
            "list (text or whole number)",
        ),
        (
            {
                "type": "array",
                "prefixItems": [{"type": "number"}] * 2,
                "minItems": 2,
                "maxItems": 2,
            },
            "list of 2 (number)",
        ),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "map to number"),
        ({"type": "object", "properties": {"a": {}}}, "section"),
        ({}, "anything"),
    ],
)
def test_a_schema_is_told_in_words(node: dict[str, Any], words: str) -> None:
    assert in_words(node) == words


def test_choices_are_found_within_alternatives() -> None:
    assert choices_of({"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}) == ["a", "b"]
    assert choices_of({"type": "string"}) == []
