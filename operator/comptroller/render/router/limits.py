"""How many requests a router may have in flight on each local pool: one limit per pool, for all its routes together.

A limit per route would send the bursts of one route to paid APIs while the places of another are free, and limits whose
sum is more than the pool holds would break its objective just when everybody is busy. So the routes of one process
share, and what several routers have of a pool adds up to the pool.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from comptroller.allocation.decision import RoutePlan
from comptroller.render.router.plan import PoolLimit, RouterRoute

HEADROOM = 1.25
"""Routes that have nowhere else to go get a quarter more than their part of a pool: a queue in the engine is better
than no answer."""
RESERVE_PART = 0.1
"""Of a pool, for a router that plans to send nothing there but may: enough to use free places of others, little enough
to do no harm when there are none."""

Planned = Mapping[tuple[str, str], float]
"""(namespace/policy/route, pool) -> planned requests in flight, or in any other measure that is one for the pool."""


def planned_in_flight(routes: Mapping[str, RoutePlan]) -> dict[tuple[str, str], float]:
    """What each route plans to have in flight at each pool: its rate there times seconds per request (Little's law).

    2 requests/s at 5 s and 10 requests/s at 1 s are equal halves of a pool. Where the seconds of one route at a pool
    are not known, all routes there are compared by their rates. A route of unknown load counts as one request per
    second.
    """
    unknown = {pool for plan in routes.values() for pool in plan.shares if pool not in plan.latency_seconds}
    return {
        (route, pool): share * load(plan) * (1.0 if pool in unknown else plan.latency_seconds[pool])
        for route, plan in routes.items()
        for pool, share in plan.shares.items()
    }


def load(plan: RoutePlan) -> float:
    """Requests per second; 1 where they are not known."""
    return plan.requests_per_second or 1.0


def pool_limits(
    prefix: str,
    routes: Sequence[RouterRoute],
    planned: Planned,
    places: Mapping[str, int],
    processes: int,
    *,
    restricted: bool,
) -> tuple[PoolLimit, ...]:
    """The limits of one process of a router. `prefix` is namespace/policy of its routes, `places` how many requests
    each local pool may have in flight altogether (a pool that is not there has no known limit).

    A router gets the part of a pool that its routes have of what all routes plan there. 3 replicas x 64 places, 13.5 of
    15.6 planned requests in flight, 2 processes: 192 x 0.865 / 2 = 83. A restricted router has nowhere else to go: it
    gets a quarter more. So does, inside an open router, each route without a hosted backend: that many places it gets
    even where others have filled the pool.
    """
    totals: dict[str, float] = {}
    for (_, pool), number in planned.items():
        totals[pool] = totals.get(pool, 0.0) + number
    found = []
    for pool in sorted({one.pool for route in routes for one in route.backends} & places.keys()):
        total = totals.get(pool, 0.0)
        using = [one for one in routes if any(backend.pool == pool for backend in one.backends)]
        parts = {one.name: planned.get((f"{prefix}/{one.name}", pool), 0.0) / total if total else 0.0 for one in using}
        part = min(1.0, sum(parts.values()) * (HEADROOM if restricted else 1.0)) if total else 1.0
        share = max(part, RESERVE_PART) * places[pool] / processes
        assured = {
            one.name: math.ceil(min(1.0, parts[one.name] * HEADROOM) * places[pool] / processes)
            for one in using
            if parts[one.name] > 0 and all(backend.inside for backend in one.backends)
        }
        limit = max(1, math.ceil(share - 1e-9) if restricted else math.floor(share + 0.5))
        found.append(PoolLimit(pool, limit, tuple(sorted(assured.items()))))
    return tuple(found)
