"""How many requests per second one replica answers within an objective, alone and among others of its pool.

The model is the state-dependent M/M/1/K queue of inferno and llm-d's workload variant autoscaler. Continuous batching
advances all b requests of a batch together; one iteration takes

    T(b) = alpha + b (beta (in + out) / (out + 1) + gamma (in + out / 2))          [milliseconds]

since a request of in + out tokens is computed in out + 1 iterations and reads on average in + out/2 tokens of context.
A mixture of experts reads more of its experts' weights the fuller its batch, but ever fewer new ones per request. Its
measured curves are concave, and one term more describes them (`learning/speed_fit.py` tells how well):

    + root sqrt(b)                                                                 [root is 0 for most dense models]

A request holds its place for S(b) = out T(b) + (beta + gamma) in: `out` iterations and its own prompt. The replica
thus answers at mu(b) = b / S(b) while b <= N, and at mu(N) while more wait. K = N + 10 N requests fit.

From the steady state of that queue at arrival rate lambda come the mean wait, and the batch that a request meets. The
wait at a percentile is the mean wait times -ln(1 - percentile), as for an exponential tail. The capacity is the highest
lambda whose first token (wait + own prompt + one iteration) and time per output token (one iteration) keep the
objective.

Worked: alpha 5.5, beta 0.04, gamma 0.00016, N 64 (an H100 with 8 billion parameters), 1000 tokens in, 250 out: one
iteration alone takes 5.9 ms and in a full batch 29.8 ms, so the replica cannot answer more than 8.55 requests/s. A
time to first token of 800 ms at p95 and 30 ms per output token leave 7.91; 20 ms per output token 7.39; 10 ms 4.28.

Where a router keeps a limit and sends the rest elsewhere, a saturated replica stays at the largest batch b whose
iterations keep the objective, and answers b / S(b): `full_requests_per_second`, with `max_concurrency` at b. In the
example 8.55 with 64 in flight at 30 ms per output token, 7.59 with 38 at 20 ms, 4.67 with 11 at 10 ms.

Pooling: n replicas behind least-busy routing share their luck: a request goes where a place is free, and batches are
even. They are the same queue with n N places that answers B requests at B / S(B / n). In the example 8 replicas carry
8.41 each at 800 / 30 ms, 7.56 at 20 ms and 4.62 at 10 ms: 6, 2 and 8 % more than one alone. A batch is itself a pool,
so the gain is small where batches are large, and large where places are few (N 8: 32 % at 800 ms).

Bursts: where gaps between arrivals vary more than a Poisson process' (coefficient of variation above 1), z = 1 +
(cv^2 - 1) / 2 times as many requests come and go together, and n replicas are as good as n / z (Hayward's
approximation). At a CV of 2 the example loses 3 % alone and 1 % among 4 replicas at 20 ms (simulated 6 and 0 %), and 14
and 4 % at 10 ms, where batches are small (simulated 24 and 5 %).

Against requests simulated one by one (`e2e/engines/request_events.py`; 12 cases of profile and objective with 8 to 256
places, 1 to 16 replicas; `tests/unit/allocation/test_capacity_events.py` repeats some):
- where all requests are equally long the capacity is told 4 % too low to 4 % too high, alone and in pools;
- where answers vary (coefficient of variation 1) it is 2 to 7 % too high, since long answers hold more context than
  in + out/2 (a learned profile contains that), with 8 places and a tight first token 15 % alone and 2 to 11 % in pools;
- the gain of a pool over one alone is told 0 to 5 % too low, at most 1 % too high (3 % with 8 places of equal lengths).
- with `max_concurrency` in flight per replica and overflow that leaves at once, what stays keeps its objective at every
  load. At 70 / 80 / 90 / 100 / 120 % of the capacity there leaves (H100, 800 / 20 ms) of one replica 0.0 / 0.6 / 2.8 /
  7.7 / 20 %, of 4 replicas 0.0 / 0.0 / 0.5 / 5.1 / 19 %, of 16 0.0 / 0.0 / 0.0 / 4.4 / 20 %. `overflow_ratio` tells the
  same with up to 2 points less, 4 points among 16 replicas above the capacity.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from comptroller.allocation.batching import Queue, ReplicaSpeed, queue_of, speed_of, steady_state
from comptroller.allocation.snapshot import Profile

SEARCH_ROUNDS = 3
SEARCH_POINTS = 48  # 48 rates at once, three times: a resolution of 1 / 49^3 of the full throughput
POOL_SEARCH_ROUNDS, POOL_SEARCH_POINTS = 4, 16  # the same resolution with fewer evaluations: a pool has more states
ALMOST_FULL = 0.999  # of mu(N): beyond, the queue grows without end and its formulas lose their digits
# A pool counts as the next smaller one: never too much, and few to remember. Below 1 are replicas that meet bursts.
REPLICA_STEPS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
MOST_CV = 4.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one replica does for one shape of request at one objective.

    `reachable` is False when even a request alone in the replica misses the objective: then `requests_per_second` is
    the throughput of a full batch, for a slow answer is better than none, and the decision says so.
    """

    requests_per_second: float
    batch: float  # mean requests in flight at that rate
    latency_seconds: float  # mean time from arrival to the last token at that rate
    max_concurrency: int  # what a router may have in flight: the largest batch whose iterations keep the objective
    reachable: bool
    full_requests_per_second: float = 0.0  # what it answers while a router keeps it at the largest batch within it


