"""From a decision to router plans."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.render.router.build import (
    BackendState,
    TokenPrices,
    build_plans,
    is_restricted,
    per_token,
    thousandths,
    unreachable_backends,
)
from comptroller.render.router.plan import RouterBackend, RouterPlan
from tests.golden.cases import DECIDED, KEYED, POLICY, STATES


def built(**changes: object) -> dict[str, RouterPlan]:
    arguments: dict[str, object] = {"spec": POLICY, "pools": KEYED, "states": STATES, "routes": DECIDED} | changes
    plans = build_plans("research", "inference", **arguments)  # type: ignore[arg-type]
    return {plan.kind: plan for plan in plans}


def backends(plan: RouterPlan, route: str) -> dict[str, RouterBackend]:
    found = next(one for one in plan.routes if one.name == route)
    return {one.pool.removeprefix("inference/"): one for one in found.backends}


def test_routes_that_may_not_go_outside_have_a_router_of_their_own() -> None:
    plans = built()

    assert [one.name for one in plans["open"].routes] == ["extraction", "in-europe"]
    assert [one.name for one in plans["restricted"].routes] == ["deal-review"]
    assert (plans["open"].name, plans["restricted"].name) == ("research-router", "research-router-restricted")


def test_a_restricted_plan_has_no_hosted_backend_and_no_key_even_if_the_decision_says_so() -> None:
    key = "inference/research/deal-review"
    wrong = replace(DECIDED[key], shares={"inference/claude-sonnet": 1.0}, spill_order=("inference/gpt-eu",))

    plan = built(routes=DECIDED | {key: wrong})["restricted"]

    assert plan.keys == ()
    assert [one for route in plan.routes for one in route.backends if not one.inside or one.key] == []


def test_a_pool_that_the_rules_forbid_is_left_out_even_if_the_decision_names_it() -> None:
    key = "inference/research/in-europe"
    wrong = replace(DECIDED[key], shares={"inference/claude-sonnet": 1.0}, spill_order=("inference/claude-sonnet",))

    assert "claude-sonnet" not in backends(built(routes=DECIDED | {key: wrong})["open"], "in-europe")


def test_weights_are_thousandths_and_reserves_follow_in_order() -> None:
    found = backends(built()["open"], "extraction")

    assert [(name, one.weight, one.order) for name, one in found.items()] == [
        ("qwen3-8b-4090", 700, 1),
        ("qwen3-32b-h100", 300, 1),
        ("gpt-eu", 0, 2),
        ("claude-sonnet", 0, 3),
    ]


def test_a_local_reserve_without_replicas_is_not_tried() -> None:
    assert "tiny-cpu" not in backends(built()["restricted"], "deal-review")


@pytest.mark.parametrize("words", ["queue", "reject"])
def test_a_route_that_does_not_spill_has_no_hosted_reserve(words: str) -> None:
    content = POLICY.model_dump(by_alias=True, exclude_unset=True)
    content["routes"][0]["onOverload"] = words

    found = backends(built(spec=RoutingPolicySpec.model_validate(content))["open"], "extraction")

    assert set(found) == {"qwen3-8b-4090", "qwen3-32b-h100"}


def test_before_the_first_decision_local_pools_share_and_hosted_ones_wait() -> None:
    found = backends(built(routes={})["open"], "extraction")

    assert {name: one.weight for name, one in found.items()} == {
        "qwen3-32b-h100": 334,
        "qwen3-8b-4090": 333,
        "tiny-cpu": 333,
        "claude-sonnet": 0,
        "gpt-eu": 0,
    }


def test_keys_follow_the_spec_and_not_the_plan() -> None:
    spilling = built()["open"].keys
    inside_only = built(routes={key: replace(one, spill_order=()) for key, one in DECIDED.items()})["open"].keys

    assert spilling == inside_only
    assert {key.secret for key in spilling} == {"anthropic", "gpt-eu"}


def test_unknown_pools_and_pools_without_a_state_are_left_out() -> None:
    pools = {key: pool for key, pool in KEYED.items() if key != "inference/qwen3-8b-4090"}
    states = {key: state for key, state in STATES.items() if key != "inference/gpt-eu"}

    found = backends(built(pools=pools, states=states)["open"], "extraction")

    assert {name: one.weight for name, one in found.items()} == {"qwen3-32b-h100": 1000, "claude-sonnet": 0}


def test_an_adapter_is_the_model_that_is_asked_for() -> None:
    content = POLICY.model_dump(by_alias=True, exclude_unset=True)
    content["routes"][0]["backends"][1]["adapter"] = "loan-review"

    found = backends(built(spec=RoutingPolicySpec.model_validate(content))["open"], "extraction")

    assert found["qwen3-32b-h100"].model == "loan-review"
    assert found["qwen3-8b-4090"].model == "qwen3-8b"


def test_a_hosted_pool_inside_the_perimeter_is_reported_as_unreachable() -> None:
    private = KEYED["inference/gpt-eu"]
    location = private.location.model_copy(update={"perimeter": "onPremises"})
    pools = KEYED | {"inference/gpt-eu": private.model_copy(update={"location": location})}

    assert [text.split(":")[0] for text in unreachable_backends(POLICY, "inference", pools)] == [
        "spec.routes[2].backends[4]"
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, False),
        ({"jurisdictions": ["EU"]}, False),
        ({"perimeters": ["onPremises", "external"]}, False),
        ({"perimeters": ["onPremises", "privateCloud"]}, True),
    ],
)
def test_only_perimeters_without_external_restrict(data: dict[str, list[str]] | None, expected: bool) -> None:
    content = {"routes": [{"name": "a", "backends": [{"pool": "p"}], **({"data": data} if data is not None else {})}]}

    assert is_restricted(RoutingPolicySpec.model_validate(content).routes[0]) is expected


def test_equal_decisions_in_another_order_give_equal_plans() -> None:
    turned = dict(reversed(list(DECIDED.items())))
    states = dict(reversed(list(STATES.items())))

    assert built(routes=turned, states=states) == built()


@pytest.mark.parametrize(
    ("shares", "weights"),
    [
        ({}, {}),
        ({"a": 0.0}, {}),
        ({"a": 1 / 3, "b": 2 / 3}, {"a": 333, "b": 667}),
        ({"a": 0.95}, {"a": 1000}),
        ({"a": 0.0001, "b": 0.9999}, {"a": 1, "b": 999}),
    ],
)
def test_shares_become_thousandths(shares: dict[str, float], weights: dict[str, int]) -> None:
    assert thousandths(shares) == weights


def test_prices_are_exact_and_a_free_pool_costs_nothing() -> None:
    assert per_token(TokenPrices().input) == "0"
    assert BackendState(TokenPrices()).serving == 0
