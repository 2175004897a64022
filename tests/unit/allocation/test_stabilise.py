"""How long fewer replicas must suffice before any goes: minutes where GPUs idle, one where another pool waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from comptroller.allocation.snapshot import Rules, Sample, Snapshot
from comptroller.api.conditions import Reason
from tests.unit.allocation.build import hosted, local, planned_state, route, snapshot

RULES = Rules(scale_down_delay_seconds=300.0, transfer_delay_seconds=60.0)


def moving(gpus: float, rules: Rules = RULES) -> Snapshot:
    """Two replicas of `a` idle since now; `b` needs two."""
    return snapshot(
        local("a", serving=2, previous=2), local("b"), hosted(), route("old", "a", "api", rps=0.5),
        route("new", "b", "api", rps=14), gpus=gpus, rules=rules,
    )  # fmt: skip


def counts(decision: Decision) -> tuple[int, ...]:
    return tuple(target.replicas for target in decision.pools.values())


def after(world: Snapshot, seconds: float) -> Decision:
    """The decision that many seconds after one that began to wait."""
    return decide(planned_state(world, decide(world), ready=True, after_seconds=seconds))


def test_where_another_pool_waits_for_the_gpus_the_shorter_delay_counts() -> None:
    world = moving(gpus=3)
    assert counts(decide(world)) == (2, 1)
    assert counts(after(world, 59)) == (2, 1)
    assert counts(after(world, 60)) == (1, 2)


def test_where_gpus_idle_the_longer_one_counts() -> None:
    world = moving(gpus=4)
    assert counts(decide(world)) == (2, 2)
    assert counts(after(world, 299)) == (2, 2)
    assert counts(after(world, 300)) == (1, 2)


def test_a_transfer_delay_that_is_longer_than_the_other_one_prolongs_nothing() -> None:
    world = moving(gpus=3, rules=replace(RULES, transfer_delay_seconds=900.0))
    assert counts(after(world, 299)) == (2, 1)
    assert counts(after(world, 300)) == (1, 2)


def test_gpus_of_another_class_or_site_are_waited_for_by_nobody() -> None:
    world = moving(gpus=3)
    first, second = world.local_pools
    apart = replace(
        world,
        local_pools=(first, replace(second, site="annex")),
        gpus={("h100", ""): Sample(2.0), ("h100", "annex"): Sample(1.0)},
    )
    assert counts(decide(apart)) == (2, 1)
    assert counts(after(apart, 60)) == (2, 1)
    assert counts(after(apart, 300)) == (1, 1)


def test_what_waits_says_so_and_what_it_waits_for_too() -> None:
    targets = decide(moving(gpus=3)).pools
    assert targets["ai/a"].reason is Reason.STABILISING
    assert targets["ai/b"].reason is Reason.CAPACITY_SHORT


@pytest.mark.parametrize("seconds", [60, 300, 3600])
def test_a_need_that_comes_and_goes_moves_nothing(seconds: float) -> None:
    """Every second tick `a` needs both of its replicas again: the delay begins anew each time."""
    world = moving(gpus=3)
    busy = replace(world, routes=(route("old", "a", "api", rps=15), world.routes[1]))
    for one in (world, busy, world, busy):
        now = replace(world, routes=one.routes, local_pools=world.local_pools, memory=world.memory)
        decision = decide(now)
        assert decision.pools["ai/a"].replicas == 2
        world = planned_state(now, decision, ready=True, after_seconds=seconds)


def test_the_delay_counts_from_when_fewer_began_to_suffice_not_from_when_somebody_began_to_wait() -> None:
    """Idle for 100 s without anybody waiting; then `b` needs the GPU, which is `a`'s no longer than that."""
    quiet = replace(moving(gpus=3), routes=(route("old", "a", "api", rps=0.5), route("new", "b", "api", rps=5)))
    then = planned_state(quiet, decide(quiet), ready=True, after_seconds=100)
    assert counts(decide(then)) == (2, 1)
    wanted = replace(then, routes=moving(gpus=3).routes)
    assert counts(decide(wanted)) == (1, 2)