def capacity_requests_per_second(
    profile: Profile,
    input_tokens: float,
    output_tokens: float,
    time_to_first_token_ms: float,
    time_per_output_token_ms: float,
    percentile: float,
) -> float:
    """The highest arrival rate that one replica answers within the objective, in requests/s; always above zero.

    Longer requests never raise it, a looser objective never lowers it (among objectives that can be reached).
    """
    return replica_capacity(
        profile, input_tokens, output_tokens, time_to_first_token_ms, time_per_output_token_ms, percentile
    ).requests_per_second


def max_concurrency_at(
    profile: Profile,
    input_tokens: float,
    output_tokens: float,
    time_to_first_token_ms: float,
    time_per_output_token_ms: float,
    percentile: float,
) -> int:
    """How many requests a router may have in flight per replica: between 1 and `profile.max_concurrency`."""
    return replica_capacity(
        profile, input_tokens, output_tokens, time_to_first_token_ms, time_per_output_token_ms, percentile
    ).max_concurrency


def replica_capacity(
    profile: Profile,
    input_tokens: float,
    output_tokens: float,
    time_to_first_token_ms: float,
    time_per_output_token_ms: float,
    percentile: float,
    replicas: int = 1,
    arrival_cv: float = 1.0,
) -> Capacity:
    """Both of the above and the latency, remembered for requests that agree in three significant digits.

    `replicas` is how many share the requests by least-busy routing; the answer is per replica, and never falls as they
    become more. Their number is rounded down to a step of `REPLICA_STEPS`; beyond 16 there is next to nothing to gain.
    `arrival_cv` is the coefficient of variation of the gaps between all their arrivals; below 1 nothing is gained.
    """
    bursts = 1.0 + max(0.0, min(arrival_cv, MOST_CV) ** 2 - 1.0) / 2.0
    return _capacity(
        speed_of(profile, input_tokens, output_tokens),
        time_to_first_token_ms,
        time_per_output_token_ms,
        min(max(percentile, 0.5), 0.999),
        REPLICA_STEPS[max(bisect_right(REPLICA_STEPS, max(replicas, 1) / bursts), 1) - 1],
    )


@dataclass(frozen=True, slots=True)
class Shape:
    """Requests of one kind that a replica answers among others, and their objective."""

    requests_per_second: float
    input_tokens: float
    output_tokens: float
    time_to_first_token_ms: float
    time_per_output_token_ms: float


FULLNESS = 0.95
"""Of the largest batch that keeps the objective. At exactly that batch half of the answers of a full pool miss it,
since the mix of the next seconds is never the mean one; in the arena 0.95 cost least."""
WAITING_PART = 0.5
NO_PLACES = 10**9
FULL_ROUNDS = 4  # mean slope and iteration time of a full batch depend on each other, weakly


