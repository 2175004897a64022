"""How many requests a router may have in flight on each local pool: one limit per pool, for all its routes together.

A limit per route would send the bursts of one route to paid APIs while the places of another are free, and limits whose
sum is more than the pool holds would break its objective just when everybody is busy. So the routes of one process
share, and what several routers have of a pool adds up to the pool.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

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


def nowhere_else(routes: Mapping[str, RoutePlan], hosted: Collection[str]) -> frozenset[str]:
    """The routes that no hosted pool may answer."""
    return frozenset(
        key for key, plan in routes.items() if not any(pool in hosted for pool in (*plan.shares, *plan.spill_order))
    )


def pool_limits(
    prefix: str,
    routes: Sequence[RouterRoute],
    planned: Planned,
    places: Mapping[str, int],
    processes: int,
    staying: Collection[str],
    *,
    restricted: bool,
) -> tuple[PoolLimit, ...]:
    """The limits of one process of a router. `prefix` is namespace/policy of its routes, `places` how many requests
    each local pool may have in flight altogether (a pool that is not there has no known limit), `staying` the routes of
    all policies that have nowhere else to go.

    Those get a quarter more than their part of what all routes plan at the pool, even where others have filled it; the
    others share what that leaves, in proportion to their plans, since they can leave at once. 3 replicas x 64 places,
    of 15.6 planned requests in flight 3.9 staying, 2 processes: 192 x 0.25 x 1.25 / 2 = 30 for them, and 66 for all
    others together.
    """
    totals: dict[str, float] = {}
    kept: dict[str, float] = {}
    for (route, pool), number in planned.items():
        totals[pool] = totals.get(pool, 0.0) + number
        if route in staying:
            kept[pool] = kept.get(pool, 0.0) + number
    found = []
    for pool in sorted({one.pool for route in routes for one in route.everybody()} & places.keys()):
        total, stay = totals.get(pool, 0.0), kept.get(pool, 0.0)
        using = [f"{prefix}/{one.name}" for one in routes if any(backend.pool == pool for backend in one.backends)]
        mine = {key: planned.get((key, pool), 0.0) for key in using}
        assured = {key: min(1.0, HEADROOM * mine[key] / total) for key in using if key in staying and mine[key] > 0.0}
        rest = 1.0 - min(1.0, HEADROOM * stay / total) if total else 1.0
        leaving = sum(number for key, number in mine.items() if key not in staying)
        part = min(1.0, sum(assured.values()) + rest * (leaving / (total - stay) if total > stay else 0.0))
        if not total:
            part = 1.0
        share = max(part, RESERVE_PART) * places[pool] / processes
        limit = max(1, math.ceil(share - 1e-9) if restricted else math.floor(share + 0.5))
        sure = {key.rsplit("/", 1)[1]: math.ceil(one * places[pool] / processes) for key, one in assured.items()}
        found.append(PoolLimit(pool, limit, tuple(sorted(sure.items()))))
    return tuple(found)
