"""The queue of keys: nothing is lost, nothing is worked on twice at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.runtime import queue as module
from comptroller.runtime.queue import LONGEST_RETRY_SECONDS, WorkQueue

Work = Callable[[str], Awaitable[None]]


@asynccontextmanager
async def running(queue: WorkQueue[str], work: Work, workers: int = 1) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run(work, workers))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for is many things
            await asyncio.sleep(0.001)


async def quiet() -> None:
    """Long enough for everything that is due to be taken."""
    for _ in range(20):
        await asyncio.sleep(0)


class Worker:
    """Work that ends when told, and knows what ran at the same time."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.active: list[str] = []
        self.most = 0
        self.twice = False
        self.gate = asyncio.Event()

    async def __call__(self, key: str) -> None:
        self.twice |= key in self.active
        self.begun.append(key)
        self.active.append(key)
        self.most = max(self.most, len(self.active))
        await self.gate.wait()
        self.active.remove(key)


async def test_a_key_that_is_asked_for_several_times_is_worked_on_once() -> None:
    queue, worker = WorkQueue[str](), Worker()
    worker.gate.set()
    for key in "aabab":
        queue.add(key)
    assert len(queue) == 2
    async with running(queue, worker):
        await quiet()
    assert worker.begun == ["a", "b"]


async def test_many_keys_are_worked_on_at_once_and_each_by_one_worker() -> None:
    queue, worker = WorkQueue[str](), Worker()
    async with running(queue, worker, workers=3):
        for key in "abcde":
            queue.add(key)
        await quiet()
        assert sorted(worker.active) == ["a", "b", "c"]
        queue.add("a")
        await quiet()
        assert sorted(worker.active) == ["a", "b", "c"]
        worker.gate.set()
        await until(lambda: len(worker.begun) == 6)
    assert not worker.twice
    assert sorted(worker.begun) == ["a", "a", "b", "c", "d", "e"]


async def test_a_key_that_changes_while_it_is_worked_on_is_worked_on_again_once() -> None:
    queue, worker = WorkQueue[str](), Worker()
    async with running(queue, worker, workers=2):
        queue.add("a")
        await quiet()
        for _ in range(3):
            queue.add("a")
        await quiet()
        assert worker.begun == ["a"]
        worker.gate.set()
        await quiet()
    assert worker.begun == ["a", "a"]


async def test_a_later_request_while_it_is_worked_on_waits_for_its_time_and_for_the_worker() -> None:
    queue, worker = WorkQueue[str](), Worker()
    async with running(queue, worker, workers=2):
        queue.add("a")
        await quiet()
        queue.add("a", 0.005)
        await asyncio.sleep(0.02)
        assert worker.begun == ["a"]
        worker.gate.set()
        await until(lambda: worker.begun == ["a", "a"])
    assert not worker.twice


@pytest.mark.parametrize(
    "delays", [(0.0, 60.0), (60.0, 0.0), (60.0, 0.0, 60.0), (60.0, 30.0, 0.0)], ids=lambda one: str(one)
)
async def test_the_earliest_of_several_requests_counts(delays: tuple[float, ...]) -> None:
    queue, worker = WorkQueue[str](), Worker()
    worker.gate.set()
    for delay in delays:
        queue.add("a", delay)
    async with running(queue, worker):
        await quiet()
        assert worker.begun == ["a"]
        assert len(queue) == 0
        await quiet()
    assert worker.begun == ["a"]


async def test_a_key_is_not_worked_on_before_its_time_and_others_need_not_wait_for_it() -> None:
    queue, worker = WorkQueue[str](), Worker()
    worker.gate.set()
    queue.add("later", 60)
    queue.add("soon", 0.01)
    async with running(queue, worker):
        await quiet()
        assert worker.begun == []
        queue.add("now")
        await until(lambda: worker.begun == ["now", "soon"])
    assert len(queue) == 1


