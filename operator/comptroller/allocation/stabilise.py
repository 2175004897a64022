"""Anti-flapping. All of it is bounds: what may not move is no choice of the programme, so every plan stays feasible.

    | situation                                  | bounds on the replicas of a pool                                |
    | annotation paused                          | exactly the last target                                         |
    | annotation hold-replicas                   | exactly the number given                                        |
    | always                                     | spec's min..max, at most `maximum_step_up` above the last target |
    | demand of one of its routes is unknown     | not below the last target                                       |
    | GPU inventory is unknown                   | not above what exists or was wanted already                      |
    | less than a full window since the restart  | not below the last target                                       |
    | fewer wanted, but not for the whole delay  | not below the last target                                       |
    | fewer wanted for the whole delay           | not below the most that was wanted during the delay             |

The delay is that of rented skis: a replica that idles stays until its idling has cost what its start-up would cost if
it were missed, which is what an API takes for its requests meanwhile; at least `scale_down_delay_seconds`, at most
`longest_scale_down_delay_seconds`. Whatever comes, that costs at most twice what foreknowledge would (Karlin, Manasse,
Rudolph and Sleator, Competitive snoopy caching, 1988). Worked: $14/h of API, 180 s to start: $0.70; a rented replica at
$4/h idles 630 s for that, an owned one at $0.03/h for 23 hours. Where another pool waits for the GPUs it is
`transfer_delay_seconds`, for what keeping them costs is then no longer some power but what that pool's requests pay
elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from comptroller.allocation.limits import Bounds, gpus_held, group_of, inventory_limits
from comptroller.allocation.measured import known
from comptroller.allocation.problem import Problem
from comptroller.allocation.snapshot import LocalPool, Measurement, Rules, Snapshot
from comptroller.api.conditions import Reason


@dataclass(frozen=True, slots=True)
class Hold:
    """Bounds and, where they hold something back, why."""

    bounds: Bounds
    reason: Reason | None = None
    delay_seconds: float = 0.0  # of a pool that is stabilising
    turning_usd: tuple[float, float] | None = None  # what not turning back has cost so far, and what turning costs

    @property
    def has_waited(self) -> bool:
        """Whether the pool turns back after it has waited for that to pay: then no other delay follows."""
        return self.turning_usd is not None and self.turning_usd[0] >= self.turning_usd[1]


def last_target(pool: LocalPool) -> int:
    """What the last decision wanted; before the first decision, what exists. Starting replicas count as supply."""
    return pool.existing if pool.previous is None else max(pool.previous, 0)


def firm_holds(snapshot: Snapshot, problem: Problem) -> dict[str, Hold]:
    """The bounds that hold whatever is wanted: all rows of the table but the last three."""
    blind = {pair.pool for route in problem.held for pair in problem.pairs[route]}
    return {key: _firm_hold(pool, snapshot, blind=key in blind) for key, pool in problem.local.items()}


def _firm_hold(pool: LocalPool, snapshot: Snapshot, *, blind: bool) -> Hold:
    base = last_target(pool)
    if pool.paused:
        return Hold(Bounds(base, base, base), Reason.PAUSED)
    if pool.held_at is not None:
        held = max(pool.held_at, 0)
        return Hold(Bounds(held, held, base), Reason.HELD)
    low = max(pool.minimum, 0)
    high = max(low, min(pool.maximum, base + snapshot.rules.maximum_step_up))
    if pool.gpus_per_replica > 0 and known(snapshot.gpus[group_of(pool)]) is None:
        high = max(low, min(high, max(pool.existing, base)))
    if blind:
        return Hold(Bounds(max(low, min(base, high)), high, base), Reason.HOLDING_UNKNOWN)
    return Hold(Bounds(low, high, base))


def within_inventory(snapshot: Snapshot, problem: Problem, holds: Mapping[str, Hold]) -> dict[str, Hold]:
    """The same bounds, with floors lowered to the spec's minimum where together they exceed the GPUs that exist."""
    result = dict(holds)
    for group, found in sorted(snapshot.gpus.items()):
        limit = known(found)
        members = [key for key, pool in problem.local.items() if group_of(pool) == group and pool.gpus_per_replica > 0]
        floors = sum(problem.local[key].gpus_per_replica * holds[key].bounds.low for key in members)
        if limit is None or floors <= limit:
            continue
        for key in members:
            if holds[key].reason not in (Reason.PAUSED, Reason.HELD):
                low = max(problem.local[key].minimum, 0)
                result[key] = replace(holds[key], bounds=replace(holds[key].bounds, low=low))
    return result


