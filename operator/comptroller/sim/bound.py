"""The least that any policy could have paid: a linear programme over the whole run that knows every arrival.

    minimise   sum idle[p] n[p,k] seconds[k] + sum x[r,p,k] busy[r,p] + sum u[r,k] otherwise[r]          [US dollars]
    subject to sum_p x[r,p,k] + u[r,k] = arrivals[r,k]                       every request of window k has an outcome
               sum_r x[r,p,k] w[j,r] <= M[j] n[p,k] seconds[k] + c[j,p,k] - c[j,p,k-1]                   speed, cut j
               sum_p gpus[p] n[p,k] <= GPUs[class, site]                     inventory
               0 <= c[j,p,k] <= C[j] most[p];  0 <= n[p,k] <= most[p];  x, u >= 0

x are the requests that a local pool answers within their objective, u all others, n the mean of the serving replicas.
Replicas may be fractions, start at once, and move for nothing. It is below the objective (cost and penalties) of every
policy, for each of its terms is below what the arena charges:

**Otherwise.** A request that is not answered inside within its objective is answered outside, or late, or not at all.
It costs at least the cheapest of: the cheapest permitted API with an endlessly warm cache, `missed_usd`, `blocked_usd`.
Rate limits, outages and the work that a late answer takes only make it dearer.

**Speed.** At each moment the good requests of a replica (those admitted within their objective) are b[r] with
sum b <= N and T = alpha + sum b[r] slope[r] <= T*, the loosest longest iteration among the pool's routes: that held
when the newest of them was admitted, and since then some have left and others only slow it down. They finish at
b[r] / S[r](T) per second, so for any weights w >= 0 at the rate sum b[r] w[r] / S[r](T) <= M, the most over all such
batches. M is computed rigorously: for T in [a, b] with S(a) and T <= b, over a fine grid, by the dual of the linear
programme in b. (Which requests end in a step is drawn by the arena: this holds for the means, and a day of millions of
requests is its mean to a thousandth.) Two weights are used: one over the fluid limit, and the same without N. Each
alone is enough to be a bound; together they describe the corner where N and the iteration time meet (mixtures of both
add nothing). Of a curve with a root, root sqrt(b) >= root b / sqrt(N) counts as slope.

**Between windows.** What is admitted in a window is what finishes in it and what is more in flight at its end. c is
that in-flight work in the weights of the cut, with what waits within its first-token objective: at most C for each
replica that could exist. It can be borrowed from the next window, which is why windows are one programme: taken each
for itself they would not be a bound. A replica that is scaled down has its requests counted as answered, at most C of
work, but its GPUs stay taken for the drain and its successor for the start-up, which are longer than that.

**Power.** Idle power is paid for every replica that exists, and more exist than serve. The busy part is
extra x min(1, u) with u = sum rate / fluid limit / n. As u <= M, that is at least extra x u / M; it is also at least
the same u with the fluid limits without N, which never exceeds 1. Both are linear; the dearer one is taken.

Worked: one window of an hour, one pool with a fluid limit of 8 requests/s, idle $1/h and $2/h more at full load, one
GPU, an API at $0.001, 10 requests/s: 8 inside for $3, 2 outside for $7.20: $10.20.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import highspy
import numpy as np

from comptroller.sim.fluid import Fluid, fluid_limit, prompt_ms, slope_ms
from comptroller.sim.world import Bound, Epoch, Floats, Ints, TrueLocalPool, TrueRoute, World

SECONDS_PER_HOUR = 3600.0
GRID = 600  # intervals of the iteration time: each one's two ends differ by less than 0.2 %
NO_PLACES = 10**9
CUTS = (0.0, 1.0)  # how much of the fluid limit without N is in the weights of a cut
PARTS = ("idle power", "busy power", "otherwise")


def hindsight_bound(epochs: Sequence[Epoch]) -> Bound:
    """A lower bound of any policy's objective over these stretches of time, in US dollars, and of what it consists."""
    return _summed([_solved(_programme(epoch, _speeds(epoch.world), linked=True), integer=False) for epoch in epochs])


def startup_bound(epochs: Sequence[Epoch]) -> Bound:
    """The same where a replica takes its GPUs for its start-up before it serves, and only what serves holds requests:
    what nobody can save either, still with fractions of replicas. Above the first, and still below every policy.

    a[p,k] is by how much the mean over window k of the replicas that have ever begun to serve exceeds that of window
    k-1. What serves rises by no more: n[p,k] - n[p,k-1] <= a[p,k]. Where start-up takes L windows, what starts in
    window k is a[p,k+1] + ... + a[p,k+L], exactly: a mean moved by L windows is that of L windows on. It takes GPUs and
    idle power. At the end of a window at most n[p,k] + a[p,k+1] serve, so that c[j,p,k] <= C[j] (n[p,k] + a[p,k+1]).

    A replica that leaves counts as serving while it drains, in which it finishes what it holds (all but 2 % of 33 s of
    work in 30 s, at worst: left out). Windows are equally long; of a start-up that is no multiple of them the rest is
    free, and so is what starts before a stretch begins.
    """
    programmes = (_programme(one, _speeds(one.world), linked=True, starting=True) for one in epochs)
    return _summed([_solved(one, integer=False) for one in programmes])


