"""The mean demand of the last days, and how many replicas it needs: what people size a fixed fleet for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from comptroller.allocation.decide import decide
from comptroller.allocation.measured import known
from comptroller.allocation.snapshot import (
    HostedPool,
    LocalPool,
    Measurement,
    Memory,
    Outlook,
    Route,
    Rules,
    Sample,
    Snapshot,
)

History = Mapping[str, tuple[tuple[float, float], ...]]


class MeanDemand:
    """Requests/s of each route over the history that a Prometheus still has."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def observe_history(self, history: History) -> None:
        """Takes in (seconds, requests/s) by route."""
        for route, samples in history.items():
            rates = [rate for _, rate in samples if math.isfinite(rate)]
            if rates:
                self._means[route] = sum(rates) / len(rates)

    def rates(self, snapshot: Snapshot) -> dict[str, float]:
        """The mean of each route; where there is no history, what is measured now."""
        now = {route.key: known(route.demand.requests_per_second) or 0.0 for route in snapshot.routes}
        return {key: self._means.get(key, rate) for key, rate in now.items()}


def replicas_for(snapshot: Snapshot, rates: Mapping[str, float], *, outside: bool = True) -> dict[str, int]:
    """The best fixed replicas for a demand that never changes: the operator's own programme, asked once.

    Without `outside` no hosted API exists, and a request is worth ten times what the cheapest one would cost: what the
    arena charges for one that nobody answers.
    """
    prices = {pool.key: pool for pool in snapshot.hosted_pools}
    routes = tuple(_asking(route, rates.get(route.key, 0.0)) for route in snapshot.routes)
    if not outside:
        routes = tuple(replace(route, usd_per_solved_task=_worth(route, prices)) for route in routes)
    asked = replace(
        snapshot,
        local_pools=tuple(replace(pool, serving=0, starting=(), previous=0) for pool in snapshot.local_pools),
        hosted_pools=snapshot.hosted_pools if outside else (),
        routes=routes,
        rules=Rules(improvement_threshold=0.0, maximum_step_up=100_000),
        memory=Memory(),
        outlook=Outlook(),
    )
    return {key: target.replicas for key, target in decide(asked).pools.items()}


def most_replicas(pool: LocalPool, gpus: Mapping[tuple[str, str], Measurement]) -> int:
    """The pool's maximum, or what its GPUs are enough for."""
    found = gpus.get((pool.gpu_class, pool.site))
    count = known(found) if found is not None else None
    if count is None or pool.gpus_per_replica == 0:
        return pool.maximum
    return max(pool.minimum, min(pool.maximum, int(count / pool.gpus_per_replica)))


def _asking(route: Route, rate: float) -> Route:
    return replace(
        route, demand=replace(route.demand, requests_per_second=Sample(rate), peak_requests_per_second=Sample(rate))
    )


def _worth(route: Route, prices: Mapping[str, HostedPool]) -> float | None:
    tokens_in, tokens_out = route.demand.input_tokens, route.demand.output_tokens
    usd = [
        (tokens_in * pool.input_usd_per_million_tokens + tokens_out * pool.output_usd_per_million_tokens) / 1e6
        for rule in route.backends
        if (pool := prices.get(rule.pool)) is not None
    ]
    return 10.0 * min(usd) if usd else route.usd_per_solved_task
