"""What holds for every decision, whatever was measured."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from comptroller.allocation.measured import known
from comptroller.allocation.snapshot import (
    BackendRule,
    HostedPool,
    LocalPool,
    Measurement,
    Memory,
    Profile,
    Route,
    Rules,
    Sample,
    Snapshot,
    Unknown,
)
from tests.unit.allocation.build import demand, hosted, local, planned_state, route, snapshot

few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
fewer = settings(few, max_examples=40)

PERIMETERS = ("onPremises", "privateCloud", "external")
JURISDICTIONS = ("EU", "US")

rates = st.floats(0, 60).map(lambda value: Sample(round(value, 2)))
odd_numbers = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 1e300, -0.0]).map(Sample)
unknown = st.just(Unknown("stale"))
measurements: st.SearchStrategy[Measurement] = st.one_of(rates, rates, rates, unknown, odd_numbers)


@st.composite
def local_pools(draw: st.DrawFn, name: str) -> LocalPool:
    minimum = draw(st.integers(0, 2))
    return local(
        name,
        gpu_class=draw(st.sampled_from(["h100", "rtx4090"])),
        gpus_per_replica=draw(st.sampled_from([0, 1, 2, 4])),
        jurisdiction=draw(st.sampled_from(JURISDICTIONS)),
        perimeter=draw(st.sampled_from(PERIMETERS[:2])),
        minimum=minimum,
        maximum=minimum + draw(st.integers(0, 8)),
        serving=draw(st.integers(0, 6)),
        starting=draw(st.integers(0, 3)),
        previous=draw(st.one_of(st.none(), st.integers(0, 10))),
        profile=Profile(draw(st.floats(2, 40)), draw(st.floats(0, 0.2)), draw(st.floats(0, 0.001)), 32),
        idle_usd_per_replica_hour=draw(st.sampled_from([0.0, 0.03, 4.0, 40.0])),
        busy_extra_usd_per_replica_hour=draw(st.sampled_from([0.0, 0.13])),
        paused=draw(st.integers(0, 9)) == 0,
        held_at=draw(st.integers(0, 12)) if draw(st.integers(0, 9)) == 0 else None,
    )


@st.composite
def hosted_pools(draw: st.DrawFn, name: str) -> HostedPool:
    return hosted(
        name,
        jurisdiction=draw(st.sampled_from(JURISDICTIONS)),
        perimeter=draw(st.sampled_from(PERIMETERS)),
        output_usd_per_million_tokens=draw(st.sampled_from([0.0, 0.4, 15.0])),
        requests_per_minute=draw(st.sampled_from([None, 60.0, 600.0])),
        max_concurrency=draw(st.sampled_from([None, 4])),
        available=draw(st.integers(0, 5)) > 0,
        paused=draw(st.integers(0, 9)) == 0,
    )


@st.composite
def routes(draw: st.DrawFn, name: str, pools: list[str], rate: st.SearchStrategy[Measurement]) -> Route:
    names = draw(st.lists(st.sampled_from(pools), min_size=1, max_size=4, unique=True))
    return route(
        name,
        demand=demand(
            draw(rate),
            draw(measurements),
            input_tokens=draw(st.sampled_from([100.0, 1000.0, 4000.0])),
            output_tokens=draw(st.sampled_from([1.0, 250.0])),
        ),
        backends=tuple(BackendRule(f"ai/{one}", draw(st.sampled_from([0.7, 0.95, 1.0]))) for one in names),
        time_to_first_token_ms=draw(st.sampled_from([20.0, 500.0, 2000.0])),
        minimum_pass_rate=draw(st.sampled_from([0.0, 0.0, 0.9])),
        usd_per_solved_task=draw(st.sampled_from([None, None, 0.5])),
        jurisdictions=draw(st.sampled_from([(), (), ("EU",)])),
        perimeters=draw(st.sampled_from([(), (), ("onPremises",), ("onPremises", "external")])),
        priority=draw(st.sampled_from([50, 100])),
        on_overload=draw(st.sampled_from(["spill", "spill", "queue", "reject"])),
    )


@st.composite
def worlds(draw: st.DrawFn, rate: st.SearchStrategy[Measurement] = measurements, **rules: float) -> Snapshot:
    own = [draw(local_pools(f"own{i}")) for i in range(draw(st.integers(0, 3)))]
    apis = [draw(hosted_pools(f"api{i}")) for i in range(draw(st.integers(0, 2)))]
    names = [one.model for one in (*own, *apis)] + ["missing"]
    asked = [draw(routes(f"route{i}", names, rate)) for i in range(draw(st.integers(1, 3)))]
    memory = {
        one.key: {f"ai/{name}": 1.0 / len(names) for name in names} for one in asked if draw(st.integers(0, 2)) == 0
    }
    gpus = {
        (name, ""): draw(st.one_of(st.integers(0, 20).map(lambda n: Sample(float(n))), unknown))
        for name in ("h100", "rtx4090")
    }
    return Snapshot(
        at_seconds=1000.0,
        local_pools=tuple(own),
        hosted_pools=tuple(apis),
        routes=tuple(asked),
        gpus=gpus,
        rules=Rules(holding_after_restart=draw(st.booleans()), **rules),
        memory=Memory(shares=memory, requests_per_second=dict.fromkeys(memory, 3.0)),
    )


def permitted(one: Route, pool: LocalPool | HostedPool) -> bool:
    """The rules in other words than the allocator's."""
    if one.jurisdictions and pool.jurisdiction not in one.jurisdictions:
        return False
    if isinstance(pool, HostedPool) and one.perimeters and "external" not in one.perimeters:
        return False
    return not (one.perimeters and pool.perimeter not in one.perimeters)


def pinned(pool: LocalPool) -> bool:
    return pool.paused or pool.held_at is not None


@few
@given(worlds())
def test_replicas_stay_within_their_bounds_and_the_gpus_that_exist(world: Snapshot) -> None:
    decision = decide(world)
    for pool in world.local_pools:
        if not pinned(pool):
            assert pool.minimum <= decision.pools[pool.key].replicas <= pool.maximum
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
    )
    assert essence(decide(world)) == essence(decide(other))


@fewer
@given(worlds(rates, maximum_step_up=100))
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
        last = pool.existing if pool.previous is None else pool.previous
        if pool.key in answers and not pinned(pool) and world.routes:
            assert decision.pools[pool.key].replicas >= min(last, pool.maximum)
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