def integral_bound(epochs: Sequence[Epoch]) -> Bound:
    """The same with whole replicas that stay for a window: what wholeness costs. No bound of anything: a policy may
    move within a window. Windows stand alone here, else it would be one large integer programme."""
    solved: list[Bound] = []
    for epoch in epochs:
        speeds = _speeds(epoch.world)
        alone = (_window(epoch, number) for number in range(len(epoch.windows.seconds)))
        solved.extend(_solved(_programme(one, speeds, linked=False), integer=True) for one in alone)
    return _summed(solved)


def otherwise_usd(world: World, route: TrueRoute) -> float:
    """The least that a request costs which is not answered inside within its objective."""
    hosted = [
        pool.usd_per_request(route.input_tokens, route.output_tokens, route.best_cached_ratio)
        for pool in world.hosted
        if pool.key in route.permitted and pool.refused_ratio < 1.0
    ]
    return min([route.missed_usd, route.blocked_usd, *hosted])


def _window(epoch: Epoch, number: int) -> Epoch:
    windows = epoch.windows
    one = replace(
        windows,
        seconds=windows.seconds[number : number + 1],
        requests_per_second=windows.requests_per_second[:, number : number + 1],
    )
    return replace(epoch, windows=one)


def _summed(bounds: Sequence[Bound]) -> Bound:
    parts = {part: sum(bound.parts_usd[part] for bound in bounds) for part in PARTS}
    return Bound(sum(bound.usd for bound in bounds), parts)


# --- what one replica can do ---


@dataclass(frozen=True, slots=True)
class _Speed:
    """A pool and the routes that it can answer within their objective, as arrays over these routes.

    `weights` are the cuts' w [cut, route], `most` their M per second of a replica, `stock` their C of a replica.
    """

    routes: Ints
    busy_usd: Floats
    weights: Floats
    most: Floats
    stock: Floats


def _speeds(world: World) -> list[_Speed]:
    return [_speed(world, pool) for pool in world.local]


def _speed(world: World, pool: TrueLocalPool) -> _Speed:
    chosen, fluid, free = [], [], []
    for number, route in enumerate(world.routes):
        if pool.key not in route.permitted:
            continue
        limit = _limit(pool, route, pool.profile.max_concurrency)
        if limit.reachable:
            chosen.append(number)
            fluid.append(limit.requests_per_second)
            free.append(_limit(pool, route, NO_PLACES).requests_per_second)
    routes = [world.routes[number] for number in chosen]
    batch = _Batch.of(pool, routes)
    bounded, unbounded = 1.0 / np.array(fluid), 1.0 / np.array(free)
    weights = np.array([(1.0 - part) * bounded + part * unbounded for part in CUTS if routes])
    first_token = max((route.time_to_first_token_ms / 1000.0 for route in routes), default=0.0)
    most = np.array([batch.most_finished(cut) for cut in weights])
    stock = np.array([batch.most_held(cut) for cut in weights]) + most * first_token
    extra = pool.busy_extra_usd_per_replica_hour / SECONDS_PER_HOUR
    busy = max(
        (cut / top for cut, top in zip(weights, np.maximum(most, 1.0), strict=True)), key=np.sum, default=bounded
    )
    return _Speed(np.array(chosen, dtype=np.int64), extra * busy, weights, most, stock)


def _limit(pool: TrueLocalPool, route: TrueRoute, places: int) -> Fluid:
    return fluid_limit(
        replace(pool.profile, max_concurrency=places),
        route.input_tokens,
        route.output_tokens,
        route.time_to_first_token_ms,
        route.time_per_output_token_ms,
    )


