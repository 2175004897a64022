"""A pool that was moved one way turns back only when staying has cost what turning costs.

Demand of one model rises while that of another falls, and minutes later the other way round. GPUs that follow each time
spend their time on starting. Whether the newest turn is worth it nobody knows; so it is rented like skis: within
`TURNING_SECONDS` of its last move a pool may move the other way once the programme's plan would have saved, summed up
since that move, a part of what its start-ups cost: of all replicas that start on the same GPUs, what an API takes for
their requests meanwhile. Whatever comes, no turn costs more than that part. A need that is real pays within minutes, a
request that nobody would answer at once; the jitter of a forecast hardly ever.

Worked: $14/h of API for what a replica answers, 180 s to start: half of $0.70. A plan that saves $21/h by turning back
for one replica is followed after a minute, one that saves $0.30/h never within the hour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from comptroller.allocation.limits import group_of
from comptroller.allocation.problem import SECONDS_PER_HOUR, Problem
from comptroller.allocation.snapshot import Snapshot, Turn
from comptroller.allocation.stabilise import Hold, api_usd_per_hour

TURNING_SECONDS = 3600.0
STARTS = 0.5
"""Of what the start-ups cost, the part that must have been saved. In the arena half costs nothing and cuts the flips of
the worst pool to a third; twice as much costs 2 % and cuts them by another quarter."""
LONGEST_SINCE_SECONDS = 300.0  # a decision answers for no more than this of the time since the one before


@dataclass(frozen=True, slots=True)
class Turning:
    """Pools that the programme would turn back: what turning costs and what staying has cost, in US dollars, each for
    all pools on the same GPUs together."""

    cost_usd: Mapping[str, float]
    missed_usd: Mapping[str, float]
    group: Mapping[str, tuple[str, str]]  # the pool's class and site

    def waiting(self) -> frozenset[str]:
        """Those for which staying is still cheaper."""
        return frozenset(key for key, cost in self.cost_usd.items() if self.missed_usd[key] < cost)


def turning_back(snapshot: Snapshot, problem: Problem, wanted: Mapping[str, int], holds: Mapping[str, Hold]) -> Turning:
    """The pools that `wanted` would move against their last move, with what the last decisions have missed by it."""
    turns, local = snapshot.memory.turns, problem.local
    changes = {key: count - holds[key].bounds.base for key, count in wanted.items()}
    starts: dict[tuple[str, str], float] = {}
    for key, change in changes.items():
        worth = api_usd_per_hour(problem, key)
        if change > 0 and math.isfinite(worth):  # where no API may answer, a start is a need and no speculation
            usd = change * local[key].startup_seconds / SECONDS_PER_HOUR * worth
            starts[group_of(local[key])] = starts.get(group_of(local[key]), 0.0) + usd
    cost = {
        key: STARTS * starts.get(group_of(local[key]), 0.0)
        for key, turn in turns.items()
        if changes.get(key, 0) * turn.direction < 0 and snapshot.at_seconds - turn.at_seconds <= TURNING_SECONDS
    }
    missed = {
        key: max(turns[other].missed_usd for other in cost if group_of(local[other]) == group_of(local[key]))
        for key in cost
    }
    return Turning(cost, missed, {key: group_of(local[key]) for key in cost})


def missing(snapshot: Snapshot, turning: Turning, saved_usd_per_hour: float) -> Turning:
    """The same after one more decision that would save so much per hour by turning; groups share it by their costs."""
    since = min(max(snapshot.at_seconds - snapshot.memory.at_seconds, 0.0), LONGEST_SINCE_SECONDS) / SECONDS_PER_HOUR
    total = sum({turning.group[key]: cost for key, cost in turning.cost_usd.items()}.values())
    part = {key: cost / total if total > 0.0 else 1.0 for key, cost in turning.cost_usd.items()}
    missed = {key: usd + part[key] * max(0.0, saved_usd_per_hour) * since for key, usd in turning.missed_usd.items()}
    return replace(turning, missed_usd=missed)


def steadied(holds: Mapping[str, Hold], turning: Turning, wanted: Mapping[str, int]) -> dict[str, Hold]:
    """The bounds in which those who wait may move on but not back."""
    found = dict(holds)
    for key, cost in turning.cost_usd.items():
        bounds, told = holds[key].bounds, (turning.missed_usd[key], cost)
        base = min(max(bounds.base, bounds.low), bounds.high)
        if key in turning.waiting():
            bounds = replace(bounds, low=base) if wanted[key] < bounds.base else replace(bounds, high=base)
        found[key] = replace(holds[key], bounds=bounds, turning_usd=told)
    return found


def turns_after(
    snapshot: Snapshot, replicas: Mapping[str, int], holds: Mapping[str, Hold], turning: Turning
) -> dict[str, Turn]:
    """The memory of it: a pool that moves begins anew."""
    found = {
        key: replace(turn, missed_usd=turning.missed_usd.get(key, turn.missed_usd))
        for key, turn in snapshot.memory.turns.items()
        if key in replicas and snapshot.at_seconds - turn.at_seconds <= TURNING_SECONDS
    }
    for key, count in replicas.items():
        change = count - holds[key].bounds.base
        if change:
            found[key] = Turn(1 if change > 0 else -1, snapshot.at_seconds)
    return found
