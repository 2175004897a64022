"""The status of a RoutingPolicy: who answers what, at which cost, and what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comptroller.allocation.problem import permits
from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.api.conditions import Reason
from comptroller.api.routingpolicy import Route, RoutingPolicySpec
from comptroller.economics.prompt_cache import in_words
from comptroller.kube.resources import KubeDict
from comptroller.learning.demand_skill import Skill
from comptroller.observe.measurements import find, within_first_token
from comptroller.render.router.build import unreachable_backends
from comptroller.render.router.caches import lives_of
from comptroller.render.router.evaluation import never_running
from comptroller.render.router.plan import RouterPlan
from comptroller.runtime.budgets import Counted, share_spent, sharing_condition, statuses
from comptroller.runtime.gather import settled_routers
from comptroller.runtime.judgements import Judgements
from comptroller.runtime.reconcile.conditions import (
    honoured,
    metrics_condition,
    pause_condition,
    progressing,
)
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.reconcile.explained import alternatives
from comptroller.runtime.reconcile.judged import judged, usd_per_solved_task
from comptroller.runtime.reconcile.numbers import decimal_text, percent, ratio_text, usd_text, without_none
from comptroller.runtime.reconcile.routers import routers_of
from comptroller.runtime.state import Picture


def policy_status(
    context: Context, live: KubeDict, spec: RoutingPolicySpec, plans: Sequence[RouterPlan], picture: Picture
) -> dict[str, Any]:
    """Everything but `observedGeneration`."""
    namespace, name, generation = (
        live["metadata"]["namespace"],
        live["metadata"]["name"],
        live["metadata"]["generation"],
    )
    policy = f"{namespace}/{name}"
    endpoints = {
        route.name: f"http://{plan.name}.{namespace}.svc:{spec.router.port}/v1"
        for plan in plans
        for route in plan.routes
    }
    before = live.get("status") or {}
    if not plans:  # paused: its routers are where they were
        endpoints = {one["name"]: one["endpoint"] for one in before.get("routes") or () if one.get("endpoint")}
    reached = sorted(set(endpoints.values())) or before.get("endpoints")
    used = {backend.pool for route in picture.snapshot.routes for backend in route.backends}
    judgements = context.state.judgements
    routes = [_route_status(policy, route, endpoints.get(route.name), picture, judgements) for route in spec.routes]
    waiting = [
        item["metadata"]["name"]
        for item in routers_of(context, live)
        if not (item.get("status") or {}).get("availableReplicas")
    ]
    ready = not waiting and bool(plans or routers_of(context, live))
    unknown = [text for key, text in picture.decision.unknowns.items() if key.startswith(f"{policy}/") or key == policy]
    reason = Reason.ROUTED if ready else Reason.ROUTER_STARTING
    routers = settled_routers(context.store, picture.at_seconds - context.settings.prometheus.rate_window_seconds)
    counted = Counted(policy, spec, picture.measured, routers, context.settings.router.redis, picture.at_seconds)
    budgets = statuses(counted)
    totals = _totals(policy, len(spec.routes), picture, context.settings.baseline.pool)
    message = (
        f"{len(spec.routes)} routes are answered; {totals['inside']} inside."
        if ready
        else f"Router {', '.join(waiting) or name} is not available yet."
    )
    return {
        "totals": without_none({**totals, "budget": share_spent(budgets.get("spending"))}),
        **({"endpoints": reached} if reached else {}),
        "routes": routes,
        **budgets,
        "alternatives": alternatives(picture.decision),
        "decisions": context.state.history.get(policy, [])[:10],
        "conditions": [
            *progressing(ready, not ready, reason, message, generation),
            metrics_condition(unknown[0] if unknown else None, generation),
            pause_condition(live, generation),
            *sharing_condition(counted, generation),
            *honoured(
                live["kind"],
                spec,
                generation,
                unreachable=[
                    *unreachable_backends(spec, namespace, picture.specs.pools),
                    *never_running(spec, namespace, picture.specs.pools, used),
                ],
            ),
        ],
    }


def _route_status(
    policy: str, route: Route, endpoint: str | None, picture: Picture, judgements: Judgements
) -> dict[str, Any]:
    name, classification = route.name, route.data.classification if route.data else None
    plan = picture.decision.routes.get(f"{policy}/{name}")
    if plan is None:
        return without_none({"name": name, "classification": classification, "endpoint": endpoint})
    rate, forecast = plan.requests_per_second, picture.forecasts.get(f"{policy}/{name}")
    first_token = find(picture.measured.first_token_seconds, (policy, name), "none")
    return without_none(
        {
            "name": name,
            "classification": classification,
            "endpoint": endpoint,
            "requestsPerSecond": None if rate is None else decimal_text(rate),
            "forecast": None if forecast is None else _forecast(forecast),
            "shares": [
                without_none(
                    {
                        "pool": pool.split("/", 1)[1],
                        "share": ratio_text(share),
                        "requestsPerSecond": None if rate is None else decimal_text(rate * share),
                    }
                )
                for pool, share in sorted(plan.shares.items())
            ],
            "promptCaches": _caches(policy, route, picture) or None,
            "passRate": ratio_text(plan.pass_rate),
            "usdPerRequest": decimal_text(plan.usd_per_request),
            "judged": judged(judgements, plan),
            "usdPerSolvedTask": usd_per_solved_task(picture.measured, policy, name, plan),
            "timeToFirstTokenMs": None if isinstance(first_token, Unknown) else round(first_token.value * 1000),
            "spillRatio": ratio_text(plan.spill_ratio),
            "shedRatio": ratio_text(plan.shed_ratio),
            "reason": plan.reason.value,
            "message": plan.message[:1024],
        }
    )


def _caches(policy: str, route: Route, picture: Picture) -> list[dict[str, Any]]:
    asked = route.prompt_cache.ttl if route.prompt_cache else "auto"
    found = []
    for (key, pool), made in sorted(picture.caches.items()):
        if key == f"{policy}/{route.name}" and pool in picture.specs.pools:
            name = pool.split("/", 1)[1]
            words = in_words(made, name, asked, lives_of(picture.specs.pools[pool]))
            found.append({"pool": name, "ttl": made.life, "message": words[:512]})
    return found


def _forecast(found: Skill) -> dict[str, Any]:
    return {"method": found.method, "skill": ratio_text(found.skill), "samples": found.samples}


def _totals(policy: str, routes: int, picture: Picture, baseline_pool: str | None) -> dict[str, Any]:
    rate = inside = usd = solved = 0.0
    for route in picture.snapshot.routes:
        plan = picture.decision.routes.get(route.key)
        if route.policy != policy or plan is None or not plan.requests_per_second:
            continue
        rate += plan.requests_per_second
        inside += plan.requests_per_second * (1 - plan.spill_ratio - plan.shed_ratio)
        usd += plan.requests_per_second * plan.usd_per_request * 3600
        solved += plan.requests_per_second * (1 - plan.shed_ratio) * plan.pass_rate * 3600
    share = inside / rate if rate else 1.0
    spilled = sum(
        plan.spill_ratio * (plan.requests_per_second or 0.0)
        for route in picture.snapshot.routes
        if route.policy == policy and (plan := picture.decision.routes.get(route.key)) is not None
    )
    return without_none(
        {
            "routes": routes,
            "requestsPerSecond": decimal_text(rate),
            "inside": percent(share),
            "spill": percent(spilled / rate if rate else 0.0),
            "slo": _slo(policy, picture),
            "usdPerHour": usd_text(usd),
            "usdPerTask": usd_text(usd / solved) if solved else None,
            "saved": saved(policy, picture, baseline_pool),
        }
    )


def _slo(policy: str, picture: Picture) -> str | None:
    """Share of the policy's streamed answers whose first token came within the objective of their route."""
    total = within = 0.0
    for route in picture.snapshot.routes:
        if route.policy != policy:
            continue
        counted = within_first_token(picture.measured, policy, route.name, route.time_to_first_token_ms / 1000)
        if counted is not None:
            total, within = total + counted[0], within + counted[1]
    return percent(within / total) if total else None


def saved(policy: str, picture: Picture, baseline_pool: str | None) -> str | None:
    """Planned saving now: the plan against the same requests at the baseline's price, the pool of the settings or else
    the dearest hosted pool that the route permits. A route that permits none has nothing to be compared with."""
    actual = baseline = 0.0
    for route in picture.snapshot.routes:
        plan = picture.decision.routes.get(route.key)
        demand = route.demand.requests_per_second
        if route.policy != policy or plan is None or not isinstance(demand, Sample) or demand.value <= 0:
            continue
        named = {baseline_pool} if baseline_pool else {one.pool for one in route.backends}
        dearest = max(
            (
                (
                    one.input_usd_per_million_tokens * route.demand.input_tokens
                    + one.output_usd_per_million_tokens * route.demand.output_tokens
                )
                / 1e6
                for one in picture.snapshot.hosted_pools
                if one.key in named and (baseline_pool or permits(route, one))
            ),
            default=None,
        )
        if dearest is not None:
            actual += demand.value * plan.usd_per_request
            baseline += demand.value * dearest
    return percent(max(0.0, 1 - actual / baseline)) if baseline else None
