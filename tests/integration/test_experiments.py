"""Experiments on small data laid out as theirs, and encoders from scratch on the whole way."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from transformers import pipeline

import textmill.train  # noqa: F401 - imported once, for all forks
from tests.forks import in_fork, kill_self, on_call, write_short_reviews
from textmill import load
from textmill.model.module import Classifier

CHEAP = (
    *("tracking=none", "tracking.report=false", "tracking.explained=0"),
    "baselines.enabled=false",
)
TINY = (
    *("model=scratch", "model.scratch.layers=1", "model.scratch.width=16"),
    *("model.scratch.heads=2", "model.scratch.vocabulary=150", "data.max_length=24"),
)
EMOTIONS = (
    *("admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion"),
    *("curiosity", "desire", "disappointment", "disapproval", "disgust", "embarrassment"),
    *("excitement", "fear", "gratitude", "grief", "joy", "love", "nervousness", "optimism"),
    *("pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral"),
)


@pytest.fixture
def reviews(tmp_path: Path) -> list[str]:
    """A command that trains a tiny encoder from scratch on short reviews, with its own cache."""
    path = write_short_reviews(tmp_path / "reviews.csv")
    return [
        *("train", "data=files", f"data.train={path}", *TINY, "optimizer.lr=0.01"),
        *("trainer.batch_size=16", "trainer.checkpoint_steps=2", *CHEAP),
    ]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def emotions(tmp_path: Path) -> Path:
    """A small copy of GoEmotions, laid out as on the hub."""
    folder = tmp_path / "emotions" / "simplified"
    folder.mkdir(parents=True)
    files = "".join(
        f"  - split: {split}\n    path: simplified/{split}-*\n"
        for split in ("train", "validation", "test")
    )
    (folder.parent / "README.md").write_text(
        f"---\nconfigs:\n- config_name: simplified\n  data_files:\n{files}---\n"
    )
    labels = Sequence(ClassLabel(names=list(EMOTIONS)))
    features = Features({"text": Value("string"), "labels": labels, "id": Value("string")})
    for split, rows in (("train", 112), ("validation", 56), ("test", 56)):
        examples = [
            {
                "text": f"{split} {row}: {EMOTIONS[row % 28]} and {EMOTIONS[row * 5 % 28]}",
                "labels": sorted({row % 28, row * 5 % 28}),
                "id": f"{split}{row}",
            }
            for row in range(rows)
        ]
        path = folder / f"{split}-00000-of-00001.parquet"
        Dataset.from_list(examples, features=features).to_parquet(path)
    return folder.parent


def run_in(runs: Path) -> Path:
    (manifest,) = runs.glob("*/*/manifest.json")
    return manifest.parent


def test_the_multilabel_experiment_runs_on_a_copy_of_its_data(
    emotions: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    command = ["train", "experiment=multilabel", f"data.path={emotions}", *TINY, *CHEAP]
    assert in_fork([*command, "trainer.max_epochs=1", f"runs_dir={runs}"]) == 0
    run = run_in(runs)
    assert load(run).labels.names == tuple(sorted(EMOTIONS))
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"test/f1_macro", "test/f1_micro", "test/f1/neutral"} <= metrics.keys()


def test_the_bundle_of_an_encoder_from_scratch_is_one_of_transformers(
    reviews: list[str], tmp_path: Path
) -> None:
    assert in_fork([*reviews, f"runs_dir={tmp_path / 'runs'}"]) == 0
    run = run_in(tmp_path / "runs")
    texts = ["a great film", "a dull film", "Naïve, one might say…", "ununderstandable " * 40]
    theirs = pipeline("text-classification", model=str(run / "model"), truncation=True)(texts)
    for ours, scored in zip(load(run).predict(texts), theirs, strict=True):
        assert ours.label == scored["label"]
        assert ours.score == pytest.approx(scored["score"], abs=1e-5)


def test_a_run_from_scratch_is_resumed_to_the_same_weights_though_the_cache_is_gone(
    reviews: list[str], tmp_path: Path
) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    patch = on_call(Classifier, "training_step", 8, kill_self)
    assert in_fork([*reviews, f"runs_dir={killed}"], patch) == -signal.SIGKILL
    shutil.rmtree(tmp_path / "cache")
    assert in_fork(["train", f"resume={run_in(killed)}", f"runs_dir={killed}"]) == 0
    assert in_fork([*reviews, f"runs_dir={whole}"]) == 0
    last = [
        torch.load(run_in(runs) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for runs in (killed, whole)
    ]
    assert last[0].keys() == last[1].keys()
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])
    for name in ("model.safetensors", "tokenizer.json"):
        files = [run_in(runs) / "model" / name for runs in (killed, whole)]
        assert files[0].read_bytes() == files[1].read_bytes()
