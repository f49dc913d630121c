from __future__ import annotations

import pickle
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tests.tiny import SENTENCES
from textmill.data.batches import (
    WINDOW,
    Batches,
    Collator,
    LengthGroupedBatchSampler,
    batch_order,
    label_skew,
    make_loader,
    widest_window,
)
from textmill.data.tokens import TokenizedSplit, TokenRows, tokenize_split
from textmill.encoding import LengthPolicy, Padding
from textmill.labels import Labels

LABELS = Labels(("bad", "good"))
SPREAD = np.random.default_rng(7).integers(3, 200, size=2000).astype(np.int32)

lengths_of = st.lists(st.integers(1, 60), max_size=80).map(lambda each: np.array(each, np.int32))
sizes = st.one_of(
    st.tuples(st.integers(1, 12), st.none()), st.tuples(st.none(), st.integers(1, 300))
)


def order(
    lengths: np.ndarray, size: tuple[int | None, int | None] = (8, None), **changed: object
) -> Batches:
    settings = {"seed": 1, "epoch": 0, "shuffle": True} | changed
    return batch_order(lengths, batch_size=size[0], max_tokens=size[1], **settings)  # type: ignore[arg-type]


def as_lists(batches: Batches) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


def padded(lengths: np.ndarray, batches: list[list[int]]) -> int:
    return sum(len(batch) * int(lengths[batch].max()) for batch in batches)


@settings(deadline=None)
@given(lengths=lengths_of, size=sizes, shuffle=st.booleans(), window=st.integers(1, 9))
def test_every_example_is_in_exactly_one_batch(
    lengths: np.ndarray, size: tuple[int | None, int | None], shuffle: bool, window: int
) -> None:
    batches = as_lists(order(lengths, size, shuffle=shuffle, window=window))

    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(batches)


@settings(deadline=None)
@given(lengths=lengths_of, size=st.integers(1, 12), epoch=st.integers(0, 5), shuffle=st.booleans())
def test_a_size_in_examples_is_kept_and_the_number_of_batches_constant(
    lengths: np.ndarray, size: int, epoch: int, shuffle: bool
) -> None:
    found = sorted(len(b) for b in order(lengths, (size, None), epoch=epoch, shuffle=shuffle))

    whole, rest = divmod(len(lengths), size)
    assert found == sorted([size] * whole + [rest] * (rest > 0))


@settings(deadline=None)
@given(lengths=lengths_of, tokens=st.integers(1, 300), shuffle=st.booleans())
def test_a_size_in_tokens_counts_the_padding(
    lengths: np.ndarray, tokens: int, shuffle: bool
) -> None:
    for batch in order(lengths, (None, tokens), shuffle=shuffle):
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= tokens


def test_batches_in_tokens_are_filled() -> None:
    batches = order(SPREAD, (None, 2000))

    assert padded(SPREAD, as_lists(batches)) > 0.85 * 2000 * len(batches)


@settings(deadline=None)
@given(lengths=lengths_of, size=sizes, seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 99))
def test_the_order_is_a_pure_function_of_seed_and_epoch(
    lengths: np.ndarray, size: tuple[int | None, int | None], seed: int, epoch: int
) -> None:
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = as_lists(order(lengths, size, seed=seed, epoch=epoch))

    assert as_lists(order(lengths.copy(), size, seed=seed, epoch=epoch)) == first
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_the_order_is_the_same_for_every_version_of_the_code() -> None:
    lengths = np.array([5, 9, 2, 7, 7, 3, 8, 1, 6, 4], np.int32)

    assert as_lists(order(lengths, (3, None), seed=3, epoch=2, window=1)) == [
        [5],
        [1, 4, 7],
        [6, 8, 0],
        [3, 9, 2],
    ]


def test_epochs_and_seeds_differ() -> None:
    orders = [order(SPREAD, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)]

    assert len({str(as_lists(each)) for each in orders}) == 4
    pairs = [{frozenset(batch) for batch in as_lists(each)} for each in orders]
    assert not pairs[0] & pairs[1], "the batches themselves must be new, not only their order"