@dataclass(frozen=True, slots=True)
class FullBatch:
    """A replica that a router keeps full of a mix of requests: how long its iteration then takes and how many it holds.

    `slope_ms` is the mean slope of those in flight. Both limits of a replica hold at once: the iteration keeps the
    strictest objective of the mix, and its places suffice. Requests are in flight in proportion to rate times S.
    """

    profile: Profile
    iteration_ms: float
    batch: float
    slope_ms: float

    def shares(self, shape: Shape) -> tuple[float, float]:
        """Which part of the replica one request/s of a shape takes: of its time, and of its places.

        Long answers hold places and hardly slow the others down; long prompts with short answers do the opposite. A
        replica with room for both answers more than the sum of what each would alone: their parts are added apart.
        Worked: 64 places, iterations of 30 ms, mean slope 0.38 ms: requests of 1000 + 250 tokens with just that slope
        stay 7.54 s, so one a second takes 7.54 / 64 = 0.118 of both.
        """
        speed = speed_of(self.profile, shape.input_tokens, shape.output_tokens)
        stay = (speed.output_tokens * self.iteration_ms + speed.prompt_ms) / 1000.0
        slow = speed.slope_ms / self.slope_ms if self.slope_ms > 0.0 else 1.0
        return stay * slow / self.batch, stay / max(self.profile.max_concurrency, 1)


def full_batch(profile: Profile, mix: Sequence[Shape]) -> FullBatch:
    """The batch at which a replica keeps the strictest objective of a mix.

    Shapes that miss their objective even alone do not count, unless all do: then all places may be taken.
    """
    speeds = [(one, speed_of(profile, one.input_tokens, one.output_tokens)) for one in mix]
    reached = [
        (one, speed, min(one.time_per_output_token_ms, one.time_to_first_token_ms - speed.prompt_ms))
        for one, speed in speeds
    ]
    reached = [found for found in reached if found[1].alpha_ms + found[1].slope_ms + found[1].root_ms <= found[2]] or [
        (one, speed, math.inf) for one, speed in speeds
    ]
    strictest = min((limit for _, _, limit in reached), default=math.inf)
    mean = speed_of(profile, 0.0, 1.0)
    places, iteration = float(mean.places), min(strictest, 1e6)
    batch, slope = places, 0.0
    for _ in range(FULL_ROUNDS):
        held = [
            max(one.requests_per_second, 1e-9) * (speed.output_tokens * iteration + speed.prompt_ms)
            for one, speed, _ in reached
        ]
        weight = sum(held)
        slope = sum(part * speed.slope_ms for part, (_, speed, _) in zip(held, reached, strict=True)) / max(
            weight, 1e-12
        )
        mean = replace(mean, slope_ms=slope)
        batch = mean.largest_batch(strictest) if math.isfinite(strictest) else places
        iteration = float(mean.iteration_ms(np.array(batch)))
    return FullBatch(profile, iteration, batch, slope)


def largest_batch(profile: Profile, mix: Sequence[Shape]) -> int:
    """How many requests of a mix a router may have in flight per replica; at least 1.

    Where the iteration time is the limit: `FULLNESS` of the full batch, to the nearest whole request within it (rounded
    down, an engine of two places would lose one of them). Where the engine's places run out first, a full replica keeps
    every objective, and some may wait before it, so that a place that becomes free is taken at once: as many as get one
    within `WAITING_PART` of the time that their first token leaves. Worked: 64 places that are held for 20 s, so that
    3.2 a second become free; 3000 ms to the first token, of which prompt and iteration take 200: 4 wait, 68 in all. At
    most as many again.
    """
    full = full_batch(profile, mix)
    places = max(profile.max_concurrency, 1)
    if FULLNESS * full_batch(replace(profile, max_concurrency=NO_PLACES), mix).batch < places:
        return max(1, min(math.floor(full.batch + 1e-9), round(FULLNESS * full.batch)))
    stays = [(one, full.shares(one)[1] * places) for one in mix]
    rate = sum(one.requests_per_second for one in mix)
    stay = sum(one.requests_per_second * seconds for one, seconds in stays) / rate if rate > 0.0 else math.inf
    spare = min((_spare_seconds(full, one) for one in mix), default=0.0)
    return places + math.floor(places * min(1.0, WAITING_PART * max(0.0, spare) / max(stay, 1e-3)))


