"""The real encoder on real data, through the real command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas
import pytest
from sklearn import metrics as theirs

from tests.real.command_line import textmill
from textmill.attribution import read_mistakes

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("packaged_assets")]

CHEAP = (
    *("data.max_length=64", "baselines.enabled=false"),
    *("tracking=none", "tracking.report=false", "tracking.explained=0"),
)
SMALL_SPLITS = ("data.split.validation=0.02", "data.split.test=0.02")
ODD_TEXTS = ("", " ", "!", "naïve café — 映画 🎬", "a long one " * 400)


def read_metrics(run: Path) -> dict[str, float]:
    return dict(json.loads((run / "metrics.json").read_text(encoding="utf-8")))


def of_split(metrics: dict[str, float], split: str) -> dict[str, float]:
    return {
        name.removeprefix(f"{split}/"): value
        for name, value in metrics.items()
        if name.startswith(f"{split}/")
    }


def recomputed(path: Path) -> dict[str, float]:
    """What scikit-learn makes of saved predictions."""
    table = pandas.read_parquet(path)
    columns = [name for name in table.columns if name.startswith("probability/")]
    names = [name.removeprefix("probability/") for name in columns]
    ids = {name: index for index, name in enumerate(names)}
    true, chosen = table.label.map(ids), table.prediction.map(ids)
    scores = table[columns].to_numpy()
    # log_loss wants sums of exactly 1; rankings want the scores as they are, ties included.
    probabilities = scores.astype(np.float64) / scores.sum(axis=1, keepdims=True, dtype=np.float64)
    one_hot = np.eye(len(names))[true]
    present = one_hot.any(axis=0)
    return {
        "accuracy": theirs.accuracy_score(true, chosen),
        "balanced_accuracy": theirs.recall_score(
            true, chosen, labels=sorted(set(true)), average="macro"
        ),
        "precision_macro": theirs.precision_score(true, chosen, average="macro", zero_division=0),
        "recall_macro": theirs.recall_score(true, chosen, average="macro", zero_division=0),
        "f1_macro": theirs.f1_score(true, chosen, average="macro"),
        "f1_weighted": theirs.f1_score(true, chosen, average="weighted"),
        "mcc": theirs.matthews_corrcoef(true, chosen),
        "loss": theirs.log_loss(true, probabilities, labels=list(ids.values())),
        "auroc_macro": theirs.roc_auc_score(
            one_hot[:, present], scores[:, present], average="macro"
        ),
        "average_precision_macro": theirs.average_precision_score(
            one_hot[:, present], scores[:, present], average="macro"
        ),
    }


def assert_metrics_are_theirs(run: Path, splits: Sequence[str]) -> None:
    for split in splits:
        ours = of_split(read_metrics(run), split)
        for name, value in recomputed(run / "predictions" / f"{split}.parquet").items():
            assert ours[name] == pytest.approx(value, abs=1e-6), f"{split}/{name}"


def predict(bundle: Path, texts: Sequence[str], folder: Path) -> list[dict[str, float]]:
    """The scores of all labels, by ``textmill predict`` with texts as arguments."""
    lines = textmill("predict", str(bundle), "--scores", "--", *texts, cwd=folder).splitlines()
    return [json.loads(line) for line in lines]


def test_transformers_gives_what_textmill_predict_gives(short_run: Path, tmp_path: Path) -> None:
    from transformers import pipeline

    bundle = short_run / "model"
    reviews = pandas.read_parquet(short_run / "predictions" / "test.parquet").text
    texts = [*reviews[:60], *ODD_TEXTS]
    classifier = pipeline("text-classification", model=str(bundle), top_k=None, truncation=True)
    for ours, scored in zip(predict(bundle, texts, tmp_path), classifier(texts), strict=True):
        expected = {entry["label"]: entry["score"] for entry in scored}
        assert ours["label"] == scored[0]["label"]
        assert ours["scores"] == pytest.approx(expected, abs=1e-5)


def test_its_graph_gives_its_scores_at_every_size_and_length(
    short_run: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(short_run / "model", tmp_path / "bundle"))
    textmill("export", str(bundle), cwd=tmp_path)
    (record,) = json.loads((bundle / "textmill.json").read_text())["forms"].values()
    assert record["figures"]["largest_difference"] < 1e-4
    assert record["figures"]["compared"] > 100
    shown = textmill("verify", str(bundle), cwd=tmp_path)
    assert "form onnx" in shown
    assert "DIFFERENT" not in shown


def test_metrics_are_those_of_scikit_learn(short_run: Path) -> None:
    assert_metrics_are_theirs(short_run, ("validation", "test"))


def test_a_short_training_has_learned_something(short_run: Path) -> None:
    metrics = read_metrics(short_run)
    assert metrics["test/accuracy"] > 0.65
    assert metrics["test/accuracy"] - metrics["baseline/majority/accuracy"] > 0.1


def test_evaluate_gives_exactly_the_runs_own_test_metrics(short_run: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "latest").symlink_to(short_run)
    textmill("evaluate", "bundle=latest", "data=movie_reviews", "output=judged", cwd=tmp_path)
    judged = of_split(read_metrics(tmp_path / "judged"), "test")
    assert judged == of_split(read_metrics(short_run), "test")
    assert len(judged) > 10


def test_another_domain_is_judged_whole(short_run: Path, tmp_path: Path) -> None:
    textmill(
        "evaluate",
        f"bundle={short_run}",
        "data=tweets",
        "split=all",
        "output=judged",
        cwd=tmp_path,
    )
    predictions = pandas.read_parquet(tmp_path / "judged" / "predictions.parquet")
    ours = of_split(read_metrics(tmp_path / "judged"), "all")
    assert len(predictions) == 4_200
    assert ours["mcc"] == pytest.approx(
        theirs.matthews_corrcoef(predictions.label, predictions.prediction), abs=1e-9
    )


def test_the_same_command_gives_the_same_weights(tmp_path: Path) -> None:
    weights = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        textmill("train", "trainer.max_steps=5", *CHEAP, *SMALL_SPLITS, cwd=folder)
        weights.append((folder / "runs" / "latest" / "model" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_the_worst_mistakes_are_explained(short_run: Path) -> None:
    mistakes = read_mistakes(short_run / "tables" / "attributions.jsonl")
    assert len(mistakes) == 10
    for one in mistakes:
        assert one.attribution.complete
        assert one.attribution.label == one.prediction != one.truth
    assert 'id="explained"' in (short_run / "report.html").read_text(encoding="utf-8")


def test_cola_from_its_published_files(cola: Path, tmp_path: Path) -> None:
    textmill("train", "data=cola", f"data.path={cola}", "trainer.max_steps=5", *CHEAP, cwd=tmp_path)
    run = tmp_path / "runs" / "latest"
    counts = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["data"]["counts"]
    assert 7_600 <= counts["train"] <= 8_551
    assert counts["validation"] == 1_043
    assert_metrics_are_theirs(run, ("validation", "test"))


def test_eight_topics(tmp_path: Path) -> None:
    textmill(
        "train",
        "data=reuters_r8",
        "trainer.max_steps=3",
        "data.split.validation=0.05",
        *CHEAP,
        cwd=tmp_path,
    )
    run = tmp_path / "runs" / "latest"
    config = json.loads((run / "model" / "config.json").read_text(encoding="utf-8"))
    assert len(config["id2label"]) == 8
    assert len(pandas.read_parquet(run / "predictions" / "test.parquet")) == 2_189
    assert_metrics_are_theirs(run, ("validation", "test"))
