"""The arithmetic of the benchmark of serving; no service is started here, and nothing is timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from array import array
from collections import Counter
from pathlib import Path

import pytest
from benchmarks.serving.__main__ import main
from benchmarks.serving.client import Asked, Load, check, request_of, whole_answer
from benchmarks.serving.contestants import KNOWN, SERIES, all_of, litserve_name
from benchmarks.serving.known_service import answers_of
from benchmarks.serving.load import MIB, Endured, moments, table_of
from benchmarks.serving.memory import memory_of
from benchmarks.serving.questions import Question, Questions, read_questions
from benchmarks.serving.results import (
    SERVING_PACKAGES,
    Latencies,
    Results,
    Served,
    percentile,
    read_results,
    write_results,
)
from benchmarks.serving.tables import tables_of

GOOD = Question("a fine cast", "positive", 0.9)
QUESTIONS = Questions([GOOD, Question("dull", "negative", 0.8)], 0.01, 3.5, "onnx")
LITSERVE, TEXTMILL = litserve_name("onnx"), "Textmill, onnx"


def answer(label: object, score: object) -> bytes:
    return json.dumps({"predictions": [{"label": label, "score": score}]}).encode()


def served(rate: float, milliseconds: float, problems: dict[str, int] | None = None) -> Served:
    seconds = milliseconds / 1000
    return Served(rate, Latencies(seconds, 2 * seconds, 3 * seconds), problems or {})


@pytest.fixture
def results() -> Results:
    """Two rounds, of which the second was slower for everybody."""
    machine = {"processor": "a processor", "cores": 2, "instructions": "AVX2"}
    packages = dict.fromkeys(SERVING_PACKAGES, "1.0")
    found = Results("2026-11-28", machine, packages, {"onnx": 2}, {"onnx": 3.5})
    found.alone["onnx"] = [Latencies(0.002, 0.003, 0.004), Latencies(0.004, 0.006, 0.008)]
    rates = {TEXTMILL: (600, 300), LITSERVE: (300, 200), SERIES: (50, 30)}
    for name, (first, second) in rates.items():
        turns = [served(first, 2.5), served(second, 4.75)]
        found.served[name] = {1: turns, 64: turns}
    return found


def rows_of(results: Results, title: str) -> dict[str, dict[str, str]]:
    (table,) = [table for table in tables_of(results) if table.title == title]
    return {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}


def test_a_percentile_is_a_number_that_was_measured() -> None:
    ordered = [float(number) for number in range(1, 101)]
    assert [percentile(ordered, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert [percentile([7.0], share) for share in (0.0, 0.5, 0.99)] == [7, 7, 7]
    assert Latencies.of([3.0, 1.0, 2.0]) == Latencies(2.0, 3.0, 3.0)


def test_the_rate_is_that_of_the_answers_that_count() -> None:
    asked = Asked(2.0, array("d", [0.1, 0.2, 0.3]), Counter({"another label": 1}))
    assert Served.of(asked) == Served(1.5, Latencies(0.2, 0.3, 0.3), {"another label": 1})


def test_ratios_are_of_the_same_round(results: Results) -> None:
    rows = rows_of(results, "64 connections")
    assert rows[TEXTMILL]["to LitServe"] == "1.75 (1.50 to 2.00)"
    assert rows[TEXTMILL]["to a call a request"] == "11.00 (10.00 to 12.00)"
    assert rows[LITSERVE]["to LitServe"] == "1.00"
    assert rows[SERIES]["requests/s"] == "40 (30 to 50)"
    assert rows[SERIES]["p99, ms"] == "10.9 (7.5 to 14.2)"


def test_a_form_is_compared_with_the_same_form_of_litserve(results: Results) -> None:
    for name, rate in (("Textmill, int8", 900), (litserve_name("int8"), 600)):
        results.served[name] = {64: [served(rate, 1.0)] * 2}
    for name in (TEXTMILL, LITSERVE, SERIES):
        del results.served[name][1]
    assert rows_of(results, "64 connections")["Textmill, int8"]["to LitServe"] == "1.50"


def test_no_classifier_is_compared_with_those_that_are(results: Results) -> None:
    results.served[KNOWN] = {64: [served(20_000, 0.1)] * 2}
    for name in (TEXTMILL, LITSERVE, SERIES):
        del results.served[name][1]
    row = rows_of(results, "64 connections")[KNOWN]
    assert row["requests/s"] == "20,000"
    assert row["to LitServe"] == row["to a call a request"] == ""


def test_a_lone_request_is_compared_with_the_call_of_the_same_round(results: Results) -> None:
    rows = rows_of(results, "A lone request")
    assert list(rows) == [TEXTMILL]
    assert rows[TEXTMILL]["difference, ms"] == "0.62 (0.50 to 0.75)"


def test_what_was_measured_is_read_back_as_it_was_and_shown(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path / "serving.json", results)
    assert read_results(tmp_path / "serving.json") == results
    assert main(["--table", str(tmp_path / "serving.json")]) == 0
    shown = capsys.readouterr().out
    assert all(f"### {title}" in shown for title in ("1 connection", "64 connections"))


def test_a_wrong_answer_fails_the_measurement(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results.served[TEXTMILL][64] = [served(1, 1.0), served(1, 1.0, {"another score": 2})]
    write_results(tmp_path / "serving.json", results)
    assert main(["--table", str(tmp_path / "serving.json")]) == 1
    assert f"{TEXTMILL}: 2 answers were not right" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (b"200", answer("positive", 0.905), None),
        (b"200", answer("positive", 0.88), "another score"),
        (b"200", answer("negative", 0.9), "another label"),
        (b"503", b"{}", "status 503"),
        (b"200", b'{"predictions": []}', "not a prediction"),
        (b"200", b"<html>", "not a prediction"),
    ],
)
def test_each_answer_is_checked_against_its_text(
    status: bytes, body: bytes, problem: str | None
) -> None:
    assert check(status, body, GOOD, 0.01) == problem


def test_an_answer_is_taken_when_all_of_it_has_come() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nServer: any\r\n\r\nbody"
    assert all(whole_answer(whole[:end]) is None for end in range(len(whole)))
    assert whole_answer(whole) == (b"200", b"body")


def test_known_answers_are_those_that_are_right() -> None:
    answers = answers_of(QUESTIONS)
    for question in QUESTIONS.asked:
        asked = request_of(("localhost", 80), question.body).partition(b"\r\n\r\n")[2]
        found = whole_answer(answers[asked])
        assert found is not None
        assert check(*found, question, 0.0) is None


def test_questions_are_read_back_as_they_were(tmp_path: Path) -> None:
    QUESTIONS.write(tmp_path / "questions.json")
    assert read_questions(tmp_path / "questions.json") == QUESTIONS


def test_texts_are_told_apart_by_label_or_score() -> None:
    asked = [*QUESTIONS.asked, Question("fine", "positive", 0.905)]
    assert QUESTIONS.told_apart() == 1
    assert Questions(asked, 0.01, 3.0, "onnx").told_apart() == pytest.approx(2 / 3)


def test_every_form_meets_litserve_and_all_meet_the_series(tmp_path: Path) -> None:
    names = [one.name for one in all_of(tmp_path, ("onnx", "int8"), tmp_path / "questions")]
    assert {TEXTMILL, "Textmill, int8", LITSERVE, litserve_name("int8"), SERIES} <= set(names)
    assert len(names) == len(set(names))


def test_growth_is_counted_from_where_memory_has_settled() -> None:
    memory = [100 * MIB, *[200 * MIB] * 18, 201 * MIB]
    assert list(moments(memory).values()) == [size * MIB for size in (100, 200, 200, 201, 201)]
    endured = Endured(Asked(2.0, array("d", [0.1] * 20)), memory)
    rows = dict(table_of(endured, QUESTIONS, Load(64)).rows)
    assert rows["growth behind the first 10%, MiB"] == "+1.0"
    assert rows["answers that were not right"] == "0"
    assert rows["seconds, requests/s"] == "2, 10"


def test_memory_is_that_of_the_children_too() -> None:
    alone = memory_of(os.getpid())
    holding = "data = bytearray(64 * 2**20); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert memory_of(os.getpid()) - alone > 60 * MIB
        child.communicate(b"\n")
