"""Planted label errors are ranked first, and what people write beside them is understood."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from textmill.data.corrections import read_corrections
from textmill.errors import MachineError
from textmill.judge import judged_from, targets_of
from textmill.labels import Labels
from textmill.tracking import suspects as suspects_module
from textmill.tracking.suspects import FirstPassPredictions, suspect_table, write_suspects

LABELS = Labels(("bad", "fair", "good"))
TAGS = Labels(LABELS.names, multi_label=True)
Probabilities = np.ndarray


def split(ids: list[int] | list[list[int]], name: str = "f", *, pairs: bool = False) -> Dataset:
    columns = {"text": [f"text {row}" for row in range(len(ids))]}
    if pairs:
        columns["text_pair"] = ["other"] * len(ids)
    places = [f"{name}.csv:{row}" for row in range(len(ids))]
    label = pa.list_(pa.int64()) if ids and isinstance(ids[0], list) else pa.int64()
    return Dataset(pa.table({**columns, "label": pa.array(ids, label), "place": places}))


def predictions(examples: Dataset, probabilities: Probabilities, labels: Labels) -> pa.Table:
    targets = targets_of(examples, labels)
    return judged_from(examples, targets, probabilities.astype(np.float32), labels).predictions


def planted(
    size: int, seed: int, strength: float, noise: float = 1.0, name: str = "f"
) -> tuple[pa.Table, set[str]]:
    """Predictions by a model of some strength, and the places where the label was changed."""
    generator = np.random.default_rng(seed)
    true = generator.choice(3, size, p=[0.6, 0.3, 0.1])
    wrong = generator.random(size) < 0.05
    given = np.where(wrong, (true + generator.integers(1, 3, size)) % 3, true)
    logits = noise * generator.normal(size=(size, 3)) + strength * np.eye(3)[true]
    examples = split(given.tolist(), name)
    places = {f"{name}.csv:{row}" for row in np.flatnonzero(wrong)}
    return predictions(examples, softmax(logits), LABELS), places


def softmax(logits: np.ndarray) -> Probabilities:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def precision(suspects: pa.Table, places: set[str], count: int) -> float:
    return sum(place in places for place in suspects["place"].to_pylist()[:count]) / count


class Parts:
    """A table that notes how much of it is asked for at a time."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.longest = 0

    def __len__(self) -> int:
        return len(self.table)

    def slice(self, offset: int, length: int) -> pa.Table:
        part = self.table.slice(offset, length)
        self.longest = max(self.longest, len(part))
        return part


