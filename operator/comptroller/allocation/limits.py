"""What bounds a plan: replica counts, GPUs, what hosted pools take, and what routes of unknown demand hold already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from comptroller.allocation.measured import known
from comptroller.allocation.problem import Pair, Problem
from comptroller.allocation.snapshot import LocalPool, Measurement


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which replica counts the programme may choose, and the count that moves are reckoned from."""

    low: int
    high: int
    base: int


def held_load(problem: Problem, pool: str, bound: Bounds) -> float:
    """Replicas of the pool that routes of unknown demand take, at their last known rate and shares.

    At most the replicas that are certain to be there: held routes may fill a pool, not overfill it.
    """
    return min(_held(problem, pool, {pair.route: pair.replicas for pair in problem.by_pool[pool]}), float(bound.low))


def held_places(problem: Problem, pool: str, bound: Bounds) -> float:
    """The same for the places of the pool, in replicas."""
    return min(_held(problem, pool, {pair.route: pair.places for pair in problem.by_pool[pool]}), float(bound.low))


def held_use(problem: Problem, pool: str, measure: str) -> float:
    """What routes of unknown demand take of a hosted pool's limit."""
    return _held(problem, pool, {pair.route: measure_of(pair, measure) for pair in problem.by_pool[pool]})


def _held(problem: Problem, pool: str, parts: Mapping[str, float]) -> float:
    """What routes of unknown demand take of a pool, of which one request/s of a route takes a part."""
    return sum(
        problem.rates[route] * problem.held[route].get(pool, 0.0) * part
        for route, part in parts.items()
        if route in problem.held
    )


def hosted_limits(problem: Problem, pool: str) -> list[tuple[str, float]]:
    """The pool's limits as (measure of a request, most of it per second or at once).

    `latency` is Little's law: requests in flight are arrivals per second times seconds per request.
    """
    hosted = problem.hosted[pool]
    limits: list[tuple[str, float]] = []
    if hosted.requests_per_minute is not None:
        limits.append(("requests", max(hosted.requests_per_minute, 0.0) / 60.0))
    if hosted.tokens_per_minute is not None:
        limits.append(("tokens", max(hosted.tokens_per_minute, 0.0) / 60.0))
    if hosted.max_concurrency is not None:
        limits.append(("latency", float(max(hosted.max_concurrency, 0))))
    return limits


def measure_of(pair: Pair, measure: str) -> float:
    """How much of a limit one request takes."""
    return {"requests": 1.0, "tokens": pair.tokens, "latency": pair.latency_seconds}[measure]


def gpus_held(problem: Problem, replicas: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """GPUs that so many replicas hold, by (class, site). Pools that are not named hold none."""
    held: dict[tuple[str, str], int] = {}
    for key, pool in problem.local.items():
        group = group_of(pool)
        held[group] = held.get(group, 0) + pool.gpus_per_replica * replicas.get(key, 0)
    return held


def inventory_limits(
    problem: Problem, bounds: Mapping[str, Bounds], gpus: Mapping[tuple[str, str], Measurement]
) -> dict[tuple[str, str], float]:
    """GPUs that the pools of each (class, site) may hold together. A group of which the inventory is unknown is left
    out: its bounds hold instead."""
    lows = gpus_held(problem, {key: bound.low for key, bound in bounds.items()})
    counted = {group: known(found) for group, found in gpus.items()}
    return {group: max(found, float(lows.get(group, 0))) for group, found in counted.items() if found is not None}


def group_of(pool: LocalPool) -> tuple[str, str]:
    """GPUs of one class at one site are interchangeable."""
    return pool.gpu_class, pool.site
