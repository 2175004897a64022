"""How long a replica takes to start: the newest starts of every pool, and what its warm-ups add to a first guess."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from comptroller.api.cachewarmup import CacheWarmupSpec, Prefix
from comptroller.kube.resources import CACHE_WARMUP
from comptroller.kube.store import ClusterStore
from comptroller.learning.startup import Starts, after
from comptroller.observe.replicas import PoolReplicas
from comptroller.runtime.texts import CHARACTERS_PER_TOKEN


def starts_after(
    before: Mapping[str, Starts], pools: Iterable[str], replicas: Mapping[str, PoolReplicas]
) -> dict[str, Starts]:
    """What is known of each pool's starts after this round. A pool that went is forgotten."""
    return {
        key: after(before.get(key, Starts()), replicas.get(key, PoolReplicas()).starts())
        for key in pools
        if key in before or key in replicas
    }


def warming_seconds(
    store: ClusterStore, namespace: str, warmups: Mapping[str, CacheWarmupSpec], seconds_per_token: float
) -> float:
    """How long the gates of a pool's warm-ups hold a new replica back beyond its engine's start, as far as is known.

    Each prefix is sent twice: computed, then found. Known are the last run's times, else the length of a text that the
    spec holds. A gate holds nobody back longer than its timeout.
    """
    total = 0.0
    for key, spec in warmups.items():
        if spec.gate.enabled and spec.triggers.on_replica_start:
            status = (store.get(CACHE_WARMUP, (namespace, key.split("/", 1)[1])) or {}).get("status") or {}
            measured = {row.get("name"): row for row in status.get("prefixes") or ()}
            seconds = sum(_seconds(one, measured.get(one.name, {}), seconds_per_token) for one in spec.prefixes)
            total += min(float(spec.gate.timeout_seconds), seconds)
    return total


def _seconds(prefix: Prefix, measured: Mapping[str, Any], seconds_per_token: float) -> float:
    cold, warm = measured.get("coldTimeToFirstTokenMs"), measured.get("warmTimeToFirstTokenMs")
    if cold is not None and warm is not None:
        return (float(cold) + float(warm)) / 1000
    texts = [one.text or "" for one in (prefix.system, prefix.tools) if one is not None]
    characters = sum(map(len, texts)) + sum(len(one.content) for one in prefix.messages)
    return characters / CHARACTERS_PER_TOKEN * seconds_per_token
