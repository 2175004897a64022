"""Each baseline on hand-made views: what it wants, and that nobody is sent where it may not go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from comptroller.allocation.snapshot import HostedPool, LocalPool, Route, Snapshot, StartingReplica, Unknown
from comptroller.sim.baselines.greedy import Greedy, GreedyParameters
from comptroller.sim.baselines.horizontal import Stabiliser, desired_replicas, grown
from comptroller.sim.baselines.hpa_concurrency import HpaConcurrency, HpaConcurrencyParameters
from comptroller.sim.baselines.keda_queue import KedaQueue, KedaQueueParameters
from comptroller.sim.baselines.kubeai import KubeAi, KubeAiParameters
from comptroller.sim.baselines.mean_demand import MeanDemand, replicas_for
from comptroller.sim.baselines.registry import BASELINES, baseline
from comptroller.sim.baselines.routing import BestRoutes, MeasuredSpeeds, local_first, problem_of
from comptroller.sim.baselines.static_split import StaticSplit, StaticSplitParameters
from comptroller.sim.baselines.wva import Wva, WvaParameters, WvaWithoutSpill, dealt
from comptroller.sim.policy import Orders, Policy, PoolSignal, View
from tests.unit.allocation.build import hosted, local, route, snapshot

ONE_RPS_REPLICAS = 1 / 7.9  # of the default route on the default pool


def signal(in_flight: float = 0.0, waiting: float = 0.0, **changes: float) -> PoolSignal:
    return replace(PoolSignal(in_flight, waiting, 0.0, 0.0, 0.0, 1000.0, 250.0), **changes)


def fleet(rps: float | Unknown = 30.0, serving: int = 2, **changes: Any) -> tuple[LocalPool | HostedPool | Route, ...]:
    return local(serving=serving, maximum=16, **changes), hosted(), route(rps=rps)


def ticks(policy: Policy, picture: Snapshot, signals: Mapping[str, PoolSignal], count: int = 1) -> Orders:
    """The orders after so many minutes in which nothing but the replicas changes."""
    orders = Orders({}, {})
    for minute in range(count):
        orders = policy.decide(View(60.0 * minute, replace(picture, at_seconds=60.0 * minute), signals))
        pools = tuple(
            replace(
                pool,
                serving=min(pool.serving, orders.replicas[pool.key]),
                starting=tuple(StartingReplica(60.0) for _ in range(orders.replicas[pool.key] - pool.serving)),
                previous=orders.replicas[pool.key],
            )
            for pool in picture.local_pools
        )
        picture = replace(picture, local_pools=pools)
    return orders


# --- the arithmetic of the HorizontalPodAutoscaler ---


def test_the_tolerance_keeps_small_changes_away() -> None:
    assert [desired_replicas(4, total, 10.0) for total in (36.0, 44.0, 44.1, 35.9)] == [4, 4, 5, 4]
    assert desired_replicas(10, 80.0, 10.0) == 8


def test_growth_is_doubling_or_four_pods_every_quarter_of_a_minute() -> None:
    assert [grown(2, 100, seconds) for seconds in (15.0, 30.0, 60.0)] == [6, 12, 48]


def test_down_goes_only_what_the_whole_window_allows() -> None:
    stabiliser = Stabiliser(down_seconds=300.0)
    assert [stabiliser.settled(60.0 * minute, 8, count) for minute, count in enumerate((8, 5, 3, 4, 3, 3, 3))] == [
        8, 8, 8, 8, 8, 5, 4,
    ]  # fmt: skip
    assert stabiliser.settled(420.0, 5, 9) == 9


def test_an_upward_window_waits_for_the_least_of_it() -> None:
    stabiliser, current, seen = Stabiliser(down_seconds=240.0, up_seconds=120.0), 2, []
    for minute, count in enumerate((2, 6, 5, 7, 7)):
        current = stabiliser.settled(60.0 * minute, current, count)
        seen.append(current)
    assert seen == [2, 2, 5, 5, 7]


def test_without_an_upward_window_the_first_wish_counts() -> None:
    assert Stabiliser(down_seconds=300.0).settled(0.0, 2, 6) == 6


# --- routing ---


def test_only_replicas_that_serve_and_stay_are_routed_to() -> None:
    picture = snapshot(local(serving=3, starting=5), hosted(), route(rps=60.0))
    best = [BestRoutes().route(picture, {"ai/own": wanted}).routes["ai/policy/chat"].shares for wanted in (8, 3, 1, 0)]
    assert best[0] == best[1]
    assert best[0]["ai/own"] == pytest.approx(3 * best[2]["ai/own"])
    assert best[3] == {"ai/api": 1.0}


def test_a_route_of_unknown_demand_keeps_its_last_shares() -> None:
    best = BestRoutes()
    known = snapshot(*fleet(rps=30.0))
    before = best.route(known, {"ai/own": 2})
    blind = snapshot(*fleet(rps=Unknown("no scrape")), memory=best.memory)
    after = best.route(blind, {"ai/own": 2})
    assert after.routes["ai/policy/chat"].shares == pytest.approx(before.routes["ai/policy/chat"].shares)


def test_a_fixed_list_fills_its_pools_in_proportion_and_then_goes_out_by_price() -> None:
    dear = hosted("dear", input_usd_per_million_tokens=9.0)
    picture = snapshot(
        local("own", serving=3), local("two", serving=1), dear, hosted(), route("chat", "own", "two", "dear", "api")
    )
    plan = local_first(problem_of(picture), {"ai/own": 3, "ai/two": 1}).routes["ai/policy/chat"]
    assert plan.shares == pytest.approx({"ai/own": 0.75, "ai/two": 0.25})
    assert plan.spill_order == ("ai/own", "ai/two", "ai/api", "ai/dear")
    alone = local_first(problem_of(picture), {"ai/own": 3, "ai/two": 1}, spill=False).routes["ai/policy/chat"]
    assert alone.spill_order == ("ai/own", "ai/two")


def test_the_limit_of_a_fixed_list_is_a_multiple_of_what_keeps_the_objective() -> None:
    problem = problem_of(snapshot(*fleet()))
    limits = [local_first(problem, {"ai/own": 2}, fullness=part).max_concurrency["ai/own"] for part in (0.5, 1.0, 2.0)]
    assert limits[1] <= 64
    assert limits[0] == pytest.approx(limits[1] / 2, abs=1)
    assert limits[2] == 2 * limits[1]


def test_engines_that_are_slower_than_declared_are_noticed_after_a_while() -> None:
    picture = snapshot(local(serving=2), hosted(), route())
    profile = picture.local_pools[0].profile
    declared = profile.alpha_ms + 20 * (profile.beta_ms * 1250 / 251 + profile.gamma_ms * 1125)
    speeds = MeasuredSpeeds()
    slow = {"ai/own": signal(40.0, iteration_ms=1.25 * declared, batch=20.0)}
    first = speeds.applied(picture, slow).local_pools[0].profile.alpha_ms
    for _ in range(60):
        last = speeds.applied(picture, slow).local_pools[0].profile.alpha_ms
    assert first == profile.alpha_ms
    assert last == pytest.approx(1.25 * profile.alpha_ms, rel=0.06)
    learned = replace(picture.local_pools[0], profile=replace(profile, source="learned"))
    assert speeds.applied(replace(picture, local_pools=(learned,)), slow).local_pools[0] == learned


# --- what each wants ---


def test_all_hosted_keeps_minimum_replicas_for_what_may_not_leave() -> None:
    picture = snapshot(
        local(serving=1, minimum=1), hosted(), hosted("cheap", input_usd_per_million_tokens=1.0),
        route("free", "own", "api", "cheap"), route("kept", "own", "api", perimeters=("onPremises",)),
    )  # fmt: skip
    orders = ticks(BASELINES["all-hosted"].policy(), picture, {})
    assert orders.replicas == {"ai/own": 1}
    assert orders.routes["ai/policy/free"].shares == {"ai/cheap": 1.0}
    assert orders.routes["ai/policy/free"].spill_order == ("ai/cheap", "ai/api")
    assert orders.routes["ai/policy/kept"].shares == {"ai/own": 1.0}


def test_the_static_fleet_is_sized_for_the_mean_of_its_history_and_never_moves() -> None:
    policy = StaticSplit(StaticSplitParameters(headroom=1.0))
    policy.observe_history(
        {"ai/policy/chat": tuple((60.0 * minute, 10.0 + 10.0 * (minute % 2)) for minute in range(99))}
    )
    first = ticks(policy, snapshot(*fleet(rps=100.0, serving=0)), {})
    assert first.replicas == {"ai/own": 2}  # 15 requests/s at 7.9 each
    later = policy.decide(View(999.0, snapshot(*fleet(rps=1.0, serving=2)), {}))
    assert later.replicas == first.replicas


def test_without_apis_gpus_that_are_short_go_where_an_unanswered_request_is_dearest() -> None:
    cheap = hosted("cheap", input_usd_per_million_tokens=0.1, output_usd_per_million_tokens=0.1)
    picture = snapshot(
        local("own", maximum=8), local("two", maximum=8), hosted(), cheap,
        route("dear", "own", "api", rps=20.0), route("light", "two", "cheap", rps=20.0), gpus=3.0,
    )  # fmt: skip
    rates = MeanDemand().rates(picture)
    assert replicas_for(picture, rates, outside=False) == {"ai/own": 3, "ai/two": 0}


def test_hpa_scales_each_pool_on_its_own_requests_in_flight() -> None:
    parameters = HpaConcurrencyParameters(target=0.5)
    busy, idle = signal(in_flight=120.0), signal(in_flight=1.0)
    orders = ticks(HpaConcurrency(parameters), snapshot(*fleet(serving=2)), {"ai/own": busy})
    assert 4 <= orders.replicas["ai/own"] <= 8
    still = ticks(HpaConcurrency(parameters), snapshot(*fleet(serving=8)), {"ai/own": idle}, count=5)
    assert still.replicas["ai/own"] == 8
    down = ticks(HpaConcurrency(parameters), snapshot(*fleet(serving=8)), {"ai/own": idle}, count=7)
    assert down.replicas["ai/own"] == 1


def test_hpa_wants_no_more_than_there_are_gpus_and_no_more_than_its_ceiling() -> None:
    flood = {"ai/own": signal(in_flight=1e5)}
    most = ticks(HpaConcurrency(), snapshot(*fleet(), gpus=5.0), flood, count=3)
    assert most.replicas["ai/own"] == 5
    policy = HpaConcurrency(HpaConcurrencyParameters(ceiling=1.5))
    policy.observe_history({"ai/policy/chat": ((0.0, 15.0),)})
    assert ticks(policy, snapshot(*fleet(), local("other")), flood, count=3).replicas["ai/own"] == 3  # 1.5 x 2


def test_gpus_that_no_other_model_could_use_may_always_run() -> None:
    alone = local("alone", gpu_class="rtx4090", serving=1, maximum=6)
    picture = snapshot(alone, local("one"), local("two"), hosted(), route("chat", "alone", "api"), gpus=4.0)
    orders = ticks(HpaConcurrency(HpaConcurrencyParameters(dedicated=True)), picture, {}, count=1)
    assert orders.replicas == {"ai/alone": 4, "ai/one": 1, "ai/two": 1}


def test_keda_sees_queues_only_and_keeps_one_replica_while_anything_runs() -> None:
    orders = ticks(KedaQueue(), snapshot(*fleet(serving=1)), {"ai/own": signal(in_flight=64.0, waiting=22.0)})
    assert orders.replicas["ai/own"] == 5
    quick = KedaQueueParameters(down_seconds=60.0, minimum=0)
    running, nothing = {"ai/own": signal(in_flight=200.0)}, {"ai/own": signal()}
    assert ticks(KedaQueue(quick), snapshot(*fleet(serving=4)), running, 3).replicas["ai/own"] == 1
    assert ticks(KedaQueue(quick), snapshot(*fleet(serving=1)), nothing, 3).replicas["ai/own"] == 0


def test_kubeai_averages_over_a_window_that_begins_with_zeros() -> None:
    parameters = KubeAiParameters(target=1.0, window_seconds=300.0, down_seconds=120.0)
    full = {"ai/own": signal(in_flight=300.0)}
    one = ticks(KubeAi(parameters), snapshot(*fleet(serving=1)), full, count=1).replicas["ai/own"]
    all_five = ticks(KubeAi(parameters), snapshot(*fleet(serving=1)), full, count=5).replicas["ai/own"]
    assert one < all_five
    assert all_five == pytest.approx(5 * one, abs=4)


def test_wva_wants_demand_over_capacity_and_threshold_and_nothing_between_its_thresholds() -> None:
    parameters = WvaParameters(scale_up_threshold=0.85, scale_down_boundary=0.70, down_seconds=0.0)
    up = ticks(Wva(parameters), snapshot(*fleet(rps=40.0, serving=2)), {}).replicas["ai/own"]
    assert up == math.ceil(40.0 * ONE_RPS_REPLICAS / 0.85)
    between = ticks(Wva(parameters), snapshot(*fleet(rps=31.0, serving=5)), {}).replicas["ai/own"]
    assert between == 5  # 31 of 39.5 requests/s: a utilisation of 0.78
    down = ticks(Wva(parameters), snapshot(*fleet(rps=10.0, serving=5)), {}, count=2).replicas["ai/own"]
    assert down == 2


def test_wva_fills_the_variant_that_is_cheapest_per_capacity_first() -> None:
    small = local("small", model="m", gpu_class="rtx4090", maximum=2, serving=0)
    large = local("large", model="m", gpu_class="h100", maximum=8, serving=0)
    orders = ticks(
        Wva(WvaParameters(minimum=0)),
        snapshot(small, large, hosted(), route("chat", "small", "large", "api", rps=30.0)),
        {},
    )
    assert orders.replicas["ai/small"] == 2
    assert orders.replicas["ai/large"] == 3


def test_wva_deals_gpus_that_are_short_in_proportion_to_what_is_wanted() -> None:
    assert dealt({"a": 8, "b": 16}, {"a": 0, "b": 0}, {"a": 4, "b": 2}, 32) == {"a": 4, "b": 8}
    assert dealt({"a": 8, "b": 1}, {"a": 0, "b": 1}, {"a": 4, "b": 2}, 7) == {"a": 1, "b": 1}
    assert sum(dealt({"a": 9, "b": 9, "c": 9}, {"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1, "c": 1}, 10).values()) == 10


def test_wva_without_spill_never_names_an_api() -> None:
    orders = ticks(WvaWithoutSpill(), snapshot(*fleet(rps=400.0)), {})
    assert orders.routes["ai/policy/chat"].spill_order == ("ai/own",)


def test_greedy_gives_gpus_that_are_short_to_what_saves_most_for_each() -> None:
    cheap = hosted("cheap", input_usd_per_million_tokens=0.1, output_usd_per_million_tokens=0.1)
    picture = snapshot(
        local("own", maximum=8), local("two", maximum=8), hosted(), cheap,
        route("zdear", "own", "api", rps=20.0), route("alight", "two", "cheap", rps=20.0), gpus=3.0,
    )  # fmt: skip
    orders = ticks(Greedy(GreedyParameters(headroom=1.0)), picture, {})
    assert orders.replicas == {"ai/own": 3, "ai/two": 0}


def test_greedy_serves_first_what_nobody_outside_may_answer() -> None:
    picture = snapshot(
        local("own", maximum=8), local("two", maximum=8), hosted(),
        route("free", "own", "api", rps=20.0), route("kept", "two", "api", rps=10.0, perimeters=("onPremises",)),
        gpus=2.0,
    )  # fmt: skip
    assert ticks(Greedy(GreedyParameters(headroom=1.0)), picture, {}).replicas == {"ai/own": 0, "ai/two": 2}


# --- what holds for all of them ---


def mixed(rps: float | Unknown) -> Snapshot:
    return snapshot(
        local("own", serving=2, minimum=1, maximum=6), local("two", serving=1, gpus_per_replica=2, maximum=3),
        hosted("api"), hosted("eu", jurisdiction="EU"),
        route("free", "own", "two", "api", "eu", rps=rps),
        route("inside", "own", "api", rps=rps, perimeters=("onPremises",)),
        route("european", "two", "api", "eu", rps=rps, jurisdictions=("EU",)), gpus=8.0,
    )  # fmt: skip


PERMITTED = {
    "ai/policy/free": {"ai/own", "ai/two", "ai/api", "ai/eu"},
    "ai/policy/inside": {"ai/own"},
    "ai/policy/european": {"ai/two", "ai/eu"},
}


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("rps", [0.0, 3.0, 500.0, Unknown("no scrape")])
def test_orders_stay_within_bounds_and_within_data_rules(name: str, rps: float | Unknown) -> None:
    signals = {"ai/own": signal(1e4, 1e3), "ai/two": signal(math.nan, math.nan)}
    for seen in ({}, signals):
        picture = mixed(rps)
        orders = ticks(baseline(name), picture, seen, count=3)
        for pool in picture.local_pools:
            assert pool.minimum <= orders.replicas[pool.key] <= pool.maximum
            assert orders.max_concurrency[pool.key] >= 1
        for key, plan in orders.routes.items():
            assert {*plan.shares, *plan.spill_order} <= PERMITTED[key]
            assert sum(plan.shares.values()) + plan.shed_ratio == pytest.approx(1.0)


@pytest.mark.parametrize("name", BASELINES)
def test_without_metrics_nobody_moves(name: str) -> None:
    policy = baseline(name)
    orders = ticks(policy, mixed(3.0), {"ai/own": signal(30.0), "ai/two": signal(10.0)}, count=1)
    blind = mixed(Unknown("no scrape"))
    pools = tuple(replace(pool, serving=orders.replicas[pool.key]) for pool in blind.local_pools)
    later = policy.decide(View(120.0, replace(blind, local_pools=pools, at_seconds=120.0), {}))
    assert later.replicas == orders.replicas


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("load", [None, 0.5, 1.0, 9.0])
def test_tuned_parameters_are_values_of_the_space(name: str, load: float | None) -> None:
    parameters: Any = baseline(name, load).parameters  # type: ignore[attr-defined]
    default = BASELINES[name].default
    for field, values in BASELINES[name].space.items():
        assert getattr(parameters, field) in {*values, getattr(default, field)}


def test_two_instances_share_no_memory() -> None:
    first, second = HpaConcurrency(), HpaConcurrency()
    flood = {"ai/own": signal(in_flight=1e5)}
    ticks(first, snapshot(*fleet()), flood, count=3)
    assert ticks(second, snapshot(*fleet()), {"ai/own": signal(in_flight=20.0)}).replicas["ai/own"] <= 2