def _spare_seconds(full: FullBatch, shape: Shape) -> float:
    """How long a request may wait for a place and still have its first token in time."""
    prompt_ms = speed_of(full.profile, shape.input_tokens, shape.output_tokens).prompt_ms
    return (shape.time_to_first_token_ms - prompt_ms - full.iteration_ms) / 1000.0


def overflow_ratio(
    profile: Profile,
    input_tokens: float,
    output_tokens: float,
    requests_per_second: float,
    limit: int,
    replicas: int = 1,
) -> float:
    """The share of a pool's requests that find `limit` in flight in each of its replicas, and leave at once.

    `requests_per_second` arrive at all `replicas` together. It is Erlang's loss formula with a service that slows down
    as the batch fills: the chance that the chain of n x limit states is in its last one.
    """
    limit = min(max(limit, 1), max(profile.max_concurrency, 1))
    if requests_per_second <= 0.0:
        return 0.0
    queue = queue_of(speed_of(profile, input_tokens, output_tokens), max(replicas, 1), limit)
    logs = queue.states * math.log(requests_per_second) - queue.log_rate_sums
    weights = np.exp(logs - logs.max())
    return float(weights[-1] / (weights * queue.widths).sum())


@lru_cache(maxsize=65536)
def _capacity(
    speed: ReplicaSpeed, first_token_ms: float, per_token_ms: float, percentile: float, replicas: float
) -> Capacity:
    tail = -math.log(1.0 - percentile)
    alone = speed.alpha_ms + speed.slope_ms + speed.root_ms
    if alone > per_token_ms or alone + speed.prompt_ms > first_token_ms:
        return _full_batch(speed)
    queue = queue_of(speed, replicas, speed.places)
    low, high = 0.0, ALMOST_FULL * queue.full_rate
    rounds, points = SEARCH_ROUNDS, max(8, min(SEARCH_POINTS, 65536 // speed.places))
    if replicas != 1:
        rounds, points = POOL_SEARCH_ROUNDS, POOL_SEARCH_POINTS
    for _ in range(rounds):
        rates = low + (high - low) * np.arange(1, points + 1) / points
        wait, _, met = steady_state(queue, rates)
        iteration = speed.iteration_ms(met)
        first = 1000.0 * wait * tail + iteration + speed.prompt_ms
        good = (first <= first_token_ms) & (iteration <= per_token_ms)
        reached = points if good.all() else int(np.argmin(good))
        if reached == points:
            low = high
            break
        low, high = (float(rates[reached - 1]) if reached else low), float(rates[reached])
    longest = speed.largest_batch(min(per_token_ms, first_token_ms - speed.prompt_ms))
    return _at_rate(queue, max(low, 1e-4 * queue.full_rate), longest)


def _at_rate(queue: Queue, rate: float, longest: float) -> Capacity:
    wait, in_flight, met = (float(value[0]) for value in steady_state(queue, np.array([rate])))
    speed, replicas = queue.speed, queue.replicas
    service = speed.output_tokens * float(speed.iteration_ms(np.array(met))) + speed.prompt_ms
    full = (speed.output_tokens * float(speed.iteration_ms(np.array(longest))) + speed.prompt_ms) / 1000.0
    return Capacity(
        requests_per_second=rate / replicas,
        batch=in_flight / replicas,
        latency_seconds=wait + service / 1000.0,
        max_concurrency=max(1, math.floor(longest + 1e-9)),
        reachable=True,
        full_requests_per_second=max(rate / replicas, longest / full),
    )


def _full_batch(speed: ReplicaSpeed) -> Capacity:
    places = speed.places
    service = speed.output_tokens * float(speed.iteration_ms(np.array(float(places)))) + speed.prompt_ms
    rate = 1000.0 * places / service
    return Capacity(rate, float(places), service / 1000.0, places, reachable=False, full_requests_per_second=rate)
