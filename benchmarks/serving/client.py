"""The client that all services meet: it keeps connections busy and checks each answer.

It speaks just enough HTTP/1.1, with nothing between it and its sockets, so that it takes little of
the machine that it shares with the service.
"""

from __future__ import annotations

import json
import math
import select
import socket
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.questions import Question, read_questions

Address = tuple[str, int]

PATIENCE_SECONDS = 60.0
_READ_BYTES = 65536
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class Load:
    """How much a service is asked.

    Args:
        connections: How many there are, each with one request on its way at any time.
        warm_up: Seconds before anything counts.
        seconds: Seconds that count.
        requests: Asked in all; None asks for as long as these seconds.
    """

    connections: int
    warm_up: float = 0.0
    seconds: float = math.inf
    requests: int | None = None


@dataclass(slots=True)
class Asked:
    """What a client has found.

    Args:
        seconds: How long it counted.
        latencies: Of the answers within them, in seconds.
        problems: What was wrong with answers, and how often.
    """

    seconds: float = 0.0
    latencies: array[float] = field(default_factory=lambda: array("d"))
    problems: Counter[str] = field(default_factory=Counter)


def ask(address: Address, questions: Path, load: Load) -> Asked:
    """Asks a service at an address what stands in a file of questions."""
    read = read_questions(questions)
    client = _Client(address, read.asked, read.tolerance)
    try:
        return client.run(load)
    finally:
        client.close()


def check(status: bytes, body: bytes, question: Question, tolerance: float) -> str | None:
    """What is wrong with an answer; None if it is right."""
    if status != b"200":
        return f"status {status.decode()}"
    try:
        (found,) = json.loads(body)["predictions"]
        label, score = found["label"], found["score"]
    except (ValueError, KeyError, TypeError):
        return "not a prediction"
    if label != question.label:
        return "another label"
    return "another score" if abs(score - question.score) > tolerance else None


def request_of(address: Address, body: bytes) -> bytes:
    """A whole request of ``/predict``."""
    head = (
        f"POST /predict HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def whole_answer(received: bytes) -> tuple[bytes, bytes] | None:
    """The status and the body of an answer; None if some of it is still to come."""
    end = received.find(_HEAD_END)
    if end < 0:
        return None
    head = received[:end].lower()
    start = head.index(_LENGTH) + len(_LENGTH)
    length = int(head[start:].partition(b"\r\n")[0])
    body = received[end + len(_HEAD_END) :]
    return (head[9:12], body) if len(body) >= length else None


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    question: int = 0
    begun: float = 0.0
    received: bytes = b""


class _Client:
    def __init__(self, address: Address, questions: Sequence[Question], tolerance: float) -> None:
        self._address, self._questions, self._tolerance = address, questions, tolerance
        self._requests = [request_of(address, question.body) for question in questions]
        self._ready = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._next = 0

    def run(self, load: Load) -> Asked:
        asked, begun = Asked(), time.perf_counter()
        start, end = begun + load.warm_up, begun + load.warm_up + load.seconds
        most = math.inf if load.requests is None else load.requests
        for _ in range(int(min(load.connections, most))):
            self._send(self._connect())
        now = begun
        # One answer counts at least, however late it is.
        while self._open and (now < end or not asked.latencies):
            for number, _ in self._poll():
                connection = self._open[number]
                problem = self._receive(connection)
                now = time.perf_counter()
                if problem is None:
                    continue
                if now >= start:
                    asked.latencies.append(now - connection.begun)
                if problem:
                    asked.problems[problem] += 1
                self._go_on(connection, more=self._next < most)
        asked.seconds = now - start
        return asked

    def close(self) -> None:
        for number in list(self._open):
            self._drop(number)
        self._ready.close()

    def _poll(self) -> list[tuple[int, int]]:
        ready = self._ready.poll(PATIENCE_SECONDS)
        if not ready:
            raise TimeoutError(f"nothing came for {PATIENCE_SECONDS:g} seconds")
        return ready

    def _connect(self) -> _Connection:
        connection = _Connection(socket.create_connection(self._address, PATIENCE_SECONDS))
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ready.register(connection.socket, select.EPOLLIN)
        self._open[connection.socket.fileno()] = connection
        return connection

    def _send(self, connection: _Connection) -> None:
        connection.question = self._next % len(self._questions)
        self._next += 1
        connection.received = b""
        connection.begun = time.perf_counter()
        connection.socket.sendall(self._requests[connection.question])

    def _receive(self, connection: _Connection) -> str | None:
        """What is wrong with the answer that has come, or nothing (""); None before its end."""
        try:
            part = connection.socket.recv(_READ_BYTES)
        except OSError:
            part = b""
        if not part:
            return "connection closed"
        connection.received += part
        answer = whole_answer(connection.received)
        if answer is None:
            return None
        return check(*answer, self._questions[connection.question], self._tolerance) or ""

    def _go_on(self, connection: _Connection, *, more: bool) -> None:
        """Asks the next question; behind a connection that was closed, on a new one."""
        closed = not connection.received or whole_answer(connection.received) is None
        if closed or not more:
            self._drop(connection.socket.fileno())
            connection = self._connect() if more else connection
        if more:
            self._send(connection)

    def _drop(self, number: int) -> None:
        connection = self._open.pop(number)
        self._ready.unregister(connection.socket)
        connection.socket.close()
