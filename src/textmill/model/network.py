"""The network: a pretrained encoder with a classification head, and what of it is trained."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError
from torch import nn

from textmill.errors import InputError, MachineError
from textmill.first_token import compute_first_token_only
from textmill.labels import Labels
from textmill.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

Freeze = Literal["none", "embeddings", "encoder"]


# What architectures call these settings.
HEAD_DROPOUT = (
    "classifier_dropout",
    "seq_classif_dropout",
    "classifier_dropout_prob",
    "cls_dropout",
)
# The files that decide what an encoder is.
_ENCODER_SUFFIXES = (".safetensors", ".bin", ".json", ".txt", ".model")
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adaptation (Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models").

    Args:
        rank: Rank of the updates.
        alpha: Their scale, divided by the rank.
        dropout: On their input.
        targets: Names of the layers updated; None takes peft's choice for the architecture.
    """

    rank: int
    alpha: int
    dropout: float
    targets: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Where a pretrained encoder is.

    Args:
        location: A folder, or a name on the Hugging Face hub.
        revision: Commit hash or tag on the hub.
    """

    location: str
    revision: str | None = None


def load_tokenizer(pretrained: Pretrained) -> PreTrainedTokenizerFast:
    """Loads the tokenizer of an encoder.

    Raises:
        InputError: There is none, it is not a fast one, or it has no vocabulary.
    """
    from transformers import AutoTokenizer

    tokenizer = _load(AutoTokenizer.from_pretrained, pretrained, "tokenizer")
    if not tokenizer.is_fast:
        raise InputError(
            "the model has no fast tokenizer",
            where=pretrained.location,
            hint="choose another model",
        )
    # Without its file, transformers makes up a tokenizer to which every word is unknown.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise InputError(
            "the model's tokenizer can't be used (it has no vocabulary)",
            where=pretrained.location,
            hint="give a folder in the Hugging Face layout with model.path=FOLDER",
        )
    return tokenizer  # type: ignore[no-any-return]


def load_config(pretrained: Pretrained) -> PreTrainedConfig:
    """Loads the configuration of an encoder.

    Raises:
        InputError: There is none.
    """
    from transformers import AutoConfig

    config: PreTrainedConfig = _load(AutoConfig.from_pretrained, pretrained, "configuration")
    return config


def encoder_fingerprint(pretrained: Pretrained) -> str:
    """What tells an encoder from others of its name: a SHA-256 of its files, or the hub's commit.

    Raises:
        InputError: There is none.
    """
    folder = Path(pretrained.location)
    if not folder.is_dir():
        commit = getattr(load_config(pretrained), "_commit_hash", None)
        return str(commit or pretrained.revision)
    hashed = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in _ENCODER_SUFFIXES):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        hashed.update(f"{path.name} {content}\n".encode())
    return hashed.hexdigest()


def build_network(
    pretrained: Pretrained,
    labels: Labels,
    *,
    dropout: float | None,
    attention_dropout: float | None,
    freeze: Freeze,
) -> PreTrainedModel:
    """Loads an encoder in float32 and puts a fresh classification head on it.

    Args:
        pretrained: The encoder.
        labels: What the head tells apart; written into the network's configuration.
        dropout: Before the classification layer; None keeps the model's own.
        attention_dropout: On the attention weights; None keeps the model's own.
        freeze: What isn't trained.

    Raises:
        InputError: The model isn't there, is broken, or can't classify sequences.
    """
    from transformers import AutoModelForSequenceClassification

    config = load_config(pretrained)
    config.id2label = labels.id2label
    config.label2id = labels.label2id
    config.problem_type = labels.problem_type
    _set_dropout(config, "dropout", dropout, HEAD_DROPOUT)
    _set_dropout(config, "attention_dropout", attention_dropout, ATTENTION_DROPOUT)
    network: PreTrainedModel = _load(
        AutoModelForSequenceClassification.from_pretrained,
        pretrained,
        "model",
        config=config,
        dtype=torch.float32,
    )
    compute_first_token_only(network)
    if freeze == "embeddings":
        network.get_input_embeddings().requires_grad_(requires_grad=False)
    elif freeze == "encoder":
        network.base_model.requires_grad_(requires_grad=False)
    return network


def add_lora(network: PreTrainedModel, lora: Lora) -> nn.Module:
    """Wraps a network so that only low-rank updates and the head are trained.

    Raises:
        InputError: peft is missing, or doesn't know which layers to update.
    """
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as error:
        raise InputError(
            "model.lora needs the package peft",
            where="the extra textmill[lora]",
            hint="pip install 'textmill[lora]'",
        ) from error
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) if lora.targets else None,
    )
    try:
        with quiet_transformers():
            adapted: nn.Module = get_peft_model(network, config)
    except ValueError as error:
        reason = str(error).partition(". ")[0]
        raise InputError(
            f"peft can't adapt this model ({reason})",
            where=f"model.lora.targets=[{','.join(lora.targets)}]" if lora.targets else None,
            hint="set model.lora.targets=[LAYER,...] to names of its linear layers",
        ) from error
    return adapted


def merge_lora(network: nn.Module) -> PreTrainedModel:
    """The plain network with the updates added to its weights; a network without them as it is."""
    adapted: Any = network
    plain: PreTrainedModel = (
        adapted.merge_and_unload() if hasattr(adapted, "merge_and_unload") else adapted
    )
    return plain


def _set_dropout(
    config: PreTrainedConfig, key: str, value: float | None, names: tuple[str, ...]
) -> None:
    """Sets the first of the names that the architecture has.

    Raises:
        InputError: It has none of them.
    """
    if value is None:
        return
    name = next((name for name in names if hasattr(config, name)), None)
    if name is None:
        raise InputError(
            f"a {config.model_type} model has no such dropout",
            where=f"model.{key}={value}",
            hint="leave it out",
        )
    setattr(config, name, value)


def _load(loader: Any, pretrained: Pretrained, part: str, **options: Any) -> Any:  # noqa: ANN401
    """Calls a ``from_pretrained``, and tells in one line why it failed."""
    local = Path(pretrained.location).is_dir()
    try:
        with quiet_transformers():
            return loader(
                pretrained.location, revision=pretrained.revision, local_files_only=local, **options
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        if local or not isinstance(error, OSError):
            raise InputError(
                f"the model's {part} can't be used ({error})",
                where=pretrained.location,
                hint="give a folder in the Hugging Face layout with model.path=FOLDER",
            ) from error
        raise MachineError(
            f"the model's {part} can't be fetched from the Hugging Face hub",
            where=pretrained.location,
            hint="check the network and the name, or give a local copy with model.path=FOLDER",
        ) from error
