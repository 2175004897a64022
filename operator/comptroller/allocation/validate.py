"""One validator for every rung: what a plan must keep, whoever made it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from comptroller.allocation.limits import (
    Bounds,
    gpus_held,
    held_load,
    held_places,
    hosted_limits,
    inventory_limits,
    measure_of,
)
from comptroller.allocation.plan import Plan, spent_usd
from comptroller.allocation.problem import Problem, permits
from comptroller.allocation.snapshot import Measurement

TOLERANCE = 1e-5  # relative to 1 + the bound; ten times that of the solver


def flaws(
    problem: Problem,
    rates: Mapping[str, float],
    bounds: Mapping[str, Bounds],
    gpus: Mapping[tuple[str, str], Measurement],
    plan: Plan,
) -> list[str]:
    """What is wrong with the plan, in words; empty if nothing is."""
    return [
        *replica_flaws(problem, bounds, gpus, plan.replicas),
        *_flow_flaws(problem, rates, plan),
        *_capacity_flaws(problem, bounds, plan),
        *_limit_flaws(problem, plan),
        *_budget_flaws(problem, plan),
    ]


def _above(value: float, bound: float) -> bool:
    return value > bound + TOLERANCE * (1.0 + abs(bound))


def replica_flaws(
    problem: Problem,
    bounds: Mapping[str, Bounds],
    gpus: Mapping[tuple[str, str], Measurement],
    replicas: Mapping[str, int],
) -> Iterator[str]:
    """What is wrong with replica counts alone."""
    for key, bound in bounds.items():
        if not bound.low <= replicas.get(key, -1) <= bound.high:
            yield f"{key}: {replicas.get(key)} replicas are not within {bound.low}..{bound.high}"
    held = gpus_held(problem, replicas)
    for group, limit in inventory_limits(problem, bounds, gpus).items():
        if _above(held.get(group, 0), limit):
            yield f"{group[0]}: {held[group]} GPUs of {limit:g}"


def _flow_flaws(problem: Problem, rates: Mapping[str, float], plan: Plan) -> Iterator[str]:
    answered = dict.fromkeys(rates, 0.0)
    for (route, pool), rate in plan.flows.items():
        target = problem.local.get(pool) or problem.hosted.get(pool)
        if route not in rates or target is None or not permits(problem.routes[route], target):
            yield f"{route} may not go to {pool}"
            continue
        if not math.isfinite(rate) or rate < 0.0:
            yield f"{route} to {pool}: {rate} requests/s"
        answered[route] += rate
    for route, rate in rates.items():
        shed = plan.shed.get(route, 0.0)
        total = answered[route] + shed
        if not math.isfinite(total) or shed < -TOLERANCE or abs(total - rate) > TOLERANCE * (1.0 + rate):
            yield f"{route}: {total:g} of {rate:g} requests/s are planned"


def _capacity_flaws(problem: Problem, bounds: Mapping[str, Bounds], plan: Plan) -> Iterator[str]:
    for key in problem.local:
        load = plan.load(problem, key)
        free = plan.replicas.get(key, 0) - held_load(problem, key, bounds[key])
        if _above(load, free):
            yield f"{key}: {load:g} replicas' worth of requests for {free:g} replicas"
        places = sum(plan.flows.get((pair.route, key), 0.0) * pair.places for pair in problem.by_pool[key])
        free = plan.replicas.get(key, 0) - held_places(problem, key, bounds[key])
        if places > 0.0 and _above(places, free):
            yield f"{key}: {places:g} replicas' places for {free:g} replicas"


def _limit_flaws(problem: Problem, plan: Plan) -> Iterator[str]:
    for key, hosted in problem.hosted.items():
        used = [(pair, plan.flows.get((pair.route, key), 0.0)) for pair in problem.by_pool[key]]
        if any(rate > 0.0 for _, rate in used) and (hosted.paused or not hosted.available):
            yield f"{key} cannot carry anything now"
        for measure, limit in hosted_limits(problem, key):
            total = sum(rate * measure_of(pair, measure) for pair, rate in used)
            if _above(total, limit):
                yield f"{key}: {total:g} {measure} of {limit:g}"


def _budget_flaws(problem: Problem, plan: Plan) -> Iterator[str]:
    for budget in problem.budgets:
        spent = spent_usd(problem, plan, budget)
        if _above(spent, budget.usd_per_hour):
            yield f"{budget.key}: ${spent:g}/h of ${budget.usd_per_hour:g}/h"
