"""From overrides to a checked configuration: what composes, and how each mistake is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from textmill import cli
from textmill.configuration.composing import Composed, read_config, run_with_hydra, validate
from textmill.configuration.schema import TrainConfig
from textmill.errors import InputError, MachineError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hydra's state is global; and what a test writes would land in the folder it runs in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    yield
    GlobalHydra.instance().clear()


def compose(*overrides: str, config_name: str = "train") -> Composed[Any]:
    composed: list[Composed[Any]] = []
    run_with_hydra(overrides, config_name, composed.append)
    [only] = composed
    return only


def test_the_default_is_what_the_design_says() -> None:
    config = compose().config
    assert (config.data.name, config.model.name) == ("movie_reviews", "minilm")
    assert (config.name, config.runs_dir) == ("movie_reviews-minilm", "runs")


def test_an_experiment_changes_groups_and_keys_and_overrides_win_over_it() -> None:
    config = compose("experiment=cola_bert_tiny", "trainer.max_epochs=5").config
    assert (config.data.name, config.model.name, config.trainer.monitor) == (
        "cola",
        "bert_tiny",
        "mcc",
    )
    assert config.trainer.max_epochs == 5


def test_the_optimizer_takes_the_rates_that_suit_the_model_unless_it_is_told_others() -> None:
    def rates(*overrides: str) -> tuple[float, float, float]:
        optimizer = compose(*overrides).config.optimizer
        return optimizer.lr, optimizer.head_lr, optimizer.layer_decay

    assert rates("model=electra_small") == (3e-4, 3e-4, 0.8)
    assert rates("model.learning_rate=3e-3", "model.layer_decay=0.7") == (3e-3, 3e-3, 0.7)
    assert rates("optimizer.lr=1e-5", "optimizer.layer_decay=1") == (1e-5, 1e-5, 1.0)
    assert rates("optimizer=adafactor") == (2e-3, 2e-3, 1.0)


def test_composing_writes_nothing() -> None:
    compose()
    assert list(Path.cwd().iterdir()) == []


def test_the_overrides_are_kept_as_they_were_given() -> None:
    given = ("seed=7", "name=${data.name}_x", "data=tweets")
    composed = compose(*given)
    assert composed.overrides == given
    assert composed.config.name == "tweets_x"


def test_the_resolved_configuration_validates_again_after_yaml(tmp_path: Path) -> None:
    composed = compose("optimizer.lr=1e-5", "data=reuters_r8")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(composed.resolved))
    assert read_config(path, TrainConfig) == composed.config
    assert json.loads(json.dumps(composed.resolved)) == composed.resolved


@pytest.mark.parametrize("content", [None, b"\xff", b"a: [", b"text", b"[1]"])
def test_a_run_whose_configuration_is_broken_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"configuration can't be read, in .*config\.yaml"):
        read_config(path, TrainConfig)


def test_the_command_line_is_as_it_was_while_the_task_runs_and_after() -> None:
    before = list(sys.argv)
    seen: list[list[str]] = []
    run_with_hydra(["seed=3"], "train", lambda _: seen.append(list(sys.argv)))
    assert seen == [before]
    assert sys.argv == before


@pytest.mark.parametrize(
    "error", [MachineError("the disk is full"), ValueError("a bug"), KeyboardInterrupt()]
)
def test_what_the_task_raises_comes_out_unchanged_and_unprinted(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    def task(_: Composed[Any]) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        run_with_hydra([], "train", task)
    assert caught.value is error
    assert capsys.readouterr() == ("", "")


def test_several_runs_are_given_to_the_task_one_after_another() -> None:
    seeds: list[int] = []
    run_with_hydra(
        ["-m", "seed=1,2", "runs_dir=elsewhere"],
        "train",
        lambda composed: seeds.append(composed.config.seed),
    )
    assert seeds == [1, 2]
    assert [path.name for path in Path.cwd().iterdir()] == ["elsewhere"]


# Overrides, and for each line of the answer the words that must be in it; more of the common
# mistakes are among the integration tests.
MISTAKES: dict[str, tuple[list[str], list[list[str]]]] = {
    "unknown key like none": (["zzz=1"], [["'zzz'", "choose one of baselines, data, "]]),
    "unknown key within a map": (["trainer={max_epoch: 3}"], [["trainer.max_epochs"]]),
    "deleted key": (["~optimizer.lr"], [["optimizer.lr can't be deleted"]]),
    "deleted section": (["~optimizer"], [["optimizer can't be deleted"]]),
    "key of a value": (["data.label_values.x=1"], [["data.label_values is one value"]]),
    "key of null": (["data.local.train=x"], [["data.local is null", "data.local={train: VALUE}"]]),
    "repeated key": (["seed=1", "seed=2"], [["seed is given 2 times"]]),
    "repeated group": (["data=cola", "data=sst2"], [["data is given 2 times"]]),
    "truth for number": (["optimizer.lr=true"], [["true", "give a number"]]),
    "quoted number": (["seed='2'"], [['"2"', "give a whole number"]]),
    "nothing for number": (["seed="], [["seed", "give a whole number"]]),
    "null for number": (["seed=null"], [["seed can't be null", "give a whole number"]]),
    "number for truth": (["baselines.enabled=2"], [["give true or false"]]),
    "number for text": (["data.path=1.5"], [["give text", "data.path=\"'VALUE'\""]]),
    "text for list": (["data.labels=a"], [["data.labels", "give a list, such as [A,B]"]]),
    "text for a rule or map": (["loss.class_weights=x"], [["'none' or 'balanced' or a map"]]),
    "too large": (["loss.label_smoothing=1"], [["less than 1"]]),
    "infinite": (["optimizer.lr=inf"], [["give a finite number"]]),
    "list too short": (["optimizer.betas=[0.9]"], [["optimizer.betas", "longer list"]]),
    "no hash": (["model.package.sha256=x"], [["64 hexadecimal digits"]]),
    "name of two words": (["name=a b"], [['"a b"', "use letters"]]),
    "name that leaves the folder": (["name=../x"], [["name", "use letters"]]),
    "null for a section": (["data.split=null"], [["data.split.validation=VALUE"]]),
    "value for a group": (["trainer=3"], [["no trainer named '3'", "default"]]),
    "nothing for a group": (["data="], [["no data set named ''"]]),
    "list for a group": (["model=[minilm]"], [["did you mean minilm?"]]),
    "unknown trainer": (["trainer=defalt"], [["did you mean default?"]]),
    "unknown appended choice": (["+data=tweet"], [["no data set named 'tweet'", "tweets"]]),
    "unknown launcher": (["hydra/launcher=x"], [["hydra/launcher", "basic"]]),
    "base of a group": (["data=base"], [["no data set named 'base'", "movie_reviews"]]),
    "path for a choice": (["model=/etc/passwd"], [["/etc/passwd is not a YAML file"]]),
    "choice outside the group": (["model=../evaluate"], [["there is no file ../evaluate"]]),
    "missing value": (["data.train=???", "seed=???"], [["data.train"], ["seed is not given"]]),
    "no equals sign": (["seed"], [["'seed' is not an override", "KEY=VALUE"]]),
    "no key": (["=3"], [["KEY=VALUE"]]),
    "open quote": (["name='a b"], [["can't be read", "quote it twice"]]),
    "open bracket": (["data.labels=[a"], [["can't be read"]]),
    "open interpolation": (["name=${"], [["can't be read"]]),
    "file name with brackets": (
        ["data.train=reviews (1).csv"],
        [["quote it twice: 'data.train=\"reviews (1).csv\"'"]],
    ),
    "file name with an umlaut": (["data.train=für.csv"], [["'data.train=\"für.csv\"'"]]),
    "several values": (["seed=1,2"], [["several values (1,2)", "-m", "'seed=[1,2]'"]]),
    "several choices": (["data=cola,sst2"], [["add -m for a run with each"]]),
    "reference to nothing": (["name=${nothing}"], [["name refers to 'nothing'"]]),
    "reference to itself": (["name=${name}"], [["name can't be worked out"]]),
    "reference to no variable": (["name=${oc.env:NO_SUCH}"], [["name", "NO_SUCH"]]),
    "unknown resolver": (["name=${huh:x}"], [["name", "huh"]]),
    "one of several choices unknown": (
        ["tracking=[csv,huh]"],
        [["no tracking named 'huh'", "csv, mlflow"]],
    ),
    "not a choice among several": (["tracking=[csv,3]"], [["no tracking named '3'"]]),
    "half precision of a model that is shared out": (
        ["trainer=fsdp", "trainer.precision=16-mixed"],
        [["16-mixed", "trainer.strategy=fsdp", "trainer.precision=bf16-mixed"]],
    ),
    "adafactor of a model that is shared out": (
        ["optimizer=adafactor", "trainer=fsdp"],
        [["optimizer.name=adafactor", "trainer.strategy=fsdp", "optimizer=adamw"]],
    ),
    "several processes on the one device of a Mac": (
        ["trainer=ddp", "trainer.devices=1", "trainer.accelerator=mps"],
        [["trainer.strategy=ddp", "trainer.accelerator=mps", "trainer.strategy=auto"]],
    ),
    "a key of another optimizer": (
        ["optimizer=adafactor", "optimizer.eps=1e-6"],
        [["optimizer.eps is given", "adafactor has no eps", "optimizer=adafactor"]],
    ),
    "an optimizer without its keys": (
        ["optimizer.name=adafactor"],
        [["optimizer.betas is given", "adafactor has no betas"], ["optimizer.eps is given"]],
    ),
    "a warm-up longer than the training": (
        ["trainer.max_steps=10", "scheduler.warmup_steps=11"],
        [["scheduler.warmup_steps=11", "trainer.max_steps=10", "never reach its peak"]],
    ),
    "a wrong value that another is worked out from": (
        ["trainer.max_steps=x", "model.max_length=y"],
        [["model.max_length", '"y"', "whole number"], ["trainer.max_steps", '"x"']],
    ),
    "unknown flag": (["--hlep"], [["--hlep", "see --help"]]),
    "unknown kind of configuration": (["--cfg", "jobs"], [["'jobs'", "'job'"]]),
    "missing folder": (["--config-dir", "nowhere"], [["no such folder", "--config-dir nowhere"]]),
    "several unreadable": (["seed", "name=a'b", "x"], [["'seed'"], ["a'b"], ["'x'"]]),
    "several wrong values": (
        ["optimizer.lr=x", "trainer.devices=0", "data.overflow=y", "zz=1", "data.label=1.5"],
        [["'zz'"]],
    ),
    "several wrong values in known keys": (
        ["optimizer.lr=x", "trainer.devices=0", "data.overflow=y", "data.label=1.5"],
        [["data.label"], ["data.overflow"], ["optimizer.lr"], ["trainer.devices"]],
    ),
    "in the second of several runs": (["-m", "seed=1,x"], [['seed can\'t be "x"']]),
}


@pytest.mark.parametrize(("overrides", "answer"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_a_line_and_ends_with_status_2(
    overrides: list[str],
    answer: list[list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(cli.VERBS, "train", cli.Verb("tests.unit.no_verb", "", "train"))
    monkeypatch.setitem(sys.modules, "tests.unit.no_verb", NoVerb())
    assert cli.main(["train", *overrides]) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == len(answer), captured.err
    for line, words in zip(lines, answer, strict=True):
        assert line.startswith("textmill: error: ")
        assert line.isprintable()
        assert all(word in line for word in words), line
    assert captured.out == ""
    if "-m" not in overrides:
        assert list(Path.cwd().iterdir()) == []


class NoVerb:
    """Stands for a verb's module; the right ones of several runs come as far as here."""

    @staticmethod
    def run(composed: Composed[Any]) -> None:
        assert composed.config.seed == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name: [", "the YAML can't be read, in .*mine.yaml:"),
        ("defaults: [base, _self_]\nname: mine\ntrain: x\ntexts: a", "did you mean data.text"),
        ("defaults: [bass, _self_]\nname: mine", "data/bass"),
        ("name: mine\ntrain: ${huh}", "data.train refers to 'huh'"),
    ],
)
def test_a_mistake_in_a_yaml_of_the_users_is_told(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "mine.yaml").write_text(content)
    with pytest.raises(InputError, match=words):
        compose("--config-dir", str(tmp_path / "conf"), "data=mine")


def test_a_data_set_of_the_users_is_one_yaml(tmp_path: Path) -> None:
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "mine.yaml").write_text(
        "defaults: [base, _self_]\nname: mine\ntrain: mine.csv\n"
    )
    config = compose("--config-dir", str(tmp_path / "conf"), "data=mine").config
    assert (config.data.train, config.name) == ("mine.csv", "mine-minilm")


def test_wrong_values_from_python_are_told_like_those_of_the_command_line() -> None:
    values = compose().resolved
    with pytest.raises(InputError) as caught:
        validate({**values, "seed": "x", "extra": 1}, TrainConfig)
    assert len(caught.value.problems) == 2
