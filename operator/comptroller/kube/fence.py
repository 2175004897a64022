"""The one gate before every write: open while this process may write, and it knows until when."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


def always() -> float:
    """Of a process that is alone."""
    return math.inf


@dataclass(slots=True)
class Fence:
    """Asked at each write, not at each change of the leader: a process that was frozen for a minute goes on in the
    middle of its work, and must find out before its next request leaves."""

    left_seconds: Callable[[], float] = always
    _closed: bool = False
    _inside: int = 0
    _empty: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def open(self) -> bool:
        """Whether a write would be let through now."""
        return not self._closed and self.left_seconds() > 0.0

    @contextmanager
    def passing(self) -> Iterator[float | None]:
        """Lets one write through: yields the seconds within which it must have ended, or None for no write."""
        if not self.open:
            yield None
            return
        self._inside += 1
        try:
            yield self.left_seconds()
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    async def close(self, seconds: float) -> bool:
        """Lets nothing through any more and waits for the writes under way; False where one has not ended in time."""
        self._closed = True
        try:
            async with asyncio.timeout(seconds):
                while self._inside:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            return False
        return True
