"""An encoder that nobody has trained: random weights, and a vocabulary learned from the texts."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import NFC, BertNormalizer
from tokenizers.normalizers import Sequence as Normalizers
from tokenizers.pre_tokenizers import BertPreTokenizer, Split
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer

from textmill.cache import made_once
from textmill.model.network import Pretrained
from textmill.quiet import quiet_transformers

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

FORMAT = 1
PADDING, UNKNOWN, BEGIN, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PADDING, UNKNOWN, BEGIN, END, MASK)
CONTINUED = "##"  # before a piece that doesn't begin its word
LONGEST_WORD = 64  # characters; WordPiece gives up on longer ones, as where no spaces are written
ROWS_AT_ONCE = 1000
MOST_TEXTS = 1_000_000  # that a vocabulary is learned from; more hardly change it


@dataclass(frozen=True, slots=True)
class Size:
    """How large an encoder is.

    Args:
        layers: Its transformer layers.
        width: The numbers that stand for a token, in each layer.
        heads: The attention heads that share them.
        vocabulary: The most tokens that it knows, special tokens included.
        positions: The most tokens of a text.
    """

    layers: int
    width: int
    heads: int
    vocabulary: int
    positions: int


def scratch_encoder(
    texts: Dataset, size: Size, *, fingerprint: str, seed: int, cache: Path
) -> Pretrained:
    """An encoder with random weights, whose WordPiece vocabulary is learned from texts.

    It is a BERT of the given size (Devlin et al., 2019). The same texts, size and seed give the
    same encoder, in any process; it is made once, and then found in the cache.

    Args:
        texts: A split with the column ``text``, and ``text_pair`` for pairs.
        size: How large it is.
        fingerprint: Of the texts.
        seed: Of the weights.
        cache: The cache folder.

    Raises:
        MachineError: The cache can't be written.
    """
    key = json.dumps([FORMAT, fingerprint, asdict(size), seed])
    folder = cache / "scratch" / hashlib.sha256(key.encode()).hexdigest()
    return Pretrained(str(made_once(folder, partial(_write_encoder, texts, size, seed))))


def _write_encoder(texts: Dataset, size: Size, seed: int, folder: Path) -> None:
    from transformers import BertConfig, BertModel

    tokenizer = learn_tokenizer(texts, size)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.width,
        max_position_embeddings=size.positions,
        pad_token_id=tokenizer.pad_token_id,
    )
    with quiet_transformers(), torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def learn_tokenizer(texts: Dataset, size: Size) -> PreTrainedTokenizerFast:
    """Learns a WordPiece tokenizer; the same texts give the same one, in any process.

    Capital letters are read as small ones; accents stay. Of more than `MOST_TEXTS` texts, every
    second one is read, or every third, and so on.
    """
    from transformers import PreTrainedTokenizerFast

    texts = texts.select(range(0, len(texts), max(1, -(-len(texts) // MOST_TEXTS))))
    characters, pieces = _alphabet(texts, most=(size.vocabulary - len(SPECIAL_TOKENS)) // 2)
    learning = _tokenizer({})
    # The trainer numbers pieces of one character as it meets them, in an order that changes from
    # process to process, and breaks ties by number. Those it is given first have fixed numbers.
    trainer = WordPieceTrainer(
        vocab_size=size.vocabulary,
        min_frequency=2,
        special_tokens=[*SPECIAL_TOKENS, *pieces],
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        continuing_subword_prefix=CONTINUED,
        show_progress=False,
    )
    learning.train_from_iterator(_texts_of(texts), trainer, length=len(texts))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=_tokenizer(learning.get_vocab()),
        model_max_length=size.positions,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        pad_token=PADDING,
        unk_token=UNKNOWN,
        cls_token=BEGIN,
        sep_token=END,
        mask_token=MASK,
    )


def _tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    """A tokenizer with the given ids of its pieces; without any, one that can be trained."""
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = Normalizers([NFC(), BertNormalizer(lowercase=True, strip_accents=False)])
    tokenizer.pre_tokenizer = PreTokenizers(
        [BertPreTokenizer(), Split(Regex(f".{{1,{LONGEST_WORD}}}"), "isolated")]
    )
    if vocabulary:
        tokenizer.post_processor = TemplateProcessing(
            single=f"{BEGIN} $A {END}",
            pair=f"{BEGIN} $A {END} $B:1 {END}:1",
            special_tokens=[(token, vocabulary[token]) for token in (BEGIN, END)],
        )
    return tokenizer


def _alphabet(texts: Dataset, *, most: int) -> tuple[list[str], list[str]]:
    """The most frequent characters, and the pieces of one character that they appear as."""
    learning = _tokenizer({})
    trainer = WordPieceTrainer(
        vocab_size=0,
        limit_alphabet=sys.maxunicode,
        continuing_subword_prefix=CONTINUED,
        show_progress=False,
    )
    learning.train_from_iterator(_texts_of(texts), trainer, length=len(texts))
    pieces = learning.get_vocab().keys()
    frequencies = _frequencies(texts, learning)
    characters = (piece for piece in pieces if len(piece) == 1)
    ranked = sorted(characters, key=lambda character: (-frequencies[character], character))
    kept = sorted(ranked[:most])
    return kept, sorted(piece for piece in pieces if piece[-1] in kept)


def _frequencies(texts: Dataset, tokenizer: Tokenizer) -> Counter[str]:
    """How often each character is met, as the tokenizer reads it."""
    written: Counter[str] = Counter()
    for text in _texts_of(texts):
        written.update(text)
    read: Counter[str] = Counter()
    for character, times in written.items():
        for normalized in tokenizer.normalizer.normalize_str(character):
            read[normalized] += times
    return read


def _texts_of(texts: Dataset) -> Iterator[str]:
    columns = [name for name in ("text", "text_pair") if name in texts.column_names]
    for batch in texts.select_columns(columns).iter(batch_size=ROWS_AT_ONCE):
        for column in columns:
            yield from batch[column]