def test_the_delay_grows_up_to_a_limit_and_begins_anew_after_a_success() -> None:
    queue = WorkQueue[str]()
    delays = [queue.retry("a") for _ in range(15)]
    for attempt, delay in enumerate(delays):
        wanted = min(LONGEST_RETRY_SECONDS, 0.2 * 2**attempt)
        assert 0.8 * wanted <= delay <= 1.2 * wanted
    assert queue.failing == 1
    queue.done("a")
    assert queue.failing == 0
    assert queue.retry("a") < 0.25


def test_a_key_that_fails_for_weeks_is_still_tried() -> None:
    queue = WorkQueue[str]()
    delays = [queue.retry("a") for _ in range(3000)]
    assert max(delays) <= 1.2 * LONGEST_RETRY_SECONDS


def test_what_the_server_asks_for_is_waited_for() -> None:
    queue = WorkQueue[str]()
    assert queue.retry("a", 30.0) == 30.0
    assert queue.retry("b", 0.0) < 0.25


async def test_a_failed_key_comes_back_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.001)
    queue, tries = WorkQueue[str](), list[str]()

    async def work(key: str) -> None:
        tries.append(key)
        if len(tries) < 4:
            queue.retry(key)
        else:
            queue.done(key)

    async with running(queue, work, workers=2):
        queue.add("a")
        await until(lambda: len(tries) == 4)
    assert queue.failing == 0


async def test_a_change_during_a_failing_attempt_does_not_wait_for_the_retry() -> None:
    queue, tries = WorkQueue[str](), list[str]()

    async def work(key: str) -> None:
        tries.append(key)
        if len(tries) == 1:
            queue.retry(key, 60)
            queue.add(key, urgent=True)
            queue.add(key)

    async with running(queue, work):
        queue.add("a")
        await quiet()
        assert tries == ["a", "a"]


@pytest.mark.parametrize("during", [True, False], ids=["while it fails", "afterwards"])
async def test_a_plain_request_does_not_cut_short_the_wait_of_a_failed_key(during: bool) -> None:
    queue, tries = WorkQueue[str](), list[str]()

    async def work(key: str) -> None:
        tries.append(key)
        if len(tries) == 1:
            if during:
                queue.add(key)
            queue.retry(key, 60)
        else:
            queue.done(key)

    async with running(queue, work):
        queue.add("a")
        await quiet()
        for _ in range(5):
            queue.add("a")
            await quiet()
        assert tries == ["a"]
        queue.add("a", urgent=True)
        await quiet()
        assert tries == ["a", "a"]
        queue.add("a")
        await quiet()
        assert tries == ["a", "a", "a"], "it works again: any request counts"


async def test_a_failed_key_that_waits_for_nothing_is_taken_when_asked_for() -> None:
    queue, worker = WorkQueue[str](), Worker()
    worker.gate.set()
    queue.retry("a", 60)
    queue.add("a", urgent=True)
    async with running(queue, worker):
        await quiet()
        assert (worker.begun, queue.failing, len(queue)) == (["a"], 1, 0)
        queue.add("a")
        await quiet()
    assert worker.begun == ["a", "a"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([0.0, 0.0, 0.001]), st.integers(0, 3)), max_size=30),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_after_every_request_its_key_is_worked_on_and_never_twice_at_once(
    script: list[tuple[str, float, int]], workers: int, length: int
) -> None:
    requested: dict[str, int] = {}
    begun: dict[str, int] = {}
    active: list[str] = []
    moment = 0

    async def work(key: str) -> None:
        assert key not in active
        active.append(key)
        begun[key] = moment
        for _ in range(length):
            await asyncio.sleep(0)
        active.remove(key)

    async def play() -> None:
        nonlocal moment
        queue = WorkQueue[str]()
        async with running(queue, work, workers):
            for key, delay, pause in script:
                moment += 1
                requested[key] = moment
                queue.add(key, delay)
                for _ in range(pause):
                    await asyncio.sleep(0)
            await until(lambda: not active and all(begun.get(key, 0) >= at for key, at in requested.items()))
            await quiet()
            assert len(queue) == 0

    asyncio.run(play())
