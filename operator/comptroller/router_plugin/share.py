"""Shares the counters of several processes through Redis.

Each budget's period is one hash, with a field for each process and in it what that process alone has spent. A process
writes its own field and reads them all; nobody adds to a number in Redis. So a write that is repeated after a time-out
counts once (an INCRBYFLOAT would count twice), and a Redis that comes back empty is told again by every process what it
knows of itself and of the others. While it is away, `Counter.room` keeps all together within the budget.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from . import metrics
from .budget import Counter
from .spending import Spending

LOG = logging.getLogger("comptroller.router")
ANSWER_SECONDS = 1.0
KEPT_SECONDS = 86_400
"""A period's hash goes a day after its end."""


class Share:
    """One beat: tells Redis and hears from it. The password comes from the environment, where only the pod has it."""

    def __init__(self, spending: Spending) -> None:
        self._spending = spending
        self._client: Any = None
        self._url: str | None = None
        self._forgotten: dict[str, dict[str, float]] = {}

    async def beat(self) -> None:
        """Raises nothing that Redis does."""
        url, counters = self._spending.config.redis, list(self._spending.counters.values())
        if url != self._url:
            await self.close()
            self._url = url
        if url is None or not counters:
            return
        from redis.exceptions import RedisError  # type: ignore[import-not-found,unused-ignore]

        try:
            await self._exchange(counters)
        except (RedisError, OSError, TimeoutError) as error:
            self._away(counters, error)
            return
        metrics.BUDGET_SHARED.labels(self._spending.config.policy).set(1)

    async def _exchange(self, counters: list[Counter]) -> None:
        if self._client is None:
            self._client = connected(self._url)
        myself, starts = self._spending.process, [one.start for one in counters]
        async with self._client.pipeline(transaction=False) as pipe:
            for counter in counters:
                key = self._key(counter)
                mine = {myself: counter.own} if counter.own > 0 else {}
                if known := {**self._forgotten.pop(key, {}), **mine}:
                    pipe.hset(key, mapping={process: repr(usd) for process, usd in known.items()})
                    pipe.expireat(key, int(counter.end) + KEPT_SECONDS)
                pipe.hgetall(key)
            answers = [one for one in await pipe.execute() if isinstance(one, dict)]
        for counter, start, answer in zip(counters, starts, answers, strict=True):
            if counter.start == start:
                reports = {process: float(usd) for process, usd in answer.items()}
                if forgotten := counter.merge(reports, myself):
                    self._forgotten[self._key(counter)] = forgotten

    def _away(self, counters: list[Counter], error: Exception) -> None:
        if not any(one.alone for one in counters):
            LOG.warning("Redis is away; each process spends its part of what is left: %s", type(error).__name__)
        for counter in counters:
            counter.alone = True
        metrics.BUDGET_SHARED.labels(self._spending.config.policy).set(0)

    def _key(self, counter: Counter) -> str:
        return f"comptroller:budget:{self._spending.config.policy}:{counter.budget.key}:{int(counter.start)}"

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()


def connected(url: str | None) -> Any:
    """A client that gives up after a second and does not try again by itself: the next beat does."""
    from redis.asyncio import Redis  # type: ignore[import-not-found,unused-ignore]
    from redis.asyncio.retry import Retry  # type: ignore[import-not-found,unused-ignore]
    from redis.backoff import NoBackoff  # type: ignore[import-not-found,unused-ignore]

    return Redis.from_url(
        url,
        password=os.environ.get("COMPTROLLER_REDIS_PASSWORD") or None,
        decode_responses=True,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
