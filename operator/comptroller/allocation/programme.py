"""The mixed-integer programme: which pool answers which requests, and how many replicas each pool shall run.

    minimise   sum_p idle[p] n[p] + cUp[p] up[p] + cDn[p] dn[p]
               + sum_c weight[c] ( sum x[c,r,p] (usd + regret)[r,p] + u[c,r] shed[r] + s[c,r] short[r] )
                                                                                                   [US dollars per hour]
    subject to n[p] - up[p] + dn[p] = base[p]                                   moves from the last decision
               sum_p gpus[p] n[p] <= GPUs[class, site]                          inventory
               low[p] <= n[p] <= high[p], n integer
    and in every case c
               sum_p x[r,p] + u[r] = demand[c,r]                                every request is answered or shed
               sum_r x[r,p] / capacity[r,p] <= there[c,p] - taken[p]            the objective holds (local pools)
               sum_r x[r,p] places[r,p] <= there[c,p] - taken[p]                and its places suffice
               sum_r x[r,p] (1, tokens, latency) <= limits[p]                   rate limits (hosted pools)
               sum_p passRate[r,p] x[r,p] + s[r] >= minimum[r] (demand[r] - u[r])
               sum_r,p usd[r,p] x[r,p] <= allowance[k]                          budgets, hosted dollars per hour
               x, u, s >= 0

**Cases.** Replicas are chosen now and answer what comes. A case is one situation that they must answer, with the part
of the horizon it lasts, or its probability. All cases share n; each has its own flows, since the router answers what
really comes. There are four kinds: the minutes until a replica that starts now serves; what the demand may then be
(`Snapshot.outlook`); a node that fails; and the one case of a programme whose replicas are given. So the head-room for
bursts, the worth of an owned replica that stays warm for cents, and the reserve against the loss of a node are no
rules of thumb: they are what the expected dollars say.

**Starting has a price.** While replicas start, only `min(n, base)` of a pool answer: GPUs that change hands answer
nobody for that long, and the programme pays what that costs. Over a horizon H a replica that starts now is paid for H
and serves H - tau. Worked: $4.00/h rented, tau 180 s, H 900 s: it must save $5.00 in each hour that it serves.

**The dead band is in the objective.** Each move costs `improvement_threshold` times what the moved replica costs under
full load, so a plan replaces the last one only if what moves earns that share. As a metric, move costs obey the
triangle inequality: if n is best from base m, then n is also best from base n. The plan of a planned state is empty.

**It is never infeasible.** x = 0, u = demand, n = low satisfies every row; where lower bounds alone exceed the GPUs
(a lost node, a pool pinned by hand), the inventory row is widened to just these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from comptroller.allocation.measured import known
from comptroller.allocation.problem import Pair, Problem
from comptroller.allocation.snapshot import LocalPool, Measurement, Rules

SHED_FACTOR = 300.0  # shedding costs this many times the dearest way to answer: serving always wins
PRIORITY_FACTOR = 64.0  # between the lowest and the highest priority that occur
QUALITY_FACTOR = 100.0  # a pass rate below the minimum, per missing solved task: dear, but cheaper than shedding
WHOLE_REPLICA_FACTOR = 10.0  # a route is worth starting a replica for, however few its requests
SMALLEST_RATE = 1e-3  # requests/s; bounds the factor above
LEAST_RATE = 1e-5  # requests/s; one request a day counts, fewer are none: HiGHS calls wrong plans optimal for such rows
TIE_BREAK = 1e-6  # of the dearest cost, times the rank of the pool: equal plans are told apart the same way always
LARGEST_STARTING_SHARE = 0.9  # of the horizon
INFINITY = float("inf")

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which replica counts the programme may choose, and the count that moves are reckoned from."""

    low: int
    high: int
    base: int


