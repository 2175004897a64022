"""Every pool's target with its reason and one sentence with numbers."""

from __future__ import annotations

import math
from dataclasses import replace

from comptroller.allocation.capacity import Capacity, FullBatch, Shape, full_batch, largest_batch
from comptroller.allocation.cases import burst_spread
from comptroller.allocation.decision import HostedUse, PoolTarget
from comptroller.allocation.limits import group_of
from comptroller.allocation.measured import known
from comptroller.allocation.outcome import Outcome
from comptroller.allocation.problem import Pair, route_capacity, shape_of
from comptroller.allocation.snapshot import LocalPool
from comptroller.allocation.stabilise import last_target
from comptroller.allocation.words import listed, number, percent, replicas, short, usd
from comptroller.api.conditions import Reason

BURST_DEVIATIONS = 1.0
VISIBLE_USD = 0.005  # per hour; less is not worth a word
VISIBLE_RATE = 1e-3  # requests/s


def pool_target(outcome: Outcome, pool: LocalPool) -> PoolTarget:
    """The target of one local pool, with what it was derived from."""
    target = outcome.sized.replicas[pool.key]
    serving = outcome.serving[pool.key]
    load = outcome.now.load(outcome.full, pool.key) + outcome.held_replicas(pool.key)
    strictest = _strictest(outcome, pool)
    reason = _reason(outcome, pool, target)
    return PoolTarget(
        pool=pool.key,
        replicas=target,
        previous=last_target(pool),
        reason=reason,
        message=_message(outcome, pool, target, reason),
        needed_replicas=outcome.sized.load(outcome.problem, pool.key) + outcome.held_replicas(pool.key),
        utilisation=load / serving if serving else None,
        requests_per_second=outcome.now.rate(outcome.problem, pool.key) + outcome.held_rate(pool.key),
        capacity_requests_per_second=strictest.requests_per_second if strictest else 0.0,
        max_concurrency=largest_batch(pool.profile, _mix(outcome, pool)),
    )


def _loading(outcome: Outcome, pool: LocalPool) -> list[Pair]:
    """The pairs that load the pool, the largest first."""
    flows = outcome.sized.flows
    pairs = [
        pair for pair in outcome.problem.by_pool[pool.key] if flows.get((pair.route, pool.key), 0.0) > VISIBLE_RATE
    ]
    return sorted(pairs, key=lambda pair: (-flows[pair.route, pool.key], pair.route))


def _strictest(outcome: Outcome, pool: LocalPool) -> Capacity | None:
    """The least capacity of one replica among the routes that load the pool, or else that may."""
    pairs = _loading(outcome, pool) or outcome.problem.by_pool[pool.key]
    found = [route_capacity(outcome.problem.routes[pair.route], pool) for pair in pairs]
    return min(found, key=lambda one: (one.requests_per_second, one.max_concurrency), default=None)


def _mix(outcome: Outcome, pool: LocalPool) -> list[Shape]:
    """What the pool answers now; while it answers nothing, all that it may."""
    pairs = outcome.problem.by_pool[pool.key]
    rates = {pair.route: outcome.now.flows.get((pair.route, pool.key), 0.0) for pair in pairs}
    loaded = {route: rate for route, rate in rates.items() if rate > VISIBLE_RATE} or dict.fromkeys(rates, 1.0)
    shapes = {key: shape_of(outcome.problem.routes[key], rate) for key, rate in loaded.items()}
    mean = full_batch(pool.profile, list(shapes.values()))
    return [_in_a_burst(outcome, mean, key, shape) for key, shape in shapes.items()]


def _in_a_burst(outcome: Outcome, mean: FullBatch, route: str, shape: Shape) -> Shape:
    """The same with the burst of the seconds that a request stays, where the route slows the others down: a limit of
    requests keeps the objective only while the mix is no slower than the one that it was made for."""
    time, places = mean.shares(replace(shape, requests_per_second=1.0))
    if time * mean.batch <= places * max(1, mean.profile.max_concurrency):
        return shape
    stay = places * max(1, mean.profile.max_concurrency)
    more = BURST_DEVIATIONS * burst_spread(outcome.problem.routes[route].demand.dispersion, stay)
    return replace(shape, requests_per_second=shape.requests_per_second + more * math.sqrt(shape.requests_per_second))


def _reason(outcome: Outcome, pool: LocalPool, target: int) -> Reason:
    """The first that is true, the strongest first."""
    base = last_target(pool)
    held = outcome.holds[pool.key].reason
    if held in (Reason.PAUSED, Reason.HELD):
        return held
    if held is Reason.HOLDING_UNKNOWN and target <= base:
        return held
    if _short_of(outcome, pool, target):
        return Reason.CAPACITY_SHORT
    if target > base or target > pool.serving:
        return Reason.SCALING_UP
    if held is Reason.HOLDING_RESTART and target == base:
        return held
    if held is Reason.STABILISING and target > outcome.wanted.replicas[pool.key]:
        return held
    if target < base or target < pool.existing:
        return Reason.SCALING_DOWN
    idle = not _loading(outcome, pool) and target == pool.minimum
    return Reason.IDLE if idle else Reason.DEMAND_SERVED


