"""What was decided: a value with reasons, so that it can be logged, shown, tested and dry-run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from comptroller.allocation.snapshot import Memory
from comptroller.api.conditions import Reason

Rung = Literal["milp", "routing-lp", "greedy", "hold"]


@dataclass(frozen=True, slots=True)
class PoolTarget:
    """How many replicas a local pool shall run, and why."""

    pool: str
    replicas: int
    previous: int
    reason: Reason
    message: (
        str  # "2 -> 4: 31 rps of extraction need 3.4 replicas at TTFT 800 ms; spilling instead would cost $11.20/h"
    )
    needed_replicas: float  # load over capacity, not rounded
    utilisation: float | None  # planned load over the capacity of the serving replicas; None when nothing serves
    requests_per_second: float
    capacity_requests_per_second: float  # of one replica at the strictest objective among its routes
    max_concurrency: int  # of one replica: what the router may have in flight at once


@dataclass(frozen=True, slots=True)
class HostedUse:
    """What a hosted pool carries, and why."""

    pool: str
    requests_per_second: float
    usd_per_hour: float
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """Where the requests of one route go.

    `shares` sums to 1 - `shed_ratio` over permitted pools with a share now. `spill_order` lists every permitted pool
    in the order in which the router shall try them when the planned ones are full or failing: a stale plan must still
    spill correctly. A forbidden pool appears in neither.
    """

    route: str
    shares: Mapping[str, float]
    spill_order: tuple[str, ...]
    shed_ratio: float
    spill_ratio: float
    requests_per_second: float | None  # None: unknown, the last shares hold
    pass_rate: float
    usd_per_request: float
    reason: Reason
    message: str
    latency_seconds: Mapping[str, float] = field(default_factory=dict)  # pool -> mean, of pools with a share
    pass_rates: Mapping[str, float] = field(default_factory=dict)  # pool -> share of tasks it solves, of all named


@dataclass(frozen=True, slots=True)
class Alternative:
    """What else could have been done, and what it would cost, predicted."""

    name: str
    usd_per_hour: float
    shed_requests_per_second: float = 0.0  # what nobody would answer: cheap, and not comparable


@dataclass(frozen=True, slots=True)
class Decision:
    """A whole plan with its reasons."""

    pools: Mapping[str, PoolTarget]
    hosted: Mapping[str, HostedUse]
    routes: Mapping[str, RoutePlan]
    usd_per_hour: float  # predicted, marginal basis: power, rent and tokens
    rung: Rung
    memory: Memory
    shadow_prices_usd_per_gpu_hour: Mapping[tuple[str, str], float] = field(default_factory=dict)
    alternatives: tuple[Alternative, ...] = ()
    unknowns: Mapping[str, str] = field(default_factory=dict)  # what was not known -> why, for conditions
    solve_seconds: float = 0.0  # the solver's own clock
    usd_per_hour_when_started: float = 0.0  # the same once all wanted replicas serve: what `alternatives` compare with
