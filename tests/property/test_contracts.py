"""The contracts of the decision that need a story: a spike, a clock that jumps, numbers that cannot be true, a fleet
that grows. What holds for every single decision is in `test_allocation.py`."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from comptroller.allocation.measured import known
from comptroller.allocation.snapshot import (
    Budget,
    HostedPool,
    LocalPool,
    Memory,
    Outlook,
    Route,
    Rules,
    Sample,
    Snapshot,
    StartingReplica,
    Unknown,
)
from tests.property.profiles import cases
from tests.property.worlds import last_target, odd, permitted, pinned, rates, unknown, worlds
from tests.unit.allocation.build import hosted, local, planned_state, route, snapshot

THOUSANDFOLD = 1000.0
PLENTY = Sample(10_000.0)


def promises(world: Snapshot, decision: Decision) -> None:
    """What holds whatever was measured: bounds, steps, sums, permission, finite dollars."""
    pools = {pool.key: pool for pool in world.local_pools}
    everybody: dict[str, LocalPool | HostedPool] = {pool.key: pool for pool in world.hosted_pools}
    everybody.update(pools)
    for key, target in decision.pools.items():
        pool = pools[key]
        if not pinned(pool):
            assert pool.minimum <= target.replicas <= pool.maximum
            assert target.replicas <= max(last_target(pool) + world.rules.maximum_step_up, pool.minimum)
    for one in world.routes:
        plan = decision.routes[one.key]
        assert math.isclose(sum(plan.shares.values()) + plan.shed_ratio, 1.0, abs_tol=1e-6)
        assert all(permitted(one, everybody[key]) for key in (*plan.shares, *plan.spill_order))
    assert math.isfinite(decision.usd_per_hour)
    assert math.isfinite(decision.usd_per_hour_when_started)
    assert all(math.isfinite(usd) for usd in decision.memory.budget_usd_per_hour.values())


def times(world: Snapshot, factor: float) -> Snapshot:
    """The same world with every known rate that many times as high."""
    return replace(world, routes=tuple(multiplied(one, factor) for one in world.routes))


def multiplied(one: Route, factor: float) -> Route:
    rate = known(one.demand.requests_per_second)
    if rate is None:
        return one
    return replace(one, demand=replace(one.demand, requests_per_second=Sample(rate * factor)))


@cases(120)
@given(worlds(rates, Rules(maximum_step_up=3)))
def test_a_thousandfold_sample_moves_by_one_step_within_the_bounds_and_takes_nothing_away(world: Snapshot) -> None:
    """One sample, then the truth again: what it started goes after the delay, what there was before never went."""
    world = replace(world, gpus=dict.fromkeys(world.gpus, PLENTY))
    spike = decide(times(world, THOUSANDFOLD))
    promises(world, spike)
    then = planned_state(world, spike, ready=True, after_seconds=15)
    after = decide(then)
    promises(then, after)
    for pool in world.local_pools:
        if not pinned(pool):
            before = min(last_target(pool), pool.maximum)
            assert spike.pools[pool.key].replicas >= before
            assert after.pools[pool.key].replicas >= before


@cases(120)
@given(worlds(), st.one_of(odd, st.floats(-1e6, 1e6)), st.integers(0, 9), st.floats(-1e6, 1e6))
def test_a_clock_that_jumps_neither_raises_nor_leaves_the_bounds(
    world: Snapshot, since: float, most: int, jump: float
) -> None:
    memory = replace(world.memory, below_since_seconds={pool.key: (since, most) for pool in world.local_pools})
    first = replace(world, memory=memory)
    decision = decide(first)
    promises(first, decision)
    later = planned_state(world, decision, ready=True, after_seconds=jump)
    again = decide(later)
    promises(later, again)
    for key, (began, _) in again.memory.below_since_seconds.items():
        assert began <= later.at_seconds, key


@cases(80)
@given(worlds(rates), st.floats(-1e6, 0))
def test_a_clock_that_goes_back_scales_nothing_down(world: Snapshot, jump: float) -> None:
    world = replace(world, gpus=dict.fromkeys(world.gpus, PLENTY))
    first = decide(world)
    again = decide(planned_state(times(world, 0.1), first, ready=True, after_seconds=jump))
    for pool in world.local_pools:
        if not pinned(pool):
            assert again.pools[pool.key].replicas >= min(first.pools[pool.key].replicas, pool.maximum)


@cases(80)
@given(worlds())
def test_things_that_are_listed_twice_neither_raise_nor_leave_the_bounds(world: Snapshot) -> None:
    twice = replace(
        world,
        local_pools=world.local_pools * 2,
        hosted_pools=world.hosted_pools * 2,
        routes=tuple(replace(one, backends=one.backends * 2) for one in world.routes * 2),
        budgets=world.budgets * 2,
    )
    decision = decide(twice)
    promises(world, decision)
    once = decide(world)
    assert {k: one.replicas for k, one in decision.pools.items()} == {k: one.replicas for k, one in once.pools.items()}
    assert {k: one.shares for k, one in decision.routes.items()} == {k: one.shares for k, one in once.routes.items()}


@st.composite
def broken_worlds(draw: st.DrawFn) -> Snapshot:
    """A world with numbers that cannot be true in the fields that tell of the future, of budgets and of caches."""
    world = draw(worlds())
    perhaps = st.one_of(odd, st.floats(0, 100))
    count = draw(st.integers(0, 3))
    row = st.lists(perhaps, min_size=max(0, count - 1), max_size=count + 1).map(tuple)
    return replace(
        world,
        at_seconds=draw(st.sampled_from([0.0, -1e9, 1e12])),
        outlook=Outlook(
            tuple(draw(st.lists(perhaps, min_size=count, max_size=count))), {one.key: draw(row) for one in world.routes}
        ),
        budgets=tuple(
            Budget(
                draw(st.sampled_from(["a", "b"])),
                {one.key: draw(perhaps) for one in (*world.routes, route("unknown"))},
                draw(st.one_of(perhaps.map(Sample), unknown)),
                draw(perhaps),
                binding=draw(st.booleans()),
            )
            for _ in range(draw(st.integers(0, 3)))
        ),
        gpus_per_node={group: draw(perhaps) for group in (*world.gpus, ("nowhere", ""))},
        memory=replace(world.memory, budget_usd_per_hour={key: draw(perhaps) for key in ("a", "b", "c")}),
        routes=tuple(
            replace(
                one,
                judged_ratio=draw(perhaps),
                demand=replace(
                    one.demand, prefix_gap_seconds=draw(perhaps), cached_ratio=draw(perhaps), dispersion=draw(perhaps)
                ),
            )
            for one in world.routes
        ),
        hosted_pools=tuple(
            replace(
                pool, cache_ttl_seconds=draw(perhaps), cache_write_usd_per_million_tokens=draw(perhaps),
                tokens_per_minute=draw(perhaps),
            )
            for pool in world.hosted_pools
        ),
        local_pools=tuple(
            replace(
                pool,
                profile=replace(pool.profile, root_ms=draw(perhaps), confidence=draw(perhaps)),
                starting=tuple(StartingReplica(draw(perhaps)) for _ in pool.starting),
            )
            for pool in world.local_pools
        ),
    )  # fmt: skip


@cases(240)
@given(broken_worlds())
def test_numbers_that_cannot_be_true_neither_raise_nor_leave_the_bounds(world: Snapshot) -> None:
    decision = decide(world)
    promises(world, decision)
    assert decision.rung in ("milp", "hold")


@cases(120)
@given(worlds(rates))
def test_a_spent_budget_that_binds_keeps_its_routes_inside(world: Snapshot) -> None:
    spent = tuple(replace(one, remaining_usd=Sample(0.0), binding=True) for one in world.budgets)
    decision = decide(replace(world, budgets=spent))
    paid = {pool.key: pool for pool in world.hosted_pools if pool.output_usd_per_million_tokens > 0.0}
    for one in world.routes:
        if spent and known(one.demand.requests_per_second):
            assert not any(share > 1e-6 for key, share in decision.routes[one.key].shares.items() if key in paid)


@cases(120)
@given(worlds())
def test_no_more_is_spent_than_a_budget_permits(world: Snapshot) -> None:
    decision = decide(world)
    for budget in world.budgets:
        left = known(budget.remaining_usd)
        if budget.binding and left is not None:
            allowed = 1.25 * left / max(budget.seconds_to_reset / 3600.0, 60.0 / 3600.0)
            assert decision.memory.budget_usd_per_hour[budget.key] <= allowed * (1 + 1e-5) + 1e-5


@cases(120)
@given(worlds(), unknown)
def test_not_knowing_one_route_changes_nothing_for_what_it_alone_uses(world: Snapshot, lost: Unknown) -> None:
    """The demand of one route is lost: its shares stay, its pools do not shrink, and it does not begin to go out."""
    first = decide(world)
    blind = replace(world.routes[0], demand=replace(world.routes[0].demand, requests_per_second=lost))
    then = replace(planned_state(world, first, ready=True, after_seconds=900), routes=(blind, *world.routes[1:]))
    then = replace(then, gpus=dict.fromkeys(world.gpus, PLENTY))
    again = decide(then)
    for pool in world.local_pools:
        if pool.key in again.routes[blind.key].spill_order and not pinned(pool):
            assert again.pools[pool.key].replicas >= min(first.pools[pool.key].replicas, pool.maximum)
    apis = {pool.key for pool in world.hosted_pools}
    before = first.memory.shares.get(blind.key, {})
    for key, share in again.routes[blind.key].shares.items():
        assert key not in apis or not before or share <= before.get(key, 0.0) + 1e-9
    assert blind.key in again.unknowns


@cases(120)
@given(
    rate=st.floats(0, 80),
    more=st.floats(0, 40),
    idle=st.sampled_from([0.0, 0.03, 4.0, 40.0, 150.0, 190.0]),
    serving=st.integers(0, 5),
    spill=st.booleans(),
    gpus=st.integers(0, 10),
    ahead=st.lists(st.floats(0, 3), min_size=0, max_size=4),
    left=st.sampled_from([None, 0.0, 60.0, 1000.0]),
    nodes=st.booleans(),
)
def test_more_demand_never_wants_fewer_replicas_with_an_outlook_a_budget_and_nodes_either(
    rate: float,
    more: float,
    idle: float,
    serving: int,
    spill: bool,
    gpus: int,
    ahead: list[float],
    left: float | None,
    nodes: bool,
) -> None:
    """One pool; what may come is the present demand times some factors."""

    def wanted(first: float) -> int:
        apis: list[HostedPool] = [hosted()] if spill else []
        asked = (route("a", rps=first), route("b", rps=5.0, time_per_output_token_ms=15.0))
        made = snapshot(
            local(idle_usd_per_replica_hour=idle, serving=serving), *apis, *asked, gpus=gpus,
            rules=Rules(scale_down_delay_seconds=0.0, transfer_delay_seconds=0.0),
            outlook=Outlook(tuple(1 / len(ahead) for _ in ahead), {asked[0].key: tuple(first * one for one in ahead)}),
            budgets=() if left is None else (Budget("b", {one.key: 1.0 for one in asked}, Sample(left), 3600.0),),
            gpus_per_node={("h100", ""): 2.0} if nodes else {},
        )  # fmt: skip
        return decide(made).pools["ai/own"].replicas

    assert wanted(rate + more) >= wanted(rate)


@cases(120)
@given(worlds())
def test_silence_is_not_zero(world: Snapshot) -> None:
    """Everything that was measured is lost at once: no pool shrinks, however long it lasts."""
    world = replace(world, gpus=dict.fromkeys(world.gpus, PLENTY))
    first = decide(world)
    lost = tuple(replace(one, demand=replace(one.demand, requests_per_second=Unknown("lost"))) for one in world.routes)
    now = first
    for _ in range(3):
        world = replace(planned_state(world, now, ready=True, after_seconds=1000), routes=lost)
        now = decide(world)
        for pool in world.local_pools:
            used = any(pool.key in plan.spill_order for plan in now.routes.values())
            if used and not pinned(pool):
                assert now.pools[pool.key].replicas >= first.pools[pool.key].replicas


def test_memory_that_comes_back_from_a_status_decides_the_same() -> None:
    world = snapshot(local(serving=1, previous=1), hosted(), route(rps=17))
    first = decide(world)
    copy = Memory(
        dict(first.memory.below_since_seconds), {key: dict(one) for key, one in first.memory.shares.items()},
        dict(first.memory.requests_per_second), dict(first.memory.budget_usd_per_hour),
        dict(first.memory.turns), first.memory.at_seconds,
    )  # fmt: skip
    state = planned_state(world, first)
    assert replace(decide(replace(state, memory=copy)), solve_seconds=0.0) == replace(decide(state), solve_seconds=0.0)
