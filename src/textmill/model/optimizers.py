"""The optimizer, with decay and learning rate by parameter, and the learning rate's schedule."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

Shape = Literal["linear", "cosine", "constant"]

LAYER_NUMBER = re.compile(r"\.(?:layer|layers|h|block|blocks)\.(\d+)\.")
EMBEDDINGS = re.compile(r"\b(?:\w*embeddings?|embed_\w+|wte|wpe)\b")


@dataclass(frozen=True, slots=True)
class Adam:
    """The numbers of AdamW.

    Args:
        betas: Decay of its running averages, of the gradient and of its square.
        eps: Added to its denominator.
    """

    betas: tuple[float, float]
    eps: float


@dataclass(frozen=True, slots=True)
class Optimization:
    """How the weights are updated.

    Args:
        lr: Peak learning rate of the encoder; Adafactor's is a share of the weights' size.
        head_lr: Peak learning rate of the classification head.
        weight_decay: Decoupled decay, for matrices only: not for biases and norms.
        adam: Of AdamW; None takes Adafactor.
        layer_decay: Factor on the learning rate for each layer further from the head.
        shape: Shape of the schedule after the warm-up.
        warmup: Share of the steps in which the learning rate rises from zero.
        warmup_steps: Those steps; where given, in place of the share.
        gradient_clip: Greatest norm of the gradient; None clips nothing.
    """

    lr: float
    head_lr: float
    weight_decay: float
    adam: Adam | None
    layer_decay: float
    shape: Shape
    warmup: float
    warmup_steps: int | None
    gradient_clip: float | None


def make_optimizer(network: nn.Module, optimization: Optimization) -> torch.optim.Optimizer:
    """AdamW, fused, or Adafactor.

    They are those of Loshchilov & Hutter, 2019, "Decoupled Weight Decay Regularization", and of
    Shazeer & Stern, 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost".
    """
    groups, adam = parameter_groups(network, optimization), optimization.adam
    if adam is None:
        return torch.optim.Adafactor(groups, lr=optimization.lr)
    return torch.optim.AdamW(groups, lr=optimization.lr, betas=adam.betas, eps=adam.eps, fused=True)


def make_schedule(
    optimizer: torch.optim.Optimizer, optimization: Optimization, total_steps: int
) -> LambdaLR:
    """The schedule of a training of ``total_steps``, to be stepped with each optimizer step."""
    warmup_steps = optimization.warmup_steps
    if warmup_steps is None:
        warmup_steps = math.ceil(optimization.warmup * total_steps)
    return LambdaLR(
        optimizer,
        lambda step: learning_rate_factor(step, total_steps, warmup_steps, optimization.shape),
    )


def learning_rate_factor(step: int, total_steps: int, warmup_steps: int, shape: Shape) -> float:
    """The learning rate of a step, as a share of its peak.

    Args:
        step: The step, from 0.
        total_steps: All steps; at this one the decaying shapes reach zero.
        warmup_steps: The first steps, in which the rate rises linearly.
        shape: What follows the warm-up.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if shape == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if shape == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return max(0.0, 1.0 - progress)


def parameter_groups(network: nn.Module, optimization: Optimization) -> list[dict[str, Any]]:
    """Trainable parameters, grouped by learning rate and weight decay.

    Each group tells its ``parts`` of the network: ``head`` and ``encoder``, or where the layers
    differ, ``head``, ``top``, ``layer_5`` and so on, ``embeddings``.

    The rate falls by ``layer_decay`` with each layer further from the head (Howard & Ruder, 2018,
    "Universal Language Model Fine-tuning for Text Classification", section 3.2).
    """
    depth = number_of_layers(network)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in _trainable(network):
        decay = optimization.weight_decay if parameter.ndim > 1 else 0.0
        part, rate = _part_and_rate(name, depth, optimization, _base_prefix(network))
        group = groups.setdefault(
            (rate, decay), {"params": [], "lr": rate, "weight_decay": decay, "parts": []}
        )
        group["params"].append(parameter)
        if part not in group["parts"]:
            group["parts"].append(part)
    return list(groups.values())


def number_of_layers(network: nn.Module) -> int:
    """How many numbered layers the encoder has."""
    numbers = (LAYER_NUMBER.search(name) for name, _ in network.named_parameters())
    return max((int(found.group(1)) + 1 for found in numbers if found), default=0)


def _part_and_rate(
    name: str, depth: int, optimization: Optimization, base_prefix: str
) -> tuple[str, float]:
    """The part of the network that a parameter belongs to, and its peak learning rate."""
    if f"{base_prefix}." not in f".{name}":
        return "head", optimization.head_lr
    if optimization.layer_decay == 1:
        return "encoder", optimization.lr
    layer = LAYER_NUMBER.search(name)
    if EMBEDDINGS.search(name):
        part, distance = "embeddings", depth
    elif layer:
        part, distance = f"layer_{layer[1]}", depth - 1 - int(layer[1])
    else:
        part, distance = "top", 0
    return part, optimization.lr * float(optimization.layer_decay**distance)


def _base_prefix(network: nn.Module) -> str:
    """The name of the encoder within the network; with adapters, of the encoder they wrap."""
    wrapper: Any = network
    inner = wrapper.get_base_model() if hasattr(wrapper, "get_base_model") else wrapper
    return f".{getattr(inner, 'base_model_prefix', '')}"


def _trainable(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, value) for name, value in network.named_parameters() if value.requires_grad)
