"""Many clients that ask a service without a pause, each for a text of its own."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.servers import Server

CLIENTS = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request.

    Args:
        status: That of its answer; 0 if the connection broke before the answer was whole.
        text: What it asked about.
        port: The client's end of the connection.
        bundle: The bundle that the answer says it comes from.
        prediction: What the answer says of the text.
    """

    status: int
    text: str
    port: int
    bundle: str | None = None
    prediction: dict[str, Any] | None = None


class Load:
    """Asks from the beginning of its block to the end, over connections that are kept.

    A client whose connection breaks notes that and opens a new one; one that is refused a
    connection, as nobody listens any more, asks no further.

    Args:
        server: Whom to ask.
        texts: What about; each client has one of them.
        clients: How many there are.
    """

    def __init__(self, server: Server, texts: Sequence[str], clients: int = CLIENTS) -> None:
        self.answers: list[Answer] = []
        self._address = server.address
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(texts[number % len(texts)],))
            for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def statuses(self) -> set[int]:
        return {answer.status for answer in self.answers}

    def _ask(self, text: str) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=60)
        while not self._over.is_set():
            try:
                if connection.sock is None:
                    connection.connect()
            except ConnectionRefusedError:
                return
            self.answers.append(_answer(connection, text))
        connection.close()


def _answer(connection: http.client.HTTPConnection, text: str) -> Answer:
    port = connection.sock.getsockname()[1]
    try:
        body = json.dumps({"texts": [text]})
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
    except (OSError, http.client.HTTPException):
        connection.close()
        return Answer(0, text, port)
    if answer.status != 200:
        return Answer(answer.status, text, port)
    bundle, (prediction,) = answer.headers["X-Textmill-Bundle"], told["predictions"]
    return Answer(200, text, port, bundle, prediction)


def client_ports(pid: int) -> set[int]:
    """The clients' ends of the connections that a process has."""
    descriptors = Path(f"/proc/{pid}/fd").iterdir()
    open_files = {str(one.readlink()) for one in descriptors if one.is_symlink()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        int(row[2].rpartition(":")[2], 16) for row in rows if f"socket:[{row[9]}]" in open_files
    }
