"""What each word of a text adds to the score of a label.

The score is the log-odds of the label, log p / (1 - p): the one number that both kinds of
classifiers have, that adds up, and that doesn't flatten out where a classifier is sure. For two
labels it is the difference of the logits, and where a text may have several labels it is the
label's logit.

The method is integrated gradients (Sundararajan, Taly and Yan, 2017, "Axiomatic Attribution for
Deep Networks"): from a baseline to the text, along a straight line in the space of the input
embeddings, the score's slope in the direction of each token is summed up. What the tokens add is
then the whole difference between the scores of the text and of the baseline, which is checked each
time. The baseline is the same text with every token hidden behind the tokenizer's mask token, or
behind its padding token where there is no mask; special tokens stay, and so add nothing. That is
the nearest thing to no text that the network has learned to read. The integral is a midpoint rule,
which on trained encoders needed half the steps of Gauss-Legendre quadrature for the same gap.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch

from textmill.encoding import TokenPlace, encode, pad_batch, token_places
from textmill.errors import InputError, did_you_mean
from textmill.forms.torch_form import TorchModel
from textmill.predictor import Prediction, Predictor
from textmill.safe_write import write_text
from textmill.scoring import Scorer, Texts

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
Text = str | tuple[str, str]

# Points on the line. While the gap is too large there are three times as many, for then those
# computed already are among the new ones.
FIRST_STEPS = 32
GROWTH = 3
MOST_STEPS = FIRST_STEPS * GROWTH**3

# The gap that is let pass: a share of the difference, and in log-odds.
RELATIVE_GAP = 0.01
ABSOLUTE_GAP = 0.01

# Tokens computed together, which bounds the memory.
TOKENS_AT_ONCE = 2048

# As in "isn't", which many tokenizers take for three words.
_APOSTROPHE = re.compile(r"\w['\N{RIGHT SINGLE QUOTATION MARK}]\w")

# What explaining mistakes may cost: the tokens of all texts together, and the points on a line.
MISTAKES_TOKENS = 1024
MISTAKES_STEPS = FIRST_STEPS * GROWTH

# How far the score of a text may be off when its tokens are given as embeddings.
_SAME_SCORE = 0.01


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text, with what it adds to the score.

    Args:
        text: The word as it is written.
        start: The position of its first character in its text.
        end: The position behind its last character.
        contribution: What it adds to the log-odds of the label.
        side: 0, or 1 in the second text of a pair.
    """

    text: str
    start: int
    end: int
    contribution: float
    side: int = 0


