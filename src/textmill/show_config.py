"""``textmill config``: what a key means, what may stand there, what does, and what set it."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textmill.arguments import ArgumentParser
from textmill.configuration.files import group_choices
from textmill.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from argparse import Namespace

    from omegaconf import DictConfig

    from textmill.configuration.composing import Problem
    from textmill.configuration.origins import Origins
    from textmill.configuration.pages import KeyFacts, Page

CONFIGS = {"train": "train", "data": "train", "evaluate": "evaluate", "sweep": "sweep"}
EPILOG = """\
textmill config                        every key, its value, and what set it
textmill config trainer                the choices of a group, and the keys of its section
textmill config trainer.monitor        a key
textmill config schema > train.json    JSON Schema of the whole configuration, for editors
textmill config schema data            the same of a file of a group, such as data/mine.yaml"""


def main(argv: Sequence[str]) -> int:
    """Prints what is asked for; returns the exit status.

    Raises:
        InputError: There is no such key, or the configuration can't be composed.
    """
    arguments = _parse(argv)
    if arguments.words[:1] == ["schema"]:
        _print_schema(arguments.words[1:])
        return 0
    overrides = [word for word in arguments.words if _is_override(word)]
    keys = [word for word in arguments.words if not _is_override(word)]
    if len(keys) > 1:
        raise InputError(f"{len(keys)} keys are given, {', '.join(keys)}", hint="give one key")
    _show(keys[0] if keys else "", overrides, arguments)
    return 0


def _parse(argv: Sequence[str]) -> Namespace:
    from argparse import RawDescriptionHelpFormatter

    parser = ArgumentParser(
        prog="textmill config",
        description="Shows what a key of the configuration means, and what set it.",
        usage="textmill config [KEY | schema [NAME]] [KEY=VALUE ...] [GROUP=NAME ...] [options]",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="KEY", help="a key, a section or a group")
    parser.add_argument(
        "--verb", choices=CONFIGS, default="train", help="whose configuration; default train"
    )
    parser.add_argument("--config", metavar="RUN", help="start from a run's configuration")
    parser.add_argument("--config-dir", metavar="FOLDER", help="YAML files of your own")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_intermixed_args(list(argv))


def _is_override(word: str) -> bool:
    return "=" in word or word.startswith("~")


def _print_schema(names: Sequence[str]) -> None:
    from textmill.configuration.json_schema import json_schema

    if len(names) > 1:
        raise InputError(f"{len(names)} schemas are asked for", hint="ask for one")
    schema = json_schema(names[0] if names else "train")
    print(json.dumps(schema, indent=2, ensure_ascii=False))


def _show(key: str, overrides: Sequence[str], arguments: Namespace) -> None:
    from textmill.configuration.pages import as_json, show_page

    config_name = CONFIGS[arguments.verb]
    _check_key(key, config_name)
    argv = _argv(overrides, arguments, config_name)
    page = _page(key, argv, config_name, typed=arguments.json)
    if arguments.json:
        print(json.dumps(as_json(page), indent=2, ensure_ascii=False))
    else:
        show_page(page)


def _argv(overrides: Sequence[str], arguments: Namespace, config_name: str) -> list[str]:
    """The command line for Hydra."""
    argv = [*overrides]
    if arguments.config_dir is not None:
        argv += ["--config-dir", arguments.config_dir]
    if arguments.config is None:
        return argv
    from textmill.configuration.saved import take_saved

    return take_saved([*argv, "--config", arguments.config], config_name, _tell)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _check_key(key: str, config_name: str) -> None:
    """Makes sure that there is a key, a section or a group of that name.

    Raises:
        InputError: There isn't.
    """
    from textmill.configuration.explanations import known_keys, unknown_key
    from textmill.configuration.schema import SCHEMAS

    schema = SCHEMAS[config_name]
    groups = group_choices()
    if not key or key in groups or key in known_keys(schema):
        return
    if difflib.get_close_matches(key, groups, n=1):
        names = {*groups, *schema.model_fields}
        raise InputError(f"there is no key {key!r}", hint=did_you_mean(key, names))
    raise unknown_key(key, schema)


def _page(key: str, argv: Sequence[str], config_name: str, *, typed: bool) -> Page:
    """What there is to show of a key, a section, a group, or of all keys."""
    from textmill.configuration.documentation import summary
    from textmill.configuration.pages import Page

    facts = _Facts.of(argv, config_name)
    if key in facts.known and not facts.is_section(key):
        return Page(key, [facts.about(key, typed=True)])
    choices = {name: summary(key, name) for name in group_choices().get(key, [])}
    chosen = [file.partition("/")[2] for file in facts.origins.files if file.startswith(f"{key}/")]
    below = [one for one in facts.known if not key or one.startswith(f"{key}.")]
    shown = [one for one in below if facts.has(one) and not facts.is_section(one)]
    return Page(key, [facts.about(one, typed=typed) for one in shown], choices, chosen)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of the keys of a composed configuration.

    Args:
        config_name: The configuration.
        known: Its keys.
        cfg: What is composed.
        raw: The same as plain containers, nothing resolved.
        origins: What set its keys.
        problems: What is wrong with it.
    """

    config_name: str
    known: tuple[str, ...]
    cfg: DictConfig
    raw: Mapping[str, Any]
    origins: Origins
    problems: Sequence[Problem]

    @classmethod
    def of(cls, argv: Sequence[str], config_name: str) -> _Facts:
        """Composes a configuration."""
        from omegaconf import OmegaConf

        from textmill.configuration.composing import compose, find_problems
        from textmill.configuration.explanations import known_keys
        from textmill.configuration.schema import SCHEMAS

        schema = SCHEMAS[config_name]
        unchecked = compose(argv, config_name)
        raw: Any = OmegaConf.to_container(unchecked.cfg, resolve=False)
        origins, problems = unchecked.find_origins(), find_problems(unchecked, schema)
        return cls(config_name, tuple(known_keys(schema)), unchecked.cfg, raw, origins, problems)

    def about(self, key: str, *, typed: bool) -> KeyFacts:
        """All that is known of a key.

        Args:
            key: The key.
            typed: Whether its type is asked for, which takes longer.
        """
        from textmill.configuration.documentation import documented
        from textmill.configuration.json_schema import key_schema
        from textmill.configuration.pages import KeyFacts
        from textmill.configuration.wording import choices_of, in_words

        said = documented(self.config_name, key)
        node = key_schema(self.config_name, key) if typed else {}
        origin = self.origins.of(key)
        return KeyFacts(
            key=key,
            meaning=said.comment if said else "",
            type=in_words(node) if typed else None,
            choices=tuple(choices_of(node)),
            default=said.default if said else None,
            default_from=said.place if said else None,
            value=self._value(key),
            resolved=self._resolved(key),
            origin=origin.place if origin else None,
            problems=tuple(
                line for keys, error in self.problems if key in keys for line in error.problems
            ),
        )

    def has(self, key: str) -> bool:
        """Whether the key is in the configuration."""
        section, _, name = key.rpartition(".")
        return name in ((self._value(section) if section else self.raw) or {})

    def is_section(self, key: str) -> bool:
        """Whether the key has keys of its own, now."""
        value = self._value(key)
        return isinstance(value, dict) and any(f"{key}.{name}" in self.known for name in value)

    def _value(self, key: str) -> Any:  # noqa: ANN401 - any value
        found: Any = self.raw
        for name in key.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        return found

    def _resolved(self, key: str) -> Any:  # noqa: ANN401 - any value
        """The value with what it refers to; None where that can't be had."""
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        if "${" not in str(self._value(key)):
            return self._value(key)
        try:
            found: Any = OmegaConf.select(self.cfg, key)
            is_plain = not OmegaConf.is_config(found)
            return found if is_plain else OmegaConf.to_container(found, resolve=True)
        except OmegaConfBaseException:
            return None
