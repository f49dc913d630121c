"""Learning rates and weight decay reach the right parameters at the right steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from textmill.model.optimizers import (
    Adam,
    Optimization,
    learning_rate_factor,
    make_optimizer,
    make_schedule,
    number_of_layers,
    parameter_groups,
)


def optimization(**changes: object) -> Optimization:
    settings: dict[str, object] = {
        "lr": 1e-3,
        "head_lr": 1e-2,
        "weight_decay": 0.1,
        "adam": Adam((0.9, 0.999), 1e-8),
        "layer_decay": 0.5,
        "shape": "linear",
        "warmup": 0.1,
        "warmup_steps": None,
        "gradient_clip": None,
    }
    return Optimization(**{**settings, **changes})  # type: ignore[arg-type]


@pytest.fixture
def network(tiny_encoder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(tiny_encoder)
    return model


def settings_by_name(network: PreTrainedModel) -> dict[str, tuple[float, float]]:
    groups = parameter_groups(network, optimization())
    by_id = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    return {name: by_id[id(value)] for name, value in network.named_parameters()}


def test_learning_rate_falls_with_each_layer_further_from_the_head(
    network: PreTrainedModel,
) -> None:
    settings = settings_by_name(network)
    rate = {name: rate for name, (rate, _) in settings.items()}
    assert number_of_layers(network) == 2
    assert rate["classifier.weight"] == 1e-2
    assert rate["bert.pooler.dense.weight"] == 1e-3
    assert rate["bert.encoder.layer.1.output.dense.weight"] == 1e-3
    assert rate["bert.encoder.layer.0.output.dense.weight"] == 5e-4
    assert rate["bert.embeddings.word_embeddings.weight"] == 2.5e-4


@pytest.mark.parametrize(
    ("layer_decay", "names"),
    [
        (1.0, {"encoder", "head"}),
        (0.5, {"embeddings", "layer_0", "layer_1", "top", "head"}),
    ],
)
def test_groups_tell_the_parts_of_the_network_whose_rates_they_hold(
    network: PreTrainedModel, layer_decay: float, names: set[str]
) -> None:
    rates: dict[str, set[float]] = {}
    for group in parameter_groups(network, optimization(layer_decay=layer_decay)):
        for part in group["parts"]:
            rates.setdefault(part, set()).add(group["lr"])
    assert set(rates) == names
    assert all(len(rate) == 1 for rate in rates.values())
    assert rates["head"] == {1e-2}


def test_biases_and_norms_do_not_decay(network: PreTrainedModel) -> None:
    for name, (_, decay) in settings_by_name(network).items():
        expected = 0.0 if name.endswith("bias") or "LayerNorm" in name else 0.1
        assert decay == expected, name


def test_every_trainable_parameter_is_in_one_group_and_no_frozen_one(
    network: PreTrainedModel,
) -> None:
    network.get_input_embeddings().requires_grad_(requires_grad=False)
    grouped = [
        id(value)
        for group in parameter_groups(network, optimization())
        for value in group["params"]
    ]
    trainable = [id(value) for value in network.parameters() if value.requires_grad]
    assert sorted(grouped) == sorted(trainable)


@pytest.mark.parametrize("shape", ["linear", "cosine", "constant"])
def test_warm_up_rises_and_is_followed_by_the_peak(shape: str) -> None:
    rates = [learning_rate_factor(step, 100, 10, shape) for step in range(100)]  # type: ignore[arg-type]
    assert rates[:10] == sorted(rates[:10])
    assert 0 < rates[0] < rates[9] < 1.0
    assert rates[10] == 1.0


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_decaying_shapes_end_near_zero_but_above(shape: str) -> None:
    last = learning_rate_factor(99, 100, 10, shape)  # type: ignore[arg-type]
    assert 0 < last < 0.02
    assert learning_rate_factor(100, 100, 10, shape) == pytest.approx(0)  # type: ignore[arg-type]


def test_a_single_step_without_warm_up_uses_the_peak() -> None:
    assert learning_rate_factor(0, 1, 0, "linear") == 1.0


def test_schedule_scales_each_groups_own_rate(network: PreTrainedModel) -> None:
    optimizer = make_optimizer(network, optimization(warmup=0.0))
    schedule = make_schedule(optimizer, optimization(warmup=0.0), total_steps=4)
    peaks = [group["lr"] for group in optimizer.param_groups]
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
        [0.75 * peak for peak in peaks]
    )
    assert isinstance(optimizer, torch.optim.AdamW)


@pytest.mark.parametrize(
    ("changes", "warmup_steps"),
    [({"warmup": 0.25}, 2), ({"warmup": 0.3}, 3), ({"warmup": 0.25, "warmup_steps": 5}, 5)],
)
def test_warm_up_is_a_share_of_the_steps_unless_they_are_given(
    network: PreTrainedModel, changes: dict[str, object], warmup_steps: int
) -> None:
    optimizer = make_optimizer(network, optimization(**changes))
    schedule = make_schedule(optimizer, optimization(**changes), total_steps=8)
    (head_lr,) = {group["lr"] for group in optimizer.param_groups if "head" in group["parts"]}
    assert head_lr == pytest.approx(1e-2 / (warmup_steps + 1))
    for _ in range(warmup_steps):
        optimizer.step()
        schedule.step()
    assert max(group["lr"] for group in optimizer.param_groups) == 1e-2


def test_adafactor_has_the_same_groups_and_keeps_less(network: PreTrainedModel) -> None:
    kept = {}
    for adam in (Adam((0.9, 0.999), 1e-8), None):
        optimizer = make_optimizer(network, optimization(adam=adam))
        assert [group["lr"] for group in optimizer.param_groups] == [
            group["lr"] for group in parameter_groups(network, optimization())
        ]
        network(torch.ones(1, 4, dtype=torch.long)).logits.sum().backward()
        optimizer.step()
        states = optimizer.state.values()
        kept[type(optimizer)] = sum(each.numel() for state in states for each in state.values())
    assert kept.keys() == {torch.optim.AdamW, torch.optim.Adafactor}
    assert kept[torch.optim.Adafactor] < 0.1 * kept[torch.optim.AdamW]
