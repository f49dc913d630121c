"""From a bundle to predictions; needs the bundle alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from textmill.bundle import Bundle, read_bundle
from textmill.encoding import LengthPolicy, Lengths
from textmill.forms.choosing import FormChoice, FormName, choose_form
from textmill.labels import Labels
from textmill.scoring import Scorer, Scores, Tag, Texts


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a classifier says of one text.

    Args:
        label: The label; a list of any number of labels where a text may have several.
        score: The probability of the label; of the most probable one where there may be several.
        scores: From each label to its probability.
    """

    label: str | list[str]
    score: float
    scores: dict[str, float]


class Predictor:
    """A classifier in use; nothing in it changes, so threads may share it.

    Args:
        bundle: The bundle that it serves.
        scorer: The bundle's model.
        form: Which form of the model that is.
    """

    def __init__(self, bundle: Bundle, scorer: Scorer, form: FormName = "torch") -> None:
        self.bundle = bundle
        self.scorer = scorer
        self.form = form

    @classmethod
    def from_bundle(
        cls, path: str | Path, *, device: str = "cpu", form: FormChoice = "auto"
    ) -> Predictor:
        """Loads a bundle.

        Args:
            path: The bundle's folder, the folder of a run, or ``latest``.
            device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto`` for the fastest there is.
            form: ``torch``, ``onnx``, ``int8``, ``bf16``, or ``auto`` for the fastest that the
                bundle has and the device takes.

        Raises:
            InputError: There is no such bundle, device or form, or the bundle is broken.
        """
        return cls.of(read_bundle(path), device=device, form=form)

    @classmethod
    def of(cls, bundle: Bundle, *, device: str = "cpu", form: FormChoice = "auto") -> Predictor:
        """Loads a bundle that has been read; see `from_bundle`."""
        chosen = choose_form(form, bundle.info.forms, device, str(bundle.folder))
        return cls(bundle, bundle.scorer(device, chosen), chosen)

    @property
    def labels(self) -> Labels:
        """The labels, in the order of the columns of the scores."""
        return self.bundle.labels

    @property
    def policy(self) -> LengthPolicy:
        """What happens to long texts."""
        return self.bundle.policy

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that held the text in training: one, or two for pairs."""
        return self.bundle.info.text_columns

    @property
    def device(self) -> str:
        """Where the model computes."""
        return self.scorer.model.device

    def logits(self, texts: Texts, *, batch_size: int | None = None) -> Scores:
        """The model's raw outputs; see `Scorer.logits`."""
        return self.scorer.logits(texts, batch_size=batch_size)

    def probabilities(self, texts: Texts, *, batch_size: int | None = None) -> Scores:
        """The labels' probabilities; see `Scorer.probabilities`."""
        return self.scorer.probabilities(texts, batch_size=batch_size)

    def stream(
        self, parts: Iterable[tuple[Tag, Texts]], *, batch_size: int | None = None
    ) -> Iterator[tuple[Tag, Scores]]:
        """The probabilities of a long row of texts, part by part; see `Scorer.stream`."""
        return self.scorer.stream(parts, batch_size=batch_size)

    def lengths(self, texts: Texts) -> Lengths:
        """How much of each text the model sees; see `Scorer.lengths`."""
        return self.scorer.lengths(texts)

    def predict(self, texts: Texts, *, batch_size: int | None = None) -> list[Prediction]:
        """Labels texts, in their order.

        An empty text is scored like any other.

        Args:
            texts: A list of texts, or of pairs of texts.
            batch_size: The most texts scored at a time; None leaves it to their tokens.

        Raises:
            InputError: Something among the texts is not text.
        """
        return self.decide(self.probabilities(texts, batch_size=batch_size))

    def decide(self, probabilities: Scores) -> list[Prediction]:
        """Turns probabilities, ``[texts, labels]``, into predictions; see `Bundle.decide`."""
        names = self.labels.names
        rows = (dict(zip(names, row, strict=True)) for row in probabilities.tolist())
        return [
            Prediction(
                label, scores[label] if isinstance(label, str) else max(scores.values()), scores
            )
            for label, scores in zip(self.bundle.decide(probabilities), rows, strict=True)
        ]


def load(
    path: str | Path = "latest", *, device: str = "auto", form: FormChoice = "auto"
) -> Predictor:
    """Loads a classifier from a bundle.

    Args:
        path: The bundle's folder, the folder of a run, or ``latest`` for the newest run.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto`` for the fastest there is.
        form: ``torch``, ``onnx``, ``int8``, ``bf16``, or ``auto`` for the fastest that the bundle
            has and the device takes.

    Raises:
        InputError: There is no such bundle, device or form, or the bundle is broken.
    """
    return Predictor.from_bundle(path, device=device, form=form)
