"""What users would train with instead: transformers' Trainer, and a loop of their own."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
    get_linear_schedule_with_warmup,
)
from transformers.trainer_pt_utils import get_length_grouped_indices

from benchmarks.speed.clock import StepClock
from benchmarks.speed.job import SEED, Job
from benchmarks.speed.results import Trained
from textmill.environment import has_bfloat16

LEARNING_RATE = 1e-4

Batch = dict[str, Tensor]
Features = list[dict[str, Any]]


def train_with_trainer_as_in_examples(job: Job) -> Trained:
    """Trainer as transformers' example scripts have it: all texts padded to ``max_length``."""
    clock = _clock(job)
    features = _features(job, padding="max_length")
    return _train(job, clock, Dataset.from_list(features), default_data_collator)


def train_with_trainer_at_its_best(job: Job) -> Trained:
    """Trainer with all that makes it fast."""
    return _train_fast(job, frozen=False)


def train_with_trainer_frozen(job: Job) -> Trained:
    """The same with word embeddings that stay as they are, and attention without dropout.

    So it is in Textmill's default for MiniLM.
    """
    return _train_fast(job, frozen=True)


def train_with_loop(job: Job) -> Trained:
    """A plain loop: batches of like lengths, fused AdamW, clipping, bfloat16 where there is any."""
    clock = _clock(job)
    features, collate = _features(job), _CountTokens(DataCollatorWithPadding(_tokenizer(job)))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = _model(job).train().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, job.total_steps)
    for rows in _like_lengths(features, job.facts.batch_size):
        batch = {name: values.to(device) for name, values in collate(rows).items()}
        plain_step(model, batch, optimizer, schedule)
        clock.step_ended()
    return clock.read(collate.batch_tokens, _precision(bf16=has_bfloat16()))


def plain_step(
    model: PreTrainedModel, batch: Batch, optimizer: torch.optim.Optimizer, schedule: LambdaLR
) -> None:
    """A step of the loop that one would write by hand."""
    with torch.autocast(model.device.type, torch.bfloat16, enabled=has_bfloat16()):
        loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()


class _CountTokens:
    """A collator that counts the tokens of each batch that it makes.

    Args:
        collate: Makes the batch.
    """

    def __init__(self, collate: Callable[[Features], Any]) -> None:
        self.batch_tokens: list[int] = []
        self._collate = collate

    def __call__(self, features: Features) -> Batch:
        batch: Batch = self._collate(features)
        self.batch_tokens.append(int(batch["attention_mask"].sum()))
        return batch


class _TellClock(TrainerCallback):
    def __init__(self, clock: StepClock) -> None:
        self._clock = clock

    def on_step_end(self, *_: object, **__: object) -> None:
        self._clock.step_ended()


def _clock(job: Job) -> StepClock:
    return StepClock(job.facts.warm_up, job.facts.steps)


def _train_fast(job: Job, *, frozen: bool) -> Trained:
    return _train(
        job,
        _clock(job),
        _features(job),
        DataCollatorWithPadding(_tokenizer(job)),
        frozen=frozen,
        train_sampling_strategy="group_by_length",
        optim="adamw_torch_fused",
        bf16=has_bfloat16(),
        logging_strategy="no",
        remove_unused_columns=False,
    )


def _train(
    job: Job,
    clock: StepClock,
    examples: Dataset | Features,
    collate: Callable[[Features], Any],
    *,
    frozen: bool = False,
    **arguments: Any,  # noqa: ANN401 - those of TrainingArguments
) -> Trained:
    counting = _CountTokens(collate)
    with tempfile.TemporaryDirectory(dir=job.folder) as folder:
        settings = TrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=job.facts.batch_size,
            learning_rate=LEARNING_RATE,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            seed=SEED,
            **arguments,
        )
        trainer = Trainer(
            _model(job, frozen=frozen),
            settings,
            data_collator=counting,
            train_dataset=examples,  # type: ignore[arg-type] - a list has what is asked of it
            callbacks=[_TellClock(clock)],
        )
        trainer.train()
    return clock.read(counting.batch_tokens, _precision(bf16=settings.bf16))


def _model(job: Job, *, frozen: bool = False) -> PreTrainedModel:
    if not frozen:
        return AutoModelForSequenceClassification.from_pretrained(job.material.encoder)
    model = AutoModelForSequenceClassification.from_pretrained(
        job.material.encoder, attention_probs_dropout_prob=0.0
    )
    model.get_input_embeddings().requires_grad_(requires_grad=False)
    return model


def _tokenizer(job: Job) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(job.material.encoder)


def _features(job: Job, padding: str | bool = False) -> Features:
    """The tokenized examples, as transformers' collators take them."""
    ids = AutoConfig.from_pretrained(job.material.encoder).label2id
    texts, labels = job.material.read()
    encoded = _tokenizer(job)(
        texts, padding=padding, truncation=True, max_length=job.facts.max_length
    )
    return [
        {**{name: values[row] for name, values in encoded.items()}, "label": ids[label]}
        for row, label in enumerate(labels)
    ]


def _like_lengths(features: Features, batch_size: int) -> Iterator[Features]:
    """Batches as Trainer groups them, but mixed, so that the long ones don't come first."""
    order = get_length_grouped_indices([len(one["input_ids"]) for one in features], batch_size)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    random.Random(SEED).shuffle(batches)  # noqa: S311
    return ([features[index] for index in batch] for batch in batches)


def _precision(*, bf16: bool) -> str:
    return "bfloat16" if bf16 else "float32"
