"""JSON Schema (draft 2020-12) of configurations, by which editors complete and check YAML files."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from textmill.configuration.documentation import documented
from textmill.configuration.explanations import sections_in
from textmill.configuration.files import group_choices
from textmill.configuration.schema import SCHEMAS
from textmill.errors import InputError, did_you_mean

Node = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
# The groups whose files may set any key, each with the configuration that they are for.
OVERALL = {"experiment": "train", "sweep": "sweep"}
# What may stand in the place of any value: a reference to others, or that it must be given.
_OPEN = {"type": "string", "pattern": r"^\?\?\?$|\$\{", "title": "reference to other keys"}


def schema_names() -> list[str]:
    """What there are schemas of: whole configurations, and the groups with their files."""
    return [*SCHEMAS, *(group for group in group_choices() if group not in SCHEMAS)]


def json_schema(name: str) -> Node:
    """The schema of a whole configuration, or of the files of a group.

    Of a whole configuration every key has to be there, with its value; a file of a group may leave
    out any, refer to other keys, and start from other files.

    Args:
        name: One of `schema_names`.

    Raises:
        InputError: There is no such configuration or group.
    """
    if name not in schema_names():
        raise InputError(f"there is no schema of {name!r}", hint=did_you_mean(name, schema_names()))
    if name in group_choices():
        return file_schema(name)
    opening = {"$schema": DRAFT, "description": f"the whole configuration of textmill {name}"}
    return {**opening, **documented_schema(name), "title": name}


def file_schema(name: str) -> Node:
    """The schema of the files of a group, or of the one that a configuration starts from."""
    if name in group_choices() and name not in OVERALL:
        config_name = next(known for known in SCHEMAS if name in SCHEMAS[known].model_fields)
        node, group = documented_schema(config_name)["properties"][name], name
    else:
        node, group = documented_schema(OVERALL.get(name, name)), None
    opened = _opened(node)
    opened["properties"]["defaults"] = _defaults(group)
    if group is None:
        opened["properties"]["hydra"] = {"type": "object", "description": "settings of Hydra"}
    return {"$schema": DRAFT, **opened, "title": f"{name}, a YAML file"}


def documented_schema(config_name: str) -> Node:
    """The schema of a whole configuration, with what the YAML files say of each key."""
    inlined = copy.deepcopy(_schema_of(SCHEMAS[config_name]))
    inlined.pop("$defs", None)
    _document(inlined, "", config_name)
    return inlined


def key_schema(config_name: str, key: str) -> Node:
    """The schema of one key, without what the YAML files say of it.

    Args:
        config_name: The configuration.
        key: One that it has, dotted.
    """
    section: type[BaseModel] = SCHEMAS[config_name]
    *sections, name = key.split(".")
    for one in sections:
        section = next(sections_in(section.model_fields[one].annotation))
    return _schema_of(section)["properties"][name]  # type: ignore[no-any-return]


@cache
def _schema_of(section: type[BaseModel]) -> Node:
    whole = section.model_json_schema()
    inlined: Node = _inlined(whole, whole.get("$defs", {}))
    return inlined


def _inlined(node: Any, parts: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    """A schema with its parts where they are referred to, since each key has its own comment."""
    if isinstance(node, list):
        return [_inlined(inner, parts) for inner in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inlined(copy.deepcopy(parts[node["$ref"].rpartition("/")[2]]), parts)
    return {key: _inlined(inner, parts) for key, inner in node.items()}


def _document(node: Node, key: str, config_name: str) -> None:
    """Puts title, description and default to a key's schema and to all below it."""
    for section in _sections(node):
        section.pop("description", None)
        section.pop("title", None)
        for name, inner in section["properties"].items():
            _document(inner, f"{key}.{name}" if key else name, config_name)
    said = documented(config_name, key)
    node["title"] = key
    if said is None:
        return
    if said.comment:
        node["description"] = said.comment
    if key in group_choices():
        node["description"] = f"choose one by {key}=NAME: {', '.join(group_choices()[key])}"
    elif said.default != "???" and not isinstance(said.default, dict):
        node["default"] = said.default


def _sections(node: Node) -> Iterator[Node]:
    """The schema itself, or those among which it chooses, where they have keys of their own."""
    if "properties" in node:
        yield node
    for inner in node.get("anyOf", []):
        yield from _sections(inner)


def _opened(node: Node) -> Node:
    """A section's schema for a file that gives a part of it."""
    opened = copy.deepcopy(node)
    for section in _sections(opened):
        section.pop("required", None)
        section["properties"] = {
            name: _or_reference(_opened(inner)) for name, inner in section["properties"].items()
        }
    return opened


def _or_reference(node: Node) -> Node:
    """A key's schema that also allows a reference."""
    told: Node = {
        name: node.pop(name) for name in ("title", "description", "default") if name in node
    }
    choices = node.pop("anyOf", None) or [dict(node)]
    return {**told, "anyOf": [*choices, _OPEN]}


def _defaults(group: str | None) -> Node:
    """The schema of the list of files that a file starts from."""
    entries: list[Node] = [{"type": "string"}, {"type": "object"}]
    if group is None:
        choices = {
            f"override /{name}": {"anyOf": [{"enum": names}, {}]}
            for name, names in group_choices().items()
        }
        entries = [{"type": "string"}, {"type": "object", "properties": choices}]
    return {
        "type": "array",
        "description": "the files that this one starts from; _self_ is its own place among them",
        "items": {"anyOf": entries},
    }