@dataclass(frozen=True, slots=True)
class _Batch:
    """The batches that one replica may hold while it keeps objectives."""

    alpha_ms: float
    longest_ms: float  # T*: the loosest longest iteration
    places: float
    slopes_ms: Floats
    prompts_ms: Floats
    output_tokens: Floats

    @classmethod
    def of(cls, pool: TrueLocalPool, routes: Sequence[TrueRoute]) -> _Batch:
        places = float(max(pool.profile.max_concurrency, 1))
        chord = pool.profile.root_ms / math.sqrt(places)
        slopes = np.array([slope_ms(pool.profile, one.input_tokens, one.output_tokens) + chord for one in routes])
        prompts = np.array([prompt_ms(pool.profile, one.input_tokens) for one in routes])
        longest = [
            min(one.time_per_output_token_ms, one.time_to_first_token_ms - prompt)
            for one, prompt in zip(routes, prompts, strict=True)
        ]
        outputs = np.array([one.output_tokens for one in routes])
        return cls(pool.profile.alpha_ms, max(longest, default=0.0), places, slopes, prompts, outputs)

    def service_seconds(self, iteration_ms: float) -> Floats:
        return (self.output_tokens * iteration_ms + self.prompts_ms) / 1000.0

    def most_finished(self, weights: Floats) -> float:
        """M: the most weight that finishes per second, over all batches."""
        edges = np.linspace(self.alpha_ms, self.longest_ms, GRID + 1)
        return max(
            self._most(weights / self.service_seconds(low), high - self.alpha_ms) for low, high in pairwise(edges)
        )

    def most_held(self, weights: Floats) -> float:
        """The most weight in flight at once."""
        return self._most(weights, self.longest_ms - self.alpha_ms)

    def _most(self, worth: Floats, budget_ms: float) -> float:
        """The most of sum b worth with sum b <= N and sum b slope <= budget.

        By its dual, N max(0, worth - y slope) + y budget, which is convex and piecewise linear in the one price y; its
        kinks are where a route's line meets zero or another's.
        """
        slopes = np.maximum(self.slopes_ms, 1e-12)
        rise, run = worth[:, None] - worth[None, :], slopes[:, None] - slopes[None, :]
        with np.errstate(divide="ignore", invalid="ignore"):
            kinks = np.concatenate(([0.0], worth / slopes, (rise / run)[run > 0.0]))
        prices = kinks[(kinks >= 0.0) & np.isfinite(kinks)]
        dearest = np.maximum(0.0, worth[None, :] - prices[:, None] * slopes[None, :]).max(axis=1)
        return float((self.places * dearest + prices * budget_ms).min())


# --- the programme ---


@dataclass(slots=True)
class _Programme:
    """Columns and rows as they are added. `parts` says to which part of the cost a column belongs."""

    costs: list[Floats] = field(default_factory=list)
    uppers: list[Floats] = field(default_factory=list)
    parts: list[Ints] = field(default_factory=list)
    whole: list[Ints] = field(default_factory=list)
    row_lowers: list[Floats] = field(default_factory=list)
    row_uppers: list[Floats] = field(default_factory=list)
    entries: list[tuple[Ints, Ints, Floats]] = field(default_factory=list)  # rows, columns, values
    width: int = 0
    height: int = 0

    def columns(self, costs: Floats, uppers: Floats, part: int, *, whole: bool = False) -> Ints:
        numbers = np.arange(self.width, self.width + len(costs))
        self.costs.append(costs)
        self.uppers.append(uppers)
        self.parts.append(np.full(len(costs), part))
        if whole:
            self.whole.append(numbers)
        self.width += len(costs)
        return numbers

    def rows(self, lowers: Floats, uppers: Floats) -> Ints:
        numbers = np.arange(self.height, self.height + len(lowers))
        self.row_lowers.append(lowers)
        self.row_uppers.append(uppers)
        self.height += len(lowers)
        return numbers

    def put(self, rows: Ints, columns: Ints, values: Floats) -> None:
        self.entries.append((rows, columns, np.asarray(values, dtype=np.float64)))


def _programme(epoch: Epoch, speeds: Sequence[_Speed], *, linked: bool, starting: bool = False) -> _Programme:
    """The programme of one epoch; x and u are requests, n replicas, c weights in flight."""
    world, windows = epoch.world, epoch.windows
    seconds = windows.seconds
    arrivals = np.maximum(windows.requests_per_second, 0.0) * seconds
    made = _Programme()
    answered = []
    for number, route in enumerate(world.routes):
        answered.append(made.rows(arrivals[number], arrivals[number]))
        u = made.columns(np.full(len(seconds), otherwise_usd(world, route)), arrivals[number], 2)
        made.put(answered[number], u, np.ones(len(seconds)))
    inventory = {
        (group.gpu_class, group.site): made.rows(
            np.full(len(seconds), -np.inf), np.full(len(seconds), float(group.count))
        )
        for group in world.gpus
    }
    for pool, speed in zip(world.local, speeds, strict=True):
        n, c = _add_pool(made, world, pool, speed, seconds, arrivals, answered, inventory, linked=linked)
        if starting and len(seconds) > 1:
            _add_starts(made, pool, speed, seconds, n, c, inventory.get((pool.gpu_class, pool.site)))
    return made