@dataclass(frozen=True, slots=True)
class Case:
    """One situation that the replicas must answer.

    `weight` is its probability or its part of the horizon; the weights of a programme sum to 1. `rates` are requests/s
    by route (held routes are absent). `starting`: what is added to a pool does not answer yet. `left` is the share of
    the replicas that a failed node leaves, by (class, site); absent: all.
    """

    weight: float
    rates: Mapping[str, float]
    starting: bool = False
    left: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass(slots=True)
class Programme:
    """Columns and rows as arrays. The index maps tell which column is which in the first case; the next follow it."""

    costs: Floats
    lowers: Floats
    uppers: Floats
    integer: list[int]
    row_lowers: Floats
    row_uppers: Floats
    starts: Integers  # of each row in `columns` and `values`, and the end
    columns: Integers
    values: Floats
    replicas: Mapping[str, int]
    flows: Mapping[tuple[str, str], int]
    shed: Mapping[str, int]
    shortfall: Mapping[str, int]
    inventory_rows: Mapping[tuple[str, str], int]


def build_programme(
    problem: Problem,
    cases: Sequence[Case],
    bounds: Mapping[str, Bounds],
    gpus: Mapping[tuple[str, str], Measurement],
    rules: Rules,
    *,
    shed_as_dearest_api: bool = False,
) -> Programme:
    """The programme for these cases, which all have rates for the same routes, and bounds.

    `shed_as_dearest_api` prices a shed request like the dearest answer instead of a penalty: for shadow prices, which
    would else tell the size of the penalty.
    """
    made = _Assembly()
    replicas = {key: 3 * number for number, key in enumerate(problem.local)}
    for key, pool in problem.local.items():
        bound, (up_usd, down_usd) = bounds[key], move_costs(pool, rules)
        n = made.column(pool.idle_usd_per_replica_hour, bound.low, bound.high)
        up, down = made.column(up_usd), made.column(down_usd)
        made.row(float(bound.base), float(bound.base), [n, up, down], [1.0, -1.0, 1.0])
    inventory_rows = {}
    for group in sorted(gpus):
        limit = inventory_limit(problem, group, bounds, gpus)
        members = [k for k, p in problem.local.items() if group_of(p) == group and p.gpus_per_replica > 0]
        if limit is not None and members:
            inventory_rows[group] = made.rows
            sizes = [float(problem.local[k].gpus_per_replica) for k in members]
            made.row(-INFINITY, limit, [replicas[k] for k in members], sizes)
    block = _block(problem, list(cases[0].rates) if cases else [], bounds, replicas)
    dearest = dearest_usd(problem)
    weights = priority_weights(problem)
    first = made.width
    for case in cases:
        made.case(block, case, problem, _shed_costs(problem, case, block, dearest, weights, shed_as_dearest_api))
    return made.programme(
        integer=[replicas[key] for key, bound in bounds.items() if bound.low < bound.high],
        replicas=replicas,
        flows={pair: first + column for pair, column in block.flows.items()},
        shed={key: first + column for key, column in block.shed.items()},
        shortfall={key: first + column for key, column in block.shortfall.items()},
        inventory_rows=inventory_rows,
    )


@dataclass(slots=True)
class _Block:
    """What every case adds, in columns and rows of its own, numbered from 0.

    `rows`, `columns` and `values` are the coefficients. The coefficient of a case's replicas stands apart, since it
    depends on the case: `pool_rows` and `pool_columns`, which point to the columns of n. `lower` and `upper` are the
    bounds of the rows before what depends on the rates is added: `demand_rows` are equal to the rate, `quality_rows`
    at least `floors` times the rate.
    """

    routes: list[str]
    flows: dict[tuple[str, str], int]
    shed: dict[str, int]
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
    pool_rows: Integers
    pool_columns: Integers
    lows: Floats
    bases: Floats


