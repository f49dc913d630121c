"""What the YAML files say of each key: a comment with its unit, and the default."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import takewhile
from typing import Any

import yaml

from textmill.configuration.files import YAML_LOADER, first_file, group_choices, read_file

_PLAIN_COMMAND = re.compile(r"@package \S+|textmill \w+ \S+")


@dataclass(frozen=True, slots=True)
class Documented:
    """What is said of a key.

    Args:
        comment: What it means.
        default: Its value where nothing else sets it, as it is written; a section's is a map.
        place: The file and the line that say it, as ``conf/trainer/base.yaml:2``.
    """

    comment: str
    default: Any
    place: str


def documented(config_name: str, key: str) -> Documented | None:
    """What is said of a key or a section.

    Args:
        config_name: The file that its configuration starts from, as ``train``.
        key: Its dotted name.
    """
    return _said_first(config_name).get(key) or _said_by_choices(config_name).get(key)


@cache
def _said_first(config_name: str) -> Mapping[str, Documented]:
    """What is said where keys are first said."""
    found: dict[str, Documented] = {}
    for path, section in _files(config_name):
        for key, said in _keys_in(path, section):
            # A file that sets a key again need not explain it again.
            comment = said.comment or (found[key].comment if key in found else "")
            found[key] = replace(said, comment=comment)
    for key in [key for key in found if key.startswith("data.")]:
        local = f"data.local.{key.removeprefix('data.')}"
        found.setdefault(local, replace(found[key], default=None))
    return found


@cache
def _said_by_choices(config_name: str) -> Mapping[str, Documented]:
    """What is said by choices of groups, some of which have keys that others don't."""
    found: dict[str, Documented] = {}
    for group, _ in chosen_groups(config_name):
        for choice in group_choices()[group]:
            for key, said in _keys_in((group, choice), group):
                found.setdefault(key, said)
    return found


@cache
def summary(*path: str) -> str:
    """What a file says of itself in the comment at its top, without the command that chooses it."""
    lines = takewhile(lambda line: line.startswith("#"), read_file(*path).splitlines())
    told = (line.removeprefix("#").strip() for line in lines)
    return " ".join(line for line in told if not _PLAIN_COMMAND.fullmatch(line))


def chosen_groups(config_name: str) -> Iterator[tuple[str, str]]:
    """The groups in which a configuration starts with a choice, each with that choice."""
    for entry in _values(config_name)["defaults"]:
        if isinstance(entry, str) and "/" not in entry and entry != "_self_":
            yield from chosen_groups(entry)
        elif isinstance(entry, dict):
            group, choice = next(iter(entry.items()))
            if group in group_choices() and choice is not None:
                yield group, choice[0] if isinstance(choice, list) else choice


def _files(config_name: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The files in which keys are first said, each with the section that they belong to."""
    for group, choice in chosen_groups(config_name):
        yield (group, first_file(group, choice)), group
    for entry in _values(config_name)["defaults"]:
        if isinstance(entry, str) and "/" not in entry and entry != "_self_":
            yield (entry,), ""
    yield (config_name,), ""


def _keys_in(path: tuple[str, ...], section: str) -> Iterator[tuple[str, Documented]]:
    """What a file says of its keys, which belong to a section, or to none."""
    text = read_file(*path)
    lines = text.splitlines()

    def visit(
        node: yaml.Node, values: Mapping[str, Any], prefix: str, above: str
    ) -> Iterator[tuple[str, Documented]]:
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            if name.removeprefix(f"{section}.") in ("defaults", "hydra"):
                continue
            comment = _comment(lines, key, value) or above
            place = f"conf/{'/'.join(path)}.yaml:{key.start_mark.line + 1}"
            inner = values[key.value]
            yield name, Documented(comment, inner, place)
            if isinstance(value, yaml.MappingNode) and value.value:
                yield from visit(value, inner, f"{name}.", comment)

    root = yaml.compose(text, Loader=YAML_LOADER)
    if isinstance(root, yaml.MappingNode) and not text.startswith("# @package _global_"):
        yield from visit(root, _values(*path), f"{section}." if section else "", "")


def _values(*path: str) -> Any:  # noqa: ANN401 - whatever YAML may hold
    return yaml.load(read_file(*path), YAML_LOADER)  # noqa: S506 - a safe loader


def _comment(lines: list[str], key: yaml.Node, value: yaml.Node) -> str:
    """The comment behind a value, or behind a key whose value takes further lines."""
    is_block = isinstance(value, yaml.CollectionNode) and not value.flow_style
    mark = (key if is_block else value).end_mark
    return lines[mark.line][mark.column :].partition("# ")[2].strip()
