"""What Prometheus is asked about budgets."""

from __future__ import annotations

from collections.abc import Mapping

SPENT = "comptroller_router_budget_spent_usd"
KEY = ("policy", "scope", "name")
QUESTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    # each process counts for itself: they add up
    "spent_apart": (f'sum by (policy, scope, name) ({SPENT}{{sharing="process"}})', KEY),
    "counted_apart": (f'count by (policy, scope, name) ({SPENT}{{sharing="process"}})', KEY),
    # all tell the sum that they share; one that is away from Redis knows less
    "spent_together": (f'max by (policy, scope, name) ({SPENT}{{sharing="redis"}})', KEY),
    "budget_resets": ("max by (policy, scope, name) (comptroller_router_budget_reset_timestamp_seconds)", KEY),
    "redis_answers": ("min by (policy) (comptroller_router_budget_shared)", ("policy",)),
}
"""Field of `Measurements` -> PromQL and the labels of its key."""
