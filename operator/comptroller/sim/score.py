"""The figures of one run, and their means with confidence intervals over seeds: what the result file says.

`costUsd` is money that leaves: power and rent of every replica that exists, and hosted tokens. `objectiveUsd` adds the
stated penalties: a request that nobody answered costs ten times its route's reference price, an answer outside its
objective once the price of the cheapest permitted hosted answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from comptroller.sim.world import Bound, Floats, Ints, World

FLIP_SECONDS = 3600.0
STUDENT_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""Two-sided 95 % quantiles of Student's t for 1, 2, 3, ... degrees of freedom; beyond: 1.96."""


@dataclass(slots=True)
class Books:
    """What is counted while a run goes on. Rows are routes."""

    requests: Ints
    inside: Ints  # answered there, within the objective or not
    hosted: Ints
    within: Ints  # answered within the objective, wherever
    blocked: Ints
    still_waiting: Ints
    hosted_usd: Floats  # [route]
    power_usd: Floats  # [local pool]
    seconds: float = 0.0
    violations: int = 0
    moves: int = 0
    flips: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # [local pool]
    decision_seconds: list[float] = field(default_factory=list)

    @classmethod
    def empty(cls, routes: int, pools: int) -> Books:
        """Nothing has happened yet."""

        def none() -> Ints:
            return np.zeros(routes, dtype=np.int64)

        flips = np.zeros(pools, dtype=np.int64)
        return cls(none(), none(), none(), none(), none(), none(), np.zeros(routes), np.zeros(pools), flips=flips)


@dataclass(frozen=True, slots=True)
class Score:
    """The figures of one run: one policy, one day, one seed."""

    policy: str
    day: int
    seed: int
    hours: float
    cost_usd: float
    power_usd: float
    hosted_usd: float
    missed_usd: float
    blocked_usd: float
    requests: int
    answered: int
    within: int
    blocked: int
    inside: int
    solved: float
    sovereignty_violations: int
    budget_overrun_usd: float
    replica_moves: int
    direction_flips: int
    worst_flips_per_hour: float
    decision_seconds: tuple[float, ...]
    bound_usd: float | None = None
    per_route: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    series: Mapping[str, Any] = field(default_factory=dict)
    parts_usd: Mapping[str, float] = field(default_factory=dict)  # what the objective is made of

    @property
    def objective_usd(self) -> float:
        """Cost and penalties."""
        return self.cost_usd + self.missed_usd + self.blocked_usd


def score(
    books: Books,
    world: World,
    policy: str,
    day: int,
    seed: int,
    solved: float,
    budget_overrun_usd: float,
    bound: Bound | None = None,
    series: Mapping[str, Any] | None = None,
) -> Score:
    """Closes the books of a run."""
    answered = books.inside + books.hosted
    missed = float(((answered - books.within) * np.array([route.missed_usd for route in world.routes])).sum())
    blocked = float((books.blocked * np.array([route.blocked_usd for route in world.routes])).sum())
    hours = books.seconds / 3600.0
    return Score(
        policy=policy,
        day=day,
        seed=seed,
        hours=hours,
        cost_usd=float(books.hosted_usd.sum() + books.power_usd.sum()),
        power_usd=float(books.power_usd.sum()),
        hosted_usd=float(books.hosted_usd.sum()),
        missed_usd=missed,
        blocked_usd=blocked,
        requests=int(books.requests.sum()),
        answered=int(answered.sum()),
        within=int(books.within.sum()),
        blocked=int(books.blocked.sum()),
        inside=int(books.inside.sum()),
        solved=solved,
        sovereignty_violations=books.violations,
        budget_overrun_usd=budget_overrun_usd,
        replica_moves=books.moves,
        direction_flips=int(books.flips.sum()),
        worst_flips_per_hour=float(books.flips.max(initial=0)) / max(hours, 1e-9),
        decision_seconds=tuple(books.decision_seconds),
        bound_usd=None if bound is None else bound.usd,
        per_route={
            route.name: {
                "requests": int(books.requests[row]),
                "inside": int(books.inside[row]),
                "hosted": int(books.hosted[row]),
                "within": int(books.within[row]),
                "blocked": int(books.blocked[row]),
                "waiting": int(books.still_waiting[row]),
                "hostedUsd": float(books.hosted_usd[row]),
            }
            for row, route in enumerate(world.routes)
        },
        series=series or {},
    )


