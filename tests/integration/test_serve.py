"""``textmill serve``: right answers, also to wrong questions, and through signals and deaths."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.bundles import GOLDEN, change_weights, make_all_kinds, swap_labels
from tests.forks import in_fork
from tests.load import CLIENTS, Load, client_ports
from tests.malformed import post
from tests.servers import Server, serving
from tests.waiting import wait_until
from textmill.predictor import Predictor
from textmill.serve import main

TEXTS = [
    "a wonderful film",
    "",
    "the plot is clever; the end is bad?",
    "wörds 良い 😀 \0",
    "I " * 90,
]
KEY = "a-key-of-some-length"
MOST_BODY = 100_000


@pytest.fixture(scope="module")
def bundles(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_all_kinds(tiny_encoder, tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def single(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with two workers that nothing harms."""
    arguments = (bundles / "single", "--workers", 2, "--max-texts", 50, "--max-characters", 1000)
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, *arguments, "--max-body", MOST_BODY, ready=2) as server:
        yield server


@pytest.fixture
def served(bundles: Path, tmp_path: Path) -> Path:
    """The path of a bundle that can be replaced."""
    link = tmp_path / "current"
    link.symlink_to(bundles / "single", target_is_directory=True)
    return link


def replace(link: Path, target: Path) -> None:
    """Puts another bundle at a path, in one step."""
    aside = link.with_name("aside")
    aside.symlink_to(target, target_is_directory=True)
    aside.replace(link)


def records(bundle: Path, texts: list[Any]) -> list[dict[str, Any]]:
    return [
        {"label": found.label, "score": pytest.approx(found.score, abs=1e-5)}
        for found in Predictor.from_bundle(bundle).predict(texts)
    ]


