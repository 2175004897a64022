"""What the steps of a decision found out, gathered for whoever puts it into words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from comptroller.allocation.plan import Plan
from comptroller.allocation.problem import Problem
from comptroller.allocation.snapshot import Snapshot
from comptroller.allocation.stabilise import Hold


@dataclass(frozen=True, slots=True)
class Outcome:
    """Plans of one decision. All flows are in requests/s, all money in US dollars per hour, marginal basis.

    `wanted` is the best plan if nothing were delayed; `sized` the one that is kept to; `now` what is routed to the
    replicas that serve; `steady` the same demand once all of `sized` serve; `stay` the same with the last replicas.
    """

    snapshot: Snapshot
    problem: Problem
    full: Problem  # the same for replicas that the router keeps full: what `now` is planned with
    holds: Mapping[str, Hold]
    wanted: Plan
    sized: Plan
    now: Plan
    steady: Plan
    stay: Plan
    serving: Mapping[str, int]  # replicas that serve now and stay
    steady_usd: float
    stay_usd: float
    shadow_usd: Mapping[tuple[str, str], float]
    unknowns: Mapping[str, str]
    gpus_held: Mapping[tuple[str, str], int]  # by the replicas of `sized`

    def held_rate(self, pool: str) -> float:
        """Requests/s that routes of unknown demand send to a pool, at their last known rate."""
        return sum(
            self.problem.rates[pair.route] * self.problem.held[pair.route].get(pool, 0.0)
            for pair in self.problem.by_pool[pool]
            if pair.route in self.problem.held
        )

    def held_replicas(self, pool: str) -> float:
        """The same in replicas' worth of requests."""
        return sum(
            self.problem.rates[pair.route] * self.problem.held[pair.route].get(pool, 0.0) * pair.replicas
            for pair in self.problem.by_pool[pool]
            if pair.route in self.problem.held
        )
