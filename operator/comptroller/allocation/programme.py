"""The mixed-integer programme: which pool answers which requests, and how many replicas each pool shall run.

    minimise   sum x[r,p] (usd + regret)[r,p] + sum n[p] idle[p] + sum up[p] cUp[p] + dn[p] cDn[p]
               + sum u[r] shed[r] + sum s[r] short[r]                                            [US dollars per hour]
    subject to sum_p x[r,p] + u[r] = demand[r]                                  every request is answered or shed
               sum_r x[r,p] / capacity[r,p] <= n[p] - taken[p]                  the objective holds (local pools)
               sum_p gpus[p] n[p] <= GPUs[class, site]                          inventory
               n[p] - up[p] + dn[p] = base[p]                                   moves from the last decision
               sum_r x[r,p] (1, tokens, latency) <= limits[p]                   rate limits (hosted pools)
               sum_p passRate[r,p] x[r,p] + s[r] >= minimum[r] (demand[r] - u[r])
               low[p] <= n[p] <= high[p], n integer; x, u, s, up, dn >= 0

**One programme, used twice, instead of one with two layers.** What is routed now must fit the replicas that serve now;
what is wanted must fit the replicas that will. A joint programme would have flows "now" and flows "when started", but
the two layers share no row: the serving replicas are a given, not a variable. So it falls apart exactly into sizing
(n free within its bounds, demand with burst headroom) and routing (n fixed to the replicas that serve now and stay,
demand as measured). Both are built here; they differ only in `Bounds` and rates. Spill bridges the start-up by itself.

**Starting has a price.** Over a horizon H a replica that starts now serves H - tau and is paid for H. Per served hour
it costs idle * H / (H - tau): idle * tau / (H - tau) more than a running one, which is cUp. Worked: $4.00/h rented,
tau 180 s, H 900 s: $1.00/h.

**The dead band is in the objective.** Each move costs `improvement_threshold` times what the moved replica costs under
full load, so a plan replaces the last one only if what moves earns that share. As a metric, move costs obey the
triangle inequality: if n is best from base m, then n is also best from base n. The plan of a planned state is empty.

**It is never infeasible.** x = 0, u = demand, n = low satisfies every row; where lower bounds alone exceed the GPUs
(a lost node, a pool pinned by hand), the inventory row is widened to just these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from comptroller.allocation.measured import known
from comptroller.allocation.problem import Pair, Problem
from comptroller.allocation.snapshot import LocalPool, Measurement, Rules

SHED_FACTOR = 300.0  # shedding costs this many times the dearest way to answer: serving always wins
PRIORITY_FACTOR = 64.0  # between the lowest and the highest priority that occur
QUALITY_FACTOR = 100.0  # a pass rate below the minimum, per missing solved task: dear, but cheaper than shedding
WHOLE_REPLICA_FACTOR = 10.0  # a route is worth starting a replica for, however few its requests
SMALLEST_RATE = 1e-3  # requests/s; bounds the factor above
TIE_BREAK = 1e-6  # of the dearest cost, times the rank of the pool: equal plans are told apart the same way always
LARGEST_STARTING_SHARE = 0.9  # of the horizon
INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which replica counts the programme may choose, and the count that moves are reckoned from."""

    low: int
    high: int
    base: int


@dataclass(frozen=True, slots=True)
class Row:
    """lower <= sum of coefficient * column <= upper."""

    name: tuple[str, ...]
    lower: float
    upper: float
    terms: tuple[tuple[int, float], ...]


@dataclass(slots=True)
class Programme:
    """Columns and rows in a fixed order. The index maps tell which column is which."""

    costs: list[float] = field(default_factory=list)
    lowers: list[float] = field(default_factory=list)
    uppers: list[float] = field(default_factory=list)
    integer: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    replicas: dict[str, int] = field(default_factory=dict)
    flows: dict[tuple[str, str], int] = field(default_factory=dict)
    shed: dict[str, int] = field(default_factory=dict)
    shortfall: dict[str, int] = field(default_factory=dict)

    def column(self, cost: float, lower: float = 0.0, upper: float = INFINITY) -> int:
        """Adds a column and returns its index."""
        self.costs.append(cost)
        self.lowers.append(lower)
        self.uppers.append(upper)
        return len(self.costs) - 1

    def row(self, name: tuple[str, ...], lower: float, upper: float, terms: list[tuple[int, float]]) -> None:
        """Adds a row."""
        self.rows.append(Row(name, lower, upper, tuple(terms)))


