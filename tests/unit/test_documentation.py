"""What the YAML files say of a key is found where it stands, and where it is said again."""

from __future__ import annotations

from pathlib import Path

import pytest

import textmill
from textmill.configuration.documentation import chosen_groups, documented, summary

CONF = Path(textmill.__file__).parent / "conf"


@pytest.mark.parametrize(
    ("config_name", "key", "file"),
    [
        ("train", "seed", "train.yaml"),
        ("train", "trainer.patience", "trainer/base.yaml"),
        ("train", "data.on_problem.leak", "data/base.yaml"),
        ("train", "loss.label_smoothing", "loss/cross_entropy.yaml"),
        ("train", "tracking.csv", "tracking/base.yaml"),
        ("evaluate", "split", "evaluate.yaml"),
        ("sweep", "sweep.trials", "sweep/base.yaml"),
        ("sweep", "optimizer.lr", "optimizer/base.yaml"),
    ],
)
def test_a_comment_is_found_on_the_line_of_its_key(config_name: str, key: str, file: str) -> None:
    said = documented(config_name, key)
    assert said is not None
    name, _, line = said.place.rpartition(":")
    assert name == f"conf/{file}"
    text = (CONF / file).read_text("utf-8").splitlines()[int(line) - 1]
    assert text.strip().startswith(f"{key.rpartition('.')[2]}:")
    assert text.endswith(f"# {said.comment}")


def test_a_key_of_a_list_has_its_comment_behind_the_list() -> None:
    said = documented("train", "optimizer.betas")
    assert said is not None
    assert (said.default, said.comment[:9]) == ([0.9, 0.999], "of adamw:")


def test_a_key_without_a_comment_has_that_of_its_section() -> None:
    section, key = documented("train", "data.split"), documented("train", "data.split.test")
    assert section is not None
    assert key is not None
    assert key.comment == section.comment != ""


def test_a_default_that_is_set_again_keeps_its_comment() -> None:
    before, again = documented("train", "tracking.report"), documented("sweep", "tracking.report")
    assert before is not None
    assert again is not None
    assert again.comment == before.comment
    assert (before.default, again.default) == (True, False)


def test_a_key_that_only_some_choices_have_is_explained_there() -> None:
    said = documented("train", "model.scratch.layers")
    assert said is not None
    assert said.place.startswith("conf/model/scratch.yaml:")


def test_a_local_copys_key_means_what_the_data_sets_does() -> None:
    said, local = documented("train", "data.text"), documented("train", "data.local.text")
    assert said is not None
    assert local is not None
    assert (local.comment, local.default) == (said.comment, None)


def test_nothing_is_said_of_what_there_is_not() -> None:
    assert documented("train", "data.nothing") is None
    assert documented("evaluate", "trainer.patience") is None


def test_a_file_says_what_it_is_without_its_command() -> None:
    assert summary("model", "bert_tiny").startswith("BERT-tiny: 2 layers")
    assert "textmill train" not in summary("model", "bert_tiny")
    experiment = summary("experiment", "cola_bert_tiny")
    assert "The experiment of the MLOps-Basics series" in experiment
    assert "@package" not in experiment


def test_groups_are_found_with_the_choice_that_they_start_with() -> None:
    assert dict(chosen_groups("train"))["tracking"] == "wandb"
    assert dict(chosen_groups("evaluate")) == {"data": "movie_reviews"}
    assert "optimizer" in dict(chosen_groups("sweep"))
