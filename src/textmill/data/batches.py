"""Batches of texts of like lengths, in an order that is a pure function of seed and epoch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Sampler

from textmill.data.tokens import LabelIds, TokenizedSplit, TokenRows
from textmill.encoding import Padding, pad_batch
from textmill.labels import Labels

# Batches whose examples are sorted together: more make batches tighter, fewer more random. At 8,
# lengths as sentences have them leave 16% of padding, where batches at random have over half. At 64
# it is 4%, but then each batch is of one length, and a classifier for CoLA loses 1.3 points of
# accuracy (docs/performance.md).
WINDOW = 8
# The label skew above which batches of like lengths are too much of like labels, and on how many
# batches it is measured. Of eight data sets, the two of Reuters have 3.2 to 3.8, the others 1.2 at
# most, as batches at random have.
MOST_SKEW = 1.5
_SAMPLED = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Batches(Sequence[npt.NDArray[np.int64]]):
    """The batches of an epoch; each is an array of row numbers.

    Args:
        order: All row numbers; a batch is a slice of it.
        bounds: Where each slice begins, and where the last one ends, ``[batches + 1]``.
        sequence: Which slice comes at which place, ``[batches]``.
    """

    order: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]
    sequence: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sequence)

    @overload
    def __getitem__(self, place: int) -> npt.NDArray[np.int64]: ...
    @overload
    def __getitem__(self, place: slice) -> list[npt.NDArray[np.int64]]: ...
    def __getitem__(
        self, place: int | slice
    ) -> npt.NDArray[np.int64] | list[npt.NDArray[np.int64]]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        slot = self.sequence[place]
        return self.order[self.bounds[slot] : self.bounds[slot + 1]]


def batch_order(
    lengths: npt.NDArray[np.integer],
    *,
    batch_size: int | None,
    max_tokens: int | None,
    seed: int,
    epoch: int,
    shuffle: bool,
    window: int = WINDOW,
) -> Batches:
    """Puts every example into one batch of an epoch, beside others of like length.

    Shuffled, the examples are permuted, sorted by length in windows of some batches, and the
    batches permuted. Otherwise all are sorted, the longest first, so that too little memory shows
    at once.

    Args:
        lengths: The tokens of each example, ``[examples]``.
        batch_size: The examples of a batch; the last of an epoch may have fewer.
        max_tokens: In place of ``batch_size``: the most tokens of a batch, its examples times the
            longest of them. A longer example is a batch of its own.
        seed: Not negative.
        epoch: Counted from 0.
        shuffle: Whether the order depends on seed and epoch.
        window: The batches whose examples are sorted together; see `widest_window`.
    """
    rng = np.random.default_rng([seed, epoch])
    count = len(lengths)
    examples = max(1, count)
    if shuffle:
        examples = window * _typical_batch(lengths, batch_size, max_tokens)
    order = rng.permutation(count) if shuffle else np.arange(count)
    _sort_in_windows(order, lengths, examples)
    bounds = (
        _token_bounds(lengths[order], examples, max_tokens)
        if max_tokens is not None
        else np.append(np.arange(0, count, batch_size), count)
    )
    batches = len(bounds) - 1
    return Batches(order, bounds, rng.permutation(batches) if shuffle else np.arange(batches))


def widest_window(split: TokenizedSplit, batch_size: int | None, max_tokens: int | None) -> int:
    """How many batches' examples can be sorted together by length without harm.

    They are `WINDOW`; fewer where an epoch has less than four times as many, so that small data is
    mixed as well. Where length tells of the label, it is 1, so that nothing is sorted: batches of
    like lengths would be of like labels, which taught a classifier for Reuters less.

    Args:
        split: The training split.
        batch_size: As for `batch_order`.
        max_tokens: As for `batch_order`.
    """
    count = len(split)
    size = _typical_batch(split.lengths, batch_size, max_tokens)
    window = max(1, min(WINDOW, count // size // 4))
    order = batch_order(
        split.lengths,
        batch_size=batch_size,
        max_tokens=max_tokens,
        seed=0,
        epoch=0,
        shuffle=True,
        window=window,
    )
    skew = label_skew([split.labels(rows) for rows in order[:_SAMPLED]])
    return 1 if skew > MOST_SKEW else window


def label_skew(batches: Sequence[LabelIds]) -> float:
    """How much the labels' shares vary from batch to batch: 1 as they do at random, or more.

    It is the variance of the shares, summed over the labels, divided by that of samples of the
    batches' sizes.

    Args:
        batches: The label ids of each batch's texts; of several for a text, an array for each.
    """
    sizes = np.array([len(labels) for labels in batches])
    ids = [np.concatenate(each) if isinstance(each, list) else each for each in batches]
    labels = 1 + max((int(each.max(initial=0)) for each in ids), default=0)
    counts = np.array([np.bincount(each, minlength=labels) for each in ids])
    shares = counts.sum(axis=0) / sizes.sum()
    at_random = float((shares * (1 - shares)).sum())
    squares = (counts - np.outer(sizes, shares)) ** 2 / sizes[:, None]
    return float(squares.sum(axis=1).mean()) / at_random if at_random else 1.0


class LengthGroupedBatchSampler(Sampler[list[int]]):
    """The batches of one rank, from `batch_order`.

    Whole batches are dealt to the ranks in turn. Where they don't divide, an even epoch (as in
    training, where all ranks must take the same steps) repeats its first batches; in another, some
    ranks have one batch fewer.

    Args:
        lengths: The tokens of each example, ``[examples]``.
        batch_size: The examples of a batch.
        max_tokens: In place of ``batch_size``: the most tokens of a batch, with padding.
        seed: Not negative.
        shuffle: Whether the order depends on seed and epoch.
        window: The batches whose examples are sorted together, if they are shuffled.
        even: Whether all ranks have the same number of batches; None if they are shuffled.
        rank: This process's number among those that share the batches.
        world_size: How many processes share the batches.

    Raises:
        ValueError: Not exactly one of ``batch_size`` and ``max_tokens`` is given.
    """

    def __init__(
        self,
        lengths: npt.NDArray[np.integer],
        batch_size: int | None = None,
        max_tokens: int | None = None,
        *,
        seed: int,
        shuffle: bool,
        window: int = WINDOW,
        even: bool | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if (batch_size is None) == (max_tokens is None):
            raise ValueError("give either batch_size or max_tokens")
        self._lengths = lengths
        self._batch_size = batch_size
        self._max_tokens = max_tokens
        self._seed = seed
        self._shuffle = shuffle
        self._window = window
        self._even = shuffle if even is None else even
        self._rank = rank
        self._world_size = world_size
        self._epoch = 0
        self._start: tuple[int, int] | None = None
        self._order: tuple[int, Batches] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that is iterated next."""
        self._epoch = epoch

    def start_at(self, epoch: int, batch: int) -> None:
        """Makes the next iteration, and only that one, begin within an epoch.

        Args:
            epoch: Stays the current one until `set_epoch`.
            batch: How many of this rank's batches are left out.
        """
        self._epoch = epoch
        self._start = (epoch, batch)

    def batches_in(self, epoch: int) -> int:
        """The batches of this rank in a whole epoch."""
        batches = self._batches(epoch)
        left = batches - self._rank
        return -(-(batches if self._even else left) // self._world_size)

    def __len__(self) -> int:
        return self.batches_in(self._epoch)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, start = self._start or (self._epoch, 0)
        self._start = None
        order = self._ordered(epoch)
        turns = range(start, self.batches_in(epoch))
        places = (turn * self._world_size + self._rank for turn in turns)
        return (order[place % len(order)].tolist() for place in places)

    def _batches(self, epoch: int) -> int:
        if self._batch_size is not None:
            return -(-len(self._lengths) // self._batch_size)
        return len(self._ordered(epoch))

    def _ordered(self, epoch: int) -> Batches:
        epoch = epoch if self._shuffle else 0
        if self._order is None or self._order[0] != epoch:
            batches = batch_order(
                self._lengths,
                batch_size=self._batch_size,
                max_tokens=self._max_tokens,
                seed=self._seed,
                epoch=epoch,
                shuffle=self._shuffle,
                window=self._window,
            )
            self._order = (epoch, batches)
        return self._order[1]


@dataclass(frozen=True, slots=True)
class Collator:
    """Makes tensors of a batch's rows; small, so that workers receive it quickly.

    Args:
        padding: From the tokenizer.
        labels: The label set.
    """

    padding: Padding
    labels: Labels

    def __call__(self, rows: TokenRows) -> dict[str, torch.Tensor]:
        """Pads the rows to the longest.

        Returns:
            What `pad_batch` gives, ``labels`` (int64 ``[batch]``; for multi-label data float32
            ``[batch, labels]`` of 0 and 1), and ``index``, the rows' numbers (int64 ``[batch]``).
        """
        padded = pad_batch(rows.input_ids, rows.token_type_ids, self.padding)
        batch = {name: torch.from_numpy(ids) for name, ids in padded.items()}
        batch["labels"] = self._targets(rows.labels)
        batch["index"] = torch.from_numpy(rows.index)
        return batch

    def _targets(self, labels: LabelIds) -> torch.Tensor:
        if isinstance(labels, np.ndarray):
            return torch.from_numpy(labels)
        targets = np.zeros((len(labels), len(self.labels)), dtype=np.float32)
        for target, ids in zip(targets, labels, strict=True):
            target[ids] = 1
        return torch.from_numpy(targets)


def make_loader(
    split: TokenizedSplit, sampler: Sampler[list[int]], collator: Collator, *, workers: int
) -> DataLoader[dict[str, torch.Tensor]]:
    """Reads a split's batches, in the sampler's order whatever the number of workers.

    Workers are forked where that is safe, as it is for what they do: reading and padding, without
    the tokenizer and without torch's threads. The loader draws from a generator of its own, so that
    iterating over it doesn't disturb torch's.

    Args:
        split: Where the rows are.
        sampler: Which rows make a batch.
        collator: Makes tensors of them.
        workers: Processes that read ahead; 0 reads in this one.
    """
    if workers:
        # Unless it is told what to do, the tokenizers library warns of forks after it used threads.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # torch's types know only of items that are joined to batches; a split gives a batch whole.
    return DataLoader(
        split,  # type: ignore[arg-type]
        batch_sampler=sampler,
        collate_fn=collator,  # type: ignore[arg-type]
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


def _typical_batch(
    lengths: npt.NDArray[np.integer], batch_size: int | None, max_tokens: int | None
) -> int:
    if max_tokens is None:
        return batch_size or 1
    mean = float(np.mean(lengths)) if len(lengths) else 1.0
    return max(1, int(max_tokens / max(mean, 1.0)))


def _sort_in_windows(
    order: npt.NDArray[np.int64], lengths: npt.NDArray[np.integer], window: int
) -> None:
    """Sorts each window of an order in place, the longest first; equal lengths stay as they are."""
    for start in range(0, len(order), window):
        part = order[start : start + window]
        order[start : start + window] = part[np.argsort(-lengths[part], kind="stable")]


def _token_bounds(
    lengths: npt.NDArray[np.integer], window: int, max_tokens: int
) -> npt.NDArray[np.int64]:
    """Where batches begin whose first, and so longest, example times their size fits."""
    sizes = np.maximum(1, max_tokens // np.maximum(lengths, 1))
    bounds, at = [0], 0
    while at < len(lengths):
        at = min(at + int(sizes[at]), (at // window + 1) * window, len(lengths))
        bounds.append(at)
    return np.array(bounds, dtype=np.int64)
