"""What ``textmill config`` shows: a key, a section, a group, or a whole configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import yaml

from textmill.legible import shorten
from textmill.terminal import console, facts_of, table_of

_LONGEST = 32


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """All that is known of a key.

    Args:
        key: Dotted.
        meaning: Its comment.
        type: What it may be, in words; None where nobody asked.
        choices: The words that it may be, where it is one of a few.
        default: As it is written where it is explained.
        default_from: The file and line of that.
        value: As it is written; None where a section above it is null.
        resolved: The same with what it refers to; None where that can't be had.
        origin: What set it: ``conf/trainer/base.yaml:2``, or an override.
        problems: What is wrong with it.
    """

    key: str
    meaning: str
    type: str | None
    choices: tuple[str, ...]
    default: Any
    default_from: str | None
    value: Any
    resolved: Any
    origin: str | None
    problems: tuple[str, ...] = ()

    @property
    def changed_by(self) -> str | None:
        """What set it, if it isn't the file that explains it."""
        return None if self.origin == self.default_from else self.origin


@dataclass(frozen=True, slots=True)
class Page:
    """What there is to show.

    Args:
        key: A key, a section or a group; nothing for the whole configuration.
        keys: The key, or those in the section.
        choices: From the choices of a group to what each says of itself.
        chosen: Those of them that are chosen now.
    """

    key: str
    keys: Sequence[KeyFacts]
    choices: Mapping[str, str] = field(default_factory=dict)
    chosen: Sequence[str] = ()


def as_json(page: Page) -> dict[str, Any]:
    """A page as an object for programs; the one of a key is the key's."""
    if [one.key for one in page.keys] == [page.key]:
        return asdict(page.keys[0])
    return asdict(page)


def show_page(page: Page) -> None:
    """Prints a page."""
    if [one.key for one in page.keys] == [page.key]:
        _show_key(page.keys[0])
        return
    if page.choices:
        _show_choices(page)
    if page.key and page.keys:
        _show_section(page)
    elif page.keys:
        _show_whole(page)


def _show_key(facts: KeyFacts) -> None:
    value = in_yaml(facts.value)
    if facts.resolved not in (None, facts.value):
        value = f"{in_yaml(facts.resolved)}, from {value}"
    default = "none, it has to be given" if facts.default == "???" else in_yaml(facts.default)
    told = {
        "value": value,
        "set by": facts.origin,
        "default": f"{default}, by {facts.default_from}" if facts.default_from else default,
        "may be": facts.type,
    }
    printed = console()
    printed.print(f"{facts.key}: {facts.meaning}" if facts.meaning else facts.key, markup=False)
    printed.print()
    printed.print(facts_of({name: value for name, value in told.items() if value is not None}))
    for problem in facts.problems:
        printed.print(f"wrong: {problem}", markup=False)


def _show_choices(page: Page) -> None:
    rows = [
        ("*" if name in page.chosen else None, name, told) for name, told in page.choices.items()
    ]
    headings = ("", f"{page.key}=", "* is chosen now")
    console().print(table_of(dict.fromkeys(headings, "left"), rows))
    console().print()


def _show_section(page: Page) -> None:
    """Each key with its value, its meaning, and what changed it."""
    rows = [
        (
            one.key.removeprefix(f"{page.key}."),
            shorten(in_yaml(one.value if one.resolved is None else one.resolved), _LONGEST),
            f"{one.meaning} [{one.changed_by}]" if one.changed_by else one.meaning,
        )
        for one in page.keys
    ]
    headings = (f"{page.key}.", "value", "meaning [what set it, if not the default]")
    console().print(table_of(dict.fromkeys(headings, "left"), rows))


def _show_whole(page: Page) -> None:
    rows = [(one.key, shorten(in_yaml(one.value), _LONGEST), one.origin) for one in page.keys]
    console().print(table_of(dict.fromkeys(("key", "value", "set by"), "left"), rows))


def in_yaml(value: object) -> str:
    """A value as one would write it in a YAML file, on one line."""
    if isinstance(value, str) and "${" in value:
        return value
    text = yaml.safe_dump(
        [value], default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False
    )
    return text.strip()[1:-1]
