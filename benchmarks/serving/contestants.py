"""Who is asked: each a service of its own, in processes that end with its turn."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.client import Address, request_of, whole_answer
from benchmarks.serving.questions import read_questions

ROOT = Path(__file__).parents[2]
SERIES = "FastAPI, a call a request"
KNOWN = "answers known beforehand"

_START_SECONDS = 120.0
_END_SECONDS = 10.0
_TICK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Contestant:
    """A service.

    Args:
        name: What it is called in tables.
        form: Of the classifier, as Textmill names it.
        command: Arguments of Python that start it; ``{port}`` stands for its port.
    """

    name: str
    form: str
    command: tuple[str, ...]


def textmill(bundle: Path, form: str, *, logged: bool) -> Contestant:
    """``textmill serve`` as it is; or without its log of requests."""
    command = ("-m", "textmill", "serve", str(bundle), "--form", form, "--port", "{port}")
    if logged:
        return Contestant(f"Textmill, {form}", form, command)
    return Contestant(f"Textmill, {form}, no log", form, (*command, "--no-request-log"))


def litserve(bundle: Path, form: str) -> Contestant:
    """LitServe with the same graph."""
    command = ("-m", "benchmarks.serving.litserve_service", str(bundle), form, "{port}")
    return Contestant(litserve_name(form), form, command)


def litserve_name(form: str) -> str:
    """What LitServe with a form is called."""
    return f"LitServe, {form}"


def series(bundle: Path) -> Contestant:
    """The series' design with the float32 graph."""
    command = ("-m", "benchmarks.serving.series_service", str(bundle), "{port}")
    return Contestant(SERIES, "onnx", command)


def known(questions: Path, form: str) -> Contestant:
    """No classifier at all, which shows how fast the client is."""
    command = ("-m", "benchmarks.serving.known_service", str(questions), "{port}")
    return Contestant(KNOWN, form, command)


def all_of(bundle: Path, forms: tuple[str, ...], questions: Path) -> list[Contestant]:
    """Everybody.

    Args:
        bundle: The bundle.
        forms: The forms of it that take part.
        questions: Those of the first form.
    """
    own = [
        one
        for form in forms
        for one in (
            textmill(bundle, form, logged=True),
            textmill(bundle, form, logged=False),
            litserve(bundle, form),
        )
    ]
    return [*own, series(bundle), known(questions, forms[0])]


@dataclass(frozen=True, slots=True)
class Running:
    """A service that runs.

    Args:
        address: Where it listens.
        process: The number of its first process.
    """

    address: Address
    process: int


@contextlib.contextmanager
def running(contestant: Contestant, questions: Path, log: Path) -> Iterator[Running]:
    """Starts a service and waits until it answers; at the end, none of its processes is left.

    Args:
        contestant: The service.
        questions: What it will be asked.
        log: The file that its log goes to.

    Raises:
        RuntimeError: It ended, or took too long.
    """
    address = ("127.0.0.1", _free_port())
    request = request_of(address, read_questions(questions).asked[0].body)
    arguments = [part.replace("{port}", str(address[1])) for part in contestant.command]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        try:
            _wait(process, address, request, log)
            yield Running(address, process.pid)
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], address: Address, request: bytes, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while not _answers(address, request):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"no service: {log.read_text('utf-8')[-2000:]}")
        time.sleep(_TICK_SECONDS)


def _answers(address: Address, request: bytes) -> bool:
    """Whether a service answers with a prediction; some listen long before they do."""
    received = b""
    try:
        with socket.create_connection(address, _START_SECONDS) as connection:
            connection.sendall(request)
            while whole_answer(received) is None and (part := connection.recv(4096)):
                received += part
    except OSError:
        return False
    answer = whole_answer(received)
    return answer is not None and answer[0] == b"200"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks it to end, and then kills what is left of it, which some leave behind."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
