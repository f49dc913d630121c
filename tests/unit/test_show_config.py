"""``textmill config`` tells what a key means, what it may be, what it is, and what set it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from textmill.cli import main
from textmill.configuration.explanations import known_keys
from textmill.configuration.files import group_choices
from textmill.configuration.schema import SCHEMAS, TrainConfig


@pytest.fixture(autouse=True)
def _own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my" / "experiment").mkdir(parents=True)
    (tmp_path / "my" / "experiment" / "try.yaml").write_text(
        "# @package _global_\n# Tries something.\ntrainer:\n  max_epochs: 7\n"
    )


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["config", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def facts(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(shown(capsys, *arguments, "--json"))


def test_a_key_has_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("trainer.max_epochs", "--config-dir", "my", "experiment=try")
    lines = [line.split() for line in shown(capsys, *given).splitlines()]
    assert " ".join(lines[0]) == "trainer.max_epochs: passes over the training examples"
    told = {
        " ".join(line[:2]) if line[0] in ("set", "may") else line[0]: line for line in lines[2:]
    }
    assert told["value"] == ["value", "7"]
    assert told["set by"] == ["set", "by", "my/experiment/try.yaml:4"]
    assert told["default"][:2] == ["default", "3,"]
    assert told["may be"] == ["may", "be", "whole", "number", "greater", "than", "0"]


def test_a_key_is_an_object_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    told = facts(capsys, "trainer.precision", "trainer.precision=32-true")
    assert told["choices"] == ["auto", "32-true", "bf16-mixed", "16-mixed"]
    assert (told["value"], told["origin"], told["default"]) == (
        "32-true",
        "trainer.precision=32-true",
        "auto",
    )
    assert told["default_from"].startswith("conf/trainer/base.yaml:")
    assert told["problems"] == []


def test_a_reference_is_shown_with_what_it_comes_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert "tweets-minilm, from ${data.name}-${model.name}" in shown(capsys, "name", "data=tweets")
    told = facts(capsys, "name")
    assert (told["value"], told["resolved"]) == (
        "${data.name}-${model.name}",
        "movie_reviews-minilm",
    )


def test_a_reference_to_nothing_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    told = facts(capsys, "name", "name=${nothing}")
    assert (told["value"], told["resolved"]) == ("${nothing}", None)
    assert "refers to 'nothing'" in told["problems"][0]


def test_a_wrong_value_is_shown_with_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "trainer.max_epochs", "trainer.max_epochs=0")
    assert "wrong: trainer.max_epochs can't be 0: give a number greater than 0" in text
    told = facts(capsys, "data.group", "data=files", "data.train=a.csv", "data.group=label")
    assert "data.group and data.label" in told["problems"][0]


def test_an_unfinished_choice_can_be_read_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert "data.train: a file" in shown(capsys, "data.train", "data=files")


def test_a_section_is_a_table_that_tells_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "trainer", "--config-dir", "my", "experiment=try", "trainer.patience=2")
    lines = {line.split()[0]: line for line in text.splitlines() if line.split()}
    assert lines["max_epochs"].rstrip().endswith("examples [my/experiment/try.yaml:4]")
    assert "[trainer.patience=2]" in lines["patience"]
    assert "[" not in lines["batch_size"]
    assert {
        name.partition(".")[2] for name in known_keys(TrainConfig) if "trainer." in name
    } <= set(lines)


def test_a_group_has_its_choices_told(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "model", "model=bert_tiny")
    assert "BERT-tiny: 2 layers" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("*")] == ["bert_tiny"]
    assert [name for name in group_choices()["model"] if name not in text] == []


def test_a_group_without_keys_is_its_choices(capsys: pytest.CaptureFixture[str]) -> None:
    told = facts(capsys, "experiment", "experiment=smoke")
    assert told["keys"] == []
    assert list(told["choices"]) == group_choices()["experiment"]
    assert told["chosen"] == ["smoke"]


@pytest.mark.parametrize("verb", SCHEMAS)
def test_without_a_key_all_are_shown(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["sweep=smoke"] if verb == "sweep" else []
    told = facts(capsys, "--verb", verb, *given)
    keys = {one["key"] for one in told["keys"]}
    assert {key for key in known_keys(SCHEMAS[verb]) if key.count(".") == 0} >= {
        key for key in keys if "." not in key
    }
    assert [one["key"] for one in told["keys"] if not one["origin"]] == []
    text = shown(capsys, "--verb", verb, *given)
    assert [key for key in keys if f"\n{key} " not in f"\n{text}"] == []


def test_keys_of_a_section_that_is_null_are_told_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert facts(capsys, "data.local.quoting")["value"] is None
    told = facts(capsys, "data.local.quoting", "data=cola")
    assert (told["value"], told["meaning"]) == (False, "whether double quotes enclose cells")


def test_a_map_is_one_key(capsys: pytest.CaptureFixture[str]) -> None:
    told = facts(capsys, "sweep.space", "--verb", "sweep", "sweep=smoke")
    assert told["origin"].startswith("conf/sweep/smoke.yaml:")
    assert "optimizer.lr" in told["value"]


def test_the_schema_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(shown(capsys, "schema"))["title"] == "train"
    assert "max_epochs" in json.loads(shown(capsys, "schema", "trainer"))["properties"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trainr"], "did you mean trainer"),
        (["experimnt"], "did you mean experiment?"),
        (["batch_size"], "did you mean trainer.batch_size?"),
        (["seed", "name"], "2 keys are given, seed, name"),
        (["schema", "data", "model"], "2 schemas"),
        (["seed", "--verb", "trian"], "invalid choice: 'trian'"),
        (["seed", "sed=1"], "'sed'"),
        (["seed", "--config-dir", "nowhere"], "no such folder"),
        (["trainer.max_epochs", "--verb", "evaluate"], "'trainer.max_epochs'"),
    ],
)
def test_what_cannot_be_shown_is_told(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""
