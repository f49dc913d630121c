"""The log of predictions: whole files, whatever happens, and never in the way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bundles import MULTI, make_bundle
from tests.waiting import wait_until
from textmill.serving import prediction_log
from textmill.serving.limits import Limits
from textmill.serving.prediction_log import (
    Answered,
    LogSettings,
    PredictionLog,
    finish_left_behind,
    remove_oldest,
)
from textmill.serving.served import Computing, Served, Text, open_served

NOW = datetime(2026, 11, 24, 12, 0, 0, 250, UTC)
TEXTS = ["a wonderful film", "", "schön 😀"]


@pytest.fixture(scope="module")
def served(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    return opened(make_bundle(tiny_encoder, tmp_path_factory.mktemp("single") / "bundle"))


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "_PAUSE_SECONDS", 0.01)


def opened(bundle: Path) -> Served:
    return open_served(str(bundle), Computing("cpu"), Limits())


def answered(served: Served, texts: list[Text]) -> Answered:
    predictions = served.predictor.predict(texts)  # type: ignore[arg-type]
    return Answered(NOW, 0.25, served, texts, predictions)


def logged(folder: Path, *requests: Answered, texts: bool = False, megabytes: int = 1) -> list[int]:
    """Logs requests and closes the log; returns how many predictions it lost."""
    lost: list[int] = []
    log = PredictionLog(LogSettings(folder, texts, megabytes), lost.append)
    for request in requests:
        log.add(request)
    log.close()
    return lost


def files(folder: Path, ending: str = ".parquet") -> list[Path]:
    return sorted(folder.glob(f"*/*{ending}"))


def test_every_prediction_is_in_a_file_with_what_monitoring_needs(
    served: Served, tmp_path: Path
) -> None:
    request = answered(served, [*TEXTS])
    assert logged(tmp_path, request) == []
    (path,) = files(tmp_path)
    rows = pq.read_table(path).to_pylist()
    for row, text, prediction in zip(rows, TEXTS, request.predictions, strict=True):
        assert row == {
            "time": NOW,
            "bundle": served.fingerprint,
            "prediction": prediction.label,
            "score": pytest.approx(prediction.score),
            **{f"probability/{name}": pytest.approx(p) for name, p in prediction.scores.items()},
            "characters": len(text),
            "seconds": 0.25,
        }
    assert files(tmp_path, ".arrows") == []


def test_texts_are_there_only_where_asked_for(
    tiny_encoder: Path, served: Served, tmp_path: Path
) -> None:
    assert logged(tmp_path / "one", answered(served, [*TEXTS]), texts=True) == []
    assert pq.read_table(files(tmp_path / "one")[0])["text"].to_pylist() == TEXTS
    bundle = make_bundle(
        tiny_encoder, tmp_path / "bundle", MULTI, text_columns=("question", "answer")
    )
    pairs = opened(bundle)
    logged(tmp_path / "two", answered(pairs, [("a film", "a story")]), texts=True)
    (row,) = pq.read_table(files(tmp_path / "two")[0]).to_pylist()
    assert (row["text"], row["text_pair"], row["characters"]) == ("a film", "a story", 13)
    assert isinstance(row["prediction"], list)


def test_each_bundle_has_files_of_its_own(
    tiny_encoder: Path, served: Served, tmp_path: Path
) -> None:
    other = opened(make_bundle(tiny_encoder, tmp_path / "bundle", MULTI))
    requests = [answered(one, ["a film"]) for one in (served, other, served)]
    assert logged(tmp_path / "log", *requests) == []
    found = [pq.read_table(path)["bundle"].unique().to_pylist() for path in files(tmp_path / "log")]
    assert sorted(found) == sorted([[served.fingerprint], [other.fingerprint]])


def test_a_file_ends_when_there_is_enough_of_it(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "MOST_ROWS", 3)
    log = PredictionLog(LogSettings(tmp_path, False, 1), lambda _: None)
    for number in range(1, 4):
        log.add(answered(served, [*TEXTS]))
        wait_until(partial(has_files, tmp_path, number))
    log.close()
    assert [pq.read_metadata(path).num_rows for path in files(tmp_path)] == [3, 3, 3]


def test_after_a_kill_what_was_written_is_whole_and_only_the_last_second_is_lost(
    served: Served, tmp_path: Path
) -> None:
    request = answered(served, [*TEXTS])

    def write_and_die() -> None:
        log = PredictionLog(LogSettings(tmp_path, False, 1), lambda _: None)
        for _ in range(3):
            log.add(request)
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=write_and_die)
    process.start()
    process.join()
    assert files(tmp_path) == []
    assert len(files(tmp_path, ".arrows")) == 1
    assert logged(tmp_path, request) == []
    assert sorted(pq.read_metadata(path).num_rows for path in files(tmp_path)) == [3, 9]
    assert files(tmp_path, ".arrows") == []


@pytest.mark.parametrize("cut", [1, 300])
def test_a_stream_that_broke_off_keeps_its_whole_batches(tmp_path: Path, cut: int) -> None:
    stream = tmp_path / "day" / "a.arrows"
    stream.parent.mkdir()
    batch = pa.record_batch({"score": pa.array([0.25] * 100)})
    with stream.open("wb") as file, pa.ipc.new_stream(file, batch.schema) as writer:
        for _ in range(3):
            writer.write_batch(batch)
    content = stream.read_bytes()
    stream.write_bytes(content[: len(content) - 8 - cut])
    finish_left_behind(tmp_path)
    assert pq.read_metadata(files(tmp_path)[0]).num_rows == 200
    (tmp_path / "day" / "b.arrows").write_bytes(b"")
    finish_left_behind(tmp_path)
    assert len(files(tmp_path)) == 1
    assert files(tmp_path, ".arrows") == []


def test_a_stream_that_another_writes_is_left_alone(served: Served, tmp_path: Path) -> None:
    log = PredictionLog(LogSettings(tmp_path, False, 1), lambda _: None)
    log.add(answered(served, ["a film"]))
    wait_until(lambda: bool(files(tmp_path, ".arrows")))
    finish_left_behind(tmp_path)
    assert len(files(tmp_path, ".arrows")) == 1
    log.close()
    assert len(files(tmp_path)) == 1


def test_the_oldest_files_make_room(tmp_path: Path) -> None:
    for day in ("2026-11-23", "2026-11-24"):
        for hour in ("10", "11"):
            path = tmp_path / day / f"{hour}.parquet"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b" " * 100)
    remove_oldest(tmp_path, 400)
    assert len(files(tmp_path)) == 4
    remove_oldest(tmp_path, 250)
    assert [str(path.relative_to(tmp_path)) for path in files(tmp_path)] == [
        "2026-11-24/10.parquet",
        "2026-11-24/11.parquet",
    ]


def test_what_waits_is_bounded_and_what_is_lost_is_told(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "MOST_WAITING", 4)
    monkeypatch.setattr(prediction_log, "_PAUSE_SECONDS", 60.0)
    request = answered(served, [*TEXTS])
    assert logged(tmp_path, request, request) == [3]
    assert pq.read_metadata(files(tmp_path)[0]).num_rows == 3


def test_a_disk_that_refuses_costs_the_log_and_nothing_else(served: Served, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where the folder was")
    assert logged(tmp_path / "log", answered(served, [*TEXTS])) == [3]


def has_files(folder: Path, count: int) -> bool:
    return len(files(folder)) == count
