"""The data sets from the package index, as they really are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_data_sets import packages, read
from textmill.assets import Asset
from textmill.data.rows import Row
from textmill.data.sources.files import FileFormat, FilesSource
from textmill.data.sources.package import PackageSource

COLA = Path(__file__).parents[3] / "shared" / "data" / "cola"

pytestmark = pytest.mark.real


def file_format(content: dict[str, Any]) -> FileFormat:
    keys = ("format", "encoding", "delimiter", "quoting", "header", "skip_after_header")
    return FileFormat(**{key: content[key] for key in keys if key in content})


def paths(content: dict[str, Any]) -> dict[str, Any]:
    return {split: content[split] for split in ("train", "validation", "test") if split in content}


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("movie_reviews", {"train": 10_605}),
        ("product_reviews", {"train": 3_708}),
        ("news_editorials", {"train": 5_190}),
        ("tweets", {"train": 4_200}),
        ("reuters_r8", {"train": 5_485, "test": 2_189}),
        ("reuters_r52", {"train": 6_532, "test": 2_568}),
        ("newsgroups", {"train": 11_293, "test": 7_528}),
    ],
)
def test_every_row_is_read(name: str, counts: dict[str, int]) -> None:
    content, asset = read(name), packages()[name]
    assert isinstance(asset, Asset)
    source = PackageSource(asset, paths(content), file_format=file_format(content))
    for split, count in counts.items():
        rows = list(source.rows(split))
        assert len(rows) == count
        assert all(isinstance(row, Row) for row in rows)
        assert {str(content["text"]), str(content["label"])} <= set(source.columns(split))


def test_accents_in_movie_reviews_are_accents() -> None:
    content = read("movie_reviews")
    source = PackageSource(
        packages()["movie_reviews"], paths(content), file_format=file_format(content)
    )
    texts = [str(row.values["2"]) for row in source.rows("train") if isinstance(row, Row)]
    assert any("clichés" in text for text in texts)
    assert not any("Ã" in text for text in texts)


@pytest.mark.skipif(not COLA.is_dir(), reason="the published files of CoLA are not here")
def test_cola_from_its_published_files() -> None:
    local = read("cola")["local"]
    source = FilesSource(paths(local), root=COLA, file_format=file_format(local))
    rows = {split: list(source.rows(split)) for split in source.splits()}
    assert {split: len(found) for split, found in rows.items()} == {
        "train": 8_551,
        "validation": 1_043,
    }
    labels = Counter(row.values["1"] for row in rows["train"] if isinstance(row, Row))
    assert set(labels) == set(local["label_values"])
    assert sum(labels.values()) == 8_551
