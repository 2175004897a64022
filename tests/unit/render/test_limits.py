"""How the places of a pool are divided among the routers that use it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.render.router.build import build_plans
from comptroller.render.router.limits import planned_in_flight
from comptroller.render.router.plan import PoolLimit, RouterPlan
from tests.golden.cases import DECIDED, KEYED, POLICY, STATES, decided

H100, RTX4090 = "inference/qwen3-32b-h100", "inference/qwen3-8b-4090"
DEAL_REVIEW = "inference/research/deal-review"


def built(name: str = "research", **changes: object) -> dict[str, RouterPlan]:
    arguments: dict[str, object] = {"spec": POLICY, "pools": KEYED, "states": STATES, "routes": DECIDED} | changes
    return {plan.kind: plan for plan in build_plans(name, "inference", **arguments)}  # type: ignore[arg-type]


def limits(plan: RouterPlan) -> dict[str, int]:
    return {one.pool: one.max_concurrency for one in plan.limits}


def with_words(**words: str) -> RoutingPolicySpec:
    content = POLICY.model_dump(by_alias=True, exclude_unset=True)
    for route in content["routes"]:
        if route["name"] in words:
            route["onOverload"] = words[route["name"]]
    return RoutingPolicySpec.model_validate(content)


def test_the_routes_of_a_router_share_one_limit_and_the_routers_share_the_pool() -> None:
    """3 x 64 places; the open router plans 0.3 x 30 + 0.9 x 5 = 13.5 of 15.59 rps, the restricted one 0.95 x 2.2; two
    processes each."""
    plans = built()

    assert limits(plans["open"])[H100] == round(192 * 13.5 / 15.59 / 2)
    assert limits(plans["restricted"])[H100] == 17  # 192 x 2.09 / 15.59 x 1.25 / 2 = 16.09, never less
    assert limits(plans["open"])[RTX4090] == 2 * 32 / 2  # nobody else plans to use it


def test_local_backends_have_no_limit_of_their_own_and_hosted_ones_keep_theirs() -> None:
    found = [one for plan in built().values() for route in plan.routes for one in route.backends]

    assert {one.max_concurrency for one in found if one.inside} == {None}
    assert {one.max_concurrency for one in found if one.pool == "inference/gpt-eu"} == {16}


def test_a_slow_route_has_more_in_flight_at_the_same_rate() -> None:
    """Little's law: 2.09 rps at 20 s are 41.8 in flight, 13.5 rps at 1 s are 13.5."""
    slow = {key: replace(plan, latency_seconds=dict.fromkeys(plan.shares, 1.0)) for key, plan in DECIDED.items()}
    slow[DEAL_REVIEW] = replace(DECIDED[DEAL_REVIEW], latency_seconds={H100: 20.0})

    assert limits(built(routes=slow)["open"])[H100] == round(192 * 13.5 / (13.5 + 41.8) / 2)


def test_where_one_latency_is_unknown_rates_are_compared() -> None:
    one = decided("a", {"p": 1.0}, [], 2.0)
    other = replace(decided("b", {"p": 0.5, "q": 0.5}, [], 3.0), latency_seconds={"inference/p": 9.0, "inference/q": 4})

    assert planned_in_flight({"a": one, "b": other}) == {
        ("a", "inference/p"): 2.0,
        ("b", "inference/p"): 1.5,
        ("b", "inference/q"): 6.0,
    }


def test_the_routers_of_two_policies_share_a_pool() -> None:
    other = {"inference/other/chat": replace(decided("x", {"qwen3-32b-h100": 1.0}, [], 15.59))}

    assert limits(built(routes=DECIDED | other)["open"])[H100] == round(192 * 13.5 / (2 * 15.59) / 2)


def test_a_router_that_plans_nothing_at_a_pool_may_use_a_tenth_of_it() -> None:
    """Its reserve there must not wait for a plan, nor break the objective of those who have one."""
    other = {"inference/other/chat": replace(decided("x", {"qwen3-8b-4090": 1.0}, [], 9.0))}

    assert limits(built(routes=DECIDED | other)["restricted"])[RTX4090] == 4  # 64 / 10 / 2, up


def test_a_pool_that_nobody_plans_to_use_is_free_for_those_who_may() -> None:
    routes = {key: replace(plan, shares={H100: 1.0}) for key, plan in DECIDED.items()}

    assert limits(built(routes=routes)["restricted"])[RTX4090] == 32


def test_without_a_known_concurrency_there_is_no_limit() -> None:
    states = STATES | {H100: replace(STATES[H100], max_concurrency=None)}

    assert H100 not in limits(built(states=states)["open"])


@pytest.mark.parametrize("words", ["queue", "reject"])
def test_a_route_with_nowhere_else_to_go_is_assured_of_its_part_with_headroom(words: str) -> None:
    plan = built(spec=with_words(extraction=words))["open"]

    found = {one.pool: one for one in plan.limits}
    assert found[H100].assured == (("extraction", 70),)  # 192 x 9.0 / 15.59 x 1.25 / 2 = 69.3, never less
    assert found[RTX4090] == PoolLimit(RTX4090, 32, (("extraction", 32),))


@pytest.mark.parametrize(("words", "waits"), [("spill", False), ("queue", True), ("reject", False)])
def test_who_waits_where_all_is_full(words: str, waits: bool) -> None:
    plans = built(spec=with_words(extraction=words))

    assert {one.name: one.waits for one in plans["open"].routes} == {"extraction": waits, "in-europe": False}
    assert [one.waits for one in plans["restricted"].routes] == [True]  # it spills, but nobody outside is permitted


def test_a_restricted_route_that_rejects_does_not_wait() -> None:
    assert [one.waits for one in built(spec=with_words(**{"deal-review": "reject"}))["restricted"].routes] == [False]


def test_before_the_first_decision_all_routes_share_alike() -> None:
    """Three routes with a third of a request each at every local pool: two of three parts, and one with headroom."""
    plans = built(routes={})

    assert limits(plans["open"])[H100] == 192 * 2 / 3 / 2
    assert limits(plans["restricted"])[H100] == 192 / 3 * 1.25 / 2
