"""Requests are computed together, in turn, and none waits without end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from textmill.serving.batching import SHARE, Batcher, QueueFullError, TooLateError

# An event loop wakes itself through a socket.
pytestmark = pytest.mark.usefixtures("socket_enabled")


@dataclass
class Held:
    """A computation that waits until it is let go, and notes its batches."""

    batches: list[tuple[str, list[int]]] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, model: str, items: Sequence[int]) -> list[str]:
        self.batches.append((model, list(items)))
        assert self.go.wait(10)
        if 13 in items:
            raise RuntimeError("unlucky")
        return [f"{model}{item}" for item in items]


Case = Callable[["Batcher[str, int, str]", Held], Coroutine[Any, Any, None]]


def run(case: Case, *, batch: int = 32, queue: int = 100, seconds: float = 10.0) -> Held:
    held = Held()

    async def main() -> None:
        await case(Batcher(held, batch=batch, queue=queue, seconds=seconds), held)

    asyncio.run(main())
    return held


async def submitted(
    batcher: Batcher[str, int, str], *requests: Sequence[int], model: str = "m"
) -> list[asyncio.Task[list[str]]]:
    """Requests that have reached the queue one by one, the first of them the computation."""
    tasks = []
    for items in requests:
        tasks.append(asyncio.create_task(batcher.submit(model, items)))
        await asyncio.sleep(0.01)
    return tasks


def test_a_lone_request_does_not_wait_and_the_others_go_together() -> None:
    async def case(batcher: Batcher[str, int, str], held: Held) -> None:
        tasks = await submitted(batcher, [1], [2], [3, 4], [5])
        held.go.set()
        assert await asyncio.gather(*tasks) == [["m1"], ["m2"], ["m3", "m4"], ["m5"]]

    assert run(case).batches == [("m", [1]), ("m", [2, 3, 4, 5])]


def test_a_request_with_many_items_does_not_hold_up_a_small_one() -> None:
    async def case(batcher: Batcher[str, int, str], held: Held) -> None:
        many = list(range(100, 100 + 5 * SHARE))
        first, large, small = await submitted(batcher, [1], many, [2])
        held.go.set()
        assert await small == ["m2"]
        assert await large == [f"m{item}" for item in many]
        await first

    held = run(case, batch=2 * SHARE)
    assert 2 in held.batches[1][1]
    assert all(len(items) <= 2 * SHARE for _, items in held.batches)


def test_what_does_not_fit_into_the_queue_is_turned_away() -> None:
    async def case(batcher: Batcher[str, int, str], held: Held) -> None:
        tasks = await submitted(batcher, [0], [1, 2], [3])
        with pytest.raises(QueueFullError) as caught:
            await batcher.submit("m", [4, 5])
        assert caught.value.retry_after >= 1
        tasks += await submitted(batcher, [6])
        held.go.set()
        await asyncio.gather(*tasks)

    assert [item for _, items in run(case, queue=4).batches for item in items] == [0, 1, 2, 3, 6]


def test_nobody_waits_longer_than_allowed_and_what_is_late_is_not_computed() -> None:
    async def case(batcher: Batcher[str, int, str], held: Held) -> None:
        tasks = await submitted(batcher, [1], [2, 3])
        for task in tasks:
            with pytest.raises(TooLateError):
                await task
        tasks = await submitted(batcher, [4, 5, 6, 7])
        held.go.set()
        assert await tasks[0] == ["m4", "m5", "m6", "m7"]

    held = run(case, queue=4, seconds=0.3)
    assert held.batches == [("m", [1]), ("m", [4, 5, 6, 7])]


def test_a_client_that_leaves_makes_room() -> None:
    async def case(batcher: Batcher[str, int, str], held: Held) -> None:
        first, left = await submitted(batcher, [1], [2, 3, 4])
        left.cancel()
        (last,) = await submitted(batcher, [5, 6, 7])
        held.go.set()
        await asyncio.gather(first, last)

    assert run(case, queue=3).batches == [("m", [1]), ("m", [5, 6, 7])]


def test_an_error_strikes_only_the_request_that_causes_it() -> None:
    async def case(batcher: Batcher[str, int, str], held: Held) -> None:
        tasks = await submitted(batcher, [1], [2], [13], [3])
        held.go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [found[0], found[1], found[3]] == [["m1"], ["m2"], ["m3"]]
        assert isinstance(found[2], RuntimeError)
        assert await batcher.submit("m", [4]) == ["m4"]

    run(case)


def test_a_request_is_computed_by_the_model_that_it_came_for() -> None:
    async def case(batcher: Batcher[str, int, str], held: Held) -> None:
        tasks = await submitted(batcher, [1], list(range(20, 20 + 3 * SHARE)), model="old")
        tasks += await submitted(batcher, [3], [4], model="new")
        held.go.set()
        found = await asyncio.gather(*tasks)
        assert found[2:] == [["new3"], ["new4"]]
        assert found[1] == [f"old{item}" for item in range(20, 20 + 3 * SHARE)]

    run(case, batch=2 * SHARE)


def test_nothing_is_answered_at_once() -> None:
    async def case(batcher: Batcher[str, int, str], _held: Held) -> None:
        assert await batcher.submit("m", []) == []

    assert run(case).batches == []