def _short_of(outcome: Outcome, pool: LocalPool, target: int) -> str:
    """What keeps the pool from growing although its routes lack capacity; empty if nothing does.

    Lacking means: a route of the pool is shed even when all wanted replicas serve, or the GPU class has a price beyond
    what its replicas cost, and the pool is as large as GPUs, bounds and the step allow.
    """
    lacking = sum(outcome.sized.shed.get(pair.route, 0.0) for pair in outcome.problem.by_pool[pool.key])
    group = group_of(pool)
    found = known(outcome.snapshot.gpus[group]) if pool.gpus_per_replica > 0 else None
    if found is not None and (lacking > VISIBLE_RATE or outcome.shadow_usd.get(group, 0.0) > VISIBLE_USD):
        held = outcome.gpus_held[group]
        full = target + 0.02 >= outcome.sized.load(outcome.problem, pool.key) >= target - 0.02
        if target > 0 and full and found - held < pool.gpus_per_replica and target < pool.maximum:
            worth = outcome.shadow_usd.get(group, 0.0)
            gain = f"one more would be worth {usd(worth)}/h" if worth > VISIBLE_USD else "all are needed"
            return f"the {number(found)} GPUs of class {pool.gpu_class} are taken; {gain}. Free one or add a node"
        if target == 0 and lacking > VISIBLE_RATE and found - held < pool.gpus_per_replica and pool.maximum > 0:
            return f"of the {number(found)} GPUs of class {pool.gpu_class} none is left. Free one or add a node"
    if lacking > VISIBLE_RATE and target == pool.maximum:
        return f"spec.local.replicas.max is {pool.maximum}. Raise it"
    return ""


def _message(outcome: Outcome, pool: LocalPool, target: int, reason: Reason) -> str:
    base = last_target(pool)
    change = f"{base} -> {target}" if target != base else f"Stays at {target}"
    ready = f"{pool.serving} of {target} are ready"
    wanted = outcome.wanted.replicas[pool.key]
    delay = number(outcome.holds[pool.key].delay_seconds)
    if reason is Reason.PAUSED:
        text = f"Paused at {target} by the annotation comptroller.dev/paused; remove it to resume"
    elif reason is Reason.HELD:
        profile = outcome.unknowns.get(pool.key)
        why = f"because {profile}" if profile else "by the annotation comptroller.dev/hold-replicas"
        text = f"Held at {target} {why}"
    elif reason is Reason.HOLDING_UNKNOWN:
        text = f"{change}: {_blind(outcome, pool)}; nothing is scaled down and no spill added"
    elif reason is Reason.HOLDING_RESTART:
        text = f"{change}: the operator has restarted and nothing is scaled down before a full window of data"
    elif reason is Reason.STABILISING:
        text = f"{change}: {wanted} would do now; scaled down once that has lasted {delay} s"
    elif reason is Reason.CAPACITY_SHORT:
        text = f"{change}: {_need(outcome, pool)}, but {_short_of(outcome, pool, target)}"
    elif reason is Reason.SCALING_UP:
        text = f"{change}: {_need(outcome, pool)}{_otherwise(outcome, base, target)}; {ready}"
    elif reason is Reason.SCALING_DOWN:
        running = f"; {pool.existing} exist" if pool.existing > target else ""
        text = f"{change}: {_need(outcome, pool)}{running}"
    elif reason is Reason.IDLE:
        text = f"{change}: no requests, at spec.local.replicas.min"
    else:
        text = f"{change}: {_need(outcome, pool)}; {ready}" if target else f"{change}: {_need(outcome, pool)}"
    return f"{text}{_turning(outcome, pool)}{_unreachable(outcome, pool)}."


def _turning(outcome: Outcome, pool: LocalPool) -> str:
    """Why it does not turn back yet."""
    told = outcome.holds[pool.key].turning_usd
    if told is None or told[0] >= told[1]:
        return ""
    return f"; turning back would have saved {usd(told[0])} so far of the {usd(told[1])} that its start-ups cost"


def _need(outcome: Outcome, pool: LocalPool) -> str:
    """`31.4 rps of extraction and planning need 3.4 replicas to keep first token under 800 ms (p95)`."""
    pairs = _loading(outcome, pool)
    if not pairs:
        cheaper = any(outcome.sized.flows.get((p.route, q.pool), 0.0) > VISIBLE_RATE
                      for p in outcome.problem.by_pool[pool.key] for q in outcome.problem.pairs[p.route])  # fmt: skip
        if cheaper:
            return "its routes are answered elsewhere for less"
        least = pool.minimum > 0 and outcome.wanted.replicas[pool.key] == pool.minimum
        return f"no requests need more than spec.local.replicas.min, {pool.minimum}" if least else "no requests need it"
    routes = [outcome.problem.routes[pair.route] for pair in pairs]
    strict = min(routes, key=lambda route: (route.time_to_first_token_ms, route.key))
    rate = sum(outcome.sized.flows[pair.route, pool.key] for pair in pairs)
    load = outcome.sized.load(outcome.problem, pool.key)
    names = listed([route.name for route in routes])
    verb = "need" if len(routes) > 1 or number(rate) != "1" else "needs"
    objective = f"{number(strict.time_to_first_token_ms)} ms (p{100.0 * strict.percentile:.0f})"
    return f"{number(rate)} rps of {names} {verb} {replicas(load)} to keep first token under {objective}"


