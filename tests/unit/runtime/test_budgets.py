"""Budgets from what the routers count to the decision, the status and the events."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.allocation.snapshot import Budget, Sample, Unknown
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.api.settings import Settings
from comptroller.observe.measurements import Measurements
from comptroller.runtime.budgets import Counted, share_spent, sharing_condition, state_of, statuses
from tests.unit.kube import build
from tests.unit.runtime.test_gather import NOW, World, router
from tests.unit.runtime.test_reconcile import reconcile, status
from tests.unit.runtime.world import World as LoopWorld

POLICY, RESEARCH, OTHER = (("ai/research", *rest) for rest in (("policy", ""), ("tenant", "research"), ("tenant", "x")))
TENANTS = [
    {"name": "research", "keysSecretRef": {"name": "a"}, "budget": {"usd": "100", "period": "day"}},
    {"name": "x", "keysSecretRef": {"name": "b"}, "budget": {"usd": "10", "period": "day", "onExhausted": "alertOnly"}},
    {"name": "y", "keysSecretRef": {"name": "c"}},
]
RESETS = dict.fromkeys((POLICY, RESEARCH, OTHER), Sample(NOW + 7200.0))
REDIS = {"router": {"redis": {"url": "redis://redis.shared:6379"}}}


def policy() -> dict[str, Any]:
    made = build.policy()
    made["spec"] |= {"tenants": TENANTS, "budget": {"usd": "1000", "period": "month", "onExhausted": "reject"}}
    return made


def world(*more: Any, settings: dict[str, Any] | None = None) -> World:
    made = Settings.model_validate(settings or {})
    return World(build.pool(), build.hosted_pool(), policy(), router("a"), *more, settings=made)


def told(**series: Any) -> dict[str, Any]:
    spent = {POLICY: Sample(500.0), RESEARCH: Sample(85.0), OTHER: Sample(12.0)}
    counted = dict.fromkeys((POLICY, RESEARCH, OTHER), Sample(1.0))
    return {"budget_resets": RESETS, "spent_apart": spent, "counted_apart": counted, **series}


def budgets(world: World, **series: Any) -> dict[str, Budget]:
    return {one.key: one for one in world.gather(**told(**series)).budgets}


def counted(world: World, **series: Any) -> Counted:
    spec = RoutingPolicySpec.model_validate(policy()["spec"])
    redis = world.settings.router.redis
    return Counted("ai/research", spec, Measurements(**told(**series)), {("ai", "research-router"): 1}, redis, NOW)


class TestWhatTheDecisionGetsToKnow:
    def test_what_is_left_of_each_budget_and_for_how_long(self) -> None:
        rates = {("ai/research", "chat", "research"): Sample(3.0), ("ai/research", "chat", "x"): Sample(1.0)}
        found = budgets(world(), asked_by_tenant=rates)
        assert {key: one.remaining_usd for key, one in found.items()} == {
            "ai/research": Sample(500.0), "ai/research/research": Sample(15.0), "ai/research/x": Sample(0.0),
        }  # fmt: skip
        assert {one.seconds_to_reset for one in found.values()} == {7200.0}
        assert {key: one.binding for key, one in found.items()} == {
            "ai/research": True, "ai/research/research": True, "ai/research/x": False,
        }  # fmt: skip
        assert found["ai/research"].parts == {"ai/research/chat": 1.0}
        assert found["ai/research/research"].parts == {"ai/research/chat": 0.75}

    def test_before_the_first_request_tenants_have_even_parts(self) -> None:
        assert budgets(world())["ai/research/x"].parts == {"ai/research/chat": pytest.approx(1 / 3)}

    @pytest.mark.parametrize(
        ("series", "words"),
        [
            ({"budget_resets": {}}, "no router has told yet what is spent"),
            ({"budget_resets": Unknown("Prometheus is away")}, "Prometheus is away"),
            ({"budget_resets": dict.fromkeys(RESETS, Sample(NOW - 1.0))}, "the period has ended"),
            ({"counted_apart": {}}, "0 of 1 routers tell what they have spent"),
        ],
    )
    def test_what_is_not_known_is_unknown(self, series: dict[str, Any], words: str) -> None:
        left = budgets(world(), **series)["ai/research"].remaining_usd
        assert isinstance(left, Unknown)
        assert left.reason.startswith(words)

    def test_a_router_that_is_not_scraped_hides_what_it_spent(self) -> None:
        left = budgets(world(router("b")))["ai/research"].remaining_usd
        assert left == Unknown("1 of 2 routers tell what they have spent")

    def test_with_redis_all_tell_one_sum_and_a_restricted_router_adds_its_own(self) -> None:
        both = world(router("b"), router("c", of="research-router-restricted"), settings=REDIS)
        found = budgets(both, spent_together={POLICY: Sample(400.0)}, spent_apart={POLICY: Sample(30.0)})
        assert found["ai/research"].remaining_usd == Sample(570.0)

    def test_policies_with_a_tenant_of_the_same_name_are_apart(self) -> None:
        other = policy()
        other["metadata"] = {**other["metadata"], "name": "trading", "uid": "uid-trading"}
        found = budgets(
            world(other), spent_apart={RESEARCH: Sample(85.0), ("ai/trading", "tenant", "research"): Sample(1.0)}
        )
        assert found["ai/research/research"].remaining_usd == Sample(15.0)
        assert isinstance(found["ai/trading/research"].remaining_usd, Unknown)


class TestStatus:
    def test_tenants_and_the_policy_tell_what_is_spent(self) -> None:
        made = statuses(counted(world()))
        at = made["spending"]["resetsAt"]
        assert made == {
            "spending": {"spentUsd": "500", "budgetUsd": "1000", "resetsAt": at, "state": "Within"},
            "tenants": [
                {"name": "research", "spentUsd": "85", "budgetUsd": "100", "resetsAt": at, "state": "Near"},
                {"name": "x", "spentUsd": "12", "budgetUsd": "10", "resetsAt": at, "state": "Exhausted"},
                {"name": "y"},
            ],
        }
        assert share_spent(made["spending"]) == "50%"

    def test_what_nobody_knows_is_left_out(self) -> None:
        made = statuses(counted(world(), budget_resets={}))
        assert made["spending"] == {"budgetUsd": "1000"}
        assert share_spent(made["spending"]) is None

    @pytest.mark.parametrize(
        ("spent", "of", "state"),
        [(0, 0, "Exhausted"), (79.9, 100, "Within"), (80, 100, "Near"), (99.9, 100, "Near"), (100, 100, "Exhausted")],
    )
    def test_the_words(self, spent: float, of: float, state: str) -> None:
        assert state_of(spent, of) == state

    @pytest.mark.parametrize(
        ("settings", "series", "said"),
        [
            ({}, {}, ("False", "CountedApart")),
            (REDIS, {"redis_answers": {("ai/research",): Sample(1.0)}}, ("True", "Available")),
            (REDIS, {"redis_answers": {("ai/research",): Sample(0.0)}}, ("False", "Unreachable")),
            (REDIS, {"redis_answers": {}}, ("False", "NoData")),
        ],
    )
    def test_whether_budgets_hold_over_all_routers_is_said(
        self, settings: dict[str, Any], series: dict[str, Any], said: tuple[str, str]
    ) -> None:
        (one,) = sharing_condition(counted(world(settings=settings), **series), 1)
        assert (one["type"], one["status"], one["reason"]) == ("BudgetsShared", *said)

    def test_a_policy_without_a_budget_says_nothing_of_budgets(self) -> None:
        spec = RoutingPolicySpec.model_validate(build.policy()["spec"])
        assert sharing_condition(Counted("ai/research", spec, Measurements(), {}, None, NOW), 1) == []


async def test_a_budget_that_ends_is_told_once_per_period() -> None:
    made = LoopWorld()
    made.api.edit("RoutingPolicy", "research", lambda item: item["spec"].update(tenants=TENANTS[:1]))

    async def round_with(usd: float, resets: float) -> None:
        made.source.told = {
            "sum by (policy, scope, name)": {RESEARCH: Sample(usd)},
            "count by (policy, scope, name)": {RESEARCH: Sample(1.0)},
            "budget_reset_timestamp": {RESEARCH: Sample(resets)},
        }
        await made.round(1.0)
        await reconcile(made)

    def notes() -> list[str]:
        return [one["reason"] for one in made.api.events if one["reason"].startswith("Budget")]

    end = 4e9
    await round_with(10.0, end)
    assert notes() == []
    for usd in (81.0, 85.0, 99.0):
        await round_with(usd, end)
    assert notes() == ["BudgetNear"]
    for usd in (100.0, 104.0):
        await round_with(usd, end)
    assert notes() == ["BudgetNear", "BudgetExhausted"]
    assert status(made, "research", "RoutingPolicy")["tenants"][0]["state"] == "Exhausted"
    await round_with(1.0, end + 86_400)
    await round_with(90.0, end + 86_400)
    assert notes() == ["BudgetNear", "BudgetExhausted", "BudgetNear"]
    note = next(one["note"] for one in made.api.events if one["reason"] == "BudgetExhausted")
    assert note == (
        "The budget of tenant research: $100.00 of $100.00 are spent. It begins anew at 2096-10-02T07:06:40Z."
    )
