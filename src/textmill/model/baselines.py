"""What a model has to beat: the majority class, and TF-IDF with a linear model."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array, csr_matrix, hstack
from scipy.special import expit, softmax

from textmill.labels import Labels
from textmill.model.metric_names import monitor_mode
from textmill.model.metrics import classification_metrics, example_losses

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

MAX_EXAMPLES = 50_000
PENALTIES = (0.1, 0.3, 1.0, 3.0)
# Bounds of time and memory, however long the texts and however many the labels: about two minutes
# and 2 GB at most.
MAX_CHARACTERS = 50_000_000
MAX_CHARACTERS_TIMES_LABELS = 1_000_000_000
MAX_FEATURES = 300_000
MAX_WEIGHTS = 40_000_000
# Words; any other visible sign by itself; and the characters of Chinese and Japanese, which are
# written without spaces, one by one.
UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
TOKEN = rf"[^\W{UNSPACED}]+|\S"
TEXTS_AT_ONCE = 10_000
# Below this, words that occur once are kept.
FEW_TEXTS = 1000

Texts = Sequence[str] | Sequence[tuple[str, str]]
Targets = npt.NDArray[np.integer[Any]]
Scores = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A simple classifier to compare a model with.

    Args:
        name: A short name: ``majority`` or ``linear``.
        title: What it is called in tables and sentences.
        note: How it was trained.
        seconds: How long that took.
        probabilities: From texts, or pairs of texts, to probabilities ``[texts, labels]``.
    """

    name: str
    title: str
    note: str
    seconds: float
    probabilities: Callable[[Texts], Scores]


def train_baselines(
    train_texts: Texts,
    train_targets: Targets | csr_array,
    validation_texts: Texts,
    validation_targets: Targets,
    labels: Labels,
    *,
    seed: int,
    max_examples: int = MAX_EXAMPLES,
    monitor: str = "f1_macro",
) -> list[Baseline]:
    """Trains the baselines: the majority class, and TF-IDF with a linear model.

    The linear model is a linear support vector machine over words and pairs of neighbouring words,
    one label against the rest (Joachims 1998). Its C is the best of `PENALTIES` on validation. Its
    probabilities are the margins' softmax (their sigmoids for several labels), with the temperature
    that suits validation best (Guo et al. 2017). A pair of texts is told by the words of each and
    by those they share. It is left out where the training texts have no words, or one label only.

    Huge training data is sampled, by label; the note says so.

    Args:
        train_texts: Texts, or pairs of texts; slices of them are read one after the other.
        train_targets: Label ids ``[examples]``, or 0 and 1 ``[examples, labels]``, which may be
            sparse.
        validation_texts: At least one text or pair.
        validation_targets: Shaped like those for training.
        labels: The label set.
        seed: Of the sampling and of the fitting.
        max_examples: Training, and validation, examples that the linear model uses at most.
        monitor: The metric by which C is chosen; macro-F1 breaks ties.
    """
    majority = _train_majority(train_targets, labels)
    start = time.perf_counter()
    train = _Sample.of(train_texts, train_targets, labels, max_examples, seed)
    validation = _Sample.of(validation_texts, validation_targets, labels, max_examples, seed)
    linear = _train_linear(train, validation, labels, monitor, seed)
    if linear is None:
        return [majority]
    note = f"C = {linear.penalty:g}, chosen on validation"
    if len(train.texts) < len(train_texts):
        note += f"; trained on a sample of {len(train.texts):,} of {len(train_texts):,} examples"
    seconds = time.perf_counter() - start
    return [majority, Baseline("linear", "TF-IDF + linear", note, seconds, linear.probabilities)]


def _train_majority(targets: Targets | csr_array, labels: Labels) -> Baseline:
    """Scores every text with the labels' shares of the training examples."""
    start = time.perf_counter()
    if labels.multi_label:
        shares = targets.sum(axis=0) / targets.shape[0]
    else:
        shares = np.bincount(targets, minlength=len(labels)) / len(targets)

    def probabilities(texts: Texts) -> Scores:
        return np.tile(shares.astype(np.float32), (len(texts), 1))

    note = "the labels' shares of the training examples"
    seconds = time.perf_counter() - start
    return Baseline("majority", "the majority class", note, seconds, probabilities)