def test_batches_are_tight_but_not_of_one_length_and_come_in_random_order() -> None:
    batches = as_lists(order(SPREAD))

    at_random = as_lists(order(SPREAD, window=1))
    padding, most = (1 - SPREAD.sum() / padded(SPREAD, each) for each in (batches, at_random))
    assert 0.05 < padding < most / 2
    means = np.array([SPREAD[batch].mean() for batch in batches])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.25


@pytest.mark.parametrize("sorted_together", [1, 2, 8])
def test_examples_are_sorted_within_windows_and_no_further(sorted_together: int) -> None:
    batches = order(SPREAD, window=sorted_together)

    for start in range(0, len(SPREAD), 8 * sorted_together):
        part = SPREAD[batches.order[start : start + 8 * sorted_together]]
        assert (np.diff(part) <= 0).all()
    assert (np.diff(SPREAD[batches.order]) > 0).any()


@pytest.fixture
def tokenized(
    tiny_encoder: Path, tmp_path: Path
) -> Callable[[Sequence[int | list[int]]], TokenizedSplit]:
    """Makes a split of given labels, whose texts have two tokens, three and so on to nine."""

    def make(labels: Sequence[int | list[int]]) -> TokenizedSplit:
        texts = [" ".join(["good"] * (1 + row % 8)) for row in range(len(labels))]
        return tokenize_split(
            datasets.Dataset.from_dict({"text": texts, "label": labels}),
            AutoTokenizer.from_pretrained(tiny_encoder),
            LengthPolicy(64),
            fingerprint=str(labels),
            cache=tmp_path,
        )

    return make


@pytest.mark.parametrize(("batches", "window"), [(2, 1), (4, 1), (12, 3), (31, 7), (90, 8)])
@pytest.mark.parametrize("tokens", [False, True])
def test_small_data_is_sorted_in_smaller_windows(
    tokenized: Callable[[Sequence[int]], TokenizedSplit], batches: int, window: int, tokens: bool
) -> None:
    split = tokenized([0] * 16 * batches)

    size = (None, 1 + int(16 * split.lengths.mean())) if tokens else (16, None)
    assert widest_window(split, *size) == window


@pytest.mark.parametrize("size", [(8, None), (None, 600)])
def test_small_data_is_mixed_as_well(
    tokenized: Callable[[Sequence[int]], TokenizedSplit], size: tuple[int | None, int | None]
) -> None:
    lengths, window = SPREAD[:100], widest_window(tokenized([0] * 100), 8, None)

    epochs = [
        {frozenset(b) for b in as_lists(order(lengths, size, epoch=e, window=window))}
        for e in (0, 1)
    ]

    assert len(epochs[0] & epochs[1]) <= 1


