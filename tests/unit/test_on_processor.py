"""What is changed for processors makes steps faster, and changes nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from textmill.model.on_processor import tuned_for_processor

IDS = torch.arange(5, 45).reshape(4, 10)
MASK = torch.ones_like(IDS).index_fill(1, torch.tensor([8, 9]), 0)


@pytest.fixture
def network() -> PreTrainedModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    return BertForSequenceClassification(BertConfig(vocab_size=50, num_hidden_layers=2, **sizes))


def dropped(share: float, given: torch.Tensor) -> torch.Tensor:
    layer = nn.Dropout(share)
    with tuned_for_processor(layer, bfloat16=False, longest=1):
        found: torch.Tensor = layer(given)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.001])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    found = dropped(share, torch.ones(1000, 1001, dtype=dtype))
    assert found.dtype == dtype
    assert (found == 0).double().mean().item() == pytest.approx(share, rel=0.1)
    kept = found[found != 0].float()
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - share)), rtol=5e-3, atol=0)


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(2)
    out = (dropped(0.5, torch.ones(2**20)) == 0).double() - 0.5
    for distance in (1, 2, 3, 4, 1024):
        assert abs((out[:-distance] * out[distance:]).mean()) < 1e-3


def test_the_gradient_is_that_of_what_was_kept() -> None:
    given = torch.randn(7, 13, requires_grad=True)
    found = dropped(0.3, given)
    found.backward(torch.full_like(given, 2.0))
    assert given.grad is not None
    torch.testing.assert_close(given.grad * given, 2 * found)


def test_the_same_seed_drops_the_same() -> None:
    def once() -> torch.Tensor:
        torch.manual_seed(3)
        return dropped(0.1, torch.ones(1000))

    assert torch.equal(once(), once())
    assert not torch.equal(once(), dropped(0.1, torch.ones(1000)))


def test_nothing_is_dropped_in_evaluation() -> None:
    layer = nn.Dropout(0.5).eval()
    with tuned_for_processor(layer, bfloat16=False, longest=1):
        assert torch.equal(layer(torch.ones(9)), torch.ones(9))


@pytest.mark.parametrize("longest", [10, 1000])
def test_the_logits_and_gradients_are_those_of_the_network_as_it_was(
    network: PreTrainedModel, longest: int
) -> None:
    network.eval()

    def computed() -> tuple[torch.Tensor, torch.Tensor]:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(input_ids=IDS, attention_mask=MASK).logits
        logits.float().pow(2).sum().backward()
        gradient = network.get_input_embeddings().weight.grad
        assert isinstance(gradient, torch.Tensor)
        return logits.detach().float(), gradient.clone()

    logits, gradient = computed()
    with tuned_for_processor(network, bfloat16=True, longest=longest):
        found, slope = computed()
    assert not torch.equal(slope, gradient)
    torch.testing.assert_close(found, logits, rtol=0.02, atol=0.005)
    assert torch.linalg.norm(slope - gradient) < 0.05 * torch.linalg.norm(gradient)


def test_normalisation_adds_up_many_tokens_gradients_as_well_as_in_float32(
    network: PreTrainedModel,
) -> None:
    norm = network.get_submodule("bert.encoder.layer.0.output.LayerNorm")
    torch.manual_seed(4)
    given, slopes = torch.randn(8, 1000, 32) + 0.1, torch.randn(8, 1000, 32) + 0.02

    def gradients(dtype: torch.dtype) -> list[torch.Tensor]:
        rows = given.bfloat16().to(dtype).requires_grad_()
        out = norm(rows)
        return list(torch.autograd.grad(out, [rows, *norm.parameters()], slopes.to(out.dtype)))

    exact = gradients(torch.float32)
    with tuned_for_processor(network, bfloat16=True, longest=10):
        found = gradients(torch.bfloat16)
    for own, other in zip(found, exact, strict=True):
        assert torch.linalg.norm(own.float() - other) < 0.01 * torch.linalg.norm(other)


def test_behind_the_block_the_network_is_what_it_was(network: PreTrainedModel) -> None:
    network.eval()
    before = network(input_ids=IDS, attention_mask=MASK).logits
    kinds = [type(module) for module in network.modules()]
    with tuned_for_processor(network, bfloat16=True, longest=10):
        assert [type(module) for module in network.modules()] != kinds
        assert network.config._attn_implementation == "eager"
    assert [type(module) for module in network.modules()] == kinds
    assert network.config._attn_implementation == "sdpa"
    assert torch.equal(network(input_ids=IDS, attention_mask=MASK).logits, before)
    assert not any(module._forward_hooks for module in network.modules())


def test_in_float32_attention_and_layers_stay(network: PreTrainedModel) -> None:
    with tuned_for_processor(network, bfloat16=False, longest=10):
        assert network.config._attn_implementation == "sdpa"
        assert not any(module._forward_hooks for module in network.modules())