def _add_pool(
    made: _Programme,
    world: World,
    pool: TrueLocalPool,
    speed: _Speed,
    seconds: Floats,
    arrivals: Floats,
    answered: Sequence[Ints],
    inventory: Mapping[tuple[str, str], Ints],
    *,
    linked: bool,
) -> tuple[Ints, list[Ints]]:
    """Columns and rows of one pool. Returns the columns of n, and those of c by cut."""
    group = pool.gpu_class, pool.site
    gpus = sum(one.count for one in world.gpus if (one.gpu_class, one.site) == group)
    most = float(pool.maximum if pool.gpus_per_replica == 0 else min(pool.maximum, gpus / pool.gpus_per_replica))
    idle = pool.idle_usd_per_replica_hour / SECONDS_PER_HOUR
    n = made.columns(idle * seconds, np.full(len(seconds), most), 0, whole=True)
    if group in inventory and pool.gpus_per_replica > 0:
        made.put(inventory[group], n, np.full(len(seconds), float(pool.gpus_per_replica)))
    x = []
    for place, number in enumerate(speed.routes):
        x.append(made.columns(np.full(len(seconds), speed.busy_usd[place]), arrivals[number], 1))
        made.put(answered[number], x[place], np.ones(len(seconds)))
    stock: list[Ints] = []
    for cut, weights in enumerate(speed.weights):
        rows = made.rows(np.full(len(seconds), -np.inf), np.zeros(len(seconds)))
        for place, columns in enumerate(x):
            made.put(rows, columns, np.full(len(seconds), weights[place]))
        made.put(rows, n, -speed.most[cut] * seconds)
        if linked:
            c = made.columns(np.zeros(len(seconds)), np.full(len(seconds), speed.stock[cut] * most), 0)
            made.put(rows, c, np.full(len(seconds), -1.0))
            made.put(rows[1:], c[:-1], np.ones(len(seconds) - 1))
            stock.append(c)
    return n, stock


def _add_starts(
    made: _Programme,
    pool: TrueLocalPool,
    speed: _Speed,
    seconds: Floats,
    n: Ints,
    stock: Sequence[Ints],
    inventory: Ints | None,
) -> None:
    """The columns a of one pool, a[k] in place k - 1, and their rows; see `startup_bound`."""
    count = len(seconds) - 1
    lead = int(pool.startup_seconds / seconds[0] + 1e-9)
    idle = pool.idle_usd_per_replica_hour / SECONDS_PER_HOUR * float(seconds[0])
    started = np.minimum(np.arange(1, count + 1), lead)  # in how many windows of the stretch each start is seen
    a = made.columns(idle * started, np.full(count, np.inf), 0)
    rises = made.rows(np.full(count, -np.inf), np.zeros(count))
    for columns, value in ((n[1:], 1.0), (n[:-1], -1.0), (a, -1.0)):
        made.put(rises, columns, np.full(count, value))
    for ahead in range(1, min(lead, count) + 1):
        if inventory is not None and pool.gpus_per_replica > 0:
            made.put(inventory[: count + 1 - ahead], a[ahead - 1 :], np.full(count + 1 - ahead, pool.gpus_per_replica))
    for c, most in zip(stock, speed.stock, strict=True):
        rows = made.rows(np.full(count, -np.inf), np.zeros(count))
        for columns, value in ((c[:-1], 1.0), (n[:-1], -most), (a, -most)):
            made.put(rows, columns, np.full(count, value))


def _solved(made: _Programme, *, integer: bool) -> Bound:
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = made.width, made.height
    costs, parts = _joined(made.costs), np.concatenate(made.parts).astype(np.int64)
    model.col_cost_, model.col_lower_, model.col_upper_ = costs, np.zeros(made.width), _joined(made.uppers)
    model.row_lower_, model.row_upper_ = _joined(made.row_lowers), _joined(made.row_uppers)
    rows, columns, values = (np.concatenate([entry[i] for entry in made.entries]) for i in range(3))
    order = np.argsort(rows, kind="stable")
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    starts = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=made.height))))
    model.a_matrix_.start_, model.a_matrix_.index_ = starts.astype(np.int32), columns[order].astype(np.int32)
    model.a_matrix_.value_ = values[order]
    if integer:
        whole = set(np.concatenate(made.whole).tolist()) if made.whole else set()
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        model.integrality_ = [kinds[number in whole] for number in range(made.width)]
    solver = highspy.Highs()
    for name, value in (("output_flag", False), ("threads", 1), ("mip_rel_gap", 1e-4)):
        solver.setOptionValue(name, value)
    solver.passModel(model)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise RuntimeError(f"the bound was not solved: {solver.modelStatusToString(solver.getModelStatus())}")
    paid = np.array(solver.getSolution().col_value) * costs
    parts_usd = {name: float(paid[parts == part].sum()) for part, name in enumerate(PARTS)}
    return Bound(float(paid.sum()), parts_usd)


def _joined(pieces: Sequence[Floats]) -> Floats:
    return np.concatenate(pieces).astype(np.float64) if pieces else np.zeros(0)