@dataclass(frozen=True, slots=True)
class Attribution:
    """Why a text has the score that it has for a label.

    Args:
        texts: The text, or the two of a pair.
        label: The label.
        log_odds: The text's score.
        baseline_log_odds: The baseline's score.
        words: What the model sees of the text, in its order.
        steps: How many points the integral was taken over.
        cut: Whether the text is longer than what the model sees.
    """

    texts: tuple[str, ...]
    label: str
    log_odds: float
    baseline_log_odds: float
    words: tuple[Word, ...]
    steps: int
    cut: bool

    @property
    def score(self) -> float:
        """The label's probability."""
        return _probability(self.log_odds)

    @property
    def baseline_score(self) -> float:
        """The label's probability for the baseline."""
        return _probability(self.baseline_log_odds)

    @property
    def difference(self) -> float:
        """By how much the text's log-odds exceed the baseline's."""
        return self.log_odds - self.baseline_log_odds

    @property
    def total(self) -> float:
        """What the words add, all together."""
        return math.fsum(word.contribution for word in self.words)

    @property
    def gap(self) -> float:
        """What is missing from the words' total to the difference that it should be."""
        return self.difference - self.total

    @property
    def complete(self) -> bool:
        """Whether the gap is small enough to be let pass."""
        return _passes(self.gap, self.difference)

    def as_record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **dict(zip(("text", "text_pair"), self.texts, strict=False)),
            "label": self.label,
            "score": self.score,
            "baseline_score": self.baseline_score,
            "log_odds": self.log_odds,
            "baseline_log_odds": self.baseline_log_odds,
            "total": self.total,
            "gap": self.gap,
            "steps": self.steps,
            "cut": self.cut,
            "words": [
                {
                    "text": word.text,
                    "start": word.start,
                    "end": word.end,
                    "contribution": word.contribution,
                    **({"side": word.side} if len(self.texts) == 2 else {}),
                }
                for word in self.words
            ],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Attribution:
        """What `as_record` gave."""
        return cls(
            texts=tuple(record[name] for name in ("text", "text_pair") if name in record),
            label=record["label"],
            log_odds=record["log_odds"],
            baseline_log_odds=record["baseline_log_odds"],
            words=tuple(Word(**word) for word in record["words"]),
            steps=record["steps"],
            cut=record["cut"],
        )


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong prediction, and why it was made.

    Args:
        place: The example's place in the data.
        truth: The label in the data; a list where there may be several.
        prediction: What was predicted instead.
        loss: The prediction's loss, in nats.
        attribution: Why; of several labels, of the one that is most wrong.
    """

    place: str
    truth: str | list[str]
    prediction: str | list[str]
    loss: float
    attribution: Attribution

    def as_record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "place": self.place,
            "truth": self.truth,
            "prediction": self.prediction,
            "loss": self.loss,
            "attribution": self.attribution.as_record(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Mistake:
        """What `as_record` gave."""
        return cls(**{**record, "attribution": Attribution.from_record(record["attribution"])})


def attribute(predictor: Predictor, texts: Texts, label: str | None = None) -> list[Attribution]:
    """Tells what each word adds to the score of a label.

    Args:
        predictor: The classifier; threads may share it.
        texts: Texts, or pairs of texts.
        label: The label whose score is explained; None for the predicted one. Where a text may
            have several, None is for each of those predicted, and for the most probable one where
            none is.

    Returns:
        An attribution for each text, or for each text and predicted label, in their order.

    Raises:
        InputError: There is no such label, something among the texts is not text, or the
            network's decisions can't be explained because it takes no embeddings.
    """
    if label is not None:
        check_label(predictor, label)
    _check_takes_embeddings(predictor)
    scored = predictor.predict(texts)
    return [
        _attribute(predictor, text, name, prediction.scores[name])
        for text, prediction in zip(cast("Sequence[Text]", texts), scored, strict=True)
        for name in ([label] if label is not None else _told(prediction))
    ]


def check_label(predictor: Predictor, label: str) -> None:
    """Makes sure that a classifier has a label.

    Raises:
        InputError: It has none of this name.
    """
    if label not in predictor.labels.names:
        raise InputError(
            f"the classifier has no label {label!r}",
            where=str(predictor.bundle.folder),
            hint=did_you_mean(label, predictor.labels.names),
        )


def worst_attributions(predictor: Predictor, predictions: pa.Table, count: int) -> list[Mistake]:
    """Explains the wrong predictions with the highest losses, the worst first.

    What it costs is bounded: where the texts are long, there are fewer, but always one if there is
    a mistake; and an integral may stay less exact than elsewhere.

    Args:
        predictor: The classifier that made them.
        predictions: A table of predictions; see `textmill.judge.prediction_table`.
        count: The most mistakes to explain.

    Raises:
        InputError: The network takes no embeddings.
    """
    _check_takes_embeddings(predictor)
    wrong = np.flatnonzero(~predictions["correct"].to_numpy())
    losses = predictions["loss"].to_numpy()[wrong]
    worst = wrong[np.argsort(-losses, kind="stable")][:count]
    rows = predictions.take(worst).to_pylist()
    tokens = predictor.lengths(cast("Texts", [_text(row) for row in rows])).tokens.cumsum()
    affordable = max(1, int((tokens <= MISTAKES_TOKENS).sum()))
    return [_mistake(predictor, row) for row in rows[:affordable]]


def write_mistakes(path: Path, mistakes: Iterable[Mistake]) -> None:
    """Writes mistakes as JSON, one a line.

    Raises:
        MachineError: The disk is full, or the folder can't be written.
    """
    lines = [json.dumps(mistake.as_record(), ensure_ascii=False) for mistake in mistakes]
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_mistakes(path: Path) -> list[Mistake]:
    """Reads what `write_mistakes` wrote.

    Raises:
        InputError: The file is broken.
    """
    try:
        lines = path.read_bytes().splitlines()
        return [Mistake.from_record(json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            "the file of attributions can't be read", where=str(path), hint="is the run whole?"
        ) from error


class _Line:
    """The straight line from a baseline to a text, with the score of a label along it.

    Args:
        scorer: The model with its tokenizer.
        text: A text, or a pair of texts.
        label: The label's id.
        multi_label: Whether each label is scored by itself.
    """

    def __init__(self, scorer: Scorer, text: Text, label: int, *, multi_label: bool) -> None:
        model = _torch_model(scorer)
        self._network: Any = model.network
        self._label, self._multi_label = label, multi_label
        first, second = text if isinstance(text, tuple) else (text, None)
        tokenizer: Any = scorer.tokenizer
        encoded = encode(tokenizer, [first], None if second is None else [second], scorer.policy)
        self.cut = encoded.cut[0]
        self.places = token_places(tokenizer, text, scorer.policy)
        inputs = pad_batch(encoded.input_ids, encoded.token_type_ids, scorer.padding)
        self._others = model.tensors(inputs)
        ids = self._others.pop("input_ids")
        shown = torch.tensor([place is not None for place in self.places], device=ids.device)
        hidden = torch.where(shown, _stand_in(scorer), ids)
        embed = model.network.get_input_embeddings()
        with torch.no_grad():
            self._start: torch.Tensor = embed(hidden)
            self._step: torch.Tensor = embed(ids) - self._start

    def ends(self) -> tuple[float, float]:
        """The log-odds of the baseline and of the text."""
        with torch.no_grad():
            start, end = self._log_odds(self._points(np.array([0.0, 1.0]))).tolist()
        return start, end

    def slopes(self, shares: Floats) -> Floats:
        """The score's slopes at these shares of the way, added up; of each token, ``[seq]``."""
        total = np.zeros(len(self.places))
        at_once = max(1, TOKENS_AT_ONCE // max(1, len(self.places)))
        for first in range(0, len(shares), at_once):
            points = self._points(shares[first : first + at_once]).requires_grad_()
            (gradients,) = torch.autograd.grad(self._log_odds(points).sum(), points)
            total += (gradients * self._step).sum(dim=2).cpu().double().sum(dim=0).numpy()
        return total

    def _points(self, shares: Floats) -> torch.Tensor:
        """Embeddings ``[points, seq, width]``."""
        return self._start + self._start.new_tensor(shares)[:, None, None] * self._step

    def _log_odds(self, embeddings: torch.Tensor) -> torch.Tensor:
        others = {name: ids.expand(len(embeddings), -1) for name, ids in self._others.items()}
        logits: torch.Tensor = self._network(inputs_embeds=embeddings, **others).logits.float()
        label = self._label
        if self._multi_label:
            return logits[:, label]
        rest = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)
        return logits[:, label] - torch.logsumexp(rest, dim=1)


