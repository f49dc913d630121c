"""Whether another form of a model is as good as the original: equal scores, or equal labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from textmill.encoding import Padding
from textmill.labels import Labels
from textmill.model.metric_names import LOWER_IS_BETTER
from textmill.model.metrics import classification_metrics, decide
from textmill.scoring import Batch, Scorer, Scores, Texts

# How far a probability may be off where the arithmetic is the same: what rounding does is less
# than a tenth of it.
TOLERANCE = 1e-4
# What 8-bit integers may cost: the share of equal labels, and the drop of the task's metric.
LEAST_EQUAL = 0.99
LARGEST_DROP = 0.005
# The share of equal labels from which slower graphs, which may be nearer, aren't tried.
NEARLY_ALL = 0.995

BATCHES = (1, 2, 3, 7, 16, 33, 64)
LENGTHS = (1, 2, 3, 7, 16, 33, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
# Batches of the grid with more tokens are left out, but for one text of each length: they take
# minutes, and show nothing that smaller ones don't.
TOKENS = 1024

ODD_TEXTS = (
    "",
    " ",
    "\t\n\r",
    ".",
    "?!… — “”",
    "a",
    "A plain sentence, of the kind that most texts are made of.",
    "NO!!! Not again :-( :-) ;)",
    "\u200b\u200d\ufeff",
    "\x00\x01\x7f",
    "\ufffd\ufffe",
    "e\u0301 \u00e9 \u0301\u0302\u0303",
    "[CLS] [SEP] [PAD] [MASK] [UNK] <s> </s> <pad> <mask> <unk> <|endoftext|>",
    "<p>Some &amp; <b>markup</b></p> https://example.org/a?b=c#d me@example.org",
    "0123456789 1,234.56 -7e-3 50% $9.99 2026-11-24 12:34",
    "x = {'a': [1, 2]}; print(f\"{x!r}\")  # code",
    "Größe, Übermaß und Straße: ein Satz mit Umlauten.",
    "L'été dernier, ça m'a plu ; où êtes-vous allés ?",
    "¿Qué tal? El niño comió piñas en Ñuñoa.",
    "Это предложение написано по-русски.",
    "Αυτή η πρόταση είναι στα ελληνικά.",
    "هذه جملة باللغة العربية.",
    "זהו משפט בעברית.",
    "यह वाक्य हिन्दी में है।",
    "ประโยคนี้เป็นภาษาไทย",
    "这是一个中文句子。",
    "これは日本語の文です。",
    "이것은 한국어 문장입니다.",
    "🙂 \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 🇪🇺",
    "\U0001d518\U0001d52b\U0001d532 \ufb01 \ufdfa",
    "supercalifragilisticexpialidocious" * 20,
    "a " * 60,
    "The same again. " * 700,
    "word\n" * 40,
)


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the scores of two forms are apart.

    Args:
        largest: The largest difference of two probabilities.
        where: What it was found in.
        same_tokens: Whether both forms made the same tokens of all texts.
        compared: The batches and texts that were scored.
    """

    largest: float
    where: str
    same_tokens: bool
    compared: int

    @property
    def holds(self) -> bool:
        """Whether one form may stand for the other."""
        return self.same_tokens and self.largest <= TOLERANCE


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the labels of two forms are the same.

    Args:
        texts: How many were labelled.
        equal: The share of them with the same label, or the same labels.
        largest: The largest difference of two probabilities.
        metric: The task's metric, where the right labels are known.
        before: Its value for the original.
        after: Its value for the other form.
    """

    texts: int
    equal: float
    largest: float
    metric: str | None = None
    before: float = 0.0
    after: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether the other form may be used in place of the original."""
        return self.equal >= LEAST_EQUAL and self.before - self.after <= LARGEST_DROP

    @property
    def is_near(self) -> bool:
        """Whether a nearer form isn't worth its time."""
        return self.holds and self.equal >= NEARLY_ALL

    def as_figures(self) -> dict[str, float]:
        """The numbers, for a bundle's record."""
        figures = {
            "texts": float(self.texts),
            "equal_labels": self.equal,
            "largest_difference": self.largest,
        }
        if self.metric is not None:
            figures |= {self.metric: self.after, f"{self.metric}_float32": self.before}
        return figures

    def __str__(self) -> str:
        told = f"equal labels on {self.equal:.2%} of {self.texts:,} texts"
        if self.metric is None:
            return told
        return f"{told}, {self.metric} {self.after:.4f} for {self.before:.4f}"


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Texts that a form is judged by.

    Args:
        texts: The texts, or pairs of texts.
        targets: Their labels, as `textmill.judge.targets_of` gives them; None if not known.
        metric: The metric that counts; one that is better when it is higher.
        source: Where they are from, for messages.
    """

    texts: Texts
    targets: npt.NDArray[np.int64] | None
    metric: str
    source: str


def task_metric(monitor: str | None, labels: Labels) -> str:
    """The metric that a form is judged by: the one that chose the model, if higher is better."""
    if monitor is not None and monitor not in LOWER_IS_BETTER:
        return monitor
    return "f1_micro" if labels.multi_label else "accuracy"


def scores_apart(original: Scorer, other: Scorer, *, pairs: bool) -> Parity:
    """Compares two forms on a grid of batches and lengths, padded and not, and on odd texts.

    Args:
        original: The model.
        other: Another form of it.
        pairs: Whether it takes pairs of texts.
    """
    texts: Texts = list(zip(ODD_TEXTS, reversed(ODD_TEXTS), strict=True)) if pairs else ODD_TEXTS
    differences = [*_on_grid(original, other, pairs=pairs), *_on_texts(original, other, texts)]
    largest, where = max(differences, key=_not_a_number_first)
    same = original.encode(texts) == other.encode(texts)
    return Parity(largest, where, same, len(differences))


def labels_apart(
    expected: Scores,
    other: Scorer,
    examples: Examples,
    labels: Labels,
    thresholds: Sequence[float] | None,
) -> Agreement:
    """Compares the labels that two forms give.

    Args:
        expected: The model's probabilities of the examples.
        other: Another form of it.
        examples: What they label.
        labels: The label set.
        thresholds: The probability from which each label holds.
    """
    limits = None if thresholds is None else np.array(thresholds, dtype=np.float32)
    scores = [expected, other.probabilities(examples.texts)]
    decided = [decide(each, labels, limits) for each in scores]
    same = decided[0] == decided[1]
    equal = float((same.all(axis=1) if labels.multi_label else same).mean())
    largest = _largest(*scores)
    if examples.targets is None:
        return Agreement(len(same), equal, largest)
    before, after = (
        classification_metrics(examples.targets, each, labels, decisions=choice)[examples.metric]
        for each, choice in zip(scores, decided, strict=True)
    )
    return Agreement(len(same), equal, largest, examples.metric, before, after)


def grid(longest: int, padding: Padding, vocabulary: int, *, pairs: bool) -> Iterator[Batch]:
    """Batches of random tokens: of many sizes and lengths, padded and not.

    Args:
        longest: The most tokens of a text.
        padding: How batches are padded.
        vocabulary: The number of tokens that there are.
        pairs: Whether the second half of each text is of the second type.
    """
    lengths = sorted({min(length, longest) for length in LENGTHS} | {longest})
    for size, length, padded in product(BATCHES, lengths, (False, True)):
        if size == 1 or size * length <= TOKENS:
            yield _random_batch(size, length, padding, vocabulary, padded=padded, pairs=pairs)


def _random_batch(
    size: int, length: int, padding: Padding, vocabulary: int, *, padded: bool, pairs: bool
) -> Batch:
    chance = np.random.default_rng([size, length, int(padded)])
    batch = {
        "input_ids": chance.integers(0, vocabulary, (size, length)),
        "attention_mask": np.ones((size, length), dtype=np.int64),
    }
    if padding.token_types:
        second = np.arange(length) * 2 >= length if pairs else np.zeros(length, dtype=np.bool_)
        batch["token_type_ids"] = np.tile(second.astype(np.int64), (size, 1))
    if padded:
        filled = np.arange(length) >= chance.integers(1, length + 1, (size, 1))
        filled = filled if padding.side == "right" else filled[:, ::-1]
        batch["input_ids"][filled] = padding.token_id
        batch["attention_mask"][filled] = 0
    return batch


def _on_grid(original: Scorer, other: Scorer, *, pairs: bool) -> Iterator[tuple[float, str]]:
    vocabulary = other.vocabulary
    for batch in grid(original.policy.max_length, original.padding, vocabulary, pairs=pairs):
        size, length = batch["input_ids"].shape
        padded = "padded" if 0 in batch["attention_mask"] else "unpadded"
        difference = _largest(original.score(batch), other.score(batch))
        yield difference, f"{size} texts of {length} tokens, {padded}"


def _on_texts(original: Scorer, other: Scorer, texts: Texts) -> Iterator[tuple[float, str]]:
    expected = original.probabilities(texts)
    yield _largest(expected, other.probabilities(texts)), "odd texts together"
    for index in range(len(texts)):
        alone = other.probabilities(texts[index : index + 1])
        yield _largest(expected[index : index + 1], alone), f"the odd text {texts[index]!r:.60}"


def _largest(one: Scores, other: Scores) -> float:
    return float(np.abs(one - other).max(initial=0.0))


def _not_a_number_first(difference: tuple[float, str]) -> float:
    return np.inf if np.isnan(difference[0]) else difference[0]
