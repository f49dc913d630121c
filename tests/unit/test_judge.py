from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from rich.console import Console
from sklearn import metrics as sklearn_metrics

from textmill import judge as judge_module
from textmill.encoding import Lengths
from textmill.errors import InputError, MachineError, TextmillError
from textmill.judge import (
    Comparison,
    Contender,
    compare,
    compare_table,
    flat_metrics,
    judge,
    judged_from,
    targets_of,
    texts_of,
    write_table,
)
from textmill.labels import Labels
from textmill.model.baselines import train_baselines
from textmill.model.metric_names import metric_names

LABELS = Labels(("zebra", "ant", "mole"))
TAGS = Labels(("red", "big", "old"), multi_label=True)


class Oracle:
    """Gives the probabilities that were written down for each text."""

    def __init__(self, texts: Sequence[Any], probabilities: np.ndarray) -> None:
        self.known = dict(zip(texts, probabilities.astype(np.float32), strict=True))
        self.asked: list[int] = []

    def probabilities(self, texts: Sequence[Any], /) -> np.ndarray:
        self.asked.append(len(texts))
        return np.array([self.known[text] for text in texts])


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def animals(size: int = 200, seed: int = 0, strength: float = 1.5) -> tuple[Dataset, Oracle]:
    generator = np.random.default_rng(seed)
    targets = generator.choice(3, size, p=[0.5, 0.3, 0.2])
    texts = [f"text {index}" for index in range(size)]
    logits = np.random.default_rng(seed + 1).normal(size=(size, 3)) + strength * np.eye(3)[targets]
    examples = Dataset.from_dict(
        {
            "text": texts,
            "label": targets.tolist(),
            "place": [f"file.csv:{index + 2}" for index in range(size)],
        }
    )
    return examples, Oracle(texts, softmax(logits))


def tagged(size: int = 200) -> tuple[Dataset, Oracle]:
    generator = np.random.default_rng(0)
    members = generator.random((size, 3)) < [0.6, 0.3, 0.1]
    texts = [f"text {index}" for index in range(size)]
    probabilities = np.clip(0.7 * members + generator.normal(0.15, 0.25, (size, 3)), 0.01, 0.99)
    examples = Dataset.from_dict(
        {
            "text": texts,
            "label": [np.flatnonzero(row).tolist() for row in members],
            "place": [f"row {index}" for index in range(size)],
        }
    )
    return examples, Oracle(texts, probabilities)


