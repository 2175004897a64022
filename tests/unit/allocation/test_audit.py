"""The auditor refuses what must not be applied, whoever made it."""

from __future__ import annotations

import ast
import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import comptroller
from comptroller.allocation.audit import Beside, audit_plan
from comptroller.allocation.audit_router import audit_router_config
from comptroller.allocation.decide import decide
from comptroller.allocation.decision import Decision
from tests.unit.allocation.build import hosted, local, route, snapshot
from tests.unit.allocation.specs import hosted_spec, local_spec, policy_spec, route_spec

REFERENCE = {"name": "anthropic", "key": "api-key"}
POOLS = {"ai/own": local_spec("own"), "ai/api": hosted_spec(apiKeySecretRef=REFERENCE)}
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
    assert found[0].meaning == "ai/third is not a backend of route chat"


def test_a_jurisdiction_is_held_against_the_raw_spec() -> None:
    policy = policy_spec(route_spec("chat", "own", "api", data={"jurisdictions": ["EU"]}))
    found = audit_plan({"ai/policy": policy}, POOLS, replace(decision(), routes=with_route("chat").routes))
    assert any("may only be in [EU], the pool is in US" in one.meaning for one in found)


INSIDE_ADDRESS = "http://own.ai.svc.cluster.local:8000/v1"
SECRETS = {"KEY_API": ("anthropic", "api-key")}


def entry(name: str, pool: str, **parameters: Any) -> dict[str, Any]:
    return {
        "model_name": name,
        "litellm_params": {"weight": 1000, **parameters},
        "model_info": {"id": f"ai/{pool}/{name}"},
    }


