"""A queue of keys: each key once, one worker per key, a key that failed comes back later and later.

What controllers need and nothing more: a key that is added while it is worked on is worked on again afterwards, so that
no change is lost and no object is reconciled twice at once.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from comptroller.runtime.clock import monotonic_seconds

Key = TypeVar("Key", bound=Hashable)

FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 300.0


@dataclass(slots=True)
class WorkQueue(Generic[Key]):
    """Deduplicates keys and hands them to workers."""

    _due: list[tuple[float, int, Key]] = field(default_factory=list)
    _when: dict[Key, float] = field(default_factory=dict)
    _active: set[Key] = field(default_factory=set)
    _dirty: dict[Key, bool] = field(default_factory=dict)  # asked for while it is worked on -> urgently
    _failures: dict[Key, int] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _order: itertools.count[int] = field(default_factory=itertools.count)

    def add(self, key: Key, after_seconds: float = 0.0, *, urgent: bool = False) -> None:
        """Asks for work on a key, now or later. The earliest of several requests counts.

        A key that failed waits for its next attempt, whoever asks, unless it is urgent: something it failed for may
        have changed.
        """
        if key in self._active and after_seconds <= 0:
            self._dirty[key] = urgent or self._dirty.get(key, False)
            return
        if key in self._failures and key in self._when and not urgent:
            return
        due = monotonic_seconds() + max(0.0, after_seconds)
        if key in self._when and self._when[key] <= due:
            return
        self._when[key] = due
        heapq.heappush(self._due, (due, next(self._order), key))
        self._changed.set()

    def retry(self, key: Key, after_seconds: float | None = None) -> float:
        """Asks for work on a key that failed; returns the delay: 0.2 s, doubled each time, at most 5 minutes."""
        failures = self._failures.get(key, 0)
        self._failures[key] = min(failures + 1, 64)  # a float holds no 2 ** 1024: that is four days of failing
        delay = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0**failures) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        delay = max(delay, after_seconds or 0.0)
        self.add(key, delay, urgent=True)
        return delay

    def done(self, key: Key) -> None:
        """Forgets the failures of a key."""
        self._failures.pop(key, None)

    def __len__(self) -> int:
        return len(self._when)

    @property
    def failing(self) -> int:
        """Keys whose last attempt failed."""
        return len(self._failures)

    async def run(self, work: Callable[[Key], Awaitable[None]], workers: int) -> None:
        """Works until cancelled. `work` must not raise: it decides itself about `retry`."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._worker(work))

    async def _worker(self, work: Callable[[Key], Awaitable[None]]) -> None:
        while True:
            key = await self._next()
            self._active.add(key)
            try:
                await work(key)
            finally:
                self._active.discard(key)
                if key in self._dirty:
                    self.add(key, urgent=self._dirty.pop(key))
                elif key in self._when:
                    self._changed.set()

    async def _next(self) -> Key:
        while True:
            wait: float | None = None
            now = monotonic_seconds()
            postponed = []
            found: list[Key] = []
            while self._due and not found:
                due, order, key = self._due[0]
                if self._when.get(key) != due:
                    heapq.heappop(self._due)  # an earlier request replaced it
                elif due > now:
                    wait = due - now
                    break
                elif key in self._active:
                    heapq.heappop(self._due)
                    postponed.append((due, order, key))
                else:
                    heapq.heappop(self._due)
                    del self._when[key]
                    found.append(key)
            for entry in postponed:
                heapq.heappush(self._due, entry)
            if found:
                return found[0]
            self._changed.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue
