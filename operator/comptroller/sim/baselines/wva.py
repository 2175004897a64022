"""WVA-like: llm-d's workload variant autoscaler with its queueing-model analyser.

llm-d/llm-d-workload-variant-autoscaler (read in the fork deanlorenz, with the files of zdtsw-forking at abe1f68 for the
analyser): internal/engines/analyzers/queueingmodel/analyzer.go takes the highest request rate lambda* at which one
replica keeps time to first token and inter-token latency, from the same state-dependent queue that
`allocation.capacity` implements, with alpha, beta, gamma tuned on the engines' metrics. internal/config/
saturation_scaling.go: needed capacity = demand / `scaleUpThreshold` (0.85) - supply, and spare capacity = supply -
demand / `scaleDownBoundary` (0.70); between both nothing moves. internal/engines/pipeline/cost_aware_optimizer.go adds
replicas to the variant with the least cost per capacity and takes them from the dearest; replicas that are still
starting count as supply. With limited GPUs greedy_score_optimizer.go shares what is free, most starved model first, and
rescale.go (alpha) deals all GPUs anew in proportion to demand. Its targets go through an HPA whose chart stabilises
240 s in both directions (here a draw: waiting before a scale-up only hurts).

A model is a set of pools with one model name, a variant is a pool. What differs here, all in its favour: demand is what
arrives at the gateway and not what reached a replica, lambda* is exact for the mixture of routes, and rescaling also
works for models that span GPU classes. Costs per variant are what people configure: the price of its GPUs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from comptroller.allocation.measured import known
from comptroller.allocation.problem import Problem
from comptroller.allocation.snapshot import LocalPool, Snapshot
from comptroller.api.settings import Settings
from comptroller.sim.baselines.autoscaler import Autoscaler
from comptroller.sim.baselines.routing import rate_of
from comptroller.sim.baselines.scaled_pools import Pace
from comptroller.sim.policy import View


@dataclass(frozen=True, slots=True)
class WvaParameters:
    """`scale_up_threshold` and `scale_down_boundary` are utilisations. `rescale`: GPUs that are short are dealt anew by
    demand, instead of leaving them where they are."""

    scale_up_threshold: float = 0.85
    scale_down_boundary: float = 0.70
    down_seconds: float = 240.0
    up_seconds: float = 0.0
    rescale: bool = True
    minimum: int = 1
    dedicated: bool = False
    ceiling: float = inf
    fullness: float = 0.0


@dataclass(frozen=True, slots=True)
class _Variant:
    """A pool as WVA sees it: requests/s of one replica for its model's mixture, and what a replica costs."""

    pool: LocalPool
    capacity: float
    cost: float


