"""Values that don't go together are found from the configuration alone, all at once."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest

from textmill.configuration.composing import compose, validate
from textmill.configuration.contradictions import contradictions, known_part
from textmill.configuration.origins import Origin, Origins
from textmill.configuration.schema import EvaluateConfig, TrainConfig
from textmill.errors import InputError


@cache
def defaults(config_name: str = "train") -> dict[str, Any]:
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(
        compose(["data.train=a.csv"], config_name).cfg, resolve=True
    )
    files = {"source": "files", "labels": None, "label_thresholds": None}
    columns = {"text": "text", "label": "label"}
    return {**values, "data": {**values["data"], **files, **columns}}


def values(**changes: object) -> dict[str, Any]:
    """The defaults, on files, with some dotted keys changed."""
    changed = copy.deepcopy(defaults())
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = changed
        for one in sections:
            section = section[one]
        section[name] = value
    return changed


def found(**changes: object) -> list[str]:
    return [one.what for one in contradictions(validate(values(**changes), TrainConfig))]


GPU = {"trainer.accelerator": "gpu", "trainer.devices": 2}
HUB = {"data.source": "hub", "data.hub": {"repo": "a/b", "config": None, "revision": None}}
NO_PIN = {"name": "n", "version": None, "sha256": None, "kind": "wheel", "members": []}

# What contradicts, and the words of the only contradiction found.
WRONG: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "label declared twice": ({"data.labels": ["a", "b", "a"]}, ("declared twice", "a, b, a")),
    "label declared in two ways": ({"data.labels": ["1", "1.0"]}, ("declared twice",)),
    "only one label": ({"data.labels": ["a"]}, ("two labels",)),
    "labels against thresholds": (
        {"data.labels": ["a", "b"], "data.label_thresholds": [0.0, 1.0]},
        ("2 thresholds make 3 classes", "2 labels"),
    ),
    "falling thresholds": ({"data.label_thresholds": [1.0, 0.0]}, ("rising",)),
    "thresholds for several labels": (
        {"data.label_thresholds": [0.0], "data.multi_label": True},
        ("thresholds", "data.multi_label"),
    ),
    "thresholds and values": (
        {"data.label_thresholds": [0.0], "data.label_values": {"a": "b", "c": "d"}},
        ("thresholds", "data.label_values"),
    ),
    "values of other labels": (
        {"data.labels": ["a", "b"], "data.label_values": {"0": "a", "1": "z"}},
        ("does not have: z",),
    ),
    "delimiter for one label": ({"data.label_delimiter": "|"}, ("delimiter",)),
    "pair of one column": ({"data.text": ["a", "a"]}, ("data.text", "a twice")),
    "text as label": ({"data.label": "text"}, ("data.text and data.label", "text")),
    "text as label by number": ({"data.text": 1, "data.label": "1"}, ("both name the column 1",)),
    "group as label": ({"data.group": "label"}, ("data.group and data.label",)),
    "group as text": ({"data.group": "text"}, ("data.group and data.text",)),
    "delimiter of JSON": (
        {"data.format": "jsonl", "data.delimiter": ";"},
        ("data.delimiter can't be ';'", "data.format=jsonl"),
    ),
    "hub without a name": (
        {**HUB, "data.hub": {"repo": None, "config": None, "revision": None}},
        ("data.hub.repo", "data.source is hub"),
    ),
    "list of splits": ({**HUB, "data.test": ["x", "y"]}, ("data.test can't be the list [x,y]",)),
    "scratch without a size": (
        {"model.source": "scratch"},
        ("model.scratch is null", "model.source is scratch"),
    ),
    "width that heads can't share": (
        {"model.scratch": {"layers": 1, "width": 100, "heads": 3, "vocabulary": 500}},
        ("model.scratch.width=100", "model.scratch.heads=3"),
    ),
    "no training data": (
        {"data.train": None, "data.test": "b.csv"},
        ("data.train is null", "learn"),
    ),
    "no validation": (
        {"data.split": {"validation": 0.0, "test": 0.1}},
        ("data.validation is null and data.split.validation is 0",),
    ),
    "folder without a path": (
        {"model.source": "folder"},
        ("model.path", "model.source is folder"),
    ),
    "hub model without a name": ({"model.source": "hub"}, ("model.hub.repo", "is hub")),
    "updates of a frozen encoder": (
        {"model.lora.rank": 4, "model.freeze": "encoder"},
        ("model.lora.rank=4", "model.freeze=encoder"),
    ),
    "metric of the other kind": (
        {"data.multi_label": True, "trainer.monitor": "accuracy"},
        ("'accuracy' is not a metric of multi-label",),
    ),
    "metric like none": ({"trainer.monitor": "f1_marco"}, ("'f1_marco'", "single-label")),
    "metric of a label like none": ({"trainer.monitor": "f2/a"}, ("'f2/a'",)),
    "metric of another label": (
        {"trainer.monitor": "f1/c", "data.labels": ["a", "b"]},
        ("trainer.monitor=f1/c", "no label 'c'"),
    ),
    "metric of another class of numbers": (
        {"trainer.monitor": "f1/c", "data.label_thresholds": [0.0]},
        ("no label 'c'",),
    ),
    "weight of another label": (
        {"loss.class_weights": {"a": 1.0, "c": 2.0}, "data.labels": ["a", "b"]},
        ("loss.class_weights", "no label 'c'"),
    ),
    "too few tokens": (
        {"trainer.max_tokens": 100, "data.max_length": 128},
        ("trainer.max_tokens=100", "data.max_length=128"),
    ),
    "half precision on a CPU": (
        {"trainer.precision": "16-mixed", "trainer.accelerator": "cpu"},
        ("16-mixed", "cpu"),
    ),
    "two of what is one": (
        {"trainer.accelerator": "mps", "trainer.devices": 2},
        ("trainer.devices=2", "mps"),
    ),
    "copies on what is one": (
        {"trainer.accelerator": "mps", "trainer.strategy": "ddp"},
        ("trainer.strategy=ddp", "mps"),
    ),
    "half precision shared out": (
        {**GPU, "trainer.strategy": "fsdp", "trainer.precision": "16-mixed"},
        ("16-mixed", "fsdp"),
    ),
    "peak beyond the end": (
        {"scheduler.warmup_steps": 20, "trainer.max_steps": 10},
        ("scheduler.warmup_steps=20", "trainer.max_steps=10"),
    ),
}


@pytest.mark.parametrize(("changes", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_contradiction_is_found_with_the_keys_and_the_values(
    changes: dict[str, object], words: tuple[str, ...]
) -> None:
    [what] = found(**changes)
    assert all(word in what for word in words), what


RIGHT: dict[str, dict[str, object]] = {
    "defaults on files": {},
    "two labels": {"data.labels": ["a", "b"], "trainer.monitor": "f1/a"},
    "undeclared labels": {"trainer.monitor": "recall/any", "loss.class_weights": {"x": 2.0}},
    "classes of numbers": {"data.labels": ["a", "b"], "data.label_thresholds": [0.0]},
    "several labels a text": {
        "data.multi_label": True,
        "data.label_delimiter": "|",
        "data.labels": ["a"],
        "trainer.monitor": "f1_micro",
    },
    "pair": {"data.text": ["a", "b"], "data.group": "c"},
    "package in a folder": {"data.source": "package", "data.path": "x", "data.package": NO_PIN},
    "model in a folder": {"model.source": "hub", "model.path": "x"},
    "as many tokens as one text": {"trainer.max_tokens": 128, "data.max_length": 128},
    "half precision": {"trainer.precision": "16-mixed"},
    "updates": {"model.lora.rank": 4, "model.freeze": "embeddings"},
    "peak at the end": {"scheduler.warmup_steps": 10, "trainer.max_steps": 10},
}


@pytest.mark.parametrize("changes", RIGHT.values(), ids=RIGHT.keys())
def test_what_goes_together_is_accepted(changes: dict[str, object]) -> None:
    assert found(**changes) == []


def test_all_are_found_at_once() -> None:
    changes = {key: value for name in SEVERAL for key, value in WRONG[name][0].items()}
    assert len(found(**changes)) == len(SEVERAL)


SEVERAL = ("pair of one column", "too few tokens", "metric like none", "peak beyond the end")


def test_a_local_copy_of_a_hub_data_set_is_judged_by_its_own_answers() -> None:
    local = {"train": "a.tsv", "validation": ["b.tsv", "c.tsv"], "label": 1, "text": 1}
    changes = {**HUB, "data.path": "folder", "data.local": local}
    assert found(**changes) == ["data.text and data.label both name the column 1"]
    assert found(**{**changes, "data.path": None}) == []


def test_an_archive_has_to_be_pinned() -> None:
    changes = {"data.source": "package", "data.package": NO_PIN}
    assert [what.split(" ")[0] for what in found(**changes)] == [
        "data.package.version",
        "data.package.sha256",
    ]
    assert len(found(**{"model.package": NO_PIN})) == 2


def test_only_the_data_count_where_only_the_data_are_read() -> None:
    config = validate(values(**{"trainer.monitor": "x", "data.group": "label"}), TrainConfig)
    assert len(contradictions(config)) == 2
    assert len(contradictions(config, parts=("data", "model"))) == 1


def test_an_evaluation_is_judged_by_its_data() -> None:
    plain = {**copy.deepcopy(defaults("evaluate"))}
    plain["data"]["group"] = plain["data"]["label"]
    [only] = contradictions(validate(plain, EvaluateConfig))
    assert only.keys == ("data.group", "data.label")


def test_what_depends_on_a_wrong_value_is_not_judged_and_the_rest_is() -> None:
    plain = values(**{"data.labels": 3, "trainer.monitor": "f1/x", "data.group": "label"})
    config = known_part(plain, TrainConfig, {"data.labels"})
    assert [one.keys for one in contradictions(config, whole=False)] == [
        ("data.group", "data.label")
    ]


def test_a_rule_that_fails_on_a_whole_configuration_is_not_hidden() -> None:
    config = known_part(values(), TrainConfig, {"data.labels"})
    with pytest.raises(AttributeError):
        contradictions(config)


def test_wrong_values_and_contradictions_are_told_in_one_error() -> None:
    from textmill.configuration.composing import check

    given = ["trainer.devices=0", "trainer.monitor=f1_marco", "name='a b'", "data.overflow=keep"]
    with pytest.raises(InputError) as caught:
        check(compose(given, "train").cfg, TrainConfig)
    keys = [line.split(" ")[0] for line in caught.value.problems]
    assert sorted(keys) == ["data.overflow", "name", "trainer.devices", "trainer.monitor"]


def test_the_files_that_contradict_each_other_are_named() -> None:
    [one] = contradictions(validate(values(**{"trainer.monitor": "mc"}), TrainConfig))
    origins = Origins(
        {
            "trainer.monitor": Origin("my/a.yaml:3", "own"),
            "data.multi_label": Origin("data.multi_label=false", "override"),
        }
    )
    [line] = one.told(origins).problems
    assert line.endswith("classification, in my/a.yaml:3: did you mean mcc?")
