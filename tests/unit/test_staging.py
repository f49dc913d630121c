from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from textmill.data.checks import Findings, Policies
from textmill.data.columns import FoundColumns
from textmill.data.label_rules import LabelReader, LabelRule
from textmill.data.rows import Row
from textmill.data.staging import StagedSplit, stage_split, write_split
from textmill.labels import Labels

MANY = 10_000  # more than two batches


def stage(
    folder: Path,
    rows: list[dict[str, object]],
    columns: FoundColumns | None = None,
    findings: Findings | None = None,
) -> StagedSplit:
    return stage_split(
        (Row(f"file:{number}", row) for number, row in enumerate(rows)),
        "train",
        columns or FoundColumns(("text",), "label", None, {}),
        LabelReader(LabelRule(names=("0", "1"))),
        findings or Findings(Policies()),
        folder / "train.staged",
    )


def numbered(count: int) -> list[dict[str, object]]:
    return [{"text": f"text {number}", "label": number % 2} for number in range(count)]


def written(folder: Path, staged: StagedSplit, wanted: Any) -> tuple[Dataset, str]:  # noqa: ANN401
    file = folder / "train.arrow"
    codes = [(0,), (1,)]  # codes are given in the order of meeting
    fingerprint = write_split(staged, wanted, codes, Labels(("0", "1")), file)
    return Dataset.from_file(str(file)), fingerprint


def test_an_example_is_found_in_any_batch(tmp_path: Path) -> None:
    staged = stage(tmp_path, numbered(MANY))
    for row in (0, 4_095, 4_096, MANY - 1):
        assert staged.example(row) == (f"file:{row}", f"text {row}")


def test_the_chosen_rows_are_written_in_order_with_their_labels(tmp_path: Path) -> None:
    staged = stage(tmp_path, numbered(MANY))
    wanted = staged.kept.copy()
    wanted[::3] = False
    rows, _ = written(tmp_path, staged, wanted)
    chosen = [number for number in range(MANY) if number % 3]
    assert list(rows["text"]) == [f"text {number}" for number in chosen]
    assert list(rows["label"]) == [number % 2 for number in chosen]
    assert list(rows["place"]) == [f"file:{number}" for number in chosen]


def test_a_fingerprint_does_not_depend_on_where_batches_end(tmp_path: Path) -> None:
    long = stage(tmp_path, [{"text": "left out", "label": 0}, *numbered(MANY)])
    wanted = long.kept.copy()
    wanted[0] = False
    shifted = written(tmp_path, long, wanted)[1]
    plain = stage(tmp_path, numbered(MANY))
    assert written(tmp_path, plain, plain.kept)[1] == shifted


def test_texts_that_run_into_each_other_have_different_fingerprints(tmp_path: Path) -> None:
    fingerprints = set()
    for first, second in (("ab", "c"), ("a", "bc"), ("abc", "")):
        rows: list[dict[str, object]] = [
            {"text": first, "label": 0},
            {"text": second, "label": 1},
        ]
        staged = stage(tmp_path, rows, findings=Findings(Policies(empty_text="keep")))
        fingerprints.add(written(tmp_path, staged, staged.kept)[1])
    assert len(fingerprints) == 3


def test_rows_left_out_leave_no_gap(tmp_path: Path) -> None:
    rows = numbered(10)
    rows[3]["text"] = " "
    staged = stage(tmp_path, rows)
    assert len(staged.texts) == len(staged.codes) == len(staged.kept) == 9
    assert staged.example(3) == ("file:4", "text 4")


@pytest.mark.parametrize(
    ("raw", "text"),
    [(None, None), ("plain", "plain"), (3, "3"), (True, "true"), (["é", 1], '["\\u00e9", 1]')],
)
def test_what_is_sliced_by_becomes_text(tmp_path: Path, raw: object, text: str | None) -> None:
    columns = FoundColumns(("text",), "label", None, {"slice/more": "more"})
    rows = [row | {"more": raw} for row in numbered(2)]
    staged = stage(tmp_path, rows, columns)
    assert written(tmp_path, staged, staged.kept)[0]["slice/more"][0] == text


@pytest.mark.parametrize("raw", [None, math.nan])
def test_a_missing_value_is_a_missing_text_and_not_an_empty_one(
    tmp_path: Path, raw: object
) -> None:
    findings = Findings(Policies())
    stage(tmp_path, [{"text": raw, "label": 0}], findings=findings)
    assert [problem.kind for problem in findings.problems()] == ["missing_text"]


def test_a_row_with_two_problems_tells_both_where_the_first_is_an_error(tmp_path: Path) -> None:
    findings = Findings(Policies(empty_text="error"))
    stage(tmp_path, [{"text": "", "label": None}], findings=findings)
    assert [problem.kind for problem in findings.problems()] == ["empty_text", "missing_label"]


def test_a_row_without_the_key_lacks_the_value(tmp_path: Path) -> None:
    findings = Findings(Policies())
    stage(tmp_path, [{"label": 0}, {"text": "x"}], findings=findings)
    assert [problem.kind for problem in findings.problems()] == ["missing_text", "missing_label"]


def test_no_rows_at_all_are_staged_too(tmp_path: Path) -> None:
    staged = stage(tmp_path, [])
    assert len(staged.texts) == len(staged.codes) == len(staged.kept) == 0
