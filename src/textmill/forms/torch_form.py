"""The form that every bundle has: its weights, in torch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from textmill.encoding import LengthPolicy, Padding
from textmill.errors import InputError
from textmill.scoring import Batch, Scorer, Scores

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# A processor's caches hold the activations of about so many tokens; an accelerator needs many more
# to be busy.
TOKENS_ON_CPU = 4096
TOKENS_ON_ACCELERATOR = 65_536
# Tokens that take as long as a call, as a share of these.
_A_CALL = 32


class TorchModel:
    """A network of transformers.

    Args:
        network: A sequence classifier; it is moved to the device, in float32, and set to evaluate,
            its weights without gradients.
        device: Where it computes; see `resolve_device`.

    Raises:
        InputError: There is no such device.
    """

    def __init__(self, network: PreTrainedModel, device: str = "cpu") -> None:
        self._device = resolve_device(device)
        module: nn.Module = network
        module.float().eval().requires_grad_(requires_grad=False).to(self._device)
        self.network = network

    @property
    def device(self) -> str:
        """Where it computes."""
        return str(self._device)

    @property
    def outputs(self) -> int:
        """The number of its outputs."""
        return int(self.network.config.num_labels or 0)

    @property
    def tokens_at_once(self) -> int:
        """The tokens of a batch, padding included, up to which it gets faster."""
        return TOKENS_ON_CPU if self._device.type == "cpu" else TOKENS_ON_ACCELERATOR

    @property
    def tokens_a_call(self) -> int:
        """The tokens that take as long as a call by itself."""
        return self.tokens_at_once // _A_CALL

    @torch.inference_mode()
    def logits(self, batch: Batch) -> Scores:
        """The raw outputs, ``[texts, outputs]``, of what `pad_batch` gives."""
        output = self.network(**self.tensors(batch))
        return np.asarray(output.logits.float().cpu().numpy(), dtype=np.float32)

    def tensors(self, batch: Batch) -> dict[str, torch.Tensor]:
        """A batch, on the model's device."""
        return {name: torch.from_numpy(ids).to(self._device) for name, ids in batch.items()}


def torch_scorer(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    policy: LengthPolicy,
    *,
    multi_label: bool,
    device: str = "cpu",
) -> Scorer:
    """Scores with a network of transformers and its tokenizer.

    Args:
        network: A sequence classifier; see `TorchModel`.
        tokenizer: Its tokenizer.
        policy: What happens to long texts.
        multi_label: Whether each label is scored by itself.
        device: Where the network computes.

    Raises:
        InputError: There is no such device, or the tokenizer can't pad.
    """
    return Scorer(
        TorchModel(network, device),
        tokenizer,
        Padding.of(tokenizer),
        policy,
        multi_label=multi_label,
    )


def to_probabilities(logits: torch.Tensor, *, multi_label: bool) -> torch.Tensor:
    """The labels' probabilities of logits ``[texts, labels]``; see `Scorer.probabilities`."""
    return torch.sigmoid(logits) if multi_label else torch.softmax(logits, dim=-1)


def resolve_device(name: str) -> torch.device:
    """The device of a name: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto`` for the fastest.

    Raises:
        InputError: The name is unknown, or the machine has no such device.
    """
    counts = {
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    if name == "auto":
        return torch.device(next(kind for kind, count in counts.items() if count))
    if not re.fullmatch(r"(cuda|mps|cpu)(:[0-9]+)?", name):
        raise InputError(
            f"unknown device {name!r}", hint="choose auto, cpu, cuda, cuda:NUMBER or mps"
        )
    device = torch.device(name)
    if (device.index or 0) >= counts[device.type]:
        raise InputError(f"this machine has no device {name!r}", hint="choose auto or cpu")
    return device
