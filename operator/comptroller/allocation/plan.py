"""A plan in numbers: replicas, flows and what is left over. `decide.py` puts it into words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from comptroller.allocation.decision import Rung
from comptroller.allocation.problem import Allowance, Problem


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests/s by (route, pool), unanswered requests/s by route; routes whose demand is unknown are not in it."""

    replicas: Mapping[str, int]
    flows: Mapping[tuple[str, str], float]
    shed: Mapping[str, float]
    shortfall: Mapping[str, float]  # route -> solved tasks per second missing to the minimum pass rate
    rung: Rung
    objective: float
    seconds: float

    def load(self, problem: Problem, pool: str) -> float:
        """Replicas' worth of requests that the plan sends to a local pool: needed replicas, not rounded."""
        return sum(self.flows.get((pair.route, pool), 0.0) * pair.replicas for pair in problem.by_pool[pool])

    def rate(self, problem: Problem, pool: str) -> float:
        """Requests/s that the plan sends to a pool."""
        return sum(self.flows.get((pair.route, pool), 0.0) for pair in problem.by_pool[pool])


def usd_per_hour(problem: Problem, plan: Plan) -> float:
    """Money that leaves under the plan, marginal basis: power, rent and tokens. No penalties, no regrets.

    Routes of unknown demand count at their last known rate and shares.
    """
    usd = {(pair.route, pair.pool): pair.usd for pairs in problem.pairs.values() for pair in pairs}
    running = sum(pool.idle_usd_per_replica_hour * plan.replicas[key] for key, pool in problem.local.items())
    planned = sum(rate * usd[key] for key, rate in sorted(plan.flows.items()))
    held = sum(
        problem.rates[route] * share * usd[route, pool]
        for route, shares in sorted(problem.held.items())
        for pool, share in sorted(shares.items())
    )
    return running + planned + held


def spent_usd(problem: Problem, plan: Plan, budget: Allowance) -> float:
    """What a plan spends of a budget on hosted pools, in US dollars per hour."""
    return sum(
        part * pair.usd * plan.flows.get((route, pair.pool), 0.0)
        for route, part in budget.parts.items()
        for pair in problem.pairs.get(route, ())
        if not pair.inside
    )


def all_hosted(problem: Problem, rates: Mapping[str, float]) -> tuple[float, float]:
    """Every request to the cheapest permitted API: US dollars per hour, and requests/s that no API may answer."""
    usd = shed = 0.0
    for route, rate in sorted(rates.items()):
        prices = [pair.usd for pair in problem.pairs[route] if not pair.inside and pair.usable]
        usd += rate * min(prices, default=0.0)
        shed += 0.0 if prices else rate
    return usd, shed
