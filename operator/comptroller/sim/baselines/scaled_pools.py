"""What every autoscaler here shares: bounds, the count that it wants, and the routing that all of them get.

Each pool is a Deployment of its own with `minReplicas` and `maxReplicas`, as Kubernetes scales it. Nobody knows of the
others: where their wishes exceed the GPUs, pods stay pending, first come, first served. An autoscaler without metrics
keeps what it has (Kubernetes: "unable to get metrics" changes nothing).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from comptroller.allocation.decision import RoutePlan
from comptroller.allocation.measured import cleaned
from comptroller.allocation.problem import Problem, prepare, route_capacity
from comptroller.allocation.snapshot import LocalPool, Snapshot
from comptroller.sim.baselines.horizontal import Stabiliser, grown, shrunk
from comptroller.sim.baselines.mean_demand import History, MeanDemand, most_replicas, replicas_for
from comptroller.sim.baselines.routing import BestRoutes, MeasuredSpeeds, Routed, local_first, rate_of
from comptroller.sim.policy import Orders, PoolSignal, View


class Bounds(Protocol):
    """Between which counts a pool may be, and how full its replicas."""

    @property
    def minimum(self) -> int:
        """`minReplicas`, where the pool's own is lower."""

    @property
    def dedicated(self) -> bool:
        """Pools whose GPU class no other model uses always run all they can: for cents of idle power, nothing waits."""

    @property
    def ceiling(self) -> float:
        """`maxReplicas`, in times the replicas that the mean demand needs: how people keep pools from starving each
        other. Infinite: as many as there are GPUs."""

    @property
    def fullness(self) -> float:
        """0: the operator's routing. Else the gateway's list (`local_first`) with this limit per replica."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast replicas may come and go: the windows of `horizontal.Stabiliser`, and the part of the replicas that may
    go in a minute."""

    down_seconds: float
    up_seconds: float = 0.0
    down_part: float = 1.0


class ScaledPools:
    """Wanted replicas by pool, moved one recommendation at a time."""

    def __init__(self, bounds: Bounds, pace: Pace) -> None:
        self.bounds, self.pace = bounds, pace
        self.wanted: dict[str, int] = {}
        self.plans: Mapping[str, RoutePlan] = {}
        self._stabilisers: dict[str, Stabiliser] = {}
        self._mean = MeanDemand()
        self._most: dict[str, int] | None = None
        self._alone: set[str] = set()
        self._best, self._speeds = BestRoutes(), MeasuredSpeeds()
        self._last_seconds: float | None = None
        self.elapsed_seconds = 60.0

    def observe_history(self, history: History) -> None:
        """For the ceilings."""
        self._mean.observe_history(history)

    def begin(self, view: View) -> tuple[Snapshot, Problem]:
        """The tick's snapshot with measured speeds, and who may go where. New pools start with what exists."""
        if self._last_seconds is not None:
            self.elapsed_seconds = max(1.0, view.at_seconds - self._last_seconds)
        self._last_seconds = view.at_seconds
        snapshot = replace(self._speeds.applied(view.snapshot, view.signals), memory=self._best.memory)
        if self._most is None:
            self._most = self._ceilings(snapshot)
            self._alone = {
                pool.key for pool in snapshot.local_pools if self.bounds.dedicated and _alone(pool, snapshot)
            }
        for pool in snapshot.local_pools:
            low, high = self.range_of(pool)
            self.wanted.setdefault(pool.key, min(max(pool.existing, low), high))
        snapshot, _ = cleaned(snapshot)
        return snapshot, prepare(snapshot)

    def _ceilings(self, snapshot: Snapshot) -> dict[str, int]:
        most = {pool.key: most_replicas(pool, snapshot.gpus) for pool in snapshot.local_pools}
        if math.isinf(self.bounds.ceiling):
            return most
        needed = replicas_for(snapshot, self._mean.rates(snapshot))
        return {
            pool.key: most[pool.key]
            if _alone(pool, snapshot)
            else min(most[pool.key], max(1, math.ceil(self.bounds.ceiling * needed[pool.key])))
            for pool in snapshot.local_pools
        }

    def range_of(self, pool: LocalPool) -> tuple[int, int]:
        """Between which counts a pool may be."""
        most = (self._most or {}).get(pool.key, pool.maximum)
        if pool.key in self._alone:
            return most, most
        low = max(pool.minimum, min(self.bounds.minimum, most))
        return low, max(low, most)

    def recommend(self, pool: LocalPool, at_seconds: float, recommended: int) -> None:
        """Moves a pool towards a recommendation, as far as bounds and pace allow."""
        low, high = self.range_of(pool)
        current = self.wanted[pool.key]
        stabiliser = self._stabilisers.setdefault(pool.key, Stabiliser(self.pace.down_seconds, self.pace.up_seconds))
        settled = stabiliser.settled(at_seconds, current, min(max(recommended, low), high))
        if settled > current:
            self.wanted[pool.key] = grown(current, settled, self.elapsed_seconds)
        else:
            self.wanted[pool.key] = shrunk(current, settled, self.elapsed_seconds, self.pace.down_part)

    def orders(self, snapshot: Snapshot, problem: Problem, *, spill: bool = True) -> Orders:
        """The wanted replicas with their routing."""
        if spill and self.bounds.fullness == 0.0:
            routed: Routed = self._best.route(snapshot, self.wanted)
        else:
            routed = local_first(problem, self.wanted, spill=spill, fullness=self.bounds.fullness or 1.0)
        self.plans = routed.routes
        return Orders(dict(self.wanted), routed.routes, routed.max_concurrency)


def _alone(pool: LocalPool, snapshot: Snapshot) -> bool:
    """Whether no other model could use the pool's GPUs."""
    group = pool.gpu_class, pool.site
    return {one.model for one in snapshot.local_pools if (one.gpu_class, one.site) == group} == {pool.model}


def batch_at_capacity(problem: Problem, pool: str, plans: Mapping[str, RoutePlan]) -> float:
    """Requests in flight of one replica at its capacity, for the mixture of routes that it was sent last, or that may
    use it if it was sent nothing: what a load test of the pool finds, and what people set as the target of a metric."""
    own = problem.local[pool]
    load = {pair.route: rate_of(problem, pair.route) * pair.replicas for pair in problem.by_pool[pool]}
    sent = {route: plans[route].shares.get(pool, 0.0) for route in load if route in plans}
    weights = [(weight * sent.get(route, 0.0), route) for route, weight in load.items()]
    if sum(weight for weight, _ in weights) <= 0.0:
        weights = [(weight, route) for route, weight in load.items()]
    total = sum(weight for weight, _ in weights)
    if total <= 0.0:
        return float(own.profile.max_concurrency)
    return max(1.0, sum(w * route_capacity(problem.routes[route], own).batch for w, route in weights) / total)


def measured(signals: Mapping[str, PoolSignal], pool: str) -> PoolSignal | None:
    """What a pool's engines show; None where that is not known."""
    found = signals.get(pool)
    return found if found is not None and math.isfinite(found.in_flight) and math.isfinite(found.waiting) else None
