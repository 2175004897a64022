"""What the replicas are chosen for: the situations of the next minutes, each with its weight.

    | case            | weight                              | demand                      | who answers               |
    |-----------------|-------------------------------------|-----------------------------|---------------------------|
    | starting        | tau / H                             | as measured                 | what was wanted before    |
    | what may come   | the rest, by probability            | the outlook's scenarios     | all that is wanted        |
    | a node fails    | the rest, losses a year x nodes x H | mean with head-room         | what other nodes hold     |

H is the horizon, tau the mean start-up time. Without an outlook the second line is one case: mean demand with head-room
for bursts. Worked: H 900 s, tau 180 s, four nodes that each fail twice a year: starting 0.2; a failure within H has the
probability 4 x 2 x 900 s / 1 year = 0.00023, so 0.00018; what may come 0.79982.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist

from comptroller.allocation.limits import Bounds
from comptroller.allocation.measured import known
from comptroller.allocation.problem import Problem
from comptroller.allocation.snapshot import Snapshot

LARGEST_STARTING_SHARE = 0.9  # of the horizon
YEAR_SECONDS = 365.0 * 86400.0
LARGEST_LOSS_PROBABILITY = 0.1  # of all classes together
FEWEST_SCENARIOS = 8  # where the fleet is small enough: for each future of the outlook several bursts
SHORTEST_STAY_SECONDS = 0.5
_QUANTILES = NormalDist()
MOST_COLUMNS = 12_000  # of all cases together; larger fleets get fewer scenarios


@dataclass(frozen=True, slots=True)
class Case:
    """One situation that the replicas must answer.

    `weight` is its probability or its part of the horizon; the weights of a programme sum to 1. `rates` are requests/s
    by route (held routes are absent). `starting`: what is added to a pool does not answer yet. `left` is the share of
    the replicas that a failed node leaves, by (class, site); absent: all.
    """

    weight: float
    rates: Mapping[str, float]
    starting: bool = False
    left: Mapping[tuple[str, str], float] = field(default_factory=dict)


def sizing_cases(
    snapshot: Snapshot, problem: Problem, rates: Mapping[str, float], bounds: Mapping[str, Bounds]
) -> tuple[Case, ...]:
    """The cases for these rates (mean with head-room, by route) and bounds. Their weights sum to 1."""
    starting = _starting_part(snapshot, problem, bounds)
    losses = _losses(snapshot)
    rest = 1.0 - starting
    calm = rest * (1.0 - sum(probability for probability, _ in losses))
    cases = [Case(calm * probability, asked) for probability, asked in _scenarios(snapshot, problem, rates)]
    cases += [Case(rest * probability, rates, left=left) for probability, left in losses]
    if starting > 0.0:
        now = {key: problem.rates[key] for key in rates}
        cases.insert(0, Case(starting, now, starting=True))
    return tuple(cases)


def _starting_part(snapshot: Snapshot, problem: Problem, bounds: Mapping[str, Bounds]) -> float:
    """Part of the horizon until a replica that is started now serves: the mean over pools whose count is open."""
    open_pools = [pool for key, pool in problem.local.items() if bounds[key].low < bounds[key].high]
    if not open_pools:
        return 0.0
    mean = sum(pool.startup_seconds for pool in open_pools) / len(open_pools)
    return min(LARGEST_STARTING_SHARE, mean / max(snapshot.rules.horizon_seconds, 1.0))


def _scenarios(
    snapshot: Snapshot, problem: Problem, rates: Mapping[str, float]
) -> list[tuple[float, Mapping[str, float]]]:
    outlook = snapshot.outlook
    columns = sum(len(problem.pairs[key]) for key in rates)
    count = len(outlook.probabilities)
    if count < 2 or columns * count > MOST_COLUMNS:
        return [(1.0, rates)]
    copies = max(1, min(math.ceil(FEWEST_SCENARIOS / count), MOST_COLUMNS // max(columns * count, 1)))
    bursts = {key: _bursts(problem, key, count * copies) for key in rates}
    return [
        (
            probability / copies,
            {
                key: _burst(outlook.requests_per_second[key][number], bursts[key], number * copies + copy)
                if key in outlook.requests_per_second
                else rate
                for key, rate in rates.items()
            },
        )
        for number, probability in enumerate(outlook.probabilities)
        for copy in range(copies)
    ]


def _burst(rate: float, bursts: tuple[float, tuple[float, ...]], number: int) -> float:
    """The rate of the seconds that a request stays, about a mean rate. See `_bursts`."""
    spread, normals = bursts
    return max(0.0, rate + normals[number] * spread * math.sqrt(rate))


def burst_spread(dispersion: float, stay_seconds: float) -> float:
    """The standard deviation of a rate over the seconds that a request stays is this times the rate's root."""
    return math.sqrt((dispersion + 1.0) / 2.0 / max(stay_seconds, SHORTEST_STAY_SECONDS))


def _bursts(problem: Problem, route: str, count: int) -> tuple[float, tuple[float, ...]]:
    """(spread, a normal number for each scenario): the rate of the seconds that a request stays is lambda + z spread
    sqrt(lambda).

    Requests in flight vary by lambda S (D + 1) / 2 for arrivals of dispersion D and exponential lengths of mean S, as a
    rate of that many seconds does with the variance lambda (D + 1) / (2 S). The numbers are the quantiles of the normal
    distribution, in an order of the route's own, so that routes burst independently. Worked: 20 requests/s of
    dispersion 3 that stay 2 s: a standard deviation of 4.5 requests/s.
    """
    stay = min((pair.latency_seconds for pair in problem.pairs[route] if pair.inside), default=SHORTEST_STAY_SECONDS)
    spread = burst_spread(problem.routes[route].demand.dispersion, stay)
    return spread, _normals(route, count)


@lru_cache(maxsize=4096)
def _normals(route: str, count: int) -> tuple[float, ...]:
    order = sorted(range(count), key=lambda one: hashlib.sha256(f"{route}/{one}".encode()).digest())
    return tuple(_QUANTILES.inv_cdf((place + 0.5) / count) for place in order)


def _losses(snapshot: Snapshot) -> list[tuple[float, Mapping[tuple[str, str], float]]]:
    """Probability that a node of a class fails within the horizon, and which share of the class's replicas is left."""
    found: list[tuple[float, Mapping[tuple[str, str], float]]] = []
    for group, per_node in sorted(snapshot.gpus_per_node.items()):
        total = known(snapshot.gpus[group]) if group in snapshot.gpus else None
        if total is None or per_node <= 0.0 or total < per_node:
            continue
        rate = snapshot.rules.node_losses_per_year * snapshot.rules.horizon_seconds / YEAR_SECONDS
        probability = rate * total / per_node
        if probability > 0.0:
            found.append((probability, {group: 1.0 - per_node / total}))
    believed = min(1.0, LARGEST_LOSS_PROBABILITY / max(sum(one for one, _ in found), 1e-300))
    return [(believed * probability, left) for probability, left in found]
