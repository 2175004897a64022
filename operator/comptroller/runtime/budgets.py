"""Budgets between the routers that count them, the decision that paces them and the status that tells of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from comptroller.allocation.snapshot import Budget as Remaining
from comptroller.allocation.snapshot import Measurement, Sample, Unknown
from comptroller.api.conditions import ConditionType, Reason
from comptroller.api.routingpolicy import Budget, RoutingPolicySpec
from comptroller.api.settings import RedisSettings
from comptroller.kube.resources import KubeDict
from comptroller.observe.budgets import Spent, part_of, spent_of
from comptroller.observe.measurements import Measurements, find
from comptroller.render.names import label_value
from comptroller.render.router.build import router_name
from comptroller.runtime.clock import timestamp
from comptroller.runtime.reconcile.conditions import condition
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.reconcile.numbers import decimal_text, percent, usd_text, without_none

NEAR = 0.8
"""Share of a budget from which on its people are warned."""

State = Literal["Within", "Near", "Exhausted"]
Routers = Mapping[tuple[str, str], int]
"""(namespace, label of the router) -> pods that have been ready for long enough to be scraped."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What the routers tell of the budgets of one policy. `key` is its namespace/name."""

    key: str
    policy: RoutingPolicySpec
    measured: Measurements
    routers: Routers
    redis: RedisSettings | None
    now_seconds: float

    def spent(self, tenant: str | None) -> Spent:
        """Of the budget of a tenant, or of the policy itself."""
        return spent_of(self.measured, self.key, tenant, self.processes, self.now_seconds)

    @property
    def processes(self) -> int:
        """How many ready ones count for themselves: with Redis only those of the restricted router."""
        namespace, name = self.key.split("/", 1)
        kinds = (True,) if self.redis is not None else (False, True)
        labels = (label_value(router_name(name, restricted=kind)) for kind in kinds)
        return sum(self.routers.get((namespace, one), 0) for one in labels)


def budgets_of(policy: RoutingPolicySpec) -> Iterator[tuple[str | None, Budget]]:
    """The budget of the policy (None) and those of its tenants."""
    if policy.budget is not None:
        yield None, policy.budget
    for tenant in policy.tenants:
        if tenant.budget is not None:
            yield tenant.name, tenant.budget


def remaining(counted: Counted) -> tuple[Remaining, ...]:
    """What is left of each budget of a policy, for the decision."""
    found = []
    for tenant, budget in budgets_of(counted.policy):
        spent = counted.spent(tenant)
        left: Measurement = spent.usd
        if isinstance(left, Sample):
            left = Sample(max(0.0, float(budget.usd) - left.value))
        resets = spent.resets_at_seconds
        found.append(
            Remaining(
                key=counted.key if tenant is None else f"{counted.key}/{tenant}",
                parts=parts(counted, tenant),
                remaining_usd=left,
                seconds_to_reset=math.inf if isinstance(resets, Unknown) else resets.value - counted.now_seconds,
                binding=budget.on_exhausted != "alertOnly",
            )
        )
    return tuple(found)


def parts(counted: Counted, tenant: str | None) -> dict[str, float]:
    """The part of each route's requests that a budget pays for."""
    key, policy = counted.key, counted.policy
    if tenant is None:
        return {f"{key}/{one.name}": 1.0 for one in policy.routes}
    found = {}
    for route in policy.routes:
        may = [one.name for one in policy.tenants if not one.routes or route.name in one.routes]
        if tenant in may:
            found[f"{key}/{route.name}"] = part_of(counted.measured, key, route.name, tenant, len(may))
    return found


def state_of(spent_usd: float, budget_usd: float) -> State:
    """In one word. A budget of nothing is exhausted before the first request."""
    share = spent_usd / budget_usd if budget_usd > 0.0 else 1.0
    return "Exhausted" if share >= 1.0 else "Near" if share >= NEAR else "Within"


def statuses(counted: Counted) -> dict[str, Any]:
    """`tenants` of a policy's status, and `spending` where the policy itself has a budget."""
    told = {tenant: _status(counted.spent(tenant), float(one.usd)) for tenant, one in budgets_of(counted.policy)}
    tenants = [{"name": one.name, **told.get(one.name, {})} for one in counted.policy.tenants]
    return {"tenants": tenants, **({"spending": told[None]} if None in told else {})}


def _status(spent: Spent, budget_usd: float) -> dict[str, Any]:
    """What is spent is left out while nobody knows."""
    usd, resets = spent.usd, spent.resets_at_seconds
    return without_none(
        {
            "spentUsd": decimal_text(usd.value) if isinstance(usd, Sample) else None,
            "budgetUsd": decimal_text(budget_usd),
            "resetsAt": timestamp(resets.value) if isinstance(resets, Sample) else None,
            "state": state_of(usd.value, budget_usd) if isinstance(usd, Sample) else None,
        }
    )


def share_spent(spending: Mapping[str, Any] | None) -> str | None:
    """The share of the policy's budget that is spent, as `kubectl get` prints it."""
    if spending is None or "spentUsd" not in spending or not float(spending["budgetUsd"]):
        return None
    return percent(float(spending["spentUsd"]) / float(spending["budgetUsd"]))


def sharing_condition(counted: Counted, generation: int) -> list[dict[str, Any]]:
    """Whether the budgets hold over all router processes and their restarts; nothing where there is no budget."""
    kind, redis = ConditionType.BUDGETS_SHARED, counted.redis
    if not any(budgets_of(counted.policy)):
        return []
    if redis is None:
        text = (
            "Each router process counts for itself: it may spend its even part of a budget, and one whose pod is "
            "replaced begins at zero. Set router.redis in the operator's settings to count together."
        )
        return [condition(kind, False, Reason.COUNTED_APART, text, generation)]
    answers = find(counted.measured.redis_answers, (counted.key,), "no router has told yet")
    if isinstance(answers, Unknown):
        text = f"Whether Redis at {redis.url} answers is not known: {answers.reason}."
        return [condition(kind, False, Reason.NO_DATA, text, generation)]
    if answers.value < 1:
        text = (
            f"Redis at {redis.url} does not answer every router. Each spends its even part of what was left, and they "
            "agree again when it is back. See to its address, its password Secret and its Service."
        )
        return [condition(kind, False, Reason.UNREACHABLE, text, generation)]
    return [condition(kind, True, Reason.AVAILABLE, "All open router processes count in one Redis.", generation)]


async def tell_budgets(context: Context, live: KubeDict, status: Mapping[str, Any]) -> None:
    """An event when a budget comes near its end and one when it is spent, once per period: the status remembers."""
    before = _told(live.get("status") or {})
    for name, one in _told(status).items():
        state, known = one.get("state"), before.get(name, {})
        if state not in ("Near", "Exhausted") or (state, one.get("resetsAt")) == (
            known.get("state"),
            known.get("resetsAt"),
        ):
            continue
        whose = f"tenant {name}" if name else "the policy"
        spent, budget = (usd_text(float(one[field])) for field in ("spentUsd", "budgetUsd"))
        note = f"The budget of {whose}: ${spent} of ${budget} are spent. It begins anew at {one.get('resetsAt')}."
        await context.events.post(live, f"Budget{state}", "Count", note, context.now()[2], "Warning")


def _told(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Tenant, or nothing for the policy -> what the status tells of its budget."""
    found = {str(one["name"]): one for one in status.get("tenants") or () if "budgetUsd" in one}
    return found | ({"": status["spending"]} if status.get("spending") else {})
