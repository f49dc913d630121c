"""Services in forks of the tests' process, which need not import torch again, and may be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2 as httpx

from tests.forks import Patch, start_fork
from textmill.serving import connections, worker

_PATIENCE_SECONDS = 120


class Server:
    """A running ``textmill serve``.

    Args:
        log: The file that its log goes to.
        arguments: What follows ``serve`` on the command line.
        environment: Variables that it has beside those of the tests.
        linger: Seconds for which it still takes requests once it is told to end.
        also: What is done in its process before it starts.
    """

    def __init__(
        self,
        log: Path,
        *arguments: str,
        environment: Mapping[str, str] = {},
        linger: float = 0.1,
        also: Patch | None = None,
    ) -> None:
        self.log = log
        log.write_text("")

        def patch() -> None:
            os.environ.update(environment)
            worker.LINGER_SECONDS = linger
            connections.HEAD_SECONDS = 2.0
            stream = log.open("w", encoding="utf-8", buffering=1)
            os.dup2(stream.fileno(), 2)
            sys.stderr = stream
            if also is not None:
                also()

        self.process = start_fork(["serve", *arguments, "--port", "0"], patch)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's events of a name."""
        log = self.log.read_text("utf-8") if self.log.exists() else ""
        # What follows the last line's end is being written.
        *lines, _ = log.split("\n")
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in found if event["event"] == name]

    def wait_for(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """The events of a name, once there are so many."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            if len(found := self.events(name)) >= count:
                return found
            assert self.process.is_alive(), self.log.read_text("utf-8")
            time.sleep(0.02)
        raise AssertionError(f"no {count} events {name!r} in {self.log.read_text('utf-8')}")

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self.wait_for("listening")[0]["url"])

    @property
    def address(self) -> tuple[str, int]:
        """The host and port of that."""
        parts = httpx.URL(self.url)
        return parts.host, parts.port or 80

    @property
    def workers(self) -> dict[int, int]:
        """From the number of each worker to its present process."""
        return {event["worker"]: event["pid"] for event in self.events("worker started")}

    def get(self, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401
        return httpx.get(f"{self.url}{path}", timeout=60, **options)

    def post(self, path: str, body: object, **options: Any) -> httpx.Response:  # noqa: ANN401
        """Sends JSON, or bytes as if they were JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return httpx.post(
            f"{self.url}{path}", content=content, headers=headers, timeout=60, **options
        )

    def send(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def end(self) -> int:
        """Ends it as an operator would; returns its exit status."""
        if self.process.is_alive():
            self.send(signal.SIGTERM)
        self.process.join(timeout=_PATIENCE_SECONDS)
        assert self.process.exitcode is not None
        return self.process.exitcode


@contextlib.contextmanager
def serving(
    folder: Path,
    *arguments: object,
    environment: Mapping[str, str] = {},
    ready: int = 1,
    linger: float = 0.1,
    also: Patch | None = None,
) -> Iterator[Server]:
    """A service whose workers are ready; it ends with the block.

    Args:
        folder: Where its log goes.
        arguments: What follows ``serve`` on the command line.
        environment: Variables that it has beside those of the tests.
        ready: How many workers to wait for.
        linger: Seconds for which it still takes requests once it is told to end.
        also: What is done in its process before it starts.
    """
    log = folder / "serve.log"
    server = Server(log, *map(str, arguments), environment=environment, linger=linger, also=also)
    try:
        server.wait_for("worker ready", ready)
        yield server
    finally:
        if server.process.is_alive():
            server.end()