def _told(prediction: Prediction) -> list[str]:
    """The labels to explain."""
    if isinstance(prediction.label, str):
        return [prediction.label]
    return prediction.label or [max(prediction.scores, key=prediction.scores.__getitem__)]


def _mistake(predictor: Predictor, row: Mapping[str, Any]) -> Mistake:
    label = _most_wrong(row)
    score = row[f"probability/{label}"]
    attribution = _attribute(predictor, _text(row), label, score, most_steps=MISTAKES_STEPS)
    return Mistake(row["place"], row["label"], row["prediction"], row["loss"], attribution)


def _text(row: Mapping[str, Any]) -> Text:
    return (row["text"], row["text_pair"]) if "text_pair" in row else row["text"]


def _most_wrong(row: Mapping[str, Any]) -> str:
    """The predicted label; where there may be several, that whose probability is farthest off."""
    truth, prediction = row["label"], row["prediction"]
    if isinstance(prediction, str):
        return prediction
    wrong: list[str] = sorted(set(truth) ^ set(prediction))
    return max(wrong, key=lambda name: abs((name in truth) - row[f"probability/{name}"]))


def _check_takes_embeddings(predictor: Predictor) -> None:
    forward = type(_torch_model(predictor.scorer).network).forward
    if "inputs_embeds" not in inspect.signature(forward).parameters:
        raise _not_explained(predictor, "the network takes no embeddings as its input")