def build_programme(
    problem: Problem,
    rates: Mapping[str, float],
    bounds: Mapping[str, Bounds],
    gpus: Mapping[tuple[str, str], Measurement],
    rules: Rules,
    *,
    shed_as_dearest_api: bool = False,
) -> Programme:
    """The programme for these rates (requests/s by route; held routes are absent) and bounds.

    `shed_as_dearest_api` prices a shed request like the dearest answer instead of a penalty: for shadow prices, which
    would else tell the size of the penalty.
    """
    programme = Programme()
    dearest = dearest_usd(problem)
    _add_pools(programme, problem, bounds, rules)
    _add_routes(programme, problem, rates, dearest, shed_as_dearest_api)
    _add_capacity(programme, problem, bounds)
    _add_hosted_limits(programme, problem)
    _add_inventory(programme, problem, bounds, gpus)
    return programme


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
    horizon = max(rules.horizon_seconds, 1.0)
    starting = min(pool.startup_seconds, LARGEST_STARTING_SHARE * horizon)
    band = rules.improvement_threshold * (pool.idle_usd_per_replica_hour + pool.busy_extra_usd_per_replica_hour)
    return pool.idle_usd_per_replica_hour * starting / (horizon - starting) + band, band


def _add_pools(programme: Programme, problem: Problem, bounds: Mapping[str, Bounds], rules: Rules) -> None:
    for key, pool in problem.local.items():
        bound = bounds[key]
        up_usd, down_usd = move_costs(pool, rules)
        n = programme.column(pool.idle_usd_per_replica_hour, bound.low, bound.high)
        up, down = programme.column(up_usd), programme.column(down_usd)
        programme.replicas[key] = n
        if bound.low < bound.high:
            programme.integer.append(n)
        programme.row(("moves", key), bound.base, bound.base, [(n, 1.0), (up, -1.0), (down, 1.0)])


def _add_routes(
    programme: Programme, problem: Problem, rates: Mapping[str, float], dearest: float, shed_as_dearest_api: bool
) -> None:
    weights = priority_weights(problem)
    rank = {key: number for number, key in enumerate(sorted({**problem.local, **problem.hosted}))}
    for key, rate in sorted(rates.items()):
        pairs = [pair for pair in problem.pairs[key] if pair.usable]
        for pair in pairs:
            tie = TIE_BREAK * dearest * rank[pair.pool] / len(rank)
            programme.flows[key, pair.pool] = programme.column(pair.usd + pair.regret_usd + tie)
        price = dearest if shed_as_dearest_api else shed_usd(problem, key, rate, dearest) * weights[key]
        shed = programme.shed[key] = programme.column(price)
        flows = [(programme.flows[key, pair.pool], 1.0) for pair in pairs]
        programme.row(("demand", key), rate, rate, [*flows, (shed, 1.0)])
        floor = effective_pass_rate(problem, key)
        if floor > 0.0:
            short = programme.shortfall[key] = programme.column(QUALITY_FACTOR * dearest)
            solved = [(programme.flows[key, pair.pool], pair.pass_rate) for pair in pairs]
            programme.row(("quality", key), floor * rate, INFINITY, [*solved, (shed, floor), (short, 1.0)])


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


def _add_capacity(programme: Programme, problem: Problem, bounds: Mapping[str, Bounds]) -> None:
    for key in problem.local:
        terms = [
            (programme.flows[pair.route, key], pair.replicas)
            for pair in problem.by_pool[key]
            if (pair.route, key) in programme.flows
        ]
        if terms:
            taken = held_load(problem, key, bounds[key])
            programme.row(("capacity", key), -INFINITY, -taken, [*terms, (programme.replicas[key], -1.0)])


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


def _add_hosted_limits(programme: Programme, problem: Problem) -> None:
    for key in problem.hosted:
        pairs = problem.by_pool[key]
        for measure, limit in hosted_limits(problem, key):
            taken = sum(
                problem.rates[pair.route] * problem.held[pair.route].get(key, 0.0) * measure_of(pair, measure)
                for pair in pairs
                if pair.route in problem.held
            )
            terms = [
                (programme.flows[pair.route, key], measure_of(pair, measure))
                for pair in pairs
                if (pair.route, key) in programme.flows
            ]
            if terms:
                programme.row(("limit", key, measure), -INFINITY, max(0.0, limit - taken), terms)


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


def _add_inventory(
    programme: Programme,
    problem: Problem,
    bounds: Mapping[str, Bounds],
    gpus: Mapping[tuple[str, str], Measurement],
) -> None:
    for group in sorted(gpus):
        limit = inventory_limit(problem, group, bounds, gpus)
        terms = [
            (programme.replicas[key], float(pool.gpus_per_replica))
            for key, pool in problem.local.items()
            if group_of(pool) == group and pool.gpus_per_replica > 0
        ]
        if limit is not None and terms:
            programme.row(("inventory", *group), -INFINITY, limit, terms)
