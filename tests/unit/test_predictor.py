"""Predictions are those of transformers' own pipeline, and need the bundle alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import pipeline

import textmill
from tests.bundles import MULTI, SINGLE, make_bundle
from tests.tiny import SENTENCES
from textmill.encoding import LengthPolicy
from textmill.errors import InputError
from textmill.predictor import Prediction, Predictor, load

TEXTS = [*SENTENCES, "", "unknown wörds 良い", " ".join(SENTENCES)]
PAIRS = [(first, second) for first in TEXTS[:4] for second in TEXTS[:3]]
HEAVY = (
    "lightning",
    "hydra",
    "omegaconf",
    "datasets",
    "sklearn",
    "pandas",
    "wandb",
    "torchmetrics",
)


def predictor_of(
    encoder: Path, folder: Path, thresholds: list[float] | None = None, multi: bool = False
) -> Predictor:
    labels = MULTI if multi else SINGLE
    return Predictor.from_bundle(
        make_bundle(encoder, folder / "bundle", labels, thresholds=thresholds)
    )


@pytest.mark.parametrize("overflow", ["keep_head", "keep_tail"])
def test_one_label_agrees_with_the_pipeline(
    tiny_encoder: Path, tmp_path: Path, overflow: str
) -> None:
    bundle = make_bundle(
        tiny_encoder,
        tmp_path / "bundle",
        policy=LengthPolicy(16, overflow),  # type: ignore[arg-type]
    )
    expected = pipeline("text-classification", model=str(bundle), truncation=True)(TEXTS)
    found = load(bundle).predict(TEXTS)
    assert [prediction.label for prediction in found] == [answer["label"] for answer in expected]
    assert [prediction.score for prediction in found] == pytest.approx(
        [answer["score"] for answer in expected], abs=1e-5
    )
    assert len({prediction.label for prediction in found}) > 1


def test_several_labels_agree_with_the_pipeline(tiny_encoder: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tiny_encoder, tmp_path / "bundle", MULTI)
    classify = pipeline("text-classification", model=str(bundle), top_k=None, truncation=True)
    for prediction, answer in zip(load(bundle).predict(TEXTS), classify(TEXTS), strict=True):
        expected = {entry["label"]: entry["score"] for entry in answer}
        assert prediction.scores == pytest.approx(expected, abs=1e-5)
        assert set(prediction.label) == {name for name, score in expected.items() if score >= 0.5}


def test_pairs_agree_with_the_pipeline(tiny_encoder: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tiny_encoder, tmp_path / "bundle", text_columns=("first", "second"))
    classify = pipeline("text-classification", model=str(bundle), top_k=None, truncation=True)
    answers = classify([{"text": first, "text_pair": second} for first, second in PAIRS])
    for prediction, answer in zip(load(bundle).predict(PAIRS), answers, strict=True):
        assert prediction.label == answer[0]["label"]
        assert prediction.scores == pytest.approx(
            {entry["label"]: entry["score"] for entry in answer}, abs=1e-5
        )


def test_a_prediction_is_the_most_probable_label(tiny_encoder: Path, tmp_path: Path) -> None:
    predictor = predictor_of(tiny_encoder, tmp_path)
    (found,) = predictor.decide(np.array([[0.2, 0.3, 0.5]], dtype=np.float32))
    assert found.label == "good"
    assert found.score == pytest.approx(0.5)
    assert list(found.scores) == ["bad", "fair", "good"]


def test_thresholds_of_one_label(tiny_encoder: Path, tmp_path: Path) -> None:
    predictor = predictor_of(tiny_encoder, tmp_path, thresholds=[0.1, 0.3, 0.6])
    (found,) = predictor.decide(np.array([[0.3, 0.3, 0.4]], dtype=np.float32))
    assert (found.label, found.score) == ("bad", pytest.approx(0.3))


def test_thresholds_of_several_labels(tiny_encoder: Path, tmp_path: Path) -> None:
    probabilities = np.array([[0.5, 0.49, 0.9], [0.1, 0.2, 0.3]], dtype=np.float32)
    plain = predictor_of(tiny_encoder, tmp_path / "plain", multi=True).decide(probabilities)
    assert [found.label for found in plain] == [["bad", "good"], []]
    assert [found.score for found in plain] == pytest.approx([0.9, 0.3])
    tuned = predictor_of(tiny_encoder, tmp_path / "tuned", thresholds=[0.6, 0.2, 0.3], multi=True)
    assert [found.label for found in tuned.decide(probabilities)] == [
        ["fair", "good"],
        ["fair", "good"],
    ]


def test_scores_are_the_probabilities_in_full(tiny_encoder: Path, tmp_path: Path) -> None:
    predictor = predictor_of(tiny_encoder, tmp_path)
    probabilities = predictor.probabilities(TEXTS)
    found = [list(prediction.scores.values()) for prediction in predictor.predict(TEXTS)]
    np.testing.assert_array_equal(np.array(found, dtype=np.float32), probabilities)


def test_a_bare_text_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="put the text into a list"):
        predictor_of(tiny_encoder, tmp_path).predict("a bare text")


def test_what_a_predictor_tells_of_itself(tiny_encoder: Path, tmp_path: Path) -> None:
    predictor = predictor_of(tiny_encoder, tmp_path)
    assert predictor.labels == SINGLE
    assert predictor.policy == LengthPolicy(32)
    assert predictor.text_columns == ("text",)
    assert predictor.device == "cpu"


def test_the_package_forwards_to_it(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bundle(tiny_encoder, tmp_path / "runs/latest/model")
    monkeypatch.chdir(tmp_path)
    (found,) = textmill.load("latest").predict(["a wonderful film"])
    assert isinstance(found, Prediction)
    with pytest.raises(AttributeError, match="nothing_such"):
        textmill.nothing_such  # noqa: B018


def test_predicting_needs_no_network_and_nothing_of_training(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tiny_encoder, tmp_path / "bundle")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    code = (
        "import socket, sys, textmill\n"
        "socket.socket.connect = socket.getaddrinfo = None\n"
        f"textmill.load({str(bundle)!r}).predict(['a film'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
