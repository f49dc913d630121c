"""A service that knows all answers beforehand: how fast the client can be: ``QUESTIONS PORT``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import cast

import uvloop

from benchmarks.serving.questions import Questions, read_questions


class Answering(asyncio.Protocol):
    """A connection, on which each request comes in one piece.

    Args:
        answers: From bodies to answers.
    """

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self._answers = answers
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps what is written to."""
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answers a request."""
        assert self._transport is not None
        self._transport.write(self._answers[data.partition(b"\r\n\r\n")[2]])


def answers_of(questions: Questions) -> dict[bytes, bytes]:
    """From the bodies of requests to whole answers."""
    return {
        question.body: _answer({"label": question.label, "score": question.score})
        for question in questions.asked
    }


def _answer(prediction: dict[str, object]) -> bytes:
    body = json.dumps({"predictions": [prediction]}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def serve(questions: Path, port: int) -> None:
    """Serves until it is ended."""
    answers = answers_of(read_questions(questions))
    server = await asyncio.get_running_loop().create_server(
        lambda: Answering(answers), "127.0.0.1", port
    )
    await server.serve_forever()


def main() -> None:
    """Serves until it is ended."""
    questions, port = sys.argv[1:]
    uvloop.run(serve(Path(questions), int(port)))


if __name__ == "__main__":
    main()
