"""Gathers one frozen snapshot for the decision out of the cluster's picture and the measurements."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from comptroller.allocation.declared import profile_of, route_of, rules_of
from comptroller.allocation.snapshot import (
    Demand,
    HostedPool,
    LocalPool,
    Measurement,
    Route,
    Rules,
    Sample,
    Snapshot,
    StartingReplica,
    Unknown,
)
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import Route as RouteSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.api.settings import Settings
from comptroller.economics.ownership import running_cost_of
from comptroller.kube.resources import DEPLOYMENT, MODEL_POOL, POD, ROUTING_POLICY, ObjectKey
from comptroller.kube.store import ClusterStore
from comptroller.learning.startup import Starts, after
from comptroller.observe.belief import believed_peak, fell
from comptroller.observe.inventory import gpu_inventory, gpus_per_node
from comptroller.observe.measurements import Measurements, arrivals_of, find, mean_tokens, peak_of
from comptroller.observe.replicas import PoolReplicas, read_replica
from comptroller.render.labels import COMPONENT, ROUTER
from comptroller.render.names import label_value
from comptroller.render.router.build import is_restricted, router_name
from comptroller.runtime.budgets import Counted, remaining
from comptroller.runtime.judgements import as_judged
from comptroller.runtime.reconcile.gate import warmups_of
from comptroller.runtime.startups import warming_seconds
from comptroller.runtime.state import HOLD_ANNOTATION, PAUSED_ANNOTATION, Specs, State

MINIMUM_STARTING_SECONDS = 1.0
MOST_HELD_REPLICAS = 1000


def gather(
    store: ClusterStore,
    specs: Specs,
    state: State,
    settings: Settings,
    measured: Measurements,
    replicas: Mapping[str, PoolReplicas],
    now_seconds: float,
) -> Snapshot:
    """One frozen picture for `allocation.decide`. Objects that are stalled take no part, except that the last good
    rules of a stalled policy still count as demand: its router still sends requests."""
    local = tuple(
        _local_pool(key, spec, specs, store, state, settings, replicas.get(key, PoolReplicas()), now_seconds)
        for key, spec in specs.pools.items()
        if spec.local is not None and not specs.stalled(MODEL_POOL.kind, key)
    )
    hosted = tuple(
        _hosted_pool(key, spec, specs, store, measured)
        for key, spec in specs.pools.items()
        if spec.hosted is not None and not specs.stalled(MODEL_POOL.kind, key)
    )
    present = {one.key for one in local} | {one.key for one in hosted}
    routers = settled_routers(store, now_seconds - settings.prometheus.rate_window_seconds)
    routes = tuple(
        as_judged(_believed(route, store, state, settings, measured, now_seconds), state.judgements)
        for key, policy in policies_in_force(specs, state).items()
        for route in _routes(key, policy, settings, measured, present, routers)
    ) + _routes_of_forgotten_policies(store, specs, state, settings, present)
    return Snapshot(
        at_seconds=now_seconds,
        local_pools=local,
        hosted_pools=hosted,
        routes=routes,
        gpus=gpu_inventory(store, settings.gpu_classes, {one.key for one in local}),
        rules=_rules(settings, state, now_seconds),
        memory=state.memory,
        gpus_per_node=gpus_per_node(store, settings.gpu_classes),
        budgets=tuple(
            one
            for key, policy in policies_in_force(specs, state).items()
            for one in remaining(Counted(key, policy, measured, routers, settings.router.redis, now_seconds))
        ),
    )


def policies_in_force(specs: Specs, state: State) -> dict[str, RoutingPolicySpec]:
    """The policies that the routers run: as applied, or the last good one where the applied one is stalled."""
    found = {key: spec for key, spec in specs.policies.items() if not specs.stalled(ROUTING_POLICY.kind, key)}
    return found | {
        key: spec for key, spec in state.last_good_policies.items() if specs.stalled(ROUTING_POLICY.kind, key)
    }


def _routes_of_forgotten_policies(
    store: ClusterStore, specs: Specs, state: State, settings: Settings, present: set[str]
) -> tuple[Route, ...]:
    """Routes of policies that were stalled already when this process started: their routers run by rules that nobody
    remembers, so the demand on the pools that they name now is unknown, and those pools are held."""
    unknown = Unknown("its policy is stalled, and its last good rules are not known since a restart")
    return tuple(
        replace(route, demand=replace(route.demand, requests_per_second=unknown))
        for key, policy in specs.policies.items()
        if specs.stalled(ROUTING_POLICY.kind, key) and key not in state.last_good_policies and _has_router(store, key)
        for route in _routes(key, policy, settings, Measurements(), present, {})
        if route.backends
    )


def settled_routers(store: ClusterStore, since_seconds: float) -> Mapping[tuple[str, str], int]:
    """How many pods of each router (namespace, label) have been ready since then, so that Prometheus must know them."""
    pods = (one for one in store.all(POD) if (one["metadata"].get("labels") or {}).get(COMPONENT) == "router")
    read = ((one["metadata"], read_replica(one)) for one in pods)
    return Counter(
        (metadata["namespace"], metadata["labels"].get(ROUTER, ""))
        for metadata, one in read
        if not one.terminating and one.ready_since_seconds is not None and one.ready_since_seconds < since_seconds
    )


def _has_router(store: ClusterStore, policy: str) -> bool:
    item = store.get(ROUTING_POLICY, object_key(policy))
    return item is not None and any(
        child["kind"] == DEPLOYMENT.kind for child in store.children(item["metadata"]["uid"])
    )


def annotation(store: ClusterStore, key: str, name: str) -> str | None:
    """An annotation of a pool."""
    item = store.get(MODEL_POOL, object_key(key))
    value: str | None = ((item or {}).get("metadata", {}).get("annotations") or {}).get(name)
    return value


def object_key(key: str) -> ObjectKey:
    """`namespace/name` as a key of the store."""
    namespace, name = key.split("/", 1)
    return namespace, name


def previous_replicas(store: ClusterStore, state: State, key: str) -> int | None:
    """What was wanted last: by this process, else by its predecessor (the status remembers), else what is deployed.

    The deployed count comes last because somebody may have edited it by hand.
    """
    if state.picture is not None and (target := state.picture.decision.pools.get(key)) is not None:
        return target.replicas
    item = store.get(MODEL_POOL, object_key(key)) or {}
    remembered = ((item.get("status") or {}).get("allocation") or {}).get("desired")
    if remembered is not None:
        return int(remembered)
    live = store.get(DEPLOYMENT, object_key(key)) or {}
    count = (live.get("spec") or {}).get("replicas")
    return int(count) if count is not None else None


def _local_pool(
    key: str,
    spec: ModelPoolSpec,
    specs: Specs,
    store: ClusterStore,
    state: State,
    settings: Settings,
    found: PoolReplicas,
    now_seconds: float,
) -> LocalPool:
    local = spec.local
    assert local is not None  # noqa: S101 - the caller chose the pool by it
    gpu = settings.gpu_classes[local.accelerator.class_]
    power = running_cost_of(local, settings)
    profile = state.speeds[key].used if key in state.speeds else profile_of(spec, gpu)
    warming = warming_seconds(store, key.split("/", 1)[0], warmups_of(specs, key), profile.beta_ms / 1000)
    startup = startup_seconds(store, state, key, spec, found, warming)
    return LocalPool(
        key=key,
        model=spec.model.name,
        gpu_class=local.accelerator.class_,
        gpus_per_replica=local.accelerator.count if gpu.resource_name else 0,
        jurisdiction=spec.location.jurisdiction,
        perimeter=spec.location.perimeter.value,
        minimum=local.replicas.min,
        maximum=local.replicas.max,
        serving=len(found.serving),
        starting=tuple(
            StartingReplica(max(MINIMUM_STARTING_SECONDS, startup - (now_seconds - one.created_seconds)))
            for one in found.starting
        ),
        previous=previous_replicas(store, state, key),
        profile=profile,
        startup_seconds=startup,
        idle_usd_per_replica_hour=float(power.idle_usd_per_hour),
        busy_extra_usd_per_replica_hour=float(power.busy_extra_usd_per_hour),
        paused=annotation(store, key, PAUSED_ANNOTATION) == "true",
        held_at=_held_at(annotation(store, key, HOLD_ANNOTATION), local.replicas.max),
    )


def _held_at(text: str | None, maximum: int) -> int | None:
    """The replicas that a user holds a pool at, never more than its maximum; None for what is no such number."""
    if not isinstance(text, str) or not re.fullmatch("[0-9]{1,4}", text):
        return None
    return min(int(text), maximum, MOST_HELD_REPLICAS)


def startup_seconds(
    store: ClusterStore, state: State, key: str, spec: ModelPoolSpec, found: PoolReplicas, warming_seconds: float
) -> float:
    """Until a replica takes traffic: measured on the newest starts, else as measured before (the status remembers),
    else as declared and until it is warm."""
    if (measured := after(state.starts.get(key, Starts()), found.starts()).mean_seconds) is not None:
        return measured
    item = store.get(MODEL_POOL, object_key(key)) or {}
    remembered = (item.get("status") or {}).get("startupSeconds")
    if remembered is not None:
        return float(remembered)
    return warming_seconds + (float(spec.local.startup_seconds) if spec.local else 0.0)


def _hosted_pool(
    key: str, spec: ModelPoolSpec, specs: Specs, store: ClusterStore, measured: Measurements
) -> HostedPool:
    hosted, price = spec.hosted, specs.prices[key]
    assert hosted is not None  # noqa: S101 - the caller chose the pool by it
    latency = find(measured.hosted_latency_seconds, (key,), "no answer yet")
    return HostedPool(
        key=key,
        model=spec.model.name,
        jurisdiction=spec.location.jurisdiction,
        perimeter=spec.location.perimeter.value,
        input_usd_per_million_tokens=float(price.input),
        cached_input_usd_per_million_tokens=float(price.cached_input),
        output_usd_per_million_tokens=float(price.output),
        cache_write_usd_per_million_tokens=float(price.cache_write),
        requests_per_minute=hosted.limits.requests_per_minute,
        tokens_per_minute=hosted.limits.tokens_per_minute,
        max_concurrency=hosted.limits.max_concurrency,
        mean_latency_seconds=latency.value if isinstance(latency, Sample) else 2.0,
        paused=annotation(store, key, PAUSED_ANNOTATION) == "true",
    )


def _routes(
    policy_key: str,
    policy: RoutingPolicySpec,
    settings: Settings,
    measured: Measurements,
    present: set[str],
    routers: Mapping[tuple[str, str], int],
) -> list[Route]:
    return [_route(policy_key, route, settings, measured, present, routers) for route in policy.routes]


def _route(
    policy_key: str,
    spec: RouteSpec,
    settings: Settings,
    measured: Measurements,
    present: set[str],
    routers: Mapping[tuple[str, str], int],
) -> Route:
    namespace, policy_name = policy_key.split("/", 1)
    router = label_value(router_name(policy_name, restricted=is_restricted(spec)))
    demand = _demand(policy_key, spec, settings, measured, routers.get((namespace, router), 0))
    route = route_of(policy_key, spec, settings.defaults, demand)
    return replace(route, backends=tuple(one for one in route.backends if one.pool in present))


def _demand(policy: str, spec: RouteSpec, settings: Settings, measured: Measurements, routers: int) -> Demand:
    rate: Measurement = arrivals_of(measured, policy, spec.name, settings.prometheus.stale_after_seconds, routers)
    shape = mean_tokens(measured, policy, spec.name)
    inputs, outputs, cached = shape or (
        float(settings.defaults.input_tokens),
        float(settings.defaults.output_tokens),
        0.0,
    )
    peak = peak_of(measured, policy, spec.name) if isinstance(rate, Sample) else Unknown(rate.reason)
    return Demand(rate, input_tokens=inputs, output_tokens=outputs, cached_ratio=cached, peak_requests_per_second=peak)


def _believed(
    route: Route, store: ClusterStore, state: State, settings: Settings, measured: Measurements, now_seconds: float
) -> Route:
    """The route with a demand that is believed, or unknown."""
    key, prometheus = (route.policy, route.name), settings.prometheus
    now_fell, peak_fell = (
        fell(find(series, key, "no requests yet"), store, route.policy, now_seconds - 2 * window)
        for series, window in (
            (measured.resets, prometheus.rate_window_seconds),
            (measured.peak_resets, prometheus.peak_window_seconds),
        )
    )
    previous = state.memory.requests_per_second.get(route.key)
    demand = route.demand
    rate = state.beliefs.rate(route.key, demand.requests_per_second, previous, now_fell)
    peak = believed_peak(demand.peak_requests_per_second, peak_fell)
    return replace(route, demand=replace(demand, requests_per_second=rate, peak_requests_per_second=peak))


def _rules(settings: Settings, state: State, now_seconds: float) -> Rules:
    loop = settings.loop
    since = state.first_data_seconds
    holding = since is None or now_seconds - since < loop.restart_hold_seconds
    return replace(rules_of(loop), holding_after_restart=holding)
