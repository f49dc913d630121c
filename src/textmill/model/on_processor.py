"""What makes a training step faster on a processor, and changes nothing of what is learned.

``benchmarks/processor_step.py`` measures what each of them is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from transformers import PreTrainedModel

# Random bits for an element of dropout: one draw of 64 serves four elements.
_BITS = 16
_LOWEST = -(2 ** (_BITS - 1))
_DRAWN = 64
# Tokens of a text from which flash attention is faster all the same: what is not computed forward
# is then more than what is lost backward.
_LONG = 400


@contextmanager
def tuned_for_processor(network: nn.Module, *, bfloat16: bool, longest: int) -> Iterator[None]:
    """Has a network train on a processor as fast as it can, until the end of the block.

    Args:
        network: The network: one of transformers', or adapters around it.
        bfloat16: Whether autocast computes in bfloat16.
        longest: Tokens of the longest text.
    """
    with ExitStack() as stack:
        stack.enter_context(quick_dropout(network))
        models = (module for module in network.modules() if isinstance(module, PreTrainedModel))
        model = next(models, None)
        if bfloat16 and model is not None:
            stack.enter_context(bfloat16_throughout(model))
            if longest < _LONG:
                stack.enter_context(plain_attention(model))
        yield


class _QuickDropout(nn.Dropout):
    """Dropout (Srivastava et al., 2014) whose random bits are drawn 64 at a time.

    torch draws them one by one, in a single thread, which was a fifth of a step. An element is
    dropped with the probability ``p`` to within 2**-17.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        if not self.training:
            return input
        apply: Callable[[Tensor, int], Tensor] = _Dropped.apply
        return apply(input, round(self.p * 2**_BITS))


class _Dropped(Function):
    """Zeroes elements, and scales the others up so that the mean stays."""

    @staticmethod
    def forward(context: Any, given: Tensor, share: int) -> Tensor:  # noqa: ANN401 - torch's own
        """Drops ``share`` of each 65,536 elements."""
        count = given.numel()
        draws = -(-count * _BITS // _DRAWN)
        bits = torch.empty(draws, dtype=torch.int64).random_(-(2**63), None)
        kept: Tensor = bits.view(torch.int16)[:count].view(given.shape) >= _LOWEST + share
        factors = kept.to(given.dtype).mul_(2**_BITS / (2**_BITS - share))
        context.save_for_backward(factors)
        return given * factors

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (factors,) = context.saved_tensors
        return gradient * factors, None


@contextmanager
def quick_dropout(network: nn.Module) -> Iterator[None]:
    """Has all dropout layers draw their random bits many at a time; see `_QuickDropout`."""
    found = [one for one in network.modules() if type(one) is nn.Dropout and 0 < one.p < 1]
    with _of_class(_QuickDropout, found):
        yield


@contextmanager
def _of_class(kind: type[nn.Module], modules: Sequence[nn.Module]) -> Iterator[None]:
    """Makes modules instances of another class until the end of the block."""
    before = [type(module) for module in modules]
    for module in modules:
        module.__class__ = kind
    try:
        yield
    finally:
        for module, own in zip(modules, before, strict=True):
            module.__class__ = own


@contextmanager
def plain_attention(model: PreTrainedModel) -> Iterator[None]:
    """Attention as matrix products.

    On processors the backward step of torch's flash attention is some ten times slower in bfloat16
    than in float32: a third of a step.
    """
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class _BFloat16LayerNorm(nn.LayerNorm):
    """Layer normalisation (Ba et al., 2016) whose gradients are right in bfloat16, too."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        if input.dtype != torch.bfloat16:
            return super().forward(input)
        apply: Callable[..., Tensor] = _Normalized.apply
        return apply(input, self.weight, self.bias, self.eps)


class _Normalized(Function):
    """Normalises the last dimension of a bfloat16 tensor.

    torch adds up the gradients of weight and bias in bfloat16, token by token, and loses a tenth of
    them in a batch of long texts. Matrix products add up in float32.
    """

    @staticmethod
    def forward(context: Any, given: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:  # noqa: ANN401
        """Normalises, scales and shifts."""
        normalized, mean, scale = torch.native_layer_norm(given, weight.shape, weight, bias, eps)
        context.save_for_backward(given, weight, bias, mean, scale)
        return normalized

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # noqa: ANN401
        given, weight, bias, mean, scale = context.saved_tensors
        before, _, _ = torch.ops.aten.native_layer_norm_backward(
            gradient, given, weight.shape, mean, scale, weight, bias, [True, False, False]
        )
        rows, factors = gradient.flatten(0, -2), scale.flatten()
        # What was normalised is (given - mean) * scale.
        shifts = torch.stack([torch.ones_like(factors), mean.flatten() * factors])
        of_bias, of_mean = (shifts.to(rows.dtype) @ rows).float()
        products = rows * given.flatten(0, -2)
        of_weight = (factors.to(rows.dtype) @ products).float() - of_mean
        return before, of_weight, of_bias, None


@contextmanager
def bfloat16_throughout(model: PreTrainedModel) -> Iterator[None]:
    """Layers hand on bfloat16, where autocast alone would keep the sum of their outputs in float32.

    That sum would be rounded to bfloat16 for each matrix product anyway, several times in each
    layer, forward and back. Weights and their gradients stay in float32.
    """
    embeddings = getattr(model.base_model, "embeddings", None)
    if not isinstance(embeddings, nn.Module):
        yield
        return
    handle = embeddings.register_forward_hook(lambda _module, _inputs, output: _rounded(output))
    norms = [
        one
        for one in model.modules()
        if type(one) is nn.LayerNorm and one.bias is not None and one.weight.ndim == 1
    ]
    try:
        with _of_class(_BFloat16LayerNorm, norms):
            yield
    finally:
        handle.remove()


def _rounded(output: Any) -> Any:  # noqa: ANN401 - whatever an encoder's embeddings give
    autocast = torch.is_autocast_enabled("cpu")
    if autocast and isinstance(output, Tensor) and output.dtype == torch.float32:
        return output.to(torch.bfloat16)
    return output
