"""All batches of a training run, in one row, that can be entered anywhere."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from torch.utils.data import Sampler

from textmill.data.batches import LengthGroupedBatchSampler


class BatchStream(Sampler[list[int]]):
    """The batches of one epoch after another, as a function of the seed alone.

    A position in it is one number, the batches done, so that a checkpoint in the middle of an
    epoch, at its end or across an accumulated step is resumed in the same way.

    Args:
        sampler: Gives the batches of an epoch on this process.
        total_batches: Where the stream ends.
        start: Batches already done; iteration begins behind them.
    """

    def __init__(
        self, sampler: LengthGroupedBatchSampler, total_batches: int, start: int = 0
    ) -> None:
        self.sampler = sampler
        self.total_batches = total_batches
        self.start = start

    def __len__(self) -> int:
        """Batches of the whole stream, those already done included."""
        return self.total_batches

    def __iter__(self) -> Iterator[list[int]]:
        return itertools.islice(self._from_start(), self.total_batches - self.start)

    def _from_start(self) -> Iterator[list[int]]:
        done = self.start
        for epoch in itertools.count():
            batches = self.sampler.batches_in(epoch)
            if done >= batches:
                done -= batches
                continue
            self.sampler.start_at(epoch, done)
            done = 0
            yield from self.sampler


def epoch_ends(sampler: LengthGroupedBatchSampler, max_epochs: int, accumulate: int) -> list[int]:
    """Batches done at the end of each epoch, moved up to the end of an optimizer step.

    Args:
        sampler: Gives the number of batches of an epoch on this process.
        max_epochs: Epochs to plan.
        accumulate: Batches per optimizer step.
    """
    ends = itertools.accumulate(sampler.batches_in(epoch) for epoch in range(max_epochs))
    return [-(-end // accumulate) * accumulate for end in ends]