@torch.inference_mode(mode=False)
def _attribute(
    predictor: Predictor, text: Text, label: str, score: float, *, most_steps: int = MOST_STEPS
) -> Attribution:
    scorer, labels = predictor.scorer, predictor.labels
    try:
        line = _Line(scorer, text, labels.label2id[label], multi_label=labels.multi_label)
        start, end = line.ends()
    except (NotImplementedError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise _not_explained(predictor, f"the network takes no embeddings ({reason})") from error
    if not math.isclose(_probability(end), score, abs_tol=_SAME_SCORE):
        raise _not_explained(predictor, "the network scores embeddings otherwise than their text")
    contributions, steps = _integrate(line, end - start, most_steps)
    texts = text if isinstance(text, tuple) else (text,)
    words = _words(texts, line.places, contributions)
    return Attribution(texts, label, end, start, words, steps, line.cut)


def _integrate(line: _Line, difference: float, most_steps: int) -> tuple[Floats, int]:
    """What each token adds, ``[seq]``, and the steps that it took."""
    steps = FIRST_STEPS
    slopes = line.slopes(_midpoints(steps))
    while steps < most_steps and not _passes(difference - slopes.sum() / steps, difference):
        steps *= GROWTH
        slopes += line.slopes(np.delete(_midpoints(steps), np.s_[GROWTH // 2 :: GROWTH]))
    return slopes / steps, steps


def _midpoints(steps: int) -> Floats:
    return (np.arange(steps) + 0.5) / steps


def _passes(gap: float, difference: float) -> bool:
    return abs(gap) <= max(RELATIVE_GAP * abs(difference), ABSOLUTE_GAP)


def _words(
    texts: Sequence[str], places: Sequence[TokenPlace | None], contributions: Floats
) -> tuple[Word, ...]:
    """Tokens put together to words, in the order of the texts; nothing is left out of the sum."""
    groups: list[tuple[list[TokenPlace], list[float]]] = []
    for place, contribution in zip(places, contributions.tolist(), strict=True):
        if place is None:
            continue
        if not groups or not _goes_on(groups[-1][0], place, texts[place.side]):
            groups.append(([], []))
        groups[-1][0].append(place)
        groups[-1][1].append(contribution)
    return tuple(_word(texts, tokens, math.fsum(amounts)) for tokens, amounts in groups)


def _goes_on(word: Sequence[TokenPlace], place: TokenPlace, text: str) -> bool:
    """Whether a token belongs to the word before it: as a part of it, or because one is blank."""
    last, start = word[-1], place.start
    if place.side != last.side:
        return False
    if start < last.end or (place.word is not None and place.word == last.word):
        return True
    blank = not text[start : place.end].strip() or not text[word[0].start : last.end].strip()
    around = (text[max(0, start - 1) : start + 2], text[max(0, start - 2) : start + 1])
    return blank or (start == last.end and any(map(_APOSTROPHE.fullmatch, around)))


def _word(texts: Sequence[str], tokens: Sequence[TokenPlace], contribution: float) -> Word:
    side, start = tokens[0].side, tokens[0].start
    written = texts[side][start : tokens[-1].end]
    start += len(written) - len(written.lstrip())
    text = written.strip()
    return Word(text, start, start + len(text), contribution, side)


def _torch_model(scorer: Scorer) -> TorchModel:
    if not isinstance(scorer.model, TorchModel):
        raise InputError("only torch explains decisions", hint="load the bundle with form='torch'")
    return scorer.model


def _stand_in(scorer: Scorer) -> int:
    """The token behind which a baseline hides the text."""
    tokenizer: Any = scorer.tokenizer
    mask = tokenizer.mask_token_id
    return int(mask if mask is not None else scorer.padding.token_id)


def _probability(log_odds: float) -> float:
    """The logistic function, without overflow."""
    return 0.5 * (1 + math.tanh(log_odds / 2))


def _not_explained(predictor: Predictor, reason: str) -> InputError:
    return InputError(
        f"{reason}, so its decisions can't be explained",
        where=str(predictor.bundle.folder),
        hint="explain a bundle with another encoder",
    )
