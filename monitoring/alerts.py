"""The alert rules. Each has a page in docs/runbooks: what one sees, what it means, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RUNBOOKS = "https://github.com/comptroller/comptroller/blob/main/docs/runbooks"
CRITICAL, WARNING, INFO = "critical", "warning", "info"


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule. `wait` is how long the expression must hold; `summary` may use labels and the value."""

    name: str
    severity: str
    expression: str
    wait: str
    summary: str

    def rule(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expression,
            **({"for": self.wait} if self.wait else {}),
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "runbook_url": f"{RUNBOOKS}/{self.name}.md"},
        }


def budget(name: str) -> str:
    """A budget's number, by how its routers count: those that count apart together, and what others share by Redis.

    Redis tells every router the same; without it each router has a part of its own.
    """
    by = "by (policy, scope, name, sharing)"
    metric = f"comptroller_router_budget_{name}"
    return f'(sum {by} ({metric}{{sharing="process"}}) or max {by} ({metric}{{sharing="redis"}}))'


def grew(labels: str, selector: str, window: str) -> str:
    """Series that counted something in this time. A counter that begins with its first count has no increase yet, so
    one that was not there before counts too."""
    by = f"sum by ({labels})"
    return f"({by} (increase({selector}[{window}])) > 0 or {by} ({selector} unless {selector} offset {window}) > 0)"


OF_OBJECT = "{{ $labels.kind }} {{ $labels.namespace }}/{{ $labels.name }}"
OF_ROUTE = "Route {{ $labels.route }} of {{ $labels.policy }}"
OF_BUDGET = "The budget of {{ $labels.scope }} {{ $labels.name }} of {{ $labels.policy }}"

