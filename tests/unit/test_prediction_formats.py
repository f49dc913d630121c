"""Predictions read back from every format as they were, also when written in several windows."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow.parquet
import pytest

from tests.bundles import MULTI, SINGLE
from textmill.errors import InputError
from textmill.labels import Labels
from textmill.prediction_formats import Record, Text, Wanted, output_format, record, rounded
from textmill.predictor import Prediction

EVERYTHING = Wanted(scores=True, text=True)
SCORES = {"bad": 0.25, "fair": 0.125, "good": 0.625}
ODD_TEXTS = [
    'with "quotes", a comma\tand a tab',
    "two\nlines\r\nor three",
    "ünïcödé 良い 😀",
    " = ",
]


def predictions(labels: Labels, texts: list[Text | None]) -> list[Record]:
    label = ["bad", "good"] if labels.multi_label else "good"
    return [
        record(None if text is None else Prediction(label, 0.625, SCORES), text, EVERYTHING)
        for text in texts
    ]


def write(output: Path, labels: Labels, windows: list[list[Record]], texts: int = 1) -> bytes:
    form = output_format(output, labels, texts, EVERYTHING)
    part = output.with_name("part")
    part.write_bytes(b"".join([form.head(), *map(form.window, windows)]))
    form.finish(part, output)
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    return output.read_bytes()


class TestRecords:
    def test_nothing_but_label_and_score(self) -> None:
        wanted = Wanted(scores=False, text=False)
        assert record(Prediction("good", 0.5, SCORES), "a text", wanted) == {
            "label": "good",
            "score": 0.5,
        }

    def test_everything_of_a_pair(self) -> None:
        assert record(Prediction("good", 0.625, SCORES), ("one", "two"), EVERYTHING) == {
            "label": "good",
            "score": 0.625,
            "scores": SCORES,
            "text": "one",
            "text_pair": "two",
        }

    def test_a_missing_text(self) -> None:
        assert record(None, None, EVERYTHING) == dict.fromkeys(("label", "score", "scores", "text"))

    @pytest.mark.parametrize(
        ("score", "shown"),
        [(0.12345678, "0.123457"), (0.99999999, "1.0"), (1.2345678e-9, "1.23457e-09")],
    )
    def test_scores_have_six_significant_digits(self, score: float, shown: str) -> None:
        assert json.dumps(rounded(score)) == shown


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz", ".TSV"])
def test_tables_of_text(tmp_path: Path, ending: str) -> None:
    records = predictions(SINGLE, [*ODD_TEXTS, None])
    content = write(tmp_path / f"out{ending}", SINGLE, [records[:2], records[2:]])
    text = (gzip.decompress(content) if ending.endswith("gz") else content).decode()
    delimiter = "\t" if "tsv" in ending.lower() else ","
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    assert header == ["label", "score", "score_bad", "score_fair", "score_good", "text"]
    assert rows == [
        *(["good", "0.625", "0.25", "0.125", "0.625", text] for text in ODD_TEXTS),
        [""] * 6,
    ]


def test_several_labels_in_a_cell_are_a_json_list(tmp_path: Path) -> None:
    content = write(tmp_path / "out.csv", MULTI, [predictions(MULTI, ["a text", None])])
    _, first, second = csv.reader(io.StringIO(content.decode()))
    assert json.loads(first[0]) == ["bad", "good"]
    assert second[0] == ""


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_json_lines(tmp_path: Path, ending: str) -> None:
    records = predictions(SINGLE, [*ODD_TEXTS, None])
    content = write(tmp_path / f"out{ending}", SINGLE, [records[:2], records[2:]])
    text = (gzip.decompress(content) if ending.endswith("gz") else content).decode()
    assert [json.loads(line) for line in text.splitlines()] == records
    assert "良い" in text


@pytest.mark.parametrize("labels", [SINGLE, MULTI])
def test_parquet(tmp_path: Path, labels: Labels) -> None:
    records = predictions(labels, [*ODD_TEXTS, None])
    write(tmp_path / "out.parquet", labels, [records[:2], records[2:], []])
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.column("text").to_pylist() == [*ODD_TEXTS, None]
    assert table.column("label").to_pylist() == [entry["label"] for entry in records]
    assert table.column("score_fair").to_pylist() == [0.125] * 4 + [None]
    assert pyarrow.parquet.ParquetFile(tmp_path / "out.parquet").num_row_groups >= 2


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl.gz"])
def test_the_same_windows_give_the_same_bytes(tmp_path: Path, ending: str) -> None:
    windows = [predictions(SINGLE, ["one"]), predictions(SINGLE, ["two", None])]
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    first = write(tmp_path / "first" / f"out{ending}", SINGLE, windows)
    assert first == write(tmp_path / "second" / f"out{ending}", SINGLE, windows)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_pairs_have_two_columns(tmp_path: Path, ending: str) -> None:
    output = tmp_path / f"out{ending}"
    write(output, SINGLE, [predictions(SINGLE, [("one", "two"), None])], texts=2)
    if ending == ".parquet":
        names = pyarrow.parquet.read_table(output).column_names
    else:
        names = output.read_text().splitlines()[0].split("," if ending == ".csv" else "\t")
    assert names[-2:] == ["text", "text_pair"]


@pytest.mark.parametrize("name", ["out", "out.xlsx", "out.parquet.gz", "csv"])
def test_an_ending_that_says_nothing(name: str) -> None:
    with pytest.raises(InputError, match=r"let it end in .csv, .tsv, .jsonl or .parquet"):
        output_format(Path(name), SINGLE, 1, EVERYTHING)


def test_a_parquet_file_that_cannot_be_finished_leaves_only_the_part(tmp_path: Path) -> None:
    form = output_format(tmp_path / "out.parquet", SINGLE, 1, EVERYTHING)
    part = tmp_path / "part"
    part.write_bytes(form.head() + form.window(predictions(SINGLE, ["one"]))[:-40])
    with pytest.raises(OSError, match="message body"):
        form.finish(part, tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["part"]
