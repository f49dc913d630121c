"""Data sets of the hub: labels by name, errors in one line, local copies."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from textmill.data.rows import Row
from textmill.data.sources.hub import HubSource
from textmill.errors import InputError, MachineError, TextmillError

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
MANY = Features({"text": Value("string"), "labels": List(ClassLabel(names=["joy", "fear"]))})


def make(texts: list[str], labels: list[object]) -> Dataset:
    return Dataset.from_dict({"text": texts, "label": labels}, features=FEATURES)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], list[dict[str, object]]]:
    """Answers `load_dataset` with a data set or an error, and notes what was asked."""
    asked: list[dict[str, object]] = []

    def answer_with(answer: object) -> list[dict[str, object]]:
        def load_dataset(path: str, name: str | None = None, **rest: object) -> object:
            asked.append({"path": path, "name": name, **rest})
            if isinstance(answer, BaseException):
                raise answer
            return [answer[split] for split in rest["split"]]  # type: ignore[index,attr-defined]

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return asked

    return answer_with


def values(source: HubSource, split: str) -> list[dict[str, object]]:
    return [dict(row.values) for row in source.rows(split) if isinstance(row, Row)]


def failure(name: str = "org/name", **rest: object) -> TextmillError:
    with pytest.raises(TextmillError) as caught:
        HubSource(name, {"train": "train"}, **rest)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return caught.value


def test_labels_are_given_by_name(hub: Callable) -> None:  # type: ignore[type-arg]
    hub({"train": make(["good", "bad", "unknown", "missing"], [1, 0, -1, None])})
    source = HubSource("org/name", {"train": "train"})
    assert [row["label"] for row in values(source, "train")] == ["pos", "neg", None, None]
    assert source.columns("train") == ("text", "label")


def test_lists_of_labels_are_given_by_name(hub: Callable) -> None:  # type: ignore[type-arg]
    labels: list[object] = [[0, 1], [], None]
    content = {"text": ["a", "b", "c"], "labels": labels}
    hub({"train": Dataset.from_dict(content, features=MANY)})
    source = HubSource("org/name", {"train": "train"})
    assert [row["labels"] for row in values(source, "train")] == [["joy", "fear"], [], None]


def test_splits_config_and_revision_are_asked_for(hub: Callable) -> None:  # type: ignore[type-arg]
    asked = hub({"train": make(["a"], [0]), "validation_matched": make(["b"], [1])})
    splits = {"validation": "validation_matched", "train": "train"}
    source = HubSource("nyu-mll/glue", splits, config="mnli", revision="abc")
    assert asked == [
        {
            "path": "nyu-mll/glue",
            "name": "mnli",
            "revision": "abc",
            "split": ["validation_matched", "train"],
        }
    ]
    assert source.splits() == ("train", "validation")
    assert values(source, "validation") == [{"text": "b", "label": "pos"}]
    assert source.describe() == "nyu-mll/glue (mnli)"


def test_rows_are_counted_from_one_over_all_batches(hub: Callable) -> None:  # type: ignore[type-arg]
    hub({"test": make([str(number) for number in range(2500)], [0] * 2500)})
    rows = list(HubSource("org/name", {"test": "test"}).rows("test"))
    assert [row.place for row in rows] == [f"test row {number}" for number in range(1, 2501)]


def test_the_fingerprint_is_that_of_the_content(hub: Callable) -> None:  # type: ignore[type-arg]
    def fingerprint(dataset: Dataset, split: str = "train") -> str:
        hub({split: dataset})
        return HubSource("org/name", {split: split}).fingerprint()

    whole = make(["a", "b", "c"], [0, 1, 0])
    halves = datasets.concatenate_datasets([make(["a"], [0]), make(["b", "c"], [1, 0])])
    picked = make(["x", "a", "b", "c"], [1, 0, 1, 0]).select([1, 2, 3])
    assert fingerprint(whole) == fingerprint(halves) == fingerprint(picked)
    others = {
        fingerprint(make(["a", "b", "c"], [0, 1, 1])),
        fingerprint(make(["a", "c", "b"], [0, 1, 0])),
        fingerprint(whole.rename_column("text", "sentence")),
        fingerprint(whole, "test"),
        fingerprint(make([], [])),
    }
    assert len(others | {fingerprint(whole)}) == 6


class TestErrors:
    def test_offline_without_a_copy(self) -> None:
        error = failure("nyu-mll/glue", config="cola")
        assert isinstance(error, MachineError)
        for part in ("nyu-mll/glue", "data.path=FOLDER", "HF_HUB_OFFLINE"):
            assert part in str(error)

    def test_unknown_data_set(self, hub: Callable) -> None:  # type: ignore[type-arg]
        hub(datasets.exceptions.DatasetNotFoundError("Dataset 'org/name' doesn't exist"))
        error = failure()
        assert isinstance(error, InputError)
        assert "no such data set, in org/name" in str(error)
        assert "data.path=FOLDER" in str(error)

    def test_unknown_split_or_configuration(self, hub: Callable) -> None:  # type: ignore[type-arg]
        hub(ValueError("Unknown split \"trian\". Should be one of ['train', 'test']."))
        error = failure()
        assert isinstance(error, InputError)
        assert "Should be one of ['train', 'test']" in str(error)

    def test_what_broke_first_is_told(self, hub: Callable) -> None:  # type: ignore[type-arg]
        error = datasets.exceptions.DatasetGenerationError("An error occurred")
        error.__cause__ = ValueError("Expecting value in line 3\nmore")
        hub(error)
        assert "Expecting value in line 3)" in str(failure())

    def test_full_disk(self, hub: Callable) -> None:  # type: ignore[type-arg]
        error = datasets.exceptions.DatasetGenerationError("An error occurred")
        error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
        hub(error)
        found = failure()
        assert isinstance(found, MachineError)
        assert "the disk is full" in str(found)


class TestLocalCopies:
    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))

    def test_folder_with_the_files_of_the_hub(self, tmp_path: Path) -> None:
        copy = tmp_path / "copy"
        copy.mkdir()
        for split in ("train", "test"):
            make([split], [1]).to_parquet(copy / f"{split}-00000-of-00001.parquet")
        source = HubSource("org/name", {"train": "train", "test": "test"}, path=copy, config="x")
        assert values(source, "train") == [{"text": "train", "label": "pos"}]
        assert values(source, "test") == [{"text": "test", "label": "pos"}]
        assert source.describe() == str(copy)

    def test_unknown_split_of_a_folder(self, tmp_path: Path) -> None:
        copy = tmp_path / "copy"
        copy.mkdir()
        make(["a"], [1]).to_parquet(copy / "test.parquet")
        error = failure(path=copy)
        assert isinstance(error, InputError)
        assert "train" in str(error)

    def test_folder_of_save_to_disk(self, tmp_path: Path) -> None:
        DatasetDict({"train": make(["a"], [1])}).save_to_disk(tmp_path / "copy")
        source = HubSource("org/name", {"train": "train"}, path=tmp_path / "copy")
        assert values(source, "train") == [{"text": "a", "label": "pos"}]
        with pytest.raises(InputError, match="no split 'validation'"):
            HubSource("org/name", {"validation": "validation"}, path=tmp_path / "copy")

    def test_missing_folder(self, tmp_path: Path) -> None:
        assert "data.path" in str(failure(path=tmp_path / "none"))

    def test_folder_without_data(self, tmp_path: Path) -> None:
        (tmp_path / "copy").mkdir()
        assert isinstance(failure(path=tmp_path / "copy"), InputError)
