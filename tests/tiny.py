"""A tokenizer and an encoder made on the spot, small enough to train in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    BertTokenizerFast,
    PreTrainedModel,
)

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SENTENCES = [
    "a wonderful film with a great cast and a lovely story",
    "a terrible film with a dull cast and an awful story",
    "I loved every minute of it, and I would see it again",
    "I hated every minute of it, and I would never see it again",
    "the plot is clever; the music is beautiful; the end is perfect!",
    "the plot is silly; the music is loud; the end is bad?",
]


def make_tokenizer() -> BertTokenizerFast:
    """A WordPiece tokenizer that knows the words of a handful of sentences, and all their letters.

    It is the same in every process; one that the library learns has its ids in an order of chance.
    """
    tokenizer = Tokenizer(WordPiece(_vocabulary(), unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=64)


def _vocabulary() -> dict[str, int]:
    split = BertPreTokenizer().pre_tokenize_str(" ".join(SENTENCES).lower())
    words = sorted({word for word, _ in split})
    letters = sorted(set("".join(words)))
    tokens = [*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters), *words]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def write_tiny_encoder(folder: Path) -> Path:
    """Writes a random BERT encoder (2 layers, 32 wide) with its tokenizer; returns the folder."""
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def random_classifier(architecture: str, **settings: object) -> PreTrainedModel:
    """A random network (2 layers, 32 wide, 50 tokens, 3 labels), without dropout."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=50,
        hidden_size=32,
        embedding_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=3,
        **settings,
    )
    make: Any = AutoModelForSequenceClassification.from_config
    network: PreTrainedModel = make(config)
    return network
