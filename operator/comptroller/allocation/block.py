"""The part of the programme that every case repeats: flows, what is not answered, and the rows that they must keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from comptroller.allocation.limits import Bounds, held_load, held_places, held_use, hosted_limits, measure_of
from comptroller.allocation.penalties import QUALITY_FACTOR, ShedPrices, dearest_usd, effective_pass_rate, shed_prices
from comptroller.allocation.problem import Problem

TIE_BREAK = 1e-6  # of the dearest cost, times the rank of the pool: equal plans are told apart the same way always
INFINITY = float("inf")

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]


@dataclass(slots=True)
class Block:
    """What every case adds, in columns and rows of its own, numbered from 0.

    `rows`, `columns` and `values` are the coefficients. The coefficient of a case's replicas stands apart, since it
    depends on the case: `pool_rows` and `pool_columns`, which point to the columns of n. `lower` and `upper` are the
    bounds of the rows before what depends on the rates is added: `demand_rows` are equal to the rate, `quality_rows`
    at least `floors` times the rate; of the rows of the pools the upper bounds are in `PoolRows`.
    """

    dearest: float  # `dearest_usd` of the problem
    prices: ShedPrices

    routes: list[str]
    flows: dict[tuple[str, str], int]
    shed: dict[str, int]
    shed_columns: Integers  # the same in the order of `routes`
    shortfall: dict[str, int]
    costs: Floats
    rows: Integers
    columns: Integers
    values: Floats
    lower: Floats
    upper: Floats
    demand_rows: Integers
    quality_rows: Integers
    quality_routes: Integers
    floors: Floats
    pools: list[str]
    places: list[bool]  # of the same row: whether it is about the pool's places, not its time
    pool_rows: Integers
    pool_columns: Integers

    def shed_usd(self, rates: Floats) -> Floats:
        """What leaving one request/s unanswered costs at these rates, by route, in US dollars per hour."""
        return self.prices.usd(rates, self.dearest)


@dataclass(frozen=True, slots=True)
class PoolRows:
    """What the bounds make of the rows of local pools, in the order of `Block.pool_rows`."""

    upper: Floats  # less what held routes take
    lows: Floats
    bases: Floats


def replica_columns(problem: Problem) -> dict[str, int]:
    """The columns of n in the programme: each pool has three, n, up and down."""
    return {key: 3 * number for number, key in enumerate(problem.local)}


@lru_cache(maxsize=2)  # the programmes of one decision ask for those of two problems in turn
def build_block(problem: Problem, routes: tuple[str, ...]) -> Block:
    """The block for these routes, which are sorted."""
    made = _Builder(problem)
    for key in routes:
        made.route(key)
    for key in problem.local:
        made.local(key)
    for key in problem.hosted:
        made.hosted(key)
    made.budgets()
    return made.block()


def pool_rows(problem: Problem, block: Block, bounds: Mapping[str, Bounds]) -> PoolRows:
    """The rows of local pools within these bounds."""
    taken = [
        held_places(problem, key, bounds[key]) if places else held_load(problem, key, bounds[key])
        for key, places in zip(block.pools, block.places, strict=True)
    ]
    return PoolRows(
        -np.array(taken),
        np.array([float(bounds[key].low) for key in block.pools]),
        np.array([float(bounds[key].base) for key in block.pools]),
    )


class _Builder:
    """Collects columns and rows in a fixed order."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.dearest = dearest_usd(problem)
        names = sorted({**problem.local, **problem.hosted})
        self.rank = {key: number / len(names) for number, key in enumerate(names)}
        self.routes: list[str] = []
        self.costs: list[float] = []
        self.entries: list[tuple[int, int, float]] = []
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.flows: dict[tuple[str, str], int] = {}
        self.shed: dict[str, int] = {}
        self.shortfall: dict[str, int] = {}
        self.demand_rows: list[int] = []
        self.quality: list[tuple[int, int, float]] = []  # row, number of the route, floor
        self.pools: list[tuple[str, bool, int]] = []  # pool, whether about its places, row

    def row(self, low: float, high: float, terms: list[tuple[int, float]]) -> int:
        number = len(self.lower)
        self.lower.append(low)
        self.upper.append(high)
        self.entries.extend((number, column, value) for column, value in terms)
        return number

    def column(self, cost: float) -> int:
        self.costs.append(cost)
        return len(self.costs) - 1

    def route(self, key: str) -> None:
        """What is asked is answered or shed, and well enough."""
        pairs = [pair for pair in self.problem.pairs[key] if pair.usable]
        for pair in pairs:
            tie = TIE_BREAK * self.dearest * self.rank[pair.pool]
            self.flows[key, pair.pool] = self.column(pair.usd + pair.regret_usd + tie)
        shed = self.shed[key] = self.column(0.0)  # by case
        answered = [(self.flows[key, pair.pool], 1.0) for pair in pairs]
        self.demand_rows.append(self.row(0.0, 0.0, [*answered, (shed, 1.0)]))
        floor = effective_pass_rate(self.problem, key)
        if floor > 0.0:
            short = self.shortfall[key] = self.column(QUALITY_FACTOR * self.dearest)
            solved = [(self.flows[key, pair.pool], pair.pass_rate) for pair in pairs]
            number = self.row(0.0, INFINITY, [*solved, (shed, floor), (short, 1.0)])
            self.quality.append((number, len(self.routes), floor))
        self.routes.append(key)

    def local(self, key: str) -> None:
        """A local pool's time and its places suffice."""
        pairs = [pair for pair in self.problem.by_pool[key] if (pair.route, key) in self.flows]
        if pairs:
            terms = [(self.flows[pair.route, key], pair.replicas) for pair in pairs]
            self.pools.append((key, False, self.row(-INFINITY, 0.0, terms)))
        if any(pair.places > 0.0 for pair in pairs):
            terms = [(self.flows[pair.route, key], pair.places) for pair in pairs]
            self.pools.append((key, True, self.row(-INFINITY, 0.0, terms)))

    def hosted(self, key: str) -> None:
        """A hosted pool's limits hold."""
        pairs = [pair for pair in self.problem.by_pool[key] if (pair.route, key) in self.flows]
        for measure, limit in hosted_limits(self.problem, key) if pairs else ():
            terms = [(self.flows[pair.route, key], measure_of(pair, measure)) for pair in pairs]
            self.row(-INFINITY, max(0.0, limit - held_use(self.problem, key, measure)), terms)

    def budgets(self) -> None:
        """Budgets hold."""
        for budget in self.problem.budgets:
            terms = [
                (self.flows[pair.route, pair.pool], budget.parts[pair.route] * pair.usd)
                for route in budget.parts
                for pair in self.problem.pairs.get(route, ())
                if not pair.inside and pair.usd > 0.0 and (pair.route, pair.pool) in self.flows
            ]
            if terms:
                self.row(-INFINITY, budget.usd_per_hour, terms)

    def block(self) -> Block:
        """All of it as arrays."""
        triples = np.array(self.entries, dtype=np.float64).reshape(-1, 3)
        quality = np.array(self.quality, dtype=np.float64).reshape(-1, 3)
        columns = replica_columns(self.problem)
        return Block(
            dearest=self.dearest,
            prices=shed_prices(self.problem, self.routes),
            routes=self.routes,
            flows=self.flows,
            shed=self.shed,
            shed_columns=np.array([self.shed[key] for key in self.routes], dtype=np.int32),
            shortfall=self.shortfall,
            costs=np.array(self.costs),
            rows=triples[:, 0].astype(np.int32),
            columns=triples[:, 1].astype(np.int32),
            values=triples[:, 2].copy(),
            lower=np.array(self.lower),
            upper=np.array(self.upper),
            demand_rows=np.array(self.demand_rows, dtype=np.int32),
            quality_rows=quality[:, 0].astype(np.int32),
            quality_routes=quality[:, 1].astype(np.int32),
            floors=quality[:, 2].copy(),
            pools=[key for key, _, _ in self.pools],
            places=[places for _, places, _ in self.pools],
            pool_rows=np.array([row for _, _, row in self.pools], dtype=np.int32),
            pool_columns=np.array([columns[key] for key, _, _ in self.pools], dtype=np.int32),
        )
