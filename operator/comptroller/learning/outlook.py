"""The outlook of a snapshot: what the fleet may be asked when a replica that starts now serves."""

from __future__ import annotations

from dataclasses import replace

from comptroller.allocation.measured import known
from comptroller.allocation.problem import permitted_pairs
from comptroller.allocation.snapshot import Outlook, Snapshot
from comptroller.learning.demand import DemandLearner
from comptroller.learning.demand_bursts import dispersions

SCENARIOS = 8
SHORTEST_SPAN_SECONDS = 300.0


def foreseen(learner: DemandLearner, snapshot: Snapshot) -> Snapshot:
    """The snapshot with what its demand's log tells: the outlook, and how bursty each route is."""
    found = dispersions(learner.log, (route.key for route in snapshot.routes))
    routes = tuple(
        replace(route, demand=replace(route.demand, dispersion=found[route.key])) if route.key in found else route
        for route in snapshot.routes
    )
    return replace(snapshot, routes=routes, outlook=outlook_of(learner, snapshot))


def outlook_of(learner: DemandLearner, snapshot: Snapshot) -> Outlook:
    """Scenarios for the time from the mean start-up on until the end of the horizon, weighed by the GPUs that each
    route takes. Empty while too little is known."""
    startups = [pool.startup_seconds for pool in snapshot.local_pools]
    lead = sum(startups) / len(startups) if startups else 0.0
    span = max(SHORTEST_SPAN_SECONDS, snapshot.rules.horizon_seconds - lead)
    now, worth = {}, {}
    local = {pool.key: pool for pool in snapshot.local_pools}
    for route in snapshot.routes:
        rate = known(route.demand.requests_per_second)
        if rate is None:
            continue
        now[route.key] = rate
        gpus = [pair.replicas * local[pair.pool].gpus_per_replica for pair in permitted_pairs(route, local, {})]
        worth[route.key] = min(gpus, default=0.0)
    return learner.outlook(snapshot.at_seconds, now, lead, span, SCENARIOS, worth)
