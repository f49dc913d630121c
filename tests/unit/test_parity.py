"""The graphs of several architectures give torch's scores over batches, lengths and odd texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    DistilBertConfig,
    ModernBertConfig,
    PreTrainedConfig,
)

from tests.bundles import CARD, GOLDEN, SINGLE, make_model, tiny_tokenizer
from tests.tiny import SENTENCES, make_tokenizer
from textmill.bundle import read_bundle, write_bundle
from textmill.encoding import LengthPolicy, Padding
from textmill.forms.torch_form import torch_scorer
from textmill.labels import Labels
from textmill.packaging import package
from textmill.parity import (
    BATCHES,
    Agreement,
    Examples,
    grid,
    labels_apart,
    scores_apart,
    task_metric,
)

VOCABULARY = 400
CONFIGS: dict[str, PreTrainedConfig] = {
    "distilbert": DistilBertConfig(
        vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=4, hidden_dim=64
    ),
    "modernbert": ModernBertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        local_attention=16,
        global_attn_every_n_layers=3,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        cls_token_id=2,
        sep_token_id=3,
    ),
}


@pytest.mark.parametrize("architecture", ["bert", *CONFIGS])
def test_scores_are_equal_on_the_grid(
    architecture: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    tokenizer = make_tokenizer()
    if architecture == "bert":
        model = make_model(tiny_encoder, SINGLE)
    else:
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
        config = CONFIGS[architecture]
        config.num_labels = len(SINGLE)
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config)
        with torch.no_grad():
            for weights in model.parameters():
                if weights.dim() == 2:
                    weights.normal_(0, 0.4)
    folder = tmp_path / "bundle"
    write_bundle(
        folder,
        model,
        tokenizer,
        labels=SINGLE,
        policy=LengthPolicy(64),
        text_columns=("text",),
        fingerprints={},
        golden_texts=GOLDEN,
        card=CARD,
    )
    made = package(folder, Examples(SENTENCES, None, "", "six texts"), ["bf16"])
    assert made.refusals == ()
    figures = made.bundle.info.forms["onnx"].figures
    assert figures["largest_difference"] < 1e-4
    assert figures["compared"] > 2 * 6 * len(BATCHES)
    original, graph = (read_bundle(folder).scorer(form=form) for form in ("torch", "onnx"))
    assert np.ptp(graph.probabilities(SENTENCES), axis=0).max() > 1e-3
    np.testing.assert_allclose(
        graph.probabilities(SENTENCES), original.probabilities(SENTENCES), atol=1e-4
    )
    coarse = read_bundle(folder).scorer(form="bf16")
    np.testing.assert_allclose(
        coarse.probabilities(SENTENCES), original.probabilities(SENTENCES), atol=0.1
    )


def test_the_grid_has_every_size_and_length_padded_and_not() -> None:
    padding = Padding(token_id=9, token_types=True, side="left")
    seen = set()
    for batch in grid(50, padding, 30, pairs=True):
        size, length = batch["input_ids"].shape
        mask = batch["attention_mask"]
        seen.add((size, length, bool((mask == 0).any())))
        assert (batch["input_ids"][mask == 0] == 9).all()
        assert mask[:, -1].all()
        assert batch["token_type_ids"].shape == mask.shape
    assert {size for size, _, _ in seen} == set(BATCHES)
    assert {length for _, length, _ in seen} == {1, 2, 3, 7, 16, 33, 50}
    assert {(1, 50, True), (1, 50, False), (64, 16, True)} <= seen


def test_another_model_is_found_out(tiny_encoder: Path) -> None:
    model = make_model(tiny_encoder, SINGLE)
    tokenizer = tiny_tokenizer(tiny_encoder)
    original = torch_scorer(model, tokenizer, LengthPolicy(16), multi_label=False)
    assert scores_apart(original, original, pairs=False).holds
    changed = make_model(tiny_encoder, SINGLE)
    with torch.no_grad():
        changed.classifier.bias[0] += 0.01
    other = torch_scorer(changed, tokenizer, LengthPolicy(16), multi_label=False)
    found = scores_apart(original, other, pairs=False)
    assert not found.holds
    assert found.largest > 1e-4
    assert "text" in found.where
    shorter = torch_scorer(model, tokenizer, LengthPolicy(8), multi_label=False)
    assert not scores_apart(original, shorter, pairs=False).same_tokens


def test_the_metric_and_the_labels_both_count() -> None:
    same = Agreement(1000, 0.995, 0.1, "accuracy", 0.9, 0.896)
    assert same.holds
    assert str(same) == "equal labels on 99.50% of 1,000 texts, accuracy 0.8960 for 0.9000"
    assert not Agreement(1000, 0.989, 0.1).holds
    assert not Agreement(1000, 0.995, 0.1, "accuracy", 0.9, 0.894).holds
    assert set(same.as_figures()) >= {"equal_labels", "accuracy", "accuracy_float32"}


def test_labels_are_compared_as_thresholds_decide(tiny_encoder: Path) -> None:
    model, tokenizer = make_model(tiny_encoder, SINGLE), tiny_tokenizer(tiny_encoder)
    scorer = torch_scorer(model, tokenizer, LengthPolicy(16), multi_label=False)
    targets = np.zeros(len(SENTENCES), dtype=np.int64)
    examples = Examples(SENTENCES, targets, "accuracy", "sentences")
    expected = scorer.probabilities(SENTENCES)
    all_bad = labels_apart(expected, scorer, examples, SINGLE, [0.0, 1.0, 1.0])
    assert (all_bad.equal, all_bad.before, all_bad.after) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("monitor", "multi_label", "metric"),
    [
        ("mcc", False, "mcc"),
        ("loss", False, "accuracy"),
        (None, False, "accuracy"),
        ("loss", True, "f1_micro"),
    ],
)
def test_the_metric_is_the_one_that_chose_the_model(
    monitor: str | None, multi_label: bool, metric: str
) -> None:
    assert task_metric(monitor, Labels(("a", "b"), multi_label=multi_label)) == metric