def _block(problem: Problem, routes: list[str], bounds: Mapping[str, Bounds], replicas: Mapping[str, int]) -> _Block:
    routes = sorted(routes)
    dearest = dearest_usd(problem)
    rank = {key: number for number, key in enumerate(sorted({**problem.local, **problem.hosted}))}
    costs: list[float] = []
    entries: list[tuple[int, int, float]] = []
    lower: list[float] = []
    upper: list[float] = []
    flows: dict[tuple[str, str], int] = {}
    shed: dict[str, int] = {}
    shortfall: dict[str, int] = {}
    demand_rows, quality_rows, quality_routes, floors = [], [], [], []

    def row(low: float, high: float, terms: list[tuple[int, float]]) -> int:
        number = len(lower)
        lower.append(low)
        upper.append(high)
        entries.extend((number, column, value) for column, value in terms)
        return number

    for number, key in enumerate(routes):
        pairs = [pair for pair in problem.pairs[key] if pair.usable]
        for pair in pairs:
            flows[key, pair.pool] = len(costs)
            costs.append(pair.usd + pair.regret_usd + TIE_BREAK * dearest * rank[pair.pool] / len(rank))
        shed[key] = len(costs)
        costs.append(0.0)  # by case
        demand_rows.append(row(0.0, 0.0, [*((flows[key, p.pool], 1.0) for p in pairs), (shed[key], 1.0)]))
        floor = effective_pass_rate(problem, key)
        if floor > 0.0:
            shortfall[key] = len(costs)
            costs.append(QUALITY_FACTOR * dearest)
            solved = [(flows[key, pair.pool], pair.pass_rate) for pair in pairs]
            quality_rows.append(row(0.0, INFINITY, [*solved, (shed[key], floor), (shortfall[key], 1.0)]))
            quality_routes.append(number)
            floors.append(floor)
    pools, pool_rows = [], []
    for key in problem.local:
        terms = [(flows[pair.route, key], pair.replicas) for pair in problem.by_pool[key] if (pair.route, key) in flows]
        if terms:
            pools.append(key)
            pool_rows.append(row(-INFINITY, -held_load(problem, key, bounds[key]), terms))
        held = [(flows[pair.route, key], pair.places) for pair in problem.by_pool[key] if (pair.route, key) in flows]
        if any(places > 0.0 for _, places in held):
            pools.append(key)
            pool_rows.append(row(-INFINITY, -held_load(problem, key, bounds[key]), held))
    for key in problem.hosted:
        for measure, limit in hosted_limits(problem, key):
            pairs = [pair for pair in problem.by_pool[key] if (pair.route, key) in flows]
            if pairs:
                terms = [(flows[pair.route, key], measure_of(pair, measure)) for pair in pairs]
                row(-INFINITY, max(0.0, limit - held_use(problem, key, measure)), terms)
    for budget in problem.budgets:
        terms = [
            (flows[pair.route, pair.pool], budget.parts[pair.route] * pair.usd)
            for route in budget.parts
            for pair in problem.pairs.get(route, ())
            if not pair.inside and pair.usd > 0.0 and (pair.route, pair.pool) in flows
        ]
        if terms:
            row(-INFINITY, budget.usd_per_hour, terms)
    triples = np.array(entries, dtype=np.float64).reshape(-1, 3)
    return _Block(
        routes, flows, shed, shortfall, np.array(costs), triples[:, 0].astype(np.int32),
        triples[:, 1].astype(np.int32), triples[:, 2].copy(), np.array(lower), np.array(upper),
        np.array(demand_rows, dtype=np.int32), np.array(quality_rows, dtype=np.int32),
        np.array(quality_routes, dtype=np.int32), np.array(floors), pools, np.array(pool_rows, dtype=np.int32),
        np.array([replicas[key] for key in pools], dtype=np.int32),
        np.array([float(bounds[key].low) for key in pools]), np.array([float(bounds[key].base) for key in pools]),
    )  # fmt: skip


