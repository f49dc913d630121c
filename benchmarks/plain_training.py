"""A classifier trained by the loop that one would write with transformers and torch alone."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    get_linear_schedule_with_warmup,
)

from benchmarks.speed.own import composed_training
from benchmarks.speed.peers import plain_step
from textmill.configuration.schema import TrainConfig
from textmill.data.examples import Examples
from textmill.recipe import encoder_of, examples_of


@dataclass(frozen=True, slots=True)
class Quality:
    """What came of a training.

    Args:
        accuracy: On the test examples.
        seconds: Of the training alone.
    """

    accuracy: float
    seconds: float


def train_plainly(overrides: Sequence[str]) -> Quality:
    """Trains and judges with the numbers that ``textmill train`` with these overrides has.

    The examples, their splits, learning rate, schedule, batch size and epochs are the same.
    Batches are random and padded to their longest text, all weights are trained with the model's
    own dropout, and the last weights are the result.
    """
    config = composed_training(overrides).config
    examples = examples_of(config.data, config.seed)
    torch.manual_seed(config.seed)
    encoder = encoder_of(config.model, config.data, examples, seed=config.seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        encoder.pretrained.location, num_labels=len(examples.labels)
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    loaders = _Loaders(examples, encoder.pretrained.location, encoder.policy.max_length)
    started = time.monotonic()
    _train(model, config, loaders, device)
    seconds = time.monotonic() - started
    return Quality(_accuracy(model, loaders.batches("test", 64), device), seconds)


class _Loaders:
    """The batches of the splits.

    Args:
        examples: The examples.
        location: Of the tokenizer.
        max_length: The most tokens of a text.
    """

    def __init__(self, examples: Examples, location: str, max_length: int) -> None:
        self._examples = examples
        self._tokenizer = AutoTokenizer.from_pretrained(location)
        self._max_length = max_length

    def batches(
        self, split: str, batch_size: int, *, shuffle: bool = False
    ) -> DataLoader[dict[str, Tensor]]:
        """A split's batches, padded to their longest text."""
        rows = self._examples.splits[split]
        encoded = self._tokenizer(list(rows["text"]), truncation=True, max_length=self._max_length)
        features = [
            {"label": label, **{name: values[row] for name, values in encoded.items()}}
            for row, label in enumerate(rows["label"])
        ]
        return DataLoader(
            features,  # type: ignore[arg-type] - a list has what is asked of a data set
            batch_size,
            shuffle=shuffle,
            collate_fn=DataCollatorWithPadding(self._tokenizer),
        )


def _train(
    model: PreTrainedModel, config: TrainConfig, loaders: _Loaders, device: torch.device
) -> None:
    batches = loaders.batches("train", config.trainer.batch_size, shuffle=True)
    steps = config.trainer.max_epochs * len(batches)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.optimizer.lr, weight_decay=config.optimizer.weight_decay
    )
    warmup = math.ceil(config.scheduler.warmup * steps)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, steps)
    model.train()
    for _ in range(config.trainer.max_epochs):
        for batch in _on(device, batches):
            plain_step(model, batch, optimizer, schedule)


@torch.inference_mode()
def _accuracy(
    model: PreTrainedModel, batches: DataLoader[dict[str, Tensor]], device: torch.device
) -> float:
    model.eval()
    right = [
        (model(**batch).logits.argmax(dim=-1) == batch["labels"]).cpu().numpy()
        for batch in _on(device, batches)
    ]
    return float(np.concatenate(right).mean())


def _on(
    device: torch.device, batches: DataLoader[dict[str, Tensor]]
) -> Iterator[dict[str, Tensor]]:
    return ({name: values.to(device) for name, values in batch.items()} for batch in batches)
