"""The auditor refuses what must not be applied, whoever made it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from comptroller.allocation.audit import audit_plan, audit_router_config
from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from tests.unit.allocation.build import hosted, local, route, snapshot
from tests.unit.allocation.specs import hosted_spec, local_spec, policy_spec, route_spec

POOLS = {"ai/own": local_spec("own"), "ai/api": hosted_spec()}
INSIDE = {"perimeters": ["onPremises"]}
POLICY = policy_spec(route_spec("chat", "own", "api"), route_spec("secret", "own", "api", data=INSIDE))
POLICIES = {"ai/policy": POLICY}


def decision() -> Decision:
    secret = route("secret", rps=3, perimeters=("onPremises",))
    return decide(snapshot(local(serving=1, previous=1), hosted(), route("chat", rps=20), secret))


def with_route(name: str, **changes: Any) -> Decision:
    made = decision()
    key = f"ai/policy/{name}"
    return replace(made, routes={**made.routes, key: replace(made.routes[key], **changes)})


def test_what_the_allocator_decides_passes() -> None:
    assert audit_plan(POLICIES, POOLS, decision()) == []


@pytest.mark.parametrize(
    ("made", "meaning"),
    [
        (
            with_route("secret", shares={"ai/api": 1.0}, shed_ratio=0.0),
            "may only be [onPremises], the pool is external",
        ),
        (with_route("secret", spill_order=("ai/own", "ai/api")), "must stay inside, the pool is a hosted API"),
        (with_route("chat", shares={"ai/other": 1.0}, shed_ratio=0.0), "there is no pool ai/other"),
        (with_route("chat", shares={"ai/own": 0.7}, shed_ratio=0.0), "sum to 0.700000, not to 1"),
        (with_route("chat", shares={"ai/own": float("nan")}), "are not all between 0 and 1"),
        (with_route("chat", shares={"ai/own": -0.5, "ai/api": 1.5}, shed_ratio=0.0), "are not all between 0 and 1"),
    ],
    ids=["a share out", "a spill out", "an unknown pool", "a wrong sum", "not a number", "a negative share"],
)
def test_a_wrong_plan_is_refused(made: Decision, meaning: str) -> None:
    found = audit_plan(POLICIES, POOLS, made)
    assert any(meaning in str(one) for one in found)
    assert all(one.remedy for one in found)


def test_a_route_that_no_policy_has_is_refused() -> None:
    assert [one.meaning for one in audit_plan({}, POOLS, decision())] == ["no policy has this route"] * 2


def test_a_pool_that_the_route_does_not_name_is_refused() -> None:
    pools = {**POOLS, "ai/third": local_spec("third")}
    found = audit_plan(POLICIES, pools, with_route("chat", shares={"ai/third": 1.0}, shed_ratio=0.0))
    assert [one.meaning for one in found] == ["ai/third is not a backend of route chat"]


def test_a_jurisdiction_is_held_against_the_raw_spec() -> None:
    policy = policy_spec(route_spec("chat", "own", "api", data={"jurisdictions": ["EU"]}))
    found = audit_plan({"ai/policy": policy}, POOLS, replace(decision(), routes=with_route("chat").routes))
    assert any("may only be in [EU], the pool is in US" in one.meaning for one in found)


def entry(name: str, pool: str, **parameters: Any) -> dict[str, Any]:
    return {
        "model_name": name,
        "litellm_params": parameters,
        "model_info": {"id": f"ai/{pool}/{name}"},
    }


INSIDE_ADDRESS = "http://own.ai.svc.cluster.local:8000/v1"


def open_config() -> dict[str, Any]:
    return {
        "model_list": [
            entry("chat", "own", model="hosted_vllm/own", api_base=INSIDE_ADDRESS, api_key="none"),
            entry("chat", "api", model="anthropic/claude-sonnet-4-5", api_key="os.environ/KEY_API"),
        ],
        "router_settings": {"num_retries": 0},
    }


def restricted_config() -> dict[str, Any]:
    return {
        "model_list": [entry("secret", "own", model="hosted_vllm/own", api_base=INSIDE_ADDRESS, api_key="none")],
        "router_settings": {"num_retries": 0},
    }


def test_good_configurations_pass() -> None:
    assert audit_router_config(POLICY, POOLS, "open", open_config(), {"KEY_API"}) == []
    assert audit_router_config(POLICY, POOLS, "restricted", restricted_config()) == []


def changed(config: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(config)
    place: Any = made
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return made


FIRST = ("model_list", 0, "litellm_params")


@pytest.mark.parametrize(
    ("path", "value", "meaning"),
    [
        ((*FIRST, "api_base"), "https://api.openai.com/v1", "is not the address of a pool in namespace ai"),
        ((*FIRST, "api_base"), "http://own.other.svc.cluster.local:8000/v1", "is not the address of a pool"),
        ((*FIRST, "api_base"), "http://third.ai.svc.cluster.local:8000/v1", "is not the address of pool own"),
        ((*FIRST, "api_base"), "http://own.ai.svc.cluster.local.evil.com:8000/v1", "is not the address of a pool"),
        ((*FIRST, "api_base"), "http://own.ai.svc.cluster.local:8000@evil.com/v1", "is not the address of a pool"),
        ((*FIRST, "api_base"), "http://own.ai.svc.cluster.local:9/v1", "is not port 8000 of pool own"),
        ((*FIRST, "api_base"), None, "is not the address of a pool"),
        ((*FIRST, "api_key"), "os.environ/KEY_API", "a restricted router may hold no key"),
        (("general_settings",), {"master_key": "os.environ/KEY"}, "a restricted router may hold no key"),
        (("router_settings", "fallbacks"), [{"secret": ["chat"]}], "a fallback leads past the data rules"),
        (("litellm_settings",), {"default_fallbacks": ["chat"]}, "a fallback leads past the data rules"),
        (("model_list", 0), entry("secret", "api", api_base=INSIDE_ADDRESS), "may not know the hosted pool api"),
        (("model_list", 0, "model_name"), "chat", "is not the route that its id"),
        (("model_list", 0, "model_info"), {}, "the entry lacks model_name"),
        (("model_list", 0, "model_info", "id"), "ai/none/secret", "there is no pool ai/none"),
        (("model_list",), None, "there is no list of models"),
    ],
)
def test_a_restricted_configuration_with_a_way_out_is_refused(path: tuple[Any, ...], value: Any, meaning: str) -> None:
    config = changed(restricted_config(), path, value)
    assert any(meaning in str(one) for one in audit_router_config(POLICY, POOLS, "restricted", config))


def test_a_restricted_pod_with_a_key_is_refused() -> None:
    found = audit_router_config(POLICY, POOLS, "restricted", restricted_config(), {"KEY_API"})
    assert [one.field for one in found] == ["env"]


@pytest.mark.parametrize(
    ("path", "value", "meaning"),
    [
        (("model_list", 1, "litellm_params", "api_key"), "sk-123", "a key stands in the configuration itself"),
        (("model_list", 1, "litellm_params", "api_key"), "os.environ/OTHER", "OTHER comes from no Secret of the pod"),
        (("model_list", 1, "litellm_params", "api_base"), "https://evil.com", "is not spec.hosted.baseUrl of pool api"),
        ((*FIRST, "api_key"), "os.environ/KEY_API", "a local pool gets no key"),
        (("model_list", 0), entry("secret", "own", api_base=INSIDE_ADDRESS), "may not be on a router with a way out"),
    ],
)
def test_a_wrong_open_configuration_is_refused(path: tuple[Any, ...], value: Any, meaning: str) -> None:
    config = changed(open_config(), path, value)
    assert any(meaning in str(one) for one in audit_router_config(POLICY, POOLS, "open", config, {"KEY_API"}))
