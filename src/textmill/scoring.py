"""From texts to a model's scores: encoded, sorted by length, batched, and put back in order.

Nothing here needs torch or transformers: the model is whatever computes logits of token ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from textmill.encoding import (
    Encoded,
    LengthPolicy,
    Lengths,
    Padding,
    PlainTokenizer,
    encode,
    pad_batch,
)
from textmill.errors import InputError
from textmill.labels import Labels

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Texts = Sequence[str] | Sequence[tuple[str, str]]
Scores = npt.NDArray[np.float32]
Batch = Mapping[str, npt.NDArray[np.int64]]
Item = TypeVar("Item")
Tag = TypeVar("Tag")

# Texts encoded at a time, and the stretch within which they are sorted by length.
STRETCH = 4096


class Model(Protocol):
    """A classifier of token ids that threads may share.

    Attributes:
        device: Where it computes.
        outputs: The number of its outputs, one for each label.
        tokens_at_once: The tokens of a batch, padding included, up to which it gets faster.
        tokens_a_call: The tokens that take as long as a call by itself.
    """

    @property
    def device(self) -> str: ...  # noqa: D102
    @property
    def outputs(self) -> int: ...  # noqa: D102
    @property
    def tokens_at_once(self) -> int: ...  # noqa: D102
    @property
    def tokens_a_call(self) -> int: ...  # noqa: D102

    def logits(self, batch: Batch) -> Scores:
        """The raw outputs, ``[texts, outputs]``, of what `pad_batch` gives."""
        ...


class Scorer:
    """A model with its tokenizer, ready to score; nothing in it changes, so threads may share it.

    Args:
        model: Computes the logits.
        tokenizer: The model's tokenizer.
        padding: How the model's batches are padded.
        policy: What happens to long texts.
        multi_label: Whether each label is scored by itself.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: PreTrainedTokenizerFast | PlainTokenizer,
        padding: Padding,
        policy: LengthPolicy,
        *,
        multi_label: bool,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.padding = padding
        self.policy = policy
        self._multi_label = multi_label

    def logits(self, texts: Texts, *, batch_size: int | None = None) -> Scores:
        """The model's raw outputs, ``[texts, labels]``, in the order of the texts.

        The next stretch of texts is encoded while the model computes.

        Args:
            texts: Texts, or pairs of texts.
            batch_size: The most texts scored at a time; None leaves it to their tokens alone,
                which are bounded in either case.

        Raises:
            InputError: Something among the texts is not text.
        """
        _check(texts)
        starts = range(0, max(1, len(texts)), STRETCH)
        stretches = (self._encode(texts[start : start + STRETCH]) for start in starts)
        ready = ahead(stretches) if len(starts) > 1 else stretches
        return np.concatenate([self._logits(encoded, batch_size) for encoded in ready])

    def probabilities(self, texts: Texts, *, batch_size: int | None = None) -> Scores:
        """The labels' probabilities, ``[texts, labels]``, in the order of the texts.

        They add up to 1 for each text (softmax), or stand each for themselves where a text may
        have several labels (sigmoid).

        Raises:
            InputError: Something among the texts is not text.
        """
        return self._probabilities(self.logits(texts, batch_size=batch_size))

    def stream(
        self, parts: Iterable[tuple[Tag, Texts]], *, batch_size: int | None = None
    ) -> Iterator[tuple[Tag, Scores]]:
        """The probabilities of a long row of texts, part by part, in constant memory.

        The next part is fetched and encoded, in a thread, while the model computes.

        Args:
            parts: Texts, or pairs, few enough to be encoded at once; each with what is to come
                back with their probabilities.
            batch_size: As for `logits`.

        Raises:
            InputError: Something among the texts is not text.
        """
        for tag, encoded in ahead((tag, self.encode(texts)) for tag, texts in parts):
            yield tag, self._probabilities(self._logits(encoded, batch_size))

    def score(self, batch: Batch) -> Scores:
        """The probabilities, ``[texts, labels]``, of what `pad_batch` gives."""
        return self._probabilities(self.model.logits(batch))

    def encode(self, texts: Texts) -> Encoded:
        """The tokens that the model sees of each text.

        Raises:
            InputError: Something among the texts is not text.
        """
        _check(texts)
        return self._encode(texts)

    @property
    def vocabulary(self) -> int:
        """The number of tokens that the tokenizer knows."""
        plain = self.tokenizer
        return plain.backend.get_vocab_size() if isinstance(plain, PlainTokenizer) else len(plain)

    def lengths(self, texts: Texts) -> Lengths:
        """How much of each text the model sees, in the order of the texts.

        Raises:
            InputError: Something among the texts is not text.
        """
        tokens = np.empty(len(texts), dtype=np.int32)
        cut = np.empty(len(texts), dtype=np.bool_)
        for start in range(0, len(texts), STRETCH):
            here = slice(start, start + STRETCH)
            encoded = self._encode(texts[here])
            tokens[here] = [len(ids) for ids in encoded.input_ids]
            cut[here] = encoded.cut
        return Lengths(tokens, cut)

    def _encode(self, texts: Texts) -> Encoded:
        return encode(self.tokenizer, *_sides(texts), self.policy)

    def _logits(self, encoded: Encoded, batch_size: int | None) -> Scores:
        lengths = np.fromiter(map(len, encoded.input_ids), dtype=np.int64)
        widths = self.padding.widths(lengths)
        logits = np.empty((len(lengths), self.model.outputs), dtype=np.float32)
        for chosen in _by_length(widths, self.model, batch_size):
            logits[chosen] = self.model.logits(self._batch(encoded, chosen))
        return logits

    def _batch(self, encoded: Encoded, chosen: npt.NDArray[np.intp]) -> Batch:
        types = encoded.token_type_ids
        return pad_batch(
            [encoded.input_ids[index] for index in chosen],
            None if types is None else [types[index] for index in chosen],
            self.padding,
        )

    def _probabilities(self, logits: Scores) -> Scores:
        if self._multi_label:
            # By tanh, which doesn't overflow.
            return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponents / exponents.sum(axis=1, keepdims=True), dtype=np.float32)