class TestRanking:
    @pytest.mark.parametrize("seed", range(3))
    def test_planted_errors_come_first(self, seed: int) -> None:
        table, places = planted(2000, seed, strength=4)
        found = suspect_table({"train": table}, LABELS)
        assert precision(found, places, 50) > 0.9
        assert found["rank"].to_pylist() == list(range(1, len(found) + 1))
        scores = found["score"].to_pylist()
        assert scores[:50] == sorted(scores[:50], reverse=True)
        assert 0 <= min(scores) <= max(scores) <= 1

    def test_a_split_whose_model_is_too_sure_of_itself_does_not_come_first(self) -> None:
        good, places = planted(2000, 1, strength=5)
        poor, others = planted(2000, 2, strength=2, name="g")
        names = [f"probability/{name}" for name in LABELS.names]
        logits = 5 * np.log(np.column_stack([poor[name].to_numpy() for name in names]))
        for position, name in enumerate(names):
            column = softmax(logits)[:, position].astype(np.float32)
            poor = poor.set_column(poor.column_names.index(name), name, pa.array(column))
        found = suspect_table({"train": poor, "test": good}, LABELS)
        assert precision(found, places | others, 50) > 0.9

    def test_what_a_model_said_before_it_had_learned_does_no_harm(self) -> None:
        generator = np.random.default_rng(0)
        table, places = planted(2000, 3, strength=4)
        # At first, the model takes everything for the most frequent label, more and more surely.
        true = generator.choice(3, 300, p=[0.6, 0.3, 0.1])
        logits = 0.3 * generator.normal(size=(300, 3)) + [2.5, 0, 0]
        early = predictions(split(true.tolist(), "early"), softmax(logits), LABELS)
        found = suspect_table({"train": pa.concat_tables([early, table])}, LABELS)
        assert precision(found, places, 50) > 0.9

    def test_what_the_model_is_as_sure_of_as_on_average_comes_first(self) -> None:
        examples = split([0, 0, 0, 1, 1, 0])
        of_bad = np.array([0.9, 0.9, 0.9, 0.4, 0.8, 0.55])
        probabilities = np.column_stack([of_bad, 1 - of_bad, np.zeros(6)])
        found = suspect_table({"test": predictions(examples, probabilities, LABELS)}, LABELS)
        # 0.45 is above the 0.4 that texts labelled fair have on average; 0.8 is below the 0.81 of
        # those labelled bad.
        first, second = found.to_pylist()
        assert (first["place"], first["label"], first["suggested"]) == ("f.csv:5", "bad", "fair")
        assert (second["place"], second["label"], second["suggested"]) == ("f.csv:4", "fair", "bad")
        assert first["score"] < 0.5 < second["score"]

    def test_the_size_bounds_the_rows_of_all_splits_together(self) -> None:
        table, _ = planted(500, 0, strength=1)
        other, _ = planted(500, 1, strength=1, name="g")
        whole = suspect_table({"train": table, "test": other}, LABELS)
        found = suspect_table({"train": table, "test": other}, LABELS, size=30)
        assert found.equals(whole.slice(0, 30))
        assert set(found["split"].to_pylist()) == {"train", "test"}

    @pytest.mark.parametrize("labels", [LABELS, TAGS])
    def test_many_examples_are_looked_at_part_by_part(
        self, labels: Labels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table, _ = planted(500, 0, strength=1)
        if labels.multi_label:
            for name in ("label", "prediction"):
                lists = pa.array([[one] for one in table[name].to_pylist()])
                table = table.set_column(table.column_names.index(name), name, lists)
        whole = suspect_table({"train": table}, labels, size=40)
        monkeypatch.setattr(suspects_module, "_AT_ONCE", 3 * 70)
        parts = Parts(table)
        found = suspect_table({"train": parts}, labels, size=40)
        assert found.drop_columns("score").equals(whole.drop_columns("score"))
        assert found["score"].to_numpy() == pytest.approx(whole["score"].to_numpy())
        assert parts.longest == 70

    def test_nothing_suspect_is_an_empty_table(self) -> None:
        sure = predictions(split([0, 1, 2]), np.eye(3), LABELS)
        none = predictions(split([0]), np.eye(3)[:1], LABELS).slice(0, 0)
        found = suspect_table({"train": none, "test": sure}, LABELS)
        assert len(found) == 0
        assert found.column_names == COLUMNS


COLUMNS = ["split", "place", "text", "label", "suggested", "score", "rank"]


class TestSeveralLabels:
    def test_each_label_is_in_doubt_by_itself(self) -> None:
        generator = np.random.default_rng(0)
        true = generator.random((400, 3)) < 0.4
        probabilities = np.where(true, 0.9, 0.1) + generator.normal(0, 0.03, (400, 3))
        given = true.copy()
        given[7] = [True, False, True]
        probabilities[7] = [0.99, 0.99, 0.01]
        examples = split([np.flatnonzero(row).tolist() for row in given])
        found = suspect_table({"test": predictions(examples, probabilities, TAGS)}, TAGS)
        first = found.to_pylist()[0]
        assert first["place"] == "f.csv:7"
        assert first["label"] == ["bad", "good"]
        assert first["suggested"] == ["bad", "fair"]

    def test_no_label_at_all_may_be_suggested(self) -> None:
        ids = [[0], [0], [], [], [0], [1]]
        probabilities = np.array([[0.9, 0.1, 0.1]] * 2 + [[0.1, 0.1, 0.1]] * 3 + [[0.1, 0.9, 0.1]])
        probabilities[4, 0] = 0.05
        found = suspect_table({"test": predictions(split(ids), probabilities, TAGS)}, TAGS)
        (row,) = found.to_pylist()
        assert (row["place"], row["label"], row["suggested"]) == ("f.csv:4", ["bad"], [])


class TestFirstPass:
    @pytest.mark.parametrize("missing", [[], [1, 3]])
    def test_examples_that_were_not_met_are_passed_over(self, missing: list[int]) -> None:
        first_pass = softmax(np.arange(15).reshape(5, 3) % 4).astype(np.float32)
        first_pass[missing] = np.nan
        found = FirstPassPredictions(split([0, 1, 2, 0, 1]), first_pass, LABELS)
        table = pa.concat_tables([found.slice(start, 2) for start in range(0, len(found), 2)])
        met = [row for row in range(5) if row not in missing]
        assert table["place"].to_pylist() == [f"f.csv:{row}" for row in met]
        assert table["probability/good"].to_pylist() == first_pass[met, 2].tolist()
        assert table["label"].to_pylist() == [LABELS.names[row % 3] for row in met]
        assert not np.isnan(table["loss"].to_numpy()).any()

    def test_a_training_that_stopped_at_once_has_no_suspects(self) -> None:
        first_pass = np.full((2, 3), np.nan, dtype=np.float32)
        none = FirstPassPredictions(split([0, 1]), first_pass, LABELS)
        assert len(suspect_table({"train": none}, LABELS)) == 0


class TestFile:
    def test_what_people_write_beside_the_suspects_is_read_back(self, tmp_path: Path) -> None:
        table, _ = planted(300, 0, strength=2)
        texts = ['=SUM(A1), "x"', "two\nlines", "a; b", *["plain"] * 297]
        suspects = suspect_table({"train": table.set_column(0, "text", pa.array(texts))}, LABELS)
        path = tmp_path / "suspects.csv"
        write_suspects(path, suspects)
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == [*COLUMNS[:-1], "corrected"]
        assert [row["place"] for row in rows] == suspects["place"].to_pylist()
        assert {row["corrected"] for row in rows} == {""}
        for row in rows:
            row["corrected"] = row["suggested"]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        read = read_corrections(path).lines
        assert [line.corrected for line in read] == suspects["suggested"].to_pylist()
        assert [line.place for line in read] == suspects["place"].to_pylist()

    def test_lists_of_labels_are_written_as_people_write_them(self, tmp_path: Path) -> None:
        suspects = pa.table(
            {
                "split": ["test"],
                "place": ["f.csv:1"],
                "text": ["x"],
                "label": [["bad", "good"]],
                "suggested": pa.array([[]], pa.list_(pa.string())),
                "score": [0.987654],
                "rank": [1],
            }
        )
        write_suspects(tmp_path / "x.csv", suspects)
        (_, line) = (tmp_path / "x.csv").read_text(encoding="utf-8-sig").splitlines()
        assert line == "test,f.csv:1,x,bad; good,(none),0.9877,"

    def test_both_texts_of_a_pair_are_there(self, tmp_path: Path) -> None:
        probabilities = np.array([[0.99, 0.01, 0], [0.99, 0.01, 0], [0.01, 0.99, 0]])
        examples = split([0, 1, 1], pairs=True)
        found = suspect_table({"test": predictions(examples, probabilities, LABELS)}, LABELS)
        write_suspects(tmp_path / "x.csv", found)
        header, line = (tmp_path / "x.csv").read_text(encoding="utf-8-sig").splitlines()
        assert header == "split,place,text,text_pair,label,suggested,score,corrected"
        assert line.startswith("test,f.csv:1,text 1,other,fair,bad,")

    def test_a_folder_that_cannot_be_written_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        table, _ = planted(50, 0, strength=2)
        with pytest.raises(MachineError):
            write_suspects(tmp_path / "file" / "x.csv", suspect_table({"test": table}, LABELS))
