"""Work after an answer: a few at once, a few in waiting, the rest dropped. No client waits for it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable

LOG = logging.getLogger("comptroller.router")

Errand = Callable[[], Awaitable[None]]


class Errands:
    """Those of one route."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._at_once = at_once
        self._most_waiting = waiting
        self._waiting: deque[Errand] = deque()
        self._running: set[asyncio.Task[None]] = set()

    def submit(self, errand: Errand) -> bool:
        """Begins it, now or later. False when there are too many."""
        if len(self._running) < self._at_once:
            self._begin(errand)
        elif len(self._waiting) < self._most_waiting:
            self._waiting.append(errand)
        else:
            return False
        return True

    def _begin(self, errand: Errand) -> None:
        # in a context of its own: the place of the request that was answered is not its place
        task = asyncio.get_running_loop().create_task(_quietly(errand), context=contextvars.Context())
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._waiting and not task.cancelled():
            self._begin(self._waiting.popleft())


async def _quietly(errand: Errand) -> None:
    try:
        await errand()
    except Exception as error:  # noqa: BLE001 - nobody waits for it; the text of an error may hold a prompt
        LOG.warning("work after an answer failed: %s", type(error).__name__)
