"""Packaged assets from an index over HTTP on this machine, asked for by whole processes."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

WHEEL = "demo-1.0-py3-none-any.whl"
SCRIPT = """
import sys
from textmill.assets import Asset, fetch_asset
from textmill.errors import TextmillError
try:
    print(fetch_asset(Asset("demo", "1.0", sys.argv[1], "wheel", ("demo/*.csv",))))
except TextmillError as error:
    sys.exit(str(error))
"""


def make_wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("demo/train.csv", "text,label\na,x\n" * 10_000)
    return buffer.getvalue()


class Index(http.server.ThreadingHTTPServer):
    """A package index with one wheel, which can break its transfers off."""

    def __init__(self) -> None:
        self.wheel = make_wheel()
        self.announced = hashlib.sha256(self.wheel).hexdigest()
        self.requests: list[str] = []
        self.transfers_to_break = 0
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/simple"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if self.path == "/simple/demo/":
            link = f'<a href="../../files/{WHEEL}#sha256={self.server.announced}">{WHEEL}</a>'
            self.answer("text/html", link.encode())
        elif self.path == f"/files/{WHEEL}":
            self.answer("application/octet-stream", self.server.wheel)
        else:
            self.send_error(404)

    def answer(self, kind: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if kind != "text/html" and self.server.transfers_to_break > 0:
            self.server.transfers_to_break -= 1
            content = content[: len(content) // 2]
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def start(index_url: str, cache: Path, sha256: str) -> subprocess.Popen[str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PIP_") and not name.lower().endswith("_proxy")
    }
    environment |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index_url,
        "PIP_RETRIES": "2",
        "TEXTMILL_CACHE": str(cache),
    }
    command = [sys.executable, "-c", SCRIPT, sha256]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def fetch(index_url: str, cache: Path, sha256: str) -> tuple[int, str, str]:
    process = start(index_url, cache, sha256)
    out, err = process.communicate(timeout=60)
    return process.returncode, out.strip(), err.strip()


def test_two_processes_fetch_once(index: Index, tmp_path: Path) -> None:
    processes = [start(index.url, tmp_path, index.announced) for _ in range(2)]
    outcomes = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outcomes
    assert len({out for out, _ in outcomes}) == 1
    assert index.requests.count(f"/files/{WHEEL}") == 1
    assert (Path(outcomes[0][0].strip()) / "demo/train.csv").stat().st_size == 150_000


def test_a_warm_cache_needs_no_index(index: Index, tmp_path: Path) -> None:
    assert fetch(index.url, tmp_path, index.announced)[0] == 0
    asked = len(index.requests)
    assert fetch(index.url, tmp_path, index.announced)[0] == 0
    assert len(index.requests) == asked


def test_a_broken_transfer_is_tried_again(index: Index, tmp_path: Path) -> None:
    index.transfers_to_break = 1
    assert fetch(index.url, tmp_path, index.announced)[0] == 0
    assert index.requests.count(f"/files/{WHEEL}") == 2


def test_transfers_that_break_again_and_again_end_in_one_line(index: Index, tmp_path: Path) -> None:
    index.transfers_to_break = 99
    status, _, message = fetch(index.url, tmp_path, index.announced)
    assert status == 1
    assert message.startswith("can't fetch the wheel of demo==1.0")
    assert "\n" not in message
    assert index.requests.count(f"/files/{WHEEL}") == 3
    assert not list((tmp_path / "assets").glob("demo*"))


def test_a_file_that_is_not_the_pinned_one(index: Index, tmp_path: Path) -> None:
    status, _, message = fetch(index.url, tmp_path, "0" * 64)
    assert status == 1
    assert "not the pinned" in message
    assert f"/files/{WHEEL}" not in index.requests  # its announced hash is enough to refuse it


def test_a_file_that_is_not_the_announced_one(index: Index, tmp_path: Path) -> None:
    index.wheel = index.wheel[:-1] + b"!"
    status, _, message = fetch(index.url, tmp_path, index.announced)
    assert status == 1
    assert "not the pinned" in message
    assert not list((tmp_path / "assets").glob("demo*"))


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/simple", "http://index.invalid/simple"])
def test_no_network_and_a_cold_cache(tmp_path: Path, place: str) -> None:
    status, _, message = fetch(place, tmp_path, "0" * 64)
    assert status == 1
    assert message.startswith("can't fetch the wheel of demo==1.0")
    assert "TEXTMILL_CACHE" in message
    assert "\n" not in message


def test_an_index_without_the_package(index: Index, tmp_path: Path) -> None:
    status, _, message = fetch(f"{index.url}/empty", tmp_path, index.announced)
    assert status == 1
    assert "can't fetch" in message
    assert "404" in message


def test_a_place_out_of_reach_explains_more_than_one_without_the_package(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.conf").write_text(f"[global]\nextra-index-url = {index.url}/empty\n")
    monkeypatch.setattr(os, "devnull", str(tmp_path / "pip.conf"))
    status, _, message = fetch("http://127.0.0.1:9/simple", tmp_path, index.announced)
    assert status == 1
    assert "404" not in message
