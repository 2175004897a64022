"""ModelPool: the decision becomes a Deployment and its companions, and the status tells what and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comptroller.allocation.decision import HostedUse, PoolTarget
from comptroller.allocation.validation import Stall
from comptroller.api.conditions import ConditionType, Reason
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.settings import Settings
from comptroller.apply.objects import NameTakenError
from comptroller.economics.ownership import allocation_usd_per_gpu_hour
from comptroller.economics.prices import HostedPrice
from comptroller.kube.resources import DEPLOYMENT, MODEL_POOL, POD, KubeDict, ObjectKey
from comptroller.observe.replicas import replicas_of
from comptroller.render.errors import RenderError
from comptroller.render.owner import owner_reference
from comptroller.render.pool import pool_children
from comptroller.runtime.clock import timestamp
from comptroller.runtime.gather import running_cost_of
from comptroller.runtime.reconcile.conditions import condition, honoured, pause_condition, paused, progressing, stalled
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.reconcile.gate import gated_pools
from comptroller.runtime.reconcile.numbers import decimal_text, percent, ratio_text, usd_text, without_none
from comptroller.runtime.reconcile.tell import tell
from comptroller.runtime.state import Picture

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


async def reconcile_pool(context: Context, key: ObjectKey) -> None:
    """Makes one pool so. A pool that cannot be acted upon keeps what it has."""
    live = context.store.get(MODEL_POOL, key)
    if live is None or live["metadata"].get("deletionTimestamp"):
        return
    picture, name = context.picture(), "/".join(key)
    generation = live["metadata"]["generation"]
    stalls = picture.specs.stalled(MODEL_POOL.kind, name)
    spec = picture.specs.pools.get(name)
    if not stalls and spec is None:
        return  # newer than the picture: it comes again with the next decision
    if not stalls and spec is not None and spec.local is not None and not paused(live):
        target = picture.decision.pools.get(name)
        if target is None:
            return
        stalls = await _apply(context, live, spec, target, picture)
    if stalls:
        conditions = [
            *stalled(stalls, generation, _consequence(context, key)),
            *honoured(live["kind"], spec, generation),
            pause_condition(live, generation),
        ]
        await tell(context, live, {"observedGeneration": generation, "conditions": conditions})
        return
    assert spec is not None  # noqa: S101 - a pool without stalls has a spec
    status = _local_status(context, live, spec, picture) if spec.local else _hosted_status(context, live, spec, picture)
    await tell(context, live, {"observedGeneration": generation, **status})


async def _apply(
    context: Context, live: KubeDict, spec: ModelPoolSpec, target: PoolTarget, picture: Picture
) -> tuple[Stall, ...]:
    namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
    gated = f"{namespace}/{name}" in gated_pools(picture.specs)
    try:
        children = pool_children(
            name, namespace, spec, owner_reference(live), context.settings, replicas=target.replicas, gated=gated
        )
        await _prefer_victims(context, (namespace, name), target.replicas)
        done = await context.applier.converge(live, children)
    except RenderError as error:
        return (Stall(Reason.INVALID, error.path, str(error)),)
    except NameTakenError as error:
        return (Stall(Reason.NAME_TAKEN, "metadata.name", str(error)),)
    _, _, micro = context.now()
    for child in done.corrected:
        await context.events.post(
            live, "DriftCorrected", "Apply", f"{child} was edited by somebody else and was put back.", micro, "Warning"
        )
    return ()


async def _prefer_victims(context: Context, key: ObjectKey, wanted: int) -> None:
    """Before a pool shrinks, its pods are marked so that the coldest goes first: not ready, not warm, youngest."""
    found = replicas_of(context.store, "/".join(key)).replicas
    deployed = context.store.get(DEPLOYMENT, key)
    if deployed is None or wanted >= int(deployed["spec"].get("replicas") or 0):
        return
    order = sorted(found, key=lambda one: (one.ready, one.warm, -one.created_seconds))
    for rank, replica in enumerate(order):
        if replica.deletion_cost != str(rank):
            body = {"metadata": {"annotations": {DELETION_COST: str(rank)}}}
            await context.client.patch(POD, key[0], replica.name, body)


def _consequence(context: Context, key: ObjectKey) -> str:
    deployed = context.store.get(DEPLOYMENT, key)
    if deployed is None:
        return "Nothing is deployed for it."
    return f"Its {deployed['spec'].get('replicas', 0)} replicas stay as they are."


def _local_status(context: Context, live: KubeDict, spec: ModelPoolSpec, picture: Picture) -> dict[str, Any]:
    name, generation = f"{live['metadata']['namespace']}/{live['metadata']['name']}", live["metadata"]["generation"]
    found = replicas_of(context.store, name)
    target = picture.decision.pools[name]
    snapshot_pool = next(one for one in picture.snapshot.local_pools if one.key == name)
    local = spec.local
    assert local is not None  # noqa: S101 - the caller chose by it
    ready, unschedulable = len(found.serving), found.unschedulable
    short = bool(unschedulable)
    moving = ready != target.replicas or len(found.starting) > 0
    reason, message = target.reason, target.message
    if short:
        reason = Reason.CAPACITY_SHORT
        message = (
            f"{ready} of {target.replicas} replicas are ready; {len(unschedulable)} wait for a node: {unschedulable[0].unschedulable} "
            f"Free a {local.accelerator.class_}, add a node, or lower spec.local.replicas.max."
        )
    gpu = context.settings.gpu_classes[local.accelerator.class_]
    power = running_cost_of(local, context.settings)
    running = ready + len(found.starting)
    usd_per_hour = (
        float(power.idle_usd_per_hour) * running
        + float(power.busy_extra_usd_per_hour) * (target.utilisation or 0.0) * ready
    )
    tokens_per_hour = _tokens_per_hour(picture, name)
    gpus = snapshot_pool.gpus_per_replica
    shadow = picture.decision.shadow_prices_usd_per_gpu_hour.get((snapshot_pool.gpu_class, snapshot_pool.site))
    owned_per_hour = (
        float(allocation_usd_per_gpu_hour(gpu, context.settings.amortisation, context.settings.energy)) * gpus * running
    )
    per_million = usd_per_hour / tokens_per_hour * 1e6 if tokens_per_hour else None
    economics = {
        "usdPerHour": decimal_text(usd_per_hour),
        "usdPerMillionTokens": None if per_million is None else decimal_text(per_million),
        "allocationUsdPerMillionTokens": decimal_text(owned_per_hour / tokens_per_hour * 1e6)
        if tokens_per_hour and gpus
        else None,
        "utilisation": ratio_text(target.utilisation),
        "shadowPriceUsdPerGpuHour": None if shadow is None else decimal_text(shadow),
    }
    profile = snapshot_pool.profile
    measured_startup = found.startup_seconds()
    unknown = _unknown(picture, name)
    conditions = [
        *progressing((ready > 0 or target.replicas == 0) and not short, moving, reason, message, generation),
        _metrics_condition(unknown, generation),
        condition(
            ConditionType.CAPACITY_AVAILABLE,
            not short,
            Reason.CAPACITY_SHORT if short else Reason.AVAILABLE,
            message if short else "Every wanted replica has a node.",
            generation,
        ),
        pause_condition(live, generation),
        *honoured(live["kind"], spec, generation),
    ]
    return {
        "modelClass": local.accelerator.class_,
        "summary": without_none(
            {
                "want": str(target.replicas),
                "ready": str(ready),
                "warm": str(found.warm),
                "utilisation": None if target.utilisation is None else percent(target.utilisation),
                "usdPerMillionTokens": None if per_million is None else usd_text(per_million),
            }
        ),
        "replicas": {"desired": target.replicas, "ready": ready, "warm": found.warm, "starting": len(found.starting)},
        "allocation": without_none(
            {
                "desired": target.replicas,
                "since": _since(context, live, name, target.replicas),
                "reason": reason.value,
                "message": message[:1024],
                "explained": _alternatives(picture)[:4096],
                "requestsPerSecond": decimal_text(target.requests_per_second),
            }
        ),
        "economics": without_none(economics),
        "performance": {
            "alphaMs": decimal_text(profile.alpha_ms),
            "betaMs": decimal_text(profile.beta_ms),
            "gammaMs": decimal_text(profile.gamma_ms),
            "maxRequestsPerSecond": decimal_text(target.capacity_requests_per_second),
            "source": profile.source,
            "samples": profile.samples,
        },
        **(
            {"startupSeconds": round(measured_startup)}
            if measured_startup is not None
            else _kept(live, "startupSeconds")
        ),
        "conditions": conditions,
    }


def _hosted_status(context: Context, live: KubeDict, spec: ModelPoolSpec, picture: Picture) -> dict[str, Any]:
    name, generation = f"{live['metadata']['namespace']}/{live['metadata']['name']}", live["metadata"]["generation"]
    use = picture.decision.hosted.get(name) or HostedUse(name, 0.0, 0.0, Reason.STANDBY, "No route uses it now.")
    price = picture.specs.prices[name]
    tokens_per_hour = _tokens_per_hour(picture, name)
    per_million = use.usd_per_hour / tokens_per_hour * 1e6 if tokens_per_hour else _blended(price, context.settings)
    unknown = _unknown(picture, name)
    return {
        "modelClass": "hosted",
        "summary": {
            "want": "-",
            "ready": "-",
            "warm": "-",
            "utilisation": "-",
            "usdPerMillionTokens": usd_text(per_million),
        },
        "allocation": {
            "reason": use.reason.value,
            "message": use.message[:1024],
            "requestsPerSecond": decimal_text(use.requests_per_second),
        },
        "economics": {
            "usdPerHour": decimal_text(use.usd_per_hour),
            "usdPerMillionTokens": decimal_text(per_million),
            "priceSource": price.source[:128],
        },
        "conditions": [
            *progressing(True, False, use.reason, use.message, generation),
            _metrics_condition(unknown, generation),
            pause_condition(live, generation),
            *honoured(live["kind"], spec, generation),
        ],
    }


def _since(context: Context, live: Mapping[str, Any], pool: str, wanted: int) -> str:
    """When the wanted count last changed: as this process saw it, else as the status remembers."""
    if (seen := context.state.desired_since_seconds.get(pool)) is not None:
        return timestamp(seen)
    remembered = (live.get("status") or {}).get("allocation") or {}
    if remembered.get("desired") == wanted and "since" in remembered:
        return str(remembered["since"])
    return context.now()[1]


def _blended(price: HostedPrice, settings: Settings) -> float:
    """US dollars per million tokens at the usual lengths of prompt and answer, for a pool that is not used now."""
    inputs, outputs = settings.defaults.input_tokens, settings.defaults.output_tokens
    return float((price.input * inputs + price.output * outputs) / (inputs + outputs))


def _unknown(picture: Picture, pool: str) -> str | None:
    """What is not known of a pool or of a route that may use it."""
    unknowns = picture.decision.unknowns
    named = [route.key for route in picture.snapshot.routes if any(one.pool == pool for one in route.backends)]
    return next((unknowns[key] for key in (pool, *named) if key in unknowns), None)


def _metrics_condition(unknown: str | None, generation: int) -> dict[str, Any]:
    if unknown is None:
        return condition(
            ConditionType.METRICS_AVAILABLE,
            True,
            Reason.AVAILABLE,
            "Every measurement that the decision needs is fresh.",
            generation,
        )
    text = f"{unknown}. Holding the last decision; nothing is scaled down and no spill is added."
    reason = Reason.UNREACHABLE if "Prometheus" in unknown else Reason.STALE if "old" in unknown else Reason.NO_DATA
    return condition(ConditionType.METRICS_AVAILABLE, False, reason, text, generation)


def _tokens_per_hour(picture: Picture, pool: str) -> float:
    """Planned tokens per hour on a pool, over all routes that send there."""
    total = 0.0
    for route in picture.snapshot.routes:
        plan = picture.decision.routes.get(route.key)
        if plan is not None and plan.requests_per_second:
            share = plan.shares.get(pool, 0.0)
            total += share * plan.requests_per_second * (route.demand.input_tokens + route.demand.output_tokens) * 3600
    return total


def _alternatives(picture: Picture) -> str:
    decision = picture.decision
    others = "; ".join(f"{one.name} ${one.usd_per_hour:.3g}/h" for one in decision.alternatives)
    return f"The whole plan costs ${decision.usd_per_hour:.3g}/h (marginal basis). Instead: {others}." if others else ""


def _kept(live: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = (live.get("status") or {}).get(name)
    return {} if value is None else {name: value}
