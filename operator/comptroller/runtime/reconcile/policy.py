"""RoutingPolicy: the plan becomes routers, and the status tells who answers what at which cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from comptroller.allocation.audit import Violation
from comptroller.allocation.audit_pod import audit_egress, audit_router_pod, secrets_of
from comptroller.allocation.audit_router import audit_router_config
from comptroller.allocation.decision import RoutePlan
from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.allocation.validation import Stall
from comptroller.api.conditions import Reason
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import Route, RoutingPolicySpec
from comptroller.api.settings import RedisSettings
from comptroller.apply.objects import NameTakenError
from comptroller.kube.resources import CONFIG_MAP, MODEL_POOL, ROUTING_POLICY, KubeDict, ObjectKey
from comptroller.observe.replicas import PoolReplicas
from comptroller.render.errors import RenderError
from comptroller.render.owner import owner_reference
from comptroller.render.policy import policy_children
from comptroller.render.router.build import BackendState, TokenPrices, build_plans
from comptroller.render.router.plan import RouterPlan
from comptroller.runtime.budgets import tell_budgets
from comptroller.runtime.reconcile.case import open_case, tell_stalled
from comptroller.runtime.reconcile.conditions import paused
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.reconcile.narrow import narrowed_config_map, narrowed_policy, plans_that_hold
from comptroller.runtime.reconcile.policy_status import policy_status
from comptroller.runtime.reconcile.routers import hurry, routers_of
from comptroller.runtime.reconcile.steady import is_blind, steadied
from comptroller.runtime.reconcile.tell import tell
from comptroller.runtime.state import Picture

KEPT = "Its last good routers stay in force, less what the data rules forbid by now and pools that are gone."


async def reconcile_policy(context: Context, key: ObjectKey) -> None:
    """Makes one policy so. A policy that cannot be acted upon keeps its last good routers."""
    case = open_case(context, ROUTING_POLICY, key, lambda specs: specs.policies)
    if case is None:
        return
    live, picture, spec, stalls = case.live, case.picture, case.spec, case.stalls
    plans: tuple[RouterPlan, ...] = ()
    if paused(live):
        await _narrow_live(context, live, spec, picture)
    elif spec is not None and not stalls:
        plans = plan_routers(context, key, spec, picture)
        stalls = await _apply(context, live, spec, plans, picture)
        if not stalls:
            context.state.last_good_policies[case.name] = spec
    if (stalls or spec is None) and not paused(live):
        await _narrow(context, live, spec, picture)
    if stalls or spec is None:
        kept = KEPT if routers_of(context, live) else "No router runs for it yet."
        await tell_stalled(context, case, stalls, kept)
        return
    status = policy_status(context, live, spec, plans, picture)
    await tell(context, live, {"observedGeneration": case.generation, **status})
    await tell_budgets(context, live, status)


async def _narrow(context: Context, live: KubeDict, spec: RoutingPolicySpec | None, picture: Picture) -> None:
    """A stalled policy: its last good spec, as far as the rules of now and the pools of now leave room for it."""
    key = (live["metadata"]["namespace"], live["metadata"]["name"])
    name, last_good = "/".join(key), context.state.last_good_policies.get("/".join(key))
    if last_good is not None:
        narrowed = narrowed_policy(last_good, spec, key[0], usable_pools(picture))
        routes = plans_that_hold(picture.decision.routes, name, narrowed)
        plans = plan_routers(context, key, narrowed, picture, routes)
        if not await _apply(context, live, narrowed, plans, picture):
            return
    await _narrow_live(context, live, spec, picture)


async def _narrow_live(context: Context, live: KubeDict, spec: RoutingPolicySpec | None, picture: Picture) -> None:
    """A paused policy, or one whose last good spec is not known since a restart: entries are only taken out of the
    configuration that runs. What is left is a part of what ran before, so that there is nothing to refuse."""
    namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
    rules: dict[str, list[Route]] = {}
    for known in (context.state.last_good_policies.get(f"{namespace}/{name}"), spec):
        for route in known.routes if known is not None else ():
            rules.setdefault(route.name, []).append(route)
    children = context.store.children(live["metadata"]["uid"])
    found = [
        narrowed
        for child in children
        if child["kind"] == CONFIG_MAP.kind
        and (narrowed := narrowed_config_map(child, rules, usable_pools(picture))) is not None
    ]
    if found:
        await context.applier.converge(live, found, keep=tuple({child["kind"] for child in children}))
        await hurry(context, namespace, found)


def usable_pools(picture: Picture) -> dict[str, ModelPoolSpec]:
    """The pools that can be acted upon, keyed namespace/name."""
    specs = picture.specs
    return {name: pool for name, pool in specs.pools.items() if not specs.stalled(MODEL_POOL.kind, name)}


def plan_routers(
    context: Context,
    key: ObjectKey,
    spec: RoutingPolicySpec,
    picture: Picture,
    routes: Mapping[str, RoutePlan] | None = None,
) -> tuple[RouterPlan, ...]:
    """The neutral plans of a policy's routers out of the newest decision, or out of `routes`."""
    states = {name: _backend_state(name, picture) for name in picture.specs.pools}
    current = {
        item["metadata"]["name"]: int(item["spec"].get("replicas") or 1)
        for item in routers_of(context, context.store.get(ROUTING_POLICY, key) or {})
    }
    lives = {at: one.life for at, one in picture.caches.items()}
    decided = picture.decision.routes if routes is None else routes
    redis = context.settings.router.redis
    pools, cores = usable_pools(picture), _router_cores(key[0], picture)
    return build_plans(key[1], key[0], spec, pools, states, decided, current, redis, lives, cores)


