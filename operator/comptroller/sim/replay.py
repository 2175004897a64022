"""One policy, one day, one seed: lets the day pass, tick by tick and step by step.

    every tick   observe -> the policy decides -> replicas are ordered, routers rendered
    every step   replicas become ready or leave -> arrivals -> routers -> engines and hosted APIs -> the books

Before the day comes a warm-up that is simulated and not scored: every policy begins it with each pool at its minimum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from comptroller.sim import perturb
from comptroller.sim.arrivals import history, step_counts
from comptroller.sim.engine import Engine, Speeds, steps_of
from comptroller.sim.fleet import Fleet
from comptroller.sim.gateway import Gateway
from comptroller.sim.hosted import HostedApis
from comptroller.sim.observed import Arrived, Observer
from comptroller.sim.policy import Orders, Policy
from comptroller.sim.reasons import HostedReasons
from comptroller.sim.score import FLIP_SECONDS, Books, Score, score
from comptroller.sim.sovereignty import forbidden_pairs
from comptroller.sim.stage import Stage
from comptroller.sim.trace import DAY_SECONDS
from comptroller.sim.world import Bound, Epoch, Floats, Ints, Windows

BOUND_WINDOW_SECONDS = 600.0
SERIES_SECONDS = 600.0
DEFAULT_PATIENCE_SECONDS = 60.0
"""How long a request waits inside where its policy does not set `router.timeoutSeconds`."""
PERIOD_SECONDS = {"hour": 3600.0, "day": 86400.0, "week": 7 * 86400.0, "month": 30.4 * 86400.0}


@dataclass(frozen=True, slots=True)
class Span:
    """Which stretch of the trace is run: simulated from `warm_seconds`, scored from `start_seconds` to the end."""

    day: int
    warm_seconds: float
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class Demand:
    """Everything that is asked in a span: the same for each policy."""

    span: Span
    seed: int
    step_seconds: float
    arrived: Arrived
    counts: Ints  # [route, step from warm_seconds on]
    history: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)


def span_of(stage: Stage, day: int, hours: float | None = None) -> Span:
    """The part of a day that the trace has. Raises `ValueError` where it has nothing of it.

    Where the trace begins on that day, the warm-up takes the first part of it: nobody should be scored on a start from
    nothing.
    """
    trace, warm_up = stage.trace, stage.scenario.spec.demand.warm_up_seconds
    start = max(day * DAY_SECONDS, trace.start_seconds + warm_up)
    end = min((day + 1) * DAY_SECONDS, trace.end_seconds)
    if end <= start:
        days = trace.days()
        minutes = (trace.end_seconds - trace.start_seconds) / 60.0
        raise ValueError(
            f"the demand file has nothing of day {day} after a warm-up of {warm_up:.0f} s (it has days {days[0]} to "
            f"{days[-1]}, {minutes:.0f} minutes in all). Choose another day, or lower demand.warmUpSeconds"
        )
    if hours is not None:
        end = min(end, start + hours * 3600.0)
    return Span(day, start - warm_up, start, end)


def draw(stage: Stage, span: Span, seed: int, step_seconds: float) -> Demand:
    """Draws what is asked, from before the warm-up (the first rates need it) to after the end (the told future)."""
    settings, world = stage.settings.prometheus, stage.world
    before = settings.peak_window_seconds + 2 * settings.rate_window_seconds
    startup = max((pool.startup_seconds for pool in world.local), default=0.0)
    lead, tail = steps_of(before, step_seconds), steps_of(startup + 2 * settings.rate_window_seconds, step_seconds)
    steps = steps_of(span.end_seconds - span.warm_seconds, step_seconds)
    first = span.warm_seconds - lead * step_seconds
    moments: Floats = first + step_seconds * np.arange(lead + steps + tail, dtype=np.float64)
    factor = perturb.times_as_much(stage.scenario.spec.perturbations, moments - span.start_seconds)
    counts = np.array(
        [
            step_counts(asked, stage.trace, route.key, seed, first, len(moments), step_seconds, factor)
            for route, asked in zip(world.routes, stage.asked, strict=True)
        ]
    )
    since = span.warm_seconds - stage.scenario.spec.demand.history_days * DAY_SECONDS
    known = {
        route.key: history(asked, stage.trace, route.key, seed, since, span.warm_seconds)
        for route, asked in zip(world.routes, stage.asked, strict=True)
    }
    arrived = Arrived.of(first, step_seconds, counts)
    return Demand(span, seed, step_seconds, arrived, counts[:, lead : lead + steps], known)


def epochs(stage: Stage, demand: Demand, window_seconds: float = BOUND_WINDOW_SECONDS) -> tuple[Epoch, ...]:
    """What the hindsight bound is told: truth and arrivals of the scored time, split where the truth changes."""
    span, changes = demand.span, stage.scenario.spec.perturbations
    edges = [span.start_seconds, span.end_seconds]
    edges += [span.start_seconds + moment for moment in perturb.breaks(changes)]
    edges = sorted({one for one in edges if span.start_seconds <= one <= span.end_seconds})
    found = []
    for start, end in pairwise(edges):
        cuts = np.append(np.arange(start, end - 1e-6, window_seconds), end)
        rates = np.array([demand.arrived.rate(a, b) for a, b in pairwise(cuts)]).T
        world = perturb.world_at(stage.world, changes, start - span.start_seconds)
        found.append(Epoch(start - span.start_seconds, world, Windows(np.diff(cuts), rates)))
    return tuple(found)


class Replay:
    """One run."""

    def __init__(
        self, stage: Stage, demand: Demand, policy: Policy, tick_seconds: float, *, told_the_future: bool = False
    ):
        self.stage, self.demand, self.policy = stage, demand, policy
        self.tick_steps = steps_of(tick_seconds, demand.step_seconds)
        self.random = np.random.default_rng([demand.seed, demand.span.day, 7])
        self.changes = stage.scenario.spec.perturbations
        self.breaks = list(perturb.breaks(self.changes))
        self.world = perturb.world_at(stage.world, self.changes, demand.span.warm_seconds - demand.span.start_seconds)
        self.fleet = Fleet.with_minimum(self.world)
        self.engine = Engine(Speeds.of(self.world), demand.step_seconds, _patience(stage), self.random)
        self.hosted = HostedApis(self.world, stage.asked, demand.step_seconds, self.random)
        self.gateway = Gateway(self.world, stage.policies, stage.pools, self.random)
        self.observer = Observer(stage, demand.arrived, demand.step_seconds, oracle=told_the_future)
        keys = [pool.key for pool in self.world.local] + [pool.key for pool in self.world.hosted]
        routes = [route.key for route in self.world.routes]
        self.forbidden = forbidden_pairs(stage.policies, stage.pools, routes, keys)
        self.books = Books.empty(len(routes), len(self.world.local))
        self.reasons = HostedReasons.of(self.world)
        self._idle_power_usd = 0.0
        self.previous: dict[str, int] | None = None
        self._last_move: list[tuple[int, float]] = [(0, -1e18)] * len(self.world.local)
        self._sent = np.zeros(self.forbidden.shape)  # lately, by (route, pool): what the caches' shares follow from
        self._series: dict[str, list[Any]] = {"seconds": [], "requestsPerSecond": [], "usdPerHour": [], "replicas": []}
        self._series_at = (-1e18, 0, 0.0)
        self._power_rates()

    def run(self, progress: Callable[[float], None] | None = None, bound: Bound | None = None) -> Score:
        """Runs to the end. `progress` is told the simulated seconds of each tick."""
        span, dt = self.demand.span, self.demand.step_seconds
        self.policy.observe_history(self.demand.history)
        for step in range(self.demand.counts.shape[1]):
            now = span.warm_seconds + step * dt
            self._perturb(now - span.start_seconds)
            self.fleet.advance(now)
            if step % self.tick_steps == 0:
                self._tick(now)
                if progress is not None:
                    progress(self.tick_steps * dt)
            self._step(step, scored=now >= span.start_seconds - 1e-6)
        self.books.still_waiting = self.engine.waiting_now().sum(axis=1)
        return self._score(bound)

    def _perturb(self, seconds: float) -> None:
        if not self.breaks or seconds < self.breaks[0]:
            return
        while self.breaks and seconds >= self.breaks[0]:
            self.breaks.pop(0)
        before, self.world = self.world, perturb.world_at(self.stage.world, self.changes, seconds)
        serving = np.maximum(self.fleet.serving, 1)
        broken = self.fleet.change(self.world, self.random)
        if before.local != self.world.local:
            self.engine.speeds = Speeds.of(self.world)
        self.hosted.change(self.world)
        if broken.any():
            lost = self.engine.remove(broken / serving)
            if seconds >= 0:
                self._break(lost.sum(axis=1))

    def _break(self, lost: Ints) -> None:
        """Answers that were cut short: they were booked as answered when they began."""
        lost = np.minimum(lost, self.books.inside)
        self.books.inside -= lost
        self.books.blocked += lost
        self.books.within = np.minimum(self.books.within, self.books.inside + self.books.hosted)

    def _tick(self, now: float) -> None:
        shares = self._sent / np.maximum(self._sent.sum(axis=1, keepdims=True), 1.0)
        self._sent *= 0.5
        hosted_shares = shares[:, len(self.world.local) :]
        self.hosted.share_traffic(hosted_shares)
        cached = (self.hosted.cached_ratio * hosted_shares).sum(axis=1)
        stale = perturb.stale_since(self.changes, now - self.demand.span.start_seconds)
        since = None if stale is None else stale + self.demand.span.start_seconds
        view = self.observer.view(now, self.world, self.fleet, self.previous, cached, since)
        began = time.perf_counter()
        orders = self.policy.decide(view)
        took = time.perf_counter() - began
        scored = now >= self.demand.span.start_seconds - 1e-6
        if scored:
            self.books.decision_seconds.append(took)
        serving = {pool.key: int(self.fleet.serving[i]) for i, pool in enumerate(self.world.local)}
        self._order(orders, now, scored=scored)
        self.gateway.plan(orders.routes, serving, orders.max_concurrency)

    def _order(self, orders: Orders, now: float, *, scored: bool) -> None:
        pools = self.world.local
        wanted = [
            min(max(int(orders.replicas.get(pool.key, self.fleet.wanted[i])), 0), pool.maximum)
            for i, pool in enumerate(pools)
        ]
        for index, count in enumerate(wanted):
            change = count - int(self.fleet.wanted[index])
            if not change:
                continue
            direction, at = (1 if change > 0 else -1), self._last_move[index]
            if scored:
                self.books.moves += abs(change)
                self.books.flips[index] += at[0] == -direction and now - at[1] <= FLIP_SECONDS
            self._last_move[index] = (direction, now)
        before = np.maximum(self.fleet.serving, 1)
        gone = self.fleet.order(wanted, now)
        if gone.any():
            self.engine.remove(gone / before)
        self.fleet.advance(now)
        self.previous = {pool.key: count for pool, count in zip(pools, wanted, strict=True)}

    def _step(self, step: int, *, scored: bool) -> None:
        arrivals = self.demand.counts[:, step]
        gave_up = self.engine.age().sum(axis=1)
        self.hosted.begin()
        routed = self.gateway.route(arrivals, self.engine, self.hosted, self.fleet.serving)
        stepped = self.engine.step(routed.local, self.fleet.serving)
        self.hosted.step(routed.hosted)
        self.observer.note(stepped, self.engine.waiting_by_pool(), self.fleet.serving)
        sent = np.hstack((stepped.admitted, routed.hosted))
        self._sent += sent
        if not scored:
            return
        books, hours = self.books, self.demand.step_seconds / 3600.0
        answered_outside = routed.hosted.sum(axis=1)
        books.seconds += self.demand.step_seconds
        books.requests += arrivals
        books.inside += stepped.admitted.sum(axis=1)
        books.hosted += answered_outside
        books.within += stepped.within.sum(axis=1) + answered_outside
        books.blocked += routed.refused + gave_up
        bought = (routed.hosted * self.hosted.usd_each).sum(axis=1)
        books.hosted_usd += bought
        self.reasons.note(bought, stepped, self.engine, self.fleet)
        idle = self.fleet.existing() * self._idle_usd * hours
        books.power_usd += idle + stepped.load * self._busy_usd * hours
        self._idle_power_usd += float(idle.sum())
        books.violations += int(sent[self.forbidden].sum())
        self._note_series(step)

    def _power_rates(self) -> None:
        self._idle_usd: Floats = np.array([pool.idle_usd_per_replica_hour for pool in self.world.local])
        self._busy_usd: Floats = np.array([pool.busy_extra_usd_per_replica_hour for pool in self.world.local])

    def _note_series(self, step: int) -> None:
        """One point every ten minutes, for charts."""
        books, (at, requests, usd) = self.books, self._series_at
        if at < -1e17:
            self._series_at = (0.0, 0, 0.0)
            return
        if books.seconds - at < SERIES_SECONDS:
            return
        hours = (books.seconds - at) / 3600.0
        now_requests, now_usd = int(books.requests.sum()), float(books.hosted_usd.sum() + books.power_usd.sum())
        self._series["seconds"].append(round(books.seconds))
        self._series["requestsPerSecond"].append(round((now_requests - requests) / hours / 3600.0, 3))
        self._series["usdPerHour"].append(round((now_usd - usd) / hours, 4))
        self._series["replicas"].append([int(one) for one in self.fleet.serving])
        self._series_at = (books.seconds, now_requests, now_usd)

    def _score(self, bound: Bound | None) -> Score:
        books, world = self.books, self.world
        rates = np.array([_pass_rate(route.pass_rates) for route in world.routes])
        solved = float(((books.inside + books.hosted) * rates).sum())
        series = {**self._series, "pools": [pool.key for pool in world.local]}
        span = self.demand.span
        seed = self.demand.seed
        found = score(books, world, self.policy.name, span.day, seed, solved, self._overrun(), bound, series)
        power = {"idle power": self._idle_power_usd, "busy power": found.power_usd - self._idle_power_usd}
        penalties = {"late answers": found.missed_usd, "blocked": found.blocked_usd}
        return replace(found, parts_usd={**power, **self.reasons.parts(), **penalties})

    def _overrun(self) -> float:
        """Dollars of hosted answers above the policies' budgets, paced over their periods."""
        over = 0.0
        for key, policy in self.stage.policies.items():
            if policy.budget is None:
                continue
            rows = [row for row, route in enumerate(self.world.routes) if route.policy == key]
            allowed = float(policy.budget.usd) * self.books.seconds / PERIOD_SECONDS[policy.budget.period]
            over += max(0.0, float(self.books.hosted_usd[rows].sum()) - allowed)
        return over


def _pass_rate(rates: Mapping[str, float]) -> float:
    return sum(rates.values()) / len(rates) if rates else 1.0


def _patience(stage: Stage) -> Floats:
    found = []
    for route in stage.world.routes:
        router = stage.policies[route.policy].router
        told = "timeout_seconds" in router.model_fields_set
        found.append(float(router.timeout_seconds) if told else DEFAULT_PATIENCE_SECONDS)
    return np.array(found)
