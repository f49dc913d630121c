"""Around an application: each request counted, timed and logged."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from fastapi.responses import JSONResponse

from textmill.serving.connections import CROWDED
from textmill.serving.logs import tell, tell_error
from textmill.serving.service import Service

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = b"x-request-id"
# The status that nginx has for a client that didn't wait for its answer.
CLIENT_GONE = 499
OTHER = "(other)"

# Asked every few seconds; they would bury the rest of the log.
_PROBES = frozenset(("/healthz", "/readyz"))

_GOOD_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Observed:
    """An application whose requests are counted, timed and logged.

    Every answer has the id of its request in ``X-Request-ID``: the client's own, or a new one.

    Args:
        application: What answers.
        service: What is served; counts go to its metrics.
        log_requests: Whether each request is logged.
    """

    def __init__(self, application: Application, service: Service, *, log_requests: bool) -> None:
        self._application = application
        self._service = service
        self._log_requests = log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        scope.setdefault("state", {})  # Not every server has one.
        began = time.perf_counter()
        request_id = _request_id(scope)
        status = CLIENT_GONE

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *self._headers(scope, request_id)]
            await send(message)

        try:
            await self._answering(scope)(scope, receive, send_named)
        except Exception as error:  # noqa: BLE001 - answered with 500 by then; the server goes on
            tell_error("error", error, request_id=request_id.decode())
        finally:
            self._count(scope, request_id, status, time.perf_counter() - began)

    def _answering(self, scope: Scope) -> Application:
        """What answers; on a connection that is one too many, only probes are welcome."""
        crowded = scope["state"].get(CROWDED, False) and scope["path"] not in _PROBES
        return _turned_away if crowded else self._application

    def _headers(self, scope: Scope, request_id: bytes) -> list[tuple[bytes, bytes]]:
        headers = [(REQUEST_ID, request_id)]
        if self._service.stopping or scope["state"].get(CROWDED, False):
            headers.append((b"connection", b"close"))
        return headers

    def _count(self, scope: Scope, request_id: bytes, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", OTHER)
        self._service.metrics.request(route, status, seconds)
        if self._log_requests and route not in _PROBES:
            tell(
                "request",
                request_id=request_id.decode(),
                method=scope["method"],
                route=route,
                status=status,
                seconds=round(seconds, 6),
                **scope["state"].get("told", {}),
            )


async def _turned_away(scope: Scope, receive: Receive, send: Send) -> None:
    answer = JSONResponse({"detail": "too many connections"}, 503, {"Retry-After": "1"})
    await answer(scope, receive, send)


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == REQUEST_ID and _GOOD_ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(8).encode()