def _router_cores(namespace: str, picture: Picture) -> dict[str, float]:
    """How many cores each router uses, where that is measured."""
    found = picture.measured.router_cores
    rows = {} if isinstance(found, Unknown) else found
    return {
        router: one.value for (place, router), one in rows.items() if place == namespace and isinstance(one, Sample)
    }


def _backend_state(name: str, picture: Picture) -> BackendState:
    pool = picture.specs.pools[name]
    if pool.hosted is not None:
        price = picture.specs.prices.get(name)
        prices = TokenPrices() if price is None else TokenPrices(
            price.input, price.cached_input, price.output, price.cache_write, price.cache_write_1h
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
        rendered = policy_children(plans, spec, owner_reference(live), context.settings)
    except RenderError as error:
        return (Stall(Reason.INVALID, error.path, str(error)),)
    namespace = live["metadata"]["namespace"]
    blind = is_blind(f"{namespace}/{live['metadata']['name']}", spec, picture.decision.routes)
    children = steadied(context.store, rendered, blind=blind)
    if violations := audit(plans, spec, children, picture, context.settings.router.redis):
        context.metrics.audit_refusals.inc()
        return (Stall(Reason.AUDIT_REFUSED, violations[0].field, " ".join(str(one) for one in violations)),)
    try:
        done = await context.applier.converge(live, children)
    except NameTakenError as error:
        return (Stall(Reason.NAME_TAKEN, "metadata.name", str(error)),)
    await hurry(context, namespace, children)
    _, _, micro = context.now()
    for child in done.corrected:
        await context.events.post(
            live, "DriftCorrected", "Apply", f"{child} was edited by somebody else and was put back.", micro, "Warning"
        )
    return ()


def audit(
    plans: Sequence[RouterPlan],
    spec: RoutingPolicySpec,
    children: Sequence[Mapping[str, Any]],
    picture: Picture,
    redis: RedisSettings | None,
) -> list[Violation]:
    """Has the independent auditor read what was rendered, router by router, before any of it is applied."""
    found = []
    pools = picture.specs.pools
    for plan in plans:
        named = {child["kind"]: child for child in children if child["metadata"]["name"] == plan.name}
        policy = f"{plan.namespace}/{plan.policy}"
        config = yaml.safe_load(named["ConfigMap"]["data"]["config.yaml"])
        template = named["Deployment"]["spec"]["template"]
        pod, labels = template["spec"], template["metadata"]["labels"]
        found += audit_router_pod(spec, pools, plan.kind, pod, name=policy, redis=redis)
        found += audit_router_config(spec, pools, plan.kind, config, secrets_of(pod), name=policy, redis=redis)
        if plan.kind == "restricted":
            found += audit_egress(spec, pools, named.get("NetworkPolicy"), labels, name=policy)
    return found