def fits(
    problem: Problem,
    gpus: Mapping[tuple[str, str], Measurement],
    replicas: Mapping[str, int],
    bounds: Mapping[str, Bounds],
) -> bool:
    """Whether the GPUs suffice for so many replicas."""
    return not _short(problem, gpus, replicas, bounds)


def _short(
    problem: Problem,
    gpus: Mapping[tuple[str, str], Measurement],
    replicas: Mapping[str, int],
    bounds: Mapping[str, Bounds],
) -> set[tuple[str, str]]:
    """The groups of GPUs that do not suffice for so many replicas."""
    held = gpus_held(problem, replicas)
    limits = inventory_limits(problem, bounds, gpus)
    return {group for group, limit in limits.items() if held.get(group, 0) > limit + 1e-9}


def release_delay_seconds(problem: Problem, pool: str, rules: Rules) -> float:
    """How long fewer replicas must have sufficed until one is released that no other pool waits for."""
    shortest, longest = rules.scale_down_delay_seconds, rules.longest_scale_down_delay_seconds
    idle, startup = problem.local[pool].idle_usd_per_replica_hour, problem.local[pool].startup_seconds
    if longest <= shortest:
        return shortest
    if idle <= 0.0:
        return longest
    return min(longest, max(shortest, startup * api_usd_per_hour(problem, pool) / idle))


def api_usd_per_hour(problem: Problem, pool: str) -> float:
    """What an API takes for what one replica answers when full, in US dollars per hour: of its routes, the least."""
    worth = [
        min((one.usd for one in problem.pairs[pair.route] if not one.inside and one.usable), default=math.inf)
        / pair.replicas
        for pair in problem.by_pool[pool]
        if problem.rates[pair.route] > 0.0
    ]
    return min(worth, default=0.0)


def delayed(
    snapshot: Snapshot, problem: Problem, wanted: Mapping[str, int], holds: Mapping[str, Hold]
) -> tuple[dict[str, Hold], dict[str, tuple[float, int]]]:
    """The last three rows: floors until fewer replicas have sufficed for the whole delay, and the memory of it.

    Worked: delay 300 s, last target 4. At 0 s 2 are wanted: stay at 4, remember (0, 2). At 100 s 3 are wanted: stay,
    remember (0, 3). At 300 s 2 are wanted: go to 3, the most of the window; remember (300, 2), and so on.
    """
    result = dict(holds)
    below: dict[str, tuple[float, int]] = {}
    bounds_now = {key: hold.bounds for key, hold in holds.items()}
    both = {key: max(count, holds[key].bounds.base) for key, count in wanted.items()}
    contended = _short(problem, snapshot.gpus, both, bounds_now)
    for key, count in wanted.items():
        hold = holds[key]
        rules = snapshot.rules
        base = hold.bounds.base
        if count >= base or hold.reason is not None:
            continue
        delay = release_delay_seconds(problem, key, rules)
        if group_of(problem.local[key]) in contended:
            delay = 0.0 if hold.has_waited else min(delay, rules.transfer_delay_seconds)
        if rules.holding_after_restart:
            low = max(hold.bounds.low, min(base, hold.bounds.high))
            result[key] = Hold(replace(hold.bounds, low=low), Reason.HOLDING_RESTART)
            continue
        since, most = snapshot.memory.below_since_seconds.get(key, (snapshot.at_seconds, count))
        if since > snapshot.at_seconds:  # the clock went back: count anew
            since = snapshot.at_seconds
        most = max(most, count)
        if snapshot.at_seconds - since >= delay:
            floor = min(most, base)
            if count < floor:  # the next window begins
                below[key] = (snapshot.at_seconds, count)
        else:
            floor = base
            below[key] = (since, most)
        bounds = replace(hold.bounds, low=max(hold.bounds.low, min(floor, hold.bounds.high)))
        reason = Reason.STABILISING if floor > count else None
        result[key] = replace(hold, bounds=bounds, reason=reason, delay_seconds=delay)
    return result, below
