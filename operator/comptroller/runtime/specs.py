"""Reads every user object and sorts out what can be acted upon."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from comptroller.allocation.validation import Stall, policy_stalls, pool_stalls, warmup_stalls
from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.api.conditions import Reason
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.parse import SpecError, parse_spec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.api.settings import Settings
from comptroller.economics.prices import HostedPrice, hosted_price
from comptroller.kube.resources import CACHE_WARMUP, MODEL_POOL, ROUTING_POLICY, Resource, key_of
from comptroller.observe.store import ClusterStore
from comptroller.runtime.state import Specs


def read_specs(store: ClusterStore, settings: Settings, at: datetime) -> Specs:
    """Every spec that can be read, and why the rest cannot be acted upon. One bad object never hides another."""
    stalls: dict[tuple[str, str], tuple[Stall, ...]] = {}
    pools: dict[str, ModelPoolSpec] = _read(store, MODEL_POOL, stalls)
    policies: dict[str, RoutingPolicySpec] = _read(store, ROUTING_POLICY, stalls)
    warmups: dict[str, CacheWarmupSpec] = _read(store, CACHE_WARMUP, stalls)
    prices: dict[str, HostedPrice] = {}
    for key, pool in pools.items():
        if pool.hosted is not None and (price := hosted_price(pool.hosted, pool.model.name, at)) is not None:
            prices[key] = price
        if found := pool_stalls(pool, settings, priced=key in prices):
            stalls[MODEL_POOL.kind, key] = tuple(found)
    for key, policy in policies.items():
        if found := policy_stalls(policy, _of_namespace(pools, key)):
            stalls[ROUTING_POLICY.kind, key] = tuple(found)
    for key, warmup in warmups.items():
        if found := warmup_stalls(warmup, _of_namespace(pools, key)):
            stalls[CACHE_WARMUP.kind, key] = tuple(found)
    return Specs(pools=pools, policies=policies, warmups=warmups, stalls=stalls, prices=prices)


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


def _of_namespace(pools: Mapping[str, ModelPoolSpec], key: str) -> dict[str, ModelPoolSpec]:
    """The pools that an object may name: those of its own namespace, by name."""
    namespace = key.split("/", 1)[0]
    return {name.split("/", 1)[1]: pool for name, pool in pools.items() if name.split("/", 1)[0] == namespace}
