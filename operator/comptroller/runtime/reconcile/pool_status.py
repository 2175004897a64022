"""The status of a ModelPool: what it runs, why, what that costs, and what is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comptroller.allocation.decision import HostedUse
from comptroller.api.conditions import ConditionType, Reason
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.settings import Settings
from comptroller.economics.ownership import allocation_usd_per_gpu_hour, running_cost_of
from comptroller.economics.prices import HostedPrice
from comptroller.kube.resources import KubeDict
from comptroller.learning.startup import Starts, after
from comptroller.observe.replicas import replicas_of
from comptroller.report.explain import pool_sentences
from comptroller.runtime.clock import now_datetime, timestamp
from comptroller.runtime.reconcile.conditions import (
    condition,
    honoured,
    metrics_condition,
    pause_condition,
    progressing,
)
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.reconcile.explained import alternatives, break_even, bridge, ownership, previous
from comptroller.runtime.reconcile.gate import warmups_of
from comptroller.runtime.reconcile.numbers import decimal_text, percent, ratio_text, usd_text, without_none
from comptroller.runtime.state import Picture


def local_pool_status(context: Context, live: KubeDict, spec: ModelPoolSpec, picture: Picture) -> dict[str, Any]:
    name, generation = f"{live['metadata']['namespace']}/{live['metadata']['name']}", live["metadata"]["generation"]
    found = replicas_of(context.store, name)
    target = picture.decision.pools[name]
    snapshot_pool = next(one for one in picture.snapshot.local_pools if one.key == name)
    local = spec.local
    assert local is not None  # noqa: S101 - the caller chose by it
    ready, unschedulable = len(found.serving), found.unschedulable
    warm = found.warm if warmups_of(picture.specs, name) else None  # nothing is declared hot: nothing can be warm
    short = bool(unschedulable)
    moving = ready != target.replicas or len(found.starting) > 0
    reason, message = target.reason, target.message
    if short:
        reason = Reason.CAPACITY_SHORT
        message = (
            f"{ready} of {target.replicas} replicas are ready; {len(unschedulable)} wait for a node: "
            f"{unschedulable[0].unschedulable} "
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
    worth = picture.decision.shadow_prices_usd_per_gpu_hour.get((snapshot_pool.gpu_class, snapshot_pool.site))
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
        "breakEvenUtilisation": break_even(context.settings, picture, snapshot_pool),
        **ownership(context.settings, snapshot_pool, worth),
    }
    profile = snapshot_pool.profile
    measured_startup = after(context.state.starts.get(name, Starts()), found.starts()).mean_seconds
    unknown = _unknown(picture, name)
    conditions = [
        *progressing((ready > 0 or target.replicas == 0) and not short, moving, reason, message, generation),
        metrics_condition(unknown, generation),
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
    status = {
        "modelClass": local.accelerator.class_,
        "summary": without_none(
            {
                "want": str(target.replicas),
                "ready": str(ready),
                "warm": "-" if warm is None else str(warm),
                "utilisation": None if target.utilisation is None else percent(target.utilisation),
                "usdPerMillionTokens": None if per_million is None else usd_text(per_million),
            }
        ),
        "replicas": without_none(
            {"desired": target.replicas, "ready": ready, "warm": warm, "starting": len(found.starting)}
        ),
        "allocation": without_none(
            {
                "desired": target.replicas,
                "since": _since(context, live, name, target.replicas),
                "reason": reason.value,
                "message": message[:1024],
                "previous": previous(context.state, live, name, target.replicas),
                "bridge": bridge(picture, snapshot_pool),
                "alternatives": alternatives(picture.decision),
                "requestsPerSecond": decimal_text(target.requests_per_second),
            }
        ),
        "economics": without_none(economics),
        "performance": {
            "alphaMs": decimal_text(profile.alpha_ms),
            "betaMs": decimal_text(profile.beta_ms),
            "gammaMs": decimal_text(profile.gamma_ms),
            **({"rootMs": decimal_text(profile.root_ms)} if profile.root_ms else {}),
            "maxRequestsPerSecond": decimal_text(target.capacity_requests_per_second),
            "source": profile.source,
            "samples": profile.samples,
            "confidence": ratio_text(profile.confidence),
        },
        **(
            {"startupSeconds": round(measured_startup)}
            if measured_startup is not None
            else _kept(live, "startupSeconds")
        ),
        "conditions": conditions,
    }
    return with_explanation(live, status)


def with_explanation(live: KubeDict, status: dict[str, Any]) -> dict[str, Any]:
    """The status with `allocation.explained`, the sentences that `comptroller explain` prints too, in UTC."""
    sentences = pool_sentences({**live, "status": status}, now_datetime())
    return {**status, "allocation": {**status["allocation"], **({"explained": sentences[:4096]} if sentences else {})}}


def hosted_pool_status(context: Context, live: KubeDict, spec: ModelPoolSpec, picture: Picture) -> dict[str, Any]:
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
            "alternatives": alternatives(picture.decision),
            "requestsPerSecond": decimal_text(use.requests_per_second),
        },
        "economics": {
            "usdPerHour": decimal_text(use.usd_per_hour),
            "usdPerMillionTokens": decimal_text(per_million),
            "priceSource": price.source[:128],
        },
        "conditions": [
            *progressing(True, False, use.reason, use.message, generation),
            metrics_condition(unknown, generation),
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


def _tokens_per_hour(picture: Picture, pool: str) -> float:
    """Planned tokens per hour on a pool, over all routes that send there."""
    total = 0.0
    for route in picture.snapshot.routes:
        plan = picture.decision.routes.get(route.key)
        if plan is not None and plan.requests_per_second:
            share = plan.shares.get(pool, 0.0)
            total += share * plan.requests_per_second * (route.demand.input_tokens + route.demand.output_tokens) * 3600
    return total


def _kept(live: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = (live.get("status") or {}).get(name)
    return {} if value is None else {name: value}