def decide(
    probabilities: npt.NDArray[np.floating[Any]],
    labels: Labels,
    thresholds: npt.NDArray[np.floating[Any]] | None = None,
) -> npt.NDArray[np.int64]:
    """What is predicted, shaped like the targets.

    One label: the one that exceeds its threshold by the most; without thresholds, the most probable
    one. Several labels: each that reaches its threshold, 0.5 if none is given.

    Args:
        probabilities: The probabilities ``[examples, labels]``.
        labels: The label set.
        thresholds: One for each label.
    """
    if labels.multi_label:
        least = np.float32(0.5) if thresholds is None else thresholds
        return (probabilities >= least).astype(np.int64)
    surplus = probabilities if thresholds is None else probabilities - thresholds
    return np.asarray(surplus.argmax(axis=1), dtype=np.int64)


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items, each made in a thread while its predecessor is in use."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        following = thread.submit(next, source, end)
        while (item := following.result()) is not end:
            following = thread.submit(next, source, end)
            yield cast("Item", item)


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


def _by_length(
    lengths: npt.NDArray[np.int64], model: Model, batch_size: int | None
) -> Iterator[npt.NDArray[np.intp]]:
    """The positions of the texts, the longest first, in batches of what a model takes at once.

    Ties keep their order. A text alone may have more tokens. Where the texts of a batch differ so
    much in length that two calls cost less than the padding, it is parted.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        width = max(1, int(lengths[order[start]]))
        count = max(1, model.tokens_at_once // width)
        most = count if batch_size is None else min(count, batch_size)
        chosen = order[start : start + most]
        end = start + _worth_padding(lengths[chosen], model.tokens_a_call)
        yield order[start:end]
        start = end


def _worth_padding(lengths: npt.NDArray[np.int64], call: int) -> int:
    """How many texts of a batch, the longest first, to score in one call; at least one.

    Args:
        lengths: Their tokens.
        call: The tokens that cost as much as a call.
    """
    while True:
        # What is saved where the texts from each on are padded to its length, not to the longest.
        saved = (lengths[:1] - lengths) * np.arange(len(lengths), 0, -1)
        part = int(saved.argmax())
        if saved[part] <= call:
            return len(lengths)
        lengths = lengths[:part]
