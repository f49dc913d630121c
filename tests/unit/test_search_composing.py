"""Search files that are wrong are refused before any work, and trials get what was chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from textmill.configuration.composing import Composed, check, compose
from textmill.configuration.files import group_choices
from textmill.configuration.schema import SweepConfig
from textmill.errors import InputError
from textmill.search.composing import TrialConfigs, searched
from textmill.search.space import Parameter

SPACE = """\
    optimizer.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
"""


def composed(tmp_path: Path, sweep: str, *overrides: str) -> Composed[SweepConfig]:
    """The configuration of a search file with these keys in its section."""
    path = tmp_path / "mine.yaml"
    path.write_text(f"# @package _global_\nsweep:\n  name: mine\n{sweep}")
    given = [f"sweep={path}", *overrides]
    return check(compose(given, "sweep").cfg, SweepConfig, given)


def space_of(tmp_path: Path, sweep: str, *overrides: str) -> tuple[Parameter, ...]:
    return searched(composed(tmp_path, sweep, *overrides))


def problems_of(tmp_path: Path, sweep: str, *overrides: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        space_of(tmp_path, sweep, *overrides)
    return list(caught.value.problems)


BAD_PARAMETERS = [
    (
        "optimizer.lrr: {low: 1.0, high: 2.0}",
        "there is no key 'optimizer.lrr': did you mean optimizer.lr",
    ),
    ("optimzer.lr: {low: 1.0, high: 2.0}", "there is no key 'optimzer.lr': did you mean"),
    ("modle: {choices: [minilm]}", "there is no key 'modle': did you mean model"),
    ("optimizer.lr: {low: 1.0, high: 0.5}", "low (1.0) must not exceed high (0.5)"),
    ("optimizer.lr: {low: 0, high: 0.5, log: true}", "optimizer.lr can't be 0"),
    ("optimizer.lr: {low: 0.1}", "give both low and high"),
    ("optimizer.lr: {}", "give either choices or low and high"),
    ("optimizer.lr: {choices: [0.1, fast]}", 'optimizer.lr can\'t be "fast"'),
    ("optimizer.lr: {low: 0.1, high: 0.2, steps: 2}", "there is no key 'sweep.space"),
    ("optimizer.lr: {low: a, high: 0.2}", 'optimizer.lr.low can\'t be "a"'),
    ("trainer.batch_size: {low: 0, high: 8}", "trainer.batch_size can't be 0"),
    ("trainer.batch_size: {low: 1.5, high: 8}", "trainer.batch_size can't be 1.5: give a whole"),
    ("trainer.batch_size: {choices: [8, 8]}", "a choice is given twice"),
    ("trainer.precision: {choices: [32-true, 64-true]}", 'trainer.precision can\'t be "64-true"'),
    ("model: {choices: [minilm, minilmm]}", "there is no model named 'minilmm', in model=minilmm"),
    ("model: {low: 1, high: 2}", "a group has no range, in sweep.space.model: give choices"),
    ("sweep: {choices: [smoke]}", "a search can't vary itself"),
    ("trainer.monitor: {choices: [mcc]}", "the search itself sets it, in sweep.space.trainer.mon"),
    (
        "scheduler.warmup: {low: 0, high: 0.2, when: {scheduler.shape: cosine}}",
        "'scheduler.shape' is not searched",
    ),
    (
        "scheduler.shape: {choices: [linear, cosine]}\n"
        "    scheduler.warmup: {low: 0, high: 0.2, when: {scheduler.shape: [linear, square]}}",
        "scheduler.shape is never square",
    ),
    (
        "scheduler.shape: {choices: [linear], when: {scheduler.warmup: 0.1}}\n"
        "    scheduler.warmup: {choices: [0.1], when: {scheduler.shape: linear}}",
        "scheduler.shape depends on itself",
    ),
]


@pytest.mark.parametrize(("parameter", "expected"), BAD_PARAMETERS)
def test_a_wrong_parameter_is_refused(tmp_path: Path, parameter: str, expected: str) -> None:
    found = problems_of(tmp_path, f"  space:\n    {parameter}\n")
    assert any(expected in line for line in found), found


BAD_SEARCHES = [
    ("  objectives: [validation/f1_macros]\n", [], "there is no objective 'validation/f1_macros'"),
    ("  objectives: [f1_macro]\n", [], "did you mean validation/f1_macro?"),
    ("  objectives: [test/mcc]\n", [], "did you mean validation/mcc?"),
    ("  objectives: [validation/mcc, validation/mcc]\n  pruner: none\n", [], "given twice"),
    ("  objectives: []\n", [], "sweep.objectives can't be []"),
    (
        "  objectives: [validation/mcc, latency_ms]\n",
        [],
        "a trial with several objectives can't be pruned, in sweep.pruner=median",
    ),
    ("  objectives: [latency_ms]\n", [], "latency_ms is known only when a trial has ended"),
    ("  sampler: grid\n", [], "a grid needs a step, in sweep.space.optimizer.lr"),
    ("  sampler: annealing\n", [], 'sweep.sampler can\'t be "annealing"'),
    ("  trials: null\n", [], "the search has no end"),
    ("  pruner: hyperband\n", ["trainer.max_steps=5"], "hyperband must know how long"),
    ("  first: [{optimizer.lr: 1.0}]\n", [], "optimizer.lr is never 1.0, in sweep.first.0"),
    ("  first: [{optimizer.l: 1.0}]\n", [], "'optimizer.l' is not searched"),
    ("", ["optimizer.lr=0.1"], "optimizer.lr is searched, so it can't be given"),
    ("", ["resume=latest"], "a search is not resumed like a run"),
]


@pytest.mark.parametrize(("sweep", "overrides", "expected"), BAD_SEARCHES)
def test_a_wrong_search_is_refused(
    tmp_path: Path, sweep: str, overrides: list[str], expected: str
) -> None:
    found = problems_of(tmp_path, f"  space:\n{SPACE}{sweep}", *overrides)
    assert any(expected in line for line in found), found


def test_a_search_without_a_space_or_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("# @package _global_\nsweep: {trials: 2}\n")
    with pytest.raises(InputError) as caught:
        check(compose([f"sweep={tmp_path / 'mine.yaml'}"], "sweep").cfg, SweepConfig)
    assert "sweep.name is not given" in caught.value.problems[0]
    assert any("sweep.space" in line for line in caught.value.problems)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    sweep = "  space:\n    optimizer.lr: {low: 2.0, high: 1.0}\n    seeed: {choices: [1]}\n"
    found = problems_of(tmp_path, f"{sweep}  objectives: [validation/mc]\n")
    assert len(found) == 3


@pytest.mark.parametrize("name", group_choices()["sweep"])
def test_every_search_of_the_package_can_be_done(name: str) -> None:
    given = [f"sweep={name}"]
    assert searched(check(compose(given, "sweep").cfg, SweepConfig, given))


@pytest.mark.parametrize(
    ("parameter", "whole"),
    [
        ("loss.label_smoothing: {low: 0, high: 0.5}", False),
        ("optimizer.weight_decay: {low: 0, high: 1}", False),
        ("trainer.batch_size: {low: 4, high: 8}", True),
    ],
)
def test_whether_a_range_is_of_whole_numbers_is_up_to_the_key(
    tmp_path: Path, parameter: str, whole: bool
) -> None:
    [found] = space_of(tmp_path, f"  space:\n    {parameter}\n")
    assert found.whole is whole


def test_a_key_may_be_of_a_section_that_only_one_choice_fills(tmp_path: Path) -> None:
    models = "    model: {choices: [scratch, minilm]}\n"
    layers = "model.scratch.layers: {low: 1, high: 3, when: {model: scratch}}"
    model, found = space_of(tmp_path, f"  space:\n    {layers}\n{models}")
    assert (model.key, found.key, found.whole) == ("model", "model.scratch.layers", True)
    [problem] = problems_of(
        tmp_path, f"  space:\n    {layers.replace('low: 1', 'low: 0')}\n{models}"
    )
    assert "model.scratch.layers can't be 0" in problem


def test_a_trial_gets_what_was_chosen_and_what_follows_from_it(tmp_path: Path) -> None:
    search = composed(
        tmp_path,
        "  objectives: [validation/mcc]\n  space:\n    model: {choices: [minilm, bert_tiny]}\n",
        "trainer.max_epochs=7",
    )
    configs = TrialConfigs(search)
    chosen = {"model": "bert_tiny", "model.dropout": None, "loss.class_weights": "balanced"}
    trial = configs.of(chosen, "mine-003")
    assert trial.config.model.name == "bert_tiny"
    assert trial.config.name == "mine-003"
    assert trial.config.loss.class_weights == "balanced"
    assert trial.config.trainer.max_epochs == 7
    assert trial.config.trainer.monitor == "mcc"
    assert trial.config.tracking.group == "mine"
    assert "sweep" not in trial.resolved
    # The configuration that the choices share stays as it was.
    other = configs.of({"model": "bert_tiny"}, "mine-004")
    assert other.config.loss.class_weights == "none"


def test_a_trials_overrides_make_the_same_run(tmp_path: Path) -> None:
    search = composed(tmp_path, f"  space:\n{SPACE}", "model=bert_tiny", "baselines.enabled=false")
    chosen = {"model.dropout": 0.25, "optimizer.lr": 1e-05, "trainer.precision": "32-true"}
    trial = TrialConfigs(search).of(chosen, "mine-001")
    again = compose([*trial.overrides, "tracking=none", "tracking.group=mine"], "train")
    same = dict(trial.resolved)
    found = check(again.cfg, type(trial.config))
    ours = {key: found.resolved[key] for key in ("model", "optimizer", "trainer", "name")}
    assert ours == {key: same[key] for key in ours}
