"""Routes that are alike, as one: what keeps the programme of a very large fleet small.

Where all routes together have more than `MOST_PAIRS` pairs, the programme is made for groups. Routes are alike where
they have the same permitted pools, data rules, priority, value, minimum of quality and budgets, and where a request of
one takes of each of these pools nearly the same multiple of what a request of the other takes. A group asks for what
its members ask together, and each member gets the shares of its group.

**It is a restriction, no approximation.** A group's coefficients are the means of its members', weighted by their
rates: so much do its members take and cost together if they have the same shares. Every plan of the groups is thus a
plan of the routes that takes and costs the same; it goes through the same validator, route by route, and no route comes
near a pool that is not its own.

**What it may lose is bounded.** Let `size` be how many times as much one member takes as another: of each pool between
`size` and e^width `size`. Give every member the mean shares, by size, of the best plan of the routes: then of no pool
is taken more than e^width times what that plan takes. So the groups cost at most what the fleet would cost if each
request were e^width times as large; nothing where requests are equal up to their size. What is shed counts by requests,
whatever their size: routes that nobody outside may answer are only alike where their sizes are, too. (A hosted pool's
limit of requests counts them likewise; while one is reached, the bound does not hold.) The width is the smallest of
`WIDTHS` that suffices, or the largest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from comptroller.allocation.plan import Plan
from comptroller.allocation.problem import Pair, Problem, by_pool
from comptroller.allocation.snapshot import Snapshot

MOST_PAIRS = 5_000  # of routes and pools: up to here each route is planned for itself
WIDTHS = (0.1, 0.2, 0.4, 0.8, 1.6)
SMALLEST = 1e-12

Floats = npt.NDArray[np.float64]
Kind = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups as a problem of their own, each under the key of its first member. Routes of unknown demand are in it
    as they are. Without members each route is planned for itself, and everything is as it was."""

    problem: Problem
    members: Mapping[str, tuple[str, ...]] | None = None

    def rates(self, rates: Mapping[str, float]) -> Mapping[str, float]:
        """What the members of each group ask together, in requests/s."""
        if self.members is None:
            return rates
        return {key: sum([rates[one] for one in members]) for key, members in self.members.items()}

    def snapshot(self, snapshot: Snapshot, rates: Mapping[str, float]) -> Snapshot:
        """The same with an outlook for groups. A member without one counts with its rate."""
        if self.members is None:
            return snapshot
        told = snapshot.outlook.requests_per_second
        rows = {
            key: tuple(
                sum(told[one][number] if one in told else rates[one] for one in members)
                for number in range(len(snapshot.outlook.probabilities))
            )
            for key, members in self.members.items()
            if any(one in told for one in members)
        }
        return replace(snapshot, outlook=replace(snapshot.outlook, requests_per_second=rows))

    def plan_of_routes(self, plan: Plan, rates: Mapping[str, float]) -> Plan:
        """The plan of the groups as one of the routes, which ask for `rates`: each has the shares of its group."""
        if self.members is None:
            return plan
        part = {}
        for key, members in self.members.items():
            total = sum(rates[one] for one in members)
            part[key] = [(one, rates[one] / total if total > 0.0 else 0.0) for one in members]
        return replace(
            plan,
            flows={(one, pool): rate * of for (key, pool), rate in plan.flows.items() for one, of in part[key]},
            shed={one: rate * of for key, rate in plan.shed.items() for one, of in part[key]},
            shortfall={one: rate * of for key, rate in plan.shortfall.items() for one, of in part[key]},
        )


def grouped(problem: Problem, rates: Mapping[str, float]) -> Groups:
    """The groups of a problem whose routes ask for `rates`; none where it is small enough without."""
    alike = _alike(problem)
    return Groups(problem) if alike is None else _with_means(problem, alike, rates)


@dataclass(frozen=True, slots=True)
class _Alike:
    """Who is in which group. Of each member's pairs: the numbers that means are made of, the place of the member in the
    order of groups, and the place of the group's pair."""

    members: Mapping[str, tuple[str, ...]]
    numbers: Floats
    routes: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]


