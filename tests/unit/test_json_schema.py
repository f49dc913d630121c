"""Editors complete and check YAML files by schemas that accept what Textmill does, and no more."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import textmill
from textmill.configuration.explanations import known_keys
from textmill.configuration.files import BASE, group_choices
from textmill.configuration.json_schema import (
    OVERALL,
    file_schema,
    json_schema,
    key_schema,
    schema_names,
)
from textmill.configuration.schema import SCHEMAS
from textmill.errors import InputError

CONF = Path(textmill.__file__).parent / "conf"
# Hydra's own settings have no schema; what a search starts from is a section, its choices are not.
SHIPPED = [
    path
    for path in sorted(CONF.rglob("*.yaml"))
    if path.relative_to(CONF).parts[0] != "hydra"
    and not (path.stem == BASE and path.parent.name in OVERALL)
]


@cache
def validator(name: str, *, whole: bool = False) -> jsonschema.Draft202012Validator:
    schema = json_schema(name) if whole else file_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def wrong(name: str, text: str) -> list[str]:
    """What the schema of a group's files has against one, by the place in it."""
    errors = validator(name).iter_errors(yaml.safe_load(text))
    return [".".join(map(str, error.path)) or error.message for error in errors]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_yaml_of_the_package_is_valid(path: Path) -> None:
    name = path.stem if path.parent == CONF else path.parent.name
    assert wrong(name, path.read_text("utf-8")) == []


def test_the_yaml_files_are_found() -> None:
    assert len(SHIPPED) > 40
    assert {path.parent.name for path in SHIPPED} == {"conf", *group_choices()}


@pytest.mark.parametrize("config_name", [name for name in SCHEMAS if name not in group_choices()])
def test_a_whole_configuration_is_valid_and_a_part_is_not(
    config_name: str, whole_configuration: dict[str, Any]
) -> None:
    keys = set(SCHEMAS[config_name].model_fields)
    values = {key: value for key, value in whole_configuration.items() if key in keys}
    validator(config_name, whole=True).validate(values)
    del values["data"]["name"]
    with pytest.raises(jsonschema.ValidationError, match="'name' is a required property"):
        validator(config_name, whole=True).validate(values)


@pytest.fixture
def whole_configuration() -> dict[str, Any]:
    """The resolved defaults of all verbs, as they come back from YAML."""
    from omegaconf import OmegaConf

    from textmill.configuration.composing import compose

    values: dict[str, Any] = {}
    for config_name in ("evaluate", "train"):
        cfg = compose([], config_name).cfg
        values |= yaml.safe_load(OmegaConf.to_yaml(cfg, resolve=True))
    return values


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data", "name: mine\ntrain: [a.csv, b.csv]\nlabels: [0, 1]\n"),
        ("data", "defaults: [cola, _self_]\nmax_length: ${model.max_length}\n"),
        ("data", "split: ${oc.env:SPLIT}\nname: ???\n"),
        ("data", "local: {train: a.tsv, quoting: false}\n"),
        ("loss", "class_weights: {good: 2, bad: 0.5}\n"),
        ("optimizer", "betas: [0.9, 0.95]\nlr: 1\n"),
        ("experiment", "defaults:\n  - override /data: mine\ntrainer: {max_epochs: 3}\n"),
        ("experiment", "defaults: [smoke]\nhydra: {job: {chdir: false}}\nseed: ${oc.env:SEED}\n"),
        ("sweep", "sweep: {name: s, space: {optimizer.lr: {low: 1.0e-5, high: 1, log: true}}}\n"),
    ],
)
def test_a_part_of_a_configuration_is_valid(name: str, text: str) -> None:
    assert wrong(name, text) == []


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("data", "nam: mine\n", "'nam' was unexpected"),
        ("data", "split: {tset: 0.1}\n", "split"),
        ("data", "split: {test: 1.0}\n", "split"),
        ("data", "overflow: keep_haed\n", "overflow"),
        ("data", "text: [a, b, c]\n", "text"),
        ("data", "package: {sha256: abc}\n", "package"),
        ("data", "multi_label: maybe\n", "multi_label"),
        ("trainer", "max_epochs: 0\n", "max_epochs"),
        ("trainer", "max_epochs: 1.5\n", "max_epochs"),
        ("trainer", "max_epochs: many\n", "max_epochs"),
        ("optimizer", "betas: [0.9]\n", "betas"),
        ("loss", "class_weights: {good: 0}\n", "class_weights"),
        ("loss", "class_weights: balance\n", "class_weights"),
        ("experiment", "trainr: {max_epochs: 3}\n", "'trainr' was unexpected"),
        ("experiment", "name: a b\n", "name"),
        ("sweep", "sweep: {space: {seed: {choises: [1]}}}\n", "sweep"),
    ],
)
def test_a_wrong_part_is_not(name: str, text: str, place: str) -> None:
    [told] = wrong(name, text)
    assert place in told


@pytest.mark.parametrize("name", schema_names())
def test_every_schema_is_one_and_is_json(name: str) -> None:
    schema = json_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["additionalProperties"] is False
    assert schema["$schema"].endswith("2020-12/schema")
    assert "$ref" not in json.dumps(schema)


def test_a_key_has_title_description_and_default() -> None:
    node = json_schema("trainer")["properties"]["max_epochs"]
    assert node["title"] == "trainer.max_epochs"
    assert node["description"] == "passes over the training examples"
    assert node["default"] == 3
    whole = json_schema("train")["properties"]["data"]["properties"]["hub"]
    assert whole["properties"]["repo"]["description"].startswith("name on the hub")


def test_a_default_that_has_to_be_given_is_none() -> None:
    assert "default" not in json_schema("data")["properties"]["name"]


def test_an_experiment_is_offered_the_choices_of_groups() -> None:
    entries = json_schema("experiment")["properties"]["defaults"]["items"]["anyOf"]
    [override] = [one["properties"]["override /model"] for one in entries if "properties" in one]
    assert {"enum": group_choices()["model"]} in override["anyOf"]


@pytest.mark.parametrize("config_name", SCHEMAS)
def test_every_key_has_a_schema_of_its_own(config_name: str) -> None:
    for key in known_keys(SCHEMAS[config_name]):
        assert key_schema(config_name, key)


def test_an_unknown_schema_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="no schema of 'trian': did you mean train"):
        json_schema("trian")
