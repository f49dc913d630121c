"""What the services are asked, and what they must answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from textmill.forms.choosing import FormChoice
from textmill.predictor import Predictor
from textmill.safe_write import write_text

# How far a score may be from the one in-process, where the text was scored by itself. Those of int8
# and of bf16 depend, a little, on their batch.
TOLERANCES = {"torch": 1e-4, "onnx": 1e-4, "int8": 0.1, "bf16": 0.05}
_SEED = 0


@dataclass(frozen=True, slots=True)
class Question:
    """A text, and its prediction.

    Args:
        text: The text.
        label: Its label.
        score: The probability of the label.
    """

    text: str
    label: str
    score: float

    @property
    def body(self) -> bytes:
        """The body of a request."""
        return json.dumps({"texts": [self.text]}).encode()


@dataclass(frozen=True, slots=True)
class Questions:
    """The questions of one form of a classifier.

    Args:
        asked: The questions, in the order in which they are asked.
        tolerance: How far a score may be from the right one.
        mean_tokens: Of a text, special ones included.
        form: The form that answered them in-process.
    """

    asked: list[Question]
    tolerance: float
    mean_tokens: float
    form: str

    def write(self, path: Path) -> None:
        """Writes the file for `read_questions`."""
        write_text(path, json.dumps(asdict(self)))

    def told_apart(self) -> float:
        """The share of pairs of these texts of which either's answer is wrong for the other."""
        labels = np.array([question.label for question in self.asked])
        scores = np.array([question.score for question in self.asked])
        far = np.abs(scores[:, None] - scores) > self.tolerance
        apart = (labels[:, None] != labels) | far
        count = len(self.asked)
        return float(apart.sum() / max(1, count * (count - 1)))


def read_questions(path: Path) -> Questions:
    """Reads what `Questions.write` wrote."""
    entry = json.loads(path.read_bytes())
    asked = [Question(**one) for one in entry.pop("asked")]
    return Questions(asked, **entry)


def make_questions(bundle: Path, form: FormChoice, texts: Sequence[str]) -> Questions:
    """Texts in random order, with what the classifier says of each by itself.

    Of a form whose scores depend on the batch, only texts take part whose label doesn't.
    """
    predictor = Predictor.from_bundle(bundle, form=form)
    order = np.random.default_rng(_SEED).permutation(len(texts))
    chosen = [texts[place] for place in order]
    found = [predictor.predict([text])[0] for text in chosen]
    tolerance = TOLERANCES[predictor.form]
    asked = [
        Question(text, _single(one.label), one.score)
        for text, one in zip(chosen, found, strict=True)
        if tolerance < 0.5 * _margin(list(one.scores.values()))
    ]
    tokens = predictor.lengths([question.text for question in asked]).tokens
    return Questions(asked, tolerance, float(np.mean(tokens)), predictor.form)


def default_texts(count: int) -> list[str]:
    """Sentences of the packaged film reviews, which the default classifier was not trained on."""
    from benchmarks.speed.job import SEED
    from benchmarks.speed.own import composed_training
    from textmill.recipe import examples_of

    examples = examples_of(composed_training(["data=movie_reviews"]).config.data, SEED)
    return list(examples.splits["test"]["text"][:count])


def texts_of(path: Path | None, count: int) -> list[str]:
    """The first lines of a file; without one, `default_texts`."""
    if path is None:
        return default_texts(count)
    return [line for line in path.read_text("utf-8").splitlines() if line.strip()][:count]


def _margin(scores: Sequence[float]) -> float:
    first, second = sorted(scores, reverse=True)[:2]
    return first - second


def _single(label: str | list[str]) -> str:
    assert isinstance(label, str), "the contestants give a text one label"
    return label