@lru_cache(maxsize=4)  # of the two problems of one decision, and of their groups
def _alike(problem: Problem) -> _Alike | None:
    asked = [key for key in problem.routes if key not in problem.held]
    if sum(len(problem.pairs[key]) for key in asked) <= MOST_PAIRS:
        return None
    budgets: dict[str, list[tuple[str, float]]] = {key: [] for key in asked}
    for budget in problem.budgets:
        for key, part in budget.parts.items():
            if key in budgets:
                budgets[key].append((budget.key, part))
    kinds = {key: (_kind(problem, key), tuple(budgets[key])) for key in asked}
    sizes = {key: _sizes(problem.pairs[key]) for key in asked}
    least: dict[Kind, list[float]] = {}
    for key in asked:
        least[kinds[key]] = [min(both) for both in zip(sizes[key], least.get(kinds[key], sizes[key]), strict=True)]
    members: dict[Kind, list[str]] = {}
    for width in WIDTHS:
        members = {}
        for key in asked:
            kind = kinds[key]
            box = tuple([int((one - low) / width) for one, low in zip(sizes[key], least[kind], strict=True)])
            members.setdefault((kind, box), []).append(key)
        if sum(len(problem.pairs[keys[0]]) for keys in members.values()) <= MOST_PAIRS:
            break
    return _arrays(problem, {keys[0]: tuple(keys) for keys in members.values()})


def _kind(problem: Problem, key: str) -> Kind:
    """What has to be the same; where a minimum of quality is asked for, also the pass rates, to a hundredth."""
    route, pairs = problem.routes[key], problem.pairs[key]
    floor = route.minimum_pass_rate
    return (
        tuple([(pair.pool, pair.usable, round(pair.pass_rate, 2) if floor > 0.0 else 0.0) for pair in pairs]),
        route.jurisdictions, route.perimeters, route.priority, route.usd_per_solved_task, floor,
    )  # fmt: skip


def _sizes(pairs: Sequence[Pair]) -> list[float]:
    """Logarithms of what a request takes of each pool: replicas inside, dollars outside. Relative to the first pool
    where an answer outside keeps everything from being shed."""
    logs = [math.log(max(one.replicas if one.inside else one.usd + one.regret_usd, SMALLEST)) for one in pairs]
    if any(one.usable and not one.inside for one in pairs):
        return [one - logs[0] for one in logs]
    return logs


def _arrays(problem: Problem, members: Mapping[str, tuple[str, ...]]) -> _Alike:
    numbers, routes, places = [], [], []
    place = route = 0
    for key, keys in members.items():
        for one in keys:
            for number, pair in enumerate(problem.pairs[one]):
                numbers.append(_numbers(pair))
                routes.append(route)
                places.append(place + number)
            route += 1
        place += len(problem.pairs[key])
    return _Alike(members, np.array(numbers), np.array(routes), np.array(places))


def _numbers(pair: Pair) -> tuple[float, ...]:
    return pair.usd, pair.regret_usd, pair.replicas, pair.pass_rate, pair.tokens, pair.latency_seconds, pair.places


def _with_means(problem: Problem, alike: _Alike, rates: Mapping[str, float]) -> Groups:
    asked = np.array([max(rates[one], SMALLEST) for keys in alike.members.values() for one in keys])
    weights = asked[alike.routes]
    totals = np.bincount(alike.places, weights)
    means = [np.bincount(alike.places, weights * numbers) / totals for numbers in alike.numbers.T]
    columns = zip(*(mean.tolist() for mean in means), strict=True)
    pairs = {}
    for key in alike.members:
        pairs[key] = tuple(
            [
                Pair(key, one.pool, one.inside, usd, regret, replicas, solved, tokens, latency, one.usable, places)
                for one, (usd, regret, replicas, solved, tokens, latency, places) in zip(
                    problem.pairs[key], columns, strict=False
                )
            ]
        )
    pairs = dict(sorted((pairs | {key: problem.pairs[key] for key in problem.held}).items()))
    own = replace(
        problem,
        routes={key: problem.routes[key] for key in pairs},
        pairs=pairs,
        rates={key: problem.rates[key] for key in pairs},
        by_pool=by_pool(pairs, list(problem.by_pool)),
        budgets=tuple(
            replace(one, parts={key: part for key, part in one.parts.items() if key in pairs})
            for one in problem.budgets
        ),
    )
    return Groups(own, alike.members)
