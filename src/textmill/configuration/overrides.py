"""Reads the overrides of a command line, and finds what is wrong with them before Hydra does."""

from __future__ import annotations

import argparse
import json
import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException
from pydantic import BaseModel

from textmill.configuration.explanations import known_keys, unknown_choice, unknown_key
from textmill.configuration.files import BASE, group_choices
from textmill.configuration.own_files import OwnFiles, adopt, check_folder, is_file_choice
from textmill.errors import InputError

# The one group of which none can be chosen.
EXPERIMENT = "experiment"
# The groups of which several can be chosen together.
COMBINED = (EXPERIMENT, "tracking")


def override_of(key: str, value: object) -> str:
    """The override that gives a key a value, in quotes that Hydra takes whatever is in it."""
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def check_overrides(argv: Sequence[str], schema: type[BaseModel]) -> OwnFiles:
    """Finds the flags and overrides that can't be read or can't be meant, all at once.

    Args:
        argv: Overrides mixed with Hydra's own flags.
        schema: What the configuration must become.

    Returns:
        The command line for Hydra, which then finds the files among the choices too.

    Raises:
        InputError: Something is wrong.
    """
    arguments = parse_flags(argv)
    problems: list[InputError] = []
    if arguments.config_dir is not None:
        problems += check_folder(Path(arguments.config_dir))
    overrides: list[Override] = []
    of_hydra: list[Override] = []
    for text in arguments.overrides:
        override = _parse_override(text)
        if override is None:
            problems.append(_unreadable(text))
        else:
            is_hydras = override.key_or_group.startswith("hydra")
            (of_hydra if is_hydras else overrides).append(override)
    if not arguments.multirun:
        problems += [_several(override) for override in overrides if override.is_sweep_override()]
    groups = _groups(arguments.config_dir)
    for override in overrides:
        problems += _problems_of(override, schema, groups)
    problems += _repeated(overrides)
    try:
        own = adopt(argv, [*overrides, *of_hydra])
    except InputError as error:
        problems.append(error)
    if problems:
        raise InputError.all_of(problems)
    return own


def parse_flags(argv: Sequence[str]) -> argparse.Namespace:
    """Hydra's flags, and the overrides beside them.

    Raises:
        InputError: There is a flag that Hydra doesn't have.
    """
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise InputError(message, hint="see --help for what can be given")

    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_intermixed_args(list(argv))


def _parse_override(text: str) -> Override | None:
    try:
        [override] = OverridesParser.create().parse_overrides([text])
    except OverrideParseException:
        return None
    return override if override.key_or_group else None


def _unreadable(text: str) -> InputError:
    key, equals, value = text.partition("=")
    if not key or not equals:
        return InputError(f"{text!r} is not an override", hint="write KEY=VALUE")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    quoted = f'{key}="{escaped}"'
    hint = (
        f"quote it twice: {shlex.quote(quoted)}" if _parse_override(quoted) else "write KEY=VALUE"
    )
    return InputError(f"the override {text!r} can't be read", hint=hint)


def _several(override: Override) -> InputError:
    key = override.key_or_group
    value = _value_of(override)
    hint = "add -m for a run with each"
    if key not in group_choices():
        hint += f", or write '{key}=[{value}]' for one list"
    return InputError(f"{key} is given several values ({value})", hint=hint)


def _groups(config_dir: str | None) -> dict[str, list[str]]:
    """The groups, with Textmill's choices; those of the user's own have none of these."""
    folder = Path(config_dir) if config_dir else None
    own = [path.name for path in folder.iterdir()] if folder and folder.is_dir() else []
    return {**{name: [] for name in own}, **group_choices()}


def _problems_of(
    override: Override, schema: type[BaseModel], groups: Mapping[str, Sequence[str]]
) -> Iterator[InputError]:
    key = override.key_or_group
    known = {*groups, *known_keys(schema)}
    if override.is_delete():
        hint = f"give it another value: {key}=VALUE"
        yield (
            InputError(f"{key} can't be deleted", hint=hint)
            if key in known
            else unknown_key(key, schema)
        )
    elif key in groups:
        yield from _choice_problems(override, groups[key])
    elif override.is_add() and key in known:
        yield InputError(f"{key} is there already", hint=f"leave out the +: {key}=VALUE")
    elif not _may_be(key, known):
        yield unknown_key(key, schema)


def _may_be(key: str, known: Collection[str]) -> bool:
    """Whether there is such a key, or it is below one that may be a map or a list."""
    above = key
    while above and above not in known:
        above = above.rpartition(".")[0]
    return above == key or (bool(above) and not any(one.startswith(f"{above}.") for one in known))


def _choice_problems(override: Override, choices: Sequence[str]) -> Iterator[InputError]:
    """What is wrong with the choice of a group, as far as Hydra wouldn't tell it as well."""
    group, value = override.key_or_group, override.value()
    if override.is_sweep_override() or isinstance(value, dict):
        return
    if group == EXPERIMENT and value is None:
        return
    if isinstance(value, list) and group in COMBINED:
        names = {str(name): name for name in value}
    else:
        names = {_value_of(override): value}
    for written, name in names.items():
        if not _can_be_choice(name) and not is_file_choice(name):
            yield unknown_choice(group, written, choices)


def _can_be_choice(name: object) -> bool:
    """Not so are a number, null, a list; nothing; what the choices start from; other folders."""
    if not isinstance(name, str) or name in ("", BASE):
        return False
    return ".." not in name


def _repeated(overrides: Sequence[Override]) -> Iterator[InputError]:
    counts = Counter(override.get_key_element().lstrip("+~") for override in overrides)
    for key, count in counts.items():
        if count > 1:
            yield InputError(f"{key} is given {count} times", hint="leave all but one out")


def _value_of(override: Override) -> str:
    """The value as it was written."""
    return str(override.input_line).partition("=")[2]
