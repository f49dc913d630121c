"""The stream of batches can be entered anywhere and gives what would have come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.data.batches import LengthGroupedBatchSampler
from textmill.data.stream import BatchStream, epoch_ends


def sampler(
    examples: int = 50, *, rank: int = 0, world_size: int = 1, max_tokens: int | None = None
) -> LengthGroupedBatchSampler:
    lengths = np.random.default_rng(0).integers(3, 30, examples)
    return LengthGroupedBatchSampler(
        lengths,
        batch_size=None if max_tokens else 8,
        max_tokens=max_tokens,
        seed=3,
        shuffle=True,
        rank=rank,
        world_size=world_size,
    )


@given(start=st.integers(0, 25), max_tokens=st.sampled_from([None, 60, 200]))
@settings(deadline=None, max_examples=60)
def test_entering_the_stream_anywhere_gives_the_rest_of_it(
    start: int, max_tokens: int | None
) -> None:
    whole = list(BatchStream(sampler(max_tokens=max_tokens), 25))
    assert list(BatchStream(sampler(max_tokens=max_tokens), 25, start)) == whole[start:]
    assert len(whole) == 25


def test_each_epoch_of_the_stream_has_every_example_once() -> None:
    ends = epoch_ends(sampler(), 3, 1)
    batches = list(BatchStream(sampler(), ends[-1]))
    for start, end in zip([0, *ends], ends, strict=False):
        rows = [row for batch in batches[start:end] for row in batch]
        assert sorted(rows) == list(range(50))


def test_epochs_have_orders_of_their_own() -> None:
    batches = list(BatchStream(sampler(), 14))
    assert batches[:7] != batches[7:]


def test_length_is_that_of_the_whole_stream_wherever_it_is_entered() -> None:
    assert len(BatchStream(sampler(), 25, 20)) == 25


@pytest.mark.parametrize("accumulate", [1, 2, 3, 4])
def test_epoch_ends_are_moved_up_to_whole_optimizer_steps(accumulate: int) -> None:
    ends = epoch_ends(sampler(), 4, accumulate)
    assert all(end % accumulate == 0 for end in ends)
    assert all(0 <= end - 7 * epoch < accumulate for epoch, end in enumerate(ends, 1))


def test_ranks_take_as_many_steps_as_each_other() -> None:
    ends = [epoch_ends(sampler(rank=rank, world_size=2), 3, 1) for rank in (0, 1)]
    assert ends[0] == ends[1]
