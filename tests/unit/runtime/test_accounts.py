"""The operator's own counters of money: power, rent and purchase of each pool's replicas, round by round."""

from __future__ import annotations

import pytest

from tests.unit.kube import build
from tests.unit.runtime.test_ledger import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def counted(world: World, pool: str = "big", basis: str = "marginal") -> float | None:
    return world.metric("pool_usd_total", namespace="ai", pool=pool, basis=basis)


async def test_a_counter_begins_at_zero_so_that_its_first_dollar_is_an_increase(world: World) -> None:
    await world.at(0, 1.0)
    assert counted(world) == 0.0


async def test_running_replicas_cost_their_power_and_on_the_other_basis_their_purchase_too(world: World) -> None:
    world.api.put(build.engine_pod("a"))
    world.api.put(build.engine_pod("b"))
    for seconds in range(0, 3601, 60):
        await world.at(seconds, 1.0)
    picture = world.state.picture
    assert picture is not None
    pool = next(one for one in picture.snapshot.local_pools if one.key == "ai/big")
    marginal, allocation = counted(world), counted(world, basis="allocation")
    assert marginal is not None
    assert allocation is not None
    assert pool.existing == 2
    assert marginal >= pool.idle_usd_per_replica_hour * 2 > 0.0
    assert allocation > marginal
    hours = world.metric("pool_gpu_hours_total", namespace="ai", pool="big", gpu_class=pool.gpu_class)
    assert hours == pytest.approx(pool.gpus_per_replica * pool.existing)


async def test_of_a_long_silence_nothing_is_counted_and_that_is_told(world: World) -> None:
    await world.at(0, 1.0)
    await world.at(7200, 1.0)
    assert counted(world) == 0.0
    assert world.metric("accounts_unknown_seconds_total") == 7200.0
