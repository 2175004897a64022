"""From a router plan to LiteLLM's configuration and objects."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import yaml

from comptroller.render.policy import policy_children
from comptroller.render.router.build import build_plans
from comptroller.render.router.litellm import litellm_config, plugin_files
from tests.golden.cases import DECIDED, KEYED, POLICY, SETTINGS, STATES, Objects, owner, policy


def of(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    return next(one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name))


def config(restricted: bool = False) -> dict[str, Any]:
    name = "research-router-restricted" if restricted else "research-router"
    content: dict[str, Any] = yaml.safe_load(of(policy(), "ConfigMap", name)["data"]["config.yaml"])
    return content


def test_a_new_split_changes_the_configuration_and_not_the_pods() -> None:
    key = "inference/research/extraction"
    other = replace(DECIDED[key], shares={"inference/claude-sonnet": 1.0}, shed_ratio=0.5)
    plans = build_plans("research", "inference", POLICY, KEYED, STATES, DECIDED | {key: other})
    changed = policy_children(plans, POLICY, owner("RoutingPolicy", "research"), SETTINGS)

    before, after = (of(one, "ConfigMap", "research-router")["data"] for one in (policy(), changed))
    assert before != after
    before, after = (of(one, "Deployment", "research-router")["spec"]["template"] for one in (policy(), changed))
    assert before == after


def test_the_restricted_router_knows_no_key_and_no_host_outside() -> None:
    objects = [one for one in policy() if one["metadata"]["name"].startswith("research-router-restricted")]
    told = json.dumps([one for one in objects if not one["metadata"]["name"].endswith("-plugin")])

    for word in ("API_KEY_", "anthropic", "claude", "gpt", "https://", "secretKeyRef"):
        assert word not in told
    containers = of(objects, "Deployment", "research-router-restricted")["spec"]["template"]["spec"]["containers"]
    assert all("valueFrom" not in variable for one in containers for variable in one["env"])


def test_the_restricted_router_reaches_its_pools_and_dns_and_nothing_else() -> None:
    egress = of(policy(), "NetworkPolicy", "research-router-restricted")["spec"]["egress"]

    reached = [
        (rule["to"][0].get("podSelector", {}).get("matchLabels", {}).get("comptroller.dev/pool", "dns"), rule["ports"])
        for rule in egress
    ]
    assert [name for name, _ in reached] == ["dns", "qwen3-32b-h100", "qwen3-8b-4090", "tiny-cpu"]
    assert all(port["port"] in (53, 8000, 8080) for _, ports in reached for port in ports)
    assert all(len(rule["to"]) == 1 and rule["to"][0] for rule in egress)


def test_reserves_are_drawn_only_when_the_planned_ones_are_excluded() -> None:
    weights = [one["litellm_params"]["weight"] for one in config()["model_list"] if one["model_name"] == "extraction"]

    assert weights == [700, 300, 1e-6, 1e-9]
    assert all("order" not in one["litellm_params"] for one in config()["model_list"])


def test_every_backend_has_prices_and_names_its_pool_and_route() -> None:
    for one in config()["model_list"]:
        assert {"input_cost_per_token", "output_cost_per_token"} <= set(one["litellm_params"])
        assert one["model_info"]["id"].endswith("/" + one["model_name"])


def test_caches_are_rendered_for_the_plugin() -> None:
    caches = config()["x_comptroller"]["prompt_caches"]

    assert [one for one in caches if "marks" in one] == [
        {
            "pool": "inference/claude-sonnet",
            "route": "extraction",
            "marks": {"tools": "1h", "system": "1h"},
            "minimum_tokens": 1024,
        }
    ]
    assert "cache_control" not in str(config()["model_list"])


def test_no_key_of_a_tenant_or_an_api_is_in_any_object() -> None:
    rendered = yaml.safe_dump([one for one in policy() if not one["metadata"]["name"].endswith("-plugin")])

    assert "os.environ/API_KEY_" in rendered
    assert "sk-" not in rendered
    assert "master_key" not in rendered


def test_the_plugin_fits_into_a_config_map() -> None:
    assert sum(len(text) for _, text in plugin_files()) < 512 * 1024
    assert "__main__.py" in dict(plugin_files())


def test_a_configuration_is_a_function_of_the_plan() -> None:
    plan = build_plans("research", "inference", POLICY, KEYED, STATES, DECIDED)[0]

    assert litellm_config(plan) == litellm_config(plan)
