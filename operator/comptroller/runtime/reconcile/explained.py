"""What a status says beside the decision itself: what bridges a start, what else could be done, what a GPU is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comptroller.allocation.decision import Decision
from comptroller.allocation.snapshot import LocalPool, Route
from comptroller.api.conditions import Reason
from comptroller.api.settings import Settings
from comptroller.economics.ownership import allocation_usd_per_gpu_hour, payback_days
from comptroller.runtime.clock import timestamp
from comptroller.runtime.reconcile.numbers import decimal_text, exact_decimal, signed_text, without_none
from comptroller.runtime.state import Picture, State

BRIDGING = (Reason.SPILL_WHILE_STARTING, Reason.CAPACITY_SHORT)
NEVER_DAYS = 36_500  # a hundred years


def alternatives(decision: Decision) -> list[dict[str, Any]]:
    """What else could have been done with the whole fleet, against what the plan costs once its replicas serve."""
    return [
        {
            "name": one.name,
            "usdPerHour": decimal_text(one.usd_per_hour),
            "moreUsdPerHour": signed_text(one.usd_per_hour - decision.usd_per_hour_when_started),
            "unansweredRequestsPerSecond": decimal_text(one.shed_requests_per_second),
        }
        for one in decision.alternatives
    ]


def bridge(picture: Picture, pool: LocalPool) -> dict[str, Any] | None:
    """What hosted pools carry of this pool's routes until its replicas are ready; None where none is missing."""
    wanted = picture.decision.pools[pool.key].replicas
    missing = wanted - pool.serving
    if missing <= 0:
        return None
    spilled: dict[str, float] = {}
    for route in picture.snapshot.routes:
        for hosted, rate in _spilled(picture, route, pool.key).items():
            spilled[hosted] = spilled.get(hosted, 0.0) + rate
    usd = 0.0
    for hosted, rate in spilled.items():
        use = picture.decision.hosted.get(hosted)
        if use is not None and use.requests_per_second > 0.0:
            usd += use.usd_per_hour * rate / use.requests_per_second
    return without_none(
        {
            "readyAt": _ready_at(picture, pool, missing),
            "requestsPerSecond": decimal_text(sum(spilled.values())),
            "usdPerHour": decimal_text(usd),
            "pools": [key.split("/", 1)[1] for key in sorted(spilled)][:8],
        }
    )


def _spilled(picture: Picture, route: Route, pool: str) -> Mapping[str, float]:
    plan = picture.decision.routes.get(route.key)
    if plan is None or plan.reason not in BRIDGING or pool not in {one.pool for one in route.backends}:
        return {}
    rate = plan.requests_per_second or 0.0
    hosted = {one.key for one in picture.snapshot.hosted_pools}
    return {key: share * rate for key, share in plan.shares.items() if key in hosted and share * rate > 0.0}


def _ready_at(picture: Picture, pool: LocalPool, missing: int) -> str | None:
    """When the last missing replica is expected; None while one of them waits for a node."""
    found = picture.replicas.get(pool.key)
    if found is not None and found.unschedulable:
        return None
    waits = sorted(one.expected_ready_in_seconds for one in pool.starting)[:missing]
    if len(waits) < missing:  # not created yet
        waits.append(pool.startup_seconds)
    return timestamp(picture.at_seconds + max(waits))


def ownership(settings: Settings, pool: LocalPool, shadow_usd: float | None) -> dict[str, Any]:
    """What one more GPU of the pool's class is worth, what owning it costs, and when it has earned its price."""
    if not pool.gpus_per_replica or shadow_usd is None:
        return {}
    gpu = settings.gpu_classes[pool.gpu_class]
    owning = allocation_usd_per_gpu_hour(gpu, settings.amortisation, settings.energy)
    days = payback_days(gpu, exact_decimal(shadow_usd), settings.amortisation, settings.energy)
    return without_none(
        {
            "shadowPriceUsdPerGpuHour": decimal_text(shadow_usd),
            "owningUsdPerGpuHour": decimal_text(float(owning)),
            "paybackDays": None if days is None or days > NEVER_DAYS else decimal_text(float(days)),
        }
    )


def break_even(settings: Settings, picture: Picture, pool: LocalPool) -> str | None:
    """The utilisation from which on owning the pool's GPUs beats the cheapest API that its routes permit.

    Fixed cost of a replica over what its full capacity would cost at the API, less the power of working. Worked: two
    GPUs at $0.97 + $0.03/h, 7 rps at $0.00675: 2.00 / (170.10 - 0.25) = 0.012. None where no API may answer.
    """
    prices = [price for route in picture.snapshot.routes if (price := _cheapest(picture, route, pool.key)) is not None]
    target = picture.decision.pools[pool.key]
    if not prices or not pool.gpus_per_replica:
        return None
    gpu = settings.gpu_classes[pool.gpu_class]
    idle = allocation_usd_per_gpu_hour(gpu, settings.amortisation, settings.energy, exact_decimal(0.0))
    fixed = float(idle) * pool.gpus_per_replica
    full = target.capacity_requests_per_second * 3600.0 * min(prices) - pool.busy_extra_usd_per_replica_hour
    return decimal_text(fixed / full) if full > 0.0 else None


def _cheapest(picture: Picture, route: Route, pool: str) -> float | None:
    """US dollars for one request of the route at the cheapest API that it sends to or may send to."""
    if pool not in {one.pool for one in route.backends}:
        return None
    plan = picture.decision.routes.get(route.key)
    permitted = set(plan.spill_order) if plan is not None else set()
    prices = [
        (
            one.input_usd_per_million_tokens * route.demand.input_tokens
            + one.output_usd_per_million_tokens * route.demand.output_tokens
        )
        / 1e6
        for one in picture.snapshot.hosted_pools
        if one.key in permitted
    ]
    return min(prices, default=None)


def previous(state: State, live: Mapping[str, Any], pool: str, wanted: int) -> int | None:
    """What was wanted before the count of now: as this process saw it, else as the status remembers."""
    if (seen := state.desired_before.get(pool)) is not None:
        return seen
    remembered = (live.get("status") or {}).get("allocation") or {}
    return remembered.get("previous") if remembered.get("desired") == wanted else None
