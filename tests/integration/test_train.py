"""``textmill train`` leaves a whole run, whatever the kind of problem."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from textmill import load
from textmill.cli import main
from textmill.model.module import Batch, Classifier

GOOD, BAD = ("great", "lovely", "clever", "perfect"), ("awful", "dull", "silly", "loud")


def write_reviews(path: Path, rows: int = 120) -> Path:
    """A file of short texts, half of them ``good`` and half ``bad``."""
    generator = random.Random(7)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            words = (*(GOOD if number % 2 else BAD), "film", "story", "the", "cast")
            text = " ".join(generator.choices(words, k=3 + number % 9))
            record = {
                "text": f"{text} {number}",
                "second": generator.choice(words),
                "label": "good" if number % 2 else "bad",
                "tags": [word for word in ("great", "dull") if word in text],
            }
            file.write(json.dumps(record) + "\n")
    return path


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("data") / "reviews.jsonl")


@pytest.fixture
def arguments(reviews: Path, tiny_encoder: Path, tmp_path: Path) -> list[str]:
    return [
        "train",
        "data=files",
        f"data.train={reviews}",
        "data.max_length=32",
        "model=folder",
        f"model.path={tiny_encoder}",
        f"runs_dir={tmp_path / 'runs'}",
        "trainer.batch_size=16",
        "optimizer.lr=0.01",
        "tracking=none",
        "tracking.report=false",
    ]


def train(arguments: list[str], *overrides: str) -> Path:
    """Runs the command line, with overrides in the place of arguments for the same key."""
    keys = {override.partition("=")[0] for override in overrides}
    others = [argument for argument in arguments if argument.partition("=")[0] not in keys]
    assert main([*others, *overrides]) == 0
    return (runs_of(arguments) / "latest").resolve()


def runs_of(arguments: list[str]) -> Path:
    (runs,) = (argument for argument in arguments if argument.startswith("runs_dir="))
    return Path(runs.removeprefix("runs_dir="))


def metrics_of(run: Path) -> dict[str, float]:
    return dict(json.loads((run / "metrics.json").read_text()))


def test_a_run_has_everything_that_the_design_promises(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(arguments)
    shown = capsys.readouterr()
    assert {path.name for path in run.iterdir()} == {
        ".hydra", "config.yaml", "manifest.json", "checkpoints", "history.jsonl", "metrics.json",
        "predictions", "model", "tracking", "tables", "suspects.csv",
    }  # fmt: skip
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["state"] == "finished"
    assert manifest["seed"] == 42
    assert set(manifest["data"]["fingerprints"]) == {"train", "validation", "test"}
    assert manifest["data"]["made"]["test"]["seed"] == 42
    assert manifest["packages"]["torch"]
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["batch_size"] == 16
    assert "trainer.batch_size=16" in (run / ".hydra" / "overrides.yaml").read_text()
    assert "TF-IDF" in shown.out
    assert f"textmill predict {run / 'model'}" in shown.out
    assert "validation after" in shown.err
    card = (run / "model" / "README.md").read_text()
    assert "On the test split" in card


def test_metrics_equal_scikit_learns_on_the_saved_predictions(arguments: list[str]) -> None:
    run = train(arguments)
    metrics = metrics_of(run)
    table = pq.read_table(run / "predictions" / "test.parquet").to_pydict()
    truth, guess = table["label"], table["prediction"]
    assert metrics["test/accuracy"] == pytest.approx(accuracy_score(truth, guess), abs=1e-6)
    macro = f1_score(truth, guess, average="macro", zero_division=0)
    assert metrics["test/f1_macro"] == pytest.approx(macro, abs=1e-6)
    assert metrics["test/mcc"] == pytest.approx(matthews_corrcoef(truth, guess), abs=1e-6)
    assert metrics["test/accuracy_low"] <= metrics["test/accuracy"] <= metrics["test/accuracy_high"]
    assert "baseline/majority/accuracy" in metrics
    assert "baseline/linear/f1_macro_gain_p_value" in metrics


def test_the_same_command_twice_gives_the_same_weights_and_another_seed_others(
    arguments: list[str],
) -> None:
    first, second, other = (train(arguments, f"seed={seed}") for seed in (1, 1, 2))
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in (first, second, other)]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]
    assert first != second


def test_several_labels_a_text_go_from_data_to_prediction(arguments: list[str]) -> None:
    run = train(arguments, "data.label=tags", "data.multi_label=true", "trainer.max_epochs=4")
    assert "test/subset_accuracy" in metrics_of(run)
    classifier = load(run)
    assert classifier.labels.names == ("dull", "great")
    (prediction,) = classifier.predict(["a great film"])
    assert set(prediction.scores) == {"dull", "great"}


def test_pairs_go_from_data_to_prediction(arguments: list[str]) -> None:
    run = train(arguments, "data.text=[text,second]")
    (prediction,) = load(run).predict([("a great film", "loud")])
    assert prediction.label in ("bad", "good")


def test_lora_leaves_a_plain_bundle_whose_encoder_has_changed_a_little(
    arguments: list[str], tiny_encoder: Path
) -> None:
    run = train(arguments, "model.lora.rank=4", "optimizer.lr=0.05")
    weights = load_file(run / "model" / "model.safetensors")
    before = load_file(tiny_encoder / "model.safetensors")
    assert not any("lora" in name for name in weights)
    query = "encoder.layer.0.attention.self.query.weight"
    assert not weights[f"bert.{query}"].equal(before[query])
    dense = "encoder.layer.0.output.dense.weight"
    assert weights[f"bert.{dense}"].equal(before[dense])


@pytest.mark.parametrize(
    ("override", "changed", "kept"),
    [
        ("model.freeze=embeddings", "encoder.layer.1.output.dense", "embeddings.word_embeddings"),
        ("model.freeze=encoder", None, "encoder.layer.1.output.dense"),
    ],
)
def test_what_is_frozen_stays(
    arguments: list[str], tiny_encoder: Path, override: str, changed: str | None, kept: str
) -> None:
    weights = load_file(train(arguments, override) / "model" / "model.safetensors")
    before = load_file(tiny_encoder / "model.safetensors")
    assert weights[f"bert.{kept}.weight"].equal(before[f"{kept}.weight"])
    if changed is not None:
        assert not weights[f"bert.{changed}.weight"].equal(before[f"{changed}.weight"])


@pytest.mark.parametrize(
    "override",
    [
        "loss.label_smoothing=0.2",
        "loss.class_weights={good: 5}",
        "optimizer.layer_decay=0.5",
        "model.layer_decay=0.5",
        "optimizer.head_lr=0.1",
        "optimizer.weight_decay=0.5",
        "optimizer.betas=[0.5,0.9]",
        "optimizer.eps=0.01",
        "scheduler=cosine",
        "scheduler.warmup=0.5",
        "trainer.gradient_clip=0.01",
        "trainer.accumulate=2",
        "trainer.max_tokens=100",
        "trainer.batch_size=8",
        "trainer.window=3",
        "trainer.max_steps=4",
        "model.dropout=0.5",
        "model.attention_dropout=0.5",
        "data.max_length=6",
        "data.overflow=keep_tail",
    ],
)
def test_a_setting_of_training_changes_the_weights(
    arguments: list[str], plain_weights: bytes, override: str
) -> None:
    extra = ["data.max_length=6"] if override.startswith("data.overflow") else []
    run = train(arguments, "baselines.enabled=false", *extra, override)
    assert (run / "model" / "model.safetensors").read_bytes() != plain_weights


@pytest.fixture(scope="module")
def plain_weights(
    reviews: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    """The weights of a training without further settings."""
    runs = tmp_path_factory.mktemp("runs")
    run = train(
        [
            "train", "data=files", f"data.train={reviews}", "data.max_length=32", "model=folder",
            f"model.path={tiny_encoder}", f"runs_dir={runs}", "trainer.batch_size=16",
            "optimizer.lr=0.01",
        ],
        "baselines.enabled=false",
    )  # fmt: skip
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "override", ["trainer.workers=1", "trainer.checkpoint_minutes=0.0001", "trainer.devices=1"]
)
def test_a_setting_of_the_machine_leaves_the_weights_alone(
    arguments: list[str], plain_weights: bytes, override: str
) -> None:
    run = train(arguments, "baselines.enabled=false", override)
    assert (run / "model" / "model.safetensors").read_bytes() == plain_weights


def test_training_computes_with_as_many_threads_as_asked_for(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, seen = Classifier.training_step, set()

    def counting_step(self: Classifier, batch: Batch, batch_idx: int) -> dict[str, torch.Tensor]:
        seen.add(torch.get_num_threads())
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", counting_step)
    before = torch.get_num_threads()
    train(arguments, "baselines.enabled=false", "trainer.max_steps=2", "trainer.threads=3")
    assert seen == {3}
    assert torch.get_num_threads() == before


def test_how_batches_are_made_is_told(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("baselines.enabled=false", "trainer.max_steps=1")
    train(arguments, *few)
    assert "batches of texts at random\n" in capsys.readouterr().err
    train(arguments, *few, "trainer.window=3")
    assert (
        "batches of texts of like length, sorted 3 batches at a time\n" in capsys.readouterr().err
    )


def test_the_baseline_says_when_it_had_to_sample(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    train(arguments, "baselines.max_examples=50")
    assert "a sample of 50 of 96 examples" in " ".join(capsys.readouterr().out.split())


def test_early_stopping_ends_a_training_that_gets_no_better(arguments: list[str]) -> None:
    run = train(
        arguments, "optimizer.lr=1e-9", "trainer.max_epochs=9", "trainer.patience=2",
        "baselines.enabled=false",
    )  # fmt: skip
    assert len((run / "history.jsonl").read_text().splitlines()) == 3
    assert metrics_of(run)["train/best_step"] == 6


def test_best_weights_are_those_of_the_best_validation(arguments: list[str]) -> None:
    run = train(
        arguments, "optimizer.lr=0.1", "trainer.max_epochs=4", "trainer.monitor=loss",
        "trainer.precision=32-true", "baselines.enabled=false",
    )  # fmt: skip
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    best = min(history, key=lambda validation: validation["loss"])
    metrics = metrics_of(run)
    assert metrics["train/best_step"] == best["step"]
    assert metrics["validation/loss"] == pytest.approx(best["loss"], abs=1e-4)


def test_without_a_test_split_validation_is_judged(arguments: list[str]) -> None:
    run = train(arguments, "data.split.test=0")
    metrics = metrics_of(run)
    assert "baseline/linear/accuracy" in metrics
    assert not any(name.startswith("test/") for name in metrics)
    assert not (run / "predictions" / "test.parquet").exists()


def test_a_second_run_tokenizes_nothing(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(arguments, "baselines.enabled=false")

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("tokenized again")

    monkeypatch.setattr("textmill.data.tokens.encode", fail)
    train(arguments, "baselines.enabled=false")


def test_two_processes_train_and_are_judged_as_one_would_be(
    arguments: list[str],
    reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Their encoder is from scratch, so that they have to agree on it too."""
    monkeypatch.setenv("TEXTMILL_CACHE", str(tmp_path / "cache"))
    others = [argument for argument in arguments if not argument.startswith("model")]
    size = [f"model.scratch.{key}" for key in ("layers=1", "width=16", "heads=2")]
    encoder = ["model=scratch", *size]
    command = [sys.executable, "-m", "textmill", *others, *encoder, "trainer=ddp"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    run = (runs_of(arguments) / "latest").resolve()
    output = run.parent / "evaluation"
    assert main(
        [
            "evaluate", f"bundle={run}", "data=files", f"data.train={reviews}",
            f"output={output}", "device=cpu",
        ]
    ) == 0  # fmt: skip
    judged = json.loads((output / "metrics.json").read_text())
    metrics = metrics_of(run)
    tested = {name: value for name, value in metrics.items() if name.startswith("test/")}
    assert tested == judged
    assert json.loads((run / "manifest.json").read_text())["state"] == "finished"
    # Six batches an epoch are three steps for each of two processes.
    assert metrics["train/steps"] == 9
    capsys.readouterr()
