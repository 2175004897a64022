"""For each alert: series with which it fires (with its labels and what it says), and series with which it is silent.

Series are in promtool's own notation: `0+10x30` begins at 0 and grows by 10 for 30 minutes; `_x5` is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Series = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """`fires` after `minutes` with these labels and words; `silent` does not within the same time."""

    minutes: int
    fires: Series
    labels: Mapping[str, str]
    says: str
    silent: Series


def condition(kind: str, name: str, type_: str, status: str, reason: str) -> str:
    return (
        f'comptroller_condition{{kind="{kind}",namespace="ai",name="{name}",type="{type_}",status="{status}",'
        f'reason="{reason}"}}'
    )


def seen(kind: str, name: str, type_: str, status: str, reason: str) -> dict[str, str]:
    return { "kind": kind, "namespace": "ai", "name": name, "type": type_,
        "status": status, "reason": reason,
    }  # fmt: skip


ROUTE = 'policy="ai/desk",route="chat"'
OF_ROUTE = {"policy": "ai/desk", "route": "chat"}
ANSWERS = f'comptroller_router_responses_total{{{ROUTE},tenant="red",'
FORBIDDEN = f'comptroller_route_forbidden_pool{{{ROUTE},pool="ai/api"}}'
RED = {"policy": "ai/desk", "scope": "tenant", "name": "red"}


def budget(name: str, sharing: str, pod: str) -> str:
    of = f'policy="ai/desk",scope="tenant",name="red",sharing="{sharing}",pod="{pod}"'
    return f"comptroller_router_budget_{name}{{{of}}}"


CASES: Mapping[str, Case] = {
    "ComptrollerAbsent": Case(
        6, {}, {}, "No Comptroller is scraped: nobody decides, or nobody sees it.",
        {"comptroller_decision_timestamp_seconds": "0+60x30"},
    ),
    "ComptrollerDecisionsStale": Case(
        6, {"comptroller_decision_timestamp_seconds": "0x30"}, {}, "The newest decision is 6m 0s old.",
        {"comptroller_decision_timestamp_seconds": "0+60x30"},
    ),
    "ComptrollerMetricsUnknown": Case(
        12, {"comptroller_unknown_measurements": "2x30"}, {},
        "2 measurements are unknown: the last good decision is held.",
        {"comptroller_unknown_measurements": "2x5 0x25"},
    ),
    "ComptrollerDecisionsDegraded": Case(
        45,
        {'comptroller_decisions_total{rung="milp"}': "0+3x60", 'comptroller_decisions_total{rung="hold"}': "0+1x60"},
        {}, "25% of the decisions were not made by the programme.",
        {'comptroller_decisions_total{rung="milp"}': "0+99x60", 'comptroller_decisions_total{rung="hold"}': "0+1x60"},
    ),
    "ComptrollerAuditRefused": Case(
        10, {"comptroller_audit_refusals_total": "0x5 1x20"}, {},
        "The auditor refused a plan or a router's configuration.",
        {"comptroller_audit_refusals_total": "4x30"},
    ),
    "ComptrollerReconcileErrors": Case(
        25, {'comptroller_reconcile_total{kind="ModelPool",result="error"}': "0+1x40"}, {"kind": "ModelPool"},
        "Reconciling of ModelPool failed 15 times in 15 minutes.",
        {'comptroller_reconcile_total{kind="ModelPool",result="ok"}': "0+10x40"},
    ),
    "ComptrollerObjectStalled": Case(
        6, {condition("ModelPool", "big", "Stalled", "True", "MissingPrice"): "1x30"},
        seen("ModelPool", "big", "Stalled", "True", "MissingPrice"),
        "ModelPool ai/big cannot be acted upon: MissingPrice.",
        {condition("ModelPool", "big", "Stalled", "False", "Converged"): "1x30"},
    ),
    "ComptrollerCostMispredicted": Case(
        420, {
            'comptroller_ledger_usd_total{kind="realised"}': "0+2x450",
            'comptroller_ledger_usd_total{kind="predicted"}': "0+1x450",
        },
        {}, "What six hours cost differs by 100% from what was predicted.",
        {
            'comptroller_ledger_usd_total{kind="realised"}': "0+1.1x450",
            'comptroller_ledger_usd_total{kind="predicted"}': "0+1x450",
        },
    ),
    "ComptrollerCostUnknown": Case(
        90, {"comptroller_ledger_unknown_seconds_total": "0+60x100"}, {},
        "Of 100% of the last hour nobody knows what it cost.",
        {"comptroller_ledger_unknown_seconds_total": "0+6x100"},
    ),
    "ComptrollerCapacityShort": Case(
        16, {condition("ModelPool", "big", "CapacityAvailable", "False", "CapacityShort"): "1x30"},
        seen("ModelPool", "big", "CapacityAvailable", "False", "CapacityShort"),
        "Replicas of ai/big wait for a GPU.",
        {condition("ModelPool", "big", "CapacityAvailable", "True", "Available"): "1x30"},
    ),
    "ComptrollerReplicasMissing": Case(
        31, {
            'comptroller_pool_replicas{namespace="ai",pool="big",state="ready"}': "2x60",
            'comptroller_pool_replicas{namespace="ai",pool="big",state="desired"}': "4x60",
        },
        {"namespace": "ai", "pool": "big"},
        "Pool ai/big has fewer ready replicas than wanted: 2.",
        {
            'comptroller_pool_replicas{namespace="ai",pool="big",state="ready"}': "2x10 4x50",
            'comptroller_pool_replicas{namespace="ai",pool="big",state="desired"}': "4x60",
        },
    ),
    "ComptrollerWarmupFailed": Case(
        6, {condition("CacheWarmup", "hot", "Ready", "False", "WarmupFailed"): "1x30"},
        seen("CacheWarmup", "hot", "Ready", "False", "WarmupFailed"), "Warm-up ai/hot failed.",
        {condition("CacheWarmup", "hot", "Ready", "False", "Warming"): "1x30"},
    ),
    # one single answer, on a counter that begins with it
    "ComptrollerRestrictedDataLeft": Case(
        16, {f'{ANSWERS}pool="ai/api",outcome="disconnected"}}': "_x14 1x30", FORBIDDEN: "1x60"},
        OF_ROUTE | {"pool": "ai/api"}, "Route chat of ai/desk was answered by ai/api, which its data may not reach.",
        {f'{ANSWERS}pool="ai/own",outcome="ok"}}': "0+10x60", FORBIDDEN: "1x60"},
    ),
    "ComptrollerRouterNotMeasured": Case(
        6, {condition("RoutingPolicy", "desk", "MetricsAvailable", "False", "Stale"): "1x30"},
        seen("RoutingPolicy", "desk", "MetricsAvailable", "False", "Stale"),
        "The demand of ai/desk is unknown: its routers are not scraped.",
        {condition("RoutingPolicy", "desk", "MetricsAvailable", "True", "Available"): "1x30"},
    ),
    "ComptrollerFirstTokenSlow": Case(
        16, {
            f"comptroller_route_first_token_ratio{{{ROUTE}}}": "0.9x30",
            f"comptroller_route_first_token_objective_ratio{{{ROUTE}}}": "0.95x30",
        },
        OF_ROUTE,
        "Route chat of ai/desk: 90% of its first tokens are within the objective.",
        {
            f"comptroller_route_first_token_ratio{{{ROUTE}}}": "0.97x30",
            f"comptroller_route_first_token_objective_ratio{{{ROUTE}}}": "0.95x30",
        },
    ),
    "ComptrollerSpillHigh": Case(
        65, {f"comptroller_route_spill_ratio{{{ROUTE}}}": "0.75x90"},
        OF_ROUTE,
        "Route chat of ai/desk: hosted APIs answer 75% of it for an hour.",
        {f"comptroller_route_spill_ratio{{{ROUTE}}}": "0.75x30 0.1x60"},
    ),
    "ComptrollerRequestsRefused": Case(
        25, {
            f'{ANSWERS}pool="none",outcome="shed"}}': "0+1x60",
            f"comptroller_router_requests_total{{{ROUTE}}}": "0+10x60",
        },
        OF_ROUTE, "Route chat of ai/desk: 10% of its requests got no answer.",
        {
            f'{ANSWERS}pool="none",outcome="client_error"}}': "0+1x60",
            f"comptroller_router_requests_total{{{ROUTE}}}": "0+10x60",
        },
    ),
    "ComptrollerRouterConfigRejected": Case(
        20, {'comptroller_router_reloads_total{result="rejected",namespace="ai",pod="r-1"}': "_x18 1x30"},
        {"namespace": "ai", "pod": "r-1"}, "Router r-1 rejected a configuration and goes on with its last good one.",
        {'comptroller_router_reloads_total{result="applied",namespace="ai",pod="r-1"}': "_x18 1x30"},
    ),
    # two routers with half of the budget each: the sum counts; with Redis both tell the same, and it counts once
    "ComptrollerBudgetNear": Case(
        6, {
            budget("spent_usd", "process", "a"): "50x30", budget("limit_usd", "process", "a"): "50x30",
            budget("spent_usd", "process", "b"): "40x30", budget("limit_usd", "process", "b"): "50x30",
        },
        RED | {"sharing": "process"}, "The budget of tenant red of ai/desk is spent to 90%.",
        {
            budget("spent_usd", "redis", "a"): "60x30", budget("limit_usd", "redis", "a"): "100x30",
            budget("spent_usd", "redis", "b"): "60x30", budget("limit_usd", "redis", "b"): "100x30",
        },
    ),
    "ComptrollerBudgetExhausted": Case(
        2, {budget("exhausted", "redis", "a"): "1x30"}, RED,
        "The budget of tenant red of ai/desk is spent: its action is in force until the period ends.",
        {budget("exhausted", "redis", "a"): "0x30"},
    ),
    "ComptrollerBudgetNotShared": Case(
        6, {
            'comptroller_router_budget_shared{policy="ai/desk",pod="a"}': "0x30",
            'comptroller_router_budget_shared{policy="ai/desk",pod="b"}': "1x30",
        },
        {"policy": "ai/desk"},
        "A router of ai/desk does not reach Redis: it spends its own part of the budget only.",
        {'comptroller_router_budget_shared{policy="ai/desk",pod="a"}': "1x30"},
    ),
}  # fmt: skip
