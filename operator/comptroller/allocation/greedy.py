"""The lowest rung: routes by priority, each to its cheapest pools while there is room. Needs no solver."""

from __future__ import annotations

from collections.abc import Mapping

from comptroller.allocation.limits import (
    Bounds,
    gpus_held,
    group_of,
    held_load,
    held_places,
    held_use,
    hosted_limits,
    inventory_limits,
    measure_of,
)
from comptroller.allocation.plan import Plan
from comptroller.allocation.problem import Pair, Problem
from comptroller.allocation.snapshot import Measurement


def greedy_plan(
    problem: Problem,
    rates: Mapping[str, float],
    bounds: Mapping[str, Bounds],
    gpus: Mapping[tuple[str, str], Measurement],
) -> Plan:
    """Replicas at their lower bounds, raised as far as bounds and GPUs allow; then hosted pools; then shed."""
    room = _Room(problem, bounds, gpus)
    flows: dict[tuple[str, str], float] = {}
    shed: dict[str, float] = {}
    for key in sorted(rates, key=lambda one: (-problem.routes[one].priority, one)):
        left = rates[key]
        usable = [pair for pair in problem.pairs[key] if pair.usable]
        for pair in sorted(usable, key=lambda one: (one.usd + one.regret_usd, one.pool)):
            taken = room.take(pair, left)
            if taken > 0.0:
                flows[key, pair.pool] = taken
                left -= taken
        if left > 1e-9:
            shed[key] = left
    return Plan(room.replicas, flows, shed, {}, "greedy", 0.0, 0.0)


class _Room:
    """What is still free in each pool. It shrinks with every `take`."""

    def __init__(
        self, problem: Problem, bounds: Mapping[str, Bounds], gpus: Mapping[tuple[str, str], Measurement]
    ) -> None:
        self.problem = problem
        self.bounds = bounds
        self.replicas = {key: bound.low for key, bound in bounds.items()}
        self.load = {
            key: max(held_load(problem, key, bounds[key]), held_places(problem, key, bounds[key]))
            for key in problem.local
        }
        held = gpus_held(problem, self.replicas)
        self.gpus = {
            group: limit - held.get(group, 0) for group, limit in inventory_limits(problem, bounds, gpus).items()
        }
        self.limits = {
            key: {measure: limit - held_use(problem, key, measure) for measure, limit in hosted_limits(problem, key)}
            for key in problem.hosted
        }
        self.allowances = {budget.key: budget.usd_per_hour for budget in problem.budgets}

    def take(self, pair: Pair, rate: float) -> float:
        """How much of `rate` the pool can have, which is then taken."""
        return self._take_inside(pair, rate) if pair.inside else self._take_outside(pair, rate)

    def _take_inside(self, pair: Pair, rate: float) -> float:
        pool, part = self.problem.local[pair.pool], max(pair.replicas, pair.places)  # there is room for both
        while (
            self.load[pair.pool] + rate * part > self.replicas[pair.pool]
            and self.replicas[pair.pool] < self.bounds[pair.pool].high
            and self.gpus.get(group_of(pool), float("inf")) >= pool.gpus_per_replica
        ):
            self.replicas[pair.pool] += 1
            if group_of(pool) in self.gpus:
                self.gpus[group_of(pool)] -= pool.gpus_per_replica
        taken = min(rate, max(0.0, self.replicas[pair.pool] - self.load[pair.pool]) / part)
        self.load[pair.pool] += taken * part
        return taken

    def _take_outside(self, pair: Pair, rate: float) -> float:
        limits = self.limits[pair.pool]
        spends = {one.key: one.parts[pair.route] * pair.usd for one in self.problem.budgets if pair.route in one.parts}
        free = [max(0.0, left) / max(measure_of(pair, measure), 1e-12) for measure, left in limits.items()]
        free += [max(0.0, self.allowances[key]) / usd for key, usd in spends.items() if usd > 0.0]
        taken = min([rate, *free])
        for measure in limits:
            limits[measure] -= taken * measure_of(pair, measure)
        for key, usd in spends.items():
            self.allowances[key] -= taken * usd
        return taken