class TestAnswers:
    def test_every_text_has_its_prediction_in_order(self, single: Server, bundles: Path) -> None:
        texts = [*TEXTS, *(f"film {number}" for number in range(45))]
        found = single.post("/predict", {"texts": texts})
        assert found.status_code == 200
        assert found.json() == {"predictions": records(bundles / "single", texts)}
        assert single.post("/predict", {"texts": []}).json() == {"predictions": []}

    def test_top_k_tells_the_scores_of_the_most_probable_labels(
        self, single: Server, bundles: Path
    ) -> None:
        (expected,) = Predictor.from_bundle(bundles / "single").predict(TEXTS[:1])
        for count, most in ((2, 2), (3, 3), (99, 3)):
            found = single.post("/predict", {"texts": TEXTS[:1], "top_k": count}).json()
            scores = found["predictions"][0]["scores"]
            assert list(scores.values()) == sorted(scores.values(), reverse=True)
            assert len(scores) == most
            assert scores == pytest.approx({name: expected.scores[name] for name in scores}, 1e-5)

    def test_thresholds_several_labels_and_pairs(self, bundles: Path, tmp_path: Path) -> None:
        pairs = [[text, "a film"] for text in TEXTS]
        for name, texts in (("strict", TEXTS), ("multi", TEXTS), ("pairs", pairs)):
            with serving(tmp_path, bundles / name) as server:
                found = server.post("/predict", {"texts": texts}).json()
                given = [tuple(text) if isinstance(text, list) else text for text in texts]
                assert found == {"predictions": records(bundles / name, given)}
                example = server.get("/openapi.json").json()["paths"]["/predict"]["post"]
                body = example["requestBody"]["content"]["application/json"]["example"]
                assert server.post("/predict", body).status_code == 200
                assert server.post("/predict", {"texts": [["a", "b", "c"]]}).status_code == 422
                text = texts[0]
                found = server.post("/explain", {"text": text, "label": "good"}).json()
                assert found["label"] == "good"
                assert found["total"] + found["gap"] == pytest.approx(
                    found["log_odds"] - found["baseline_log_odds"]
                )

    def test_an_explanation_has_the_words_with_what_they_add(self, single: Server) -> None:
        found = single.post("/explain", {"text": "a wonderful film"}).json()
        assert [word["text"] for word in found["words"]] == ["a", "wonderful", "film"]
        assert sum(word["contribution"] for word in found["words"]) == pytest.approx(found["total"])
        assert (
            found["label"]
            == single.post("/predict", {"texts": ["a wonderful film"]}).json()["predictions"][0][
                "label"
            ]
        )

    def test_info_tells_what_is_served(self, single: Server, bundles: Path) -> None:
        found = single.get("/info").json()
        predictor = Predictor.from_bundle(bundles / "single")
        assert found["labels"] == ["bad", "fair", "good"]
        assert found["bundle"] == predictor.bundle.fingerprint()
        assert found["limits"]["texts"] == 50
        assert found["versions"]["textmill"]
        assert found["examples"][0]["text"] == GOLDEN[0]
        answer = single.post("/predict", {"texts": []})
        assert found["bundle"].startswith(answer.headers["x-textmill-bundle"])

    def test_it_is_healthy_ready_and_described(self, single: Server) -> None:
        assert single.get("/healthz").json() == single.get("/readyz").json() == {"status": "ok"}
        described = single.get("/openapi.json").json()
        assert {"/predict", "/explain", "/info", "/metrics", "/healthz"} <= described[
            "paths"
        ].keys()
        limit = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
        assert limit["schema"]["properties"]["texts"]["maxItems"] == 50
        assert "://" not in json.dumps(described)

    def test_the_client_s_name_for_a_request_comes_back(self, single: Server) -> None:
        assert (
            single.get("/healthz", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"]
            == "mine-1"
        )
        for bad in ("a b", "x" * 65, ""):
            found = single.get("/healthz", headers={"X-Request-ID": bad}).headers["x-request-id"]
            assert found != bad


BAD_BODIES: list[tuple[bytes, list[Any]]] = [
    (b"", ["body"]),
    (b"\xff\xfe", ["body"]),
    (b"null", ["body"]),
    (b"[1", ["body"]),
    (b"[" * 50_000, ["body"]),
    (b'{"texts":' + b'{"a":' * 10_000, ["body"]),
    (b'{"texts": ["\\ud800"]}', ["body"]),
    (b'{"texts": ["\xed\xa0\x80"]}', ["body"]),
    (b"{}", ["body", "texts"]),
    (b'{"texts": "secret"}', ["body", "texts"]),
    (b'{"texts": ["a", 1]}', ["body", "texts", 1]),
    (b'{"texts": ["a", null]}', ["body", "texts", 1]),
    (b'{"texts": [["a", "b"]]}', ["body", "texts", 0]),
    (b'{"texts": ["' + b"a" * 1001 + b'"]}', ["body", "texts", 0]),
    (b'{"texts": [' + b'"a",' * 50 + b'"a"]}', ["body", "texts"]),
    (b'{"texts": [], "top_k": 0}', ["body", "top_k"]),
    (b'{"texts": [], "top_k": true}', ["body", "top_k"]),
    (b'{"texts": [], "top_k": 1e400}', ["body", "top_k"]),
    (b'{"texts": [], "secret": 1}', ["body"]),
]


class TestWrongQuestions:
    @pytest.mark.parametrize(("body", "place"), BAD_BODIES)
    def test_a_bad_body_is_told_by_its_place_and_never_shown(
        self, single: Server, body: bytes, place: list[Any]
    ) -> None:
        found = single.post("/predict", body)
        assert found.status_code == 422
        assert found.json()["detail"][0]["loc"] == place
        assert "secret" not in found.text
        assert len(found.content) < 2000

    def test_only_so_many_problems_are_told(self, single: Server) -> None:
        found = single.post("/predict", {"texts": [1] * 50})
        assert len(found.json()["detail"]) == 10

    @pytest.mark.parametrize("size", [MOST_BODY + 1, 3_000_000])
    def test_a_body_that_is_too_large(self, single: Server, size: int) -> None:
        assert single.post("/predict", b" " * size).status_code == 413

    def test_what_is_not_json(self, single: Server) -> None:
        found = single.post("/predict", {"texts": []}, headers={"Content-Type": "text/plain"})
        assert found.status_code == 415

    @pytest.mark.parametrize(
        "body", [{"text": " "}, {"text": "a", "label": "none"}, {"text": ["a", "b"]}, {"text": 1}]
    )
    def test_what_cannot_be_explained(self, single: Server, body: object) -> None:
        assert single.post("/explain", body).status_code == 422

    def test_no_such_route_or_method(self, single: Server) -> None:
        assert single.get("/nothing").status_code == 404
        assert single.get("/predict").status_code == 405
        assert single.get("/docs").status_code == 404

    @pytest.mark.parametrize(
        "sent",
        [
            b"\x00\x01\x02\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
            post(b'{"texts": ["a film"]}').replace(b"Connection: close", b"X: y") * 2 + b"\x00",
        ],
    )
    def test_what_is_not_http(self, single: Server, sent: bytes) -> None:
        with socket.create_connection(single.address, timeout=30) as connection:
            connection.sendall(sent)
            assert connection.recv(1000).startswith(b"HTTP/1.1 4")

    def test_after_all_that_it_is_still_right(self, single: Server, bundles: Path) -> None:
        found = single.post("/predict", {"texts": TEXTS}).json()
        assert found == {"predictions": records(bundles / "single", TEXTS)}
        assert single.events("worker ended") == []
        assert single.events("error") == []


def test_metrics_are_those_of_all_workers(bundles: Path, tmp_path: Path) -> None:
    with serving(tmp_path, bundles / "multi", "--workers", 2, ready=2) as server:
        texts = TEXTS[:3]
        for _ in range(20):
            server.post("/predict", {"texts": texts})
        server.post("/predict", b"")
        predictor = Predictor.from_bundle(bundles / "multi")
        labels = [label for found in predictor.predict(texts) for label in found.label]
        for _ in range(4):  # either worker tells the same
            page = server.get("/metrics").text
            assert 'textmill_requests_total{route="/predict",status="200"} 20.0' in page
            assert 'textmill_requests_total{route="/predict",status="422"} 1.0' in page
            assert 'textmill_request_seconds_count{route="/predict"} 21.0' in page
            assert "textmill_batch_texts_sum 60.0" in page
            assert "textmill_queue_texts 0.0" in page
            assert 'textmill_bundles_total{outcome="taken"} 2.0' in page
            for label in set(labels):
                count = 20.0 * labels.count(label)
                assert f'textmill_predictions_total{{label="{label}"}} {count}' in page


def test_keys_are_asked_for_everywhere_but_by_probes(bundles: Path, tmp_path: Path) -> None:
    secret = {"TEXTMILL_API_KEYS": KEY}
    with serving(tmp_path, bundles / "single", environment=secret) as server:
        assert server.get("/healthz").status_code == server.get("/readyz").status_code == 200
        for path in ("/info", "/metrics", "/openapi.json"):
            assert server.get(path).status_code == 401
            with_key = server.get(path, headers={"Authorization": f"Bearer {KEY}"})
            assert with_key.status_code == 200
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
            found = server.post("/predict", b"not read", headers=wrong)
            assert found.status_code == 401
            assert found.headers["www-authenticate"] == "Bearer"
        good = server.post("/predict", {"texts": ["a"]}, headers={"Authorization": f"Bearer {KEY}"})
        assert good.status_code == 200
    assert KEY not in server.log.read_text("utf-8")


def test_texts_are_logged_only_where_asked_for(bundles: Path, tmp_path: Path) -> None:
    for number, flags in enumerate(([], ["--log-texts"], ["--no-request-log"])):
        folder = tmp_path / str(number)
        folder.mkdir()
        with serving(folder, bundles / "single", *flags) as server:
            server.post("/predict", {"texts": ["a secret"]})
        (told,) = server.events("request") or [{}]
        assert ("a secret" in server.log.read_text("utf-8")) == (flags == ["--log-texts"])
        assert told.get("texts") == (None if flags == ["--no-request-log"] else 1)


def test_predictions_are_logged_through_a_death_and_to_the_end(
    bundles: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "predictions"
    flags = ("--log-predictions", folder, "--log-texts", "--workers", 1)
    with serving(tmp_path, bundles / "single", *flags) as server:
        server.post("/predict", {"texts": ["before"]})
        wait_until(
            lambda: any(b"before" in path.read_bytes() for path in folder.glob("*/*.arrows"))
        )
        os.kill(server.workers[0], signal.SIGKILL)
        server.wait_for("worker ready", 2)
        server.post("/predict", {"texts": ["after"]})
        server.post("/predict", {"texts": []})
        assert server.end() == 0
    tables = [pq.read_table(path) for path in folder.glob("*/*")]
    assert sorted(text for table in tables for text in table["text"].to_pylist()) == [
        "after",
        "before",
    ]


class TestSlowAndLeaving:
    def test_a_body_that_does_not_come(self, bundles: Path, tmp_path: Path) -> None:
        head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        with (
            serving(tmp_path, bundles / "single", "--timeout", 1) as server,
            socket.create_connection(server.address, timeout=30) as connection,
        ):
            connection.sendall(head + b'Content-Length: 100\r\n\r\n{"te')
            assert connection.recv(1000).startswith(b"HTTP/1.1 408")
            assert server.post("/predict", {"texts": ["a"]}).status_code == 200

    def test_a_head_that_does_not_come_or_has_no_end(self, single: Server) -> None:
        with socket.create_connection(single.address, timeout=30) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b""
            while not answer.endswith(b'{"status":"ok"}'):
                answer += connection.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200")
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ")
            assert connection.recv(1000) == b""
        with socket.create_connection(single.address, timeout=30) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\n" + b"X: abcdefgh\r\n" * 5000)
            assert connection.recv(1000).startswith(b"HTTP/1.1 400")
        assert single.get("/healthz").status_code == 200

    def test_clients_that_leave(self, bundles: Path, tmp_path: Path) -> None:
        body = json.dumps({"texts": ["a film"] * 200}).encode()
        head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        with serving(tmp_path, bundles / "single", "--queue", 256) as server:
            for part in (whole, whole[:100], whole[:-1]) * 5:
                with socket.create_connection(server.address, timeout=30) as connection:
                    connection.sendall(part)
            # Each is given up as soon as it is seen to be gone; until then the queue may be full.
            wait_until(lambda: server.post("/predict", {"texts": ["a"] * 200}).status_code == 200)
            assert server.events("error") == []

    def test_more_than_the_queue_holds_is_told_to_come_again(
        self, bundles: Path, tmp_path: Path
    ) -> None:
        arguments = (bundles / "single", "--queue", 60, "--max-texts", 50, "--batch-size", 2)
        statuses: list[int] = []
        waits: list[str] = []

        def ask(server: Server) -> None:
            found = server.post("/predict", {"texts": ["I loved every minute of it"] * 50})
            statuses.append(found.status_code)
            waits.append(found.headers.get("retry-after", ""))

        with serving(tmp_path, *arguments) as server:
            together(8, lambda: ask(server))
            assert set(statuses) == {200, 503}
            assert all(
                (int(wait) >= 1) if status == 503 else wait == ""
                for status, wait in zip(statuses, waits, strict=True)
            )
            assert server.post("/predict", {"texts": ["a"]}).status_code == 200


def remove_tokenizer(bundle: Path) -> None:
    (bundle / "tokenizer.json").unlink()


def change_golden(bundle: Path) -> None:
    golden = bundle / "golden.jsonl"
    golden.write_text(golden.read_text().replace('"bad": 0.', '"bad": 0.1'))


SPOILT: dict[str, Callable[[Path], None]] = {
    "missing": remove_tokenizer,
    "ruined": change_weights,
    "wrong": change_golden,
    "swapped": swap_labels,
}


class TestSignals:
    def test_what_was_accepted_is_answered_before_the_end(
        self, bundles: Path, tmp_path: Path
    ) -> None:
        arguments = (bundles / "single", "--workers", 2)
        with (
            serving(tmp_path, *arguments, ready=2, linger=1.0) as server,
            under_load(server) as load,
        ):
            server.send(signal.SIGTERM)
            server.process.join(timeout=60)
        assert server.process.exitcode == 0
        answered = [answer for answer in load.answers if answer.status]
        assert {answer.status for answer in answered} == {200}
        taken = server.events("request")
        assert {event["status"] for event in taken} == {200}
        assert len(taken) == len(answered)
        # No worker has seen what was sent there: the kernel may take a connection just when the
        # last worker stops listening, and one on which nothing comes for a second is closed.
        assert len(load.answers) - len(answered) <= 2
        assert not any(alive(pid) for pid in server.workers.values())

    def test_a_worker_that_is_killed_is_replaced_and_counts_go_on(
        self, bundles: Path, tmp_path: Path
    ) -> None:
        with serving(tmp_path, bundles / "single", "--workers", 2, ready=2) as server:
            for _ in range(10):
                server.post("/predict", {"texts": ["a"]})
            killed = server.workers[1]
            os.kill(killed, signal.SIGKILL)
            server.wait_for("worker ended")
            for _ in range(10):
                assert server.post("/predict", {"texts": ["a"]}).status_code == 200
            server.wait_for("worker ready", 3)
            assert server.workers[1] != killed
            page = server.get("/metrics").text
            assert 'textmill_requests_total{route="/predict",status="200"} 20.0' in page

    def test_a_worker_that_is_killed_takes_only_its_own_connections_along(
        self, bundles: Path, tmp_path: Path
    ) -> None:
        arguments = (bundles / "single", "--workers", 2)
        with serving(tmp_path, *arguments, ready=2) as server:
            with under_load(server) as load:
                taken_along = client_ports(server.workers[1])
                assert taken_along
                os.kill(server.workers[1], signal.SIGKILL)
                server.wait_for("worker ready", 3)
                until_answered(load, CLIENTS)
            broken = [answer.port for answer in load.answers if answer.status != 200]
            assert sorted(broken) == sorted(set(broken) & taken_along)
            assert load.statuses <= {0, 200}
            assert server.post("/predict", {"texts": TEXTS}).status_code == 200

    def test_workers_end_with_their_supervisor(self, bundles: Path, tmp_path: Path) -> None:
        with serving(tmp_path, bundles / "single", "--workers", 2, ready=2) as server:
            pids = server.workers.values()
            server.send(signal.SIGKILL)
            wait_until(lambda: not any(alive(pid) for pid in pids))

    def test_a_new_bundle_is_taken_without_a_lost_request(
        self, served: Path, bundles: Path, tmp_path: Path
    ) -> None:
        expected = {
            Predictor.from_bundle(bundles / name).bundle.fingerprint()[:12]: dict(
                zip(TEXTS, records(bundles / name, TEXTS), strict=True)
            )
            for name in ("single", "multi")
        }
        with serving(tmp_path, served, "--workers", 2, ready=2) as server:
            with under_load(server) as load:
                for ready, name in ((4, "multi"), (6, "single"), (8, "multi")):
                    replace(served, bundles / name)
                    server.send(signal.SIGHUP)
                    server.wait_for("worker ready", ready)
                    until_answered(load, CLIENTS)
            assert load.statuses == {200}
            assert {answer.bundle for answer in load.answers} == expected.keys()
            for answer in load.answers:
                assert answer.prediction == expected[answer.bundle or ""][answer.text]
            assert server.get("/info").json()["multi_label"]

    def test_no_broken_bundle_is_taken_nor_costs_a_request(
        self, served: Path, bundles: Path, tmp_path: Path
    ) -> None:
        with serving(tmp_path, served, "--workers", 2, ready=2) as server:
            before = server.get("/info").json()["bundle"]
            with under_load(server) as load:
                for refused, (name, spoil) in enumerate(SPOILT.items(), start=1):
                    shutil.copytree(bundles / "single", tmp_path / name)
                    spoil(tmp_path / name)
                    replace(served, tmp_path / name)
                    server.send(signal.SIGHUP)
                    server.wait_for("the bundle before stays", refused)
                    until_answered(load, CLIENTS)
            assert load.statuses == {200}
            assert {answer.bundle for answer in load.answers} == {before[:12]}

    def test_a_bundle_that_does_not_prove_itself_is_rolled_back(
        self, served: Path, bundles: Path, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken"
        shutil.copytree(bundles / "single", broken)
        change_golden(broken)
        with serving(tmp_path, served, "--workers", 2, ready=2) as server:
            before = server.get("/info").json()["bundle"]
            for refused, target in enumerate((broken, bundles / "pairs", tmp_path), start=1):
                replace(served, target)
                server.send(signal.SIGHUP)
                server.wait_for("the bundle before stays", refused)
                assert server.get("/info").json()["bundle"] == before
            # One that dies comes back with the bundle that was accepted.
            os.kill(server.workers[0], signal.SIGKILL)
            server.wait_for("worker ready", 3)
            for _ in range(4):
                assert server.get("/info").json()["bundle"] == before


class TestStarting:
    def test_a_bundle_that_does_not_prove_itself_is_not_served(
        self, bundles: Path, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken"
        shutil.copytree(bundles / "single", broken)
        (broken / "golden.jsonl").unlink()
        assert in_fork(["serve", str(broken), "--port", "0", "--workers", "2"]) == 2

    def test_a_port_that_is_taken(self, single: Server) -> None:
        assert in_fork(["serve", "none", "--port", str(single.address[1])]) == 1

    @pytest.mark.parametrize(
        "flags",
        [
            ["--port", "99999"],
            ["--queue", "10", "--max-texts", "11"],
            ["--log-texts", "--no-request-log"],
            ["--host", "0.0.0.0"],  # noqa: S104
            ["--workers", "0"],
        ],
    )
    def test_wrong_arguments(self, flags: list[str]) -> None:
        assert in_fork(["serve", "none", *flags]) == 2

    def test_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["--help"])
        assert "--insecure" in capsys.readouterr().out


@contextmanager
def under_load(server: Server) -> Iterator[Load]:
    """A block in which many clients ask a service, every one of which has had an answer before."""
    with Load(server, TEXTS) as load:
        until_answered(load, 2 * CLIENTS)
        yield load


def until_answered(load: Load, more: int) -> None:
    """Waits for some further answers."""
    enough = len(load.answers) + more
    wait_until(lambda: len(load.answers) >= enough)


def together(count: int, act: Callable[[], None]) -> None:
    """Does something several times at once."""
    threads = [threading.Thread(target=act) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"
