"""Judges and shadows in router plans: only whom the data rules permit, with its key only where there may be one."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from comptroller.allocation.decision import RoutePlan
from comptroller.api.conditions import Reason
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.render.router.build import BackendState, TokenPrices, build_plans, key_variable
from comptroller.render.router.evaluation import ascending, never_running
from comptroller.render.router.litellm import litellm_config
from comptroller.render.router.plan import RouterPlan
from tests.unit.allocation.specs import hosted_spec, local_spec, policy_spec, route_spec

KEY = {"apiKeySecretRef": {"name": "claude", "key": "api-key"}}
POOLS: dict[str, ModelPoolSpec] = {
    "ai/own": local_spec("own"),
    "ai/inside": local_spec("inside"),
    "ai/claude": hosted_spec(**KEY),
    "ai/eu": hosted_spec(
        "mistral-large", ("EU", "external"), provider="openaiCompatible", baseUrl="https://eu.example/v1"
    ),
}
STATES = {name: BackendState(TokenPrices(), serving=1, max_concurrency=8) for name in POOLS}


def judge(pool: str, **changes: Any) -> dict[str, Any]:
    return {"pool": pool, "sampleRatio": "0.05", "rubric": "It is right.", **changes}


def built(route: dict[str, Any], states: dict[str, BackendState] | None = None) -> RouterPlan:
    (plan,) = build_plans("policy", "ai", policy_spec(route), POOLS, states or STATES, {})
    return plan


def models(plan: RouterPlan) -> dict[str, str]:
    return {
        one["model_name"]: one["model_info"]["id"]
        for one in yaml.safe_load(litellm_config(plan))["model_list"]
        if ":" in one["model_name"]
    }


def test_a_judge_is_a_model_that_is_no_route_with_its_own_key() -> None:
    plan = built(route_spec("chat", "own", evaluator=judge("claude"), shadow={"pool": "inside", "sampleRatio": "0.1"}))

    assert models(plan) == {"judge:chat": "ai/claude/judge:chat", "shadow:chat": "ai/inside/shadow:chat"}
    assert [(one.variable, one.secret) for one in plan.keys] == [(key_variable("claude"), "claude")]
    assert {one.pool for one in plan.limits} == {"ai/own", "ai/inside"}
    section = yaml.safe_load(litellm_config(plan))["x_comptroller"]["routes"][0]
    assert section["shadow"] == {"pool": "ai/inside", "sample_ratio": 0.1}
    assert section["evaluator"] == {
        "pool": "ai/claude", "sample_ratio": 0.05, "rubric": "It is right.", "escalate_on_fail": False,
        "structured": True, "ascending": ["ai/own"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "pool", "there"),
    [
        ({"perimeters": ["onPremises"]}, "claude", False),
        ({"perimeters": ["onPremises"]}, "inside", True),
        ({"jurisdictions": ["EU"]}, "claude", False),
        ({"jurisdictions": ["EU"]}, "eu", True),
    ],
)
def test_whoever_watches_is_bound_by_the_data_rules(data: dict[str, Any], pool: str, there: bool) -> None:
    watching = {"evaluator": judge(pool), "shadow": {"pool": pool, "sampleRatio": "1"}}
    plan = built(route_spec("chat", "own", data=data, **watching))

    assert bool(models(plan)) is there
    assert (plan.routes[0].evaluator is not None, plan.routes[0].shadow is not None) == (there, there)
    assert plan.keys == ()
    if plan.kind == "restricted":
        assert {name for name, _ in plan.inside_pools} == {"own", *(["inside"] if there else [])}


def test_a_local_judge_without_replicas_is_left_out_until_it_has_one() -> None:
    idle = STATES | {"ai/inside": BackendState(TokenPrices(), serving=0, max_concurrency=8)}
    assert models(built(route_spec("chat", "own", evaluator=judge("inside")), idle)) == {}


def test_a_judge_that_can_never_run_is_told() -> None:
    spec = policy_spec(route_spec("chat", "own", evaluator=judge("inside"), shadow={"pool": "own", "sampleRatio": "1"}))
    assert never_running(spec, "ai", POOLS, {"ai/own"}) == (
        "spec.routes[0].evaluator.pool: inside is no backend of any route and its spec.local.replicas.min is 0, so it "
        "never runs. Set it to 1",
    )
    assert never_running(spec, "ai", POOLS, {"ai/own", "ai/inside"}) == ()


def test_pools_ascend_by_what_the_decision_knows_else_by_what_is_declared() -> None:
    rates = {"own": "0.9", "inside": "0.8", "claude": "0.99"}
    backends = [{"pool": pool, "passRate": rate} for pool, rate in rates.items()]
    route = RoutingPolicySpec.model_validate({"routes": [{"name": "chat", "backends": backends}]}).routes[0]
    known = RoutePlan(
        "ai/policy/chat", {}, (), 0.0, 0.0, None, 1.0, 0.0, Reason.IDLE, "", pass_rates={"ai/own": 0.7}
    )  # fmt: skip

    assert ascending(route, None, "ai") == ("ai/inside", "ai/own", "ai/claude")
    assert ascending(route, known, "ai") == ("ai/own", "ai/inside", "ai/claude")
