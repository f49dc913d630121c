"""Scores belong to their texts, whatever the batches; a device is found or refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bundles import MULTI, SINGLE, make_bundle, make_model, tiny_tokenizer
from tests.tiny import SENTENCES
from textmill.bundle import read_bundle
from textmill.encoding import LengthPolicy, Padding
from textmill.errors import InputError
from textmill.forms.torch_form import resolve_device, torch_scorer
from textmill.scoring import Batch, Scorer, Scores

WORDS = sorted({word for sentence in SENTENCES for word in sentence.split()})
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join), max_size=12)


@pytest.fixture(scope="module")
def scorer(tiny_encoder: Path) -> Scorer:
    return torch_scorer(
        make_model(tiny_encoder, SINGLE),
        tiny_tokenizer(tiny_encoder),
        LengthPolicy(32),
        multi_label=False,
    )


@settings(deadline=None, max_examples=30)
@given(texts=TEXTS, batch_size=st.integers(1, 5))
def test_each_text_gets_the_score_that_it_gets_alone(
    scorer: Scorer, texts: list[str], batch_size: int
) -> None:
    together = scorer.logits(texts, batch_size=batch_size)
    assert together.shape == (len(texts), 3)
    assert together.dtype == np.float32
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_allclose(row, scorer.logits([text])[0], atol=1e-4)


def test_the_same_texts_give_the_same_bits(scorer: Scorer) -> None:
    texts = [" ".join(WORDS[: index % 17]) for index in range(100)]
    first, second = scorer.logits(texts), scorer.logits(texts)
    assert first.tobytes() == second.tobytes()


def test_order_is_kept_over_more_texts_than_one_stretch(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [" ".join(WORDS[index % 7 : index % 23]) for index in range(50)]
    whole = scorer.logits(texts)
    monkeypatch.setattr("textmill.scoring.STRETCH", 8)
    np.testing.assert_allclose(scorer.logits(texts), whole, atol=1e-4)


def test_texts_are_batched_with_others_of_their_length(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []
    forward = scorer.model.network.forward

    def spy(**inputs: object) -> object:
        shapes.append(tuple(inputs["input_ids"].shape))  # type: ignore[attr-defined]
        return forward(**inputs)

    monkeypatch.setattr(scorer.model.network, "forward", spy)
    scorer.logits(
        ["film", "the film the film the film", "cast", "the cast the cast the cast"], batch_size=2
    )
    (_, long), (_, short) = shapes
    assert long > short


@pytest.mark.parametrize("tokens", [1, 40, 1000])
def test_a_batch_has_no_more_tokens_than_are_good_for_the_model(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    sizes, original = [], scorer.model

    class Watched:
        device, outputs, tokens_at_once, tokens_a_call = "cpu", original.outputs, tokens, 32

        def logits(self, batch: Batch) -> Scores:
            sizes.append(batch["input_ids"].shape)
            return original.logits(batch)

    texts = [" ".join(WORDS[:length]) for length in (1, 9, 3, 20, 20, 5, 1)]
    whole = scorer.logits(texts)
    monkeypatch.setattr(scorer, "model", Watched())
    np.testing.assert_allclose(scorer.logits(texts), whole, atol=1e-4)
    # A text that is longer than that has a batch to itself.
    assert all(rows * length <= tokens or rows == 1 for rows, length in sizes)
    assert sum(rows for rows, _ in sizes) == len(texts)


def test_a_stream_gives_each_part_its_scores_and_reads_one_part_ahead(scorer: Scorer) -> None:
    parts = [[" ".join(WORDS[: 3 * part + row]) for row in range(part)] for part in range(6)]
    asked: list[int] = []

    def reading() -> Iterator[tuple[int, list[str]]]:
        for number, texts in enumerate(parts):
            asked.append(number)
            yield number, texts

    for number, scores in scorer.stream(reading()):
        assert len(asked) <= number + 3
        np.testing.assert_allclose(scores, scorer.probabilities(parts[number]), atol=1e-4)
    assert asked == list(range(6))


def shapes_of(
    encoder: Path, lengths: list[int], padding: Padding, call: int
) -> list[tuple[int, int]]:
    """The batches that texts are scored in, by a model whose calls cost so many tokens."""
    shapes = []

    class Counting:
        device, outputs, tokens_at_once, tokens_a_call = "cpu", 2, 1024, call

        def logits(self, batch: Batch) -> Scores:
            shapes.append(batch["input_ids"].shape)
            return np.zeros((len(batch["input_ids"]), 2), np.float32)

    policy = LengthPolicy(64)
    scorer = Scorer(Counting(), tiny_tokenizer(encoder), padding, policy, multi_label=False)
    scorer.logits([" ".join(["film"] * length) for length in lengths])
    return shapes


@pytest.mark.parametrize(
    ("lengths", "calls"),
    [
        ([40] + [2] * 8, [(1, 42), (8, 4)]),
        ([40] * 4 + [39] * 4, [(8, 42)]),
        ([40, 2], [(1, 42), (1, 4)]),
        ([2], [(1, 4)]),
    ],
)
def test_a_batch_is_parted_where_padding_costs_more_than_a_call(
    tiny_encoder: Path, lengths: list[int], calls: list[tuple[int, int]]
) -> None:
    assert shapes_of(tiny_encoder, lengths, Padding(0), call=32) == calls


def test_texts_of_one_width_are_scored_in_batches_of_one_shape(tiny_encoder: Path) -> None:
    lengths = [1 + number % 14 for number in range(700)]
    shapes = shapes_of(tiny_encoder, lengths, Padding(0, to_multiple_of=8), call=256)
    assert shapes == [(64, 16)] * 6 + [(16, 16)] + [(128, 8)] * 2 + [(44, 8)]


def test_probabilities_of_one_label_add_up_to_one(scorer: Scorer) -> None:
    logits, probabilities = scorer.logits(SENTENCES), scorer.probabilities(SENTENCES)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    exponents = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(
        probabilities, exponents / exponents.sum(1, keepdims=True), atol=1e-6
    )


def test_probabilities_of_several_labels_stand_for_themselves(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    scorer = read_bundle(make_bundle(tiny_encoder, tmp_path / "bundle", MULTI)).scorer()
    logits = scorer.logits(SENTENCES).astype(np.float64)
    np.testing.assert_allclose(
        scorer.probabilities(SENTENCES), 1 / (1 + np.exp(-logits)), atol=1e-6
    )


def test_no_texts(scorer: Scorer) -> None:
    assert scorer.probabilities([]).shape == (0, 3)


def test_lengths_are_those_of_what_is_scored(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tiny_tokenizer(tiny_encoder)
    model = make_model(tiny_encoder, SINGLE)
    scorer = torch_scorer(model, tokenizer, LengthPolicy(8), multi_label=False)
    texts = ["", "a film", SENTENCES[0], "the plot is clever"] * 5
    whole = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    monkeypatch.setattr("textmill.scoring.STRETCH", 7)
    lengths = scorer.lengths(texts)
    assert lengths.tokens.tolist() == [min(length, 8) for length in whole]
    assert lengths.cut.tolist() == [length > 8 for length in whole]
    assert lengths.tokens.dtype == np.int32
    assert {True, False} == set(lengths.cut.tolist())


def test_lengths_of_pairs_count_both_texts(scorer: Scorer) -> None:
    alone, pair = scorer.lengths(["a film"]), scorer.lengths([("a film", "a film")])
    assert pair.tokens[0] == 2 * alone.tokens[0] - 1
    assert len(scorer.lengths([]).tokens) == 0


def test_the_second_text_of_a_pair_counts(scorer: Scorer) -> None:
    one, other = scorer.logits([("a film", "wonderful"), ("a film", "terrible")])
    assert not np.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize(
    "texts",
    [
        "a bare text",
        ["a", 3],
        ["a", None],
        ["a", ("b", "c")],
        [("a", "b"), "c"],
        [("a", "b", "c")],
        [("a", 1)],
    ],
)
def test_what_is_not_text_is_refused(scorer: Scorer, texts: object) -> None:
    with pytest.raises(InputError):
        scorer.logits(texts)  # type: ignore[arg-type]


@pytest.mark.parametrize("texts", [["fine", "half \ud800"], [("fine", "half \udfff")]])
def test_half_a_surrogate_pair_is_refused(scorer: Scorer, texts: list[str]) -> None:
    with pytest.raises(InputError, match="whole characters"):
        scorer.logits(texts)


def test_threads_share_a_scorer(scorer: Scorer) -> None:
    texts = [" ".join(WORDS[index:]) for index in range(20)]
    expected = scorer.logits(texts)
    found: list[bool] = []

    def work() -> None:
        found.extend(np.array_equal(scorer.logits(texts), expected) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 20


class TestDevices:
    def test_auto_is_what_the_machine_has(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
        monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
        assert str(resolve_device("auto")) == "cpu"
        monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
        assert str(resolve_device("auto")) == "cuda"
        assert str(resolve_device("cuda:1")) == "cuda:1"

    @pytest.mark.parametrize("name", ["gpu", "tpu:0", "cpu:x", "cuda:-1", ""])
    def test_unknown(self, name: str) -> None:
        with pytest.raises(InputError, match=r"unknown device.*choose auto"):
            resolve_device(name)

    @pytest.mark.parametrize("name", ["cuda", "cuda:2", "mps", "cpu:1"])
    def test_absent(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torch.cuda.device_count", lambda: 2 if name == "cuda:2" else 0)
        monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
        with pytest.raises(InputError, match="this machine has no device"):
            resolve_device(name)
