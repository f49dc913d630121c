"""From texts to a model's scores: encoded, sorted by length, batched, and put back in order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from textmill.encoding import Encoded, LengthPolicy, Lengths, Padding, encode, pad_batch
from textmill.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Texts = Sequence[str] | Sequence[tuple[str, str]]
Scores = npt.NDArray[np.float32]

# Texts encoded at a time, and the stretch within which they are sorted by length.
STRETCH = 4096


class Scorer:
    """A model with its tokenizer, ready to score; nothing in it changes, so threads may share it.

    Args:
        model: A sequence classifier; it is moved to the device, in float32, and set to evaluate,
            its weights without gradients.
        tokenizer: The model's tokenizer.
        policy: What happens to long texts.
        multi_label: Whether each label is scored by itself.
        device: Where the model computes; see `resolve_device`.

    Raises:
        InputError: There is no such device, or the tokenizer can't pad.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        policy: LengthPolicy,
        *,
        multi_label: bool,
        device: str = "cpu",
    ) -> None:
        self.device = resolve_device(device)
        module: nn.Module = model
        module.float().eval().requires_grad_(requires_grad=False).to(self.device)
        self.model = model
        self.tokenizer = tokenizer
        self.policy = policy
        self.padding = Padding.of(tokenizer)
        self._multi_label = multi_label
        self._labels = int(model.config.num_labels or 0)

    def logits(self, texts: Texts, *, batch_size: int = 64) -> Scores:
        """The model's raw outputs, ``[texts, labels]``, in the order of the texts.

        Args:
            texts: Texts, or pairs of texts.
            batch_size: Texts scored at a time.

        Raises:
            InputError: Something among the texts is not text.
        """
        _check(texts)
        stretches = [
            self._stretch(texts[start : start + STRETCH], batch_size)
            for start in range(0, len(texts), STRETCH)
        ]
        if not stretches:
            return np.empty((0, self._labels), dtype=np.float32)
        return np.concatenate(stretches)

    def probabilities(self, texts: Texts, *, batch_size: int = 64) -> Scores:
        """The labels' probabilities, ``[texts, labels]``, in the order of the texts.

        They add up to 1 for each text (softmax), or stand each for themselves where a text may
        have several labels (sigmoid).

        Raises:
            InputError: Something among the texts is not text.
        """
        logits = torch.from_numpy(self.logits(texts, batch_size=batch_size))
        scores = to_probabilities(logits, multi_label=self._multi_label)
        return np.asarray(scores.numpy(), dtype=np.float32)

    def lengths(self, texts: Texts) -> Lengths:
        """How much of each text the model sees, in the order of the texts.

        Raises:
            InputError: Something among the texts is not text.
        """
        tokens = np.empty(len(texts), dtype=np.int32)
        cut = np.empty(len(texts), dtype=np.bool_)
        for start in range(0, len(texts), STRETCH):
            here = slice(start, start + STRETCH)
            encoded = encode(self.tokenizer, *_sides(texts[here]), self.policy)
            tokens[here] = [len(ids) for ids in encoded.input_ids]
            cut[here] = encoded.cut
        return Lengths(tokens, cut)

    def _stretch(self, texts: Texts, batch_size: int) -> Scores:
        firsts, seconds = _sides(texts)
        encoded = encode(self.tokenizer, firsts, seconds, self.policy)
        logits = np.empty((len(texts), self._labels), dtype=np.float32)
        for batch in _by_length(encoded, batch_size):
            logits[batch] = self._forward(encoded, batch)
        return logits

    @torch.inference_mode()
    def _forward(self, encoded: Encoded, batch: npt.NDArray[np.intp]) -> Scores:
        types = encoded.token_type_ids
        inputs = pad_batch(
            [encoded.input_ids[index] for index in batch],
            None if types is None else [types[index] for index in batch],
            self.padding,
        )
        output = self.model(**{name: ids.to(self.device) for name, ids in inputs.items()})
        return np.asarray(output.logits.float().cpu().numpy(), dtype=np.float32)


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


def _check(texts: Texts) -> None:
    if isinstance(texts, str):
        raise InputError("texts must be a list, not one text", hint="put the text into a list")
    kind = str if not len(texts) or isinstance(texts[0], str) else tuple
    for index, text in enumerate(texts):
        if not isinstance(text, kind) or (kind is tuple and not _is_pair(text)):
            raise InputError(
                f"{text!r:.60} is neither a text nor a pair of texts like the others",
                where=f"text {index + 1}",
                hint="give a list of str, or a list of (str, str)",
            )


def _is_pair(text: object) -> bool:
    return isinstance(text, tuple) and [type(side) for side in text] == [str, str]


def _sides(texts: Texts) -> tuple[Sequence[str], Sequence[str] | None]:
    """The texts, and where they are pairs, the second texts."""
    if not len(texts) or isinstance(texts[0], str):
        return cast("Sequence[str]", texts), None
    pairs = cast("Sequence[tuple[str, str]]", texts)
    return [first for first, _ in pairs], [second for _, second in pairs]


def _by_length(encoded: Encoded, batch_size: int) -> Iterator[npt.NDArray[np.intp]]:
    """The positions of the texts, the longest first, in batches; ties keep their order."""
    lengths = np.array([len(ids) for ids in encoded.input_ids])
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
