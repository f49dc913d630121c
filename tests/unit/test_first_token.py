"""The last layer, computed for the first token alone, gives what the whole layer gives."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
)

from tests.tiny import random_classifier
from textmill.first_token import READ_FIRST_TOKEN, compute_first_token_only


@pytest.fixture(params=sorted(READ_FIRST_TOKEN))
def whole(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A random network of each architecture, without dropout."""
    return random_classifier(request.param)


def first_only(network: PreTrainedModel) -> PreTrainedModel:
    changed = copy.deepcopy(network)
    compute_first_token_only(changed)
    return changed


def padded_batch() -> dict[str, Tensor]:
    lengths = torch.tensor([9, 4, 1])
    mask = (torch.arange(9) < lengths[:, None]).long()
    return {"input_ids": torch.randint(5, 50, (3, 9)) * mask + (1 - mask), "attention_mask": mask}


def gradients(network: PreTrainedModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    network(**batch, labels=torch.tensor([0, 1, 2])).loss.backward()
    return {
        name: value.grad for name, value in network.named_parameters() if value.grad is not None
    }


def test_logits_and_gradients_are_those_of_the_whole_layer(whole: PreTrainedModel) -> None:
    batch, changed = padded_batch(), first_only(whole)
    torch.testing.assert_close(changed(**batch).logits, whole(**batch).logits)
    torch.testing.assert_close(gradients(changed, batch), gradients(whole, batch))


def test_the_last_layer_gives_one_token(whole: PreTrainedModel) -> None:
    output = first_only(whole).base_model(**padded_batch())
    assert output.last_hidden_state.shape == (3, 1, 32)


def test_a_batch_without_padding_has_the_same_logits(whole: PreTrainedModel) -> None:
    batch = {"input_ids": torch.randint(5, 50, (2, 7))}
    torch.testing.assert_close(first_only(whole)(**batch).logits, whole(**batch).logits)


def test_what_is_saved_is_the_stock_network(whole: PreTrainedModel, tmp_path: Path) -> None:
    first_only(whole).save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is type(whole)
    torch.testing.assert_close(loaded.state_dict(), whole.state_dict())


def test_dropout_is_as_the_network_has_it(whole: PreTrainedModel) -> None:
    changed = first_only(whole).train()
    base: Any = changed.base_model
    base.encoder.layer[-1].attention.self.dropout.p = 0.5
    batch = padded_batch()
    assert not torch.equal(changed(**batch).logits, changed(**batch).logits)
    changed.eval()
    assert torch.equal(changed(**batch).logits, changed(**batch).logits)


def test_another_architecture_stays_as_it_is() -> None:
    config = DistilBertConfig(vocab_size=50, dim=32, n_layers=1, n_heads=4, hidden_dim=64)
    network = DistilBertForSequenceClassification(config)
    modules = [type(module) for module in network.modules()]
    compute_first_token_only(network)
    assert [type(module) for module in network.modules()] == modules
