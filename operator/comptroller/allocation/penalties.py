"""What it costs, in the programme, not to answer: dollars that nobody pays, large enough that serving wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from comptroller.allocation.problem import Pair, Problem

Floats = npt.NDArray[np.float64]

SHED_FACTOR = 300.0  # shedding costs this many times the dearest way to answer: serving always wins
PRIORITY_FACTOR = 64.0  # between the lowest and the highest priority that occur
QUALITY_FACTOR = 100.0  # a pass rate below the minimum, per missing solved task: dear, but cheaper than shedding
WHOLE_REPLICA_FACTOR = 10.0  # a route is worth starting a replica for, however few its requests
SMALLEST_RATE = 1e-3  # requests/s; bounds the factor above


def dearest_usd(problem: Problem) -> float:
    """The dearest way to answer one request/s, in US dollars per hour; 1 if all is free."""
    costs = [
        pair.usd + pair.regret_usd + _idle(problem, pair) * pair.replicas
        for ps in problem.pairs.values()
        for pair in ps
    ]
    return max(costs, default=0.0) or 1.0


def _idle(problem: Problem, pair: Pair) -> float:
    return problem.local[pair.pool].idle_usd_per_replica_hour if pair.inside else 0.0


@dataclass(frozen=True, slots=True)
class ShedPrices:
    """What it costs not to answer requests of some routes, in arrays by route: see `shed_prices`."""

    task_usd: Floats  # not a number where the route does not say what a solved task is worth
    idle_usd: Floats  # of the dearest replica that may answer, per hour
    weights: Floats

    def usd(self, rates: Floats, dearest: float) -> Floats:
        """What leaving one request/s unanswered costs at these rates, in US dollars per hour.

        Where the route says what a solved task is worth, that; a request that costs more than its answer is worth is
        then not answered. Else more than any answer costs, and in total more than the replica that would have to start
        for it.
        """
        whole = WHOLE_REPLICA_FACTOR * self.idle_usd / np.maximum(rates, SMALLEST_RATE)
        penalty = np.maximum(SHED_FACTOR * dearest, whole)
        return np.where(np.isnan(self.task_usd), penalty, self.task_usd * 3600.0) * self.weights


def shed_prices(problem: Problem, routes: Sequence[str]) -> ShedPrices:
    """The prices of these routes, in their order."""
    weights = priority_weights(problem)
    values = [problem.routes[key].usd_per_solved_task for key in routes]
    return ShedPrices(
        np.array([math.nan if value is None else value for value in values]),
        np.array([max((_idle(problem, pair) for pair in problem.pairs[key]), default=0.0) for key in routes]),
        np.array([weights[key] for key in routes]),
    )


def priority_weights(problem: Problem) -> dict[str, float]:
    """Weight of each route's shed penalty: 1 for the lowest priority that occurs, 64 for the highest, by rank."""
    present = sorted({route.priority for route in problem.routes.values()})
    steps = max(len(present) - 1, 1)
    weights = {priority: PRIORITY_FACTOR ** (rank / steps) for rank, priority in enumerate(present)}
    return {key: weights[route.priority] for key, route in problem.routes.items()}


def effective_pass_rate(problem: Problem, route: str) -> float:
    """The route's minimum, or what its best permitted pool reaches if that is less: no floor sheds a whole route."""
    best = max((pair.pass_rate for pair in problem.pairs[route]), default=0.0)
    return min(problem.routes[route].minimum_pass_rate, best)