class TestPredictions:
    def test_a_row_holds_what_was_asked_and_answered(self) -> None:
        examples = Dataset.from_dict({"text": ["a"], "label": [1], "place": ["f.csv:2"]})
        oracle = Oracle(["a"], np.array([[0.5, 0.25, 0.25]]))
        (row,) = judge(oracle, examples, LABELS).predictions.to_pylist()
        assert row == {
            "text": "a",
            "label": "ant",
            "prediction": "zebra",
            "correct": False,
            "confidence": 0.5,
            "loss": pytest.approx(np.log(4)),
            "probability/zebra": 0.5,
            "probability/ant": 0.25,
            "probability/mole": 0.25,
            "place": "f.csv:2",
        }

    def test_several_labels_are_lists_of_names(self) -> None:
        examples = Dataset.from_dict(
            {"text": ["a", "b"], "label": [[2, 0], []], "place": ["row 1", "row 2"]}
        )
        oracle = Oracle(["a", "b"], np.array([[0.5, 0.25, 0.75], [0.25, 0.5, 0.25]]))
        first, second = judge(oracle, examples, TAGS).predictions.to_pylist()
        assert (first["label"], first["prediction"]) == (["red", "old"], ["red", "old"])
        assert first["correct"] is True
        assert first["confidence"] == 0.5 * 0.75 * 0.75
        assert first["loss"] == pytest.approx(-np.log([0.5, 0.75, 0.75]).mean())
        assert (second["label"], second["prediction"]) == ([], ["big"])
        assert second["correct"] is False

    def test_lengths_and_further_columns_stand_beside_what_was_predicted(self) -> None:
        examples = Dataset.from_dict(
            {
                "text": ["a", "b"],
                "label": [1, 0],
                "place": ["f.csv:2", "f.csv:3"],
                "slice/tokens": ["x", None],
            }
        )
        oracle = Oracle(["a", "b"], np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]))
        lengths = Lengths(np.array([3, 32], dtype=np.int32), np.array([False, True]))
        table = judge(oracle, examples, LABELS, lengths=lengths).predictions
        assert table["tokens"].to_pylist() == [3, 32]
        assert table.schema.field("tokens").type == pa.int32()
        assert table["cut"].to_pylist() == [False, True]
        assert table["slice/tokens"].to_pylist() == ["x", None]

    @pytest.mark.parametrize(
        ("labels", "made"), [(LABELS, animals), (TAGS, tagged)], ids=["one label", "several"]
    )
    def test_probabilities_that_are_there_already_give_what_scoring_would(
        self, labels: Labels, made: Callable[[], tuple[Dataset, Oracle]]
    ) -> None:
        examples, oracle = made()
        scored = judge(oracle, examples, labels)
        probabilities = oracle.probabilities(examples["text"][:])
        found = judged_from(examples, targets_of(examples, labels), probabilities, labels)
        assert found.predictions.equals(scored.predictions)
        assert found.metrics == scored.metrics

    def test_the_rows_are_in_the_order_of_a_shuffled_split(self) -> None:
        examples, oracle = animals(50)
        shuffled = examples.shuffle(seed=1)
        found = judge(oracle, shuffled, LABELS).predictions
        assert found["text"].to_pylist() == shuffled["text"][:]
        expected = np.array([oracle.known[text] for text in shuffled["text"]])
        assert found["probability/ant"].to_numpy() == pytest.approx(expected[:, 1])
        names = [LABELS.names[index] for index in shuffled["label"]]
        assert found["label"].to_pylist() == names

    def test_pairs_are_scored_as_pairs_and_keep_both_texts(self) -> None:
        examples = Dataset.from_dict(
            {"text": ["a", "b"], "text_pair": ["c", "d"], "label": [0, 2], "place": ["1", "2"]}
        )
        oracle = Oracle([("a", "c"), ("b", "d")], np.eye(3)[[0, 2]])
        found = judge(oracle, examples, LABELS).predictions
        assert found.column_names[:2] == ["text", "text_pair"]
        assert found["text_pair"].to_pylist() == ["c", "d"]
        assert found["correct"].to_pylist() == [True, True]

    def test_texts_are_scored_part_by_part_with_the_same_result(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        examples, oracle = animals(100)
        whole = judge(oracle, examples, LABELS)
        monkeypatch.setattr(judge_module, "AT_ONCE", 30)
        oracle.asked.clear()
        parts = judge(oracle, examples, LABELS)
        assert oracle.asked == [30, 30, 30, 10]
        assert parts.predictions.equals(whole.predictions)
        assert parts.metrics == whole.metrics

    def test_thresholds_decide(self) -> None:
        examples, oracle = animals(100)
        found = judge(oracle, examples, LABELS, thresholds=[1.0, 1.0, 0.0])
        assert set(found.predictions["prediction"].to_pylist()) == {"mole"}
        assert found.metrics["recall/mole"] == 1.0
        confidences = found.predictions["confidence"]
        assert confidences.equals(found.predictions["probability/mole"])

    def test_thresholds_of_several_labels_decide_too(self) -> None:
        examples, oracle = tagged(100)
        found = judge(oracle, examples, TAGS, thresholds=[0.0, 1.0, 1.0])
        assert found.predictions["prediction"].to_pylist() == [["red"]] * 100

    def test_an_empty_split_is_refused(self) -> None:
        examples, oracle = animals(5)
        with pytest.raises(InputError, match="no examples"):
            judge(oracle, examples.select([]), LABELS)

    def test_a_diverged_model_ends_in_plain_words(self) -> None:
        examples, oracle = animals(5)
        oracle.known["text 3"][0] = np.nan
        with pytest.raises(TextmillError, match="not numbers"):
            judge(oracle, examples, LABELS)


class TestSavedPredictions:
    """What scikit-learn makes of the saved file is what was reported."""

    def test_of_one_label_a_text(self, tmp_path: Path) -> None:
        examples, oracle = animals(500)
        judged = judge(oracle, examples, LABELS)
        write_table(tmp_path / "test.parquet", judged.predictions)
        saved = pd.read_parquet(tmp_path / "test.parquet")
        ordered = sorted(LABELS.names)
        probabilities = saved[[f"probability/{name}" for name in ordered]].to_numpy()
        truth, given = saved["label"], saved["prediction"]
        counted = {
            "accuracy": sklearn_metrics.accuracy_score(truth, given),
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, given),
            "f1_macro": sklearn_metrics.f1_score(truth, given, average="macro"),
            "f1_weighted": sklearn_metrics.f1_score(truth, given, average="weighted"),
            "precision_macro": sklearn_metrics.precision_score(truth, given, average="macro"),
            "recall_macro": sklearn_metrics.recall_score(truth, given, average="macro"),
            "mcc": sklearn_metrics.matthews_corrcoef(truth, given),
        }
        scored = {
            "loss": sklearn_metrics.log_loss(truth, probabilities, labels=ordered),
            "auroc_macro": sklearn_metrics.roc_auc_score(truth, probabilities, multi_class="ovr"),
            "brier": sklearn_metrics.brier_score_loss(truth, probabilities, labels=ordered),
        }
        for name, value in counted.items():
            assert judged.metrics[name] == pytest.approx(value, abs=1e-12), name
        for name, value in scored.items():
            assert judged.metrics[name] == pytest.approx(value, abs=1e-6), name
        assert judged.metrics["accuracy"] == saved["correct"].mean()
        assert judged.metrics["loss"] == pytest.approx(saved["loss"].mean(), abs=1e-12)

    def test_of_several_labels_a_text(self, tmp_path: Path) -> None:
        examples, oracle = tagged(500)
        judged = judge(oracle, examples, TAGS)
        write_table(tmp_path / "test.parquet", judged.predictions)
        saved = pd.read_parquet(tmp_path / "test.parquet")
        truth, given = (
            np.array([[name in row for name in TAGS.names] for row in saved[column]]).astype(int)
            for column in ("label", "prediction")
        )
        probabilities = saved[[f"probability/{name}" for name in TAGS.names]].to_numpy()
        counted = {
            "subset_accuracy": sklearn_metrics.accuracy_score(truth, given),
            "f1_macro": sklearn_metrics.f1_score(truth, given, average="macro"),
            "f1_micro": sklearn_metrics.f1_score(truth, given, average="micro"),
            "f1_samples": sklearn_metrics.f1_score(
                truth, given, average="samples", zero_division=0
            ),
            "hamming_loss": sklearn_metrics.hamming_loss(truth, given),
        }
        for name, value in counted.items():
            assert judged.metrics[name] == pytest.approx(value, abs=1e-12), name
        expected = sklearn_metrics.roc_auc_score(truth, probabilities)
        assert judged.metrics["auroc_macro"] == pytest.approx(expected, abs=1e-6)

    def test_they_read_as_plain_columns(self, tmp_path: Path) -> None:
        examples, oracle = animals(5)
        write_table(tmp_path / "new" / "t.parquet", judge(oracle, examples, LABELS).predictions)
        schema = pq.read_schema(tmp_path / "new" / "t.parquet")
        assert schema.field("label").type == pa.string()
        assert schema.field("probability/ant").type == pa.float32()
        assert schema.field("correct").type == pa.bool_()

    def test_a_place_that_cannot_be_written_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(pq, "write_table", full)
        examples, oracle = animals(5)
        with pytest.raises(MachineError, match="disk is full"):
            write_table(tmp_path / "t.parquet", judge(oracle, examples, LABELS).predictions)
        assert list(tmp_path.iterdir()) == []


