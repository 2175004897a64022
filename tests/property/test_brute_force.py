"""The programme against brute force: tiny fleets, every replica count tried, each routed by a linear programme that is
written here anew from the definition in `programme.py` and shares no code with its builder."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import highspy
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.cases import Case
from comptroller.allocation.limits import Bounds
from comptroller.allocation.measured import cleaned, known
from comptroller.allocation.problem import Pair, Problem, kept_full, prepare
from comptroller.allocation.snapshot import (
    BackendRule,
    Budget,
    HostedPool,
    LocalPool,
    Memory,
    Profile,
    Route,
    Rules,
    Sample,
    Snapshot,
    Unknown,
)
from comptroller.allocation.solve import Fleet, expected_usd, sized_plan
from tests.property.profiles import cases
from tests.unit.allocation.build import demand, hosted, local, route, snapshot

GROUPS = ("h100", "rtx4090")
requests_per_second = st.floats(0, 30).map(lambda rate: round(rate, 4))  # fewer than one a day count as none


@dataclass(frozen=True)
class Tiny:
    """A fleet so small that every plan can be tried."""

    world: Snapshot
    problem: Problem
    cases: tuple[Case, ...]
    bounds: Mapping[str, Bounds]

    def plans(self) -> Iterator[dict[str, int]]:
        """Every replica count within the bounds and the GPUs."""
        keys = sorted(self.bounds)
        for counts in itertools.product(*(range(self.bounds[k].low, self.bounds[k].high + 1) for k in keys)):
            plan = dict(zip(keys, counts, strict=True))
            if all(self._taken(group, plan) <= self._most(group) for group in GROUPS):
                yield plan

    def _taken(self, group: str, plan: Mapping[str, int]) -> int:
        pools = [pool for pool in self.world.local_pools if pool.gpu_class == group]
        return sum(pool.gpus_per_replica * plan[pool.key] for pool in pools)

    def _most(self, group: str) -> float:
        lows = self._taken(group, {key: bound.low for key, bound in self.bounds.items()})
        count = known(self.world.gpus.get((group, ""), Sample(0.0)))
        return float("inf") if count is None else max(count, lows)


class Referee:
    """What given replicas cost over all cases: idle, moves, and the best routing of every case.

    One linear programme for all plans, whose replicas are columns that are fixed anew for each.
    """

    def __init__(self, tiny: Tiny) -> None:
        self.tiny = tiny
        self.lp = highspy.Highs()
        self.lp.setOptionValue("output_flag", False)
        self.dearest = max((self.dear(pair) for found in tiny.problem.pairs.values() for pair in found), default=0) or 1
        self.columns = 0
        self.worst = 1.0
        self.n = {key: self.column(0.0) for key in sorted(tiny.problem.local)}
        for case in tiny.cases:
            self.add(case)

    def dear(self, pair: Pair) -> float:
        idle = self.tiny.problem.local[pair.pool].idle_usd_per_replica_hour * pair.replicas if pair.inside else 0.0
        return pair.usd + pair.regret_usd + idle

    def column(self, usd: float) -> int:
        self.lp.addCol(usd, 0.0, highspy.kHighsInf, 0, [], [])
        self.columns += 1
        self.worst = max(self.worst, usd)
        return self.columns - 1

    def row(self, low: float, high: float, terms: Sequence[tuple[int, float]]) -> None:
        self.lp.addRow(low, high, len(terms), [column for column, _ in terms], [value for _, value in terms])

    def priority(self, one: Route) -> float:
        present = sorted({each.priority for each in self.tiny.world.routes})
        return float(64.0 ** (present.index(one.priority) / max(len(present) - 1, 1)))

    def unanswered_usd(self, one: Route, rate: float) -> float:
        if one.usd_per_solved_task is not None:
            return 3600.0 * one.usd_per_solved_task * self.priority(one)
        pools = [self.tiny.problem.local[p.pool] for p in self.tiny.problem.pairs[one.key] if p.inside]
        idle = max((pool.idle_usd_per_replica_hour for pool in pools), default=0.0)
        return self.priority(one) * max(300.0 * self.dearest, 10.0 * idle / max(rate, 0.001))

    def add(self, case: Case) -> None:
        problem, w = self.tiny.problem, case.weight
        x: dict[tuple[str, str], int] = {}
        for key, rate in case.rates.items():
            one, may = problem.routes[key], [pair for pair in problem.pairs[key] if pair.usable]
            for pair in may:
                x[key, pair.pool] = self.column(w * (pair.usd + pair.regret_usd))
            shed = self.column(w * self.unanswered_usd(one, rate))
            self.row(rate, rate, [*((x[key, pair.pool], 1.0) for pair in may), (shed, 1.0)])
            floor = min(one.minimum_pass_rate, max((pair.pass_rate for pair in problem.pairs[key]), default=0.0))
            if floor > 0:
                short = self.column(w * 100.0 * self.dearest)
                solved = [(x[key, pair.pool], pair.pass_rate) for pair in may]
                self.row(floor * rate, highspy.kHighsInf, [*solved, (shed, floor), (short, 1.0)])
        for key in problem.local:
            self.local(key, case, [(x[p.route, key], p) for p in problem.by_pool[key] if (p.route, key) in x])
        for key, api in problem.hosted.items():
            flows = [(x[p.route, key], p) for p in problem.by_pool[key] if (p.route, key) in x]
            for limit, measure in ((api.requests_per_minute, "requests"), (api.tokens_per_minute, "tokens")):
                if limit is not None:
                    free = max(limit / 60.0 - self.held(key, measure), 0.0)
                    self.row(-highspy.kHighsInf, free, [(col, self.measured(p, measure)) for col, p in flows])
            if api.max_concurrency is not None:
                free = max(api.max_concurrency - self.held(key, "seconds"), 0.0)
                self.row(-highspy.kHighsInf, free, [(col, p.latency_seconds) for col, p in flows])
        for budget in problem.budgets:
            pays = [(x[p.route, p.pool], part * p.usd) for key, part in budget.parts.items()
                    for p in problem.pairs.get(key, ()) if not p.inside and (p.route, p.pool) in x]  # fmt: skip
            self.row(-highspy.kHighsInf, budget.usd_per_hour, pays)

    def local(self, key: str, case: Case, flows: Sequence[tuple[int, Pair]]) -> None:
        """The time of a pool suffices for its flows, and so do its places."""
        pool, bound = self.tiny.problem.local[key], self.tiny.bounds[key]
        left = case.left.get((pool.gpu_class, pool.site), 1.0)
        for part in ("replicas", "places"):
            loads = [(column, self.measured(pair, part)) for column, pair in flows]
            taken = min(self.held(key, part), left * bound.low)
            self.row(-highspy.kHighsInf, -taken, [*loads, (self.n[key], -left)])
            if case.starting:
                self.row(-highspy.kHighsInf, max(bound.base - taken, 0.0), loads)

    @staticmethod
    def measured(pair: Pair, measure: str) -> float:
        found = {
            "replicas": pair.replicas, "places": pair.places, "tokens": pair.tokens, "seconds": pair.latency_seconds,
        }  # fmt: skip
        return found.get(measure, 1.0)

    def held(self, pool: str, measure: str) -> float:
        """What routes of unknown demand take of a pool."""
        problem = self.tiny.problem
        return sum(
            problem.rates[pair.route] * problem.held[pair.route].get(pool, 0.0) * self.measured(pair, measure)
            for pair in problem.by_pool[pool]
            if pair.route in problem.held
        )

    def usd(self, plan: Mapping[str, int]) -> float:
        """Expected US dollars per hour of these replicas, penalties included."""
        fixed = 0.0
        for key, count in plan.items():
            pool = self.tiny.problem.local[key]
            moved = abs(count - self.tiny.bounds[key].base)
            full = pool.idle_usd_per_replica_hour + pool.busy_extra_usd_per_replica_hour
            fixed += pool.idle_usd_per_replica_hour * count
            fixed += self.tiny.world.rules.improvement_threshold * full * moved
            self.lp.changeColBounds(self.n[key], count, count)
        self.lp.run()
        assert self.lp.getModelStatus() == highspy.HighsModelStatus.kOptimal
        return fixed + float(self.lp.getInfo().objective_function_value)


@st.composite
def local_pools(draw: st.DrawFn, name: str) -> LocalPool:
    return local(
        name,
        gpu_class=draw(st.sampled_from(GROUPS)),
        gpus_per_replica=draw(st.sampled_from([0, 1, 2, 4])),
        profile=Profile(draw(st.floats(2, 40)), draw(st.floats(0, 0.2)), draw(st.floats(0, 0.001)), 32),
        idle_usd_per_replica_hour=draw(st.sampled_from([0.0, 0.03, 0.3, 4.0, 40.0])),
        busy_extra_usd_per_replica_hour=draw(st.sampled_from([0.0, 0.13, 1.0])),
    )


@st.composite
def hosted_pools(draw: st.DrawFn, name: str) -> HostedPool:
    return hosted(
        name,
        output_usd_per_million_tokens=draw(st.sampled_from([0.4, 2.0, 15.0])),
        requests_per_minute=draw(st.sampled_from([None, None, 60.0, 600.0])),
        tokens_per_minute=draw(st.sampled_from([None, None, 1e5])),
        max_concurrency=draw(st.sampled_from([None, None, 4])),
        available=draw(st.integers(0, 9)) > 0,
    )


@st.composite
def routes(draw: st.DrawFn, name: str, pools: list[str]) -> Route:
    names = draw(st.lists(st.sampled_from(pools), min_size=1, max_size=4, unique=True))
    asked = demand(
        Unknown("stale") if draw(st.integers(0, 9)) == 0 else draw(requests_per_second),
        input_tokens=draw(st.sampled_from([100.0, 1000.0, 4000.0])),
        output_tokens=draw(st.sampled_from([20.0, 250.0, 250.0, 1000.0])),
    )
    return route(
        name,
        demand=asked,
        backends=tuple(BackendRule(f"ai/{one}", draw(st.sampled_from([0.7, 0.95, 1.0]))) for one in names),
        time_to_first_token_ms=draw(st.sampled_from([20.0, 500.0, 2000.0])),
        minimum_pass_rate=draw(st.sampled_from([0.0, 0.0, 0.9])),
        usd_per_solved_task=draw(st.sampled_from([None, None, None, 0.05])),
        usd_per_second=draw(st.sampled_from([0.0, 0.0, 0.001])),
        perimeters=draw(st.sampled_from([(), (), ("onPremises",)])),
        priority=draw(st.sampled_from([50, 100])),
        judged_ratio=draw(st.sampled_from([0.0, 0.0, 0.5])),
    )


@st.composite
def tiny_fleets(draw: st.DrawFn) -> Tiny:
    own = [draw(local_pools(f"own{i}")) for i in range(draw(st.integers(1, 3)))]
    apis = [draw(hosted_pools(f"api{i}")) for i in range(draw(st.integers(0, 2)))]
    names = [*(one.model for one in own), *(one.model for one in apis)]
    asked = [draw(routes(f"route{i}", names)) for i in range(draw(st.integers(1, 3)))]
    parts = {one.key: draw(st.sampled_from([0.5, 1.0])) for one in asked}
    budgets = (Budget("ai/policy", parts, Sample(draw(st.floats(0, 200))), 3600.0),) if draw(st.booleans()) else ()
    shares = {one.key: {f"ai/{name}": 1.0 / len(names) for name in names} for one in asked}
    world = snapshot(
        *own, *apis, *asked, budgets=budgets, rules=Rules(solver_time_limit_seconds=60.0),
        memory=Memory(shares=shares, requests_per_second=dict.fromkeys(shares, 3.0)),
        gpus=draw(st.one_of(st.just(Unknown("no nodes")), *[st.integers(0, 12).map(lambda n: Sample(float(n)))] * 4)),
    )  # fmt: skip
    clean, _ = cleaned(world)
    problem = prepare(clean)
    if draw(st.booleans()):
        problem = kept_full(problem, shares)
    bounds = {}
    for pool in own:
        low = draw(st.sampled_from([0, 0, 0, 1]))
        bounds[pool.key] = Bounds(low, low + draw(st.integers(0, 4 - low)), draw(st.integers(0, 4)))
    return Tiny(clean, problem, tuple(draw(two_cases(problem))), bounds)


@st.composite
def two_cases(draw: st.DrawFn, problem: Problem) -> list[Case]:
    """What is asked now while replicas start, or after a node failed; and what may be asked then."""
    part = draw(st.floats(0.01, 0.99))
    asked = {key: problem.rates[key] for key in problem.routes if key not in problem.held}
    then = {key: draw(requests_per_second) for key in asked}
    starting = draw(st.booleans())
    left = {} if starting else {(draw(st.sampled_from(GROUPS)), ""): draw(st.floats(0, 1))}
    return [Case(part, asked, starting=starting, left=left), Case(1.0 - part, then)]


@cases(300)
@given(tiny_fleets())
def test_no_plan_is_cheaper_than_the_programmes(tiny: Tiny) -> None:
    rates = tiny.cases[0].rates
    fleet = Fleet(tiny.problem, tiny.world.gpus, tiny.world.rules, rates, tiny.cases)
    plan = sized_plan(fleet, tiny.bounds, absolute_gap_usd=0.0)
    referee = Referee(tiny)
    every = list(tiny.plans())
    assert dict(plan.replicas) in every
    best = min(referee.usd(one) for one in every)
    chosen = referee.usd(plan.replicas)
    # the programme tells equal plans apart by a millionth of the dearest answer, and the solver is as exact as that
    asked = sum(sum(case.rates.values()) for case in tiny.cases)
    close = 1e-6 * (1.0 + abs(best) + referee.worst + referee.dearest * asked)
    assert chosen <= best + close
    assert plan.rung == "milp"
    assert abs(plan.objective - chosen) <= close
    if not tiny.problem.held:  # with given replicas held routes fill these; with open ones, those that are certain
        assert abs(expected_usd(fleet, plan.replicas, tiny.bounds) - chosen) <= close
