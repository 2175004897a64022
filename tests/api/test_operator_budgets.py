"""Budgets: what the routers count reaches status, events and plan; what nobody tells stays unknown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.operator_objects import hosted_pool, local_pool, policy
from tests.api.operator_process import Fleet, until

pytestmark = [pytest.mark.api, pytest.mark.xdist_group("operator")]

DAY_SECONDS = 86_400


@pytest.fixture(scope="module")
def budgeted(fleet: Fleet) -> Iterator[Fleet]:
    """A policy with a budget of its own and one of its tenant, on one small pool and an API."""
    fleet.apply(local_pool("till", fleet.gpu_class, maximum=1), hosted_pool("bank"), _policy("100"))
    fleet.drive("purse", chat=1.0)
    yield fleet
    fleet.routers.remove(f"{fleet.namespace}/purse")


def _policy(tenant_usd: str) -> dict[str, Any]:
    made = policy("purse", "till", "bank")
    made["spec"]["budget"] = {"usd": "1000", "period": "month", "onExhausted": "alertOnly"}
    made["spec"]["tenants"][0]["budget"] = {"usd": tenant_usd, "period": "day", "timeZone": "Europe/Berlin"}
    return made


def test_what_is_spent_is_told_by_status_column_condition_and_one_event_each(budgeted: Fleet) -> None:
    status = until("the policy has a status", lambda: _status(budgeted).get("tenants"))
    assert status == [{"name": "research", "budgetUsd": "100"}]  # unknown is not zero

    resets = time.time() + DAY_SECONDS / 2
    _spent(budgeted, 12.5, resets)
    tenant = until("it is told", lambda: [one for one in _status(budgeted)["tenants"] if "spentUsd" in one])[0]
    assert (tenant["spentUsd"], tenant["budgetUsd"], tenant["state"]) == ("12.5", "100", "Within")
    assert tenant["resetsAt"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(resets))
    assert _status(budgeted)["spending"]["budgetUsd"] == "1000"
    assert _events(budgeted) == []
    shared = budgeted.condition("routingpolicy", "purse", "BudgetsShared")
    assert (shared["status"], shared["reason"]) == ("False", "CountedApart")
    honoured = budgeted.condition("routingpolicy", "purse", "FieldsHonoured")
    assert honoured["status"] == "True"

    for usd, state in ((85.0, "Near"), (101.0, "Exhausted")):
        _spent(budgeted, usd, resets)
        until(f"the state is {state}", lambda state=state: _status(budgeted)["tenants"][0]["state"] == state)
    until("both are told", lambda: _events(budgeted) == ["BudgetExhausted", "BudgetNear"])
    until("the column shows it", lambda: "10%" in budgeted.kubectl("get", "routingpolicy", "purse").split())


def test_a_spent_budget_leaves_nothing_to_spill_with(budgeted: Fleet) -> None:
    budgeted.apply(_policy("1000000"))
    _spent(budgeted, 10.0, time.time() + DAY_SECONDS / 2)
    budgeted.drive("purse", chat=40.0)  # far more than the one replica can answer
    until("the API takes the rest", lambda: budgeted.shares("purse", "chat").get("bank", 0) > 0.2, 60)
    _spent(budgeted, 1_000_000.0, time.time() + DAY_SECONDS / 2)
    until("nothing is planned outside", lambda: budgeted.shares("purse", "chat").get("bank", 0) == 0, 60)


def _spent(fleet: Fleet, usd: float, resets_at: float) -> None:
    fleet.routers.spend(f"{fleet.namespace}/purse", resets_at, research=usd)


def _status(fleet: Fleet) -> dict[str, Any]:
    return fleet.get("routingpolicy", "purse").get("status") or {}


def _events(fleet: Fleet) -> list[str]:
    return sorted(
        one["reason"] for reason in ("BudgetNear", "BudgetExhausted") for one in fleet.events(reason)
        if one["regarding"]["name"] == "purse"
    )  # fmt: skip
