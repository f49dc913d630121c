from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import textmill
from textmill.errors import InputError
from textmill.labels import Labels
from textmill.model import baselines
from textmill.model.baselines import Baseline, sample_examples, train_baselines
from textmill.model.metrics import classification_metrics

TOPICS = {
    "film": ["actor", "cinema", "scene", "director", "screen"],
    "food": ["recipe", "oven", "butter", "chef", "spoon"],
    "sport": ["goal", "referee", "team", "league", "coach"],
}
LABELS = Labels(tuple(TOPICS))
FILLER = ["the", "a", "of", "with", "and", "very", "some", "many"]


def write_texts(topics: np.ndarray, seed: int) -> list[str]:
    """Sentences with two words of their topic and six of no topic."""
    generator = np.random.default_rng(seed)
    names = list(TOPICS)
    return [
        " ".join(
            generator.permutation(
                [*generator.choice(TOPICS[names[topic]], 2), *generator.choice(FILLER, 6)]
            )
        )
        for topic in topics
    ]


def topic_data(size: int, seed: int) -> tuple[list[str], np.ndarray]:
    targets = np.random.default_rng(seed).choice(3, size, p=[0.6, 0.3, 0.1])
    return write_texts(targets, seed), targets


def train(size: int = 300, **options: int | str) -> dict[str, Baseline]:
    found = train_baselines(
        *topic_data(size, 1), *topic_data(100, 2), LABELS, **{"seed": 0, **options}
    )
    return {baseline.name: baseline for baseline in found}


def accuracy(baseline: Baseline, texts: list[str], targets: np.ndarray) -> float:
    return float((baseline.probabilities(texts).argmax(axis=1) == targets).mean())


class TestMajority:
    def test_every_text_gets_the_shares_of_the_training_labels(self) -> None:
        _, targets = topic_data(300, 1)
        found = train()["majority"].probabilities(["anything", ""])
        assert found.dtype == np.float32
        assert found == pytest.approx(np.tile(np.bincount(targets) / 300, (2, 1)))

    def test_a_label_without_training_examples_has_no_share(self) -> None:
        labels = Labels(("film", "food", "sport", "never"))
        found = train_baselines(*topic_data(60, 1), *topic_data(20, 2), labels, seed=0)
        for baseline in found:
            assert baseline.probabilities(["a very good recipe"])[0, 3] == 0

    def test_with_several_labels_each_has_its_own_share(self) -> None:
        texts, targets = ["a b", "b c", "c d", "d e"], np.array([[1, 0], [1, 1], [1, 0], [1, 0]])
        labels = Labels(("x", "y"), multi_label=True)
        majority, *_ = train_baselines(texts, targets, texts, targets, labels, seed=0)
        assert majority.probabilities(["any"]).tolist() == [[1.0, 0.25]]


