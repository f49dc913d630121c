"""What a score loses when a word is hidden, with any form of a model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.bundles import MULTI, SINGLE, make_bundle
from tests.tiny import SENTENCES
from textmill.attribution import attribute
from textmill.bundle import plain_tokenizer
from textmill.explaining import occlusion
from textmill.explaining.occlusion import by_occlusion
from textmill.explaining.record import Attribution
from textmill.predictor import Predictor
from textmill.scoring import Scorer

TEXT = "An unbelievably wonderful film; isn't it?"


@pytest.fixture(scope="module")
def single(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return without_gradients(make_bundle(tiny_encoder, tmp_path_factory.mktemp("a") / "single"))


def without_gradients(folder: Path) -> Predictor:
    """A predictor that has what a graph for ONNX Runtime has: scores, and a plain tokenizer."""
    predictor = Predictor.from_bundle(folder)
    whole = predictor.scorer
    plain = Scorer(
        whole.model,
        plain_tokenizer(folder, token_types=whole.padding.token_types),
        whole.padding,
        whole.policy,
        multi_label=predictor.labels.multi_label,
    )
    return Predictor(predictor.bundle, plain, "onnx")


def log_odds(predictor: Predictor, text: str, label: str) -> float:
    score = predictor.predict([text])[0].scores[label]
    return float(np.log(score / (1 - score)))


def test_a_words_number_is_what_the_score_loses_without_it(single: Predictor) -> None:
    text = "a wonderful film"
    (found,) = attribute(single, [text])
    assert found.method == "occlusion"
    assert found.log_odds == pytest.approx(log_odds(single, text, found.label), abs=1e-3)
    masked = ["[MASK] wonderful film", "a [MASK] film", "a wonderful [MASK]"]
    for word, hidden in zip(found.words, masked, strict=True):
        lost = found.log_odds - log_odds(single, hidden, found.label)
        assert word.contribution == pytest.approx(lost, abs=1e-3)
    nothing = log_odds(single, "[MASK] [MASK] [MASK]", found.label)
    assert found.baseline_log_odds == pytest.approx(nothing, abs=1e-3)
    assert found.steps == 3
    assert found.complete


def test_words_are_those_of_gradients(single: Predictor) -> None:
    (found,) = attribute(single, [TEXT])
    (other,) = attribute(Predictor.from_bundle(single.bundle.folder), [TEXT])
    assert other.method == "integrated_gradients"
    for one, same in zip(found.words, other.words, strict=True):
        assert (one.text, one.start, one.end) == (same.text, same.start, same.end)
    assert found.baseline_log_odds == pytest.approx(other.baseline_log_odds, abs=1e-4)
    assert found.log_odds == pytest.approx(other.log_odds, abs=1e-4)


def test_pairs_and_several_labels(tiny_encoder: Path, tmp_path: Path) -> None:
    pairs = without_gradients(
        make_bundle(tiny_encoder, tmp_path / "pairs", text_columns=("one", "two"))
    )
    (found,) = attribute(pairs, [("the plot", "is clever")], "good")
    assert [word.text for word in found.words if word.side == 1] == ["is", "clever"]
    multi = without_gradients(make_bundle(tiny_encoder, tmp_path / "multi", MULTI))
    for label in MULTI.names:
        (found,) = attribute(multi, [TEXT], label)
        assert found.log_odds == pytest.approx(log_odds(multi, TEXT, label), abs=1e-3)


@pytest.mark.parametrize("text", ["", " \n", "[PAD]"])
def test_of_nothing_there_is_nothing_to_hide(text: str, single: Predictor) -> None:
    (found,) = attribute(single, [text], "good")
    assert all(np.isfinite(word.contribution) for word in found.words)
    assert len(found.words) == len(text.strip() and [text])


def test_what_is_scored_for_a_text_is_bounded(
    single: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = " ".join(SENTENCES)
    (whole,) = attribute(single, [text])
    assert whole.cut
    monkeypatch.setattr(occlusion, "MOST_TOKENS", 32 * len(whole.words) // 3)
    (found,) = attribute(single, [text])
    assert len(found.words) == -(-len(whole.words) // 3)
    assert found.words[0].text == text[: whole.words[2].end]
    assert found.words[-1].end == whole.words[-1].end


def test_without_a_mask_token_words_are_hidden_behind_padding(single: Predictor) -> None:
    tokenizer = single.scorer.tokenizer
    assert occlusion.stand_in(single.scorer) == tokenizer.backend.token_to_id("[MASK]")
    plain = type(tokenizer)(tokenizer.backend, tokenizer.token_types)
    scorer = Scorer(
        single.scorer.model, plain, single.scorer.padding, single.policy, multi_label=False
    )
    assert occlusion.stand_in(scorer) == tokenizer.backend.token_to_id("[PAD]")
    found = by_occlusion(scorer, TEXT, (2, SINGLE.names[2]), multi_label=False)
    (other,) = attribute(single, [TEXT], SINGLE.names[2])
    assert [word.text for word in found.words] == [word.text for word in other.words]
    assert found.words != other.words


def test_a_record_tells_the_method_and_an_old_one_is_of_gradients(single: Predictor) -> None:
    (found,) = attribute(single, [TEXT])
    kept = found.as_record()
    assert Attribution.from_record(kept) == found
    del kept["method"]
    assert Attribution.from_record(kept).method == "integrated_gradients"


def test_serving_and_explaining_import_neither_torch_nor_transformers() -> None:
    check = (
        "import sys, textmill.serving.worker, textmill.attribution, textmill.report.attributions;"
        "print(sorted({'torch', 'transformers', 'lightning', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
