"""The Grafana dashboard: rows of panels, each a question with its query, rendered as Grafana's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitoring.alerts import budget

SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH = 24
POLICY = 'policy=~"$policy"'
WINDOW = "$__rate_interval"


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and how its series are named. `needs_routers`: it speaks of what only real routers tell."""

    expression: str
    legend: str = ""
    needs_routers: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One question. `kind` is Grafana's panel type; `unit` is Grafana's, such as `currencyUSD` or `percentunit`."""

    title: str
    queries: tuple[Query, ...]
    unit: str
    why: str
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False


def _rate(counter: str, labels: str, by: str) -> str:
    return f"sum by ({by}) (rate({counter}{{{labels}}}[{WINDOW}]))"


OK = f'{POLICY},outcome="ok"'
SPILLED = "sum(comptroller_route_requests_per_second * comptroller_route_spill_ratio)"
INSIDE = f"1 - {SPILLED} / (sum(comptroller_route_requests_per_second) > 0)"
LATE = (
    f"histogram_quantile(0.95, {_rate('comptroller_router_time_to_first_token_seconds_bucket', POLICY, 'le, route')})"
)

ROWS: Mapping[str, tuple[Panel, ...]] = {
    "Now": (
        Panel("Spending", (Query("max(comptroller_usd_per_hour)"),), "currencyUSD",
              "Predicted, marginal basis: power, rent and tokens, per hour.", "stat", 4),
        Panel("Answered inside", (Query(INSIDE),), "percentunit", "Planned share that own GPUs answer.", "stat", 4),
        Panel("Arrivals", (Query("sum(comptroller_route_requests_per_second)"),), "reqps",
              "Measured requests per second.", "stat", 4),
        Panel("Unknown measurements", (Query("max(comptroller_unknown_measurements)"),), "none",
              "While there are any, the last good decision is held.", "stat", 4),
        Panel("Age of the decision", (Query("time() - max(comptroller_decision_timestamp_seconds)"),), "s",
              "It should stay below a minute.", "stat", 4),
        Panel("Objects that cannot be acted upon",
              (Query('sum(comptroller_condition{type="Stalled",status="True"}) or vector(0)'),), "none",
              "kubectl get mp,rp,cw tells which and why.", "stat", 4),
    ),
    "Money": (
        Panel("Tokens of hosted APIs, per hour",
              (Query(f"3600 * {_rate('comptroller_router_usd_total', POLICY, 'pool')}", "{{pool}}", True),),
              "currencyUSD", "Charged by the configured prices.", stacked=True),
        Panel("Own and rented GPUs, per hour",
              (Query(f'3600 * sum by (pool) (rate(comptroller_pool_usd_total{{basis="marginal"}}[{WINDOW}]))',
                     "{{pool}}"),),
              "currencyUSD", "Marginal basis: power and rent.", stacked=True),
        Panel("One more GPU would be worth, per hour",
              (Query("comptroller_gpu_shadow_price_usd_per_hour", "{{gpu_class}} {{site}}"),), "currencyUSD",
              "The marginal value of capacity. Compare it with what owning one costs."),
        Panel("Predicted and realised",
              (Query(f"3600 * sum by (kind) (rate(comptroller_ledger_usd_total[{WINDOW}]))", "{{kind}}"),),
              "currencyUSD", "Per hour, where both are known: the two should lie on each other.", width=12),
        Panel("Tokens by tenant, per hour",
              (Query(f"3600 * {_rate('comptroller_router_usd_total', POLICY, 'tenant')}", "{{tenant}}", True),),
              "currencyUSD", "Who spends.", width=12, stacked=True),
    ),
    "Demand": (
        Panel("Arrivals by route",
              (Query(f"comptroller_route_requests_per_second{{{POLICY}}}", "{{route}}"),), "reqps",
              "Measured, the whole route.", width=12, stacked=True),
        Panel("Planned spill", (Query(f"comptroller_route_spill_ratio{{{POLICY}}}", "{{route}}"),), "percentunit",
              "Share of each route that hosted APIs answer by plan.", width=12),
        Panel("Answers by pool",
              (Query(_rate("comptroller_router_responses_total", OK, "pool"), "{{pool}}", True),), "reqps",
              "Who answers.", stacked=True),
        Panel("Answers by outcome",
              (Query(_rate("comptroller_router_responses_total", POLICY, "outcome"), "{{outcome}}"),), "reqps",
              "Everything but ok deserves a look.", stacked=True),
        Panel("Tokens by kind",
              (Query(_rate("comptroller_router_tokens_total", POLICY, "kind"), "{{kind}}"),), "none",
              "Per second. `cached_input` is contained in `input`."),
    ),
    "Objectives": (
        Panel("First token within its objective",
              (Query(f"comptroller_route_first_token_ratio{{{POLICY}}}", "{{route}}", True),), "percentunit",
              "Share of streamed answers, by route."),
        Panel("First token, p95", (Query(LATE, "{{route}}", True),), "s", "From arrival to the first piece."),
        Panel("Full pools", (Query(_rate("comptroller_router_pool_full_total", "", "pool"), "{{pool}}", True),),
              "reqps", "Requests that found a pool full and went elsewhere, waited or were refused."),
    ),
    "Pools": (
        Panel("Wanted", (Query('comptroller_pool_replicas{state="desired"}', "{{pool}}"),), "none",
              "Replicas that the decision wants."),
        Panel("Ready", (Query('comptroller_pool_replicas{state="ready"}', "{{pool}}"),), "none",
              "Replicas that take traffic."),
        Panel("GPUs", (Query("comptroller_gpus", "{{gpu_class}} {{state}}"),), "none",
              "Available to pools, and held by their replicas."),
        Panel("Prefix hits", (Query("comptroller_pool_prefix_hit_ratio", "{{pool}}", True),), "percentunit",
              "Share of prompt tokens that engines found cached."),
        Panel("Confidence of the speed profile", (Query("comptroller_pool_speed_confidence", "{{pool}} {{source}}"),),
              "percentunit", "How far measurements bear the profile out."),
        Panel("Skill of the forecast", (Query(f"comptroller_forecast_skill{{{POLICY}}}", "{{route}}"),),
              "percentunit", "Against the last value: 0 is no better."),
    ),
    "Budgets": (
        Panel("Spent of the budget",
              (Query(f"{budget('spent_usd')} / ({budget('limit_usd')} > 0)", "{{policy}} {{scope}} {{name}}", True),),
              "percentunit", "In the present period.", width=12),
        Panel("Seconds to the next period",
              (Query("min by (policy, scope, name) (comptroller_router_budget_reset_timestamp_seconds) - time()",
                     "{{policy}} {{scope}} {{name}}", True),),
              "s", "When it begins anew.", width=12),
    ),
    "The operator": (
        Panel("Decisions", (Query(f"sum by (rung) (rate(comptroller_decisions_total[{WINDOW}]))", "{{rung}}"),), "ops",
              "By the rung of the ladder; milp is the programme.", stacked=True),
        Panel("Time of a decision, p95",
              (Query(f"histogram_quantile(0.95, sum by (le) (rate(comptroller_decision_seconds_bucket[{WINDOW}])))"),),
              "s", "From gathering to plan."),
        Panel("Reconciles", (Query(f"sum by (result) (rate(comptroller_reconcile_total[{WINDOW}]))", "{{result}}"),),
              "ops", "By result.", stacked=True),
        Panel("Writes", (Query(f"rate(comptroller_api_writes[{WINDOW}])"),), "ops",
              "To the API server; none while nothing changes."),
        Panel("Waiting keys", (Query("comptroller_workqueue_depth"),), "none", "Objects that wait for a worker."),
        Panel("Refused by the auditor", (Query("comptroller_audit_refusals_total"),), "none", "Must stay at zero."),
    ),
}  # fmt: skip


def queries() -> list[Query]:
    """All queries of the dashboard."""
    return [query for panels in ROWS.values() for panel in panels for query in panel.queries]


def dashboard() -> dict[str, Any]:
    """As Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
             "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y}}
        )  # fmt: skip
        y += 1
        x = height = 0
        for panel in row:
            if x + panel.width > WIDTH:
                x, y = 0, y + height
            height = 4 if panel.kind == "stat" else 8
            panels.append(_panel(len(panels) + 1, panel, {"h": height, "w": panel.width, "x": x, "y": y}))
            x += panel.width
        y += height
    return {
        "uid": "comptroller",
        "title": "Comptroller",
        "description": "Which model answers which request, on which hardware, and at what price.",
        "tags": ["comptroller"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": panels,
    }


def _variables() -> Sequence[Mapping[str, Any]]:
    asked = "label_values(comptroller_router_route_info, policy)"
    return [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {"name": "policy", "label": "Policy", "type": "query", "datasource": SOURCE, "definition": asked,
         "query": {"query": asked, "refId": "policies"}, "refresh": 2, "sort": 1, "multi": True, "includeAll": True,
         "allValue": ".*", "current": {"text": "All", "value": "$__all"}},
    ]  # fmt: skip


def _panel(number: int, panel: Panel, place: Mapping[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "lineWidth": 2,
            "fillOpacity": 25 if panel.stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none"},
        }
        options: dict[str, Any] = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi"},
        }
    else:
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none", "graphMode": "area"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.why,
        "datasource": SOURCE,
        "gridPos": dict(place),
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + position),
                "datasource": SOURCE,
                "expr": query.expression,
                "legendFormat": query.legend or panel.title,
            }
            for position, query in enumerate(panel.queries)
        ],
    }