class TestColumns:
    def test_pairs_are_read_by_index_and_by_slice(self) -> None:
        examples = Dataset.from_dict({"text": ["a", "b", "c"], "text_pair": ["x", "y", "z"]})
        pairs = texts_of(examples)
        assert len(pairs) == 3
        assert pairs[1] == ("b", "y")
        assert pairs[1:] == [("b", "y"), ("c", "z")]
        assert list(pairs) == [("a", "x"), ("b", "y"), ("c", "z")]

    def test_targets_of_several_labels_are_rows_of_zeros_and_ones(self) -> None:
        examples = Dataset.from_dict({"label": [[2, 0], [], [1], [], [0]]}).select([4, 0, 1, 2])
        assert targets_of(examples, TAGS).tolist() == [[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0]]

    def test_targets_are_ids(self) -> None:
        examples = Dataset.from_dict({"label": [2, 0, 1]}).select([2, 0])
        assert targets_of(examples, LABELS).tolist() == [1, 2]


def comparison() -> Comparison:
    examples, strong = animals(400, strength=4.0)
    _, weak = animals(400, strength=0.5)
    return compare(
        Contender("model", "the model", judge(strong, examples, LABELS), seconds=164.2),
        [
            Contender(
                "linear",
                "TF-IDF + linear",
                judge(weak, examples, LABELS),
                seconds=2.34,
                note="C = 1, chosen on validation; trained on a sample",
            )
        ],
        seed=0,
    )


