"""How requests reach the replicas of a baseline: the best routing there is, or what gateways do today.

`BestRoutes` gives every autoscaler the operator's own routing for the replicas that it decided on: `allocation.decide`
with each local pool held at what serves and stays. So a difference between two policies is a difference of replicas,
not of routers.
`local_first` is the plan of a gateway whose configuration never changes: own replicas in proportion to what they can
do, hosted APIs when these are full or failing, cheapest first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from comptroller.allocation.capacity import Shape, largest_batch
from comptroller.allocation.decide import decide
from comptroller.allocation.decision import RoutePlan
from comptroller.allocation.measured import cleaned, known
from comptroller.allocation.problem import Pair, Problem, prepare
from comptroller.allocation.snapshot import LocalPool, Memory, Profile, Snapshot
from comptroller.api.conditions import Reason
from comptroller.sim.policy import PoolSignal

SMALLEST_RATE = 1e-3  # requests/s: what a route without demand counts as, so that its next request has a way
LEARNING_RATE = 0.1  # part of a new measurement that a pool's measured slowness takes over
SLOWEST, FASTEST = 2.0, 0.5
NOTICED = 0.1  # smaller changes of a speed are the spread of lengths within a batch, not another engine


@dataclass(frozen=True, slots=True)
class Routed:
    """Plans by route, and how many requests one replica of each pool may have in flight."""

    routes: Mapping[str, RoutePlan]
    max_concurrency: Mapping[str, int]


class BestRoutes:
    """The operator's routing for given replicas. `memory` has the last shares, for routes whose demand is unknown."""

    def __init__(self) -> None:
        self.memory = Memory()

    def route(self, snapshot: Snapshot, wanted: Mapping[str, int]) -> Routed:
        """The best plans for the replicas that serve now and stay; what starts takes no part."""
        pools = tuple(
            replace(pool, serving=count, starting=(), previous=count, held_at=count, paused=False)
            for pool in snapshot.local_pools
            for count in (min(pool.serving, wanted.get(pool.key, 0)),)
        )
        decision = decide(replace(snapshot, local_pools=pools, memory=self.memory))
        self.memory = decision.memory
        return Routed(decision.routes, {key: target.max_concurrency for key, target in decision.pools.items()})


def problem_of(snapshot: Snapshot) -> Problem:
    """Who may go where, at which cost."""
    clean, _ = cleaned(snapshot)
    return prepare(clean)


def staying(problem: Problem, wanted: Mapping[str, int]) -> dict[str, int]:
    """The replicas of each pool that serve now and are still wanted."""
    return {key: min(pool.serving, wanted.get(key, 0)) for key, pool in problem.local.items()}


def _plan(problem: Problem, route: str, shares: Mapping[str, float], serving: Mapping[str, int]) -> RoutePlan:
    """The plan of a route: its shares, and every permitted pool in the order in which it is tried next, pools inside
    first, each side by cost, with what serves nothing now at the end of its side."""

    def place(pair: Pair) -> tuple[bool, bool, float, str]:
        dead = serving.get(pair.pool, 0) == 0 if pair.inside else not pair.usable
        return not pair.inside, dead, pair.usd + pair.regret_usd, pair.pool

    pairs = [pair for pair in problem.pairs[route] if pair.inside or not problem.hosted[pair.pool].paused]
    usd = {pair.pool: pair.usd for pair in problem.pairs[route]}
    return RoutePlan(
        route=route,
        shares=dict(sorted(shares.items())),
        spill_order=tuple(pair.pool for pair in sorted(pairs, key=place)),
        shed_ratio=max(0.0, 1.0 - sum(shares.values())),
        spill_ratio=sum(share for pool, share in shares.items() if pool not in problem.local),
        requests_per_second=None if route in problem.held else problem.rates[route],
        pass_rate=sum(shares.get(pair.pool, 0.0) * pair.pass_rate for pair in problem.pairs[route]),
        usd_per_request=sum(share * usd[pool] for pool, share in shares.items()) / 3600.0,
        reason=Reason.DEMAND_SERVED,
        message="A fixed list: own replicas first.",
    )


def local_first(problem: Problem, wanted: Mapping[str, int], *, spill: bool = True, fullness: float = 1.0) -> Routed:
    """What a gateway with a fixed list does: own replicas first, the next in the list when they are full or failing.

    A replica may have `fullness` times the requests in flight with which it just keeps the objective. Without `spill`
    no hosted API is in the list of a route that has a pool inside.
    """
    serving = staying(problem, wanted)
    routes = {key: _listed(problem, key, serving, spill=spill) for key in problem.routes}
    flows = {
        (key, pool): rate_of(problem, key) * share for key, one in routes.items() for pool, share in one.shares.items()
    }
    return Routed(routes, {key: _limit(problem, key, flows, fullness) for key in problem.local})