def config(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the sections that every router has."""
    return {
        "model_list": list(entries),
        "router_settings": {"num_retries": 0},
        "litellm_settings": {"callbacks": ["router_plugin.hooks.usage"], "turn_off_message_logging": True},
        "general_settings": {"custom_auth": "router_plugin.hooks.authenticate"},
        "x_comptroller": {
            "policy": "ai/policy",
            "kind": kind,
            "routes": [],
            "tenants": [],
            "elsewhere": {},
            "outside": ["ai/api"] if kind == "open" else [],
            "budgets": [],
            "redis": None,
        },
    }


def open_config() -> dict[str, Any]:
    return config(
        "open",
        entry("chat", "own", model="hosted_vllm/own", api_base=INSIDE_ADDRESS, api_key="none"),
        entry("chat", "api", model="anthropic/claude-sonnet-4-5", api_key="os.environ/KEY_API"),
    )


def restricted_config() -> dict[str, Any]:
    inside = entry("secret", "own", model="hosted_vllm/own", api_base=INSIDE_ADDRESS, api_key="none")
    return config("restricted", inside)


def audit_open(made: dict[str, Any], secrets: dict[str, tuple[str, str]] | None = None) -> list[str]:
    found = audit_router_config(POLICY, POOLS, "open", made, SECRETS if secrets is None else secrets, name="ai/policy")
    return [str(one) for one in found]


def audit_restricted(made: dict[str, Any]) -> list[str]:
    return [str(one) for one in audit_router_config(POLICY, POOLS, "restricted", made, name="ai/policy")]


def test_good_configurations_pass() -> None:
    assert audit_open(open_config()) == []
    assert audit_restricted(restricted_config()) == []


def changed(made: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(made)
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
        ((*FIRST, "api_base"), "http://own.ai.svc.cluster.local:port/v1", "is not the address of a pool"),
        ((*FIRST, "api_base"), "http://own.ai.svc.cluster.local:8000/v1?to=evil.com", "is not the address of a pool"),
        ((*FIRST, "api_base"), None, "is not the address of a pool"),
        ((*FIRST, "base_url"), "https://api.openai.com/v1", "is no parameter that may be rendered"),
        ((*FIRST, "model"), "openai/own", "is not what pool own serves for route secret"),
        ((*FIRST, "model"), "*", "is not what pool own serves for route secret"),
        ((*FIRST, "api_key"), "sk-123", "a key stands in the configuration itself"),
        ((*FIRST, "api_key"), "os.environ/KEY_API", "a restricted router may hold no key"),
        ((*FIRST, "weight"), float("nan"), "is no number from 0 on"),
        (("general_settings",), {"master_key": "os.environ/KEY"}, "a restricted router may hold no key"),
        (("router_settings", "fallbacks"), [{"secret": ["chat"]}], "a fallback leads past the data rules"),
        (("litellm_settings",), {"default_fallbacks": ["chat"]}, "a fallback leads past the data rules"),
        (("router_settings", "model_group_alias"), {"secret": "chat"}, "router_settings.model_group_alias"),
        (("litellm_settings", "callbacks"), ["router_plugin.hooks.usage", "langfuse"], "litellm_settings.callbacks"),
        (("litellm_settings", "success_callback"), ["langfuse"], "litellm_settings.success_callback: is not known"),
        (("general_settings", "custom_auth"), None, "general_settings.custom_auth: must be router_plugin"),
        (("general_settings", "pass_through_endpoints"), [{"target": "https://evil.com"}], "is not known"),
        (("environment_variables",), {"HTTPS_PROXY": "http://evil.com"}, "is no section that may be rendered"),
        (("x_comptroller", "tenants"), [{"name": "all", "keys": "/keys", "routes": None}], "are not the tenants"),
        (("x_comptroller", "kind"), "open", "is not ai/policy (restricted)"),
        (("x_comptroller", "elsewhere"), {"chat": "http://evil.com/v1"}, "is no router of this policy"),
        (("x_comptroller", "routes"), [{"name": "chat", "shed_ratio": 2.0}], "is not between 0 and 1"),
        (("x_comptroller",), None, "cannot be read"),
        (("x_comptroller", "limits"), [{"pool": "ai/third", "max_concurrency": 1}], "is no limit of a pool"),
        (("x_comptroller", "limits"), [{"pool": "ai/own", "max_concurrency": "9"}], "is no limit of a pool"),
        (("x_comptroller", "limits"), [{"pool": "ai/own", "max_concurrency": 1, "assured": {"x": 1}}], "is no limit"),
        (("model_list", 0), entry("secret", "api", api_base=INSIDE_ADDRESS), "may not know the hosted pool api"),
        (("model_list", 0, "model_name"), "chat", "is not the route that its id"),
        (("model_list", 0, "model_name"), "*", "is not the route that its id"),
        (("model_list", 0, "model_info"), {}, "the entry lacks model_name"),
        (("model_list", 0, "model_info", "id"), "ai/none/secret", "there is no pool ai/none"),
        (("model_list", 0, "model_info", "base_model"), "gpt-4", "is nothing that an entry may have"),
        (("model_list", 0, "fallbacks"), ["chat"], "is nothing that an entry may have"),
        (("model_list",), None, "there is no list of models"),
    ],
)
def test_a_restricted_configuration_with_a_way_out_is_refused(path: tuple[Any, ...], value: Any, meaning: str) -> None:
    found = audit_restricted(changed(restricted_config(), path, value))
    assert any(meaning in one for one in found), found


@pytest.mark.parametrize(
    ("path", "value", "meaning"),
    [
        (("model_list", 1, "litellm_params", "api_key"), "sk-123", "a key stands in the configuration itself"),
        (("model_list", 1, "litellm_params", "api_key"), "os.environ/OTHER", "OTHER comes from no Secret of the pod"),
        (("model_list", 1, "litellm_params", "api_base"), "https://evil.com", "is not spec.hosted.baseUrl of pool api"),
        (("model_list", 1, "litellm_params", "model"), "openai/claude-sonnet-4-5", "is not what pool api serves"),
        (("model_list", 1, "litellm_params", "extra_headers"), {"authorization": "x"}, "only x-comptroller-route"),
        ((*FIRST, "api_key"), "os.environ/KEY_API", "a local pool gets no key"),
        ((*FIRST, "timeout"), "os.environ/KEY_API", "no variable of the environment belongs here"),
        (("model_list", 0), entry("secret", "own", api_base=INSIDE_ADDRESS), "may not be on a router with a way out"),
    ],
)
def test_a_wrong_open_configuration_is_refused(path: tuple[Any, ...], value: Any, meaning: str) -> None:
    found = audit_open(changed(open_config(), path, value))
    assert any(meaning in one for one in found), found


def test_an_entry_that_stands_twice_is_refused() -> None:
    made = open_config()
    made["model_list"].append(made["model_list"][0])
    assert any("ai/own/chat occurs twice" in one for one in audit_open(made))


def test_the_key_of_another_pool_is_refused() -> None:
    found = audit_open(open_config(), {"KEY_API": ("openai", "api-key")})
    assert any("KEY_API is the key of another pool" in one for one in found)


def test_a_pool_of_another_namespace_is_refused_although_it_has_the_name_of_a_backend() -> None:
    made = open_config()
    made["model_list"][0]["model_info"]["id"] = "there/own/chat"
    made["model_list"][0]["litellm_params"]["api_base"] = "http://own.there.svc.cluster.local:8000/v1"
    found = audit_router_config(
        POLICY, {**POOLS, "there/own": local_spec("own")}, "open", made, SECRETS, name="ai/policy"
    )
    assert [one.meaning for one in found] == ["there is no pool there/own in namespace ai"]


def test_a_hosted_pool_without_its_declared_address_would_be_asked_elsewhere() -> None:
    where = ("EU", "privateCloud")
    pools = {**POOLS, "ai/api": hosted_spec(where=where, baseUrl="https://eu.example/v1", apiKeySecretRef=REFERENCE)}
    found = audit_router_config(POLICY, pools, "open", open_config(), SECRETS, name="ai/policy")
    assert [one.meaning for one in found] == ["None is not spec.hosted.baseUrl of pool api"]


def test_more_requests_at_once_than_a_hosted_pool_permits_are_refused() -> None:
    pools = {**POOLS, "ai/api": hosted_spec(apiKeySecretRef=REFERENCE, limits={"maxConcurrency": 8})}
    for most, allowed in ((8, True), (10, True), (11, False), (None, False), (0, False), ("8", False)):
        made = changed(open_config(), ("model_list", 1, "litellm_params", "max_parallel_requests"), most)
        assert (audit_router_config(POLICY, pools, "open", made, SECRETS, name="ai/policy") == []) is allowed, most


def with_target(**changes: Any) -> Decision:
    made = decision()
    return replace(made, pools={"ai/own": replace(made.pools["ai/own"], **changes)})


@pytest.mark.parametrize(
    ("made", "beside", "meaning"),
    [
        (with_target(replicas=5), Beside(), "5 is not within spec.local.replicas, 0 to 4"),
        (with_target(replicas=-1), Beside(), "-1 replicas cannot be"),
        (with_target(replicas=float("nan")), Beside(), "nan replicas cannot be"),
        (with_target(replicas=2.5), Beside(), "2.5 replicas cannot be"),
        (with_target(max_concurrency=0), Beside(), "0 requests at once cannot be"),
        (with_target(replicas=3), Beside({"ai/own": {"comptroller.dev/hold-replicas": "2"}}), "the pool is held at 2"),
        (
            with_target(replicas=3),
            Beside({"ai/own": {"comptroller.dev/paused": "true"}}, {"ai/own": 2}),
            "the pool is paused at 2, and 3 are wanted",
        ),
        (with_target(replicas=4), Beside({}, {"ai/own": 1}, 2), "1 to 4 is more than 2 at once"),
        (with_route("chat", spill_ratio=0.9), Beside(), "is not what goes to hosted APIs"),
        (with_route("chat", pass_rate=float("nan")), Beside(), "nan is no share of solved tasks"),
        (with_route("chat", usd_per_request=-1.0), Beside(), "$-1.0 per request cannot be"),
        (with_route("chat", requests_per_second=float("inf")), Beside(), "inf requests/s cannot be"),
        (with_route("chat", route="ai/policy/secret"), Beside(), "the plan is that of ai/policy/secret"),
        (with_route("chat", spill_order=("ai/own", "ai/own")), Beside(), "a pool is tried twice"),
        (with_route("chat"), Beside({"ai/api": {"comptroller.dev/paused": "true"}}), "ai/api is paused"),
    ],
)
def test_what_bounds_a_plan_is_held_against_it(made: Decision, beside: Beside, meaning: str) -> None:
    found = [str(one) for one in audit_plan(POLICIES, POOLS, made, beside)]
    assert any(meaning in one for one in found), found


@pytest.mark.parametrize("text", ["true", "three", "-1", "²", "12345", ""])
def test_an_annotation_that_is_no_count_holds_nothing(text: str) -> None:
    beside = Beside({"ai/own": {"comptroller.dev/hold-replicas": text}})
    assert audit_plan(POLICIES, POOLS, decision(), beside) == []


def test_a_hosted_pool_gets_no_more_requests_than_it_permits() -> None:
    made = with_route("chat", shares={"ai/api": 1.0}, spill_ratio=1.0, shed_ratio=0.0, requests_per_second=10.0)
    for limit, allowed in ((600, True), (599, False)):
        pools = {**POOLS, "ai/api": hosted_spec(limits={"requestsPerMinute": limit}, apiKeySecretRef=REFERENCE)}
        assert (audit_plan(POLICIES, pools, made) == []) is allowed


@pytest.mark.parametrize("word", ["queue", "reject"])
def test_a_route_that_would_rather_wait_is_not_sent_out(word: str) -> None:
    policy = policy_spec(route_spec("chat", "own", "api", onOverload=word), route_spec("secret", "own", data=INSIDE))
    found = audit_plan({"ai/policy": policy}, POOLS, decision())
    assert [one.meaning for one in found] == [f"onOverload is {word}, yet ai/api is a hosted API"]


@pytest.mark.parametrize("name", ["audit", "audit_router", "audit_section", "audit_pod"])
def test_the_auditor_shares_no_code_with_the_builders(name: str) -> None:
    tree = ast.parse((Path(comptroller.__file__).parent / "allocation" / f"{name}.py").read_text())
    imported = {one.module for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)}
    ours = {
        one for one in imported if one and one.startswith("comptroller.") and not one.startswith("comptroller.api.")
    }
    assert {one.rpartition(".")[2].split("_")[0] for one in ours} <= {"audit", "decision"}
