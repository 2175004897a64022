"""Every route's shares with their reason and one sentence with numbers."""

from __future__ import annotations

from collections.abc import Mapping

from comptroller.allocation.decision import RoutePlan
from comptroller.allocation.explain_pools import VISIBLE_RATE
from comptroller.allocation.outcome import Outcome
from comptroller.allocation.problem import SECONDS_PER_HOUR, Pair
from comptroller.allocation.snapshot import Route
from comptroller.allocation.words import number, percent, short, usd
from comptroller.api.conditions import Reason

SMALLEST_SHARE = 1e-6
VISIBLE_SHARE = 0.0005


def route_plan(outcome: Outcome, route: Route, shares: Mapping[str, float]) -> RoutePlan:
    """The plan of one route for shares that sum to at most 1; the rest is shed."""
    pairs = {pair.pool: pair for pair in outcome.problem.pairs[route.key]}
    answered = sum(shares.values())
    spill = sum(share for pool, share in shares.items() if not pairs[pool].inside)
    held = route.key in outcome.problem.held
    reason = _reason(outcome, route, shares, spill, 1.0 - answered)
    return RoutePlan(
        route=route.key,
        shares=dict(sorted(shares.items())),
        spill_order=spill_order(outcome, route),
        shed_ratio=max(0.0, 1.0 - answered),
        spill_ratio=spill,
        requests_per_second=None if held else outcome.problem.rates[route.key],
        pass_rate=sum(share * pairs[pool].pass_rate for pool, share in shares.items()) / answered if answered else 0.0,
        usd_per_request=_usd_per_request(pairs, shares),
        reason=reason,
        message=f"{_message(outcome, route, shares, reason)}{_evidence(route, shares)}{_quality(outcome, route)}.",
        latency_seconds={pool: pairs[pool].latency_seconds for pool in sorted(shares)},
        pass_rates={rule.pool: rule.pass_rate for rule in sorted(route.backends, key=lambda one: one.pool)},
    )


def spill_order(outcome: Outcome, route: Route) -> tuple[str, ...]:
    """Every permitted pool, inside ones first, each side by cost; pools that serve nothing now come last on their side.

    A paused hosted pool is left out; one whose circuit is open stays, for the router finds out first when it closes.
    """

    def place(pair: Pair) -> tuple[bool, bool, float, str]:
        dead = outcome.serving.get(pair.pool, 0) == 0 if pair.inside else not pair.usable
        return not pair.inside, dead, pair.usd + pair.regret_usd, pair.pool

    hosted = outcome.problem.hosted
    pairs = [pair for pair in outcome.problem.pairs[route.key] if pair.inside or not hosted[pair.pool].paused]
    return tuple(pair.pool for pair in sorted(pairs, key=place))


def _usd_per_request(pairs: Mapping[str, Pair], shares: Mapping[str, float]) -> float:
    answered = sum(shares.values())
    money = sum(share * pairs[pool].usd for pool, share in shares.items())
    return money / SECONDS_PER_HOUR / answered if answered else 0.0


def _reason(outcome: Outcome, route: Route, shares: Mapping[str, float], spill: float, shed: float) -> Reason:
    if not outcome.problem.pairs[route.key]:
        return Reason.NO_PERMITTED_BACKEND
    if route.key in outcome.problem.held:
        return Reason.HOLDING_UNKNOWN
    if outcome.problem.rates[route.key] <= 0.0:
        return Reason.IDLE
    if shed > VISIBLE_SHARE or _waiting(outcome, route):
        return Reason.CAPACITY_SHORT
    if spill > VISIBLE_SHARE:
        rate = outcome.problem.rates[route.key]
        later = sum(
            outcome.steady.flows.get((route.key, pool), 0.0) for pool in shares if pool in outcome.problem.hosted
        )
        starting = any(
            pair.inside and outcome.sized.replicas[pair.pool] > outcome.serving[pair.pool]
            for pair in outcome.problem.pairs[route.key]
        )
        return Reason.SPILL_WHILE_STARTING if starting and later < spill * rate - VISIBLE_RATE else Reason.SPILL
    return Reason.DEMAND_SERVED


def _waiting(outcome: Outcome, route: Route) -> float:
    """Requests/s of a route that queue inside although the pools are full."""
    return outcome.now.shed.get(route.key, 0.0) if route.on_overload == "queue" else 0.0


def _message(outcome: Outcome, route: Route, shares: Mapping[str, float], reason: Reason) -> str:
    where = ", ".join(
        f"{percent(share)} on {short(pool)}"
        for pool, share in sorted(shares.items(), key=lambda one: (-one[1], one[0]))
        if share > VISIBLE_SHARE
    )
    where = where or "nowhere"
    if reason is Reason.NO_PERMITTED_BACKEND:
        return "None of the route's backends is permitted by its data rules: nobody may answer"
    if reason is Reason.HOLDING_UNKNOWN:
        return f"Demand is unknown ({outcome.unknowns.get(route.key, 'no data')}): the last shares stay, {where}"
    if reason is Reason.IDLE:
        return f"No requests; the next one goes {where}"
    rate = outcome.problem.rates[route.key]
    money = sum(rate * share * _pair(outcome, route, pool).usd for pool, share in shares.items())
    text = f"{number(rate)} rps: {where}, {usd(money)}/h"
    if _waiting(outcome, route) > VISIBLE_RATE and shares:
        return f"{text}; {number(_waiting(outcome, route))} rps are above the objective's capacity and queue inside"
    if reason is Reason.CAPACITY_SHORT:
        shed = rate * (1.0 - sum(shares.values()))
        permitted = ", ".join(short(pair.pool) for pair in outcome.problem.pairs[route.key])
        return f"{text}; {number(shed)} rps are shed, for all that is permitted ({permitted}) is full or not serving"
    if reason is Reason.SPILL_WHILE_STARTING:
        return f"{text}; the spill ends when the starting replicas are ready"
    return text


def _pair(outcome: Outcome, route: Route, pool: str) -> Pair:
    return next(pair for pair in outcome.problem.pairs[route.key] if pair.pool == pool)


def _evidence(route: Route, shares: Mapping[str, float]) -> str:
    """What the pass rates of the pools that answer stand on, where they are measured."""
    seen = [
        rule for rule in route.backends if shares.get(rule.pool, 0.0) > VISIBLE_SHARE and rule.judged_answers >= 1.0
    ]
    parts = [
        f"{short(one.pool)} solves {percent(one.pass_rate)} by {one.judged_answers:.0f} judged answers" for one in seen
    ]
    return f"; {', '.join(parts)}" if parts else ""


def _quality(outcome: Outcome, route: Route) -> str:
    """What is missing to the minimum pass rate, if anything."""
    best = max((pair.pass_rate for pair in outcome.problem.pairs[route.key]), default=0.0)
    if route.minimum_pass_rate > best and outcome.problem.pairs[route.key]:
        return f"; no permitted pool reaches the minimum pass rate of {number(route.minimum_pass_rate)}"
    missing = outcome.now.shortfall.get(route.key, 0.0)
    if missing > 1e-4 and outcome.problem.rates[route.key] > 0.0:
        lack = missing / outcome.problem.rates[route.key]
        floor = number(route.minimum_pass_rate)
        return f"; the pass rate is {number(lack)} below the minimum of {floor}, for the better pools are full"
    return ""
