"""The benchmark of speed runs, in miniature and with made-up models; nothing here is timed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

# Imported once, for all forks.
import benchmarks.speed.overhead
import benchmarks.speed.peers
import benchmarks.speed.synthetic_rows
import pytest
import torch
from benchmarks.speed import machine
from benchmarks.speed.__main__ import main
from benchmarks.speed.clock import StepClock
from benchmarks.speed.material import make_job
from benchmarks.speed.parts import measure
from benchmarks.speed.plan import Plan, Texts, default_plan, miniature, with_steps
from benchmarks.speed.results import Facts, Results, Trained, read_results
from benchmarks.speed.rounds import Turns
from benchmarks.speed.tables import tables_of
from benchmarks.speed.training import CONTESTANTS
from benchmarks.spread import Spread, ratios
from benchmarks.tables import as_markdown

from tests.forks import write_short_reviews
from textmill.configuration.overrides import override_of
from textmill.labels import Labels
from textmill.model.network import Pretrained, build_network

FACTS = Facts("made up", 40, 10.0, 1_000, 32, batch_size=4, warm_up=1, steps=2)


@pytest.fixture(scope="module")
def plan(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    reviews = write_short_reviews(tmp_path_factory.mktemp("reviews") / "reviews.csv")
    texts = Texts("short", ("data=files", override_of("data.train", str(reviews))), 32, 1, 2)
    smallest = replace(miniature(default_plan(None)), texts=(texts,), growth=(100,))
    return replace(smallest, model="folder", model_path=tiny_encoder)


@pytest.fixture(scope="module")
def measured(
    plan: Plan, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Results, Path]]:
    """All parts but start-up, which has no miniature."""
    folder = tmp_path_factory.mktemp("measured")
    path = folder / "speed.json"
    parts = ("training", "overhead", "scoring", "tokenizing", "growth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "SIZE", 64)
        patch.setenv("TEXTMILL_CACHE", str(folder / "cache"))
        yield measure(plan, parts, output=path, turns=Turns("fork")), path


def test_every_contestant_is_timed_on_the_same_number_of_steps(
    measured: tuple[Results, Path],
) -> None:
    results, _ = measured
    facts, found = results.facts["short"], results.training["short"]
    assert facts.examples == 12
    assert list(found) == list(CONTESTANTS)
    for (turn,) in found.values():
        assert (
            facts.steps * facts.batch_size * 5 < turn.tokens < facts.steps * facts.batch_size * 32
        )
        assert turn.seconds > 0
        assert turn.examples_per_second(facts) > 0
        assert turn.precision in turn.product_flops


def test_the_parts_of_a_step_are_less_than_the_whole(measured: tuple[Results, Path]) -> None:
    (parts,) = measured[0].overhead["short"]
    assert min(parts.forward, parts.backward, parts.optimizer) > 0
    assert 0 < parts.overhead < 1


def test_scores_agree_with_those_of_transformers(measured: tuple[Results, Path]) -> None:
    agreement = {name: turn.agreement for name, (turn,) in measured[0].scoring.items()}
    for exact in ("transformers pipeline", "Textmill, form torch", "Textmill, form onnx"):
        assert agreement[exact] == 1
    # As it is loaded by default, in 8-bit integers where these have passed their proof.
    assert agreement["Textmill"] > 0.8


def test_what_was_measured_is_read_back_as_it_was(measured: tuple[Results, Path]) -> None:
    results, path = measured
    assert read_results(path) == results


def test_tables_and_charts_show_each_part(
    measured: tuple[Results, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, path = measured
    assert main(["--table", str(path), "--plot", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown == as_markdown(tables_of(results)) + "\n"
    titles = ("Training on short", "Textmill's own overhead", "Scoring", "Tokenizing", "Growth")
    assert all(f"### {title}" in shown for title in titles)
    for name in ("speed-training.svg", "speed-scoring.svg"):
        drawn = ElementTree.parse(tmp_path / name).getroot()  # noqa: S314 - drawn just now
        assert drawn.tag == "{http://www.w3.org/2000/svg}svg"


def test_everybody_starts_from_the_same_weights(plan: Plan, tmp_path: Path) -> None:
    job = make_job(plan, plan.texts[0], tmp_path / "short")
    of_textmill = build_network(
        Pretrained(str(job.material.encoder)),
        Labels(("bad", "good")),
        dropout=None,
        attention_dropout=0.0,
        freeze="embeddings",
    )
    of_peers = benchmarks.speed.peers._model(job).state_dict()
    assert of_textmill.state_dict().keys() == of_peers.keys()
    for name, weights in of_textmill.state_dict().items():
        assert torch.equal(weights, of_peers[name]), name


def test_every_second_round_goes_backwards(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = {name: partial(str.upper, name) for name in ("first", "second")}
    found = Turns("fork").in_rounds("a title", jobs, 2)
    assert found == {"first": ["FIRST", "FIRST"], "second": ["SECOND", "SECOND"]}
    turns = [line.rpartition(": ")[2] for line in capsys.readouterr().err.splitlines()]
    assert turns == ["first", "second", "second", "first"]


def test_the_clock_leaves_the_warm_up_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 5.0, 9.0])
    monkeypatch.setattr("benchmarks.speed.clock.time.perf_counter", lambda: next(now))
    clock = StepClock(warm_up=2, steps=3)
    monkeypatch.setattr("benchmarks.speed.clock.product_flops", lambda: {"float32": 1e9})
    for step in range(5):
        assert not clock.finished, step
        clock.step_ended()
    read = clock.read([100, 100, 1, 2, 3], "float32")
    assert (read.ready_seconds, read.seconds, read.tokens) == (5.0, 4.0, 6)


def test_utilisation_counts_six_operations_for_each_weight_and_token() -> None:
    turn = Trained(2.0, 500, 0.0, 0, None, "float32", 1, {"float32": 3e6, "bfloat16": 6e6})
    assert turn.examples_per_second(FACTS) == 25.0
    assert turn.utilisation(FACTS) == 6 * 1_000 * 250 / 6e6


def test_ratios_are_of_the_same_round() -> None:
    assert ratios([10, 40, 90], [10, 20, 30]) == Spread(2, 1, 3)


def test_the_longer_texts_have_a_third_of_the_steps() -> None:
    assert [texts.steps for texts in with_steps(default_plan(None), 30).texts] == [30, 10]


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--only", "training,speed"])
    assert refused.value.code == 2
    assert "unknown: speed" in capsys.readouterr().err