@dataclass(frozen=True, slots=True)
class _Sample:
    """Examples to train on or to choose by, of a bounded size."""

    texts: list[Any]
    targets: Targets

    @classmethod
    def of(
        cls,
        texts: Texts,
        targets: Targets | csr_array,
        labels: Labels,
        max_examples: int,
        seed: int,
    ) -> _Sample:
        picked = sample_examples(targets, labels, max_examples, seed)
        taken, chosen = _take(texts, picked), targets[picked]
        if isinstance(chosen, csr_array):
            chosen = chosen.toarray()
        allowed = min(MAX_CHARACTERS, MAX_CHARACTERS_TIMES_LABELS // len(labels))
        characters = sum(_length(text) for text in taken)
        if characters > allowed:
            fewer = max(1, len(taken) * allowed // characters)
            within = sample_examples(chosen, labels, fewer, seed)
            chosen, taken = chosen[within], [taken[index] for index in within.tolist()]
        return cls(taken, chosen)


def sample_examples(
    targets: Targets | csr_array, labels: Labels, size: int, seed: int
) -> npt.NDArray[np.int64]:
    """A random sample's indices, in order: all examples if there are not more than ``size``.

    Each label keeps its share; a label that would be lost keeps one example, beyond the size. With
    several labels a text, the sample is a plain one.
    """
    count = targets.shape[0]
    if size >= count:
        return np.arange(count)
    shuffled = np.random.default_rng(seed).permutation(count)
    if labels.multi_label:
        return np.sort(shuffled[:size])
    by_label = shuffled[np.argsort(targets[shuffled], kind="stable")]
    spread = by_label[np.linspace(0, count - 1, size).round().astype(np.int64)]
    present, one_of_each = np.unique(targets[shuffled], return_index=True)
    lost = ~np.isin(present, targets[spread])
    return np.union1d(spread, shuffled[one_of_each[lost]])


def _take(texts: Texts, picked: npt.NDArray[np.int64]) -> list[Any]:
    taken: list[Any] = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        part = texts[start : start + TEXTS_AT_ONCE]
        first, last = np.searchsorted(picked, [start, start + TEXTS_AT_ONCE])
        taken.extend(part[index - start] for index in picked[first:last].tolist())
    return taken


def _length(text: str | tuple[str, str]) -> int:
    return len(text) if isinstance(text, str) else sum(map(len, text))


@dataclass(frozen=True, slots=True)
class _Constant:
    """Stands in for the machine of a label that all training texts have, or none."""

    margin: float

    def decision_function(self, features: csr_matrix) -> Doubles:
        return np.full(features.shape[0], self.margin)


@dataclass(frozen=True, slots=True)
class _Linear:
    """The fitted linear model.

    Args:
        vectorizer: From texts to TF-IDF features.
        machines: One for all labels, or one for each where a text may have several.
        labels: The label set.
        penalty: The C it was fitted with.
        temperature: What margins are divided by.
    """

    vectorizer: TfidfVectorizer
    machines: list[Any]
    labels: Labels
    penalty: float
    temperature: float

    def probabilities(self, texts: Texts) -> Scores:
        """The labels' probabilities ``[texts, labels]``."""
        if len(texts) == 0:
            return np.empty((0, len(self.labels)), dtype=np.float32)
        margins = _margins(self.machines, _features(self.vectorizer, texts), self.labels)
        return _probabilities(margins, self.temperature, self.labels).astype(np.float32)


def _train_linear(
    train: _Sample, validation: _Sample, labels: Labels, monitor: str, seed: int
) -> _Linear | None:
    """The best of the candidates; the most strongly regularised of equal ones."""
    if not labels.multi_label and len(np.unique(train.targets)) < 2:
        return None
    fitted = _fit_vectorizer(train.texts, labels)
    if fitted is None:
        return None
    vectorizer, features = fitted
    held_out = _features(vectorizer, validation.texts)
    sign = 1 if monitor_mode(monitor, multi_label=labels.multi_label) == "max" else -1
    best, best_value = None, (-np.inf, -np.inf)
    for penalty in PENALTIES:
        machines = _fit_machines(features, train.targets, labels, penalty, seed)
        margins = _margins(machines, held_out, labels)
        temperature = _best_temperature(margins, validation.targets, labels)
        probabilities = _probabilities(margins, temperature, labels)
        metrics = classification_metrics(validation.targets, probabilities, labels)
        value = (sign * metrics.get(monitor, 0.0), metrics["f1_macro"])
        if value > best_value:
            best = _Linear(vectorizer, machines, labels, penalty, temperature)
            best_value = value
    return best


def _fit_vectorizer(texts: Texts, labels: Labels) -> tuple[TfidfVectorizer, csr_matrix] | None:
    """Takes words that occur twice; once, where there are few texts or no such words.

    Returns:
        The vectorizer and the features of the texts; None if they have no words.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    sides = _sides(texts)
    together = [text for side in sides for text in side]
    for minimum in (2, 1) if len(texts) >= FEW_TEXTS else (1,):
        vectorizer = TfidfVectorizer(
            token_pattern=TOKEN,
            ngram_range=(1, 2),
            sublinear_tf=True,
            min_df=minimum,
            max_features=min(MAX_FEATURES, MAX_WEIGHTS // len(labels)),
        )
        try:
            found = vectorizer.fit_transform(together)
        except ValueError:  # no words are left
            continue
        starts = range(0, len(together), len(texts))
        return vectorizer, _joined([found[start : start + len(texts)] for start in starts])
    return None


def _features(vectorizer: TfidfVectorizer, texts: Texts) -> csr_matrix:
    """The features ``[texts, features]``."""
    return _joined([vectorizer.transform(side) for side in _sides(texts)])


def _sides(texts: Texts) -> list[Sequence[str]]:
    """The texts, or the first and the second ones of pairs."""
    if isinstance(texts[0], str):
        return [cast("Sequence[str]", texts)]
    return [list(side) for side in zip(*texts, strict=True)]


def _joined(sides: list[csr_matrix]) -> csr_matrix:
    """The features of each side of a pair, and of what both sides share."""
    if len(sides) == 1:
        return sides[0]
    first, second = sides
    return hstack([first, second, first.multiply(second).sqrt()], format="csr")


def _fit_machines(
    features: csr_matrix, targets: Targets, labels: Labels, penalty: float, seed: int
) -> list[Any]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    columns = targets.T if labels.multi_label else targets[None]
    with warnings.catch_warnings():
        # Validation judges what comes out, fully converged or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [
            _Constant(np.inf if column[0] else -np.inf)
            if column.min() == column.max()
            # A tighter tolerance takes twice the time and changes no accuracy.
            else LinearSVC(C=penalty, tol=0.01, random_state=seed % 2**32).fit(features, column)
            for column in columns
        ]


def _margins(machines: list[Any], features: csr_matrix, labels: Labels) -> Doubles:
    """The margins ``[texts, labels]``; those of a label not trained on are minus infinity."""
    found = [machine.decision_function(features) for machine in machines]
    if labels.multi_label:
        return np.column_stack(found)
    (of_each,) = found
    if of_each.ndim == 1:
        of_each = np.column_stack([-of_each / 2, of_each / 2])
    margins = np.full((len(of_each), len(labels)), -np.inf)
    margins[:, machines[0].classes_] = of_each
    return margins


def _probabilities(margins: Doubles, temperature: float, labels: Labels) -> Doubles:
    scaled = margins / temperature
    probabilities: Doubles = expit(scaled) if labels.multi_label else softmax(scaled, axis=1)
    return probabilities


def _best_temperature(margins: Doubles, targets: Targets, labels: Labels) -> float:
    def loss(logarithm: float) -> float:
        probabilities = _probabilities(margins, np.exp(logarithm), labels)
        return float(example_losses(targets, probabilities, labels).mean())

    found = minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 0.01})
    return float(np.exp(found.x))
