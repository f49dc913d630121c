"""A service whose model, clients, keys or disk fail: what is still right is answered."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.bundles import make_bundle
from tests.servers import Server, serving
from tests.waiting import wait_until
from textmill.predictor import Predictor
from textmill.serving import connections

OLD, NEW = "the-old-key-of-some-length", "the-new-key-of-some-length"
HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def bundle(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tiny_encoder, tmp_path_factory.mktemp("bundle") / "model")


def fail_at_unlucky_texts() -> None:
    predict = Predictor.predict

    def failing(self: Predictor, texts: Any) -> Any:  # noqa: ANN401
        if "unlucky" in texts:
            raise RuntimeError("a secret of the model")
        return predict(self, texts)

    Predictor.predict = failing  # type: ignore[method-assign, assignment]


def test_an_error_in_scoring_strikes_one_request_and_is_logged(
    bundle: Path, tmp_path: Path
) -> None:
    found: dict[str, httpx.Response] = {}

    def ask(server: Server, text: str) -> None:
        found[text] = server.post("/predict", {"texts": [text]})

    with serving(tmp_path, bundle, also=fail_at_unlucky_texts) as server:
        texts = ["a film", "unlucky", *(f"film {number}" for number in range(10))]
        threads = [threading.Thread(target=ask, args=(server, text)) for text in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        failed = found.pop("unlucky")
        assert failed.status_code == 500
        assert "X-Request-ID" in failed.json()["detail"]
        assert "secret" not in failed.text
        (logged,) = server.events("error")
        assert logged["request_id"] == failed.headers["X-Request-ID"]
        assert "a secret of the model" in logged["traceback"]
        assert {answer.status_code for answer in found.values()} == {200}
        assert server.post("/predict", {"texts": ["a film"]}).status_code == 200


class TestConnections:
    def test_beyond_the_most_clients_come_again_and_probes_are_answered(
        self, bundle: Path, tmp_path: Path
    ) -> None:
        with serving(tmp_path, bundle, "--connections", 4) as server:
            kept = [httpx.Client(base_url=server.url) for _ in range(4)]
            assert {client.get("/info").status_code for client in kept} == {200}
            for _ in range(2):
                refused = server.post("/predict", {"texts": ["a film"]})
                assert refused.status_code == 503
                assert refused.headers["Retry-After"] == "1"
                assert refused.headers["Connection"] == "close"
                assert refused.json() == {"detail": "too many connections"}
                assert server.get("/healthz").status_code == 200
                assert server.get("/readyz").status_code == 200
            assert kept[0].post("/predict", json={"texts": ["a film"]}).status_code == 200
            kept[1].close()
            wait_until(lambda: server.post("/predict", {"texts": ["a"]}).status_code == 200)
            for client in kept:
                client.close()

    def test_far_beyond_the_most_none_is_kept_open(self, bundle: Path, tmp_path: Path) -> None:
        with serving(tmp_path, bundle, "--connections", 4, also=wait_long_for_heads) as server:
            opened = [socket.create_connection(server.address, timeout=30) for _ in range(200)]
            wait_until(lambda: sum(map(at_end, opened)) > 100)
            time.sleep(0.5)
            assert 200 - sum(map(at_end, opened)) == 4 + connections.SPARE
            for connection in opened:
                connection.close()
            wait_until(lambda: server.post("/predict", {"texts": ["a"]}).status_code == 200)

    @pytest.mark.parametrize(
        "begun",
        [
            b"",
            b"\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nX: ",
        ],
    )
    def test_a_byte_at_a_time_does_not_keep_one_open(
        self, bundle: Path, tmp_path: Path, begun: bytes
    ) -> None:
        with (
            serving(tmp_path, bundle, "--timeout", 1) as server,
            socket.create_connection(server.address, timeout=30) as connection,
        ):
            connection.sendall(begun)
            assert seconds_open(connection, b"G" * 400) < 20

    def test_a_line_end_after_an_answer_does_not_keep_one_open(
        self, bundle: Path, tmp_path: Path
    ) -> None:
        with (
            serving(tmp_path, bundle) as server,
            socket.create_connection(server.address, timeout=20) as connection,
        ):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            connection.sendall(b"\r\n")
            while connection.recv(1000):
                pass  # Ends when the service hangs up, and fails when that takes too long.

    def test_a_body_a_byte_at_a_time_is_given_up_in_time(
        self, bundle: Path, tmp_path: Path
    ) -> None:
        with (
            serving(tmp_path, bundle, "--timeout", 1) as server,
            socket.create_connection(server.address, timeout=30) as connection,
        ):
            connection.sendall(HEAD + b"Content-Length: 400\r\n\r\n")
            answer = threading.Thread(target=seconds_open, args=(connection.dup(), b" " * 400))
            answer.start()
            assert connection.recv(1000).startswith(b"HTTP/1.1 408")
            answer.join()


def wait_long_for_heads() -> None:
    connections.HEAD_SECONDS = 60.0


def at_end(connection: socket.socket) -> bool:
    """Whether the other side has closed a connection on which nothing was sent."""
    connection.setblocking(False)
    try:
        return connection.recv(1000) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def seconds_open(connection: socket.socket, data: bytes) -> float:
    """How long a connection is open on which a byte is sent every now and then."""
    began = time.monotonic()
    with connection:
        for byte in data:
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                break
            time.sleep(0.1)
    return time.monotonic() - began


def test_keys_change_with_their_file_and_a_broken_one_changes_nothing(
    bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{OLD}\n")

    def statuses(server: Server) -> Sequence[set[int]]:
        """Of each key, those from all workers."""
        asked = [{"Authorization": f"Bearer {key}"} for key in (OLD, NEW)]
        return [
            {server.get("/info", headers=headers).status_code for _ in range(4)}
            for headers in asked
        ]

    arguments = (bundle, "--api-keys", file, "--workers", 2)
    with serving(tmp_path, *arguments, ready=2) as server:
        assert statuses(server) == [{200}, {401}]
        for number, broken in enumerate(("", "short\n"), start=1):
            file.write_text(broken)
            server.send(signal.SIGHUP)
            server.wait_for("the keys before stay", number)
            assert statuses(server) == [{200}, {401}]
        file.write_text(f"{NEW}\n")
        server.send(signal.SIGHUP)
        server.wait_for("keys taken")
        wait_until(lambda: statuses(server) == [{401}, {200}])
        for pid in server.workers.values():
            os.kill(pid, signal.SIGKILL)
        server.wait_for("worker started", 4)
        assert statuses(server) == [{401}, {200}]
    log = server.log.read_text("utf-8")
    assert OLD not in log
    assert NEW not in log


def test_the_counts_of_a_killed_service_are_removed_and_those_of_a_living_one_are_not(
    bundle: Path, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    # No folder of ours; nothing is done to it.
    (temporary / "textmill-metrics-file").write_text("")

    def use_it() -> None:
        tempfile.tempdir = str(temporary)

    def folders() -> set[str]:
        return {path.name for path in temporary.iterdir() if path.is_dir()}

    places = [tmp_path / name for name in ("killed", "living", "last")]
    for place in places:
        place.mkdir()
    with serving(places[0], bundle, also=use_it) as killed:
        left_behind = folders()
        with serving(places[1], bundle, also=use_it) as living:
            assert left_behind < folders()
            killed.post("/predict", {"texts": ["a film"]})
            killed.send(signal.SIGKILL)
            killed.process.join(timeout=60)
            living.post("/predict", {"texts": ["a film"]})
            with serving(places[2], bundle, also=use_it) as last:
                wait_until(lambda: len(folders()) >= 2)
                assert 'route="/predict"' not in last.get("/metrics").text
                assert 'route="/predict",status="200"} 1.0' in living.get("/metrics").text
        with serving(places[1], bundle, also=use_it):
            assert len(folders()) == 1
    assert folders() == set()


def test_predictions_that_cannot_be_logged_are_answered_and_counted(
    bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "predictions"
    with serving(tmp_path, bundle, "--log-predictions", folder) as server:
        folder.rmdir()
        folder.write_text("a file in its place")
        assert server.post("/predict", {"texts": ["a film", "a plot"]}).status_code == 200
        server.wait_for("predictions not logged")
        assert "textmill_predictions_lost_total 2.0" in server.get("/metrics").text
        folder.unlink()
        assert server.post("/predict", {"texts": ["a film"]}).status_code == 200
        wait_until(lambda: list(folder.glob("*/*.arrows")))
        assert "textmill_predictions_lost_total 2.0" in server.get("/metrics").text