def figures(scores: Sequence[Score]) -> dict[str, Any]:
    """The figures of some runs of one policy together (days of one seed, say): sums and ratios of sums."""
    answered = sum(one.answered for one in scores)
    requests = sum(one.requests for one in scores)
    cost, objective = sum(one.cost_usd for one in scores), sum(one.objective_usd for one in scores)
    bounds = [one.bound_usd for one in scores if one.bound_usd is not None]
    bound = sum(bounds) if len(bounds) == len(scores) and bounds else None
    solved = sum(one.solved for one in scores)
    seconds = [value for one in scores for value in one.decision_seconds]
    hours = sum(one.hours for one in scores)
    return {
        "costUsd": cost,
        "powerUsd": sum(one.power_usd for one in scores),
        "hostedUsd": sum(one.hosted_usd for one in scores),
        "penaltyUsd": {
            "missed": sum(one.missed_usd for one in scores),
            "blocked": sum(one.blocked_usd for one in scores),
        },
        "objectiveUsd": objective,
        "objectiveUsdPerDay": objective * 24.0 / hours if hours else None,
        "boundUsd": bound,
        "aboveBoundPercent": 100.0 * (objective / bound - 1.0) if bound else None,
        "sloAttainment": sum(one.within for one in scores) / answered if answered else None,
        "blockedRatio": sum(one.blocked for one in scores) / requests if requests else 0.0,
        "sovereigntyViolations": sum(one.sovereignty_violations for one in scores),
        "budgetOverrunUsd": sum(one.budget_overrun_usd for one in scores),
        "replicaMoves": sum(one.replica_moves for one in scores),
        "directionFlips": sum(one.direction_flips for one in scores),
        "worstFlipsPerPoolAndHour": max((one.worst_flips_per_hour for one in scores), default=0.0),
        "insideRatio": sum(one.inside for one in scores) / answered if answered else None,
        "usdPerSolvedTask": cost / solved if solved else None,
        "decisionSeconds": quantiles(seconds),
        "requests": requests,
        "answered": answered,
        "blocked": sum(one.blocked for one in scores),
        "hours": hours,
    }


def quantiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """Median, 99th percentile and longest."""
    if not seconds:
        return {"p50": None, "p99": None, "max": None}
    values = np.sort(np.array(seconds))
    return {
        "p50": float(np.quantile(values, 0.5)),
        "p99": float(np.quantile(values, 0.99)),
        "max": float(values[-1]),
    }


def with_intervals(by_seed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The means over seeds, and beside them `confidence95`: half the width of each mean's 95 % interval (Student's t).

    Worked: 10, 11 and 12 have mean 11, deviation 1, and 4.303 x 1 / sqrt(3) = 2.48. One seed has no interval.
    """
    means = _over(by_seed, lambda values: float(np.mean(values)))
    spread = _over(by_seed, _half_width) if len(by_seed) > 1 else {}
    return {**means, "confidence95": spread, "seeds": len(by_seed)}


def _half_width(values: Sequence[float]) -> float:
    freedom = len(values) - 1
    student = STUDENT_95[freedom - 1] if freedom <= len(STUDENT_95) else 1.96
    return student * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _over(rows: Sequence[Mapping[str, Any]], reduce: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in rows[0].items():
        if isinstance(value, Mapping):
            found[name] = _over([row[name] for row in rows], reduce)
            continue
        values = [row[name] for row in rows if row[name] is not None]
        found[name] = reduce(values) if len(values) == len(rows) else None
    return found
