"""A service that gets ten thousand requests which nobody should send answers, and stays right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.bundles import make_bundle
from tests.malformed import made_by_chance, made_by_hand, send_all
from tests.servers import Server, serving

REQUESTS = 10_000
# Drawn from the description, for each of its routes and ways to be wrong.
DRAWN = 60
CONNECTIONS = 64
SEED = 20261128
DRAWING = settings(
    max_examples=DRAWN,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# An answer is as it is described, whatever the question.
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
TEXTS = ["a wonderful film", "", "the plot is clever; the end is bad?", "wörds 良い 😀 \0"]


@pytest.fixture
def server(tiny_encoder: Path, tmp_path: Path) -> Iterator[Server]:
    bundle = make_bundle(tiny_encoder, tmp_path / "bundle")
    with serving(tmp_path, bundle, "--workers", 2, "--timeout", 5, ready=2) as running:
        yield running


@pytest.mark.slow
def test_ten_thousand_malformed_requests_do_no_harm(server: Server) -> None:
    workers = server.workers
    before = [
        {"label": one["label"], "score": pytest.approx(one["score"], abs=1e-5)}
        for one in answers(server)
    ]
    drawn = drawn_from_description(server)
    by_hand = made_by_hand()
    by_chance = made_by_chance(REQUESTS - len(drawn) - len(by_hand), SEED)
    told = Counter(drawn)
    for sent in (by_hand, by_chance):
        told.update(send_all(server.address, sent, CONNECTIONS))
    requests = len(drawn) + sum(one.requests for one in [*by_hand, *by_chance])
    assert requests >= REQUESTS
    assert told.total() > requests / 2  # The rest never were whole, or their clients had left.
    assert {status for status in told if status >= 500} <= {503}
    logged = Counter(event["status"] for event in server.events("request"))
    assert {status for status in logged if status >= 500} <= {503}
    assert '"level": "error"' not in server.log.read_text("utf-8")
    assert server.workers == workers
    for after in [answers(server) for _ in range(4)]:
        assert after == before


def answers(server: Server) -> list[dict[str, Any]]:
    answer = server.post("/predict", {"texts": TEXTS})
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found


def drawn_from_description(server: Server) -> list[int]:
    """The answers to requests drawn from the service's own description, right and wrong ones."""
    schema = schemathesis.openapi.from_dict(server.get("/openapi.json").json())
    statuses: list[int] = []

    def ask(case: Case) -> None:
        answer = case.call(base_url=server.url, timeout=60)
        case.validate_response(answer, checks=CHECKS)
        statuses.append(answer.status_code)

    for found in schema.get_all_operations():
        for mode in GenerationMode:
            if mode.is_positive or found.ok().body:
                drawn = given(case=found.ok().as_strategy(generation_mode=mode))
                DRAWING(drawn(ask))()
    return statuses
