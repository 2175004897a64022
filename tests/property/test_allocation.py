"""What holds for every decision, whatever was measured."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from comptroller.allocation.measured import known
from comptroller.allocation.snapshot import Memory, Outlook, Rules, Sample, Snapshot
from tests.property.profiles import cases
from tests.property.worlds import last_target, odd_numbers, permitted, pinned, rates, unknown, worlds
from tests.unit.allocation.build import hosted, local, planned_state, route, snapshot

few, fewer = cases(240), cases(160)


@few
@given(worlds())
def test_replicas_stay_within_their_bounds_and_the_gpus_that_exist(world: Snapshot) -> None:
    decision = decide(world)
    for pool in world.local_pools:
        if not pinned(pool):
            assert pool.minimum <= decision.pools[pool.key].replicas <= pool.maximum
            steps_up = decision.pools[pool.key].replicas - max(last_target(pool), pool.minimum)
            assert steps_up <= world.rules.maximum_step_up
    for group, found in world.gpus.items():
        members = [pool for pool in world.local_pools if (pool.gpu_class, pool.site) == group]
        held = sum(pool.gpus_per_replica * decision.pools[pool.key].replicas for pool in members)
        obliged = sum(
            pool.gpus_per_replica * (decision.pools[pool.key].replicas if pinned(pool) else pool.minimum)
            for pool in members
        )
        count = known(found)
        if count is not None:
            assert held <= max(count, obliged)
        else:
            for pool in members:
                most = max(pool.existing, pool.previous or 0, pool.minimum)
                assert pinned(pool) or not pool.gpus_per_replica or decision.pools[pool.key].replicas <= most


@few
@given(worlds())
def test_no_request_ever_goes_where_it_may_not(world: Snapshot) -> None:
    decision = decide(world)
    pools = {pool.key: pool for pool in (*world.local_pools, *world.hosted_pools)}
    for one in world.routes:
        plan = decision.routes[one.key]
        for key in (*plan.shares, *plan.spill_order):
            assert key in pools
            assert key in {rule.pool for rule in one.backends}
            assert permitted(one, pools[key])


@few
@given(worlds())
def test_shares_sum_to_one_less_what_is_shed_and_everything_has_a_reason(world: Snapshot) -> None:
    decision = decide(world)
    for plan in decision.routes.values():
        assert all(0.0 <= share <= 1.0 for share in plan.shares.values())
        assert math.isclose(sum(plan.shares.values()) + plan.shed_ratio, 1.0, abs_tol=1e-6)
        assert 0.0 <= plan.pass_rate <= 1.0
        assert math.isfinite(plan.usd_per_request)
    for said in (*decision.pools.values(), *decision.hosted.values(), *decision.routes.values()):
        assert said.reason
        assert said.message.endswith(".")
        assert not re.search(r"\b(nan|inf)\b", said.message)
    for use in decision.hosted.values():
        pool = next(one for one in world.hosted_pools if one.key == use.pool)
        assert use.requests_per_second == 0.0 or (pool.available and not pool.paused)
    assert math.isfinite(decision.usd_per_hour)
    assert all(math.isfinite(price) and price >= 0 for price in decision.shadow_prices_usd_per_gpu_hour.values())


def essence(decision: Decision) -> object:
    return replace(decision, solve_seconds=0.0)


def shuffled(outlook: Outlook, shuffle: random.Random) -> Outlook:
    order = shuffle.sample(range(len(outlook.probabilities)), len(outlook.probabilities))
    rows = shuffle.sample(list(outlook.requests_per_second.items()), len(outlook.requests_per_second))
    return Outlook(
        tuple(outlook.probabilities[one] for one in order), {key: tuple(row[one] for one in order) for key, row in rows}
    )


@fewer
@given(worlds(), st.integers(0, 100))
def test_equal_worlds_give_equal_decisions_in_whatever_order_they_are_listed(world: Snapshot, seed: int) -> None:
    shuffle = random.Random(seed)
    other = replace(
        world,
        local_pools=tuple(shuffle.sample(world.local_pools, len(world.local_pools))),
        hosted_pools=tuple(shuffle.sample(world.hosted_pools, len(world.hosted_pools))),
        routes=tuple(
            replace(one, backends=tuple(shuffle.sample(one.backends, len(one.backends))))
            for one in shuffle.sample(world.routes, len(world.routes))
        ),
        gpus=dict(shuffle.sample(list(world.gpus.items()), len(world.gpus))),
        budgets=tuple(
            replace(one, parts=dict(shuffle.sample(list(one.parts.items()), len(one.parts))))
            for one in shuffle.sample(world.budgets, len(world.budgets))
        ),
        outlook=shuffled(world.outlook, shuffle),
        gpus_per_node=dict(shuffle.sample(list(world.gpus_per_node.items()), len(world.gpus_per_node))),
    )
    assert essence(decide(world)) == essence(decide(other))


@fewer
@given(worlds(rates, Rules(maximum_step_up=100)))
def test_the_plan_of_the_planned_state_is_empty(world: Snapshot) -> None:
    first = decide(world)
    again = decide(planned_state(world, first))
    assert {k: p.replicas for k, p in again.pools.items()} == {k: p.replicas for k, p in first.pools.items()}


@fewer
@given(
    rate=st.floats(0, 80),
    more=st.floats(0, 40),
    idle=st.sampled_from([0.0, 0.03, 4.0, 40.0, 150.0, 190.0]),
    serving=st.integers(0, 5),
    spill=st.booleans(),
    gpus=st.integers(0, 10),
)
def test_more_demand_never_wants_fewer_replicas(
    rate: float, more: float, idle: float, serving: int, spill: bool, gpus: int
) -> None:
    def wanted(first: float, second: float) -> int:
        pool = local(idle_usd_per_replica_hour=idle, serving=serving)
        asked = (route("a", rps=first), route("b", rps=second, time_per_output_token_ms=15.0))
        rules = Rules(scale_down_delay_seconds=0.0)
        return decide(snapshot(pool, *([hosted()] if spill else []), *asked, gpus=gpus, rules=rules)).pools[
            "ai/own"
        ].replicas  # fmt: skip

    assert wanted(rate + more, 5.0) >= wanted(rate, 5.0)


@few
@given(worlds(st.one_of(unknown, odd_numbers)))
def test_not_knowing_the_demand_holds_everything(world: Snapshot) -> None:
    plenty = replace(world, gpus={key: Sample(10_000.0) for key in world.gpus})
    decision = decide(plenty)
    answers = {key for plan in decision.routes.values() for key in plan.spill_order}
    for pool in world.local_pools:
        if pool.key in answers and not pinned(pool) and world.routes:
            assert decision.pools[pool.key].replicas >= min(last_target(pool), pool.maximum)
    apis = {pool.key for pool in world.hosted_pools}
    for one in world.routes:
        if known(one.demand.requests_per_second) is None and one.key in world.memory.shares:
            for key, share in decision.routes[one.key].shares.items():
                if key in apis:
                    assert share <= world.memory.shares[one.key].get(key, 0.0) + 1e-9


@fewer
@given(worlds(), st.sampled_from([math.nan, math.inf, -1.0]))
def test_broken_numbers_anywhere_neither_raise_nor_leave_the_bounds(world: Snapshot, broken: float) -> None:
    odd = replace(
        world,
        local_pools=tuple(
            replace(
                pool,
                startup_seconds=broken,
                idle_usd_per_replica_hour=broken,
                busy_extra_usd_per_replica_hour=broken,
            )
            for pool in world.local_pools
        ),
        hosted_pools=tuple(
            replace(pool, mean_latency_seconds=broken, requests_per_minute=broken) for pool in world.hosted_pools
        ),
        routes=tuple(
            replace(one, usd_per_solved_task=broken, usd_per_second=broken, time_to_first_token_ms=broken)
            for one in world.routes
        ),
        memory=Memory(
            below_since_seconds={pool.key: (broken, 1) for pool in world.local_pools},
            shares={one.key: {rule.pool: broken for rule in one.backends} for one in world.routes},
            requests_per_second={one.key: broken for one in world.routes},
        ),
    )
    decision = decide(odd)
    for pool in world.local_pools:
        if not pinned(pool):
            assert pool.minimum <= decision.pools[pool.key].replicas <= pool.maximum
    for plan in decision.routes.values():
        assert math.isclose(sum(plan.shares.values()) + plan.shed_ratio, 1.0, abs_tol=1e-6)
