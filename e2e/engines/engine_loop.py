"""Drives a `Scheduler` in real time at next to no cost.

The loop sleeps until the iteration under way ends, and never wakes more often than every 20 ms: iterations shorter
than that are played together, and a stream then gets their tokens in one burst, up to 20 ms late. vLLM merges the
deltas of a stream in the same way when its consumer is slower than the engine. Only delivery is late: the scheduler
plays each iteration at its exact time, so token times, histograms and the order of events do not know about it.
An idle engine sleeps until a request arrives.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from .engine_metrics import EngineMetrics
from .scheduler import Request, Scheduler, Sequence, State

WAKE_INTERVAL_SECONDS = 0.02


class EngineLoop:
    def __init__(
        self, scheduler: Scheduler, metrics: EngineMetrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.scheduler = scheduler
        self.metrics = metrics
        self._clock = clock
        self._work = asyncio.Event()
        self._progress: dict[Sequence, asyncio.Event] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Wait until no request is here."""
        await self._idle.wait()

    async def run(self) -> None:
        """Run until cancelled."""
        last_wake = 0.0
        while True:
            due = self.scheduler.next_event_at
            if due is None:
                self._work.clear()
                await self._work.wait()
                continue
            await asyncio.sleep(max(due, last_wake + WAKE_INTERVAL_SECONDS) - self._clock())
            last_wake = self._clock()
            self._play(last_wake)

    def submit(self, request: Request) -> Sequence:
        """Queue a request; follow it with `progress`, and end with `leave`. Raises RequestTooLongError."""
        now = self._clock()
        self._play(now)
        sequence = self.scheduler.submit(request, now)
        self._progress[sequence] = asyncio.Event()
        self._work.set()
        self._idle.clear()
        return sequence

    async def progress(self, sequence: Sequence, seen_tokens: int) -> int:
        """Wait until more than `seen_tokens` tokens are generated; returns how many are."""
        event = self._progress[sequence]
        while sequence.generated <= seen_tokens:
            event.clear()
            await event.wait()
        return sequence.generated

    async def completion(self, sequence: Sequence) -> None:
        """Wait for the last token."""
        while sequence.state is not State.FINISHED:
            await self.progress(sequence, sequence.generated)

    def leave(self, sequence: Sequence, reason: str) -> None:
        """The request is over for its client: answered, or given up, which frees its place."""
        del self._progress[sequence]
        self._play(self._clock())
        if sequence.state is not State.FINISHED:
            self.scheduler.cancel(sequence)
            reason = "abort"
        self.metrics.observe_end(sequence, reason)
        if not self._progress:
            self._idle.set()

    def _play(self, now: float) -> None:
        touched: set[Sequence] = set()
        for iteration in self.scheduler.advance(now):
            self.metrics.observe(iteration)
            touched.update(sequence for sequence, _gap in iteration.produced)
        for sequence in touched:
            event = self._progress.get(sequence)
            if event is not None:
                event.set()
