"""How the places of a pool are divided among the routers that use it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.allocation.decision import RoutePlan
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.render.router.build import build_plans
from comptroller.render.router.limits import nowhere_else, planned_in_flight
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


def staying(*names: str) -> dict[str, RoutePlan]:
    """The decisions, with no hosted pool for these routes."""
    kept = {"extraction": ["qwen3-8b-4090", "qwen3-32b-h100"], "in-europe": ["qwen3-32b-h100", "qwen3-8b-4090"]}
    inside = {f"inference/research/{name}": tuple(f"inference/{pool}" for pool in kept[name]) for name in names}
    return DECIDED | {
        key: replace(DECIDED[key], shares={k: v for k, v in DECIDED[key].shares.items() if k in own}, spill_order=own)
        for key, own in inside.items()
    }


def test_the_routes_of_a_router_share_one_limit_and_what_cannot_leave_gets_its_part_first() -> None:
    """3 x 64 places; the open router plans 0.3 x 30 + 0.9 x 5 = 13.5 of 15.59 rps, the restricted one 0.95 x 2.2; two
    processes each. Deal reviews get 192 x 2.09 / 15.59 x 1.25 / 2 = 16.09, never less, and the others what that leaves:
    79.9."""
    plans = built()

    assert limits(plans["restricted"])[H100] == 17
    assert limits(plans["open"])[H100] == 80
    assert limits(plans["open"])[RTX4090] == 2 * 32 / 2  # nobody else plans to use it


def test_local_backends_have_no_limit_of_their_own_and_hosted_ones_keep_theirs() -> None:
    found = [one for plan in built().values() for route in plan.routes for one in route.backends]

    assert {one.max_concurrency for one in found if one.inside} == {None}
    assert {one.max_concurrency for one in found if one.pool == "inference/gpt-eu"} == {16}


def test_a_slow_route_has_more_in_flight_at_the_same_rate() -> None:
    """Little's law: 2.09 rps at 5 s are 10.45 in flight, 13.5 rps at 1 s are 13.5: 54.5 % for the slow one, which has
    nowhere else to go, and 45.5 % for the others."""
    slow = {key: replace(plan, latency_seconds=dict.fromkeys(plan.shares, 1.0)) for key, plan in DECIDED.items()}
    slow[DEAL_REVIEW] = replace(DECIDED[DEAL_REVIEW], latency_seconds={H100: 5.0})
    plans = built(routes=slow)

    assert limits(plans["restricted"])[H100] == 53  # 192 x 10.45 / 23.95 x 1.25 / 2 = 52.4, never less
    assert limits(plans["open"])[H100] == 44  # the other 43.6


def test_where_one_latency_is_unknown_rates_are_compared() -> None:
    one = decided("a", {"p": 1.0}, [], 2.0)
    other = replace(decided("b", {"p": 0.5, "q": 0.5}, [], 3.0), latency_seconds={"inference/p": 9.0, "inference/q": 4})

    assert planned_in_flight({"a": one, "b": other}) == {
        ("a", "inference/p"): 2.0,
        ("b", "inference/p"): 1.5,
        ("b", "inference/q"): 6.0,
    }


def test_the_routers_of_two_policies_share_a_pool() -> None:
    """Of 31.18 rps 2.09 stay and get 8.4 %; the open router plans 13.5 of the 29.09 that share the others: 42.5 %."""
    other = {"inference/other/chat": decided("x", {"qwen3-32b-h100": 1.0}, ["gpt-eu"], 15.59)}

    assert limits(built(routes=DECIDED | other)["open"])[H100] == round(192 * 0.425 / 2)


def test_what_cannot_leave_counts_in_the_routers_of_all_policies() -> None:
    """17.68 of 31.18 rps stay and get 70.9 %; of the others this router has all: 29.1 %."""
    other = {"inference/other/chat": decided("x", {"qwen3-32b-h100": 1.0}, [], 15.59)}

    assert limits(built(routes=DECIDED | other)["open"])[H100] == round(192 * 0.291 / 2)


def test_where_what_cannot_leave_fills_the_pool_the_others_keep_the_tenth_of_a_guest() -> None:
    """120 of 133.5 rps with a quarter more are all of it."""
    many = DECIDED | {DEAL_REVIEW: replace(DECIDED[DEAL_REVIEW], shares={H100: 1.0}, requests_per_second=120.0)}
    plans = built(routes=many)

    assert (plans["restricted"].replicas, limits(plans["restricted"])[H100]) == (4, 192 / 4)
    assert (plans["open"].replicas, limits(plans["open"])[H100]) == (2, round(192 / 10 / 2))


def given(plans: dict[str, RouterPlan]) -> int:
    """Places of the pool that all processes of all routers have together."""
    return sum(plan.replicas * limits(plan)[H100] for plan in plans.values())


@pytest.mark.parametrize("names", [(), ("in-europe",), ("extraction",)])
def test_the_routers_together_have_what_the_pool_holds(names: tuple[str, ...]) -> None:
    assert 192 <= given(built(routes=staying(*names))) <= 192 + 2  # whole requests: up where it is restricted


def test_where_nobody_can_leave_they_have_up_to_a_quarter_more() -> None:
    assert 192 < given(built(routes=staying("in-europe", "extraction"))) <= 192 * 1.25 + 2


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


def test_a_route_with_nowhere_else_to_go_is_assured_of_its_part_with_headroom() -> None:
    """192 x 9.0 / 15.59 x 1.25 / 2 = 69.3, never less. With the 10.6 that are left for the other: 80."""
    plans = built(routes=staying("extraction"))

    found = {one.pool: one for one in plans["open"].limits}
    assert found[H100] == PoolLimit(H100, 80, (("extraction", 70),))
    assert found[RTX4090] == PoolLimit(RTX4090, 32, (("extraction", 32),))
    assert {one.pool: one.assured for one in plans["restricted"].limits}[H100] == (("deal-review", 17),)


def test_a_route_with_a_way_out_is_assured_of_nothing() -> None:
    assert {one.assured for one in built()["open"].limits} == {()}


@pytest.mark.parametrize("words", ["spill", "queue", "reject"])
def test_it_is_the_decision_that_tells_who_has_a_way_out(words: str) -> None:
    """Hosted pools that are paused or whose circuit is open are in no decision, whatever the policy permits."""
    closed = built(spec=with_words(extraction=words), routes=staying("extraction"))["open"]
    opened = built(spec=with_words(extraction=words), routes=DECIDED)["open"]

    assert [name for one in closed.limits for name, _ in one.assured] == ["extraction", "extraction"]
    assert [name for one in opened.limits for name, _ in one.assured] == []


def test_nowhere_else_is_where_no_hosted_pool_is_in_the_shares_or_in_reserve() -> None:
    routes = {
        "shared": decided("shared", {"own": 0.5, "api": 0.5}, [], 1.0),
        "reserved": decided("reserved", {"own": 1.0}, ["api"], 1.0),
        "inside": decided("inside", {"own": 1.0}, ["other"], 1.0),
        "nobody": decided("nobody", {}, [], 1.0, shed=1.0),
    }
    assert nowhere_else(routes, {"inference/api"}) == {"inside", "nobody"}


@pytest.mark.parametrize(("words", "waits"), [("spill", False), ("queue", True), ("reject", False)])
def test_who_waits_where_all_is_full(words: str, waits: bool) -> None:
    plans = built(spec=with_words(extraction=words))

    assert {one.name: one.waits for one in plans["open"].routes} == {"extraction": waits, "in-europe": False}
    assert [one.waits for one in plans["restricted"].routes] == [True]  # it spills, but nobody outside is permitted


def test_a_restricted_route_that_rejects_does_not_wait() -> None:
    assert [one.waits for one in built(spec=with_words(**{"deal-review": "reject"}))["restricted"].routes] == [False]


def test_before_the_first_decision_all_routes_share_alike() -> None:
    """Three routes with a third of a request each at every local pool: two of three parts, and one. Nobody has been
    told yet that it has nowhere else to go."""
    plans = built(routes={})

    assert limits(plans["open"])[H100] == 192 * 2 / 3 / 2
    assert limits(plans["restricted"])[H100] == 192 / 3 / 2