@pytest.mark.parametrize("several", [False, True])
def test_nothing_is_sorted_where_length_tells_of_the_label(
    tokenized: Callable[[Sequence[int | list[int]]], TokenizedSplit], several: bool
) -> None:
    def widest(labels: list[int]) -> int:
        ids = [[0, 1 + each] for each in labels] if several else labels
        return widest_window(tokenized(ids), 8, None)

    assert widest([row // 8 % 2 for row in range(640)]) == WINDOW
    assert widest([int(row % 8 < 4) for row in range(640)]) == 1


def test_label_skew_is_the_batch_size_for_batches_of_one_label_and_one_at_random() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, size=16_000, p=[0.7, 0.2, 0.1])

    assert label_skew(np.split(labels, 1000)) == pytest.approx(1, abs=0.1)
    assert label_skew(np.split(np.sort(labels), 1000)) == pytest.approx(16, rel=0.01)
    uneven = np.split(labels, np.sort(rng.choice(16_000, 999, replace=False)))
    assert label_skew([each for each in uneven if len(each)]) == pytest.approx(1, abs=0.1)
    assert label_skew([np.zeros(4, np.int64)] * 3) == 1


def test_without_shuffling_the_longest_come_first_and_equal_ones_in_input_order() -> None:
    lengths = np.array([2, 5, 5, 1, 5], np.int32)

    assert as_lists(order(lengths, (2, None), shuffle=False)) == [[1, 2], [4, 0], [3]]


def test_batches_are_a_sequence() -> None:
    batches = order(SPREAD)

    assert len(batches) == 250
    assert batches[-1].tolist() == batches[249].tolist()
    assert [b.tolist() for b in batches[2:4]] == [batches[2].tolist(), batches[3].tolist()]
    with pytest.raises(IndexError):
        batches[250]


def sampler(
    lengths: np.ndarray,
    size: tuple[int | None, int | None] = (8, None),
    *,
    shuffle: bool = True,
    even: bool | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> LengthGroupedBatchSampler:
    return LengthGroupedBatchSampler(
        lengths, *size, seed=1, shuffle=shuffle, even=even, rank=rank, world_size=world_size
    )


@settings(deadline=None)
@given(lengths=lengths_of, size=sizes, world=st.integers(1, 5), epoch=st.integers(0, 3))
def test_in_training_all_ranks_take_as_many_steps_and_none_misses_a_batch(
    lengths: np.ndarray, size: tuple[int | None, int | None], world: int, epoch: int
) -> None:
    ranks = [sampler(lengths, size, rank=rank, world_size=world) for rank in range(world)]
    for each in ranks:
        each.set_epoch(epoch)
    dealt = [list(each) for each in ranks]

    whole = as_lists(order(lengths, size, epoch=epoch))
    steps = -(-len(whole) // world)
    assert [len(batches) for batches in dealt] == [steps] * world
    assert [len(each) for each in ranks] == [steps] * world
    in_turn = [batch for turn in zip(*dealt, strict=True) for batch in turn]
    assert in_turn[: len(whole)] == whole
    assert all(b == whole[at % len(whole)] for at, b in enumerate(in_turn))


@settings(deadline=None)
@given(lengths=lengths_of, size=sizes, world=st.integers(1, 5))
def test_in_evaluation_no_example_is_lost_or_twice(
    lengths: np.ndarray, size: tuple[int | None, int | None], world: int
) -> None:
    ranks = [
        sampler(lengths, size, shuffle=False, rank=rank, world_size=world) for rank in range(world)
    ]
    dealt = [list(each) for each in ranks]

    rows = sorted(row for batches in dealt for batch in batches for row in batch)
    assert rows == list(range(len(lengths)))
    assert [len(batches) for batches in dealt] == [len(each) for each in ranks]
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_an_even_evaluation_gives_all_ranks_as_many_batches_by_repeating_some() -> None:
    lengths = np.arange(1, 10)
    ranks = [
        sampler(lengths, (2, None), shuffle=False, even=True, rank=rank, world_size=3)
        for rank in range(3)
    ]
    dealt = [list(each) for each in ranks]

    assert [len(batches) for batches in dealt] == [len(each) for each in ranks] == [2, 2, 2]
    assert {row for batches in dealt for batch in batches for row in batch} == set(range(9))
    assert dealt[2][1] == dealt[0][0]


@settings(deadline=None)
@given(size=sizes, epoch=st.integers(0, 3), world=st.integers(1, 3), share=st.floats(0, 1))
def test_an_iteration_started_within_an_epoch_gives_the_rest_of_it_once(
    size: tuple[int | None, int | None], epoch: int, world: int, share: float
) -> None:
    each = sampler(SPREAD[:100], size, rank=world - 1, world_size=world)
    each.set_epoch(epoch)
    whole = list(each)
    start = round(share * len(whole))

    resumed = sampler(SPREAD[:100], size, rank=world - 1, world_size=world)
    resumed.start_at(epoch, start)

    assert len(resumed) == len(whole), "the length is that of the whole epoch"
    assert list(resumed) == whole[start:]
    assert list(resumed) == whole, "the start is used once"


def test_the_start_holds_whatever_epoch_the_trainer_sets_before_iterating() -> None:
    each = sampler(SPREAD)
    expected = as_lists(order(SPREAD, epoch=2))

    each.start_at(2, 5)
    each.set_epoch(3)

    assert list(each) == expected[5:]
    assert list(each) == as_lists(order(SPREAD, epoch=3))


def test_the_batches_of_an_epoch_are_known_before_it() -> None:
    lengths = SPREAD[:300]
    for size in ((7, None), (None, 900)):
        each = sampler(lengths, size)
        known = [each.batches_in(epoch) for epoch in range(4)]
        for epoch in range(4):
            each.set_epoch(epoch)
            assert len(list(each)) == known[epoch] == len(each)


@pytest.mark.parametrize("size", [(None, None), (8, 100)])
def test_a_sampler_has_one_kind_of_size(size: tuple[int | None, int | None]) -> None:
    with pytest.raises(ValueError, match="either batch_size or max_tokens"):
        sampler(SPREAD, size)


def test_a_million_lengths_are_ordered_in_little_memory() -> None:
    lengths = np.tile(SPREAD, 500)
    tracemalloc.start()
    batches = order(lengths, (32, None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(batches) == 31_250
    assert peak < 24 * len(lengths), "bytes for each example"


def test_targets_are_ids_or_many_hot() -> None:
    rows = TokenRows(
        index=np.array([4, 2]),
        input_ids=[np.array([5, 6, 7], np.int32), np.array([8], np.int32)],
        token_type_ids=None,
        labels=np.array([1, 0]),
    )
    padding = Padding(token_id=0, token_types=True)

    batch = Collator(padding, LABELS)(rows)

    assert batch["labels"].tolist() == [1, 0]
    assert batch["index"].tolist() == [4, 2]
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}

    several = TokenRows(
        rows.index, rows.input_ids, None, [np.array([2, 0]), np.array([], np.int64)]
    )
    targets = Collator(padding, Labels(("a", "b", "c"), multi_label=True))(several)["labels"]
    assert targets.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert targets.dtype == torch.float32


def test_the_collator_is_small_to_send() -> None:
    collator = Collator(Padding(token_id=0), LABELS)

    sent = pickle.dumps(collator)

    assert len(sent) < 500
    assert pickle.loads(sent) == collator  # noqa: S301


@pytest.fixture(scope="module")
def split(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> TokenizedSplit:
    texts = [" ".join(SENTENCES[: 1 + row % 6]) for row in range(40)]
    examples = datasets.Dataset.from_dict({"text": texts, "label": [row % 2 for row in range(40)]})
    return tokenize_split(
        examples,
        AutoTokenizer.from_pretrained(tiny_encoder),
        LengthPolicy(64, "keep_head"),
        fingerprint="f",
        cache=tmp_path_factory.mktemp("cache"),
    )


def epochs(split: TokenizedSplit, workers: int) -> Iterator[dict[str, torch.Tensor]]:
    each = sampler(split.lengths)
    loader = make_loader(split, each, Collator(Padding(token_id=0), LABELS), workers=workers)
    for epoch in range(2):
        each.set_epoch(epoch)
        yield from loader


@pytest.mark.slow
@pytest.mark.usefixtures("socket_enabled")  # workers hand tensors over through Unix sockets
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(
    split: TokenizedSplit, workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = list(epochs(split, 0))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = list(epochs(split, workers))

    assert len(found) == len(expected) == 10
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert capfd.readouterr().err == ""


def test_a_batch_is_read_in_one_go_and_leaves_torchs_generator_alone(
    split: TokenizedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    original = TokenizedSplit.__getitems__

    def counted(self: TokenizedSplit, indices: list[int]) -> TokenRows:
        read.append(indices)
        return original(self, indices)

    monkeypatch.setattr(TokenizedSplit, "__getitems__", counted)
    before = torch.get_rng_state()
    batches = list(epochs(split, 0))

    assert torch.equal(torch.get_rng_state(), before)
    assert read == [batch["index"].tolist() for batch in batches]
    for batch in batches:
        assert batch["attention_mask"].sum(1).tolist() == split.lengths[batch["index"]].tolist()
        assert batch["labels"].tolist() == (batch["index"] % 2).tolist()
