"""The snapshot as the programme sees it: who may answer whom, at which price, with which share of a replica.

Sovereignty is decided here and only here: a (route, pool) pair that the route's data rules forbid is not created, so no
solver, rounding or fallback can ever give it a request. `audit.py` checks the outcome from the raw specs, with code of
its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from comptroller.allocation.capacity import Capacity, FullBatch, Shape, full_batch, replica_capacity
from comptroller.allocation.measured import ABSURD_USD, known
from comptroller.allocation.snapshot import BackendRule, Demand, HostedPool, LocalPool, Route, Snapshot

SECONDS_PER_HOUR = 3600.0
EXTERNAL = "external"  # the perimeter of everything that a hosted API may be in
ANTICIPATED = 1.25  # of the even rate
SMALLEST_PART = 1e-9  # of a replica: no request is for nothing
SMALLEST_SHARE = 0.05  # of a route, for the hit ratio of a cache: a pool that got nothing may get something
SHORTEST_PACE_SECONDS = 60.0  # what is left is not spent faster than within this
ASSUMED_PEAK_RATIO = 1.1  # peak over mean while no peak is measured: the safety margin of inferno

Pool = LocalPool | HostedPool


@dataclass(frozen=True, slots=True)
class Pair:
    """A route and a pool that may answer it. Costs are US dollars per hour for each request per second.

    `usd` is money that leaves: tokens or power. `regret_usd` is what else counts: unsolved tasks and waiting, where the
    route says what they are worth. `replicas` is the share of a replica that one request/s takes; 0 for a hosted pool.
    """

    route: str
    pool: str
    inside: bool
    usd: float
    regret_usd: float
    replicas: float
    pass_rate: float
    tokens: float  # of one request, prompt and answer
    latency_seconds: float
    usable: bool  # False: paused, its circuit is open, or it has no price
    places: float = 0.0  # share of a replica's places that one request/s takes; 0 where `replicas` says it all
    reachable: bool = True  # False: even one request alone misses the objective here


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a budget lets its routes spend on hosted pools now, in US dollars per hour."""

    key: str
    parts: Mapping[str, float]
    usd_per_hour: float


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Everything sorted by key. `pairs[route]` are all permitted pairs, whether usable now or not. A problem equals
    itself alone, so that what is made of it can be remembered.

    `held` are the routes whose demand is unknown, with the shares that stay; `rates` has the others' mean demand and
    the last known one of the held.
    """

    local: Mapping[str, LocalPool]
    hosted: Mapping[str, HostedPool]
    routes: Mapping[str, Route]
    pairs: Mapping[str, tuple[Pair, ...]]
    rates: Mapping[str, float]
    held: Mapping[str, Mapping[str, float]]
    by_pool: Mapping[str, tuple[Pair, ...]]  # the same pairs
    budgets: tuple[Allowance, ...] = ()


def prepare(snapshot: Snapshot) -> Problem:
    """Permitted pairs with cost and capacity, and what is known of the demand. Expects a cleaned snapshot."""
    local = {pool.key: pool for pool in snapshot.local_pools}
    hosted = {pool.key: pool for pool in snapshot.hosted_pools}
    routes = {route.key: route for route in snapshot.routes}
    pairs = {
        key: permitted_pairs(route, local, hosted, snapshot.memory.shares.get(key, {})) for key, route in routes.items()
    }
    rates: dict[str, float] = {}
    held: dict[str, Mapping[str, float]] = {}
    for key, route in routes.items():
        rate = known(route.demand.requests_per_second)
        rates[key] = snapshot.memory.requests_per_second.get(key, 0.0) if rate is None else rate
        if rate is None:
            held[key] = held_shares(pairs[key], snapshot.memory.shares.get(key, {}), local)
    budgets = allowances(snapshot, {key: _usd_outside(pairs[key], rates[key], shares) for key, shares in held.items()})
    return Problem(local, hosted, routes, pairs, rates, held, by_pool(pairs, [*local, *hosted]), budgets)


def _usd_outside(pairs: tuple[Pair, ...], rate: float, shares: Mapping[str, float]) -> float:
    """What a held route spends on hosted pools, in US dollars per hour, at its last known rate and shares."""
    return sum(rate * shares.get(pair.pool, 0.0) * pair.usd for pair in pairs if not pair.inside)


def allowances(snapshot: Snapshot, held_usd: Mapping[str, float] | None = None) -> tuple[Allowance, ...]:
    """What each binding budget permits now: what is left, spread evenly over the time that is left, less what routes of
    unknown demand spend (`held_usd`).

    A quarter more than the even rate may be spent, so that an early peak does not go unserved while the budget is
    nearly whole; since the rate is reckoned anew from what is left, it never overruns. Where it is not known what is
    left, no more is spent than the last plan does. Worked: $60 left for 12 hours: $6.25 per hour.
    """
    found = []
    for budget in sorted(snapshot.budgets, key=lambda one: one.key):
        left = known(budget.remaining_usd, ABSURD_USD)
        before = snapshot.memory.budget_usd_per_hour.get(budget.key)
        if not budget.binding or (left is None and before is None):
            continue
        hours = max(budget.seconds_to_reset, SHORTEST_PACE_SECONDS) / SECONDS_PER_HOUR
        held = sum(part * (held_usd or {}).get(route, 0.0) for route, part in budget.parts.items())
        usd = before if left is None else ANTICIPATED * left / hours - held
        found.append(Allowance(budget.key, dict(sorted(budget.parts.items())), max(0.0, usd or 0.0)))
    return tuple(found)


def by_pool(pairs: Mapping[str, tuple[Pair, ...]], pools: list[str]) -> dict[str, tuple[Pair, ...]]:
    """The same pairs by pool, of which each is named."""
    found: dict[str, list[Pair]] = {key: [] for key in sorted(pools)}
    for route in sorted(pairs):
        for pair in pairs[route]:
            found[pair.pool].append(pair)
    return {key: tuple(of_pool) for key, of_pool in found.items()}


def permits(route: Route, pool: Pool) -> bool:
    """Whether the route's data may reach the pool. An empty list permits any.

    Rules that do not permit the external perimeter put a route on a router without keys and without a way out: for it
    no hosted pool exists, not even one that declares itself inside.
    """
    if isinstance(pool, HostedPool) and route.perimeters and EXTERNAL not in route.perimeters:
        return False
    return (not route.jurisdictions or pool.jurisdiction in route.jurisdictions) and (
        not route.perimeters or pool.perimeter in route.perimeters
    )


def permitted_pairs(
    route: Route,
    local: Mapping[str, LocalPool],
    hosted: Mapping[str, HostedPool],
    shares: Mapping[str, float] | None = None,
) -> tuple[Pair, ...]:
    """The pairs that exist for a route, in order of the pools' keys; each pool once. `shares` are those of the last
    plan, on which the hit ratio of a hosted cache depends.

    `onOverload: queue` and `reject` mean: rather wait, or refuse, than go out. Such a route gets hosted pairs only if
    no pool inside is permitted, since otherwise nobody at all could answer it.
    """
    rules = {rule.pool: rule for rule in reversed(route.backends)}
    inside = [
        _local_pair(route, rules[key], local[key])
        for key in sorted(rules)
        if key in local and permits(route, local[key])
    ]
    if inside and route.on_overload != "spill":
        return _with_escalation(route, inside)
    outside = [
        _hosted_pair(route, rules[key], hosted[key], (shares or {}).get(key, 1.0))
        for key in sorted(rules)
        if key in hosted and permits(route, hosted[key])
    ]
    return _with_escalation(route, inside + outside)


def _with_escalation(route: Route, pairs: list[Pair]) -> tuple[Pair, ...]:
    """The pairs in order, each with what asking a better pool again costs where its answer is judged and fails.

    The next better pool is the cheapest usable one with a higher pass rate. Worked: $1.00/h at a pass rate of 0.9, all
    answers judged, and a better pool at $24.30/h: 1.00 + 0.1 x 24.30 = $3.43/h.
    """
    ordered = sorted(pairs, key=lambda pair: pair.pool)
    if route.judged_ratio <= 0.0:
        return tuple(ordered)
    return tuple(_escalated(route, pair, ordered) for pair in ordered)


def _escalated(route: Route, pair: Pair, pairs: list[Pair]) -> Pair:
    better = [one for one in pairs if one.usable and one.pass_rate > pair.pass_rate]
    if not better:
        return pair
    second = min(better, key=lambda one: (one.usd + one.regret_usd, one.pool))
    again = route.judged_ratio * (1.0 - pair.pass_rate)
    solved = pair.pass_rate + again * second.pass_rate
    return replace(
        pair,
        usd=pair.usd + again * second.usd,
        regret_usd=_regret(route, solved, pair.latency_seconds + again * second.latency_seconds),
        pass_rate=min(1.0, solved),
    )


def route_capacity(route: Route, pool: LocalPool, arrival_cv: float = 1.0) -> Capacity:
    """What one replica of the pool does for the route's shape of request at its objective. `arrival_cv` is the
    coefficient of variation of the time between arrivals."""
    return replica_capacity(
        pool.profile,
        route.demand.input_tokens,
        route.demand.output_tokens,
        route.time_to_first_token_ms,
        route.time_per_output_token_ms,
        route.percentile,
        arrival_cv=arrival_cv,
    )


def _local_pair(route: Route, rule: BackendRule, pool: LocalPool) -> Pair:
    capacity = route_capacity(route, pool)
    replicas = 1.0 / capacity.requests_per_second
    return Pair(
        route.key,
        pool.key,
        inside=True,
        usd=pool.busy_extra_usd_per_replica_hour * replicas,
        regret_usd=_regret(route, rule.pass_rate, capacity.latency_seconds),
        replicas=replicas,
        pass_rate=rule.pass_rate,
        tokens=route.demand.input_tokens + route.demand.output_tokens,
        latency_seconds=capacity.latency_seconds,
        usable=True,
        reachable=capacity.reachable,
    )


def _hosted_pair(route: Route, rule: BackendRule, pool: HostedPool, share: float) -> Pair:
    """Worked: 1000 tokens in at $3, 250 out at $15 per million cost $0.00675 a request: $24.30/h per request/s."""
    demand, pool = _on_terms(route, pool)
    output = demand.output_tokens * pool.output_usd_per_million_tokens
    usd_per_request = (demand.input_tokens * prompt_usd_per_million_tokens(demand, pool, share) + output) / 1e6
    return Pair(
        route.key,
        pool.key,
        inside=False,
        usd=usd_per_request * SECONDS_PER_HOUR,
        regret_usd=_regret(route, rule.pass_rate, pool.mean_latency_seconds),
        replicas=0.0,
        pass_rate=rule.pass_rate,
        tokens=demand.input_tokens + demand.output_tokens,
        latency_seconds=pool.mean_latency_seconds,
        usable=pool.available and not pool.paused,
    )


def _on_terms(route: Route, pool: HostedPool) -> tuple[Demand, HostedPool]:
    """The route's demand and the pool as they are with the life that the route's prefixes have there."""
    terms = route.caches.get(pool.key)
    if terms is None or route.demand.prefix_gap_seconds is None:
        return route.demand, pool
    return replace(route.demand, prefix_gap_seconds=terms.gap_seconds), replace(
        pool,
        cache_ttl_seconds=terms.ttl_seconds,
        cache_write_usd_per_million_tokens=terms.write_usd_per_million_tokens,
    )


def prompt_usd_per_million_tokens(demand: Demand, pool: HostedPool, share: float) -> float:
    """What a prompt token costs at a hosted pool: found in the cache, written to it, or read.

    `cached_ratio` of the prompt is a prefix that others share. It is found if a request with the same prefix came to
    this pool within the life of its cache: arrivals of one prefix being Poisson, with 1 - exp(-ttl share / gap). What
    is not found is written. Without a gap or a life `cached_ratio` is what was measured. Worked: 80 % prefix, gap
    60 s, ttl 300 s, the pool's share 0.2: found 63 %, so of a token 0.506 at the cached price, 0.294 written.
    """
    found = 1.0
    if demand.prefix_gap_seconds is not None and pool.cache_ttl_seconds is not None:
        found = 1.0 - math.exp(
            -pool.cache_ttl_seconds * max(share, SMALLEST_SHARE) / max(demand.prefix_gap_seconds, 1e-3)
        )
    cached = demand.cached_ratio * found
    written = demand.cached_ratio - cached
    write = pool.cache_write_usd_per_million_tokens
    read = pool.input_usd_per_million_tokens
    return (
        cached * pool.cached_input_usd_per_million_tokens
        + written * (read if write is None else write)
        + (1.0 - cached - written) * read
    )


def kept_full(problem: Problem, shares: Mapping[str, Mapping[str, float]]) -> Problem:
    """The same problem for replicas that the router keeps full: it has a limit of requests in flight for each pool and
    sends the rest elsewhere at once, so that a replica may be planned to the brim. What cannot leave has to find room:
    for routes without a hosted pool the queue's capacity counts, which leaves room for random arrivals.

    `shares` are those of the last plan: a pool's batch is the one of what it answers, so that from plan to plan pools
    may specialise. Worked: an H100 with the default route answers 7.91 requests/s as a queue and 8.55 kept full.
    """
    batches = {key: _batch(problem, pool, shares) for key, pool in problem.local.items()}
    pairs = {
        key: tuple(_kept_full(problem, pair, batches[pair.pool], found) if pair.inside else pair for pair in found)
        for key, found in problem.pairs.items()
    }
    return replace(problem, pairs=pairs, by_pool=by_pool(pairs, list(problem.by_pool)))


def _batch(problem: Problem, pool: LocalPool, shares: Mapping[str, Mapping[str, float]]) -> FullBatch:
    """The full batch of what the pool answers now; of all that it may answer if that is nothing."""
    rates = {pair.route: problem.rates[pair.route] for pair in problem.by_pool[pool.key]}
    now = {key: rate * shares.get(key, {}).get(pool.key, 0.0) for key, rate in rates.items()}
    for asked in (now, rates):
        if some := [shape_of(problem.routes[key], rate) for key, rate in asked.items() if rate > 0.0]:
            return full_batch(pool.profile, some)
    return full_batch(pool.profile, [shape_of(problem.routes[key], 1.0) for key in rates])


def shape_of(route: Route, requests_per_second: float) -> Shape:
    """So many requests of a route, as its replicas see them."""
    return Shape(
        requests_per_second,
        route.demand.input_tokens,
        route.demand.output_tokens,
        route.time_to_first_token_ms,
        route.time_per_output_token_ms,
    )


def _kept_full(problem: Problem, pair: Pair, batch: FullBatch, pairs: tuple[Pair, ...]) -> Pair:
    route = problem.routes[pair.route]
    speed, places = batch.shares(shape_of(route, 1.0))
    if not any(one.usable and not one.inside for one in pairs):
        alone = route_capacity(route, problem.local[pair.pool], math.sqrt(max(route.demand.dispersion, 1.0)))
        room = alone.full_requests_per_second / alone.requests_per_second
        speed, places = speed * room, places * room
    return Pair(
        pair.route, pair.pool, pair.inside, pair.usd, pair.regret_usd, max(speed, SMALLEST_PART), pair.pass_rate,
        pair.tokens, pair.latency_seconds, pair.usable, places, pair.reachable,
    )  # fmt: skip


def _regret(route: Route, pass_rate: float, latency_seconds: float) -> float:
    unsolved = (1.0 - pass_rate) * (route.usd_per_solved_task or 0.0)
    return (unsolved + route.usd_per_second * latency_seconds) * SECONDS_PER_HOUR


def held_shares(
    pairs: tuple[Pair, ...], before: Mapping[str, float], local: Mapping[str, LocalPool]
) -> Mapping[str, float]:
    """The shares of a route whose demand is unknown: those of the last plan, with no spill added.

    The share of a pool that may no longer answer goes to the cheapest pool inside, never out. Without a last plan the
    first one is made: all to the cheapest pool inside that serves, out only if none is permitted inside or none serves.
    """
    inside = sorted((p for p in pairs if p.inside), key=lambda p: (local[p.pool].serving == 0, p.usd, p.pool))
    usable = {pair.pool for pair in pairs if pair.usable}
    shares = {pool: share for pool, share in sorted(before.items()) if pool in usable and share > 0.0}
    total = sum(shares.values())
    if total > 1.0:
        shares = {pool: share / total for pool, share in shares.items()}
    lost = min(1.0, sum(share for share in before.values() if share > 0.0)) - min(1.0, total)
    if lost > 1e-9 and inside:
        shares[inside[0].pool] = shares.get(inside[0].pool, 0.0) + lost
    if before:
        return shares
    first = inside if inside and local[inside[0].pool].serving > 0 else []
    outside = sorted((p for p in pairs if not p.inside and p.usable), key=lambda p: (p.usd, p.pool))
    return {pair.pool: 1.0 for pair in (first or outside or inside)[:1]}


def sizing_rates(problem: Problem, peaks: Mapping[str, float]) -> dict[str, float]:
    """The demand that replicas are sized for: the newsvendor's quantile between mean and measured peak.

    One request/s more of own capacity costs c_own, whether used or not; missing it costs c_api at the cheapest API. The
    best quantile is (c_api - c_own) / c_api. Worked: c_api $24.30/h, c_own $0.40/h per request/s: 0.98, so nearly the
    peak; for a rented GPU with c_own $20: 0.18. Where no API may answer, the peak itself.
    """
    return {
        key: problem.rates[key]
        + newsvendor_quantile(problem.pairs[key], problem.local) * max(0.0, peaks.get(key, 0.0) - problem.rates[key])
        for key in problem.routes
        if key not in problem.held
    }


def newsvendor_quantile(pairs: tuple[Pair, ...], local: Mapping[str, LocalPool]) -> float:
    """(c_api - c_own) / c_api, between 0 and 1."""
    own = [local[p.pool].idle_usd_per_replica_hour * p.replicas + p.usd for p in pairs if p.inside]
    api = [p.usd for p in pairs if not p.inside and p.usable]
    if not own or not api:
        return 1.0 if own else 0.0
    return min(1.0, max(0.0, (min(api) - min(own)) / min(api))) if min(api) > 0.0 else 0.0


def peak_rates(problem: Problem) -> dict[str, float]:
    """The measured peak of each route, or a tenth above its mean while none is measured."""
    peaks: dict[str, float] = {}
    for key, route in problem.routes.items():
        peak = known(route.demand.peak_requests_per_second)
        peaks[key] = ASSUMED_PEAK_RATIO * problem.rates[key] if peak is None else max(peak, problem.rates[key])
    return peaks
