"""Two runs are compared in weights, metrics and predictions, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from textmill.errors import InputError
from textmill.reproduction import check_comparable, compare_reproduction
from textmill.runs import Run

METRICS = {"test/f1_macro": 0.5, "train/steps": 3, "train/seconds": 1.0}


def write_run(
    folder: Path,
    *,
    weight: float = 1.0,
    score: float = 0.75,
    prediction: str = "good",
    text: str = "a film",
    metrics: dict[str, float] | None = None,
) -> Run:
    run = Run(folder)
    for path in (run.bundle, run.predictions("test").parent):
        path.mkdir(parents=True)
    run.manifest.write_text(json.dumps({"weights": f"hash of {weight}"}))
    save_file({"layer": np.array([weight, 0.0])}, run.bundle / "model.safetensors")
    run.metrics.write_text(json.dumps({**METRICS, **(metrics or {})}))
    columns = {
        "text": [text, "a story"],
        "label": ["good", "bad"],
        "prediction": [prediction, "bad"],
        "probability/good": [score, 0.25],
        "probability/bad": [1 - score, 0.75],
    }
    pq.write_table(pa.table(columns), run.predictions("test"))
    return run


@pytest.fixture
def first(tmp_path: Path) -> Run:
    return write_run(tmp_path / "first")


def test_the_same_is_exact_whatever_time_and_memory_it_took(first: Run, tmp_path: Path) -> None:
    measured = {
        "train/seconds": 9.0,
        "baseline/linear/seconds": 1.0,
        "train/peak_memory_bytes": 5.0,
        "latency_ms": 2.0,
    }
    compared = compare_reproduction(first, write_run(tmp_path / "second", metrics=measured))
    assert (compared.exact, compared.close) == (True, True)
    assert (compared.metrics, dict(compared.changed_metrics)) == (2, {})


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 1 + 1e-9},
        {"score": 0.75 + 1e-9},
        {"metrics": {"test/f1_macro": 0.5 + 1e-9}},
    ],
)
def test_a_last_bit_is_told_apart(first: Run, tmp_path: Path, change: dict[str, float]) -> None:
    compared = compare_reproduction(first, write_run(tmp_path / "second", **change))  # type: ignore[arg-type]
    assert (compared.exact, compared.close) == (False, True)


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 1.1},
        {"score": 0.751},
        {"metrics": {"test/f1_macro": 0.501}},
        {"metrics": {"test/new": 0.5}},
        {"prediction": "bad"},
        {"text": "another film"},
    ],
)
def test_more_than_that_is_neither(first: Run, tmp_path: Path, change: dict[str, str]) -> None:
    compared = compare_reproduction(first, write_run(tmp_path / "second", **change))  # type: ignore[arg-type]
    assert (compared.exact, compared.close) == (False, False)


def test_differences_are_told_by_how_much(first: Run, tmp_path: Path) -> None:
    second = write_run(
        tmp_path / "second",
        weight=1.5,
        score=0.5,
        prediction="bad",
        metrics={"test/f1_macro": 0.25},
    )
    compared = compare_reproduction(first, second)
    assert compared.weight == 0.5
    assert dict(compared.changed_metrics) == {"test/f1_macro": (0.5, 0.25)}
    changes = compared.splits["test"]
    assert (changes.rows, changes.same_examples) == (2, True)
    assert (changes.predictions, changes.probability) == (1, 0.25)


def test_other_examples_are_not_compared_row_by_row(first: Run, tmp_path: Path) -> None:
    compared = compare_reproduction(first, write_run(tmp_path / "second", text="another film"))
    assert not compared.splits["test"].same_examples


def test_weights_that_are_gone_are_known_by_their_hash(first: Run, tmp_path: Path) -> None:
    same, other = write_run(tmp_path / "same"), write_run(tmp_path / "other", weight=1.1)
    (first.bundle / "model.safetensors").unlink()
    assert compare_reproduction(first, same).exact
    compared = compare_reproduction(first, other)
    assert (compared.exact, compared.close, compared.weight) == (False, False, None)


def test_an_older_runs_hash_is_the_bundles(first: Run, tmp_path: Path) -> None:
    first.manifest.write_text("{}")
    compared = compare_reproduction(first, write_run(tmp_path / "second"))
    assert (compared.weights[0], compared.exact, compared.close) == (None, False, True)
    info = {"fingerprints": {"weights": "hash of 1.0"}}
    (first.bundle / "textmill.json").write_text(json.dumps(info))
    assert compare_reproduction(first, write_run(tmp_path / "third")).exact


def test_a_run_without_results_has_nothing_to_compare(first: Run) -> None:
    check_comparable(first)
    first.predictions("test").unlink()
    with pytest.raises(InputError, match="was not judged"):
        check_comparable(first)


@pytest.mark.parametrize("name", ["metrics.json", "predictions/test.parquet"])
def test_a_file_that_is_cut_off_is_told(first: Run, tmp_path: Path, name: str) -> None:
    second = write_run(tmp_path / "second")
    (second.folder / name).write_bytes(b"{")
    with pytest.raises(InputError, match=f"can't be read, in .*{name}"):
        compare_reproduction(first, second)
