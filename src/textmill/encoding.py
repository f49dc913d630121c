"""From texts to token ids, cut to a length, and from token ids to padded arrays.

Training and prediction both encode here, so that a model meets in service what it met in training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from textmill.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

Overflow = Literal["keep_head", "keep_tail", "keep_ends"]
TokenIds = Sequence[int] | npt.NDArray[np.integer]

# Half the texts at a time above this many characters: the tokenizer needs about 35 bytes for each.
CHARACTERS_AT_ONCE = 4_000_000

# What transformers gives for the longest text of a tokenizer that was saved without one.
NO_BOUND = int(1e30)

# Families whose position embeddings start behind the padding id (fairseq's convention).
OFFSET_POSITIONS = frozenset(
    {
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "layoutlmv3",
        "lilt",
        "longformer",
        "luke",
        "markuplm",
        "mluke",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)


@dataclass(frozen=True, slots=True)
class LengthPolicy:
    """What happens to a text with more tokens than the model is to see.

    Args:
        max_length: The most tokens of an encoded text, special tokens included.
        overflow: The part of a longer text that stays: its head, its tail, or half of each (the
            head has the odd token). Special tokens always stay. In a pair, the longer text is cut
            until both fit (transformers' ``longest_first``), and each loses its own tail, head or
            middle.
    """

    max_length: int
    overflow: Overflow = "keep_head"


@dataclass(frozen=True, slots=True)
class Encoded:
    """Encoded texts, unpadded, in input order.

    Args:
        input_ids: The token ids of each text.
        token_type_ids: Of the same lengths; None for a tokenizer whose models take none.
        cut: Whether the text was longer than the policy allows.
    """

    input_ids: list[list[int]]
    token_type_ids: list[list[int]] | None
    cut: list[bool]


@dataclass(frozen=True, slots=True, eq=False)
class Lengths:
    """How much of some texts a model sees.

    Args:
        tokens: The tokens of each text that it sees, special tokens included, int32 ``[texts]``.
        cut: Whether the text has more than these, bool ``[texts]``.
    """

    tokens: npt.NDArray[np.int32]
    cut: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Where in a text a token comes from.

    Args:
        side: 0, or 1 in the second text of a pair.
        word: The number of the word that it is a part of, as the tokenizer parts words; None for a
            token that is in none.
        start: The position of its first character.
        end: The position behind its last character.
    """

    side: int
    word: int | None
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class PlainTokenizer:
    """A tokenizer without transformers, which neither truncates nor pads.

    Args:
        backend: The tokenizer of the tokenizers library.
        token_types: Whether the models that it is for take ``token_type_ids``.
        mask_id: The id of the token that stands for a hidden one; None without any.
    """

    backend: Tokenizer
    token_types: bool
    mask_id: int | None = None

    @classmethod
    def of(
        cls,
        tokenizer_json: str,
        *,
        token_types: bool,
        split_special_tokens: bool,
        mask_token: str | None = None,
    ) -> PlainTokenizer:
        """Makes one of what a ``tokenizer.json`` holds.

        Args:
            tokenizer_json: The content of the file.
            token_types: Whether the models that it is for take ``token_type_ids``.
            split_special_tokens: Whether the names of special tokens are plain text in a text.
            mask_token: The token that stands for a hidden one.
        """
        backend = Tokenizer.from_str(tokenizer_json)
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = split_special_tokens
        return cls(
            backend, token_types, None if mask_token is None else backend.token_to_id(mask_token)
        )


@dataclass(frozen=True, slots=True)
class Padding:
    """What padding needs to know of a tokenizer; cheap to send to another process.

    Args:
        token_id: The id that fills ``input_ids``.
        token_type_id: The id that fills ``token_type_ids``.
        side: The side that is filled.
        token_types: Whether the model takes ``token_type_ids``.
        to_multiple_of: Widths are rounded up to a multiple of this.
    """

    token_id: int
    token_type_id: int = 0
    side: Literal["left", "right"] = "right"
    token_types: bool = False
    to_multiple_of: int = 1

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast, *, to_multiple_of: int = 1) -> Padding:
        """Reads the padding settings of a tokenizer.

        Raises:
            InputError: The tokenizer has no padding token.
        """
        if tokenizer.pad_token_id is None:
            raise InputError(
                "the tokenizer has no padding token",
                where=str(tokenizer.name_or_path or type(tokenizer).__name__),
                hint="give it one, for example its end-of-text token",
            )
        return cls(
            token_id=int(tokenizer.pad_token_id),
            token_type_id=int(tokenizer.pad_token_type_id),
            side="left" if tokenizer.padding_side == "left" else "right",
            token_types=_has_token_types(tokenizer),
            to_multiple_of=to_multiple_of,
        )

    def widths(self, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """To how many tokens texts of some lengths are padded, where they are the longest."""
        return -(-lengths // self.to_multiple_of) * self.to_multiple_of


def encode(
    tokenizer: PreTrainedTokenizerFast | PlainTokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    policy: LengthPolicy,
) -> Encoded:
    """Encodes texts, or pairs of texts, with their special tokens; nothing is padded.

    With ``keep_head`` the ids are those of ``tokenizer(texts, pairs, truncation=True,
    max_length=policy.max_length)`` of a tokenizer that truncates on the right. The tokenizer is
    only read, whatever truncation or padding it was saved or last called with, so that threads may
    share it.

    Raises:
        InputError: ``policy.max_length`` leaves no room for a token of text, or a text is none
            (not a string, or with half of a surrogate pair, which no encoding holds).
    """
    plain = _plain(tokenizer)
    special = plain.backend.num_special_tokens_to_add(pairs is not None)
    room = policy.max_length - special
    if room < 1:
        raise _no_room(policy.max_length, special)
    encoded = Encoded([], [] if plain.token_types else None, [])
    inputs = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
    for part in _bounded(inputs):
        try:
            encodings = plain.backend.encode_batch_fast(part)
        except TypeError as error:
            raise _not_text(inputs) from error
        for encoding in encodings:
            _append(encoded, encoding, policy, room)
    return encoded


def token_places(
    tokenizer: PreTrainedTokenizerFast | PlainTokenizer,
    text: str | tuple[str, str],
    policy: LengthPolicy,
) -> list[TokenPlace | None]:
    """Where each token that `encode` gives for a text, or for a pair of texts, comes from.

    None stands for a special token around the texts.
    """
    sides = text if isinstance(text, tuple) else (text,)
    backend = _plain(tokenizer).backend
    room = policy.max_length - backend.num_special_tokens_to_add(len(sides) == 2)
    encoding = backend.encode(*sides)
    places = [
        None if side is None else TokenPlace(side, word, start, end)
        for side, word, (start, end) in zip(
            encoding.sequence_ids, encoding.word_ids, encoding.offsets, strict=True
        )
    ]
    if len(encoding) <= policy.max_length:
        return places
    return [places[position] for position in _kept_positions(encoding, policy.overflow, room)]


def mask_id(tokenizer: PreTrainedTokenizerFast | PlainTokenizer) -> int | None:
    """The id of the token that stands for a hidden one; None for a tokenizer without any."""
    if isinstance(tokenizer, PlainTokenizer):
        return tokenizer.mask_id
    return None if tokenizer.mask_token_id is None else int(tokenizer.mask_token_id)


def pad_batch(
    input_ids: Sequence[TokenIds],
    token_type_ids: Sequence[TokenIds] | None,
    padding: Padding,
) -> dict[str, npt.NDArray[np.int64]]:
    """Pads token ids to the longest of the batch.

    Args:
        input_ids: The token ids of each text.
        token_type_ids: Of the same lengths; None stands for zeros.
        padding: From `Padding.of` the tokenizer.

    Returns:
        ``input_ids`` and ``attention_mask``, and ``token_type_ids`` if the model takes them:
        int64, ``[batch, seq]``.
    """
    lengths = np.fromiter(map(len, input_ids), dtype=np.int64, count=len(input_ids))
    width = int(padding.widths(lengths).max(initial=0))
    positions = np.arange(width)
    real = (
        positions < lengths[:, None]
        if padding.side == "right"
        else positions >= width - lengths[:, None]
    )
    batch = {
        "input_ids": _filled(real, input_ids, padding.token_id),
        "attention_mask": real.astype(np.int64),
    }
    if padding.token_types:
        types = token_type_ids or [np.zeros(length, np.int64) for length in lengths]
        batch["token_type_ids"] = _filled(real, types, padding.token_type_id)
    return batch


def model_positions(config: PreTrainedConfig) -> int | None:
    """The most tokens that a model has positions for; None if its configuration names no bound."""
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:
        return None
    if config.model_type not in OFFSET_POSITIONS:
        return positions
    padding_id = getattr(config, "pad_token_id", None)
    return positions - (1 if padding_id is None else padding_id) - 1


def resolve_max_length(
    requested: int | None,
    tokenizer: PreTrainedTokenizerFast,
    positions: int | None,
    *,
    pair: bool = False,
) -> int:
    """The most tokens of a text: as requested, or else as many as model and tokenizer take.

    Args:
        requested: The user's wish, special tokens included.
        tokenizer: Its own bound counts only where nothing is requested.
        positions: From `model_positions`.
        pair: Whether texts come in pairs, which have more special tokens.

    Raises:
        InputError: The model can't take that many, they leave no room for a token of text, or
            nothing names a bound.
    """
    bound = min(NO_BOUND if positions is None else positions, tokenizer.model_max_length)
    if requested is None and bound >= NO_BOUND:
        raise InputError(
            "the model and its tokenizer name no longest length",
            where="data.max_length",
            hint="set it to a number of tokens",
        )
    length = bound if requested is None else requested
    if positions is not None and length > positions:
        raise InputError(
            f"max_length is {length}, but the model takes at most {positions} tokens",
            where="data.max_length",
            hint=f"set it to {positions} or less",
        )
    special = tokenizer.num_special_tokens_to_add(pair)
    if length <= special:
        raise _no_room(length, special)
    return length


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """A SHA-256, in hexadecimal, of all that decides what `encode` gives for a text.

    The truncation and padding that the tokenizer was last called with do not count.
    """
    settings = [
        type(tokenizer).__name__,
        bool(tokenizer.split_special_tokens),
        _has_token_types(tokenizer),
        _plain(tokenizer).backend.to_str(),
    ]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()


# transformers keeps truncation and padding as state of the one backend that all threads share, so
# each tokenizer gets a second backend that has neither, remade when the tokenizer was changed.
_plain_ones: WeakKeyDictionary[PreTrainedTokenizerFast, tuple[object, PlainTokenizer]] = (
    WeakKeyDictionary()
)


def _plain(tokenizer: PreTrainedTokenizerFast | PlainTokenizer) -> PlainTokenizer:
    if isinstance(tokenizer, PlainTokenizer):
        return tokenizer
    state = _changeable_state(tokenizer)
    known = _plain_ones.get(tokenizer)
    if known is not None and known[0] == state:
        return known[1]
    plain = PlainTokenizer.of(
        tokenizer.backend_tokenizer.to_str(),
        token_types=_has_token_types(tokenizer),
        split_special_tokens=bool(tokenizer.split_special_tokens),
    )
    _plain_ones[tokenizer] = (state, plain)
    return plain


def _changeable_state(tokenizer: PreTrainedTokenizerFast) -> object:
    """What transformers lets a user change on a tokenizer: added tokens and the special ones."""
    post_processor = tokenizer.backend_tokenizer.post_processor
    template = None if post_processor is None else post_processor.__getstate__()
    flags = bool(tokenizer.split_special_tokens), _has_token_types(tokenizer)
    return len(tokenizer), template, flags


def _has_token_types(tokenizer: PreTrainedTokenizerFast) -> bool:
    return "token_type_ids" in tokenizer.model_input_names


def _no_room(max_length: int, special: int) -> InputError:
    return InputError(
        f"max_length is {max_length}, but {special} of these are special tokens",
        where="data.max_length",
        hint=f"set it to {special + 1} or more",
    )


def _not_text(inputs: list[str] | list[tuple[str, str]]) -> InputError:
    place = next(number for number, text in enumerate(inputs, 1) if not _is_text(text))
    return InputError(
        "a text is not a string of whole characters",
        where=f"text {place}",
        hint="give it as text, without lone surrogates such as \\ud800",
    )


def _is_text(text: object) -> bool:
    if isinstance(text, tuple):
        return all(map(_is_text, text))
    return isinstance(text, str) and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _bounded(inputs: list[str] | list[tuple[str, str]]) -> list[list[str] | list[tuple[str, str]]]:
    """Cuts a list into parts whose tokens fit into memory; a single text is never cut."""
    characters = sum(map(_characters, inputs))
    if characters <= CHARACTERS_AT_ONCE or len(inputs) < 2:
        return [inputs]
    middle = len(inputs) // 2
    return [*_bounded(inputs[:middle]), *_bounded(inputs[middle:])]


def _characters(text: object) -> int:
    if isinstance(text, tuple):
        return sum(map(_characters, text))
    return len(text) if isinstance(text, str) else 0


def _append(encoded: Encoded, encoding: Encoding, policy: LengthPolicy, room: int) -> None:
    cut = len(encoding) > policy.max_length
    input_ids, type_ids = (
        encoding.ids,
        encoding.type_ids if encoded.token_type_ids is not None else [],
    )
    if cut:
        kept = _kept_positions(encoding, policy.overflow, room)
        input_ids = [input_ids[position] for position in kept]
        type_ids = [type_ids[position] for position in kept] if type_ids else []
    encoded.input_ids.append(input_ids)
    encoded.cut.append(cut)
    if encoded.token_type_ids is not None:
        encoded.token_type_ids.append(type_ids)


def _kept_positions(encoding: Encoding, overflow: Overflow, room: int) -> list[int]:
    """The positions of an encoding that stay: all special tokens, and ``room`` of the text's."""
    sequences = np.array([-1 if part is None else part for part in encoding.sequence_ids])
    first, second = np.flatnonzero(sequences == 0), np.flatnonzero(sequences == 1)
    room_first, room_second = _longest_first(len(first), len(second), room)
    keep = sequences == -1
    for content, share in ((first, room_first), (second, room_second)):
        keep[_kept_content(content, overflow, share)] = True
    kept: list[int] = np.flatnonzero(keep).tolist()
    return kept


def _kept_content(
    content: npt.NDArray[np.int64], overflow: Overflow, room: int
) -> npt.NDArray[np.int64]:
    if len(content) <= room:
        return content
    tail = {"keep_head": 0, "keep_tail": room, "keep_ends": room // 2}[overflow]
    return np.concatenate([content[: room - tail], content[len(content) - tail :]])


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens each text of a pair keeps, as the tokenizers library shares them out."""
    shorter, longer = sorted((first, second))
    longer = shorter if shorter > room else max(shorter, room - shorter)
    if shorter + longer > room:
        shorter, longer = room // 2, room - room // 2
    return (shorter, longer) if first <= second else (longer, shorter)


def _filled(
    real: npt.NDArray[np.bool_], rows: Sequence[TokenIds], padding_id: int
) -> npt.NDArray[np.int64]:
    filled = np.full(real.shape, padding_id, dtype=np.int64)
    if len(rows):
        # "unsafe" for the one case of rows without tokens, which numpy takes for floats.
        filled[real] = np.concatenate(rows, dtype=np.int64, casting="unsafe")
    return filled