class TestLinear:
    def test_it_learns_what_words_tell(self) -> None:
        linear = train()["linear"]
        assert accuracy(linear, *topic_data(200, 3)) > 0.97

    def test_its_probabilities_are_calibrated_distributions(self) -> None:
        texts, targets = topic_data(500, 3)
        targets = np.where(np.arange(500) % 4 == 0, (targets + 1) % 3, targets)
        other_texts, other_targets = topic_data(500, 4)
        other_targets = np.where(np.arange(500) % 4 == 0, (other_targets + 1) % 3, other_targets)
        _, linear = train_baselines(texts, targets, other_texts, other_targets, LABELS, seed=0)
        found = linear.probabilities(other_texts)
        assert found.dtype == np.float32
        assert found.sum(axis=1) == pytest.approx(np.ones(500), abs=1e-6)
        assert classification_metrics(other_targets, found, LABELS)["ece"] < 0.08

    def test_two_labels_are_told_apart_in_their_order(self) -> None:
        texts, targets = topic_data(200, 1)
        labels = Labels(("film", "not film"))
        is_not_film = (targets > 0).astype(int)
        _, linear = train_baselines(texts, is_not_film, texts, is_not_film, labels, seed=0)
        assert linear.probabilities(["the actor"]).argmax() == 0
        assert linear.probabilities(["the butter"]).argmax() == 1

    def test_the_same_seed_gives_the_same_to_the_last_bit(self) -> None:
        texts, _ = topic_data(100, 3)
        digests = {
            hashlib.sha256(train()["linear"].probabilities(texts).tobytes()).hexdigest()
            for _ in range(2)
        }
        assert len(digests) == 1

    def test_c_is_chosen_by_the_monitored_metric_on_validation(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        best = {"accuracy": 1.0, "loss": 3.0}
        monkeypatch.setattr(baselines, "_best_temperature", lambda *_: 1.0)

        def metrics_of_fit(*_: object) -> dict[str, float]:
            penalty = baselines.PENALTIES[len(seen) % len(baselines.PENALTIES)]
            seen.append(penalty)
            return {
                "accuracy": float(penalty == best["accuracy"]),
                "loss": float(penalty != best["loss"]),
                "f1_macro": 0.0,
            }

        seen: list[float] = []
        monkeypatch.setattr(baselines, "classification_metrics", metrics_of_fit)
        for monitor, penalty in best.items():
            assert train(monitor=monitor)["linear"].note.startswith(f"C = {penalty:g},")

    def test_a_metric_undefined_on_validation_leaves_macro_f1_to_choose(self) -> None:
        texts, targets = topic_data(200, 1)
        film = ["the actor of the cinema", "a director and a scene"]
        found = train_baselines(
            texts, targets, film, np.array([0, 0]), LABELS, seed=0, monitor="auroc_macro"
        )
        assert [baseline.name for baseline in found] == ["majority", "linear"]

    def test_an_unknown_monitor_is_refused(self) -> None:
        with pytest.raises(InputError, match="accuracy"):
            train(monitor="acuracy")

    def test_words_in_scripts_without_spaces_are_found(self) -> None:
        texts = ["这部电影很好看", "这部电影真难看", "我觉得很好", "我觉得真难受"] * 5
        targets = np.array([1, 0, 1, 0] * 5)
        labels = Labels(("bad", "good"))
        _, linear = train_baselines(texts, targets, texts, targets, labels, seed=0)
        assert linear.probabilities(["很好", "真难"]).argmax(axis=1).tolist() == [1, 0]

    def test_signs_count_as_words(self) -> None:
        texts, targets = ["so :)", "so :(", "well :)", "well :("] * 5, np.array([1, 0, 1, 0] * 5)
        _, linear = train_baselines(texts, targets, texts, targets, Labels(("-", "+")), seed=0)
        assert linear.probabilities(["new :)", "new :("]).argmax(axis=1).tolist() == [1, 0]

    def test_a_text_without_known_words_is_scored_too(self) -> None:
        found = train()["linear"].probabilities(["", "zzz"])
        assert np.isfinite(found).all()
        assert train()["linear"].probabilities([]).shape == (0, 3)


class TestLeftOut:
    def test_without_any_word_there_is_only_the_majority(self) -> None:
        found = train_baselines([" ", ""], np.array([0, 1]), [" "], np.array([0]), LABELS, seed=0)
        assert [baseline.name for baseline in found] == ["majority"]

    def test_with_one_label_in_training_there_is_only_the_majority(self) -> None:
        texts = ["the actor", "the scene"]
        found = train_baselines(texts, np.array([1, 1]), texts, np.array([1, 1]), LABELS, seed=0)
        assert [baseline.name for baseline in found] == ["majority"]

    def test_words_that_occur_once_serve_where_no_others_do(self) -> None:
        texts = [f"word{index}" for index in range(baselines.FEW_TEXTS)]
        targets = np.arange(baselines.FEW_TEXTS) % 3
        found = train_baselines(texts, targets, texts, targets, LABELS, seed=0)
        assert accuracy(found[1], texts, targets) == 1.0


def pair_data(size: int, seed: int) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Pairs about the same thing, or not: neither side alone tells."""
    generator = np.random.default_rng(seed)
    words = [word for topic in TOPICS.values() for word in topic]
    targets = generator.integers(0, 2, size)
    pairs = []
    for same in targets:
        first, other = generator.choice(words, 2, replace=False)
        pairs.append((f"the {first} of a", f"with some {first if same else other}"))
    return pairs, targets


def test_pairs_are_told_apart_by_what_their_sides_share() -> None:
    labels = Labels(("different", "same"))
    train_pairs, validation_pairs = pair_data(600, 1), pair_data(200, 2)
    _, linear = train_baselines(*train_pairs, *validation_pairs, labels, seed=0)
    pairs, targets = pair_data(200, 3)
    assert (linear.probabilities(pairs).argmax(axis=1) == targets).mean() > 0.9


def test_several_labels_are_learned_each_by_itself() -> None:
    texts = ["actor", "oven", "actor oven", "the of", "cinema", "a butter"] * 10
    targets = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1], [0, 0, 1], [1, 0, 1], [0, 0, 1]] * 10)
    labels = Labels(("film", "never", "always"), multi_label=True)
    _, linear = train_baselines(texts, targets, texts, targets, labels, seed=0)
    found = linear.probabilities(["an actor", "an oven"])
    assert (found >= 0.5).tolist() == [[True, False, True], [False, False, True]]


def test_sparse_targets_of_several_labels_train_the_same_baselines() -> None:
    generator = np.random.default_rng(0)
    targets = (generator.random((300, 3)) < [0.5, 0.3, 0.1]).astype(np.int64)
    words = ("actor", "oven", "tax")
    texts = [" ".join(np.compress(row, words)) or "none" for row in targets]
    labels = Labels(words, multi_label=True)
    judged = (texts[:50], targets[:50], labels)
    dense = train_baselines(texts, targets, *judged, seed=0, max_examples=100)
    sparse = train_baselines(texts, csr_array(targets), *judged, seed=0, max_examples=100)
    for one, other in zip(dense, sparse, strict=True):
        assert one.note == other.note
        assert (one.probabilities(texts) == other.probabilities(texts)).all()


class TestBounds:
    def test_a_sample_is_used_of_much_data_and_told(self) -> None:
        linear = train(size=500, max_examples=200)["linear"]
        assert linear.note.endswith("; trained on a sample of 200 of 500 examples")
        assert accuracy(linear, *topic_data(200, 3)) > 0.9

    def test_all_of_little_data_is_used(self) -> None:
        assert "sample" not in train(size=200, max_examples=200)["linear"].note

    def test_long_texts_are_fewer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        texts, _ = topic_data(300, 1)
        monkeypatch.setattr(baselines, "MAX_CHARACTERS", sum(map(len, texts)) // 2 + 1)
        assert "trained on a sample of 150 of 300" in train()["linear"].note

    def test_many_labels_have_fewer_texts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        texts, _ = topic_data(300, 1)
        monkeypatch.setattr(baselines, "MAX_CHARACTERS_TIMES_LABELS", sum(map(len, texts)) + 3)
        assert "trained on a sample of 100 of 300" in train()["linear"].note

    def test_the_texts_of_a_data_set_are_read_in_slices(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts, targets = topic_data(300, 1)
        column = Dataset.from_dict({"text": texts})["text"]
        expected = train(max_examples=100)["linear"]
        monkeypatch.setattr(baselines, "TEXTS_AT_ONCE", 7)
        found = train_baselines(
            column, targets, *topic_data(100, 2), LABELS, seed=0, max_examples=100
        )[1]
        assert (found.probabilities(texts) == expected.probabilities(texts)).all()

    @settings(max_examples=100, deadline=None)
    @given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32))
    def test_a_sample_keeps_the_labels_shares_and_loses_none(
        self, size: int, wanted: int, seed: int
    ) -> None:
        targets = np.random.default_rng(seed).choice(4, size, p=[0.7, 0.2, 0.08, 0.02])
        labels = Labels(("a", "b", "c", "d"))
        picked = sample_examples(targets, labels, wanted, seed)
        assert len(np.unique(picked)) == len(picked)
        assert min(size, wanted) <= len(picked) <= min(size, wanted + 4)
        assert set(targets[picked]) == set(targets)
        if wanted < size:
            expected = np.bincount(targets, minlength=4) * wanted / size
            assert np.bincount(targets[picked], minlength=4) == pytest.approx(expected, abs=2.1)

    def test_a_sample_of_several_labels_a_text_is_a_plain_one(self) -> None:
        labels = Labels(("a", "b"), multi_label=True)
        picked = sample_examples(np.zeros((100, 2), dtype=int), labels, 30, seed=0)
        assert len(np.unique(picked)) == 30
        assert (picked == sample_examples(np.zeros((100, 2), dtype=int), labels, 30, 0)).all()
        assert set(picked) != set(sample_examples(np.zeros((100, 2), dtype=int), labels, 30, 1))


def test_training_does_not_wait_for_scikit_learn_until_a_baseline_needs_it() -> None:
    for path in Path(textmill.__path__[0]).rglob("*.py"):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                assert "sklearn" not in ast.unparse(statement), path


def test_the_time_is_measured() -> None:
    found = train()
    assert found["linear"].seconds > found["majority"].seconds >= 0
