"""Times training steps behind a warm-up, by the same rule for every contestant."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import SupportsInt

from benchmarks.speed.machine import own_memory, product_flops, wait_for_device
from benchmarks.speed.results import Trained


class StepClock:
    """A clock that is told of the end of each optimizer step.

    Made when a training begins with its data on disk.

    Args:
        warm_up: Steps before it starts.
        steps: Steps that it times.
    """

    def __init__(self, warm_up: int, steps: int) -> None:
        self.warm_up = warm_up
        self.steps = steps
        self._done = 0
        self._made = time.perf_counter()
        self._started = self._stopped = self._made

    def step_ended(self) -> None:
        """Counts a step."""
        self._done += 1
        if self.warmed_up:
            wait_for_device()
            self._started = time.perf_counter()
        elif self.finished:
            wait_for_device()
            self._stopped = time.perf_counter()

    @property
    def warmed_up(self) -> bool:
        """Whether the last step of the warm-up has just ended."""
        return self._done == self.warm_up

    @property
    def finished(self) -> bool:
        """Whether the last of the timed steps has just ended."""
        return self._done == self.warm_up + self.steps

    @property
    def seconds(self) -> float:
        """What the timed steps took."""
        return self._stopped - self._started

    def read(self, batch_tokens: Sequence[SupportsInt], precision: str) -> Trained:
        """What was measured; memory is read, and a matrix product timed, now.

        Args:
            batch_tokens: Tokens of each batch without padding, from the first of the warm-up.
            precision: What was computed in.
        """
        import torch

        from textmill.environment import peak_memory

        assert self.finished
        timed = batch_tokens[self.warm_up : self.warm_up + self.steps]
        return Trained(
            seconds=self.seconds,
            tokens=sum(map(int, timed)),
            ready_seconds=self._started - self._made,
            peak_bytes=peak_memory(),
            own_bytes=own_memory(),
            precision=precision,
            threads=torch.get_num_threads(),
            product_flops=product_flops(),
        )
