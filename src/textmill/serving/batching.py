"""Items of many requests, computed together.

While a batch is computed, further requests wait in a queue; whatever waits when it is done makes up
the next batch. So a lone request never waits for others, and the busier a service is, the larger
its batches are.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Model = TypeVar("Model")
Item = TypeVar("Item")
Result = TypeVar("Result")

# Items that a request has in a batch before the next request's turn comes, so that one with
# hundreds of texts doesn't hold up one with a single text.
SHARE = 8

# The weight of the newest batch in the running mean of what an item costs.
_NEWEST = 0.2

WatchBatches = Callable[[int, float], None]
WatchQueue = Callable[[int], None]


class QueueFullError(Exception):
    """There is no room for a request.

    Args:
        retry_after: After how many seconds there should be, a whole number.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"no room for {retry_after} s")
        self.retry_after = retry_after


class TooLateError(Exception):
    """A request could not be answered in time."""


@dataclass(slots=True, eq=False)
class _Job(Generic[Model, Item, Result]):
    """A request: its items, how many were handed out so far, and the results as they come."""

    model: Model
    items: Sequence[Item]
    done: asyncio.Future[list[Result]]
    handed_out: int = 0
    results: dict[int, Result] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return len(self.items) - self.handed_out


@dataclass(frozen=True, slots=True, eq=False)
class _Piece(Generic[Model, Item, Result]):
    """Some items of a job that are in one batch."""

    job: _Job[Model, Item, Result]
    start: int
    items: Sequence[Item]

    def put(self, results: Sequence[Result]) -> None:
        """Hands the results in; the job is done with its last ones."""
        job = self.job
        job.results.update(enumerate(results, start=self.start))
        if len(job.results) == len(job.items) and not job.done.done():
            job.done.set_result([job.results[index] for index in range(len(job.items))])

    def fail(self, error: Exception) -> None:
        """Ends the job with an error."""
        if not self.job.done.done():
            self.job.done.set_exception(error)


class Batcher(Generic[Model, Item, Result]):
    """Computes the items of requests in batches, one batch at a time, in a thread of its own.

    Args:
        compute: From a model and items to their results, in the items' order.
        batch: The most items of a batch.
        queue: The most items that may wait.
        seconds: The longest that a request may take.
        watch_batches: Told of each batch: its items, and the seconds that it took.
        watch_queue: Told how many items wait, when that changes.
    """

    def __init__(
        self,
        compute: Callable[[Model, Sequence[Item]], Sequence[Result]],
        *,
        batch: int,
        queue: int,
        seconds: float,
        watch_batches: WatchBatches = lambda _items, _seconds: None,
        watch_queue: WatchQueue = lambda _items: None,
    ) -> None:
        self._compute = compute
        self._watch_batches, self._watch_queue = watch_batches, watch_queue
        self._batch, self._queue, self._seconds = batch, queue, seconds
        self._jobs: deque[_Job[Model, Item, Result]] = deque()
        self._thread = ThreadPoolExecutor(1)
        self._runner: asyncio.Task[None] | None = None
        self._cost = 0.0
        self._waiting = 0

    async def submit(self, model: Model, items: Sequence[Item]) -> list[Result]:
        """The results of some items, which are all computed by the same model.

        Raises:
            QueueFullError: Too many items wait already.
            TooLateError: They were not computed in time.
        """
        if self._waiting + len(items) > self._queue:
            raise QueueFullError(max(1, math.ceil(self._waiting * self._cost)))
        if not items:
            return []
        loop = asyncio.get_running_loop()
        job: _Job[Model, Item, Result] = _Job(model, items, loop.create_future())
        self._jobs.append(job)
        self._wait(len(items))
        if self._runner is None:
            self._runner = loop.create_task(self._run())
        try:
            async with asyncio.timeout(self._seconds):
                return await job.done
        except TimeoutError as error:
            raise TooLateError from error
        finally:
            # What is left of a job that nobody waits for any more makes room.
            self._wait(-job.left)
            job.handed_out = len(items)

    def _wait(self, more: int) -> None:
        self._waiting += more
        self._watch_queue(self._waiting)

    async def _run(self) -> None:
        while pieces := self._next_batch():
            await self._do(pieces)
        self._runner = None

    def _next_batch(self) -> list[_Piece[Model, Item, Result]]:
        """A share of each waiting request in turn; only of those for one and the same model."""
        pieces: list[_Piece[Model, Item, Result]] = []
        room = self._batch
        while room and self._jobs:
            if pieces and self._jobs[0].model is not pieces[0].job.model:
                break
            job = self._jobs.popleft()
            share = min(SHARE, room, job.left)
            if not share:
                continue
            start = job.handed_out
            pieces.append(_Piece(job, start, job.items[start : start + share]))
            job.handed_out += share
            self._wait(-share)
            room -= share
            if job.left:
                self._jobs.append(job)
        return pieces

    async def _do(self, pieces: Sequence[_Piece[Model, Item, Result]]) -> None:
        items = [item for piece in pieces for item in piece.items]
        loop, began = asyncio.get_running_loop(), time.perf_counter()
        try:
            results = await loop.run_in_executor(
                self._thread, self._compute, pieces[0].job.model, items
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told to who asked
            await self._do_apart(pieces, error)
            return
        seconds = time.perf_counter() - began
        self._cost += _NEWEST * (seconds / len(items) - self._cost)
        self._watch_batches(len(items), seconds)
        place = 0
        for piece in pieces:
            piece.put(results[place : place + len(piece.items)])
            place += len(piece.items)

    async def _do_apart(
        self, pieces: Sequence[_Piece[Model, Item, Result]], error: Exception
    ) -> None:
        """After an error, so that it strikes only the request whose items cause it."""
        if len(pieces) == 1:
            pieces[0].fail(error)
            return
        for piece in pieces:
            await self._do([piece])