class _Assembly:
    """Collects columns and rows; the coefficients are sorted by row at the end."""

    def __init__(self) -> None:
        self.width = 0
        self.rows = 0
        self._costs: list[Floats] = []
        self._lowers: list[Floats] = []
        self._uppers: list[Floats] = []
        self._row_lowers: list[Floats] = []
        self._row_uppers: list[Floats] = []
        self._entries: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]] = []

    def column(self, cost: float, lower: float = 0.0, upper: float = INFINITY) -> int:
        """Adds a column and returns its index."""
        self._add_columns(np.array([cost]), np.array([lower]), np.array([upper]))
        return self.width - 1

    def row(self, lower: float, upper: float, columns: list[int], values: list[float]) -> None:
        """Adds a row."""
        self._add_rows(
            np.array([lower]), np.array([upper]), np.zeros(len(columns), np.int64), np.array(columns, np.int64),
            np.array(values),
        )  # fmt: skip

    def _add_columns(self, costs: Floats, lowers: Floats, uppers: Floats) -> None:
        self._costs.append(costs)
        self._lowers.append(lowers)
        self._uppers.append(uppers)
        self.width += len(costs)

    def _add_rows(
        self,
        lowers: Floats,
        uppers: Floats,
        rows: npt.NDArray[np.int64],
        columns: npt.NDArray[np.int64],
        values: Floats,
    ) -> None:
        self._row_lowers.append(lowers)
        self._row_uppers.append(uppers)
        self._entries.append((rows + self.rows, columns, values))
        self.rows += len(lowers)

    def case(self, block: _Block, case: Case, problem: Problem, shed_usd: Floats) -> None:
        """Adds the columns and rows of one case."""
        offset = self.width
        rates = np.array([case.rates[key] for key in block.routes])
        rates[rates < LEAST_RATE] = 0.0
        costs = block.costs.copy()
        costs[[block.shed[key] for key in block.routes]] = shed_usd
        self._add_columns(case.weight * costs, np.zeros(len(costs)), np.full(len(costs), INFINITY))
        lower, upper = block.lower.copy(), block.upper.copy()
        lower[block.demand_rows] = upper[block.demand_rows] = rates
        lower[block.quality_rows] = block.floors * rates[block.quality_routes]
        left = np.array([case.left.get(group_of(problem.local[key]), 1.0) for key in block.pools])
        upper[block.pool_rows] = np.maximum(upper[block.pool_rows], -left * block.lows)  # held routes lose theirs too
        rows = np.concatenate([block.rows, block.pool_rows]).astype(np.int64)
        columns = np.concatenate([block.columns.astype(np.int64) + offset, block.pool_columns.astype(np.int64)])
        self._add_rows(lower, upper, rows, columns, np.concatenate([block.values, -left]))
        if case.starting:
            self._only_what_answers_already(block, offset)

    def _only_what_answers_already(self, block: _Block, offset: int) -> None:
        """The capacity rows once more, for the replicas that the last decision wanted."""
        chosen = np.isin(block.rows, block.pool_rows)
        position = {row: number for number, row in enumerate(block.pool_rows.tolist())}
        rows = np.array([position[row] for row in block.rows[chosen].tolist()], dtype=np.int64)
        upper = block.upper[block.pool_rows] + block.bases
        self._add_rows(
            np.full(len(upper), -INFINITY), np.maximum(upper, 0.0), rows,
            block.columns[chosen].astype(np.int64) + offset, block.values[chosen],
        )  # fmt: skip

    def programme(self, **index: object) -> Programme:
        """All of it."""
        none: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
        rows = np.concatenate([one[0] for one in self._entries] or none)
        columns = np.concatenate([one[1] for one in self._entries] or none)
        values = np.concatenate([one[2] for one in self._entries] or [np.zeros(0)])
        order = np.argsort(rows, kind="stable")
        starts = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=self.rows))))
        return Programme(
            _joined(self._costs), _joined(self._lowers), _joined(self._uppers), row_lowers=_joined(self._row_lowers),
            row_uppers=_joined(self._row_uppers), starts=starts.astype(np.int32),
            columns=columns[order].astype(np.int32), values=values[order], **index,  # type: ignore[arg-type]
        )  # fmt: skip


