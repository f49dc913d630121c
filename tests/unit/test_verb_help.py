"""The help shows every key, every choice and every option, as their own files explain them."""

from __future__ import annotations

import pytest

from textmill.cli import VERBS
from textmill.configuration.explanations import known_keys
from textmill.configuration.files import group_choices, read_file
from textmill.configuration.schema import SCHEMAS
from textmill.verb_help import verb_help

# Sections that are empty until somebody fills them, of which the help shows their own line alone.
EMPTY = (".local.", ".scratch.", ".space.")
CONFIGURED = [name for name, verb in VERBS.items() if verb.config]


def help_of(name: str) -> str:
    verb = VERBS[name]
    assert verb.config is not None
    return verb_help(name, verb.summary, verb.config, verb.flags)


@pytest.mark.parametrize("name", CONFIGURED)
def test_every_key_is_shown(name: str) -> None:
    shown = {line.strip().partition(":")[0].partition("=")[0] for line in help_of(name).split("\n")}
    schema = SCHEMAS[str(VERBS[name].config)]
    keys = [key for key in known_keys(schema) if not any(section in key for section in EMPTY)]
    assert {key.rpartition(".")[2] for key in keys} <= shown


@pytest.mark.parametrize("name", CONFIGURED)
def test_every_choice_of_its_groups_is_shown_and_no_base(name: str) -> None:
    text = " ".join(help_of(name).split())
    for group, choices in group_choices().items():
        if group in SCHEMAS[str(VERBS[name].config)].model_fields:
            assert f"{group}=NAME: {', '.join(choices)}" in text
    assert " base," not in text


def test_groups_of_other_verbs_are_not_shown() -> None:
    assert "optimizer=NAME" not in help_of("evaluate")


def test_keys_come_with_their_comments() -> None:
    [line] = [line for line in read_file("data", "base").split("\n") if line.startswith("overflow")]
    assert line in help_of("train")


def test_the_verbs_own_switches_are_shown() -> None:
    assert "--json" in help_of("data")
    assert "--json" not in help_of("train")


def test_nothing_of_hydras_own_settings_is_shown() -> None:
    assert "hydra" not in help_of("train")
