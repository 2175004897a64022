"""The budgets of a policy, divided over the processes that count what is spent of them.

Processes that share a counter (Redis) share the budget. Those that do not have an even part each, for nobody tells them
what the others spend. A restricted router never shares: Redis would be a way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from comptroller.api.routingpolicy import Budget, RoutingPolicySpec
from comptroller.api.settings import RedisSettings
from comptroller.render.router.plan import RouterBudget, RouterPlan, RouterRedis, SecretMount

PASSWORD_VARIABLE = "COMPTROLLER_REDIS_PASSWORD"  # noqa: S105 - a name


def with_budgets(
    plans: Sequence[RouterPlan], spec: RoutingPolicySpec, redis: RedisSettings | None
) -> tuple[RouterPlan, ...]:
    """The plans with the policy's budgets in them.

    $100 over an open router of 3 processes whose restricted sibling answers for nothing: $33.33 for each process, or
    $100 for all three with Redis. A router none of whose backends costs anything needs no part: its own is the whole.
    """
    asked = [*([(None, spec.budget)] if spec.budget else ()), *((one.name, one.budget) for one in spec.tenants)]
    budgets = [(tenant, budget) for tenant, budget in asked if budget is not None]
    if not budgets:
        return tuple(plans)
    spending = sum(plan.replicas for plan in plans if spends(plan))
    return tuple(
        replace(
            plan,
            budgets=tuple(_budget(tenant, one, plan, spending, shared=_shares(plan, redis)) for tenant, one in budgets),
            redis=_redis(redis) if redis is not None and _shares(plan, redis) else None,
        )
        for plan in plans
    )


def spends(plan: RouterPlan) -> bool:
    """Whether any answer of the router costs anything by the prices that it counts with."""
    return any(
        Decimal(price) > 0
        for route in plan.routes
        for one in route.everybody()
        for price in (one.input_usd_per_token, one.cached_input_usd_per_token, one.output_usd_per_token)
    )


def _shares(plan: RouterPlan, redis: RedisSettings | None) -> bool:
    return redis is not None and plan.kind == "open"


def _budget(tenant: str | None, budget: Budget, plan: RouterPlan, spending: int, *, shared: bool) -> RouterBudget:
    parts, mine = (spending, plan.replicas if shared else 1) if spends(plan) else (1, 1)
    return RouterBudget(tenant, str(budget.usd), budget.period, budget.time_zone, budget.on_exhausted, parts, mine)


def _redis(settings: RedisSettings) -> RouterRedis:
    secret = settings.password_secret_ref
    return RouterRedis(
        settings.url, None if secret is None else SecretMount(PASSWORD_VARIABLE, secret.name, secret.key)
    )