def printed(found: Comparison) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(compare_table(found))
    return console.export_text()


class TestComparison:
    def test_the_table_shows_metrics_intervals_times_and_notes(self) -> None:
        found = comparison()
        text = printed(found)
        model = found.contenders[0].judged.metrics
        interval = found.intervals[0]["f1_macro"]
        assert f"{model['f1_macro']:.3f} ({interval.low:.3f}-{interval.high:.3f})" in text
        assert f"{model['mcc']:.3f}" in text
        assert "Model " in text
        assert "164 s" in text
        assert "2.3 s" in text
        assert "TF-IDF + linear: C = 1, chosen on validation; trained on a sample" in text
        assert "\u2026" not in text, "nothing is cut off"

    def test_the_verdict_names_the_better_one(self) -> None:
        (verdict,) = comparison().verdicts
        assert verdict.winner == "first"
        assert verdict.sentence.startswith("The model beats TF-IDF + linear by ")

    def test_the_flat_names_are_stable(self) -> None:
        found = comparison()
        flat = flat_metrics("test", found)
        expected = {f"test/{name}" for name in metric_names(multi_label=False)}
        expected |= {f"baseline/linear/{name}" for name in metric_names(multi_label=False)}
        expected |= {
            f"{prefix}/{metric}{end}"
            for prefix in ("test", "baseline/linear")
            for metric in ("accuracy", "f1_macro")
            for end in ("_low", "_high")
        }
        expected |= {
            f"baseline/linear/{metric}_gain{end}"
            for metric in ("accuracy", "f1_macro")
            for end in ("", "_low", "_high", "_p_value")
        }
        expected.add("baseline/linear/seconds")
        own = {name for name in flat if name.rsplit("/", 1)[-1] in LABELS.names}
        assert own == {
            f"{prefix}/{metric}/{label}"
            for prefix in ("test", "baseline/linear")
            for metric in ("precision", "recall", "f1")
            for label in LABELS.names
        }
        assert flat.keys() - own == expected
        assert all(type(value) is float for value in flat.values())

    def test_the_flat_values_are_the_judged_ones(self) -> None:
        found = comparison()
        flat = flat_metrics("test", found)
        model, linear = (one.judged.metrics for one in found.contenders)
        assert flat["test/mcc"] == model["mcc"]
        assert flat["baseline/linear/mcc"] == linear["mcc"]
        assert flat["test/accuracy_low"] < flat["test/accuracy"] < flat["test/accuracy_high"]
        gain = model["accuracy"] - linear["accuracy"]
        assert flat["baseline/linear/accuracy_gain"] == pytest.approx(gain)
        assert flat["baseline/linear/accuracy_gain_p_value"] < 0.001
        assert flat["baseline/linear/seconds"] == 2.34

    def test_a_model_alone_is_shown_alone(self) -> None:
        examples, oracle = animals(100)
        alone = compare(
            Contender("model", "the model", judge(oracle, examples, LABELS)), [], seed=0
        )
        assert alone.verdicts == ()
        assert {name.split("/")[0] for name in flat_metrics("validation", alone)} == {"validation"}
        assert "Model " in printed(alone)

    def test_several_labels_a_text_have_metrics_of_their_own(self) -> None:
        examples, oracle = tagged()
        judged = judge(oracle, examples, TAGS)
        found = compare(
            Contender("model", "the model", judged),
            [Contender("majority", "the majority class", judged)],
            seed=0,
        )
        assert "Subset accuracy" in printed(found)
        assert found.verdicts[0].sentence.startswith("The model and the majority class tie")
        flat = flat_metrics("test", found)
        assert flat["test/subset_accuracy_low"] < flat["test/subset_accuracy"]
        assert flat["baseline/majority/subset_accuracy_gain"] == 0.0


def test_baselines_are_judged_like_models() -> None:
    examples, _ = animals(90)
    texts, targets = texts_of(examples), targets_of(examples, LABELS)
    for baseline in train_baselines(texts, targets, texts, targets, LABELS, seed=0):
        judged = judge(baseline, examples, LABELS)
        assert len(judged.predictions) == 90
        assert 0 < judged.metrics["accuracy"] <= 1
