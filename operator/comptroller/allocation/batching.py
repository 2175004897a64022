"""Replicas with continuous batching as one queue: its states, their chances, and what a request meets.

`capacity.py` tells the model; here are its sums.
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
MOST_STATES = 256  # of a pool that are summed; the others are taken as like their neighbours


def _three_digits(value: float) -> float:
    return float(f"{value:.2e}")


@dataclass(frozen=True, slots=True)
class ReplicaSpeed:
    """A profile that met a shape of request: T(b) = alpha + root sqrt(b) + slope b."""

    alpha_ms: float
    slope_ms: float
    root_ms: float
    prompt_ms: float
    output_tokens: float
    places: int

    def iteration_ms(self, batch: Floats) -> Floats:
        linear = self.alpha_ms + self.slope_ms * batch
        return linear + self.root_ms * np.sqrt(batch) if self.root_ms else linear

    def largest_batch(self, iteration_ms: float) -> float:
        """The largest batch, between alone and full, whose iteration takes no longer."""
        left = max(iteration_ms - self.alpha_ms, 0.0)
        if not self.root_ms:
            batch = left / self.slope_ms if self.slope_ms > 0.0 else float(self.places)
        else:  # root x + slope x^2 = left, x being sqrt(b)
            batch = (2.0 * left / (self.root_ms + math.sqrt(self.root_ms**2 + 4.0 * self.slope_ms * left))) ** 2
        return min(max(batch, 1.0), float(self.places))

    def batch_at_service(self, service_ms: Floats) -> Floats:
        """The batch in which a request takes that long, between alone and full."""
        fixed = self.output_tokens * self.alpha_ms + self.prompt_ms
        if not self.root_ms:
            per_request = max(self.output_tokens * self.slope_ms, 1e-12)
            return np.clip((service_ms - fixed) / per_request, 1.0, self.places)
        grown = np.maximum(service_ms - fixed, 0.0) / self.output_tokens  # root x + slope x^2, x being sqrt(b)
        root = 2.0 * grown / (self.root_ms + np.sqrt(self.root_ms**2 + 4.0 * self.slope_ms * grown))
        return np.clip(root**2, 1.0, self.places)


@lru_cache(maxsize=32768)  # one decision asks several times for each of its pairs
def speed_of(profile: Profile, input_tokens: float, output_tokens: float) -> ReplicaSpeed:
    tokens_in, tokens_out = _three_digits(max(input_tokens, 0.0)), _three_digits(max(output_tokens, 1.0))
    alpha, beta, gamma = max(profile.alpha_ms, 1e-6), max(profile.beta_ms, 0.0), max(profile.gamma_ms, 0.0)
    slope = beta * (tokens_in + tokens_out) / (tokens_out + 1.0) + gamma * (tokens_in + tokens_out / 2.0)
    prompt = (beta + gamma) * tokens_in
    root = profile.root_ms if profile.root_ms > 1e-6 else 0.0
    return ReplicaSpeed(alpha, slope, root, prompt, tokens_out, max(profile.max_concurrency, 1))


@dataclass(frozen=True, slots=True)
class Queue:
    """Replicas as one queue: its states (requests in flight), and the sums of ln mu(1..state).

    Of many states only some are kept, each for `widths` of them, with gaps that grow as the root of the state: as the
    spread of a Poisson number does.
    """

    speed: ReplicaSpeed
    replicas: float
    states: Floats  # [0..places], places being those of all replicas
    widths: Floats
    rates: Floats  # mu(state), requests/s
    log_rate_sums: Floats

    @property
    def places(self) -> float:
        return float(self.states[-1])

    @property
    def full_rate(self) -> float:
        return float(self.rates[-1])


def queue_of(speed: ReplicaSpeed, replicas: float, limit: int) -> Queue:
    places = max(1, round(replicas * limit))
    replicas = places / limit
    in_flight = np.arange(1, places + 1, dtype=np.float64)
    batch = in_flight if replicas == 1 else np.maximum(in_flight / replicas, 1.0)
    rates = np.zeros(places + 1)
    rates[1:] = 1000.0 * in_flight / (speed.output_tokens * speed.iteration_ms(batch) + speed.prompt_ms)
    sums = np.concatenate(([0.0], np.cumsum(np.log(rates[1:]))))
    if replicas == 1 or places <= MOST_STATES:
        states, widths = np.arange(places + 1), np.ones(places + 1)
    else:
        states = np.unique(np.rint(places * np.linspace(0.0, 1.0, MOST_STATES + 1) ** 2).astype(np.int64))
        edges = np.concatenate(([-0.5], (states[1:] + states[:-1]) / 2.0, [places + 0.5]))
        widths = np.diff(edges)
    return Queue(speed, replicas, states.astype(np.float64), widths, rates[states], sums[states])


def steady_state(queue: Queue, arrivals: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean wait [s], mean requests in flight and the batch that a request meets, for each arrival rate [requests/s].

    States up to all places taken are summed, the waiting ones (a geometric row) in closed form. The batch that a
    request meets solves S(b) = mean service time, which is requests in flight over throughput by Little's law; alone
    it meets itself: 1.
    """
    places = queue.places
    logs = queue.states * np.log(arrivals)[:, None] - queue.log_rate_sums
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    full = weights[:, -1]
    if queue.replicas != 1:
        weights = weights * queue.widths
    rho = arrivals / queue.full_rate
    waiting_places = WAITING_PER_PLACE * places
    power = rho**waiting_places
    row = full * rho * (1.0 - power) / (1.0 - rho)
    total = weights.sum(axis=1) + row
    waiting = full * rho * (1.0 - (waiting_places + 1) * power + waiting_places * power * rho) / (1.0 - rho) ** 2
    in_flight = ((weights * queue.states).sum(axis=1) + row * places) / total
    if queue.replicas == 1:
        throughput = arrivals * (1.0 - full * power / total)
    else:  # the same in exact sums; in sampled ones only this ratio stays that of a batch between alone and full
        throughput = ((weights * queue.rates).sum(axis=1) + row * queue.full_rate) / total
    met = queue.speed.batch_at_service(1000.0 * in_flight / throughput)
    return waiting / total / throughput, in_flight, met
