"""RoutingPolicy: the plan becomes routers, and the status tells who answers what at which cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from comptroller.allocation.audit import Violation, audit_router_config
from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.allocation.validation import Stall
from comptroller.api.conditions import ConditionType, Reason
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.apply.objects import NameTakenError
from comptroller.kube.resources import DEPLOYMENT, MODEL_POOL, ROUTING_POLICY, KubeDict, ObjectKey
from comptroller.observe.measurements import find, within_first_token
from comptroller.observe.replicas import PoolReplicas
from comptroller.render.errors import RenderError
from comptroller.render.owner import owner_reference
from comptroller.render.policy import policy_children
from comptroller.render.router.build import BackendState, TokenPrices, build_plans
from comptroller.render.router.plan import RouterPlan
from comptroller.runtime.reconcile.conditions import condition, honoured, pause_condition, paused, progressing, stalled
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.reconcile.numbers import decimal_text, percent, ratio_text, usd_text, without_none
from comptroller.runtime.reconcile.tell import tell
from comptroller.runtime.state import Picture


async def reconcile_policy(context: Context, key: ObjectKey) -> None:
    """Makes one policy so. A policy that cannot be acted upon keeps its last good routers."""
    live = context.store.get(ROUTING_POLICY, key)
    if live is None or live["metadata"].get("deletionTimestamp"):
        return
    picture, name = context.picture(), "/".join(key)
    generation = live["metadata"]["generation"]
    stalls = picture.specs.stalled(ROUTING_POLICY.kind, name)
    spec = picture.specs.policies.get(name)
    if not stalls and spec is None:
        return  # newer than the picture: it comes again with the next decision
    plans: tuple[RouterPlan, ...] = ()
    if spec is not None and not stalls and not paused(live):
        plans = plan_routers(context, key, spec, picture)
        stalls = await _apply(context, live, spec, plans, picture)
    if stalls:
        kept = "Its last good routers stay in force." if _routers(context, live) else "No router runs for it yet."
        conditions = [
            *stalled(stalls, generation, kept),
            *honoured(live["kind"], spec, generation),
            pause_condition(live, generation),
        ]
        await tell(context, live, {"observedGeneration": generation, "conditions": conditions})
        return
    assert spec is not None  # noqa: S101 - a policy without stalls has a spec
    await tell(context, live, {"observedGeneration": generation, **_status(context, live, spec, plans, picture)})


def plan_routers(context: Context, key: ObjectKey, spec: RoutingPolicySpec, picture: Picture) -> tuple[RouterPlan, ...]:
    """The neutral plans of a policy's routers out of the newest decision."""
    states = {name: _backend_state(name, picture) for name in picture.specs.pools}
    current = {
        item["metadata"]["name"]: int(item["spec"].get("replicas") or 1)
        for item in _routers(context, context.store.get(ROUTING_POLICY, key) or {})
    }
    usable = {
        name: pool for name, pool in picture.specs.pools.items() if not picture.specs.stalled(MODEL_POOL.kind, name)
    }
    return build_plans(key[1], key[0], spec, usable, states, picture.decision.routes, current)


def _backend_state(name: str, picture: Picture) -> BackendState:
    pool = picture.specs.pools[name]
    if pool.hosted is not None:
        price = picture.specs.prices.get(name)
        prices = TokenPrices() if price is None else TokenPrices(
            price.input, price.cached_input, price.output
        )  # fmt: skip
        return BackendState(prices, max_concurrency=pool.hosted.limits.max_concurrency)
    target = picture.decision.pools.get(name)
    serving = len(picture.replicas.get(name, PoolReplicas()).serving)
    return BackendState(
        TokenPrices(), serving=serving, max_concurrency=None if target is None else target.max_concurrency
    )


async def _apply(
    context: Context, live: KubeDict, spec: RoutingPolicySpec, plans: Sequence[RouterPlan], picture: Picture
) -> tuple[Stall, ...]:
    try:
        children = policy_children(plans, spec, owner_reference(live), context.settings)
    except RenderError as error:
        return (Stall(Reason.INVALID, error.path, str(error)),)
    namespace = live["metadata"]["namespace"]
    if violations := audit(plans, spec, children, picture):
        context.metrics.audit_refusals.inc()
        return (Stall(Reason.AUDIT_REFUSED, violations[0].field, " ".join(str(one) for one in violations)),)
    try:
        done = await context.applier.converge(live, children)
    except NameTakenError as error:
        return (Stall(Reason.NAME_TAKEN, "metadata.name", str(error)),)
    context.state.last_good_policies[f"{namespace}/{live['metadata']['name']}"] = spec
    _, _, micro = context.now()
    for child in done.corrected:
        await context.events.post(
            live, "DriftCorrected", "Apply", f"{child} was edited by somebody else and was put back.", micro, "Warning"
        )
    return ()


