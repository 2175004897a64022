"""A tiny fleet over minutes, decided every three seconds with noisy measurements: no flapping, no lost requests."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field, replace

import pytest

from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from comptroller.allocation.snapshot import LocalPool, Memory, Route, Rules, Sample, StartingReplica
from tests.unit.allocation.build import hosted, local, route, snapshot

TICK_SECONDS = 3
STARTUP_SECONDS = 20
RULES = Rules(scale_down_delay_seconds=60.0, horizon_seconds=120.0)


@dataclass
class World:
    """Replicas that take 20 s to start, and rates measured with the noise of a 60 s window of Poisson arrivals."""

    pools: dict[str, LocalPool]
    apis: tuple[object, ...]
    seed: int = 1
    now: int = 1000
    memory: Memory = field(default_factory=Memory)
    starting: dict[str, list[int]] = field(default_factory=dict)
    history: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.noise = random.Random(self.seed)

    def run(self, seconds: int, *routes: Route) -> Decision:
        for _ in range(0, seconds, TICK_SECONDS):
            self.step(routes)
        return self.history[-1]

    def step(self, routes: tuple[Route, ...]) -> None:
        for key, pool in self.pools.items():
            ready = [at for at in self.starting.get(key, []) if at <= self.now]
            self.starting[key] = [at for at in self.starting.get(key, []) if at > self.now]
            left = tuple(StartingReplica(float(at - self.now)) for at in self.starting[key])
            self.pools[key] = replace(pool, serving=pool.serving + len(ready), starting=left)
        decision = decide(
            snapshot(
                *self.pools.values(), *self.apis, *(self.measured(one) for one in routes),
                at_seconds=float(self.now), rules=RULES, memory=self.memory, gpus=10,
            )
        )  # fmt: skip
        for key, target in decision.pools.items():
            pool = self.pools[key]
            more = target.replicas - pool.existing
            self.starting.setdefault(key, []).extend([self.now + STARTUP_SECONDS] * max(0, more))
            cancelled = min(max(0, -more), len(self.starting[key]))
            self.starting[key] = self.starting[key][: len(self.starting[key]) - cancelled]
            gone = max(0, -more) - cancelled
            left = tuple(StartingReplica(float(at - self.now)) for at in self.starting[key])
            self.pools[key] = replace(pool, serving=pool.serving - gone, previous=target.replicas, starting=left)
        self.memory = decision.memory
        self.history.append(decision)
        self.now += TICK_SECONDS

    def measured(self, one: Route) -> Route:
        rate = one.demand.requests_per_second
        assert isinstance(rate, Sample)
        seen = max(0.0, self.noise.gauss(rate.value, (rate.value / 60.0) ** 0.5))
        return replace(one, demand=replace(one.demand, requests_per_second=Sample(seen)))

    def moves(self, key: str) -> int:
        counts = [one.pools[key].replicas for one in self.history]
        return sum(a != b for a, b in itertools.pairwise(counts))


def slow(name: str, maximum: int) -> LocalPool:
    """1.29 requests/s per replica."""
    pool = local(name, minimum=1, maximum=maximum, serving=1, previous=1, startup_seconds=20.0)
    return replace(pool, profile=replace(pool.profile, max_concurrency=4))


@pytest.mark.parametrize("seed", range(3))
def test_a_day_in_four_minutes(seed: int) -> None:
    world = World({"ai/big": slow("big", 8), "ai/small": slow("small", 4)}, (hosted(),), seed)

    def routes(chat: float, secret: float) -> tuple[Route, ...]:
        return (
            route("chat", "big", "small", "api", rps=chat),
            route("secret", "small", rps=secret, perimeters=("onPremises",)),
        )

    quiet = world.run(60, *routes(1.0, 0.3))
    assert quiet.hosted["ai/api"].requests_per_second == pytest.approx(0.0, abs=0.05)
    world.history.clear()
    world.run(6, *routes(10.0, 0.5))
    assert world.history[0].hosted["ai/api"].requests_per_second > 5.0
    assert world.history[0].pools["ai/big"].replicas == 8
    busy = world.run(60, *routes(10.0, 0.5))
    assert busy.hosted["ai/api"].requests_per_second == pytest.approx(0.0, abs=0.1)
    assert world.moves("ai/big") <= 1
    assert world.moves("ai/small") <= 2
    world.history.clear()
    early = world.run(54, *routes(1.0, 0.3))
    assert early.pools["ai/big"].replicas == 8
    late = world.run(90, *routes(1.0, 0.3))
    assert late.pools["ai/big"].replicas + late.pools["ai/small"].replicas <= 3
    assert world.moves("ai/big") + world.moves("ai/small") <= 4
    for decision in world.history:
        assert set(decision.routes["ai/policy/secret"].shares) <= {"ai/small"}
        assert all(plan.shed_ratio < 0.01 for plan in decision.routes.values())


@pytest.mark.parametrize("seed", range(3))
def test_a_steady_load_at_the_edge_of_a_replica_moves_nothing(seed: int) -> None:
    world = World({"ai/big": slow("big", 8)}, (hosted(),), seed)
    world.run(90, route("chat", "big", "api", rps=4.8))
    world.history.clear()
    world.run(300, route("chat", "big", "api", rps=4.8))
    assert world.moves("ai/big") <= 1
