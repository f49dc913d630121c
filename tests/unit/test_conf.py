"""Every YAML file of the package, at any depth, makes a configuration that is valid."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

import textmill
from textmill.configuration.composing import check, compose
from textmill.configuration.files import BASE
from textmill.configuration.schema import SCHEMAS
from textmill.errors import InputError

CONF = Path(textmill.__file__).parent / "conf"
FILES = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml"))
ROOTS = [name for name in FILES if "/" not in name]
CHOICES = [name for name in FILES if "/" in name and not name.endswith(f"/{BASE}")]
BASES = [name for name in FILES if name.endswith(f"/{BASE}")]
# What the user must say of their own files.
NEEDED = {
    "data/files": ["data.train=reviews.csv"],
    "model/folder": ["model.path=encoder"],
}


def defaults_of(name: str) -> list[Any]:
    content = yaml.safe_load((CONF / f"{name}.yaml").read_text("utf-8"))
    return list(content.get("defaults", []))


def has_group(root: str, group: str) -> bool:
    """Whether a configuration has a choice of a group; Hydra's own groups are everywhere."""
    entries = [entry for entry in defaults_of(root) if isinstance(entry, dict)]
    return group.startswith("hydra/") or any(group in entry for entry in entries)


def needed_by(root: str) -> dict[str, str]:
    """Some choice of each group that a configuration leaves open."""
    entries = [entry for entry in defaults_of(root) if isinstance(entry, dict)]
    groups = [group for entry in entries for group, name in entry.items() if name == "???"]
    return {group: names_in(group)[0] for group in groups}


def names_in(group: str) -> list[str]:
    parts = (choice.rpartition("/") for choice in CHOICES)
    return [name for folder, _, name in parts if folder == group]


@cache
def composed(root: str, *choices: str) -> DictConfig:
    """A configuration with some choices, as ``data/imdb``, and with what these need."""
    chosen = {**needed_by(root), **dict(choice.rsplit("/", 1) for choice in choices)}
    overrides = [f"{group}={name}" for group, name in chosen.items()]
    needed = [key for choice in choices for key in NEEDED.get(choice, [])]
    return compose([*overrides, *needed], root).cfg


@pytest.mark.parametrize("root", ROOTS)
def test_every_configuration_composes_and_has_a_schema(root: str) -> None:
    check(composed(root), SCHEMAS[root])


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_is_valid(choice: str) -> None:
    group, _, name = choice.rpartition("/")
    roots = [root for root in reversed(ROOTS) if has_group(root, group)]
    assert roots, f"no configuration has a group for conf/{choice}.yaml"
    config = check(composed(roots[0], choice), SCHEMAS[roots[0]]).config
    if group in ("data", "model") and choice not in NEEDED:
        assert getattr(config, group).name == name


@pytest.mark.parametrize("base", BASES)
def test_every_base_is_what_a_choice_or_a_configuration_starts_from(base: str) -> None:
    group = base.rpartition("/")[0]
    siblings = [name for name in CHOICES if name.rpartition("/")[0] == group]
    starts = [name for name in siblings if BASE in defaults_of(name)]
    starts += [root for root in ROOTS if base in defaults_of(root)]
    assert starts


def section(group: str, name: str) -> Any:  # noqa: ANN401 - plain containers of any kind
    """The section of a choice; all that the choice says is in it."""
    plain = OmegaConf.to_container(composed("train", f"{group}/{name}"))
    default = OmegaConf.to_container(composed("train"))
    assert isinstance(plain, dict)
    assert isinstance(default, dict)
    own, _ = plain.pop(group), default.pop(group)
    assert plain == default
    return own


def test_every_data_set_can_be_had_with_every_model_and_for_evaluation() -> None:
    # As a choice says its own section alone, a pair is the two sections together.
    data = {name: section("data", name) for name in names_in("data")}
    models = {name: section("model", name) for name in names_in("model")}
    assert min(len(data), len(models)) > 5
    tried = {
        f"data={name} model={model}": problem_of("train", data=data[name], model=models[model])
        for name in data
        for model in models
    }
    tried |= {f"evaluate data={name}": problem_of("evaluate", data=data[name]) for name in data}
    assert {pair: problem for pair, problem in tried.items() if problem} == {}


def problem_of(root: str, **sections: object) -> str | None:
    values = OmegaConf.to_container(composed(root))
    assert isinstance(values, dict)
    try:
        check(OmegaConf.create({**values, **sections}), SCHEMAS[root])
    except InputError as error:
        return str(error)
    return None


def test_a_pair_of_sections_is_what_hydra_composes() -> None:
    pair = OmegaConf.to_container(composed("train", "data/imdb", "model/roberta_base"))
    assert isinstance(pair, dict)
    sections = {"data": section("data", "imdb"), "model": section("model", "roberta_base")}
    assert {**pair, **sections} == pair


def test_a_file_that_is_wrong_would_be_found() -> None:
    wrong = {**section("data", "cola"), "overflow": "keep_none"}
    assert "data.overflow" in str(problem_of("train", data=wrong))
