"""Makes what the contestants share: texts and initial weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset

from benchmarks.speed.job import SEED, Job, Material, ScoringJob
from benchmarks.speed.own import composed_training, train_bundle
from benchmarks.speed.plan import Plan, Texts
from benchmarks.speed.results import Facts
from benchmarks.speed.scorers import float32_labels
from textmill.bundle import read_bundle
from textmill.cli import main as textmill
from textmill.encoding import encode
from textmill.environment import processor_has_bfloat16
from textmill.labels import Labels
from textmill.model.network import build_network
from textmill.model.optimizers import LAYER_NUMBER
from textmill.quiet import quiet_transformers
from textmill.recipe import Encoder, encoder_of, examples_of
from textmill.safe_write import write_text

VALIDATION = 200

Row = Mapping[str, str]


def make_job(plan: Plan, texts: Texts, folder: Path) -> Job:
    """Takes as many examples of a data set as the steps need, and makes initial weights.

    Args:
        plan: Says what the encoder is, and how large a batch.
        texts: The data set.
        folder: Where the job's files are written.
    """
    config = composed_training(plan.overrides(texts)).config
    examples = examples_of(config.data, SEED)
    names = examples.labels.names
    train = _pick(examples.splits["train"], names, plan.batch_size * (texts.warm_up + texts.steps))
    labels = Labels(tuple(sorted({row["label"] for row in train})))
    others = _pick(examples.splits["validation"], names, VALIDATION)
    folder.mkdir(parents=True)
    material = Material(folder / "encoder", folder / "train.jsonl", folder / "validation.jsonl")
    _write_rows(material.train, train)
    _write_rows(material.validation, (row for row in others if row["label"] in labels.names))
    encoder = encoder_of(config.model, config.data, examples, seed=SEED)
    facts = Facts(
        data=config.data.name,
        examples=len(train),
        mean_tokens=_mean_tokens(encoder, train),
        parameters=_write_classifier(material.encoder, encoder, labels),
        max_length=texts.max_length,
        batch_size=plan.batch_size,
        warm_up=texts.warm_up,
        steps=texts.steps,
    )
    return Job(material, facts, plan.model, folder)


def make_scoring_job(plan: Plan, folder: Path, bundle: Path | None) -> ScoringJob:
    """Takes texts of the first data set, and trains a classifier on it where none is given.

    That one gets all forms that there are; one that is given keeps those that it has.

    Args:
        plan: Says how many texts, and how long is trained.
        folder: Where the classifier is written.
        bundle: A trained classifier; None trains one.
    """
    overrides = [*plan.overrides(plan.texts[0]), *plan.scored_training]
    if bundle is None:
        bundle = train_bundle(overrides, folder)
        # A form that does not pass its proof is left out, and takes no part.
        coarse = ["int8", *(["bf16"] if processor_has_bfloat16() else [])]
        textmill(["export", str(bundle), *(f"--precision={form}" for form in coarse)])
    config = composed_training(overrides).config
    examples = examples_of(config.data, SEED)
    texts = tuple(examples.splits["train"]["text"][: plan.scored])
    labels = tuple(float32_labels(bundle, texts))
    forms = ("torch", *read_bundle(bundle).info.forms)
    return ScoringJob(bundle, forms, texts, labels, plan.scored_alone)


def _pick(examples: Dataset, names: tuple[str, ...], count: int) -> list[Row]:
    """Some examples at random, or all where there are fewer."""
    order = np.random.default_rng(SEED).permutation(len(examples))
    rows = examples.select(order[:count])
    return [
        {"text": text, "label": names[label]}
        for text, label in zip(rows["text"], rows["label"], strict=True)
    ]


def _write_rows(path: Path, rows: Iterable[Row]) -> None:
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def _mean_tokens(encoder: Encoder, rows: list[Row]) -> float:
    encoded = encode(encoder.tokenizer, [row["text"] for row in rows], None, encoder.policy)
    return float(np.mean([len(ids) for ids in encoded.input_ids]))


def _write_classifier(folder: Path, encoder: Encoder, labels: Labels) -> int:
    """Writes the encoder with a fresh head; returns how many weights every token goes through."""
    torch.manual_seed(SEED)
    network = build_network(
        encoder.pretrained, labels, dropout=None, attention_dropout=None, freeze="none"
    )
    with quiet_transformers():
        network.save_pretrained(folder)
        encoder.tokenizer.save_pretrained(folder)
    return sum(
        weights.numel() for name, weights in network.named_parameters() if LAYER_NUMBER.search(name)
    )
