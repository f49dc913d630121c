"""A run leaves its likely label errors, and a person's corrections of them reach the next run."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from textmill.cli import main

WORDS = {"good": ("great", "lovely", "clever"), "bad": ("awful", "dull", "silly")}


def write_reviews(path: Path) -> dict[str, str]:
    """Reviews of which some have the wrong label; returns the right labels of these, by place."""
    generator = random.Random(3)
    planted = {}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "source"])
        for number in range(400):
            true, other = ("good", "bad") if number % 2 else ("bad", "good")
            text = f"{' '.join(generator.choices(WORDS[true], k=4))} film {number}"
            wrong = generator.random() < 0.05
            if wrong:
                planted[f"{path.name}:{number + 2}"] = true
            writer.writerow([text, other if wrong else true, ("press", "public")[number % 2]])
    return planted


def train(data: Path, encoder: Path, runs: Path, *overrides: str) -> Path:
    arguments = [
        "train",
        "data=files",
        f"data.train={data}",
        "data.max_length=16",
        "data.slices=[source]",
        "data.split.test=0.2",
        "model=folder",
        f"model.path={encoder}",
        f"runs_dir={runs}",
        "trainer.batch_size=4",
        "trainer.max_epochs=2",
        "optimizer.lr=0.01",
        "baselines.enabled=false",
        "tracking=none",
        "tracking.report=false",
        *overrides,
    ]
    assert main(arguments) == 0
    return (runs / "latest").resolve()


def manifest_of(run: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return record


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "reviews.csv"


def test_planted_errors_are_found_corrected_and_fed_back(
    data: Path, tiny_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = write_reviews(data)
    run = train(data, tiny_encoder, tmp_path / "runs")
    suspects = pq.read_table(run / "tables" / "suspects.parquet").to_pylist()
    found = [row["place"] in planted for row in suspects]
    assert sum(found[:10]) >= 8
    assert {row["split"] for row in suspects} == {"train", "validation", "test"}

    with (run / "suspects.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["place"] for row in rows] == [row["place"] for row in suspects]
    corrected = {row["place"] for row in rows if row["place"] in planted}
    for row in rows:
        row["corrected"] = planted.get(row["place"], "")
    answers = tmp_path / "answers.csv"
    with answers.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

    again = train(data, tiny_encoder, tmp_path / "runs", f"data.corrections={answers}")
    told = f"corrections: {len(corrected)} labels changed, 0 rows left out"
    assert told in capsys.readouterr().err
    first, second = manifest_of(run)["data"], manifest_of(again)["data"]
    assert first["corrections"] == {}
    assert second["corrections"] == {"relabelled": len(corrected), "left_out": 0}
    assert second["counts"] == first["counts"]
    before, after = (
        pq.read_table(one / "predictions" / "test.parquet").to_pylist() for one in (run, again)
    )
    assert [row["place"] for row in after] == [row["place"] for row in before]
    for old, new in zip(before, after, strict=True):
        expected = planted[old["place"]] if old["place"] in corrected else old["label"]
        assert new["label"] == expected


def test_a_run_has_its_tables(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    write_reviews(data)
    run = train(data, tiny_encoder, tmp_path / "runs", "trainer.max_steps=4")
    predictions = pq.read_table(run / "predictions" / "test.parquet")
    assert {"tokens", "cut", "slice/source"} <= set(predictions.column_names)
    tables = {path.stem: pq.read_table(path) for path in (run / "tables").glob("*.parquet")}
    samples = {f"samples-{split}" for split in ("train", "validation", "test")}
    judged = {f"{kind}-{s}" for kind in ("slices", "instructive") for s in ("validation", "test")}
    assert set(tables) == {*samples, *judged, "followed", "suspects"}
    assert {"length", "label", "source"} <= set(tables["slices-test"]["slice"].to_pylist())
    # Only the 16 examples of the four steps had been met.
    assert tables["suspects"]["split"].to_pylist().count("train") <= 16