ALERTS: Mapping[str, tuple[Alert, ...]] = {
    "comptroller-operator": (
        Alert(
            "ComptrollerAbsent", CRITICAL, "absent(comptroller_decision_timestamp_seconds)", "5m",
            "No Comptroller is scraped: nobody decides, or nobody sees it.",
        ),
        Alert(
            "ComptrollerDecisionsStale", CRITICAL,
            "time() - max(comptroller_decision_timestamp_seconds) > 180", "2m",
            "The newest decision is {{ $value | humanizeDuration }} old.",
        ),
        Alert(
            "ComptrollerMetricsUnknown", WARNING, "max(comptroller_unknown_measurements) > 0", "10m",
            "{{ $value }} measurements are unknown: the last good decision is held.",
        ),
        Alert(
            "ComptrollerDecisionsDegraded", WARNING,
            'sum(increase(comptroller_decisions_total{rung!="milp"}[30m]))'
            " / sum(increase(comptroller_decisions_total[30m])) > 0.1", "10m",
            "{{ $value | humanizePercentage }} of the decisions were not made by the programme.",
        ),
        Alert(
            "ComptrollerAuditRefused", CRITICAL, "increase(comptroller_audit_refusals_total[15m]) > 0", "",
            "The auditor refused a plan or a router's configuration.",
        ),
        Alert(
            "ComptrollerReconcileErrors", WARNING,
            'sum by (kind) (increase(comptroller_reconcile_total{result="error"}[15m])) > 3', "5m",
            "Reconciling of {{ $labels.kind }} failed {{ $value | humanize }} times in 15 minutes.",
        ),
        Alert(
            "ComptrollerObjectStalled", WARNING, 'comptroller_condition{type="Stalled",status="True"} == 1', "5m",
            f"{OF_OBJECT} cannot be acted upon: {{{{ $labels.reason }}}}.",
        ),
        Alert(
            "ComptrollerCostMispredicted", WARNING,
            'abs(sum(increase(comptroller_ledger_usd_total{kind="realised"}[6h]))'
            ' / (sum(increase(comptroller_ledger_usd_total{kind="predicted"}[6h])) > 0.1) - 1) > 0.25', "30m",
            "What six hours cost differs by {{ $value | humanizePercentage }} from what was predicted.",
        ),
        Alert(
            "ComptrollerCostUnknown", WARNING, "rate(comptroller_ledger_unknown_seconds_total[1h]) > 0.5", "15m",
            "Of {{ $value | humanizePercentage }} of the last hour nobody knows what it cost.",
        ),
    ),
    "comptroller-pools": (
        Alert(
            "ComptrollerCapacityShort", WARNING,
            'comptroller_condition{type="CapacityAvailable",status="False"} == 1', "15m",
            "Replicas of {{ $labels.namespace }}/{{ $labels.name }} wait for a GPU.",
        ),
        Alert(
            "ComptrollerReplicasMissing", WARNING,
            'comptroller_pool_replicas{state="ready"} < ignoring (state) comptroller_pool_replicas{state="desired"}',
            "30m",
            "Pool {{ $labels.namespace }}/{{ $labels.pool }} has fewer ready replicas than wanted: {{ $value }}.",
        ),
        Alert(
            "ComptrollerWarmupFailed", WARNING, 'comptroller_condition{kind="CacheWarmup",reason="WarmupFailed"} == 1',
            "5m",
            "Warm-up {{ $labels.namespace }}/{{ $labels.name }} failed.",
        ),
    ),
    "comptroller-routes": (
        Alert(
            "ComptrollerRestrictedDataLeft", CRITICAL,
            f"{grew('policy, route, pool', 'comptroller_router_responses_total', '10m')}"
            " and on (policy, route, pool) max by (policy, route, pool) (comptroller_route_forbidden_pool) == 1", "",
            f"{OF_ROUTE} was answered by {{{{ $labels.pool }}}}, which its data may not reach.",
        ),
        Alert(
            "ComptrollerRouterNotMeasured", WARNING,
            'comptroller_condition{kind="RoutingPolicy",type="MetricsAvailable",status="False"} == 1', "5m",
            "The demand of {{ $labels.namespace }}/{{ $labels.name }} is unknown: its routers are not scraped.",
        ),
        Alert(
            "ComptrollerFirstTokenSlow", WARNING,
            "comptroller_route_first_token_ratio < on (policy, route) comptroller_route_first_token_objective_ratio",
            "15m",
            f"{OF_ROUTE}: {{{{ $value | humanizePercentage }}}} of its first tokens are within the objective.",
        ),
        Alert(
            "ComptrollerSpillHigh", INFO, "comptroller_route_spill_ratio > 0.5", "1h",
            f"{OF_ROUTE}: hosted APIs answer {{{{ $value | humanizePercentage }}}} of it for an hour.",
        ),
        Alert(
            "ComptrollerRequestsRefused", WARNING,
            "sum by (policy, route)"
            ' (increase(comptroller_router_responses_total{outcome=~"shed|overloaded|error"}[15m]))'
            ' / (sum by (policy, route) (increase(comptroller_router_requests_total{route!="unknown"}[15m])) > 20)'
            " > 0.01", "5m",
            f"{OF_ROUTE}: {{{{ $value | humanizePercentage }}}} of its requests got no answer.",
        ),
        Alert(
            "ComptrollerRouterConfigRejected", WARNING,
            grew("namespace, pod", 'comptroller_router_reloads_total{result="rejected"}', "15m"), "",
            "Router {{ $labels.pod }} rejected a configuration and goes on with its last good one.",
        ),
    ),
    "comptroller-budgets": (
        Alert(
            "ComptrollerBudgetNear", WARNING, f"{budget('spent_usd')} / ({budget('limit_usd')} > 0) > 0.8", "5m",
            f"{OF_BUDGET} is spent to {{{{ $value | humanizePercentage }}}}.",
        ),
        Alert(
            "ComptrollerBudgetExhausted", WARNING,
            "max by (policy, scope, name) (comptroller_router_budget_exhausted) == 1", "",
            f"{OF_BUDGET} is spent: its action is in force until the period ends.",
        ),
        Alert(
            "ComptrollerBudgetNotShared", WARNING, "min by (policy) (comptroller_router_budget_shared) == 0", "5m",
            "A router of {{ $labels.policy }} does not reach Redis: it spends its own part of the budget only.",
        ),
    ),
}  # fmt: skip


def rules() -> dict[str, Any]:
    """The rules as a file that Prometheus loads."""
    return {"groups": [{"name": name, "rules": [one.rule() for one in group]} for name, group in ALERTS.items()]}


def prometheus_rule() -> dict[str, Any]:
    """The same as an object of the Prometheus operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "comptroller", "labels": {"app.kubernetes.io/name": "comptroller"}},
        "spec": rules(),
    }