def _joined(parts: list[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.zeros(0)


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


def move_costs(pool: LocalPool, rules: Rules) -> tuple[float, float]:
    """(cUp, cDn) of one replica in US dollars per hour, as the module's docstring derives them."""
    band = rules.improvement_threshold * (pool.idle_usd_per_replica_hour + pool.busy_extra_usd_per_replica_hour)
    return band, band


def _shed_costs(
    problem: Problem, case: Case, block: _Block, dearest: float, weights: Mapping[str, float], as_dearest_api: bool
) -> Floats:
    if as_dearest_api:
        return np.full(len(block.routes), dearest)
    return np.array([shed_usd(problem, key, case.rates[key], dearest) * weights[key] for key in block.routes])


def shed_usd(problem: Problem, route: str, rate: float, dearest: float) -> float:
    """What leaving one request/s unanswered costs, in US dollars per hour.

    Where the route says what a solved task is worth, that; a request that costs more than its answer is worth is then
    not answered. Else more than any answer costs, and in total more than the replica that would have to start for it.
    """
    value = problem.routes[route].usd_per_solved_task
    if value is not None:
        return value * 3600.0
    idle = max((_idle(problem, pair) for pair in problem.pairs[route]), default=0.0)
    return max(SHED_FACTOR * dearest, WHOLE_REPLICA_FACTOR * idle / max(rate, SMALLEST_RATE))


def priority_weights(problem: Problem) -> dict[str, float]:
    """Weight of each route's shed penalty: 1 for the lowest priority that occurs, 64 for the highest, by rank."""
    present = sorted({route.priority for route in problem.routes.values()})
    steps = max(len(present) - 1, 1)
    return {key: PRIORITY_FACTOR ** (present.index(route.priority) / steps) for key, route in problem.routes.items()}


def effective_pass_rate(problem: Problem, route: str) -> float:
    """The route's minimum, or what its best permitted pool reaches if that is less: no floor sheds a whole route."""
    best = max((pair.pass_rate for pair in problem.pairs[route]), default=0.0)
    return min(problem.routes[route].minimum_pass_rate, best)


def held_load(problem: Problem, pool: str, bound: Bounds) -> float:
    """Replicas of the pool that routes of unknown demand take, at their last known rate and shares.

    At most the replicas that are certain to be there: held routes may fill a pool, not overfill it.
    """
    load = sum(
        problem.rates[pair.route] * problem.held[pair.route].get(pool, 0.0) * pair.replicas
        for pair in problem.by_pool[pool]
        if pair.route in problem.held
    )
    return min(load, float(bound.low))


def held_use(problem: Problem, pool: str, measure: str) -> float:
    """What routes of unknown demand take of a hosted pool's limit."""
    return sum(
        problem.rates[pair.route] * problem.held[pair.route].get(pool, 0.0) * measure_of(pair, measure)
        for pair in problem.by_pool[pool]
        if pair.route in problem.held
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


def inventory_limit(
    problem: Problem, group: tuple[str, str], bounds: Mapping[str, Bounds], gpus: Mapping[tuple[str, str], Measurement]
) -> float | None:
    """GPUs that the group's pools may hold together; None while the inventory is unknown (bounds then hold instead)."""
    found = known(gpus[group])
    lows = sum(
        pool.gpus_per_replica * bounds[key].low for key, pool in problem.local.items() if group_of(pool) == group
    )
    return None if found is None else max(found, float(lows))


def group_of(pool: LocalPool) -> tuple[str, str]:
    """GPUs of one class at one site are interchangeable."""
    return pool.gpu_class, pool.site
