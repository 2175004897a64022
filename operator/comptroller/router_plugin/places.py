"""Places: how many requests each pool has in flight, over all routes of this process, and which pools are full.

Nothing here awaits: between the question whether a pool is full and the place that is taken no other request runs. A
request holds at most one place. It takes it when its backend is chosen, moves it when it goes to the next one, and
gives it back when its answer has ended in whatever way, so that no count can leak or fall below zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

from . import metrics
from .config import Config, pool_of


class Places:
    """The counts of all pools, and the limits in force. Deployments are LiteLLM's: namespace/pool/route."""

    def __init__(self, config: Config) -> None:
        self._in_flight: dict[str, int] = {}
        self._of_deployment: dict[str, int] = {}
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Takes over another configuration's limits. Counts stay: what is in flight is in flight."""
        self._config = config
        for pool in {pool_of(deployment) for deployment in config.prices} | self._in_flight.keys():
            metrics.POOL_IN_FLIGHT.labels(pool).set(self._in_flight.get(pool, 0))
            metrics.POOL_FULL.labels(pool)

    def in_flight(self, pool: str) -> int:
        """Requests that this process has at a pool."""
        return self._in_flight.get(pool, 0)

    def full(self, deployment: str) -> bool:
        """Whether one more request would be above the limit of the deployment, or above that of its pool and what the
        route is assured of."""
        config, mine = self._config, self._of_deployment.get(deployment, 0)
        if mine >= config.heights.get(deployment, mine + 1):
            return True
        pool = pool_of(deployment)
        limit = config.limits.get(pool)
        return limit is not None and self._in_flight.get(pool, 0) >= limit and mine >= config.assured.get(deployment, 0)

    def placed(self, deployment: str, reason: str) -> None:
        """Counts where a request has ended, and why there."""
        pool, _, route = deployment.rpartition("/")
        if route not in self._config.routes:  # who judges or shadows
            return
        metrics.PLACED.labels(self._config.policy, route, pool, reason).inc()

    def waits(self, route: str) -> bool:
        """Whether the route's requests wait in the engines' queues when all its pools are full."""
        found = self._config.routes.get(route)
        return found is not None and found.waits

    def take(self, deployment: str) -> None:
        """One more is in flight."""
        self._add(deployment, 1)

    def give_back(self, deployment: str) -> None:
        """One less is in flight. Only for a place that was taken."""
        self._add(deployment, -1)

    def _add(self, deployment: str, number: int) -> None:
        pool = pool_of(deployment)
        self._in_flight[pool] = count = self._in_flight.get(pool, 0) + number
        self._of_deployment[deployment] = mine = self._of_deployment.get(deployment, 0) + number
        if not mine:
            del self._of_deployment[deployment]
        metrics.POOL_IN_FLIGHT.labels(pool).set(count)


class Place:
    """The place of one request. After `close` it takes none any more: what LiteLLM does later is nobody's answer."""

    def __init__(self, places: Places, only: frozenset[str] | None = None) -> None:
        """`only` are the pools that may be asked; None: all."""
        self._places = places
        self._only = only
        self._at: str | None = None
        self._found_full: set[str] = set()
        self._last: tuple[str, str] | None = None
        self._closed = False

    def candidates(self, route: str, deployments: Iterable[str]) -> frozenset[str]:
        """Which of the deployments may answer: those with room; where there is none, all if the route waits, else
        none."""
        self.leave()
        everybody = frozenset(one for one in deployments if self._only is None or pool_of(one) in self._only)
        full = frozenset(one for one in everybody if self._places.full(one))
        for pool in {pool_of(one) for one in full} - self._found_full:
            self._found_full.add(pool)
            metrics.POOL_FULL.labels(pool).inc()
        return everybody - full or (everybody if self._places.waits(route) else frozenset())

    def take(self, deployment: str, reason: str = "planned") -> None:
        """Moves to a deployment from wherever the request was; `reason` says why to this one."""
        self.leave()
        if not self._closed:
            self._at, self._last = deployment, (deployment, reason)
            self._places.take(deployment)

    def leave(self) -> None:
        """Gives the place back, if there is one."""
        if self._at is not None:
            at, self._at = self._at, None
            self._places.give_back(at)

    def close(self) -> None:
        """The answer has ended."""
        self.leave()
        if self._last is not None and not self._closed:
            self._places.placed(*self._last)
        self._closed = True


PLACE: ContextVar[Place | None] = ContextVar("place", default=None)
"""The place of the request that is being answered; what LiteLLM starts for it inherits it."""
