"""What a policy may see: the snapshot that the operator would have gathered, and what the engines show.

Rates are means over Prometheus' rate window of what arrived at the routers; the peak is the highest of them within the
peak window; prices are true, speeds are those that the pools declare. While measurements are stale everything measured
is Unknown from `staleAfterSeconds` on, ages until then, and engines show nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from comptroller.allocation.declared import route_of, rules_of
from comptroller.allocation.snapshot import (
    Demand,
    HostedPool,
    LocalPool,
    Measurement,
    Route,
    Sample,
    Snapshot,
    StartingReplica,
    Unknown,
)
from comptroller.learning.speed import mean_shape
from comptroller.sim.engine import Stepped, steps_of
from comptroller.sim.fleet import Fleet
from comptroller.sim.policy import PoolSignal, View
from comptroller.sim.stage import Stage
from comptroller.sim.world import Floats, Ints, World

MINIMUM_STARTING_SECONDS = 1.0
EARLIEST_AGE_SECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Arrived:
    """Requests of each route and step, from `start_seconds` on, before and after the simulated time: [route, step]."""

    start_seconds: float
    step_seconds: float
    sums: Floats  # [route, step + 1], running sums

    @classmethod
    def of(cls, start_seconds: float, step_seconds: float, counts: Ints) -> Arrived:
        """From the counts of each step."""
        sums = np.zeros((counts.shape[0], counts.shape[1] + 1))
        np.cumsum(counts, axis=1, out=sums[:, 1:])
        return cls(start_seconds, step_seconds, sums)

    def rate(self, from_seconds: float, to_seconds: float) -> Floats:
        """Mean requests/s of each route over a stretch of time, as far as it is known."""
        last = self.sums.shape[1] - 1
        first, end = (
            min(max(round((at - self.start_seconds) / self.step_seconds), 0), last) for at in (from_seconds, to_seconds)
        )
        if end <= first:
            return np.zeros(len(self.sums))
        found: Floats = (self.sums[:, end] - self.sums[:, first]) / ((end - first) * self.step_seconds)
        return found


class Observer:
    """Makes the views of one run."""

    def __init__(self, stage: Stage, arrived: Arrived, step_seconds: float, oracle: bool):
        self.stage, self.arrived, self.oracle = stage, arrived, oracle
        prometheus = stage.settings.prometheus
        self.window_seconds = float(prometheus.rate_window_seconds)
        self.peak_windows = max(1, round(prometheus.peak_window_seconds / self.window_seconds))
        self.stale_after_seconds = prometheus.stale_after_seconds
        self._recent: deque[Stepped] = deque(maxlen=steps_of(self.window_seconds, step_seconds))
        self._waiting: deque[Ints] = deque(maxlen=steps_of(self.window_seconds, step_seconds))
        self._serving: deque[Ints] = deque(maxlen=steps_of(self.window_seconds, step_seconds))
        self.step_seconds = step_seconds
        self._routes = _base_routes(stage)
        self._rules = rules_of(stage.settings.loop)
        self._signals: dict[str, PoolSignal] = {}

    def note(self, stepped: Stepped, waiting: Ints, serving: Ints) -> None:
        """Takes in what one step did, who waits at each pool after it, and how many replicas served."""
        self._recent.append(stepped)
        self._serving.append(serving.copy())
        self._waiting.append(waiting)

    def view(
        self,
        now_seconds: float,
        world: World,
        fleet: Fleet,
        previous: Mapping[str, int] | None,
        cached: Floats,
        stale_since_seconds: float | None,
    ) -> View:
        """The picture of now. `cached` is the share of each route's prompt tokens that hosted caches found lately."""
        measured_at = now_seconds if stale_since_seconds is None else stale_since_seconds
        age = now_seconds - measured_at
        stale = age > self.stale_after_seconds
        snapshot = Snapshot(
            at_seconds=now_seconds,
            local_pools=self._local(world, fleet, previous, now_seconds),
            hosted_pools=self._hosted(world),
            routes=self._measured_routes(measured_at, age, cached),
            gpus={(one.gpu_class, one.site): Sample(float(one.count)) for one in world.gpus},
            rules=self._rules,
            gpus_per_node={(one.gpu_class, one.site): float(one.per_node) for one in world.gpus},
        )
        if stale_since_seconds is None:
            self._signals = self._engine_signals(world, fleet)
        signals = {} if stale else self._signals
        return View(now_seconds, snapshot, signals, self._truth(now_seconds) if self.oracle else None)

    def _measured_routes(self, measured_at: float, age: float, cached: Floats) -> tuple[Route, ...]:
        window = self.window_seconds
        windows = np.array(
            [
                self.arrived.rate(measured_at - (k + 1) * window, measured_at - k * window)
                for k in range(self.peak_windows)
            ]
        )
        found = []
        for row, base in enumerate(self._routes):
            rate: Measurement = Sample(float(windows[0, row]), age)
            peak: Measurement = Sample(float(windows[:, row].max()), age)
            if age > self.stale_after_seconds:
                why = f"newest sample of the router is {age:.0f} s old (limit {self.stale_after_seconds:.0f} s)"
                rate, peak = Unknown(why), Unknown(why)
            demand = replace(
                base.demand,
                requests_per_second=rate,
                peak_requests_per_second=peak,
                cached_ratio=float(cached[row]),
            )
            found.append(replace(base, demand=demand))
        return tuple(found)

    def _local(
        self, world: World, fleet: Fleet, previous: Mapping[str, int] | None, now_seconds: float
    ) -> tuple[LocalPool, ...]:
        declared = self.stage.world.local
        coming: list[list[StartingReplica]] = [[] for _ in declared]
        for one in fleet.coming:
            age = min(now_seconds - one.created_seconds, EARLIEST_AGE_SECONDS)
            left = declared[one.pool].startup_seconds - age
            coming[one.pool].append(StartingReplica(max(MINIMUM_STARTING_SECONDS, left)))
        return tuple(
            LocalPool(
                key=pool.key,
                model=pool.model,
                gpu_class=pool.gpu_class,
                gpus_per_replica=pool.gpus_per_replica,
                jurisdiction=pool.jurisdiction,
                perimeter=pool.perimeter,
                minimum=pool.minimum,
                maximum=pool.maximum,
                serving=int(fleet.serving[index]),
                starting=tuple(coming[index]),
                previous=None if previous is None else previous.get(pool.key),
                profile=declared[index].profile,
                startup_seconds=pool.startup_seconds,
                idle_usd_per_replica_hour=pool.idle_usd_per_replica_hour,
                busy_extra_usd_per_replica_hour=pool.busy_extra_usd_per_replica_hour,
                site=pool.site,
            )
            for index, pool in enumerate(world.local)
        )

    def _hosted(self, world: World) -> tuple[HostedPool, ...]:
        output = float(np.mean([route.output_tokens for route in world.routes]))
        return tuple(
            HostedPool(
                key=pool.key,
                model=pool.model,
                jurisdiction=pool.jurisdiction,
                perimeter=pool.perimeter,
                input_usd_per_million_tokens=pool.input_usd_per_million_tokens,
                cached_input_usd_per_million_tokens=pool.cached_input_usd_per_million_tokens,
                output_usd_per_million_tokens=pool.output_usd_per_million_tokens,
                requests_per_minute=pool.requests_per_minute,
                tokens_per_minute=pool.tokens_per_minute,
                max_concurrency=pool.max_concurrency,
                mean_latency_seconds=(pool.first_token_ms + output * pool.per_output_token_ms) / 1000.0,
            )
            for pool in world.hosted
        )

    def _engine_signals(self, world: World, fleet: Fleet) -> dict[str, PoolSignal]:
        if not self._recent:
            return {}
        seconds = len(self._recent) * self.step_seconds
        flight = np.mean([one.mean_in_flight for one in self._recent], axis=0)  # [route, pool]
        completed = np.sum([one.completed for one in self._recent], axis=0)
        iteration = np.array([one.iteration_ms for one in self._recent])
        busy = np.array([one.mean_in_flight.sum(axis=0) for one in self._recent])
        batch = busy / np.maximum(np.array(self._serving), 1)
        waiting = np.mean(self._waiting, axis=0)
        inputs = np.array([route.input_tokens for route in world.routes])
        outputs = np.array([route.output_tokens for route in world.routes])
        found = {}
        for index, pool in enumerate(world.local):
            weight, done = busy[:, index], completed[:, index]
            answered = float(done.sum())
            in_flight = float(flight[:, index].sum())
            replicas = max(1, int(fleet.serving[index]))
            found[pool.key] = PoolSignal(
                in_flight=in_flight,
                waiting=float(waiting[index]),
                requests_per_second=answered / seconds,
                iteration_ms=float((iteration[:, index] * weight).sum() / weight.sum()) if weight.sum() > 0 else 0.0,
                batch=max(1.0, in_flight / replicas) if in_flight > 0 else 0.0,
                input_tokens=float((done * inputs).sum() / answered) if answered else 0.0,
                output_tokens=float((done * outputs).sum() / answered) if answered else 0.0,
                met_batch=float((batch[:, index] * weight).sum() / weight.sum()) if weight.sum() > 0 else 0.0,
                shape=mean_shape(zip(done.tolist(), inputs.tolist(), outputs.tolist(), strict=True)),
            )
        return found

    def _truth(self, now_seconds: float) -> dict[str, float]:
        """The mean demand of the minute in which a replica that starts now first serves."""
        later = max((pool.startup_seconds for pool in self.stage.world.local), default=0.0)
        rates = self.arrived.rate(now_seconds + later, now_seconds + later + self.window_seconds)
        return {route.key: float(rate) for route, rate in zip(self.stage.world.routes, rates, strict=True)}


def _base_routes(stage: Stage) -> tuple[Route, ...]:
    specs = {f"{key}/{one.name}": one for key, policy in stage.policies.items() for one in policy.routes}
    return tuple(
        route_of(
            true.policy,
            specs[true.key],
            stage.settings.defaults,
            Demand(Unknown("not measured yet"), true.input_tokens, true.output_tokens),
        )
        for true in stage.world.routes
    )
