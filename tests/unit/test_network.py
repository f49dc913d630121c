"""The network is the encoder asked for, with a head for the labels, trained where asked."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from textmill.errors import InputError, MachineError
from textmill.labels import Labels
from textmill.model.network import (
    Freeze,
    Lora,
    Pretrained,
    add_lora,
    build_network,
    load_tokenizer,
    merge_lora,
)

LABELS = Labels(("bad", "good", "so-so"))


def build(
    location: str,
    *,
    dropout: float | None = None,
    attention_dropout: float | None = None,
    freeze: Freeze = "none",
) -> PreTrainedModel:
    return build_network(
        Pretrained(location),
        LABELS,
        dropout=dropout,
        attention_dropout=attention_dropout,
        freeze=freeze,
    )


@pytest.fixture
def broken(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny encoder to damage."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


def test_head_and_configuration_have_the_labels_in_their_order(tiny_encoder: Path) -> None:
    network = build(str(tiny_encoder), dropout=0.3, attention_dropout=0.2)
    assert network.config.id2label == {0: "bad", 1: "good", 2: "so-so"}
    assert network.config.label2id == {"bad": 0, "good": 1, "so-so": 2}
    assert network.config.problem_type == "single_label_classification"
    assert network.config.classifier_dropout == 0.3
    assert network.config.attention_probs_dropout_prob == 0.2
    assert network.classifier.out_features == 3
    assert next(network.parameters()).dtype == torch.float32


def test_frozen_embeddings_leave_everything_else_trainable(tiny_encoder: Path) -> None:
    network = build(str(tiny_encoder), dropout=None, freeze="embeddings")
    frozen = [name for name, value in network.named_parameters() if not value.requires_grad]
    assert frozen == ["bert.embeddings.word_embeddings.weight"]


def test_frozen_encoder_trains_the_head_alone(tiny_encoder: Path) -> None:
    network = build(str(tiny_encoder), dropout=None, freeze="encoder")
    trained = [name for name, value in network.named_parameters() if value.requires_grad]
    assert trained == ["classifier.weight", "classifier.bias"]


def test_lora_trains_little_and_merges_into_a_plain_network(tiny_encoder: Path) -> None:
    network = build(str(tiny_encoder), dropout=0.0).eval()
    tokenizer = load_tokenizer(Pretrained(str(tiny_encoder)))
    batch = tokenizer("a great film", return_tensors="pt")
    with warnings.catch_warnings(action="error"):
        adapted = add_lora(network, Lora(rank=4, alpha=16, dropout=0.0, targets=None))
    trained = sum(value.numel() for value in adapted.parameters() if value.requires_grad)
    assert trained < 0.2 * sum(value.numel() for value in adapted.parameters())
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_B" in name:
                value.normal_(generator=torch.Generator().manual_seed(1))
        before = adapted(**batch).logits
        merged = merge_lora(adapted)
        assert type(merged).__name__ == "BertForSequenceClassification"
        assert torch.allclose(merged(**batch).logits, before, atol=1e-5)


def test_lora_targets_that_do_not_exist_are_told(tiny_encoder: Path) -> None:
    network = build(str(tiny_encoder), dropout=None, freeze="none")
    with pytest.raises(InputError, match=r"model\.lora\.targets"):
        add_lora(network, Lora(rank=4, alpha=16, dropout=0.0, targets=("no_such_layer",)))


def test_a_hub_that_cannot_be_reached_says_how_to_go_on() -> None:
    with pytest.raises(MachineError, match=r"nobody/nothing.*model.path=FOLDER"):
        build("nobody/nothing", dropout=None, freeze="none")


def test_truncated_weights_are_told_in_one_line(broken: Path) -> None:
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"weights|model") as caught:
        build(str(broken), dropout=None, freeze="none")
    assert len(caught.value.problems) == 1
    assert str(broken) in caught.value.problems[0]


@pytest.mark.parametrize("content", ["{", "{}", json.dumps({"model_type": "no-such-model"})])
def test_a_configuration_that_makes_no_model_is_told(broken: Path, content: str) -> None:
    (broken / "config.json").write_text(content)
    with pytest.raises(InputError) as caught:
        build(str(broken), dropout=None, freeze="none")
    assert str(broken) in caught.value.problems[0]


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.path=FOLDER"):
        build(str(tmp_path), dropout=None, freeze="none")
