"""What the demo sees of the fleet at one moment, read from the status of the three kinds, and nothing else.

`observation` is pure: API objects in, a frozen value out. Numbers that the status does not have (yet) are None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PoolView:
    """One ModelPool. Replica counts are zero for hosted pools."""

    name: str
    gpu_class: str
    hosted: bool
    desired: int = 0
    ready: int = 0
    warm: int | None = None  # None: nothing is declared hot
    starting: int = 0
    requests_per_second: float | None = None
    usd_per_hour: float | None = None
    reason: str = ""
    message: str = ""
    is_ready: bool = False


@dataclass(frozen=True, slots=True)
class RouteView:
    """One route as the policy's status shows it; shares are the plan's."""

    name: str
    requests_per_second: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    spill_ratio: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """The fleet at `at` seconds of the replay (negative: before it).

    `hosted_*` are the hosted APIs' own ledgers; `arrivals` are requests per second by route as Prometheus has them now,
    because a status is not rewritten for every change of a number.
    """

    at: float
    pools: tuple[PoolView, ...] = ()
    routes: tuple[RouteView, ...] = ()
    usd_per_hour: float | None = None
    hosted_requests: int = 0
    hosted_usd: float = 0.0
    operator_hosted_usd: float | None = None
    arrivals: Mapping[str, float] = field(default_factory=dict)

    @property
    def local(self) -> tuple[PoolView, ...]:
        return tuple(pool for pool in self.pools if not pool.hosted)

    @property
    def desired(self) -> int:
        return sum(pool.desired for pool in self.local)

    @property
    def ready(self) -> int:
        return sum(pool.ready for pool in self.local)

    @property
    def starting(self) -> bool:
        """Whether replicas are wanted that cannot serve yet."""
        return any(pool.ready < pool.desired for pool in self.local)

    @property
    def demand(self) -> float:
        return sum(self.arrivals.values() or (route.requests_per_second or 0.0 for route in self.routes))

    @property
    def owned_usd_per_hour(self) -> float | None:
        known = [pool.usd_per_hour for pool in self.local if pool.usd_per_hour is not None]
        return sum(known) if known else None


def observation(
    at: float,
    pools: Iterable[Mapping[str, Any]],
    policies: Iterable[Mapping[str, Any]],
    ledgers: Iterable[Mapping[str, Any]] = (),
    operator_hosted_usd: float | None = None,
    arrivals: Mapping[str, float] | None = None,
) -> Observation:
    """One observation from the API objects and the ledgers' totals."""
    books = list(ledgers)
    policies = list(policies)
    return Observation(
        at=at,
        pools=tuple(sorted(map(_pool, pools), key=lambda pool: (pool.hosted, pool.name))),
        routes=tuple(_route(route) for policy in policies for route in _status(policy).get("routes") or ()),
        usd_per_hour=_total_usd_per_hour(policies),
        hosted_requests=sum(int(book["requests"]) for book in books),
        hosted_usd=sum(float(book["usd"]) for book in books),
        operator_hosted_usd=operator_hosted_usd,
        arrivals=arrivals or {},
    )


def not_ready(objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is not Ready yet, each with its reason, for a line of progress."""
    lines = []
    for one in objects:
        ready = condition(one, "Ready")
        if ready.get("status") != "True":
            lines.append(f"{one['metadata']['name']}: {ready.get('reason', 'not seen yet')}")
    return lines


def condition(one: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for found in _status(one).get("conditions") or ():
        if found["type"] == name:
            return dict(found)
    return {}


def _pool(one: Mapping[str, Any]) -> PoolView:
    spec, status = one["spec"], _status(one)
    replicas, allocation = status.get("replicas") or {}, status.get("allocation") or {}
    hosted = "hosted" in spec
    return PoolView(
        name=one["metadata"]["name"],
        gpu_class="hosted" if hosted else spec["local"]["accelerator"]["class"],
        hosted=hosted,
        desired=int(replicas.get("desired") or 0),
        ready=int(replicas.get("ready") or 0),
        warm=replicas.get("warm"),
        starting=int(replicas.get("starting") or 0),
        requests_per_second=_number(allocation.get("requestsPerSecond")),
        usd_per_hour=_number((status.get("economics") or {}).get("usdPerHour")),
        reason=allocation.get("reason") or "",
        message=allocation.get("message") or "",
        is_ready=condition(one, "Ready").get("status") == "True",
    )


def _route(route: Mapping[str, Any]) -> RouteView:
    shares = {share["pool"]: float(share["share"]) for share in route.get("shares") or ()}
    return RouteView(
        route["name"],
        _number(route.get("requestsPerSecond")),
        shares,
        _number(route.get("spillRatio")),
        route.get("message") or "",
    )


def _total_usd_per_hour(policies: Iterable[Mapping[str, Any]]) -> float | None:
    totals = [_number((_status(policy).get("totals") or {}).get("usdPerHour")) for policy in policies]
    known = [one for one in totals if one is not None]
    return sum(known) if known else None


def _status(one: Mapping[str, Any]) -> Mapping[str, Any]:
    return one.get("status") or {}


def _number(text: object) -> float | None:
    """Numbers of a status are strings, and may carry a currency sign for kubectl's columns."""
    if text is None:
        return None
    try:
        return float(str(text).lstrip("$").replace(",", ""))
    except ValueError:
        return None
