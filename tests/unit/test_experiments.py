"""Every experiment says how it is run and what it reached, and its command is one that runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from textmill.configuration.composing import Composed, run_with_hydra
from textmill.configuration.files import group_choices, read_file

EXPERIMENTS = group_choices()["experiment"]
PROMISED = {
    *("cola_bert_tiny", "cola_minilm", "movie_reviews", "reuters_r8", "imbalanced"),
    *("multilabel", "lora", "from_scratch", "smoke"),
}
COMMAND = re.compile(r"# (?:.*: )?(textmill train experiment=.*)")
# A figure, or why there is none.
FIGURE = re.compile(r"(Reached|Published): .*\d\.\d{1,4}")
UNMEASURED = re.compile(r"Not measured: \w+")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    yield
    GlobalHydra.instance().clear()


def head(name: str) -> list[str]:
    """The lines of comments that an experiment opens with."""
    lines = read_file("experiment", name).splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return lines[:end]


def commands(name: str) -> list[str]:
    return [found[1] for line in head(name) if (found := COMMAND.fullmatch(line))]


def compose(*overrides: str) -> Composed[Any]:
    composed: list[Composed[Any]] = []
    run_with_hydra(overrides, "train", composed.append)
    return composed[0]


def test_there_is_every_experiment_that_is_promised() -> None:
    assert set(EXPERIMENTS) >= PROMISED


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_opens_with_its_command_and_what_it_reached(name: str) -> None:
    package, command, result, *_ = head(name)
    assert package == "# @package _global_"
    assert command == f"# textmill train experiment={name}"
    assert FIGURE.match(result, 2) or UNMEASURED.match(result, 2)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_its_commands_compose_to_what_it_says(name: str) -> None:
    assert commands(name)
    for command in commands(name):
        program, verb, *overrides = shlex.split(command)
        assert (program, verb) == ("textmill", "train")
        assert f"experiment={name}" in overrides
        composed = compose(*overrides)
        assert composed.resolved["data"]["path"] in (None, "FOLDER")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_figures_stand_beside_the_baselines(name: str) -> None:
    opening = "\n".join(head(name))
    if "Reached:" in opening:
        assert re.search(r"# Linear baseline: \d\.\d{4}", opening)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_an_experiment_needs_beside_textmill_is_said(name: str) -> None:
    composed = compose(f"experiment={name}")
    if composed.config.model.lora.rank:
        assert any("pip install 'textmill[lora]'" in line for line in head(name))


def test_the_smoke_test_needs_little_and_shows_itself_to_nobody() -> None:
    config = compose("experiment=smoke").config
    assert (config.data.name, config.model.name) == ("movie_reviews", "minilm")
    assert config.trainer.max_steps <= 10
    assert config.data.max_length <= 64
    tracking = config.tracking
    assert not any((tracking.wandb, tracking.mlflow, tracking.tensorboard, tracking.csv))
