"""Reads every user object and sorts out what can be acted upon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from comptroller.allocation.perimeter import way_stalls
from comptroller.allocation.validation import Stall, policy_stalls, pool_stalls
from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.api.conditions import Reason
from comptroller.api.cron import parse_cron
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.parse import SpecError, parse_spec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.api.settings import Settings
from comptroller.economics.prices import price_lookup
from comptroller.kube.resources import CACHE_WARMUP, MODEL_POOL, OWNED_BY_USERS, ROUTING_POLICY, Resource, key_of
from comptroller.kube.store import ClusterStore
from comptroller.observe.ways import ways
from comptroller.runtime.state import Specs, wish_of


def read_specs(store: ClusterStore, settings: Settings, at: datetime) -> Specs:
    """Every spec that can be read, and why the rest cannot be acted upon. One bad object never hides another."""
    stalls: dict[tuple[str, str], tuple[Stall, ...]] = {}
    pools: dict[str, ModelPoolSpec] = _read(store, MODEL_POOL, stalls)
    policies: dict[str, RoutingPolicySpec] = _read(store, ROUTING_POLICY, stalls)
    warmups: dict[str, CacheWarmupSpec] = _read(store, CACHE_WARMUP, stalls)
    price_of = price_lookup(at)
    prices = {key: price for key, pool in pools.items() if (price := price_of(pool)) is not None}
    for key, pool in pools.items():
        _note(stalls, MODEL_POOL, key, pool_stalls(pool, settings, price_of))
    for key, way in ways(store, (key for key, pool in pools.items() if pool.local is not None)).items():
        _note(stalls, MODEL_POOL, key, [*stalls.get((MODEL_POOL.kind, key), ()), *way_stalls(way)])
    for key, policy in policies.items():
        _note(stalls, ROUTING_POLICY, key, policy_stalls(key.split("/", 1)[0], policy, pools))
    for key, warmup in warmups.items():
        _note(stalls, CACHE_WARMUP, key, [*_unknown_pools(key.split("/", 1)[0], warmup, pools), *_schedule(warmup)])
    asked = {
        (resource.kind, "/".join(key_of(item))): wish_of(item)
        for resource in OWNED_BY_USERS
        for item in store.all(resource)
    }
    return Specs(pools, policies, warmups, stalls, prices, asked)


def _read(store: ClusterStore, resource: Resource, stalls: dict[tuple[str, str], tuple[Stall, ...]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in store.all(resource):
        if item["metadata"].get("deletionTimestamp"):
            continue
        key = "/".join(key_of(item))
        try:
            found[key] = parse_spec(resource.kind, item)
        except SpecError as error:
            stalls[resource.kind, key] = tuple(Stall(Reason.INVALID, one.path, str(one)) for one in error.problems)
    return found


def _note(
    stalls: dict[tuple[str, str], tuple[Stall, ...]], resource: Resource, key: str, found: Sequence[Stall]
) -> None:
    if found:
        stalls[resource.kind, key] = tuple(found)


def _schedule(warmup: CacheWarmupSpec) -> list[Stall]:
    """Why a schedule can never be due. The other triggers work all the same."""
    path, triggers = "spec.triggers.schedule", warmup.triggers
    if triggers.schedule is None:
        return []
    try:
        if parse_cron(triggers.schedule, triggers.time_zone).next_after(0.0) is not None:
            return []
        problem = "no such day ever comes"
    except ValueError as error:
        problem = str(error)
    return [Stall(Reason.INVALID, path, f"{path}: {problem}. Correct it; until then nothing is sent by schedule.")]


def _unknown_pools(namespace: str, warmup: CacheWarmupSpec, pools: Mapping[str, ModelPoolSpec]) -> list[Stall]:
    known = sorted(key.split("/", 1)[1] for key in pools if key.startswith(f"{namespace}/"))
    return [
        Stall(
            Reason.UNKNOWN_POOL,
            f"spec.pools[{index}]",
            f"spec.pools[{index}]: there is no ModelPool {pool} in namespace {namespace} "
            f"(there are: {', '.join(known) or 'none'}). Create it or correct the name.",
        )
        for index, pool in enumerate(warmup.pools)
        if f"{namespace}/{pool}" not in pools
    ]