def _listed(problem: Problem, route: str, serving: Mapping[str, int], *, spill: bool) -> RoutePlan:
    pairs = problem.pairs[route]
    inside = [pair for pair in pairs if pair.inside]
    outside = sorted((pair for pair in pairs if not pair.inside and pair.usable), key=lambda one: (one.usd, one.pool))
    if inside and not spill:
        outside = []
    can = {pair.pool: serving[pair.pool] / pair.replicas for pair in inside if serving[pair.pool] > 0}
    total = sum(can.values())
    shares = {pool: rate / total for pool, rate in can.items()}
    if not shares:
        shares = {pair.pool: 1.0 for pair in (outside or inside)[:1]}
    listed = {pair.pool for pair in (*inside, *outside)}
    plan = _plan(problem, route, shares, serving)
    return replace(
        plan,
        spill_order=tuple(pool for pool in plan.spill_order if pool in listed),
        requests_per_second=known(problem.routes[route].demand.requests_per_second),
    )


def _limit(problem: Problem, pool: str, flows: Mapping[tuple[str, str], float], fullness: float) -> int:
    """Requests that one replica may have in flight: `fullness` times those of the mixture with which it just keeps the
    strictest objective; while it is sent nothing, of all that it may be sent."""
    sent = {pair.route: flows.get((pair.route, pool), 0.0) for pair in problem.by_pool[pool]}
    mix = {route: rate for route, rate in sent.items() if rate > SMALLEST_RATE} or dict.fromkeys(sent, 1.0)
    shapes = [
        Shape(
            rate,
            problem.routes[route].demand.input_tokens,
            problem.routes[route].demand.output_tokens,
            problem.routes[route].time_to_first_token_ms,
            problem.routes[route].time_per_output_token_ms,
        )
        for route, rate in mix.items()
    ]
    return max(1, math.ceil(fullness * largest_batch(problem.local[pool].profile, shapes) - 1e-9))


def rate_of(problem: Problem, route: str) -> float:
    """The route's known mean demand, or next to nothing."""
    return max(problem.rates[route], SMALLEST_RATE)


class MeasuredSpeeds:
    """Declared profiles made slower or faster, by what the engines' iterations take longer than declared.

    It stands for what an autoscaler with a learned model knows (WVA tunes alpha, beta and gamma by a Kalman filter);
    one factor for all three suffices where a whole pool is slower than declared. Profiles that somebody has learned
    already stay.
    """

    def __init__(self) -> None:
        self._factors: dict[str, float] = {}
        self._noticed: dict[str, float] = {}

    def applied(self, snapshot: Snapshot, signals: Mapping[str, PoolSignal]) -> Snapshot:
        """The snapshot with the speeds as measured so far."""
        for pool in snapshot.local_pools:
            if (found := signals.get(pool.key)) is not None and (seen := _slowness(pool.profile, found)) is not None:
                last = self._factors.get(pool.key, 1.0)
                now = self._factors[pool.key] = min(SLOWEST, max(FASTEST, last + LEARNING_RATE * (seen - last)))
                if abs(now - self._noticed.get(pool.key, 1.0)) > NOTICED:
                    self._noticed[pool.key] = round(now, 2)
        return replace(snapshot, local_pools=tuple(self._slowed(pool) for pool in snapshot.local_pools))

    def _slowed(self, pool: LocalPool) -> LocalPool:
        factor, profile = self._noticed.get(pool.key, 1.0), pool.profile
        if profile.source == "learned" or factor == 1.0:
            return pool
        slowed = replace(
            profile,
            alpha_ms=profile.alpha_ms * factor,
            beta_ms=profile.beta_ms * factor,
            gamma_ms=profile.gamma_ms * factor,
        )
        return replace(pool, profile=slowed)


def _slowness(profile: Profile, signal: PoolSignal) -> float | None:
    """Measured over declared time of an iteration; None where nothing was measured."""
    values = (signal.iteration_ms, signal.batch, signal.input_tokens, signal.output_tokens)
    if not all(math.isfinite(one) for one in values) or signal.iteration_ms <= 0.0 or signal.output_tokens <= 0.0:
        return None
    decode = (signal.input_tokens + signal.output_tokens) / (signal.output_tokens + 1.0)
    context = signal.input_tokens + signal.output_tokens / 2.0
    declared = profile.alpha_ms + max(1.0, signal.batch) * (profile.beta_ms * decode + profile.gamma_ms * context)
    return signal.iteration_ms / declared if declared > 0.0 else None
