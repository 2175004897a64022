"""How many requests per second one replica answers within an objective.

The model is the state-dependent M/M/1/K queue of inferno and llm-d's workload variant autoscaler. Continuous batching
advances all b requests of a batch together; one iteration takes

    T(b) = alpha + b (beta (in + out) / (out + 1) + gamma (in + out / 2))          [milliseconds]

since a request of in + out tokens is computed in out + 1 iterations and reads on average in + out/2 tokens of context.
A request holds its place for S(b) = out T(b) + (beta + gamma) in: `out` iterations and its own prompt. The replica
thus answers at mu(b) = b / S(b) while b <= N, and at mu(N) while more wait. K = N + 10 N requests fit.

From the steady state of that queue at arrival rate lambda come the mean wait, and the batch that a request meets. The
wait at a percentile is the mean wait times -ln(1 - percentile), as for an exponential tail. The capacity is the highest
lambda whose first token (wait + own prompt + one iteration) and time per output token (one iteration) keep the
objective.

Worked: alpha 5.5, beta 0.04, gamma 0.00016, N 64 (an H100 with 8 billion parameters), 1000 tokens in, 250 out: one
iteration alone takes 5.9 ms and in a full batch 29.8 ms, so the replica cannot answer more than 8.55 requests/s. A
time to first token of 800 ms at p95 and 30 ms per output token leave 7.91; 20 ms per output token 7.39; 10 ms 4.28.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from comptroller.allocation.snapshot import Profile

Floats = npt.NDArray[np.float64]

WAITING_PER_PLACE = 10  # K = N + 10 N, as in inferno
SEARCH_ROUNDS = 3
SEARCH_POINTS = 48  # 48 rates at once, three times: a resolution of 1 / 49^3 of the full throughput
ALMOST_FULL = 0.999  # of mu(N): beyond, the queue grows without end and its formulas lose their digits


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one replica does for one shape of request at one objective.

    `reachable` is False when even a request alone in the replica misses the objective: then `requests_per_second` is
    the throughput of a full batch, for a slow answer is better than none, and the decision says so.
    """

    requests_per_second: float
    batch: float  # mean requests in flight at that rate
    latency_seconds: float  # mean time from arrival to the last token at that rate
    max_concurrency: int  # what a router may have in flight: the batch and two standard deviations of a Poisson number
    reachable: bool


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
) -> Capacity:
    """Both of the above and the latency, remembered for requests that agree in three significant digits."""
    return _capacity(
        max(profile.alpha_ms, 1e-6),
        max(profile.beta_ms, 0.0),
        max(profile.gamma_ms, 0.0),
        max(profile.max_concurrency, 1),
        _three_digits(max(input_tokens, 0.0)),
        _three_digits(max(output_tokens, 1.0)),
        time_to_first_token_ms,
        time_per_output_token_ms,
        min(max(percentile, 0.5), 0.999),
    )


def _three_digits(value: float) -> float:
    return float(f"{value:.2e}")


@dataclass(frozen=True, slots=True)
class _Queue:
    """The replica as a queue: iteration T(b) = alpha + slope b, own prompt, and the sums of ln mu(1..b)."""

    alpha_ms: float
    slope_ms: float
    prompt_ms: float
    output_tokens: float
    places: int
    log_rate_sums: Floats  # [0..places]
    full_rate: float  # mu(places), requests/s

    def iteration_ms(self, batch: float) -> float:
        return self.alpha_ms + self.slope_ms * batch


def _queue(alpha: float, beta: float, gamma: float, places: int, tokens_in: float, tokens_out: float) -> _Queue:
    slope = beta * (tokens_in + tokens_out) / (tokens_out + 1.0) + gamma * (tokens_in + tokens_out / 2.0)
    prompt = (beta + gamma) * tokens_in
    batch = np.arange(1, places + 1, dtype=np.float64)
    rates = 1000.0 * batch / (tokens_out * (alpha + slope * batch) + prompt)
    sums = np.concatenate(([0.0], np.cumsum(np.log(rates))))
    return _Queue(alpha, slope, prompt, tokens_out, places, sums, float(rates[-1]))


def _steady_state(queue: _Queue, arrivals: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean wait [s], mean batch and the batch that a request meets, for each arrival rate [requests/s].

    States 0..N are summed, the waiting ones (a geometric row) in closed form. The batch that a request meets solves
    S(b) = mean service time, which is batch over throughput by Little's law; alone it meets itself: 1.
    """
    n = np.arange(queue.places + 1, dtype=np.float64)
    logs = n * np.log(arrivals)[:, None] - queue.log_rate_sums
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    rho = arrivals / queue.full_rate
    waiting_places = WAITING_PER_PLACE * queue.places
    power = rho**waiting_places
    row = weights[:, -1] * rho * (1.0 - power) / (1.0 - rho)
    total = weights.sum(axis=1) + row
    waiting = (
        weights[:, -1] * rho * (1.0 - (waiting_places + 1) * power + waiting_places * power * rho) / (1.0 - rho) ** 2
    )
    batch = ((weights * n).sum(axis=1) + row * queue.places) / total
    throughput = arrivals * (1.0 - weights[:, -1] * power / total)
    fixed = queue.output_tokens * queue.alpha_ms + queue.prompt_ms
    per_request = max(queue.output_tokens * queue.slope_ms, 1e-12)
    met = np.clip((1000.0 * batch / throughput - fixed) / per_request, 1.0, queue.places)
    return waiting / total / throughput, batch, met


@lru_cache(maxsize=65536)
def _capacity(
    alpha: float, beta: float, gamma: float, places: int, tokens_in: float, tokens_out: float,
    first_token_ms: float, per_token_ms: float, percentile: float,
) -> Capacity:  # fmt: skip
    queue = _queue(alpha, beta, gamma, places, tokens_in, tokens_out)
    tail = -math.log(1.0 - percentile)
    alone = queue.iteration_ms(1.0)
    if alone > per_token_ms or alone + queue.prompt_ms > first_token_ms:
        return _full_batch(queue)
    low, high = 0.0, ALMOST_FULL * queue.full_rate
    points = max(8, min(SEARCH_POINTS, 65536 // places))
    for _ in range(SEARCH_ROUNDS):
        rates = low + (high - low) * np.arange(1, points + 1) / points
        wait, _, met = _steady_state(queue, rates)
        iteration = queue.alpha_ms + queue.slope_ms * met
        first = 1000.0 * wait * tail + iteration + queue.prompt_ms
        good = (first <= first_token_ms) & (iteration <= per_token_ms)
        reached = points if good.all() else int(np.argmin(good))
        if reached == points:
            low = high
            break
        low, high = (float(rates[reached - 1]) if reached else low), float(rates[reached])
    return _at_rate(queue, max(low, 1e-4 * queue.full_rate))


def _at_rate(queue: _Queue, rate: float) -> Capacity:
    wait, batch, met = (float(value[0]) for value in _steady_state(queue, np.array([rate])))
    service = queue.output_tokens * queue.iteration_ms(met) + queue.prompt_ms
    in_flight = math.ceil(batch + 2.0 * math.sqrt(batch))
    return Capacity(rate, batch, wait + service / 1000.0, max(1, min(queue.places, in_flight)), reachable=True)


def _full_batch(queue: _Queue) -> Capacity:
    service = queue.output_tokens * queue.iteration_ms(queue.places) + queue.prompt_ms
    return Capacity(queue.full_rate, float(queue.places), service / 1000.0, queue.places, reachable=False)
