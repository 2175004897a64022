"""Objects that cannot be acted upon say why, where, and what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from comptroller.allocation.validation import explain_stalls
from comptroller.api.conditions import Reason
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.settings import Settings
from comptroller.economics.prices import price_lookup
from tests.unit.allocation.specs import hosted_spec, local_spec, policy_spec, route_spec

PRICES = price_lookup(datetime(2026, 11, 1, tzinfo=UTC))
POOLS = {"ai/qwen3-32b": local_spec(), "ai/claude-sonnet": hosted_spec()}


def stalls(*routes: dict[str, Any], **pools: ModelPoolSpec) -> list[tuple[Reason, str]]:
    known = {**POOLS, **{f"ai/{name}": spec for name, spec in pools.items()}}
    policies = {"ai/policy": policy_spec(*routes)} if routes else {}
    found = explain_stalls(policies, known, Settings(), PRICES)
    return [(one.reason, one.message) for several in found.values() for one in several]


def test_what_can_be_acted_upon_has_no_stall() -> None:
    assert stalls(route_spec("chat", "qwen3-32b", "claude-sonnet")) == []


def test_no_permitted_backend_is_said_in_the_words_of_the_spec() -> None:
    chat = route_spec("chat", "qwen3-32b")
    secret = route_spec("secret", "claude-sonnet", data={"perimeters": ["onPremises"]})
    assert stalls(chat, {**chat, "name": "other"}, secret) == [
        (
            Reason.NO_PERMITTED_BACKEND,
            (
                "spec.routes[2].data allows perimeters [onPremises], but its backends are all external "
                "(claude-sonnet). "
                "Add a local pool to spec.routes[2].backends or widen spec.routes[2].data.perimeters."
            ),
        )
    ]


def test_a_jurisdiction_that_no_backend_is_in() -> None:
    (found,) = stalls(route_spec("chat", "claude-sonnet", data={"jurisdictions": ["EU", "CH"]}))
    assert found[1] == (
        "spec.routes[0].data allows jurisdictions [EU, CH], but its backends are all in US (claude-sonnet). "
        "Add a pool in EU or CH to spec.routes[0].backends or widen spec.routes[0].data.jurisdictions."
    )


def test_backends_that_each_break_another_rule() -> None:
    data = {"jurisdictions": ["EU"], "perimeters": ["external"]}
    (found,) = stalls(route_spec("chat", "qwen3-32b", "claude-sonnet", data=data))
    assert "none within all of it (qwen3-32b: onPremises, EU, claude-sonnet: external, US, hosted)" in found[1]


def test_a_hosted_pool_inside_the_perimeter_is_out_of_reach_of_a_restricted_router() -> None:
    near = hosted_spec(where=("EU", "onPremises"))
    (found,) = stalls(route_spec("chat", "near", data={"perimeters": ["onPremises"]}), near=near)
    assert found[0] is Reason.NO_PERMITTED_BACKEND
    assert "(near: onPremises, EU, hosted)" in found[1]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "spec.routes[0].backends[1].pool"),
        ({"shadow": {"pool": "gone", "sampleRatio": "0.1"}}, "spec.routes[0].shadow.pool"),
        ({"evaluator": {"pool": "gone", "sampleRatio": "0.1", "rubric": "good"}}, "spec.routes[0].evaluator.pool"),
    ],
    ids=["a backend", "a shadow", "an evaluator"],
)
def test_an_unknown_pool(fields: dict[str, Any], field: str) -> None:
    pools = ("qwen3-32b", *(() if fields else ("gone",)))
    assert stalls(route_spec("chat", *pools, **fields)) == [
        (
            Reason.UNKNOWN_POOL,
            f"{field} names gone, but there is no ModelPool gone in namespace ai. Create it or correct the name.",
        )
    ]


def test_an_unknown_gpu_class_lists_the_known_ones() -> None:
    ((reason, message),) = stalls(odd=local_spec(accelerator={"class": "h1000"}))
    assert reason is Reason.UNKNOWN_GPU_CLASS
    assert message == (
        "spec.local.accelerator.class is h1000, which is no GPU class of the settings. "
        "Known are a100, b200, cpu, h100, h200, l40s, mi300x, rtx4090, rtx5090. Use one of them "
        "or add it to gpuClasses."
    )


def test_a_hosted_model_without_a_price() -> None:
    assert stalls(odd=hosted_spec("no-such-model")) == [
        (
            Reason.MISSING_PRICE,
            (
                "spec.hosted.prices is absent, and the price list does not know no-such-model of anthropic. "
                "Set spec.hosted.prices, or correct spec.model.name."
            ),
        )
    ]


def test_a_judge_and_a_shadow_outside_of_what_the_data_rules_allow() -> None:
    one = route_spec("chat", "qwen3-32b", data={"perimeters": ["onPremises"]})
    one["evaluator"] = {"pool": "claude", "sampleRatio": "0.1", "rubric": "good"}
    one["shadow"] = {"pool": "claude", "sampleRatio": "0.1"}
    rules = "but spec.routes[0].data allows perimeters [onPremises] only."
    assert stalls(one, claude=hosted_spec()) == [
        (
            Reason.NO_PERMITTED_BACKEND,
            f"spec.routes[0].{part}.pool is claude, which is external in US, a hosted API, {rules} "
            f"Name a pool that may {does}, or remove spec.routes[0].{part}.",
        )
        for part, does in (("evaluator", "judge its answers"), ("shadow", "see its requests"))
    ]


def test_a_minimum_pass_rate_that_nobody_reaches() -> None:
    one = {
        "name": "chat",
        "backends": [{"pool": "qwen3-32b", "passRate": "0.9"}],
        "quality": {"minimumPassRate": "0.95"},
    }
    assert stalls(one) == [
        (
            Reason.UNREACHABLE_PASS_RATE,
            (
                "spec.routes[0].quality.minimumPassRate is 0.95, but the best permitted backend, "
                "qwen3-32b, passes 0.9. "
                "Lower it or add a better pool to spec.routes[0].backends."
            ),
        )
    ]


@pytest.mark.parametrize(
    ("pool", "has"), [("qwen3-32b", "has no adapter"), ("claude-sonnet", "is hosted and has none")]
)
def test_an_unknown_adapter(pool: str, has: str) -> None:
    ((reason, message),) = stalls({"name": "chat", "backends": [{"pool": pool, "adapter": "legal"}]})
    assert reason is Reason.INVALID
    assert message.startswith(f"spec.routes[0].backends[0].adapter is legal, but pool {pool} {has}.")