def audit(
    plans: Sequence[RouterPlan], spec: RoutingPolicySpec, children: Sequence[Mapping[str, Any]], picture: Picture
) -> list[Violation]:
    """Has the independent auditor read what was rendered, router by router, before any of it is applied."""
    found = []
    for plan in plans:
        named = {child["kind"]: child for child in children if child["metadata"]["name"] == plan.name}
        config = yaml.safe_load(named["ConfigMap"]["data"]["config.yaml"])
        containers = named["Deployment"]["spec"]["template"]["spec"]["containers"]
        variables = {
            variable["name"]
            for container in containers
            for variable in container.get("env") or ()
            if "secretKeyRef" in (variable.get("valueFrom") or {})
        }
        found += audit_router_config(spec, picture.specs.pools, plan.kind, config, variables)
    return found


def _routers(context: Context, live: Mapping[str, Any]) -> list[KubeDict]:
    if not live:
        return []
    return [child for child in context.store.children(live["metadata"]["uid"]) if child["kind"] == DEPLOYMENT.kind]


def _status(
    context: Context, live: KubeDict, spec: RoutingPolicySpec, plans: Sequence[RouterPlan], picture: Picture
) -> dict[str, Any]:
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
    routes = [_route_status(policy, route.name, endpoints.get(route.name), picture) for route in spec.routes]
    waiting = [
        item["metadata"]["name"]
        for item in _routers(context, live)
        if not (item.get("status") or {}).get("availableReplicas")
    ]
    ready = not waiting and bool(plans or _routers(context, live))
    unknown = [text for key, text in picture.decision.unknowns.items() if key.startswith(f"{policy}/") or key == policy]
    reason = Reason.ROUTED if ready else Reason.ROUTER_STARTING
    totals = _totals(policy, len(spec.routes), picture)
    message = (
        f"{len(spec.routes)} routes are answered; {totals['inside']} inside."
        if ready
        else f"Router {', '.join(waiting) or name} is not available yet."
    )
    return {
        "totals": totals,
        "endpoints": sorted({plan_endpoint for plan_endpoint in endpoints.values() if plan_endpoint}),
        "routes": routes,
        "tenants": [{"name": tenant.name} for tenant in spec.tenants],
        "decisions": context.state.history.get(policy, [])[:10],
        "conditions": [
            *progressing(ready, not ready, reason, message, generation),
            condition(
                ConditionType.METRICS_AVAILABLE,
                not unknown,
                Reason.NO_DATA if unknown else Reason.AVAILABLE,
                f"{unknown[0]}. Holding the last shares; no spill is added."
                if unknown
                else "Every route's demand is known.",
                generation,
            ),
            pause_condition(live, generation),
            *honoured(live["kind"], spec, generation),
        ],
    }


def _route_status(policy: str, name: str, endpoint: str | None, picture: Picture) -> dict[str, Any]:
    plan = picture.decision.routes.get(f"{policy}/{name}")
    if plan is None:
        return without_none({"name": name, "endpoint": endpoint})
    rate = plan.requests_per_second
    first_token = find(picture.measured.first_token_seconds, (policy, name), "none")
    return without_none(
        {
            "name": name,
            "endpoint": endpoint,
            "requestsPerSecond": None if rate is None else decimal_text(rate),
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
            "passRate": ratio_text(plan.pass_rate),
            "usdPerRequest": decimal_text(plan.usd_per_request),
            "usdPerSolvedTask": decimal_text(plan.usd_per_request / plan.pass_rate) if plan.pass_rate > 0 else None,
            "timeToFirstTokenMs": None if isinstance(first_token, Unknown) else round(first_token.value * 1000),
            "spillRatio": ratio_text(plan.spill_ratio),
            "shedRatio": ratio_text(plan.shed_ratio),
            "reason": plan.reason.value,
            "message": plan.message[:1024],
        }
    )


def _totals(policy: str, routes: int, picture: Picture) -> dict[str, Any]:
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
            "saved": _saved(policy, picture),
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


def _saved(policy: str, picture: Picture) -> str | None:
    """Planned saving now: this hour's plan against all its requests at the dearest permitted hosted price."""
    actual = baseline = 0.0
    for route in picture.snapshot.routes:
        plan = picture.decision.routes.get(route.key)
        demand = route.demand.requests_per_second
        if route.policy != policy or plan is None or not isinstance(demand, Sample) or demand.value <= 0:
            continue
        dearest = max(
            (
                (
                    one.input_usd_per_million_tokens * route.demand.input_tokens
                    + one.output_usd_per_million_tokens * route.demand.output_tokens
                )
                / 1e6
                for one in picture.snapshot.hosted_pools
            ),
            default=0.0,
        )
        actual += demand.value * plan.usd_per_request
        baseline += demand.value * dearest
    return percent(max(0.0, 1 - actual / baseline)) if baseline else None