class Wva(Autoscaler[WvaParameters]):
    """Replicas by model; the operator's routing, so that what does not fit goes to the APIs."""

    name = "wva-spill"
    default = WvaParameters()

    def __init__(self, parameters: WvaParameters | None = None) -> None:
        super().__init__(parameters)
        self._unit_costs = {key: float(one.price_usd) for key, one in Settings().gpu_classes.items()}

    def pace(self) -> Pace:
        """One window down, one up."""
        return Pace(self.parameters.down_seconds, self.parameters.up_seconds)

    def recommend(self, view: View, snapshot: Snapshot, problem: Problem) -> None:
        """Demand over capacity, model by model; then the GPUs."""
        targets: dict[str, int] = {}
        demands: dict[str, float] = {}
        for model in sorted({pool.model for pool in snapshot.local_pools}):
            variants = self._variants(problem, model)
            demand = _demand(problem, [one.pool.key for one in variants])
            current = {one.pool.key: self.pools.wanted[one.pool.key] for one in variants}
            if demand is not None:
                current = self._model_targets(variants, demand, current)
            targets |= current
            demands[model] = demand or 0.0
        for key, count in self._within_gpus(snapshot, problem, targets).items():
            self.pools.recommend(problem.local[key], view.at_seconds, count)

    def _variants(self, problem: Problem, model: str) -> list[_Variant]:
        found = []
        for key, pool in problem.local.items():
            if pool.model == model:
                each = self._unit_costs.get(pool.gpu_class, pool.busy_extra_usd_per_replica_hour)
                cost = each * max(1, pool.gpus_per_replica)
                found.append(_Variant(pool, mixed_capacity(problem, key), cost))
        return sorted(found, key=lambda one: (one.cost / one.capacity, one.pool.key))

    def _model_targets(self, variants: list[_Variant], demand: float, current: Mapping[str, int]) -> dict[str, int]:
        """Adds to the variant that is cheapest per capacity, or takes from the dearest, by the two thresholds."""
        targets = dict(current)
        supply = sum(targets[one.pool.key] * one.capacity for one in variants)
        needed = demand / self.parameters.scale_up_threshold - supply
        for one in variants if needed > 0.0 else ():
            _, high = self.pools.range_of(one.pool)
            added = max(0, min(math.ceil(needed / one.capacity - 1e-9), high - targets[one.pool.key]))
            targets[one.pool.key] += added
            needed -= added * one.capacity
            if needed <= 0.0:
                break
        spare = supply - demand / self.parameters.scale_down_boundary
        for one in sorted(variants, key=lambda v: (-v.cost, v.capacity)) if spare > 0.0 else ():
            low, _ = self.pools.range_of(one.pool)
            removed = max(0, min(math.floor(spare / one.capacity + 1e-9), targets[one.pool.key] - low))
            targets[one.pool.key] -= removed
            spare -= removed * one.capacity
        return targets

    def _within_gpus(self, snapshot: Snapshot, problem: Problem, targets: Mapping[str, int]) -> dict[str, int]:
        """The targets that the GPUs of each class are enough for."""
        result = dict(targets)
        for group, found in sorted(snapshot.gpus.items()):
            budget = known(found)
            members = [
                key
                for key, pool in problem.local.items()
                if (pool.gpu_class, pool.site) == group and pool.gpus_per_replica > 0
            ]
            asked = sum(result[key] * problem.local[key].gpus_per_replica for key in members)
            if budget is None or asked <= budget:
                continue
            floors = {key: self.pools.range_of(problem.local[key])[0] for key in members}
            if not self.parameters.rescale:
                floors = {key: min(result[key], self.pools.wanted[key]) for key in members}
            sizes = {key: problem.local[key].gpus_per_replica for key in members}
            result |= dealt({key: result[key] for key in members}, floors, sizes, int(budget))
        return result


class WvaWithoutSpill(Wva):
    """The same replicas; what does not fit waits in the engines."""

    name = "wva"
    default = WvaParameters(fullness=2.0)
    spill = False


def mixed_capacity(problem: Problem, pool: str) -> float:
    """Requests/s of one replica for the mixture of requests of the routes that may use it."""
    rates = [(rate_of(problem, pair.route), pair.replicas) for pair in problem.by_pool[pool]]
    load = sum(rate * replicas for rate, replicas in rates)
    return sum(rate for rate, _ in rates) / load if load > 0.0 else 1.0


def dealt(
    wanted: Mapping[str, int], floors: Mapping[str, int], sizes: Mapping[str, int], budget: int
) -> dict[str, int]:
    """Whole replicas for GPUs that are short: floors first, then in proportion to what is wanted beyond them.

    The share of each is floor + (what is left) x (wanted beyond the floor) / (sum of these), in GPUs; whole replicas of
    that, and what remains to the largest remainders that still fit.

    >>> dealt({"a": 8, "b": 8}, {"a": 1, "b": 1}, {"a": 4, "b": 2}, 32)
    {'a': 5, 'b': 6}
    """
    beyond = {key: max(0, wanted[key] - floors[key]) * sizes[key] for key in wanted}
    left = budget - sum(floors[key] * sizes[key] for key in wanted)
    total = sum(beyond.values())
    result = {key: min(floors[key], wanted[key]) if left < 0 else floors[key] for key in wanted}
    if left <= 0 or total <= 0:
        return result
    part = min(1.0, left / total)
    exact = {key: part * beyond[key] / sizes[key] for key in wanted}
    result = {key: floors[key] + math.floor(exact[key] + 1e-9) for key in wanted}
    left = budget - sum(result[key] * sizes[key] for key in wanted)
    for key in sorted(wanted, key=lambda one: (math.floor(exact[one] + 1e-9) - exact[one], one)):
        if result[key] < wanted[key] and sizes[key] <= left:
            result[key] += 1
            left -= sizes[key]
    return result


def _demand(problem: Problem, pools: list[str]) -> float | None:
    """Requests/s of all routes that may use one of these pools; None while that of one is unknown."""
    routes = {pair.route for pool in pools for pair in problem.by_pool[pool]}
    rates = [known(problem.routes[route].demand.requests_per_second) for route in sorted(routes)]
    known_rates = [rate for rate in rates if rate is not None]
    return sum(known_rates) if len(known_rates) == len(rates) else None
