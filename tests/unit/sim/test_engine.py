"""The engines against closed forms, and nobody is lost."""

from __future__ import annotations

import numpy as np
import pytest

from comptroller.allocation.capacity import replica_capacity
from comptroller.allocation.snapshot import Profile
from comptroller.sim.engine import Engine, Speeds
from comptroller.sim.fluid import fluid_limit
from tests.unit.sim.arena_build import H100, one_pool_world

FLAT = Profile(alpha_ms=20.0, beta_ms=0.0, gamma_ms=0.0, max_concurrency=4096)
"""Iterations of 20 ms however full it is: 250 tokens take 5 s, so the pool is M/M/infinity."""


class Watched:
    """An engine that is asked at a steady Poisson rate for a while, and what was seen of it."""

    def __init__(self, profile: Profile, rate: float, replicas: int = 1, step_seconds: float = 5.0, steps: int = 2000,
                 objective_ms: tuple[float, float] = (800.0, 30.0)) -> None:  # fmt: skip
        random = np.random.default_rng(3)
        world = one_pool_world(profile, objective_ms=objective_ms)
        self.engine = Engine(Speeds.of(world), step_seconds, np.array([60.0]), random)
        serving = np.array([replicas])
        self.asked = self.admitted = self.within = self.completed = self.gave_up = 0
        flight, ended = [], []
        for step in range(steps):
            self.gave_up += int(self.engine.age().sum())
            arrivals = np.array([[int(random.poisson(rate * step_seconds))]])
            stepped = self.engine.step(arrivals, serving)
            self.asked += int(arrivals.sum())
            self.admitted += int(stepped.admitted.sum())
            self.within += int(stepped.within.sum())
            self.completed += int(stepped.completed.sum())
            if step > 50:
                flight.append(float(stepped.mean_in_flight.sum()))
                ended.append(int(self.engine.in_flight.sum()))
        self.mean_in_flight, self.variance = float(np.mean(flight)), float(np.var(ended))

    @property
    def attainment(self) -> float:
        return self.within / self.admitted


@pytest.mark.parametrize("step_seconds", [0.5, 5.0, 30.0])
def test_never_full_it_holds_rate_times_service_time_whatever_the_step(step_seconds: float) -> None:
    seen = Watched(FLAT, rate=8.0, step_seconds=step_seconds, steps=4000)
    assert seen.mean_in_flight == pytest.approx(8.0 * 5.0, rel=0.03)
    assert seen.variance == pytest.approx(8.0 * 5.0, rel=0.15)  # Poisson, as M/M/infinity


def test_the_iteration_time_follows_the_batch() -> None:
    seen = Watched(H100, rate=4.0)
    batch = seen.mean_in_flight
    expected = H100.alpha_ms + (0.04 * 1250 / 251 + 0.00016 * 1125) * batch
    assert batch == pytest.approx(4.0 * (250 * expected + 40.16) / 1000, rel=0.03)  # Little's law


@pytest.mark.parametrize("objective_ms", [(800.0, 30.0), (3000.0, 30.0)])
@pytest.mark.parametrize("step_seconds", [2.0, 5.0])
def test_what_it_keeps_within_the_objective_agrees_with_the_capacity_of_the_decision(
    objective_ms: tuple[float, float], step_seconds: float
) -> None:
    capacity = replica_capacity(H100, 1000, 250, *objective_ms, 0.95).requests_per_second
    limit = fluid_limit(H100, 1000, 250, *objective_ms).requests_per_second
    steps = round(6_000 / step_seconds)
    less = Watched(H100, 0.93 * capacity, step_seconds=step_seconds, objective_ms=objective_ms, steps=steps)
    more = Watched(H100, 1.04 * limit, step_seconds=step_seconds, objective_ms=objective_ms, steps=steps)
    assert less.attainment > 0.95
    assert more.attainment < 0.6


def test_an_overfull_replica_answers_at_its_full_rate_and_nobody_is_lost() -> None:
    seen = Watched(H100, rate=20.0, steps=1000)
    assert seen.completed / 5000 == pytest.approx(8.55, rel=0.03)
    assert seen.gave_up > 0
    waiting = int(seen.engine.waiting_now().sum())
    assert seen.asked == seen.admitted + seen.gave_up + waiting
    assert seen.admitted == seen.completed + int(seen.engine.in_flight.sum())
    assert int(seen.engine.in_flight.sum()) <= 64 + 4 * 8


def test_a_wait_is_as_long_as_the_queue_and_not_as_a_step() -> None:
    engine = Engine(Speeds.of(one_pool_world(H100)), 5.0, np.array([60.0]), np.random.default_rng(0))
    serving = np.array([1])
    waits_short = 0
    for _ in range(200):  # 64 in flight and about 6 waiting: a wait of 0.7 s, less than the 0.8 s of the objective
        engine.age()
        room = 64 + 6 - int(engine.expected(serving)[0].sum())
        stepped = engine.step(np.array([[max(0, room)]]), serving)
        waits_short += int(stepped.within.sum()) > 0.5 * int(stepped.admitted.sum())
    assert waits_short > 150


def test_a_pool_without_replicas_lets_wait_and_gives_up_after_the_timeout() -> None:
    engine = Engine(Speeds.of(one_pool_world(H100)), 5.0, np.array([60.0]), np.random.default_rng(0))
    engine.age()
    engine.queue(0, 0, 7)
    gone = []
    for _ in range(14):
        engine.step(np.zeros((1, 1), dtype=np.int64), np.array([0]))
        gone.append(int(engine.age().sum()))
    assert gone[:11] == [0] * 11
    assert sum(gone) == 7
    assert not engine.waiting_now().any()


def test_leaving_replicas_take_their_part_of_the_requests() -> None:
    seen = Watched(FLAT, rate=40.0, replicas=4, steps=60)
    before = int(seen.engine.in_flight.sum())
    gone = int(seen.engine.remove(np.array([0.25])).sum())
    assert int(seen.engine.in_flight.sum()) == before - gone
    assert gone == pytest.approx(before / 4, rel=0.3)
