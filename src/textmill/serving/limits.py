"""How much a client may ask for at a time, and how long it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# A body that is too large is read up to here and thrown away: a client that is still sending when
# the connection closes would see an error of the network, not the answer.
_MOST_DISCARDED = 16 * 2**20

# Of the problems of one body, those that are told.
MOST_PROBLEMS = 10


class ClientGoneError(Exception):
    """The client has closed the connection; nobody waits for an answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may be.

    Args:
        body_bytes: The most bytes of a body.
        texts: The most texts of a request.
        characters: The most characters of a text; of a pair, of either text.
        seconds: The longest that a body may take to arrive, and that an answer may take.
        connections: Of how many connections a worker answers requests at a time.
    """

    body_bytes: int = 2**20
    texts: int = 256
    characters: int = 20_000
    seconds: float = 30.0
    connections: int = 512


async def read_body(receive: Receive, limits: Limits) -> bytes:
    """Reads a request's body.

    Args:
        receive: The server's channel for it.
        limits: Which of them hold.

    Raises:
        HTTPException: It is too large (413), or too slow (408).
        ClientGoneError: The connection was closed before its end.
    """
    try:
        async with asyncio.timeout(limits.seconds):
            return await _collect(receive, limits.body_bytes)
    except TimeoutError as error:
        raise HTTPException(
            408, f"the body took more than {limits.seconds:g} seconds", {"Connection": "close"}
        ) from error


async def _collect(receive: Receive, most: int) -> bytes:
    body, size, more = bytearray(), 0, True
    while more and size <= max(most, _MOST_DISCARDED):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size <= most:
            body += part
        more = message.get("more_body", False)
    if size > most:
        raise HTTPException(413, f"the body has more than {most:,} bytes", {"Connection": "close"})
    return bytes(body)
