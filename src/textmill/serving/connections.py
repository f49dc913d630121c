"""Connections: how many there may be, and how long the head of a request may take and be."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_SECONDS = 10.0
HEAD_BYTES = 32 * 1024

# Connections beyond the most that are served: enough to tell clients to come again, and to be found
# alive by a probe.
SPARE = 64

# In the state of a request: whether its connection is one of those.
CROWDED = "crowded"


class BoundedConnection(HttpToolsProtocol):
    """A connection that is closed when the head of a request is too slow, or too large.

    The server itself would wait for it, and keep what has come of it, without end; and it would
    open any number of connections.

    Args:
        most: Of how many connections requests are answered.
        named: What the server gives its connections.
    """

    def __init__(self, most: int, **named: Any) -> None:  # noqa: ANN401 - as the server does
        super().__init__(**named)
        self._most, self._crowded = most, False
        self._patience: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._unanswered: list[RequestResponseCycle] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._crowded = len(self.connections) > self._most
        if len(self.connections) > self._most + SPARE:
            transport.abort()
        else:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        self._be_patient()
        self._leave_unanswered()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what comes."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            # It is no request, yet the server doesn't count the connection as idle any more.
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """Begins to wait for the rest of a head, and to count it."""
        super().on_message_begin()
        self.scope["state"][CROWDED] = self._crowded
        self._head_bytes = 0
        self._wait_for_head()

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

    def _wait_for_head(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self._give_up)

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
