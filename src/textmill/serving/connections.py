"""Connections on which the head of a request must come soon, and must be short."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_SECONDS = 10.0
HEAD_BYTES = 32 * 1024


class BoundedHeads(HttpToolsProtocol):
    """A connection that is closed when the head of a request is too slow, or too large.

    The server itself would wait for it, and keep what has come of it, without end.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - as the server does
        super().__init__(*arguments, **named)
        self._patience: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._unanswered: list[RequestResponseCycle] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._patience = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        self._be_patient()
        self._leave_unanswered()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begins to wait for the rest of a head, and to count it."""
        super().on_message_begin()
        self._head_bytes = 0
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def on_url(self, url: bytes) -> None:
        """Counts a part of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Counts a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Waits no longer."""
        self._be_patient()
        super().on_headers_complete()
        open_ones = [cycle for cycle in self._unanswered if not cycle.response_complete]
        self._unanswered = [*open_ones, self.cycle]

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP, and closes the connection."""
        super().send_400_response(msg)
        self._leave_unanswered()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            raise ValueError("the head is too large")  # The parser's error, answered with 400.

    def _be_patient(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        self.transport.close()
        self._leave_unanswered()

    def _leave_unanswered(self) -> None:
        """Has all requests of a closed connection end, not only the last one that was sent.

        They would be computed for nobody, and their answers be errors of the closed connection.
        """
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        self._unanswered.clear()
