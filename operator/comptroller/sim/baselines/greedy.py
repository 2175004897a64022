"""Greedy by cost and capacity: each tick the request that saves most per GPU gets its GPUs first.

The rule of inferno's default solver (llm-inferno/optimizer, pkg/solver/greedy.go: priority groups, then the entry with
the largest regret, to its cheapest accelerator) and of Melange's idea to buy the GPU that is cheapest per capacity
(tyler-griggs/melange-release, melange/solver.py), with the one thing that neither has: an API price, which says what a
GPU saves. Routes go by priority, then by dollars saved per GPU; each takes room in its cheapest pool per capacity
(dollars of power, then scarce GPUs last), else new replicas while GPUs last, else goes out. Fewer replicas wait for a
delay. Demand is last measured times `headroom`. Routing is the operator's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from comptroller.allocation.measured import known
from comptroller.allocation.problem import Pair, Problem
from comptroller.allocation.snapshot import LocalPool, Snapshot
from comptroller.sim.baselines.autoscaler import Autoscaler
from comptroller.sim.policy import View

NOBODY_FACTOR = 10.0  # what a request is worth that nobody outside may answer, in times the dearest other


@dataclass(frozen=True, slots=True)
class GreedyParameters:
    """`headroom`: replicas for so many times the measured demand, its mean or with `peaks` its peak."""

    headroom: float = 1.1
    down_seconds: float = 300.0
    peaks: bool = False
    minimum: int = 0
    dedicated: bool = False
    ceiling: float = inf
    fullness: float = 0.0


class Greedy(Autoscaler[GreedyParameters]):
    """A fleet dealt out anew each tick."""

    name = "greedy"
    default = GreedyParameters()

    def recommend(self, view: View, snapshot: Snapshot, problem: Problem) -> None:
        """Dealt out for the demand as measured; pools whose demand is partly unknown keep what they have."""
        rates = {key: self._rate(problem, key) for key in problem.routes}
        room = Room(snapshot, problem, {pool.key: self.pools.range_of(pool) for pool in snapshot.local_pools})
        for key in sorted(rates, key=lambda one: (-problem.routes[one].priority, -_saving(problem, one), one)):
            room.fill(problem.pairs[key], rates[key] or 0.0)
        for pool in snapshot.local_pools:
            blind = any(rates[pair.route] is None for pair in problem.by_pool[pool.key])
            count = self.pools.wanted[pool.key] if blind else room.replicas[pool.key]
            self.pools.recommend(pool, view.at_seconds, count)

    def _rate(self, problem: Problem, route: str) -> float | None:
        demand = problem.routes[route].demand
        rate, peak = known(demand.requests_per_second), known(demand.peak_requests_per_second)
        if rate is None:
            return None
        return self.parameters.headroom * (max(rate, peak) if self.parameters.peaks and peak is not None else rate)


class Room:
    """What is free in the pools; it shrinks as routes take their part."""

    def __init__(self, snapshot: Snapshot, problem: Problem, ranges: Mapping[str, tuple[int, int]]) -> None:
        self.problem, self.ranges = problem, ranges
        self.replicas = {key: ranges[key][0] for key in problem.local}
        self.load = dict.fromkeys(problem.local, 0.0)
        self.free = {group: known(found) for group, found in snapshot.gpus.items()}
        for key, pool in problem.local.items():
            self._take_gpus(pool, self.replicas[key])

    def fill(self, pairs: tuple[Pair, ...], rate: float) -> None:
        """Gives a route its room inside, cheapest pool per capacity first."""
        left = rate
        for pair in sorted((one for one in pairs if one.inside), key=self._dearness):
            pool = self.problem.local[pair.pool]
            while self.load[pair.pool] + left * pair.replicas > self.replicas[pair.pool] and self._may_start(pool):
                self.replicas[pair.pool] += 1
                self._take_gpus(pool, 1)
            taken = min(left, max(0.0, self.replicas[pair.pool] - self.load[pair.pool]) / pair.replicas)
            self.load[pair.pool] += taken * pair.replicas
            left -= taken
            if left <= 1e-9:
                return

    def _dearness(self, pair: Pair) -> tuple[int, float, str]:
        """Pools on GPUs that fewer models compete for come first, then the cheaper ones per request."""
        pool = self.problem.local[pair.pool]
        rivals = {one.model for one in self.problem.local.values() if one.gpu_class == pool.gpu_class}
        return len(rivals), pair.usd + pool.idle_usd_per_replica_hour * pair.replicas, pair.pool

    def _may_start(self, pool: LocalPool) -> bool:
        free = self.free.get((pool.gpu_class, pool.site))
        return self.replicas[pool.key] < self.ranges[pool.key][1] and (free is None or free >= pool.gpus_per_replica)

    def _take_gpus(self, pool: LocalPool, replicas: int) -> None:
        group = pool.gpu_class, pool.site
        free = self.free.get(group)
        if free is not None:
            self.free[group] = free - replicas * pool.gpus_per_replica


def _saving(problem: Problem, route: str) -> float:
    """Dollars per hour that one GPU saves when it answers this route instead of the cheapest API."""
    inside = [pair for pair in problem.pairs[route] if pair.inside]
    outside = [pair.usd for pair in problem.pairs[route] if not pair.inside and pair.usable]
    if not inside:
        return 0.0
    gpus = min(pair.replicas * max(1, problem.local[pair.pool].gpus_per_replica) for pair in inside)
    own = min(pair.usd for pair in inside)
    dearest = max((pair.usd for pairs in problem.pairs.values() for pair in pairs), default=1.0)
    worth = min(outside) if outside else NOBODY_FACTOR * dearest
    return (worth - own) / max(gpus, 1e-12)