def _otherwise(outcome: Outcome, base: int, target: int) -> str:
    """What the last plan would do instead."""
    if target == base:
        return ""
    unanswered = sum(outcome.stay.shed.values()) - sum(outcome.steady.shed.values())
    if unanswered > VISIBLE_RATE:
        return f"; staying at {base} would leave {number(unanswered)} rps unanswered"
    more = outcome.stay_usd - outcome.steady_usd
    return f"; staying at {base} would cost {usd(more)}/h more" if more > VISIBLE_USD else ""


def _blind(outcome: Outcome, pool: LocalPool) -> str:
    routes = [pair.route for pair in outcome.problem.by_pool[pool.key] if pair.route in outcome.problem.held]
    reasons = sorted({outcome.unknowns.get(route, "no data") for route in routes})
    return f"demand of {listed([outcome.problem.routes[route].name for route in routes])} is unknown ({reasons[0]})"


def _unreachable(outcome: Outcome, pool: LocalPool) -> str:
    missed = [p for p in _loading(outcome, pool) if not p.reachable]
    if not missed:
        return ""
    names = listed([outcome.problem.routes[pair.route].name for pair in missed])
    return f". Even one request alone misses the objective of {names} on this pool: planned at full throughput"


def hosted_use(outcome: Outcome, key: str) -> HostedUse:
    """What a hosted pool carries now, at which price, and why."""
    pool = outcome.problem.hosted[key]
    pairs = outcome.problem.by_pool[key]
    planned = outcome.now.rate(outcome.problem, key)
    held = outcome.held_rate(key)
    money = sum(_rate(outcome, pair) * pair.usd for pair in pairs)
    later = outcome.steady.rate(outcome.problem, key)
    starting = sum(max(0, outcome.sized.replicas[k] - outcome.serving[k]) for k in outcome.problem.local)
    if pool.paused:
        reason, text = (
            Reason.PAUSED,
            "Paused by the annotation comptroller.dev/paused: carries nothing; remove it to resume",
        )
    elif not pool.available:
        why = outcome.unknowns.get(key, "its circuit is open")
        reason, text = Reason.UNREACHABLE, f"Carries nothing: {why}"
    elif planned + held <= VISIBLE_RATE:
        reason, text = Reason.STANDBY, "Permitted, and not needed now"
    elif planned <= VISIBLE_RATE:
        reason, text = (
            Reason.HOLDING_UNKNOWN,
            f"Keeps its last shares, about {number(held)} rps, since demand is unknown",
        )
    elif starting and later < planned - VISIBLE_RATE:
        rest = f"; then {number(later)} rps stay" if later > VISIBLE_RATE else ""
        reason = Reason.SPILL_WHILE_STARTING
        text = (
            f"Carries {number(planned + held)} rps at {usd(money)}/h until {starting} more {_are(starting)} ready{rest}"
        )
    else:
        names = listed([outcome.problem.routes[p.route].name for p in pairs if _rate(outcome, p) > VISIBLE_RATE])
        share = percent(money / outcome.steady_usd) if outcome.steady_usd > 0.0 else "0%"
        reason = Reason.SPILL
        text = f"Carries {number(planned + held)} rps of {names} at {usd(money)}/h, {share} of what the plan costs"
        text += f": {_why_spill(outcome, key)}"
    return HostedUse(key, planned + held, money, reason, f"{text}.")


def _are(count: int) -> str:
    return "replica is" if count == 1 else "replicas are"


def _rate(outcome: Outcome, pair: Pair) -> float:
    held = outcome.problem.held.get(pair.route, {}).get(pair.pool, 0.0) * outcome.problem.rates[pair.route]
    return outcome.now.flows.get((pair.route, pair.pool), 0.0) + held


def _why_spill(outcome: Outcome, key: str) -> str:
    """Cheaper than a replica, or nothing else is left."""
    routes = [pair.route for pair in outcome.problem.by_pool[key] if _rate(outcome, pair) > VISIBLE_RATE]
    inside = sorted({pair.pool for route in routes for pair in outcome.problem.pairs[route] if pair.inside})
    if not inside:
        return "no pool inside may answer them"
    names = listed([short(pool) for pool in inside])
    full = all(
        outcome.sized.replicas[pool] >= min(outcome.holds[pool].bounds.high, outcome.problem.local[pool].maximum)
        for pool in inside
    )
    return f"{names} cannot grow further" if full else f"cheaper than more of {names}"
