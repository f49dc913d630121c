"""The network: a pretrained encoder with a classification head, and what of it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError
from torch import nn

from textmill.errors import InputError, MachineError
from textmill.labels import Labels

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

Freeze = Literal["none", "embeddings", "encoder"]
Pooling = Literal["default", "mean"]


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
    alpha: float
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
        InputError: There is none, or it is not a fast one.
    """
    from transformers import AutoTokenizer

    tokenizer = _load(AutoTokenizer.from_pretrained, pretrained, "tokenizer")
    if not tokenizer.is_fast:
        raise InputError(
            "the model has no fast tokenizer",
            where=pretrained.location,
            hint="choose another model",
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


def build_network(
    pretrained: Pretrained, labels: Labels, *, dropout: float | None, freeze: Freeze
) -> PreTrainedModel:
    """Loads an encoder in float32 and puts a fresh classification head on it.

    Args:
        pretrained: The encoder.
        labels: What the head tells apart; written into the network's configuration.
        dropout: Before the classification layer; None keeps the model's own.
        freeze: What isn't trained.

    Raises:
        InputError: The model isn't there, is broken, or can't classify sequences.
    """
    from transformers import AutoModelForSequenceClassification

    config = load_config(pretrained)
    config.id2label = labels.id2label
    config.label2id = labels.label2id
    config.problem_type = labels.problem_type
    if dropout is not None:
        _set_head_dropout(config, dropout)
    network: PreTrainedModel = _load(
        AutoModelForSequenceClassification.from_pretrained,
        pretrained,
        "model",
        config=config,
        dtype=torch.float32,
    )
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
            "model.lora needs the package peft", hint="pip install 'textmill[lora]'"
        ) from error
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) if lora.targets else None,
    )
    try:
        return get_peft_model(network, config)  # type: ignore[no-any-return]
    except ValueError as error:
        raise InputError(
            f"peft can't adapt this model ({error})", hint="set model.lora.targets=[LAYER,...]"
        ) from error


def merge_lora(network: nn.Module) -> PreTrainedModel:
    """The plain network with the updates added to its weights; a network without them as it is."""
    merge = getattr(network, "merge_and_unload", None)
    return merge() if merge is not None else network  # type: ignore[no-any-return]


def _set_head_dropout(config: PreTrainedConfig, dropout: float) -> None:
    for name in ("classifier_dropout", "seq_classif_dropout", "classifier_dropout_prob"):
        if hasattr(config, name):
            setattr(config, name, dropout)
            return
    raise InputError(
        f"a {config.model_type} model has no dropout of its own before the head",
        where="model.dropout",
        hint="leave it out",
    )


def _load(loader: Any, pretrained: Pretrained, part: str, **options: Any) -> Any:  # noqa: ANN401
    """Calls a ``from_pretrained``, and tells in one line why it failed."""
    local = Path(pretrained.location).is_dir()
    try:
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
