"""The engines of the local pools, step by step: who is in flight, who waits, how long an iteration takes.

Physics. A replica decodes its batch of b together: one iteration takes T = alpha + root sqrt(b) + the slopes of its
requests (`fluid.slope_ms`), the same law as in `allocation.capacity`. A request holds its place for
S = out T + (beta+gamma) in. Replicas of a pool are equally busy (the Service sends to the least busy one), so that a
request shares its replica with max(1, in flight / replicas) requests of the pool's mixture, itself counted.

In a step of dt seconds, requests that were in flight end with probability 1 - exp(-dt / S), those that came in during
the step with probability 1 - (S/dt)(1 - exp(-dt/S)): lengths of answers are taken as exponentially distributed, and the
number in flight of a pool that is never full is exactly that of M/M/infinity: Poisson with mean rate times S, at any
ratio of S to dt. S follows the iteration time, which follows the mean number in flight during the step; both are solved
together. Numbers of requests are whole, and each that comes in ends, is cut short, or is still there.

A replica decodes at most `max_concurrency` requests. Who finds no place waits in the order of arrival, and enters as
places become free: at most so many that the expected number in flight at the end of the step fits. Who has waited for
longer than the router's timeout gives up. A request's first token comes after its wait, its own prompt and one
iteration; its time per output token is one iteration. Both are held against the objective with the iteration time of
the step in which it enters. Waits are those of a fluid queue: arrivals of a step come evenly over it, and so do places
become free, so that a wait of a second is a second although the step is longer.

Simplifications. The iteration time is that of the step and not of each moment; what varies within a step, and would let
a request wait for a moment although the step as a whole has room, is not seen; all requests of a route have its mean
lengths; prompts are not cached inside; replicas are as equal as the least busy can make them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from comptroller.sim.fluid import fluid_limit, prompt_ms, slope_ms
from comptroller.sim.world import Floats, Ints, World

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Speeds:
    """What the physics needs of a world: rows are routes, columns local pools."""

    alpha_ms: Floats  # [pool]
    root_ms: Floats  # [pool]
    places: Floats  # [pool] requests that one replica decodes at most
    slope_ms: Floats
    prompt_ms: Floats
    output_tokens: Floats  # [route, 1]
    first_token_ms: Floats  # [route, 1] objective
    per_token_ms: Floats  # [route, 1] objective
    replicas_per_rps: Floats  # power: part of a replica's full load that one request/s is

    @classmethod
    def of(cls, world: World) -> Speeds:
        """The speeds of a world."""
        routes, pools = world.routes, world.local
        shape = (len(routes), len(pools))
        slope, prompt, part = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for i, route in enumerate(routes):
            for j, pool in enumerate(pools):
                slope[i, j] = slope_ms(pool.profile, route.input_tokens, route.output_tokens)
                prompt[i, j] = prompt_ms(pool.profile, route.input_tokens)
                limit = fluid_limit(
                    pool.profile,
                    route.input_tokens,
                    route.output_tokens,
                    route.time_to_first_token_ms,
                    route.time_per_output_token_ms,
                )
                part[i, j] = 1.0 / limit.requests_per_second
        return cls(
            np.array([pool.profile.alpha_ms for pool in pools]),
            np.array([pool.profile.root_ms for pool in pools]),
            np.array([float(pool.profile.max_concurrency) for pool in pools]),
            slope,
            prompt,
            np.array([[route.output_tokens] for route in routes]),
            np.array([[route.time_to_first_token_ms] for route in routes]),
            np.array([[route.time_per_output_token_ms] for route in routes]),
            part,
        )


@dataclass(slots=True)
class Stepped:
    """What one step did; rows are routes, columns local pools."""

    admitted: Ints
    within: Ints  # of the admitted: those that keep their objective
    completed: Ints
    mean_in_flight: Floats
    iteration_ms: Floats  # [pool]
    load: Floats  # [pool] replicas' worth of work, for the power


class Engine:
    """State and law of all local pools."""

    def __init__(self, speeds: Speeds, step_seconds: float, patience_seconds: Floats, random: np.random.Generator):
        self.speeds, self.step_seconds, self.random = speeds, step_seconds, random
        self.patience_steps = np.maximum(1, np.ceil(patience_seconds / step_seconds)).astype(np.int64)  # [route]
        shape = speeds.slope_ms.shape
        self.in_flight: Ints = np.zeros(shape, dtype=np.int64)
        self.waiting: Ints = np.zeros((int(self.patience_steps.max(initial=1)) + 1, *shape), dtype=np.int64)  # [age]
        self.cohort: Ints = np.zeros((len(self.waiting), shape[1]), dtype=np.int64)  # who came with them, by age
        self.iteration_ms: Floats = speeds.alpha_ms.copy()
        self.any_waiting = False
        self._times(np.zeros(shape[1]))

    def _times(self, iteration_ms: Floats) -> None:
        """Everything that follows from the iteration time."""
        speeds, dt = self.speeds, self.step_seconds
        self.service_seconds = np.maximum(
            (speeds.output_tokens * np.maximum(iteration_ms, speeds.alpha_ms) + speeds.prompt_ms) / 1000.0, 1e-6
        )
        ratio = self.service_seconds / dt
        self.stay: Floats = np.exp(-1.0 / ratio)  # of those in flight at the start: the part still there at the end
        self.stay_new: Floats = ratio * (1.0 - self.stay)  # of those who come in during the step

    def expected(self, serving: Ints) -> tuple[Floats, Floats]:
        """What there will be at the end of the step without new arrivals: requests in flight or waiting, by (route,
        pool), and free places, by pool. Of those who wait, as many enter as find a place."""
        held: Floats = self.stay * self.in_flight
        free: Floats = np.maximum(serving * self.speeds.places - held.sum(axis=0), 0.0)
        if not self.any_waiting:
            return held, free
        waiting = self.waiting.sum(axis=0)
        need = (waiting * self.stay_new).sum(axis=0)
        part = np.minimum(1.0, free / np.maximum(need, 1e-12))
        held = held + waiting * (part * self.stay_new + 1.0 - part)
        free = np.maximum(free - need, 0.0)
        return held, free

    def remove(self, part: Floats) -> Ints:
        """Takes a part of each pool's requests out of flight: those of replicas that leave. Returns them."""
        gone = np.zeros_like(self.in_flight)
        for pool in np.flatnonzero(part > 0):
            gone[:, pool] = self.random.binomial(self.in_flight[:, pool], min(1.0, float(part[pool])))
        self.in_flight -= gone
        return gone

    def step(self, sent: Ints, serving: Ints) -> Stepped:
        """Lets dt seconds pass, after `age`. `sent` is what the router sends to each (route, pool)."""
        self._foresee_full(sent, serving)
        admitted, late = self._admit(sent, serving)
        mean = self._settle(admitted, serving)
        ended = self.random.binomial(self.in_flight, 1.0 - self.stay)
        ended += self.random.binomial(admitted, 1.0 - self.stay_new)
        self.in_flight += admitted - ended
        fast = (self.iteration_ms <= self.speeds.per_token_ms) & (
            self.speeds.prompt_ms + self.iteration_ms <= self.speeds.first_token_ms
        )
        in_time = admitted if late is None else admitted - late
        within: Ints = np.where(fast, in_time, 0)
        throughput = mean / self.service_seconds
        load = (throughput * self.speeds.replicas_per_rps).sum(axis=0)
        return Stepped(admitted, within, ended, mean, self.iteration_ms, np.minimum(load, serving))

    def age(self) -> Ints:
        """A step begins: those who wait are one step older. Returns the impatient, who leave."""
        gone = np.zeros_like(self.in_flight)
        if not self.any_waiting:
            return gone
        self.waiting[1:] = self.waiting[:-1].copy()
        self.waiting[0] = 0
        self.cohort[1:] = self.cohort[:-1].copy()
        self.cohort[0] = 0
        for route, patience in enumerate(self.patience_steps):
            over = self.waiting[patience:, route]
            gone[route] = over.sum(axis=0)
            over[:] = 0
        return gone

    def _admit(self, sent: Ints, serving: Ints) -> tuple[Ints, Ints | None]:
        """Who enters now, and which of them come so late that their first token misses the objective."""
        budget = serving * self.speeds.places - (self.in_flight * self.stay).sum(axis=0)
        full = (sent * self.stay_new).sum(axis=0) > budget
        if not self.any_waiting and not full.any():
            return sent, None
        admitted, late = sent.copy(), np.zeros_like(sent)
        queued = self.waiting.sum(axis=(0, 1)) > 0
        for pool in np.flatnonzero(full | queued):
            self._admit_in_order(int(pool), max(0.0, float(budget[pool])), sent, admitted, late)
        self.any_waiting = bool(self.waiting.any())
        return admitted, late

    def _admit_in_order(self, pool: int, budget: float, sent: Ints, admitted: Ints, late: Ints) -> None:
        """First come, first served: the oldest of all routes first; of those of one age a random part.

        Within a step arrivals come evenly, and places become free evenly after those that are free at its start; who
        is the x-th in line therefore has a wait, and one between two steps is not a whole step long.
        """
        self.waiting[0, :, pool] += sent[:, pool]
        self.cohort[0, pool] += sent[:, pool].sum()
        admitted[:, pool] = 0
        cost = self.stay_new[:, pool]
        base_ms = self.speeds.prompt_ms[:, pool] + self.iteration_ms[pool]
        spare_seconds = (self.speeds.first_token_ms[:, 0] - base_ms) / 1000.0
        line = _Line(max(0.0, budget - self._freed(pool)), budget, self.step_seconds)
        left = budget
        for age in range(len(self.waiting) - 1, -1, -1):
            want = self.waiting[age, :, pool]
            need = float((want * cost).sum())
            if need <= 0:
                continue
            taken = want.copy() if need <= left else self._part(want, left / need)
            took = float((taken * cost).sum())
            size = float(self.cohort[age, pool])
            first, last = 1.0 - want.sum() / size, 1.0 - (want.sum() - taken.sum()) / size
            waits = line.waits(age, first, last, budget - left, budget - left + took)
            late[:, pool] += self._late(taken, waits, spare_seconds)
            left -= took
            self.waiting[age, :, pool] -= taken
            admitted[:, pool] += taken
            if left <= 0:
                break

    def _freed(self, pool: int) -> float:
        """Places that are expected to become free during the step."""
        return float((self.in_flight[:, pool] * (1.0 - self.stay[:, pool])).sum())

    def _late(self, taken: Ints, waits: tuple[float, float], spare_seconds: Floats) -> Ints:
        """How many of those taken, whose waits lie evenly between two, have waited longer than they may."""
        shortest, longest = min(waits), max(waits)
        part = np.clip((longest - spare_seconds) / max(longest - shortest, 1e-9), 0.0, 1.0)
        return np.minimum(taken, np.floor(taken * part + self.random.random(len(taken))).astype(np.int64))

    def _part(self, want: Ints, part: float) -> Ints:
        exact = want * max(0.0, part)
        return np.minimum(want, np.floor(exact + self.random.random(len(want))).astype(np.int64))

    def foresee(self, wanted: Ints, serving: Ints, most: Floats) -> None:
        """Sets the times to those of this step if all that is wanted enters, though never more than `most` requests are
        in a pool: routers count at every moment, so that what has room in a step must be reckoned with the iteration
        time of the full pool and not with that of the quiet step before."""
        self._settle(wanted, serving, np.maximum(most / np.maximum(serving, 1), 1.0))

    def _foresee_full(self, sent: Ints, serving: Ints) -> None:
        """The same for the engines' own places, which count whatever limit the routers reckon with."""
        asked = sent + self.waiting.sum(axis=0) if self.any_waiting else sent
        near = (self.in_flight + asked).sum(axis=0) > 0.5 * serving * self.speeds.places
        if near.any():
            self._settle(asked, serving)

    def _settle(self, admitted: Ints, serving: Ints, most: Floats | float = np.inf) -> Floats:
        """Solves the iteration time and the mean number in flight of this step together; returns the latter. No batch
        counts as larger than `most`."""
        dt, speeds = self.step_seconds, self.speeds
        replicas = np.maximum(serving, 1)
        mean = self.in_flight * self.stay_new + admitted * ((1.0 - self.stay_new) * self.service_seconds / dt)
        for _ in range(ROUNDS):
            total = mean.sum(axis=0)
            batch = np.minimum(np.minimum(np.maximum(1.0, total / replicas), speeds.places), most)
            slope = (mean * speeds.slope_ms).sum(axis=0) / np.maximum(total, 1e-12)
            target = speeds.alpha_ms + speeds.root_ms * np.sqrt(batch) + slope * batch
            self.iteration_ms = np.where(total > 0, 0.5 * (self.iteration_ms + target), speeds.alpha_ms)
            self._times(self.iteration_ms)
            mean = self.in_flight * self.stay_new + admitted * ((1.0 - self.stay_new) * self.service_seconds / dt)
        return mean

    def waiting_now(self) -> Ints:
        """Who waits, by route and pool."""
        found: Ints = self.waiting.sum(axis=0)
        return found

    def waiting_by_pool(self) -> Ints:
        """Who waits, by pool."""
        if not self.any_waiting:
            return np.zeros(self.waiting.shape[2], dtype=np.int64)
        found: Ints = self.waiting.sum(axis=(0, 1))
        return found

    def queue(self, route: int, pool: int, count: int) -> None:
        """Lets requests wait at a pool that has no room for them; they are `count` new arrivals."""
        self.waiting[0, route, pool] += count
        self.cohort[0, pool] += count
        self.any_waiting = True


@dataclass(frozen=True, slots=True)
class _Line:
    """Places of one pool in one step: `free` at its start, `all` by its end, the others evenly between."""

    free: float
    all: float
    step_seconds: float

    def waits(self, age: int, first: float, last: float, begin: float, end: float) -> tuple[float, float]:
        """How long the first and the last of some have waited who came `age` steps ago, as the parts `first` to `last`
        of their step's arrivals, and now take the places `begin` to `end`."""
        dt = self.step_seconds
        return (
            max(0.0, age * dt + self._moment(begin) - first * dt),
            max(0.0, age * dt + self._moment(end) - last * dt),
        )

    def _moment(self, place: float) -> float:
        if place <= self.free:
            return 0.0
        return self.step_seconds * min(1.0, (place - self.free) / max(self.all - self.free, 1e-9))


def steps_of(seconds: float, step_seconds: float) -> int:
    """Whole steps in a time, at least one."""
    return max(1, math.ceil(seconds / step_seconds - 1e-9))
