"""What each word of a text adds to the score of a label.

The score is the log-odds of the label, log p / (1 - p): the one number that both kinds of
classifiers have, that adds up, and that doesn't flatten out where a classifier is sure. For two
labels it is the difference of the logits, and where a text may have several labels it is the
label's logit.

The method is integrated gradients where the model is torch's, and occlusion where it is another
form, which has no gradients; see `textmill.explaining`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from textmill.errors import InputError, did_you_mean
from textmill.explaining.occlusion import by_occlusion
from textmill.explaining.record import Attribution
from textmill.predictor import Prediction, Predictor
from textmill.safe_write import write_text
from textmill.scoring import Texts

if TYPE_CHECKING:
    import pyarrow as pa

Text = str | tuple[str, str]

# What explaining mistakes may cost: the tokens of all texts together, and the points on a line.
MISTAKES_TOKENS = 1024
MISTAKES_STEPS = 96


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
    _check(predictor)
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
    _check(predictor)
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


def _check(predictor: Predictor) -> None:
    """Makes sure, before any work, that the network can be explained."""
    if predictor.form == "torch":
        from textmill.explaining.gradients import check_takes_embeddings

        check_takes_embeddings(predictor.scorer, str(predictor.bundle.folder))


def _attribute(
    predictor: Predictor, text: Text, label: str, score: float, *, most_steps: int | None = None
) -> Attribution:
    multi_label, known = predictor.labels.multi_label, (predictor.labels.label2id[label], label)
    if predictor.form != "torch":
        return by_occlusion(predictor.scorer, text, known, multi_label=multi_label)
    from textmill.explaining.gradients import MOST_STEPS, by_gradients

    return by_gradients(
        predictor.scorer,
        text,
        known,
        score,
        multi_label=multi_label,
        most_steps=most_steps or MOST_STEPS,
        where=str(predictor.bundle.folder),
    )
