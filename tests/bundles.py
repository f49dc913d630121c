"""Bundles made on the spot around the tiny random encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tests.tiny import SENTENCES
from textmill.bundle import write_bundle
from textmill.encoding import LengthPolicy
from textmill.labels import Labels
from textmill.quiet import quiet_transformers
from textmill.scoring import Texts

SINGLE = Labels(("bad", "fair", "good"))
MULTI = Labels(("bad", "fair", "good"), multi_label=True)
# With these, the label in the middle wins.
STRICT = (0.9, 0.0, 0.9)
# Each has another label.
GOLDEN = [SENTENCES[0], SENTENCES[3], ""]
CARD = "# A tiny classifier\n"


def tiny_tokenizer(encoder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of the tiny encoder."""
    return AutoTokenizer.from_pretrained(encoder)


def make_model(encoder: Path, labels: Labels) -> PreTrainedModel:
    """The tiny encoder with random weights, and a bias with which no label wins everywhere."""
    torch.manual_seed(1)
    with quiet_transformers():
        model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=len(labels))
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() == 2:
                weights.normal_(0, 0.4)
        inputs = tiny_tokenizer(encoder)(SENTENCES, padding=True, return_tensors="pt")
        model.classifier.bias.copy_(-model.eval()(**inputs).logits.mean(dim=0))
    return model


def make_all_kinds(encoder: Path, folder: Path) -> Path:
    """Writes a bundle of each kind: ``single``, ``strict``, ``multi``, ``pairs``."""
    make_bundle(encoder, folder / "single")
    make_bundle(encoder, folder / "strict", thresholds=STRICT)
    make_bundle(encoder, folder / "multi", MULTI)
    make_bundle(encoder, folder / "pairs", text_columns=("question", "answer"))
    return folder


def edit_json(path: Path, **values: object) -> None:
    """Sets values of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def swap_labels(bundle: Path) -> None:
    """Has the outputs of a single-label bundle stand for the labels in another order."""
    names = SINGLE.names[::-1]
    order = {name: place for place, name in enumerate(names)}
    edit_json(bundle / "config.json", id2label=dict(enumerate(names)), label2id=order)


def edit_tokenizer(bundle: Path) -> None:
    """Has a bundle's tokenizer read capital letters as such."""
    path = bundle / "tokenizer.json"
    path.write_text(path.read_text().replace('"lowercase": true', '"lowercase": false'))


def move_thresholds(bundle: Path) -> None:
    """Gives a single-label bundle thresholds that decide otherwise."""
    edit_json(bundle / "textmill.json", thresholds=STRICT)


def change_weights(bundle: Path) -> None:
    """Zeroes the last of a bundle's weights."""
    path = bundle / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4000] + bytes(4000))


RUINED: dict[str, Callable[[Path], None]] = {
    "labels": swap_labels,
    "tokenizer": edit_tokenizer,
    "thresholds": move_thresholds,
    "weights": change_weights,
}


def make_bundle(
    encoder: Path,
    folder: Path,
    labels: Labels = SINGLE,
    *,
    policy: LengthPolicy | None = None,
    text_columns: Sequence[str] = ("text",),
    thresholds: Sequence[float] | None = None,
) -> Path:
    """Writes a bundle with random weights; returns its folder."""
    golden: Texts = GOLDEN if len(text_columns) == 1 else [(text, "a film") for text in GOLDEN]
    write_bundle(
        folder,
        make_model(encoder, labels),
        tiny_tokenizer(encoder),
        labels=labels,
        policy=policy or LengthPolicy(32),
        text_columns=text_columns,
        fingerprints={"data": "d" * 64},
        golden_texts=golden,
        card=CARD,
        thresholds=thresholds,
    )
    return folder
