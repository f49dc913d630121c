"""A bundle in service: loaded, proved by its golden texts, and warm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from textmill.bundle import read_golden
from textmill.environment import package_versions
from textmill.forms.choosing import FormChoice
from textmill.predictor import Prediction, Predictor
from textmill.serving.limits import Limits
from textmill.serving.schemas import (
    ExplainRequest,
    PredictRequest,
    explain_request,
    predict_request,
)
from textmill.verification import verify_quickly

if TYPE_CHECKING:
    from textmill.scoring import Texts

Text = str | tuple[str, str]

MOST_EXAMPLES = 6
_EXAMPLE = "An example."


@dataclass(frozen=True, slots=True)
class Computing:
    """How bundles compute.

    Args:
        device: Where; see `Predictor.from_bundle`.
        form: In which form.
    """

    device: str = "auto"
    form: FormChoice = "auto"


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A bundle in service.

    Args:
        predictor: The classifier.
        fingerprint: A SHA-256 over all that decides what it predicts.
        loaded: When it was loaded.
        examples: Texts that came with it, and their predictions; at least one.
        versions: Of the packages that results depend on.
        predict_request: What a body of ``/predict`` must be.
        explain_request: What a body of ``/explain`` must be.
    """

    predictor: Predictor
    fingerprint: str
    loaded: datetime
    examples: tuple[tuple[Text, Prediction], ...]
    versions: dict[str, str]
    predict_request: type[PredictRequest]
    explain_request: type[ExplainRequest]

    @property
    def pairs(self) -> bool:
        """Whether it classifies pairs of texts."""
        return len(self.predictor.text_columns) == 2

    @property
    def folder(self) -> Path:
        """Where the bundle is, without links on the way."""
        return self.predictor.bundle.folder.resolve()


def open_served(path: str, computing: Computing, limits: Limits) -> Served:
    """Loads a bundle, proves it, and warms it up.

    Args:
        path: The bundle; see `find_bundle`.
        computing: How it computes.
        limits: What requests may be.

    Raises:
        InputError: There is none, or it is not what was trained.
    """
    predictor = Predictor.from_bundle(path, device=computing.device, form=computing.form)
    pairs = len(predictor.text_columns) == 2
    verify_quickly(predictor)
    _warm_up(predictor, pairs=pairs)
    shown = _examples(read_golden(predictor.bundle).texts, pairs=pairs)
    return Served(
        predictor,
        predictor.bundle.fingerprint(),
        datetime.now(UTC),
        tuple(zip(shown, predictor.predict(cast("Texts", shown)), strict=True)),
        package_versions(),
        predict_request(pairs, limits),
        explain_request(pairs, limits),
    )


def _warm_up(predictor: Predictor, *, pairs: bool) -> None:
    """Scores the longest text there is, for which the most memory is taken."""
    longest = "text " * predictor.policy.max_length
    predictor.probabilities([(longest, longest)] if pairs else [longest])


def _examples(golden: Texts, *, pairs: bool) -> list[Text]:
    """The first texts that there is something in; at least one."""
    texts: Sequence[Text] = [text for text in golden if "".join(text).strip()]
    return [*texts[:MOST_EXAMPLES]] or [(_EXAMPLE, _EXAMPLE) if pairs else _EXAMPLE]
