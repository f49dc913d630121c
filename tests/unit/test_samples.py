"""Samples are what the model sees, the same every time; instructive examples earn their place."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from tests.bundles import tiny_tokenizer
from tests.tiny import SENTENCES
from textmill.encoding import LengthPolicy
from textmill.judge import judged_from, targets_of
from textmill.labels import Labels
from textmill.tracking.samples import followed_table, instructive_table, sample_table

LABELS = Labels(("bad", "good", "odd"))
TAGS = Labels(LABELS.names, multi_label=True)


def split(size: int, labels: Labels = LABELS, *, pairs: bool = False) -> Dataset:
    ids: list[Any] = [row % 3 for row in range(size)]
    if labels.multi_label:
        ids = [[label for label in range(3) if row >> label & 1] for row in range(size)]
    columns: dict[str, Any] = {"text": [f"{SENTENCES[row % 6]} {row}" for row in range(size)]}
    if pairs:
        columns["text_pair"] = ["a film"] * size
    return Dataset.from_dict(
        {**columns, "label": ids, "place": [f"f.csv:{row}" for row in range(size)]}
    )


def judged(size: int, labels: Labels = LABELS, seed: int = 0) -> pa.Table:
    examples = split(size, labels)
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet([0.5, 0.5, 0.5], size).astype(np.float32)
    return judged_from(examples, targets_of(examples, labels), probabilities, labels).predictions


class TestSamples:
    @pytest.mark.parametrize("pairs", [False, True])
    def test_a_sample_shows_what_the_model_is_given(self, tiny_encoder: Path, pairs: bool) -> None:
        tokenizer, examples = tiny_tokenizer(tiny_encoder), split(40, pairs=pairs)
        table = sample_table(examples, tokenizer, LengthPolicy(9), LABELS, size=10, seed=1)
        assert table.column_names == [*(["text", "text_pair"] if pairs else ["text"]), *LAST]
        known = {row["text"]: row for row in examples}
        for row in table.to_pylist():
            texts = [row["text"], *([row["text_pair"]] if pairs else [])]
            whole = tokenizer(*texts, truncation=True, max_length=9)["input_ids"]
            assert row["tokens"] == tokenizer.convert_ids_to_tokens(whole)
            assert row["cut"] == (len(tokenizer(*texts)["input_ids"]) > 9)
            assert row["label"] == LABELS.names[known[row["text"]]["label"]]
        assert len(table) == 10

    def test_the_seed_alone_decides_about_the_rows(self, tiny_encoder: Path) -> None:
        tokenizer = tiny_tokenizer(tiny_encoder)
        first, again, other = (
            sample_table(split(200), tokenizer, LengthPolicy(9), LABELS, size=20, seed=seed)
            for seed in (1, 1, 2)
        )
        assert first.equals(again)
        assert first["text"].to_pylist() != other["text"].to_pylist()
        places = [int(text.split()[-1]) for text in first["text"].to_pylist()]
        assert places == sorted(set(places))

    def test_a_small_split_is_shown_whole(self, tiny_encoder: Path) -> None:
        tokenizer = tiny_tokenizer(tiny_encoder)
        table = sample_table(split(8, TAGS), tokenizer, LengthPolicy(9), TAGS, size=100, seed=1)
        assert table["text"].to_pylist() == split(8)["text"][:]
        assert table["label"].to_pylist()[:4] == [[], ["bad"], ["good"], ["bad", "good"]]


LAST = ["label", "tokens", "cut"]


class TestInstructive:
    @pytest.mark.parametrize("labels", [LABELS, TAGS], ids=["one label", "several labels"])
    def test_each_row_is_there_once_and_for_a_reason_that_holds(self, labels: Labels) -> None:
        predictions = judged(200, labels)
        rows = instructive_table(predictions, labels, size=40).to_pylist()
        assert len({row["place"] for row in rows}) == len(rows) == 40
        kinds = [row["why"] for row in rows]
        assert kinds == sorted(kinds, key=["highest loss", *KINDS].index)
        by_kind = {kind: [row for row in rows if row["why"] == kind] for kind in set(kinds)}
        assert [len(by_kind[kind]) for kind in KINDS] == [10, 10, 10]
        losses = sorted(predictions["loss"].to_pylist(), reverse=True)[:10]
        assert [row["loss"] for row in by_kind["highest loss"]] == losses
        assert not any(row["correct"] for row in by_kind["confident mistake"])
        assert all(row["correct"] for row in by_kind["right"])
        assert min(predictions["confidence"].to_pylist()) in [
            row["confidence"] for row in [*by_kind["least certain"], *by_kind["highest loss"]]
        ]

    def test_every_label_has_right_predictions(self) -> None:
        rows = instructive_table(judged(200), LABELS, size=40).to_pylist()
        right = [row["label"] for row in rows if row["why"] == "right"]
        assert sorted(map(right.count, LABELS.names)) == [3, 3, 4]

    @pytest.mark.parametrize("size", [1, 2, 7])
    def test_the_size_bounds_the_rows(self, size: int) -> None:
        assert len(instructive_table(judged(200), LABELS, size=size)) == size

    def test_what_one_kind_leaves_goes_to_the_next(self) -> None:
        predictions = judged(60)
        right = predictions.filter(predictions["correct"])
        rows = instructive_table(right, LABELS, size=12).to_pylist()
        assert [row["why"] for row in rows].count("confident mistake") == 0
        assert len(rows) == 12

    def test_fewer_examples_than_rows_are_all_there(self) -> None:
        assert len(instructive_table(judged(5), LABELS, size=40)) == 5


KINDS = ["confident mistake", "least certain", "right"]


def test_the_same_examples_are_followed_over_the_validations() -> None:
    validations = {step: judged(50, seed=step) for step in (20, 10, 30)}
    table = followed_table(validations, LABELS, size=6)
    rows = table.to_pylist()
    chosen = instructive_table(validations[30], LABELS, size=6)["place"].to_pylist()
    assert [row["place"] for row in rows] == [place for place in chosen for _ in range(3)]
    assert [row["step"] for row in rows] == [10, 20, 30] * 6
    for row in rows:
        (told,) = [
            one for one in validations[row["step"]].to_pylist() if one["place"] == row["place"]
        ]
        assert {name: row[name] for name in told} == told
    assert table.equals(followed_table(validations, LABELS, size=6))


def test_one_validation_is_in_memory_at_a_time() -> None:
    class Course(dict[int, int]):
        last = staticmethod(lambda: None)

        def __getitem__(self, step: int) -> pa.Table:
            gc.collect()
            assert self.last() is None
            table = judged(50, seed=step)
            self.last = weakref.ref(table)  # type: ignore[assignment]
            return table

    table = followed_table(Course.fromkeys((10, 20, 30)), LABELS, size=6)  # type: ignore[arg-type]
    assert len(table) == 18
