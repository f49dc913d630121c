"""The schema and the YAML defaults belong together, and both to the code that they configure."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

import textmill
from textmill.configuration.composing import validate
from textmill.configuration.documentation import documented
from textmill.configuration.explanations import known_keys
from textmill.configuration.schema import (
    SCHEMAS,
    LossSection,
    ProblemsSection,
    Section,
    TrainConfig,
)
from textmill.data.checks import KINDS, NEVER_KEPT, Policies
from textmill.errors import InputError
from textmill.model.metric_names import monitor_mode

CONF = Path(textmill.__file__).parent / "conf"
# Files that say Hydra's own keys, of which Textmill's documentation knows nothing.
OF_HYDRA = sorted((CONF / "hydra").rglob("*.yaml"))


def keys_of(node: yaml.Node) -> list[tuple[yaml.Node, yaml.Node]]:
    return list(node.value) if isinstance(node, yaml.MappingNode) else []


def uncommented(path: Path) -> list[str]:
    """The keys of a YAML that no comment explains, on their line or on their section's."""
    lines = path.read_text("utf-8").splitlines()
    found: list[str] = []

    def visit(node: yaml.Node, explained: bool) -> None:
        for key, value in keys_of(node):
            if key.value in ("defaults", "hydra") and node is root:
                continue
            commented = "#" in lines[key.start_mark.line]
            if isinstance(value, yaml.MappingNode):
                visit(value, explained or commented)
            elif not (commented or explained):
                found.append(key.value)

    root = yaml.compose(path.read_text("utf-8"))
    visit(root, explained=False)
    return found


@pytest.mark.parametrize("config_name", SCHEMAS)
def test_every_key_is_explained(config_name: str) -> None:
    """What a key means is said where it gets its default, or where its section is explained."""
    sections = {key.rpartition(".")[0] for key in known_keys(SCHEMAS[config_name])}
    said = {key: documented(config_name, key) for key in known_keys(SCHEMAS[config_name])}
    of_maps = "sweep.space."  # of each varied key, as the comment on sweep.space tells
    silent = [key for key, one in said.items() if one is None or not one.comment]
    assert [key for key in silent if key not in sections and not key.startswith(of_maps)] == []


@pytest.mark.parametrize("path", OF_HYDRA, ids=lambda path: path.stem)
def test_every_key_of_hydras_is_explained(path: Path) -> None:
    assert [key for key in uncommented(path) if key != "_target_"] == []


def test_a_key_without_comment_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("a: 1 # told\nb: 2\nc: # told\n  d: 3\ne:\n  f: 4\n  g: 5 # told\n")
    assert uncommented(path) == ["b", "f"]


def test_every_yaml_says_at_its_top_what_it_is() -> None:
    tops = {path: path.read_text("utf-8").splitlines()[0] for path in CONF.rglob("*.yaml")}
    assert tops
    assert [str(path) for path, top in tops.items() if not top.startswith("# ")] == []


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda p: p.stem)
def test_an_experiment_opens_with_the_command_that_runs_it(path: Path) -> None:
    assert f"# textmill train experiment={path.stem}\n" in path.read_text("utf-8")


def test_the_policies_are_those_of_the_checks() -> None:
    fields = ProblemsSection.model_fields
    assert set(fields) == set(KINDS) == {field.name for field in dataclasses.fields(Policies)}
    never_kept = {
        name for name, field in fields.items() if "keep" not in get_args(field.annotation)
    }
    assert never_kept == NEVER_KEPT


def test_the_default_monitor_is_a_metric() -> None:
    trainer = yaml.safe_load((CONF / "trainer" / "base.yaml").read_text("utf-8"))
    assert monitor_mode(trainer["monitor"], multi_label=False) == "max"


def test_dotted_keys_reach_into_sections_of_sections() -> None:
    keys = set(known_keys(TrainConfig))
    assert {"data", "data.hub", "data.hub.config", "data.local.train", "trainer.max_epochs"} <= keys
    assert "model.hub.config" not in keys


@pytest.mark.parametrize("schema", SCHEMAS.values())
def test_a_checked_configuration_cannot_be_changed(schema: type[Section]) -> None:
    assert schema.model_config["frozen"]


class Sample(Section):
    loss: LossSection


def loss(**values: Any) -> dict[str, Any]:  # noqa: ANN401 - values of any type are tried
    return {"loss": {"class_weights": "none", "label_smoothing": 0.0, **values}}


@pytest.mark.parametrize("weights", ["none", "balanced", {"a": 0.5, "b": 2}])
def test_class_weights_are_a_rule_or_a_map(weights: object) -> None:
    assert validate(loss(class_weights=weights), Sample).loss.class_weights == weights


@pytest.mark.parametrize("values", [{"class_weights": "none"}, {"class_weights": {"a": 1}}])
def test_no_key_has_a_default_outside_the_yaml(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="label_smoothing is not given"):
        validate({"loss": values}, Sample)


@pytest.mark.parametrize("value", [True, "0.1", None, float("nan"), float("inf"), [0.1]])
def test_a_value_of_another_type_is_not_converted(value: object) -> None:
    with pytest.raises(InputError, match="label_smoothing can't be"):
        validate(loss(label_smoothing=value), Sample)


def test_a_label_may_look_like_a_whole_number() -> None:
    from textmill.configuration.schema import LocalSection

    assert LocalSection(labels=[0, 1]).labels == ["0", "1"]  # type: ignore[list-item]
    with pytest.raises(ValueError, match="valid string"):
        LocalSection(labels=[1.5])  # type: ignore[list-item]


def test_sections_have_a_key_for_everything_the_yaml_says() -> None:
    """A key of a YAML that the schema lacks would stop every run."""
    for group in ("data", "model", "optimizer", "scheduler", "trainer"):
        base = yaml.safe_load((CONF / group / "base.yaml").read_text("utf-8"))
        section = TrainConfig.model_fields[group].annotation
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        assert set(base) == set(section.model_fields)
