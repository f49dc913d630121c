"""A release is blocked if its model is worse than the one that was released before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.bundles import MULTI, SINGLE, make_bundle
from tests.runs_on_disk import SIZES, write_run
from textmill.bundle import read_bundle
from textmill.cli import main
from textmill.gating import decide_release
from textmill.labels import Labels
from textmill.model.metrics import classification_metrics
from textmill.model.statistics import paired_interval
from textmill.runs import Run, find_run
from textmill.tracking.prediction_columns import label_ids, label_probabilities

TEST_DATA = f"{SIZES['test']:064x}"


@pytest.fixture(scope="module")
def made(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles that were judged on the test examples of the runs; read only."""
    folder = tmp_path_factory.mktemp("made")
    for name, labels in (("single", SINGLE), ("multi", MULTI)):
        make_bundle(tiny_encoder, folder / name, labels)
        set_fingerprints(folder / name, {"data/test": TEST_DATA})
    return folder


@pytest.fixture
def released(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "single", tmp_path / "released"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Run:
    return finished_run(made / "single", tmp_path / "runs")


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has any metric but accuracy and macro-F1 drawn a few times, since each takes a while."""
    monkeypatch.setattr(paired_interval, "__kwdefaults__", {"resamples": 60})


def finished_run(bundle: Path, runs_dir: Path, labels: Labels = SINGLE) -> Run:
    run = write_run(runs_dir, labels=labels, tables=False)
    shutil.copytree(bundle, run.bundle)
    run.update_manifest(weights=read_bundle(bundle).info.fingerprints["weights"])
    return run


def set_fingerprints(bundle: Path, values: dict[str, str]) -> None:
    edit_json(bundle / "textmill.json", lambda info: info["fingerprints"].update(values))


def edit_json(path: Path, edit: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def have_right(run: Run, bundle: Path, *, share: float, shift: int = 1) -> None:
    """Sets the true labels, so that the bundle has a share of them right, and the run the rest.

    Args:
        run: The run; what it predicts becomes the truth of the examples that the bundle gets wrong.
        bundle: The released bundle.
        share: The share that the bundle gets right.
        shift: How far the run's predictions are from the bundle's.
    """
    read = read_bundle(bundle)
    table = pq.read_table(run.predictions("test"))
    scores = read.scorer().probabilities(table["text"].to_pylist())
    old = read.decide(scores)
    names = read.labels.names
    new = [names[(names.index(str(label)) + shift) % len(names)] for label in old]
    first = round(share * len(old))
    values = {"label": [*old[:first], *new[first:]], "prediction": new}
    for name, column in values.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(column))
    pq.write_table(table, run.predictions("test"))


def set_monitor(run: Run, metric: str) -> None:
    config = yaml.safe_load(run.config.read_text())
    config["trainer"]["monitor"] = metric
    run.config.write_text(yaml.safe_dump(config))


def complaints(*argv: object, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["gate", *map(str, argv)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    return told.err.splitlines()


def test_a_significant_loss_blocks(
    run: Run, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    have_right(run, released, share=0.8)
    assert main(["gate", str(run.folder), "--against", str(released)]) == 1
    told = capsys.readouterr().out
    assert f"On {SIZES['test']} test examples:" in told
    assert "BLOCKED: by Macro-F1, the new model is worse" in told
    assert "Accuracy" in told


def test_a_gain_passes(run: Run, released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    have_right(run, released, share=0.2)
    assert main(["gate", str(run.folder), "--against", str(released)]) == 0
    assert "passed: by Macro-F1" in capsys.readouterr().out


def test_a_loss_that_may_be_chance_passes(run: Run, released: Path) -> None:
    set_monitor(run, "accuracy")
    have_right(run, released, share=0.52)
    decision = decide_release(run, released)
    first = decision.standings[0]
    assert first.released is not None
    assert first.gain is not None
    assert first.new < first.released
    assert first.gain.low < 0 < first.gain.high
    assert not decision.blocked


def test_a_loss_within_the_margin_passes(run: Run, released: Path) -> None:
    have_right(run, released, share=0.8)
    gain = decide_release(run, released).standings[0].gain
    assert gain is not None
    assert decide_release(run, released, margin=-gain.high - 0.01).blocked
    assert not decide_release(run, released, margin=-gain.high + 0.01).blocked
    argv = ["gate", str(run.folder), "--against", str(released), "--margin"]
    assert main([*argv, "0.99"]) == 0
    assert main([*argv, "-0.1"]) == 2
    assert main([*argv, "nan"]) == 2


def test_a_model_is_not_worse_than_itself(run: Run, released: Path) -> None:
    have_right(run, released, share=0.5, shift=0)
    decision = decide_release(run, released)
    for standing in decision.standings:
        assert standing.new == standing.released
        assert standing.gain is not None
        assert (standing.gain.low, standing.gain.high) == (0, 0)
    assert not decision.blocked


def test_the_first_release_passes(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "latest", "--runs-dir", str(run.folder.parents[1])]) == 0
    assert "passed: nothing was released before" in capsys.readouterr().out


def test_the_released_bundle_is_scored_on_the_runs_own_examples(run: Run, released: Path) -> None:
    bundle, table = read_bundle(released), pq.read_table(run.predictions("test"))
    targets = label_ids(table["label"], SINGLE)
    scores = bundle.scorer().probabilities(table["text"].to_pylist())
    expected = classification_metrics(targets, scores, SINGLE)
    own = classification_metrics(targets, label_probabilities(table, SINGLE), SINGLE)
    for standing in decide_release(run, released).standings:
        assert standing.released == pytest.approx(expected[standing.metric])
        assert standing.new == pytest.approx(own[standing.metric])


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize("metric", ["mcc", "loss", "auroc_macro", "f1/bad"])
def test_the_metric_that_chose_the_checkpoint_decides(
    run: Run, released: Path, metric: str
) -> None:
    have_right(run, released, share=0.9)
    set_monitor(run, metric)
    decisive = decide_release(run, released).standings[0]
    assert decisive.metric == metric
    assert decisive.released is not None
    assert decisive.gain is not None
    gain = (
        decisive.new - decisive.released if metric != "loss" else decisive.released - decisive.new
    )
    assert decisive.gain.low <= gain <= decisive.gain.high


@pytest.mark.usefixtures("few_resamples")
def test_a_higher_loss_is_a_loss(run: Run, released: Path) -> None:
    table = pq.read_table(run.predictions("test"))
    wrong = np.full(len(table), 1 / 3, dtype=np.float32)
    for name in SINGLE.names:
        column = f"probability/{name}"
        table = table.set_column(table.column_names.index(column), column, pa.array(wrong))
    pq.write_table(table, run.predictions("test"))
    have_right(run, released, share=1.0)
    set_monitor(run, "loss")
    decision = decide_release(run, released)
    assert decision.blocked
    assert decision.standings[0].released is not None
    assert decision.standings[0].new > decision.standings[0].released


@pytest.mark.usefixtures("few_resamples")
def test_another_order_of_the_labels_changes_nothing(
    run: Run, released: Path, made: Path, tmp_path: Path
) -> None:
    turned = finished_run(made / "single", tmp_path / "other", Labels(("good", "bad", "fair")))
    shutil.copy(run.predictions("test"), turned.predictions("test"))
    for one in (run, turned):
        set_monitor(one, "auroc_macro")
    first, second = (decide_release(one, released).standings for one in (run, turned))
    for standing, same in zip(first, second, strict=True):
        assert standing.metric == same.metric
        assert standing.new == pytest.approx(same.new)
        assert standing.released == pytest.approx(same.released)


def test_several_labels_a_text(made: Path, tmp_path: Path) -> None:
    run = finished_run(made / "multi", tmp_path / "runs", MULTI)
    decision = decide_release(run, made / "multi")
    assert [one.metric for one in decision.standings] == ["f1_macro", "subset_accuracy"]
    assert not decision.blocked


def test_other_test_examples_are_refused(
    run: Run, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_fingerprints(released, {"data/test": "f" * 64})
    (line,) = complaints(run.folder, "--against", released, capsys=capsys)
    assert "was not judged on the run's test examples" in line


def test_a_bundle_that_tells_no_test_examples_is_refused(
    run: Run, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_json(released / "textmill.json", lambda info: info["fingerprints"].pop("data/test"))
    (line,) = complaints(run.folder, "--against", released, capsys=capsys)
    assert "was not judged on the run's test examples" in line


def test_all_that_does_not_fit_is_told_at_once(
    run: Run, tiny_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_bundle(
        tiny_encoder, tmp_path / "other", Labels(("no", "yes")), text_columns=("one", "two")
    )
    lines = complaints(run.folder, "--against", other, capsys=capsys)
    assert ["other labels" in lines[0], "pairs" in lines[1], "test examples" in lines[2]] == [
        True
    ] * 3


def test_a_released_bundle_that_was_changed_is_refused(
    run: Run, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = released / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    lines = complaints(run.folder, "--against", released, capsys=capsys)
    assert "weights: model.safetensors isn't the file" in lines[0]


def test_a_run_that_ships_another_bundle_than_it_judged_is_refused(
    run: Run, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.update_manifest(weights="0" * 64)
    for argv in ([run.folder], [run.folder, "--against", released]):
        (line,) = complaints(*argv, capsys=capsys)
        assert "not the one that the run has judged" in line


def test_a_run_without_test_examples_is_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "runs", sizes={"train": 80, "validation": 60}, tables=False)
    shutil.copytree(made / "single", run.bundle)
    (line,) = complaints(run.folder, capsys=capsys)
    assert "not judged on test examples" in line


def test_an_unfinished_run_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.update_manifest(state="interrupted")
    (line,) = complaints(run.folder, capsys=capsys)
    assert "not finished" in line


def test_what_is_not_there_is_told(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = complaints(run.folder, "--against", tmp_path / "nowhere", capsys=capsys)
    assert "no such bundle" in line
    (line,) = complaints("nothing", "--runs-dir", run.folder.parents[1], capsys=capsys)
    assert "there is no run" in line
    assert find_run(str(run.folder)) == run
