"""Which numbers of a snapshot can be believed. Not a number, infinite, negative or absurd is Unknown, never zero."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

from comptroller.allocation.snapshot import (
    BackendRule,
    Budget,
    CacheTerms,
    Demand,
    HostedPool,
    LocalPool,
    Measurement,
    Memory,
    Outlook,
    Route,
    Sample,
    Snapshot,
    Unknown,
)

Cleaned = TypeVar("Cleaned", Route, Demand, BackendRule, LocalPool, HostedPool)

ABSURD_REQUESTS_PER_SECOND = 1e6
ABSURD_TOKENS = 1e8
MOST_ANSWERS = 1e9
ABSURD_USD = 1e12
ABSURD_SECONDS = 1e9
ABSURD_MILLISECONDS = 1e6  # of one iteration


def known(measurement: Measurement, limit: float = ABSURD_REQUESTS_PER_SECOND) -> float | None:
    """The value if it can be true, else None."""
    if isinstance(measurement, Unknown):
        return None
    return measurement.value if math.isfinite(measurement.value) and 0.0 <= measurement.value <= limit else None


def why_unknown(measurement: Measurement) -> str:
    """The reason for not knowing, in words."""
    if isinstance(measurement, Unknown):
        return measurement.reason
    if not math.isfinite(measurement.value):
        return "the sample is not a number"
    return f"a sample of {measurement.value:g} cannot be true"


def cleaned(snapshot: Snapshot) -> tuple[Snapshot, dict[str, str]]:
    """The snapshot with everything sorted by key and every doubtful number replaced by Unknown or by a safe guess.

    Returns it with what was not known: route, pool or `gpus <class> <site>` -> why.
    """
    unknowns: dict[str, str] = {}
    routes = tuple(_clean_route(route, unknowns) for route in sorted(snapshot.routes, key=lambda one: one.key))
    local = tuple(_clean_local(pool, unknowns) for pool in sorted(snapshot.local_pools, key=lambda one: one.key))
    hosted = tuple(_clean_hosted(pool, unknowns) for pool in sorted(snapshot.hosted_pools, key=lambda one: one.key))
    gpus: dict[tuple[str, str], Measurement] = {}
    for key in sorted({(p.gpu_class, p.site) for p in local if p.gpus_per_replica > 0}):
        found = snapshot.gpus.get(key, Unknown("no node of this class was seen"))
        value = known(found)
        gpus[key] = Unknown(why_unknown(found)) if value is None else Sample(math.floor(value + 1e-9))
        if value is None:
            unknowns[f"gpus {key[0]} {key[1]}".strip()] = why_unknown(found)
    return (
        replace(
            snapshot,
            routes=routes,
            local_pools=local,
            hosted_pools=hosted,
            gpus=gpus,
            memory=_clean_memory(snapshot.memory),
            outlook=_clean_outlook(snapshot.outlook),
            budgets=_clean_budgets(snapshot.budgets),
            gpus_per_node={
                key: count
                for key, count in sorted(snapshot.gpus_per_node.items())
                if math.isfinite(count) and count > 0
            },
        ),
        unknowns,
    )


def _with(one: Cleaned, **values: object) -> Cleaned:
    """The same with these values; itself where it has them already, which saves most of the time in a large fleet."""
    changed = {name: value for name, value in values.items() if getattr(one, name) != value}
    return replace(one, **changed) if changed else one  # type: ignore[arg-type]


def _clean_outlook(outlook: Outlook) -> Outlook:
    """Without probabilities that can be true there is no outlook; a route with a doubtful rate has none. The scenarios
    are sorted: they have no order."""
    chances = outlook.probabilities
    if not all(math.isfinite(one) and one >= 0.0 for one in chances) or not math.isclose(
        sum(chances), 1.0, abs_tol=1e-6
    ):
        return Outlook()
    rows = {
        route: row
        for route, row in sorted(outlook.requests_per_second.items())
        if len(row) == len(chances) and all(0.0 <= rate <= ABSURD_REQUESTS_PER_SECOND for rate in row)
    }
    order = sorted(range(len(chances)), key=lambda one: (chances[one], *(row[one] for row in rows.values())))
    return Outlook(
        tuple(chances[one] for one in order), {route: tuple(row[one] for one in order) for route, row in rows.items()}
    )


def _clean_budgets(budgets: tuple[Budget, ...]) -> tuple[Budget, ...]:
    """Each key once, the one with the least left. A budget whose end is not known is one of which it is not known what
    may be spent now; a part that is no number is all."""
    found = {budget.key: budget for budget in sorted(budgets, key=_strictest_last)}
    return tuple(
        replace(
            budget,
            parts={key: _within(part, 0.0, 1.0, otherwise=1.0) for key, part in sorted(budget.parts.items())},
            remaining_usd=budget.remaining_usd
            if math.isfinite(budget.seconds_to_reset)
            else Unknown("it is not known when the budget begins anew"),
            seconds_to_reset=_within(budget.seconds_to_reset, 0.0, ABSURD_SECONDS, otherwise=0.0),
        )
        for budget in found.values()
    )


def _strictest_last(budget: Budget) -> tuple[str, bool, float, str]:
    left = known(budget.remaining_usd, ABSURD_USD)
    return budget.key, budget.binding, -(left or 0.0), repr(budget)


def _clean_memory(memory: Memory) -> Memory:
    """Memory comes from a status or a file: what cannot be true is forgotten."""
    shares = {
        route: {pool: share for pool, share in sorted(before.items()) if 0.0 <= share <= 1.0}
        for route, before in sorted(memory.shares.items())
    }
    return Memory(
        below_since_seconds={
            pool: since for pool, since in sorted(memory.below_since_seconds.items()) if math.isfinite(since[0])
        },
        shares={route: kept for route, kept in shares.items() if kept},
        requests_per_second={
            route: rate
            for route, rate in sorted(memory.requests_per_second.items())
            if 0.0 <= rate <= ABSURD_REQUESTS_PER_SECOND
        },
        budget_usd_per_hour={
            budget: usd for budget, usd in sorted(memory.budget_usd_per_hour.items()) if 0.0 <= usd <= ABSURD_USD
        },
        turns={
            pool: turn
            for pool, turn in sorted(memory.turns.items())
            if math.isfinite(turn.at_seconds) and turn.missed_usd >= 0.0
        },
        at_seconds=memory.at_seconds if math.isfinite(memory.at_seconds) else 0.0,
    )


def _clean_route(route: Route, unknowns: dict[str, str]) -> Route:
    demand = route.demand
    if not all(math.isfinite(t) and 0.0 <= t <= ABSURD_TOKENS for t in (demand.input_tokens, demand.output_tokens)):
        lengths = f"{demand.input_tokens:g} tokens in, {demand.output_tokens:g} out"
        rate: Measurement = Unknown(f"the token lengths cannot be true: {lengths}")
        demand = replace(demand, requests_per_second=rate, input_tokens=1000.0, output_tokens=250.0)
    if known(demand.requests_per_second) is None:
        unknowns[route.key] = why_unknown(demand.requests_per_second)
        demand = replace(demand, requests_per_second=Unknown(unknowns[route.key]))
    return _with(
        route,
        demand=_with(
            demand,
            cached_ratio=_within(demand.cached_ratio, 0.0, 1.0, otherwise=0.0),
            prefix_gap_seconds=_seconds(demand.prefix_gap_seconds),
            dispersion=_within(demand.dispersion, 1.0, 1000.0, otherwise=1.0),
        ),
        caches={
            pool: CacheTerms(
                _within(one.ttl_seconds, 0.0, ABSURD_SECONDS, otherwise=0.0),
                _within(one.write_usd_per_million_tokens, 0.0, 1e9, otherwise=1e9),
                _within(one.gap_seconds, 0.0, ABSURD_SECONDS, otherwise=ABSURD_SECONDS),
            )
            for pool, one in sorted(route.caches.items())
        },
        judged_ratio=_within(route.judged_ratio, 0.0, 1.0, otherwise=0.0),
        percentile=_within(route.percentile, 0.5, 0.999, otherwise=0.95),
        minimum_pass_rate=_within(route.minimum_pass_rate, 0.0, 1.0, otherwise=0.0),
        time_to_first_token_ms=_within(route.time_to_first_token_ms, 1.0, 1e9, otherwise=2000.0),
        time_per_output_token_ms=_within(route.time_per_output_token_ms, 0.1, 1e9, otherwise=100.0),
        usd_per_second=_within(route.usd_per_second, 0.0, 1e6, otherwise=0.0),
        usd_per_solved_task=_price(route.usd_per_solved_task),
        backends=tuple(
            _with(
                rule,
                pass_rate=_within(rule.pass_rate, 0.0, 1.0, otherwise=0.0),
                judged_answers=_within(rule.judged_answers, 0.0, MOST_ANSWERS, otherwise=0.0),
            )
            for rule in sorted(route.backends, key=lambda one: one.pool)
        ),
    )


def _clean_local(pool: LocalPool, unknowns: dict[str, str]) -> LocalPool:
    """A pool whose speed cannot be true is held where it is, within its bounds; doubtful dollars and seconds become
    safe guesses."""
    profile = pool.profile
    speeds = (profile.alpha_ms, profile.beta_ms, profile.gamma_ms, profile.root_ms)
    if not all(0.0 <= one <= ABSURD_MILLISECONDS for one in speeds) or profile.alpha_ms <= 0.0:
        unknowns[pool.key] = "the speed profile is not a number"
        last = pool.existing if pool.previous is None else pool.previous
        held = (
            pool.held_at if pool.held_at is not None else min(max(last, pool.minimum), max(pool.maximum, pool.minimum))
        )
        safe = replace(profile, alpha_ms=10.0, beta_ms=0.1, gamma_ms=0.0, root_ms=0.0)
        pool = replace(pool, held_at=held, profile=safe)
    return _with(
        pool,
        startup_seconds=_within(pool.startup_seconds, 0.0, 86400.0, otherwise=180.0),
        idle_usd_per_replica_hour=_within(pool.idle_usd_per_replica_hour, 0.0, 1e6, otherwise=0.0),
        busy_extra_usd_per_replica_hour=_within(pool.busy_extra_usd_per_replica_hour, 0.0, 1e6, otherwise=0.0),
    )


def _clean_hosted(pool: HostedPool, unknowns: dict[str, str]) -> HostedPool:
    """Without a price nothing is sent: an unknown price is not a low one."""
    prices = (
        pool.input_usd_per_million_tokens,
        pool.cached_input_usd_per_million_tokens,
        pool.output_usd_per_million_tokens,
        pool.cache_write_usd_per_million_tokens or 0.0,
    )
    if not all(_price(one) is not None for one in prices):
        unknowns[pool.key] = "the price is not a number"
        pool = replace(
            pool,
            available=False,
            input_usd_per_million_tokens=0.0,
            cached_input_usd_per_million_tokens=0.0,
            output_usd_per_million_tokens=0.0,
            cache_write_usd_per_million_tokens=None,
        )
    return _with(
        pool,
        mean_latency_seconds=_within(pool.mean_latency_seconds, 0.01, 3600.0, otherwise=2.0),
        requests_per_minute=_limit(pool.requests_per_minute),
        tokens_per_minute=_limit(pool.tokens_per_minute),
        cache_ttl_seconds=_seconds(pool.cache_ttl_seconds),
    )


def _limit(value: float | None) -> float | None:
    """A limit that is no number is no limit: the router learns the true one from the provider's 429s."""
    return max(value, 0.0) if value is not None and math.isfinite(value) else None


def _seconds(value: float | None) -> float | None:
    """A time that is no number, or below zero, was not measured."""
    return min(value, ABSURD_SECONDS) if value is not None and value >= 0.0 else None


def _within(value: float, low: float, high: float, *, otherwise: float) -> float:
    return min(max(value, low), high) if math.isfinite(value) else otherwise


def _price(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and 0.0 <= value <= 1e9 else None
