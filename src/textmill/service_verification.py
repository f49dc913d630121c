"""Whether a running service answers as a bundle on disk does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx2
import numpy as np
from pydantic import BaseModel, ValidationError

from textmill.bundle import Bundle, Golden, read_bundle, read_golden
from textmill.errors import InputError, MachineError, TextmillError
from textmill.forms.choosing import FormName
from textmill.scoring import Texts
from textmill.verification import Check, golden_problem

# Of a request. The service's own limits may be lower.
_TEXTS = 32
_SECONDS = 60.0

Text = str | tuple[str, str]
Answer = TypeVar("Answer", bound=BaseModel)


class _Info(BaseModel):
    """What is needed of a service's ``/info``."""

    bundle: str
    labels: list[str]
    thresholds: list[float] | None
    form: FormName
    limits: dict[str, float]


class _Prediction(BaseModel):
    """A prediction with the scores of all labels."""

    label: str | list[str]
    scores: dict[str, float]


class _Predictions(BaseModel):
    """What ``/predict`` answers."""

    predictions: list[_Prediction]


def verify_service(path: str | Path, url: str, key: str = "") -> list[Check]:
    """Compares a service with a bundle, and has it label the bundle's golden texts.

    Args:
        path: The bundle's folder, the folder of a run, or ``latest``.
        url: The service's address.
        key: An API key; empty where the service asks for none.

    Raises:
        InputError: The address is none, or the service refuses to answer.
        MachineError: The service can't be reached.
    """
    try:
        bundle = read_bundle(path)
        golden = read_golden(bundle)
    except TextmillError:
        return [Check("service", "not checked, the bundle is broken", holds=None)]
    with _Service(url, key) as service:
        info = service.ask("GET", "/info", _Info)
        return [
            _check("service bundle", _bundle_problem(bundle, info)),
            _check("service labels", _difference(list(bundle.labels.names), info.labels)),
            _check("service thresholds", _threshold_problem(bundle, info)),
            _check(f"service form {info.form}", _answers_problem(service, bundle, golden, info)),
        ]


class _Service:
    """A service that is asked.

    Args:
        url: Its address.
        key: The API key; empty for none.

    Raises:
        InputError: The address is none.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self._client = httpx2.Client(base_url=self._url, headers=headers, timeout=_SECONDS)
        except httpx2.InvalidURL as error:
            raise self._no_address() from error

    def __enter__(self) -> _Service:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._client.close()

    def ask(
        self, method: str, route: str, kind: type[Answer], body: Mapping[str, Any] | None = None
    ) -> Answer:
        """The answer to a request.

        Raises:
            InputError: It is a refusal, or none of Textmill's.
            MachineError: There is none.
        """
        try:
            answer = self._client.request(method, route, json=body)
        except httpx2.UnsupportedProtocol as error:
            raise self._no_address() from error
        except httpx2.TransportError as error:
            raise MachineError(
                f"the service doesn't answer ({error})",
                where=self._url,
                hint="does it run, and is it at this address?",
            ) from error
        if answer.status_code == httpx2.codes.UNAUTHORIZED:
            raise InputError(
                "the service asks for another API key",
                where=self._url,
                hint="set TEXTMILL_API_KEYS to one of its keys",
            )
        try:
            answer.raise_for_status()
            return kind.model_validate_json(answer.content)
        except (httpx2.HTTPStatusError, ValidationError) as error:
            raise InputError(
                f"{method} {route} has no right answer (status {answer.status_code})",
                where=self._url,
                hint="is it Textmill's, and ready?",
            ) from error

    def _no_address(self) -> InputError:
        return InputError(
            "not the address of a service",
            where=repr(self._url),
            hint="give it as http://HOST:PORT",
        )


def _check(part: str, problem: str | None) -> Check:
    return Check(part, problem or "as it must be", holds=problem is None)


def _bundle_problem(bundle: Bundle, info: _Info) -> str | None:
    if bundle.fingerprint() == info.bundle:
        return None
    return f"the service has another bundle ({info.bundle[:12]})"


def _threshold_problem(bundle: Bundle, info: _Info) -> str | None:
    ours = bundle.info.thresholds
    return _difference(None if ours is None else list(ours), info.thresholds)


def _difference(ours: Sequence[object] | None, theirs: Sequence[object] | None) -> str | None:
    return None if ours == theirs else f"the service has {theirs}"


def _answers_problem(service: _Service, bundle: Bundle, golden: Golden, info: _Info) -> str | None:
    """What is wrong with what the service says of the golden texts that it takes, if anything."""
    if set(info.labels) != set(bundle.labels.names):
        return "it scores other labels"
    if info.form not in bundle.forms:
        return "the bundle doesn't have this form"
    texts = cast("Sequence[Text]", golden.texts)
    rows = [row for row, text in enumerate(texts) if _fits(text, info.limits)]
    size = min(_TEXTS, int(info.limits["texts"]))
    found = [
        prediction
        for first in range(0, len(rows), size)
        for prediction in _predictions(service, golden, rows[first : first + size], bundle)
    ]
    names = bundle.labels.names
    scores = np.array([[one.scores.get(name, np.nan) for name in names] for one in found])
    asked = Golden(cast("Texts", [texts[row] for row in rows]), golden.scores[rows], None)
    problem = golden_problem(bundle, info.form, asked, scores.reshape(len(rows), len(names)))
    if problem is None and bundle.decide(scores) != [one.label for one in found]:
        problem = "its labels are not those that its scores stand for"
    return problem


def _fits(text: Text, limits: Mapping[str, float]) -> bool:
    """Whether a service takes a text that long."""
    sides = text if isinstance(text, tuple) else (text,)
    return all(len(side) <= limits["characters"] for side in sides)


def _predictions(
    service: _Service, golden: Golden, rows: Sequence[int], bundle: Bundle
) -> list[_Prediction]:
    # With 1, no scores are told.
    top_k = max(2, len(bundle.labels))
    body = {"texts": [golden.texts[row] for row in rows], "top_k": top_k}
    found = service.ask("POST", "/predict", _Predictions, body).predictions
    if len(found) != len(rows):
        raise InputError(
            f"the service gave {len(found)} predictions for {len(rows)} texts",
            where="/predict",
            hint="is it Textmill's?",
        )
    return found
