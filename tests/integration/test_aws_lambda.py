"""The service as an AWS Lambda function: events in, answers out, as from ``textmill serve``."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mangum import Mangum

from tests.bundles import make_bundle
from textmill.errors import InputError
from textmill.predictor import Predictor
from textmill.serving import aws_lambda
from textmill.serving.aws_lambda import make_handler

KEY = "a-key-of-some-length"
TEXTS = ["a wonderful film", "", "wörds 良い 😀 \0", "the plot is clever; the end is bad?"]

Make = Callable[..., Mangum]


@pytest.fixture(scope="module")
def bundle(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tiny_encoder, tmp_path_factory.mktemp("bundles") / "single")


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes handlers as a new instance of the function would; their loops end with the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    loops = []

    def make(**environment: str) -> Mangum:
        made = make_handler(environment)
        loops.append(asyncio.get_event_loop_policy().get_event_loop())
        return made

    yield make
    for loop in loops:
        loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def handler(make: Make, bundle: Path) -> Mangum:
    return make(TEXTMILL_BUNDLE=str(bundle), TEXTMILL_API_KEYS=KEY)


def ask(
    handler: Mangum, path: str, body: object = None, *, key: str | None = KEY, binary: bool = False
) -> dict[str, Any]:
    """What the function answers to an event of an HTTP API, in its format 2.0."""
    headers = {"Content-Type": "application/json", "host": "x.execute-api.eu-west-1.amazonaws.com"}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    http = {"path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "curl"}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "http": {**http, "method": "GET" if body is None else "POST"},
            "stage": "$default",
        },
        "isBase64Encoded": binary,
    }
    if body is not None:
        text = body if isinstance(body, str) else json.dumps(body)
        event["body"] = base64.b64encode(text.encode()).decode() if binary else text
    answer: dict[str, Any] = handler(event, None)  # type: ignore[arg-type]
    json.dumps(answer)  # Lambda sends it as JSON.
    return answer


@pytest.mark.parametrize("binary", [False, True])
def test_every_text_has_its_prediction_in_order(
    handler: Mangum, bundle: Path, binary: bool
) -> None:
    expected = [
        {"label": one.label, "score": pytest.approx(one.score, abs=1e-5)}
        for one in Predictor.from_bundle(bundle).predict(TEXTS)
    ]
    for _ in range(2):
        answer = ask(handler, "/predict", {"texts": TEXTS}, binary=binary)
        assert answer["statusCode"] == 200
        assert json.loads(answer["body"]) == {"predictions": expected}
        assert answer["headers"]["content-type"] == "application/json"
        assert len(answer["headers"]["x-textmill-bundle"]) == 12


@pytest.mark.parametrize("path", ["/info", "/metrics", "/openapi.json", "/predict", "/explain"])
def test_nothing_is_told_without_the_key(handler: Mangum, path: str) -> None:
    body = {"texts": ["a film"]} if path in ("/predict", "/explain") else None
    for key in (None, "", KEY[:-1], KEY.upper()):
        answer = ask(handler, path, body, key=key)
        assert answer["statusCode"] == 401
        assert "predictions" not in answer["body"]


def test_a_wrong_body_is_told_by_its_path(handler: Mangum) -> None:
    for wrong, place in (
        ({"texts": ["a film", 3]}, ["body", "texts", 1]),
        ({"texts": ["a film"] * 257}, ["body", "texts"]),
        ("{", ["body"]),
    ):
        answer = ask(handler, "/predict", wrong)
        assert answer["statusCode"] == 422
        assert json.loads(answer["body"])["detail"][0]["loc"] == place
    assert ask(handler, "/predict", {"texts": ["x" * 2**20]})["statusCode"] == 413
    assert ask(handler, "/nowhere")["statusCode"] == 404


def test_it_tells_what_it_serves_and_counts(handler: Mangum) -> None:
    assert ask(handler, "/readyz", key=None)["statusCode"] == 200
    info = json.loads(ask(handler, "/info")["body"])
    assert info["labels"] == ["bad", "fair", "good"]
    assert info["device"] == "cpu"
    ask(handler, "/predict", {"texts": TEXTS})
    ask(handler, "/predict", {"texts": 1})
    counted = ask(handler, "/metrics")["body"]
    assert 'textmill_requests_total{route="/predict",status="200"} 1.0' in counted
    assert 'textmill_requests_total{route="/predict",status="422"} 1.0' in counted
    assert "<title>" in ask(handler, "/", key=None)["body"]


def test_what_is_missing_is_told_before_any_event(make: Make, bundle: Path) -> None:
    with pytest.raises(InputError, match="TEXTMILL_BUNDLE is not set"):
        make(TEXTMILL_API_KEYS=KEY)
    with pytest.raises(InputError, match="without a key") as raised:
        make(TEXTMILL_BUNDLE=str(bundle))
    assert "TEXTMILL_API_KEYS" in str(raised.value)
    with pytest.raises(InputError, match="fewer than"):
        make(TEXTMILL_BUNDLE=str(bundle), TEXTMILL_API_KEYS="short", TEXTMILL_INSECURE="1")


def test_only_an_explicit_variable_lets_everybody_in(make: Make, bundle: Path) -> None:
    for value in ("", "0", "true"):
        with pytest.raises(InputError, match="without a key"):
            make(TEXTMILL_BUNDLE=str(bundle), TEXTMILL_INSECURE=value)
    handler = make(TEXTMILL_BUNDLE=str(bundle), TEXTMILL_INSECURE="1")
    assert ask(handler, "/info", key=None)["statusCode"] == 200


def test_a_bundle_that_fails_its_proof_serves_nothing(
    make: Make, tiny_encoder: Path, tmp_path: Path
) -> None:
    broken = make_bundle(tiny_encoder, tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    names = list(config["id2label"].values())
    config["id2label"] = dict(zip(config["id2label"], reversed(names), strict=True))
    config["label2id"] = {name: int(index) for index, name in config["id2label"].items()}
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError):
        make(TEXTMILL_BUNDLE=str(broken), TEXTMILL_API_KEYS=KEY)


def test_the_bundle_is_loaded_when_aws_looks_the_handler_up(
    bundle: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_lambda, "configure_logs", lambda: None)
    monkeypatch.setattr(aws_lambda, "make_handler", lambda environment: make(**environment))
    fresh = importlib.import_module("textmill.serving.aws_lambda")
    assert "handler" not in vars(fresh)
    monkeypatch.setenv("TEXTMILL_BUNDLE", str(bundle))
    monkeypatch.setenv("TEXTMILL_API_KEYS", KEY)
    try:
        assert ask(fresh.handler, "/readyz")["statusCode"] == 200
        assert fresh.handler is fresh.handler
    finally:
        vars(fresh).pop("handler", None)
    with pytest.raises(AttributeError):
        _ = fresh.another
